//! How many packs one agent may be sending at once.
//!
//! A few are read, a few more wait unread, and the rest are turned away at once: bytes that wait
//! unread lie in our memory too, a window for each. So whatever many streams and connections an
//! agent opens, it holds no more than its share, and the others have theirs. An agent of ours never
//! comes near the bound, unless lines that broke have not been noticed yet; then it tries again.

use holdfast_common::{Code, Error, Result, limits};
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The turns of one agent.
#[derive(Clone)]
pub(super) struct Turns {
    /// For being here at all.
    places: Arc<Semaphore>,
    /// For being read.
    sending: Arc<Semaphore>,
}

/// Given back when dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _sending: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

impl Turns {
    pub(super) async fn take(self) -> Result<Turn> {
        let place = self.places.try_acquire_owned().map_err(|_| {
            Error::new(Code::ClusterBusy, "the agent is sending as many packs as it may")
        })?;
        let waited = tokio::time::timeout(WAIT_MAX, self.sending.acquire_owned());
        let sending = waited
            .await
            .map_err(|_| Error::new(Code::ClusterBusy, "the agent's other packs are not done"))?
            .map_err(|_| {
                Error::new(Code::ClusterUnreachable, "this coordinator is shutting down")
            })?;
        Ok(Turn { _sending: sending, _place: place })
    }
}

impl Default for Turns {
    fn default() -> Self {
        let places = limits::PACKS_IN_FLIGHT_MAX + limits::PACKS_WAITING_MAX;
        Self {
            places: Arc::new(Semaphore::new(places)),
            sending: Arc::new(Semaphore::new(limits::PACKS_IN_FLIGHT_MAX)),
        }
    }
}

const WAIT_MAX: Duration = Duration::from_secs(limits::BUDGET_WAIT_SECS);

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn some_send_some_wait_and_the_rest_are_turned_away() {
        let turns = Turns::default();
        let mut sending = Vec::new();
        for _ in 0..limits::PACKS_IN_FLIGHT_MAX {
            sending.push(turns.clone().take().await.unwrap());
        }
        let mut waiting: Vec<_> =
            (0..limits::PACKS_WAITING_MAX).map(|_| Box::pin(turns.clone().take())).collect();
        for one in &mut waiting {
            assert!(one.now_or_never().is_none(), "it must wait");
        }
        let error = turns.clone().take().await.unwrap_err();
        assert_eq!(error.code, Code::ClusterBusy);
        assert!(error.is_retryable());
        drop(sending.pop());
        waiting.remove(0).await.unwrap();
        drop((sending, waiting));
        for _ in 0..limits::PACKS_IN_FLIGHT_MAX {
            turns.clone().take().await.unwrap();
        }
    }
}
