//! How fast copies may go: so many bytes a second, or as fast as they can.
//!
//! Whoever puts something pays for it before; debts are waited out. A pause is not made up for.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// What may go at once after a pause.
const BURST: Duration = Duration::from_millis(250);

pub(crate) struct Pace {
    /// 0: no bound.
    bytes_per_second: u64,
    /// When what was paid for so far has gone.
    paid: Mutex<Instant>,
}

impl Pace {
    pub(crate) fn none() -> Self {
        Self::of(0)
    }

    pub(crate) fn of(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, paid: Mutex::new(Instant::now()) }
    }

    pub(crate) fn bytes_per_second(&self) -> u64 {
        self.bytes_per_second
    }

    /// Waits until so many bytes may go.
    pub(crate) async fn pay(&self, bytes: u64) {
        if self.bytes_per_second == 0 {
            return;
        }
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let until = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            let earliest = Instant::now().checked_sub(BURST).unwrap_or_else(Instant::now);
            *paid = (*paid).max(earliest) + takes;
            *paid
        };
        tokio::time::sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_take_their_time_and_pauses_are_not_made_up_for() {
        let pace = Pace::of(1000);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let begun = Instant::now();
        for _ in 0..10 {
            pace.pay(500).await;
        }
        let took = begun.elapsed();
        assert_eq!(took, Duration::from_secs(5) - BURST);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_bound_nobody_waits() {
        let begun = Instant::now();
        Pace::none().pay(u64::MAX).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
