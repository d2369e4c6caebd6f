//! How fast copies may go: so many bytes a second, or as fast as they can.
//!
//! Whoever puts something pays for it before; debts are waited out. A pause is not made up for.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::Instant;

/// What may go at once after a pause.
const BURST: Duration = Duration::from_millis(250);

pub(crate) struct Pace {
    /// 0: no bound.
    bytes_per_second: AtomicU64,
    /// When what was paid for so far has gone.
    paid: Mutex<Option<Instant>>,
}

impl Pace {
    pub(crate) const fn none() -> Self {
        Self { bytes_per_second: AtomicU64::new(0), paid: Mutex::new(None) }
    }

    /// From now on, for whoever has not paid yet.
    pub(crate) fn set(&self, bytes_per_second: u64) {
        if self.bytes_per_second.swap(bytes_per_second, Relaxed) != bytes_per_second {
            *self.lock() = None;
        }
    }

    /// How long so many bytes take, at the bound that there is.
    pub(crate) fn takes(&self, bytes: u64) -> Duration {
        match self.bytes_per_second.load(Relaxed) {
            0 => Duration::ZERO,
            rate => Duration::from_secs(bytes / rate),
        }
    }

    /// Waits until so many bytes may go, as fast as is said at the time.
    pub(crate) async fn pay(&self, bytes: u64) {
        let mut left = bytes;
        while left > 0 {
            let rate = self.bytes_per_second.load(Relaxed);
            if rate == 0 {
                return;
            }
            // A second's worth at a time: a bound that is lifted is lifted soon.
            let part = left.min(rate);
            left -= part;
            tokio::time::sleep_until(self.reserve(part, rate)).await;
        }
    }

    fn reserve(&self, bytes: u64, rate: u64) -> Instant {
        let takes = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let now = Instant::now();
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let mut paid = self.lock();
        let until = paid.map_or(earliest, |paid| paid.max(earliest)) + takes;
        *paid = Some(until);
        until
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.paid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_take_their_time_and_pauses_are_not_made_up_for() {
        let pace = Pace::none();
        pace.set(1000);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let begun = Instant::now();
        for _ in 0..10 {
            pace.pay(500).await;
        }
        let took = begun.elapsed();
        assert_eq!(took, Duration::from_secs(5) - BURST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bound_that_is_lifted_is_lifted_for_what_waits() {
        let pace = Pace::none();
        pace.set(1);
        let begun = Instant::now();
        let lift = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            pace.set(0);
        };
        tokio::join!(pace.pay(1_000_000), lift);
        assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_bound_nobody_waits() {
        let begun = Instant::now();
        Pace::none().pay(u64::MAX).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
