//! One service in the foreground until a signal comes.

use crate::output::Output;
use core::time::Duration;
use holdfast_agent::{
    join::{JoinOptions, join as enrol},
    options::{AgentConfig, CONFIG_FILE},
};
use holdfast_common::{Error, Name, Result};
use holdfast_coordinator::ServeOptions;
use holdfast_runtime::{OnError, Signals, Tasks, shutdown::Stop};
use std::path::{Path, PathBuf};
use tokio::sync::oneshot;

/// How long a service may take to finish what it does; `dev` and the processes promise 15 seconds.
pub const DRAIN_PATIENCE: Duration = Duration::from_secs(12);

pub async fn coordinator(options: ServeOptions, output: &Output) -> Result<()> {
    let mut signals = Signals::listen()?;
    let tasks = Tasks::new("coordinator");
    let (tell, ready) = oneshot::channel();
    let stop = tasks.token().clone();
    tasks.spawn("coordinator", OnError::Shutdown, async move {
        // Nobody waits any more: the process is stopping.
        let told = |address| {
            let _unheard = tell.send(address);
        };
        holdfast_coordinator::serve(options, stop, told).await
    });
    if let Ok(address) = first(ready, &mut signals, &tasks).await? {
        output.line(&format!("ready {address}"))?;
    }
    run(&mut signals, &tasks).await
}

pub async fn agent(config: &Path, output: &Output) -> Result<()> {
    let mut signals = Signals::listen()?;
    let config = AgentConfig::load(config)?;
    let tasks = Tasks::new("agent");
    let (tell, ready) = oneshot::channel();
    let stop = tasks.token().clone();
    tasks.spawn("agent", OnError::Shutdown, async move {
        let told = |coordinator: &str| {
            let _unheard = tell.send(coordinator.to_owned());
        };
        holdfast_agent::service::serve(config, stop, told).await
    });
    // It accepts no calls itself: what it is attached to does.
    if let Ok(coordinator) = first(ready, &mut signals, &tasks).await? {
        output.line(&format!("ready {coordinator}"))?;
    }
    run(&mut signals, &tasks).await
}

pub struct Joined {
    pub name: String,
    pub id: String,
    pub config: PathBuf,
}

pub async fn join(
    coordinator: String,
    token: String,
    dir: PathBuf,
    name: Option<Name>,
) -> Result<Joined> {
    let config = dir.join(CONFIG_FILE);
    enrol(JoinOptions { coordinator, token, dir, name }).await?;
    let joined = AgentConfig::load(&config)?;
    Ok(Joined { name: joined.name.to_string(), id: joined.agent_id.to_string(), config })
}

/// Writes down where the cluster is now; the agent's identity stays what it is.
pub fn repoint(dir: &Path, endpoints: Vec<String>) -> Result<Joined> {
    let file = dir.join(CONFIG_FILE);
    let config = AgentConfig { endpoints, ..AgentConfig::load(&file)? };
    config.save(&file)?;
    Ok(Joined { name: config.name.to_string(), id: config.agent_id.to_string(), config: file })
}

/// Waits until the service is ready. A signal or a failure before that ends the wait: the inner
/// error then says that there is nothing to announce.
async fn first<T>(
    ready: oneshot::Receiver<T>,
    signals: &mut Signals,
    tasks: &Tasks,
) -> Result<core::result::Result<T, ()>> {
    tokio::select! {
        biased;
        told = ready => match told {
            Ok(told) => Ok(Ok(told)),
            // The service ended and took its voice with it.
            Err(_) => Err(ended(tasks).await),
        },
        _ = signals.next() => {
            tasks.token().cancel();
            Ok(Err(()))
        }
    }
}

async fn ended(tasks: &Tasks) -> Error {
    tasks.shutdown(DRAIN_PATIENCE).await;
    tasks.failure().unwrap_or_else(|| {
        Error::new(holdfast_common::Code::InternalBug, "the service ended before it was ready")
    })
}

/// Runs until somebody wants it to stop, then drains.
pub async fn run(signals: &mut Signals, tasks: &Tasks) -> Result<()> {
    let stop = if tasks.token().is_cancelled() && tasks.failure().is_none() {
        Stop::Request
    } else {
        signals.wait(tasks).await
    };
    tasks.shutdown(DRAIN_PATIENCE).await;
    match stop {
        Stop::Failure(error) => Err(error),
        Stop::Request | Stop::Signal(_) => Ok(()),
    }
}
