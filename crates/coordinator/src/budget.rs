//! Bytes that may be in memory at once, and who waits for some.
//!
//! What comes in and what goes out have a budget each, so that a flood of one leaves the other
//! alone. Shares are given in the order they were asked for. Waiting has a bound in time and in
//! number; whoever is beyond it is told to come again, and takes no memory meanwhile.

use holdfast_common::{Code, Error, Result, limits};
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) struct Budget {
    /// In KiB.
    free: Arc<Semaphore>,
    kib: u32,
    waiters: Semaphore,
}

/// A part of a budget; given back when dropped. It goes along with the bytes that it stands for.
#[derive(Debug)]
pub(crate) struct Share {
    bytes: OwnedSemaphorePermit,
}

const WAIT_MAX: Duration = Duration::from_secs(limits::BUDGET_WAIT_SECS);
/// Between two asks of who was told to come again.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        let kib = in_kib(bytes);
        Self {
            free: Arc::new(Semaphore::new(kib as usize)),
            kib,
            waiters: Semaphore::new(limits::BUDGET_WAITERS_MAX),
        }
    }

    /// Takes a share; waits for it when others hold it. More than there is counts as all there is.
    pub(crate) async fn reserve(&self, bytes: usize) -> Result<Share> {
        let kib = in_kib(bytes).min(self.kib);
        let busy = || Error::new(Code::ClusterBusy, "all memory for transfers is taken");
        let _waiting = self.waiters.try_acquire().map_err(|_| busy())?;
        let taken = tokio::time::timeout(WAIT_MAX, self.free.clone().acquire_many_owned(kib));
        match taken.await {
            Ok(Ok(bytes)) => Ok(Share { bytes }),
            Ok(Err(_)) => {
                Err(Error::new(Code::ClusterUnreachable, "this coordinator is shutting down"))
            }
            Err(_) => Err(busy()),
        }
    }

    /// The same for work that goes on beside others' for hours: it asks again however long they
    /// hold what there is, until `insist` refuses.
    pub(crate) async fn wait_for(
        &self,
        bytes: usize,
        insist: &(dyn Fn() -> Result<()> + Send + Sync),
    ) -> Result<Share> {
        let mut pause = PAUSE_MIN;
        loop {
            match self.reserve(bytes).await {
                Err(error) if error.code == Code::ClusterBusy => insist()?,
                taken => return taken,
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(PAUSE_MAX);
        }
    }

    /// Takes a share if nobody has to be waited for. Whoever holds one and needs more asks so, and
    /// gives up what it holds before it waits: two who keep theirs wait for each other for ever.
    pub(crate) fn try_reserve(&self, bytes: usize) -> Option<Share> {
        let kib = in_kib(bytes).min(self.kib);
        let bytes = self.free.clone().try_acquire_many_owned(kib).ok()?;
        Some(Share { bytes })
    }

    /// Takes a share that nobody will miss: half of all stays free. For what is only fetched early.
    pub(crate) fn spare(&self, bytes: usize) -> Option<Share> {
        let left = self.free.available_permits().checked_sub(in_kib(bytes) as usize)?;
        if left < self.kib as usize / 2 { None } else { self.try_reserve(bytes) }
    }
}

impl Share {
    /// Gives back what goes beyond so many bytes.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let beyond = self.bytes.num_permits().saturating_sub(in_kib(bytes) as usize);
        drop(self.bytes.split(beyond));
    }
}

fn in_kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(limits::KIB)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, future::join_all};

    #[tokio::test(start_paused = true)]
    async fn a_share_is_waited_for_and_given_up_in_time() {
        let budget = Budget::new(10 * limits::KIB);
        let share = budget.reserve(usize::MAX).await.unwrap();
        let begun = tokio::time::Instant::now();
        let error = budget.reserve(1).await.unwrap_err();
        assert_eq!(error.code, Code::ClusterBusy);
        assert!(error.is_retryable());
        assert_eq!(begun.elapsed(), WAIT_MAX);
        let mut waiting = Box::pin(budget.reserve(1));
        assert!((&mut waiting).now_or_never().is_none());
        drop(share);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn what_is_only_fetched_early_leaves_half_to_others() {
        let budget = Budget::new(10 * limits::KIB);
        let first = budget.spare(3 * limits::KIB).unwrap();
        assert!(budget.spare(3 * limits::KIB).is_none());
        let second = budget.spare(2 * limits::KIB).unwrap();
        assert!(budget.spare(1).is_none());
        drop(first);
        assert!(budget.spare(usize::MAX).is_none());
        let _third = budget.spare(3 * limits::KIB).unwrap();
        drop(second);
    }

    #[tokio::test(start_paused = true)]
    async fn long_work_waits_as_long_as_it_takes_and_no_longer_than_it_may() {
        let budget = Budget::new(limits::KIB);
        let share = budget.reserve(1).await.unwrap();
        let begun = tokio::time::Instant::now();
        let superseded = || Err(Error::new(Code::EpochSuperseded, "superseded"));
        let refused = budget.wait_for(1, &superseded).await.unwrap_err();
        assert_eq!((refused.code, begun.elapsed()), (Code::EpochSuperseded, WAIT_MAX));
        let mut waiting = Box::pin(budget.wait_for(1, &|| Ok(())));
        let long = tokio::time::timeout(10 * WAIT_MAX, &mut waiting).await;
        assert!(long.is_err(), "it waits on");
        drop(share);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn a_share_shrinks_and_what_is_given_back_is_there_for_others_in_turn() {
        let budget = Budget::new(10 * limits::KIB);
        let mut share = budget.try_reserve(8 * limits::KIB).unwrap();
        assert!(budget.try_reserve(3 * limits::KIB).is_none());
        share.shrink(20 * limits::KIB);
        assert!(budget.try_reserve(3 * limits::KIB).is_none(), "a share does not grow");
        share.shrink(7 * limits::KIB);
        let other = budget.try_reserve(3 * limits::KIB).unwrap();
        let mut first = Box::pin(budget.reserve(4 * limits::KIB));
        assert!((&mut first).now_or_never().is_none());
        drop(other);
        assert!(budget.try_reserve(1).is_none(), "who waits comes first");
        drop(share);
        first.await.unwrap();
        budget.try_reserve(usize::MAX).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_wait_and_the_rest_are_turned_away_at_once() {
        let budget = Budget::new(limits::KIB);
        let _all = budget.reserve(1).await.unwrap();
        let asked = (0..limits::BUDGET_WAITERS_MAX + 3).map(|_| async {
            let begun = tokio::time::Instant::now();
            assert_eq!(budget.reserve(1).await.unwrap_err().code, Code::ClusterBusy);
            begun.elapsed().is_zero()
        });
        let turned_away = join_all(asked).await.into_iter().filter(|at_once| *at_once).count();
        assert_eq!(turned_away, 3);
    }
}
