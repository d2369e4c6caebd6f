//! How a witness behaves among those who elect: it votes, and leads only when nobody else can.
//!
//! It may have to: when the leader is lost, a witness can be the only one left that has what was
//! agreed last. Nobody else is elected then, and it brings the others on before it hands over. So
//! it stands only after the others had time to be elected, and asks first whether it would be.

use super::Ledger;
use holdfast_common::Result;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Twice what the others take to be elected, from the last that was heard of a leader.
const STAND_AFTER: Duration = Duration::from_millis(1600);
const LOOK: Duration = Duration::from_millis(200);

/// Since when nobody who leads was heard of.
#[derive(Debug, Default)]
pub(super) struct Silence(Mutex<Option<Instant>>);

impl Silence {
    pub(super) fn broken(&self) {
        *self.lock() = Some(Instant::now());
    }

    /// How long it has lasted; from the first look on, where nobody was ever heard of.
    fn span(&self) -> Duration {
        self.lock().get_or_insert_with(Instant::now).elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// Stands for election when nobody else was elected; runs until `shutdown`.
    pub(crate) async fn stand_last(self, shutdown: CancellationToken) -> Result<()> {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(LOOK) => {}
            }
            if self.leads()
                || self.silence.span() < STAND_AFTER
                || !self.votes()
                || self.peers.standing().is_anew()
            {
                continue;
            }
            // Again after as long: one try at a time.
            self.silence.broken();
            tracing::debug!("nobody else was elected: this witness stands");
            if let Err(error) = self.raft.trigger().elect(true).await {
                tracing::debug!(%error, "not elected");
            }
        }
    }

    fn votes(&self) -> bool {
        self.raft.voter_ids().any(|id| id == self.me)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_lasts_from_when_a_leader_was_last_heard_of() {
        let silence = Silence::default();
        tokio::time::advance(STAND_AFTER).await;
        assert_eq!(silence.span(), Duration::ZERO, "nobody has listened yet");
        tokio::time::advance(STAND_AFTER).await;
        assert_eq!(silence.span(), STAND_AFTER);
        silence.broken();
        tokio::time::advance(LOOK).await;
        assert_eq!(silence.span(), LOOK);
    }
}
