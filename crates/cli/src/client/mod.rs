//! The operator's way into the cluster: one channel over the endpoints of the context, errors as
//! the coordinator gave them, and patience with a cluster that is electing.
//!
//! ```text
//!   context ─▶ channel (dials the next endpoint by itself) ─▶ ask: a call that may be repeated
//!                                                          └▶ ask_once: one that may not
//! ```
//!
//! Only what did not get through is tried again, a bounded number of times; a refusal is an answer.

pub mod follow;
pub mod restoring;
pub mod select;
pub mod sides;

use core::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};
use futures::future::join_all;
use holdfast_agent::{
    line::{Endpoints, Line, Whereabouts},
    restore::{PointReader, open_online},
};
use holdfast_common::{
    Clock, Code, Error, PointId, Result, RunId, SystemClock, SystemEntropy, Timestamp, limits,
};
use holdfast_runtime::{ChannelKind, Context, connect};
use holdfast_wire::{
    status::from_status,
    v1::{self, admin_client::AdminClient, restore_client::RestoreClient},
};
use std::{ops::AsyncFn, path::Path, sync::Arc};
use tokio::{runtime::Handle, time::Instant};
use tonic::{Response, Status, transport::Channel};

pub type Admin = AdminClient<Channel>;

/// Pauses before the second and later attempts: two seconds and a half in all.
const PAUSES_MS: [u64; 4] = [100, 300, 700, 1400];
const PATIENCE: Duration = Duration::from_secs(8);
/// What a side that was superseded marks its answers with.
const SUPERSEDED: &str = "holdfast-superseded";

pub struct Client {
    context: Context,
    tls: Arc<holdfast_runtime::ClientTls>,
    channel: Channel,
    warned: AtomicBool,
}

impl Client {
    /// Connects as the context says.
    pub async fn open(context: &Path) -> Result<Self> {
        let mut context = Context::load(context)?;
        let clock = Arc::new(SystemClock::start());
        warn_of_end(&context, clock.now())?;
        let tls = context.tls(clock)?;
        let dial =
            async || connect(&context.endpoints, Arc::clone(&tls), ChannelKind::Control).await;
        let mut channel = patiently(dial).await?;
        if context.endpoints.len() > 1 && is_superseded(&channel).await {
            let living = living(&context.endpoints, &tls).await;
            if let Some((_, other)) = living.first() {
                channel = other.clone();
                context.endpoints = living.into_iter().map(|(endpoint, _)| endpoint).collect();
            }
        }
        Ok(Self { context, tls, channel, warned: AtomicBool::new(false) })
    }

    /// As it was read, with the endpoints of the side that lives.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The vault that commands mean when they name none.
    pub fn vault(&self) -> &str {
        self.context.vault.as_str()
    }

    /// What opens a point, to be called on a thread: over a connection of its own for bulk data,
    /// so that it delays nothing else.
    pub fn open_point(
        &self,
        point: PointId,
        purpose: &'static str,
        run: Option<RunId>,
    ) -> impl FnOnce() -> Result<PointReader> + Send + 'static {
        let connect = Endpoints {
            whereabouts: Whereabouts::fixed(self.context.endpoints.clone()),
            tls: Arc::clone(&self.tls),
            kind: ChannelKind::Data,
        };
        let clock = Arc::new(SystemClock::start());
        let line = Line::new(Arc::new(connect), clock, Arc::new(SystemEntropy));
        let runtime = Handle::current();
        move || open_online(line, runtime, Arc::new(SystemEntropy), point, purpose, run)
    }

    /// The side of the protocol that reads points.
    pub fn restore(&self) -> RestoreClient<Channel> {
        RestoreClient::new(self.channel.clone())
    }

    /// A call that may be repeated without doing anything twice.
    pub async fn ask<Q: Clone, A>(
        &self,
        question: Q,
        call: impl AsyncFn(Admin, Q) -> Result<Response<A>, Status>,
    ) -> Result<A> {
        patiently(async || self.ask_once(question.clone(), &call).await).await
    }

    /// A call that is made once, whatever becomes of its answer.
    pub async fn ask_once<Q, A>(
        &self,
        question: Q,
        call: impl AsyncFn(Admin, Q) -> Result<Response<A>, Status>,
    ) -> Result<A> {
        let admin = Admin::new(self.channel.clone())
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::MESSAGE_BYTES_MAX);
        match call(admin, question).await {
            Ok(answer) => {
                if answer.metadata().contains_key(SUPERSEDED) && !self.warned.swap(true, Relaxed) {
                    tracing::warn!("answered by a side that was superseded: this may be old");
                }
                Ok(answer.into_inner())
            }
            Err(status) => Err(from_status(&status)),
        }
    }
}

/// Whoever has run out gets in only by somebody else.
fn warn_of_end(context: &Context, now: Timestamp) -> Result<()> {
    let end = context.own()?.not_after;
    if now > end {
        tracing::warn!(%end, "the certificate of this context has ended: ask another operator");
    } else if end.since(now) <= Duration::from_secs(limits::OPERATOR_ENDING_SECS) {
        tracing::warn!(%end, "the certificate ends soon: type `holdfast operator renew`");
    }
    Ok(())
}

/// Whether the coordinator at the other end knows that its side was superseded.
async fn is_superseded(channel: &Channel) -> bool {
    let question = v1::RegionsRequest { brief: true };
    let answer = Admin::new(channel.clone()).regions(question).await;
    answer.is_ok_and(|answer| answer.into_inner().superseded)
}

/// The endpoints whose side leads or follows still.
async fn living(
    endpoints: &[String],
    tls: &Arc<holdfast_runtime::ClientTls>,
) -> Vec<(String, Channel)> {
    let asked = endpoints.iter().map(|endpoint| async move {
        let endpoints = [endpoint.clone()];
        let channel = connect(&endpoints, Arc::clone(tls), ChannelKind::Control).await.ok()?;
        (!is_superseded(&channel).await).then(|| (endpoint.clone(), channel))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

async fn patiently<T>(attempt: impl AsyncFn() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    for pause in PAUSES_MS {
        match attempt().await {
            // A coordinator has waited for an election itself.
            Err(error) if may_mend(&error) && begun.elapsed() < PATIENCE => {
                tracing::debug!(%error, "the cluster did not answer; trying again");
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            ended => return ended,
        }
    }
    attempt().await
}

/// An agent that is away will not come back within seconds; an election ends within them.
fn may_mend(error: &Error) -> bool {
    matches!(error.code, Code::ClusterLeaderless | Code::ClusterUnreachable)
}
