//! How long to wait before the next attempt: doubling, bounded, and never in step with others.

use holdfast_common::Entropy;
use std::time::Duration;

#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Between half and the whole of a span that doubles from 100 ms to 5 s.
    pub fn next(&mut self, entropy: &dyn Entropy) -> Duration {
        let span = PAUSE_MIN.saturating_mul(1 << self.failures.min(16)).min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        let half = span / 2;
        half + Duration::from_nanos(entropy.below(half.as_nanos() as u64 + 1))
    }

    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::SystemEntropy;

    #[test]
    fn pauses_grow_to_a_bound_and_begin_again_after_success() {
        let mut backoff = Backoff::default();
        for attempt in 0..100 {
            let pause = backoff.next(&SystemEntropy);
            let span = PAUSE_MIN.saturating_mul(1 << attempt.min(16)).min(PAUSE_MAX);
            assert!(pause >= span / 2 && pause <= span, "{attempt}: {pause:?}");
        }
        backoff.reset();
        assert!(backoff.next(&SystemEntropy) <= PAUSE_MIN);
    }
}
