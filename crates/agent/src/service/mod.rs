//! The agent's process: attached to some coordinator, doing what it is ordered.
//!
//! ```text
//!   orders ──▶ attach loop ──▶ Desk ──▶ run (a blocking thread; two at once)
//!   reports ◀──────┘  ▲          └── progress, twice a second · endings, kept until sent
//!        lost? backoff, next endpoint; runs go on meanwhile over a line of their own
//! ```
//!
//! Control and bulk data use separate connections. A lost line costs nothing but the news of it.
//! On shutdown no order is taken any more, running backups are interrupted, their endings are
//! reported if somebody listens, and within ten seconds everything is over.

mod attach;
mod desk;
mod order;

use crate::cache::CacheStore;
use crate::line::{Backoff, Endpoints, Line, Told, Whereabouts};
use crate::options::AgentConfig;
use crate::pipeline::{Host, Memory, VaultPins};
use crate::renew::Credentials;
use crate::restore::Targets;
use desk::Desk;
use holdfast_common::{Clock, Code, Entropy, Error, Result, SystemClock, SystemEntropy};
use holdfast_runtime::tls::{ChannelKind, ClientTls, connect};
use holdfast_runtime::{OnError, Tasks};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// Serves until `shutdown` is cancelled. `ready` is called once, when first attached, with the
/// endpoint of the coordinator that took the line.
pub async fn serve(
    config: AgentConfig,
    shutdown: CancellationToken,
    ready: impl FnOnce(&str) + Send,
) -> Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let whereabouts = Whereabouts::kept(&config);
    let credentials = Credentials::load(&config, &whereabouts, Arc::clone(&clock))?;
    let credentials = Arc::new(credentials);
    if let Err(error) = credentials.renew_if_due().await {
        tracing::warn!(%error, "the certificate was not renewed at the start");
    }
    let tasks = Tasks::new("agent");
    let fresh = Arc::clone(&credentials);
    let token = tasks.token().clone();
    tasks.spawn("certificate renewal", OnError::Log, async move {
        token.run_until_cancelled_owned(async move { fresh.keep_fresh().await }).await;
        Ok(())
    });
    let host = Arc::new(host(&config, &whereabouts, &credentials, (clock, &entropy))?);
    let desk = Desk::new(host, Targets::new(config.restore_targets.clone()), tasks.clone());
    let served = attach_again(&whereabouts, &credentials, &desk, &shutdown, &*entropy, ready).await;
    desk.interrupt_all();
    tasks.shutdown(STOP_PATIENCE).await;
    served
}

fn host(
    config: &AgentConfig,
    whereabouts: &Arc<Whereabouts>,
    credentials: &Credentials,
    (clock, entropy): (Arc<dyn Clock>, &Arc<dyn Entropy>),
) -> Result<Host> {
    let data = Endpoints {
        whereabouts: Arc::clone(whereabouts),
        tls: Arc::clone(&credentials.tls),
        kind: ChannelKind::Data,
    };
    Ok(Host {
        agent: config.agent_id,
        identity: credentials.signing_key()?,
        cache: CacheStore::open(&config.cache, &**entropy)?,
        pins: VaultPins::beside(&config.key),
        line: Line::new(Arc::new(data), Arc::clone(&clock), Arc::clone(entropy)),
        told: Told::beside(&config.key),
        memory: Memory::for_process(),
        clock,
        entropy: Arc::clone(entropy),
        handle: Handle::current(),
    })
}

/// Attaches, and again whenever the line is lost, until the shutdown or a revocation.
async fn attach_again(
    whereabouts: &Whereabouts,
    credentials: &Credentials,
    desk: &Arc<Desk>,
    shutdown: &CancellationToken,
    entropy: &dyn Entropy,
    ready: impl FnOnce(&str) + Send,
) -> Result<()> {
    let mut backoff = Backoff::default();
    let mut ready = Some(ready);
    let mut is_first = true;
    while !shutdown.is_cancelled() {
        let (tls, mut endpoints) = (Arc::clone(&credentials.tls), whereabouts.endpoints());
        // What was written down first is tried first; after that nobody is to be everybody's next.
        if !std::mem::take(&mut is_first) {
            shuffle(&mut endpoints, entropy);
        }
        let connected = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            connected = connect_any(&endpoints, &tls) => connected,
        };
        let mut stood = false;
        let ended = match connected {
            Ok((channel, endpoint)) => {
                let attached = || {
                    stood = true;
                    if let Some(ready) = ready.take() {
                        ready(endpoint);
                    }
                };
                attach::attach(channel, desk, whereabouts, shutdown, attached).await
            }
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => {}
            Err(error) if error.code == Code::AgentRevoked => return Err(error),
            Err(error) => tracing::warn!(%error, "not attached; trying again"),
        }
        let pause = match stood {
            true => backoff.after_loss(entropy, !desk.is_idle()),
            false => backoff.next(entropy),
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    Ok(())
}

/// Whoever answers first, asked in turn; and who that is.
async fn connect_any<'a>(
    endpoints: &'a [String],
    tls: &Arc<ClientTls>,
) -> Result<(Channel, &'a str)> {
    let mut failed = Error::new(Code::ConfigMalformed, "no endpoint of the cluster is named");
    for endpoint in endpoints {
        let one = std::slice::from_ref(endpoint);
        match connect(one, Arc::clone(tls), ChannelKind::Control).await {
            Ok(channel) => return Ok((channel, endpoint)),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn shuffle(endpoints: &mut [String], entropy: &dyn Entropy) {
    for last in (1..endpoints.len()).rev() {
        endpoints.swap(last, entropy.below(last as u64 + 1) as usize);
    }
}

/// How long interrupted runs may take to end while their ends can still be reported.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);
/// And how long what is left may take after that: together less than ten seconds.
const STOP_PATIENCE: Duration = Duration::from_secs(4);
