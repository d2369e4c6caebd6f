//! A bound on what the agent sends a second: a bucket that fills with time and is emptied by bytes.
//!
//! Debt is allowed for one frame, and paid by waiting after it; so a rate below one frame a second
//! still moves. Time comes in from outside.

use crate::flow::lock;
use holdfast_common::limits;
use std::sync::Mutex;
use std::time::Duration;

pub(super) struct Bandwidth {
    /// Bytes a second; `None` when there is no bound.
    rate: Option<u64>,
    bucket: Mutex<Bucket>,
}

struct Bucket {
    /// Negative while in debt.
    bytes: i128,
    filled_at: Duration,
}

impl Bandwidth {
    /// `bytes_per_second` of 0 is no bound.
    pub(super) fn new(bytes_per_second: u64, now: Duration) -> Self {
        let rate = Some(bytes_per_second).filter(|rate| *rate > 0);
        Self { rate, bucket: Mutex::new(Bucket { bytes: 0, filled_at: now }) }
    }

    /// Takes the bytes out and says how long to wait before they are sent.
    pub(super) fn take(&self, bytes: usize, now: Duration) -> Duration {
        let Some(rate) = self.rate else { return Duration::ZERO };
        let mut bucket = lock(&self.bucket);
        let earned = now.saturating_sub(bucket.filled_at).as_nanos() as i128 * i128::from(rate)
            / NANOS_PER_SECOND;
        let burst = limits::STREAM_FRAME_BYTES as i128;
        bucket.bytes = (bucket.bytes + earned).min(burst);
        bucket.filled_at = now;
        bucket.bytes -= bytes as i128;
        let debt = u128::try_from(-bucket.bytes).unwrap_or(0);
        let nanos = debt * NANOS_PER_SECOND as u128 / u128::from(rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

const NANOS_PER_SECOND: i128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bound_never_waits() {
        let free = Bandwidth::new(0, Duration::ZERO);
        assert_eq!(free.take(usize::MAX, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn over_a_minute_no_more_than_the_rate_and_one_burst_is_sent() {
        let rate = 1_000_000;
        let bandwidth = Bandwidth::new(rate, Duration::ZERO);
        let (mut now, mut sent) = (Duration::ZERO, 0u64);
        while now < Duration::from_secs(60) {
            now += bandwidth.take(100_000, now);
            sent += 100_000;
        }
        let allowed = 60 * rate + limits::STREAM_FRAME_BYTES as u64 + 100_000;
        assert!((59 * rate..=allowed).contains(&sent), "{sent} bytes in a minute");
    }

    #[test]
    fn idle_time_earns_at_most_one_burst() {
        let bandwidth = Bandwidth::new(1000, Duration::ZERO);
        let late = Duration::from_secs(3600);
        assert_eq!(bandwidth.take(limits::STREAM_FRAME_BYTES, late), Duration::ZERO);
        assert_eq!(bandwidth.take(1000, late), Duration::from_secs(1));
    }
}
