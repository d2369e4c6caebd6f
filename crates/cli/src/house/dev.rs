//! A cluster of one in this process: coordinator and agent `local` under one supervisor.
//!
//! ```text
//!   D/coordinator.toml  D/operator.toml  D/kek  D/location/…  D/agent/agent.toml
//!   init (once) ─▶ coordinator ─▶ operator.toml follows the port ─▶ join (once) ─▶ agent
//! ```
//!
//! Each step is skipped when its result is there, so that the same directory continues wherever a
//! kill left it. The agent is a stranger to the coordinator beside it: it enrols with a token and
//! talks mutual TLS over loopback like any other.

use super::{Founding, init, service};
use crate::{
    client::{Admin, Client},
    command::Custody,
};
use core::{net::SocketAddr, time::Duration};
use holdfast_agent::options::{AgentConfig, CONFIG_FILE};
use holdfast_common::{Code, Error, Name, Result};
use holdfast_coordinator::ServeOptions;
use holdfast_keyring::KekSource;
use holdfast_runtime::{Context, OnError, Signals, Tasks, files};
use holdfast_wire::v1;
use std::path::{Path, PathBuf};
use tokio::sync::oneshot;

pub struct Dev {
    pub address: SocketAddr,
    /// The operator.toml of this cluster.
    pub context: PathBuf,
    tasks: Tasks,
}

const AGENT: &str = "local";
const JOIN_TOKEN_TTL: Duration = Duration::from_secs(60);

impl Dev {
    pub async fn start(dir: &Path, listen: String) -> Result<Self> {
        files::create_private_dir(dir)?;
        let config = dir.join("coordinator.toml");
        if !config.exists() {
            begin_anew(dir)?;
            found(dir, &listen).await?;
        }
        // Only now is there something to lose.
        let _may_be_gone = std::fs::remove_file(dir.join(FOUNDING_MARK));
        let tasks = Tasks::new("dev");
        let address = start_coordinator(&tasks, config, listen).await?;
        let context = dir.join("operator.toml");
        follow_port(&context, address)?;
        start_agent(&tasks, &dir.join("agent"), &context, address).await?;
        Ok(Self { address, context, tasks })
    }

    /// Until a signal comes or a part fails.
    pub async fn run(&mut self, signals: &mut Signals) -> Result<()> {
        service::run(signals, &self.tasks).await
    }

    pub async fn stop(self) {
        self.tasks.shutdown(service::DRAIN_PATIENCE).await;
    }
}

/// A founding that a kill cut short left things that nobody ever used: they go away, and only
/// they. The mark says that they are ours; a directory of anything else is refused by `init`.
fn begin_anew(dir: &Path) -> Result<()> {
    let mark = dir.join(FOUNDING_MARK);
    if mark.exists() {
        for part in ["data", "location"] {
            remove_if_any(&dir.join(part))?;
        }
    }
    files::write_public(&mark, b"a founding that began here has not ended\n")
}

fn remove_if_any(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("{} cannot be removed", dir.display()), &error))
        }
        _ => Ok(()),
    }
}

async fn found(dir: &Path, listen: &str) -> Result<()> {
    init(Founding {
        dir: dir.to_owned(),
        name: word("dev")?,
        region: word("local")?,
        listen: listen.to_owned(),
        advertise: None,
        locations: vec![(word("main")?, format!("local:{}", dir.join("location").display()))],
        kek: KekSource::File(dir.join("kek")),
        custody: Custody::Coordinator,
        trial: true,
        level_max: None,
    })
    .await
}

const FOUNDING_MARK: &str = "founding";

async fn start_coordinator(tasks: &Tasks, config: PathBuf, listen: String) -> Result<SocketAddr> {
    let (tell, ready) = oneshot::channel();
    let stop = tasks.token().clone();
    tasks.spawn("coordinator", OnError::Shutdown, async move {
        // Nobody waits any more: the process is stopping.
        let told = |address| {
            let _unheard = tell.send(address);
        };
        let options = ServeOptions { config, listen: Some(listen), level_max: None };
        holdfast_coordinator::serve(options, stop, told).await
    });
    match ready.await {
        Ok(address) => Ok(address),
        Err(_) => Err(failure(tasks).await),
    }
}

/// The port may be another one at each start.
fn follow_port(file: &Path, address: SocketAddr) -> Result<()> {
    let mut context = Context::load(file)?;
    let endpoints = vec![address.to_string()];
    if context.endpoints != endpoints {
        context.endpoints = endpoints;
        context.save(file)?;
    }
    Ok(())
}

async fn start_agent(tasks: &Tasks, dir: &Path, context: &Path, address: SocketAddr) -> Result<()> {
    let file = dir.join(CONFIG_FILE);
    if !file.exists() {
        make_way(context).await?;
        let token = token(context).await?;
        let name = Some(word(AGENT)?);
        service::join(address.to_string(), token, dir.to_owned(), name).await?;
    }
    let mut config = AgentConfig::load(&file)?;
    config.endpoints = vec![address.to_string()];
    let (tell, ready) = oneshot::channel();
    let stop = tasks.token().clone();
    tasks.spawn("agent", OnError::Shutdown, async move {
        holdfast_agent::service::serve(config, stop, move |_: &str| {
            let _unheard = tell.send(());
        })
        .await
    });
    match ready.await {
        Ok(()) => Ok(()),
        Err(_) => Err(failure(tasks).await),
    }
}

/// A kill between the enrolment and `agent.toml` leaves an agent that has a name and no home: its
/// certificate is nowhere. It gives the name up to the one that joins now. What it made, if
/// `agent.toml` was lost later, stays; policies mean whoever is called `local`.
async fn make_way(context: &Path) -> Result<()> {
    let client = Client::open(context).await?;
    let list = async |mut admin: Admin, question| admin.list_agents(question).await;
    let agents = client.ask(v1::ListAgentsRequest {}, list).await?.agents;
    let homeless = |agent: &&v1::AgentStatus| agent.name == AGENT && agent.state != "revoked";
    for agent in agents.iter().filter(homeless) {
        let question = v1::RevokeAgentRequest { agent: hex::encode(&agent.id) };
        let revoke = async |mut admin: Admin, question| admin.revoke_agent(question).await;
        client.ask(question, revoke).await?;
    }
    Ok(())
}

async fn token(context: &Path) -> Result<String> {
    let client = Client::open(context).await?;
    let question =
        v1::CreateTokenRequest { ttl_ms: JOIN_TOKEN_TTL.as_millis() as u64, ..Default::default() };
    let ask = async |mut admin: Admin, question| admin.create_token(question).await;
    Ok(client.ask(question, ask).await?.token)
}

async fn failure(tasks: &Tasks) -> Error {
    tasks.shutdown(service::DRAIN_PATIENCE).await;
    tasks.failure().unwrap_or_else(|| {
        Error::new(Code::RunCancelled, "a part of the process ended before it was ready")
    })
}

fn word(text: &str) -> Result<Name> {
    text.parse()
}
