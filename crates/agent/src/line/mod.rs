//! The line to the cluster: whichever coordinator answers, and the patience to try another.
//!
//! ```text
//!   call ─▶ Line ─▶ current channel ──ok──▶ answer
//!             ▲          │ unreachable
//!             └─ backoff ┴─▶ Connect: next endpoint         until patience is at its end
//! ```
//!
//! Only calls that may be repeated go through here: each names its session, run or pack, so that
//! the second one changes nothing. A refusal is an answer and is never tried again.

mod backoff;
mod endpoints;
mod ingest;
mod told;
mod whereabouts;

pub use backoff::Backoff;
pub use endpoints::{Connect, Endpoints};
pub(crate) use ingest::Ingest;
pub use told::{Told, parse_told, render_told};
pub use whereabouts::Whereabouts;

use holdfast_common::codes::Exit;
use holdfast_common::{Clock, Code, Entropy, Error, Result};
use holdfast_wire::status::from_status;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tonic::transport::Channel;

pub struct Line {
    connect: Arc<dyn Connect>,
    current: Mutex<Current>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

#[derive(Default)]
struct Current {
    channel: Option<Channel>,
    /// Counts connections, so that two failures of one channel drop it once.
    generation: u64,
}

impl Line {
    pub fn new(
        connect: Arc<dyn Connect>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Arc<Self> {
        Arc::new(Self { connect, current: Mutex::default(), clock, entropy })
    }

    /// Makes the call until it is answered, for as long as `patience` lasts.
    pub async fn call<T, F, A>(&self, patience: Duration, mut attempt: F) -> Result<T>
    where
        F: FnMut(Channel) -> A,
        A: Future<Output = Result<T, tonic::Status>>,
    {
        let begun = self.clock.elapsed();
        let mut backoff = Backoff::default();
        loop {
            let error = match self.channel().await {
                Ok((channel, generation)) => match attempt(channel).await {
                    Ok(answer) => return Ok(answer),
                    Err(status) => {
                        let error = from_status(&status);
                        // One that is busy is there: another connection would not help it.
                        if is_unreachable(&error) && error.code != Code::ClusterBusy {
                            self.drop_channel(generation).await;
                        }
                        error
                    }
                },
                Err(error) => error,
            };
            let pause = backoff.next(&*self.entropy);
            let waited = self.clock.elapsed().saturating_sub(begun);
            if !is_unreachable(&error) || waited + pause > patience {
                return Err(error);
            }
            tracing::debug!(code = error.code.name(), "a call did not get through; trying again");
            tokio::time::sleep(pause).await;
        }
    }

    async fn channel(&self) -> Result<(Channel, u64)> {
        let mut current = self.current.lock().await;
        if let Some(channel) = &current.channel {
            return Ok((channel.clone(), current.generation));
        }
        let channel = self.connect.connect().await?;
        current.generation += 1;
        current.channel = Some(channel.clone());
        Ok((channel, current.generation))
    }

    async fn drop_channel(&self, generation: u64) {
        let mut current = self.current.lock().await;
        if current.generation == generation {
            current.channel = None;
            self.connect.go_on();
        }
    }
}

/// A coordinator whose side was superseded is there, and as good as gone: the next connection goes
/// to whichever side the agent was sent to.
fn is_unreachable(error: &Error) -> bool {
    error.code == Code::EpochSuperseded
        || error.code.exit() == Exit::Unreachable && error.is_retryable()
}
