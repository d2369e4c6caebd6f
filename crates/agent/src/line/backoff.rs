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

    /// After a line that stood was lost. Everybody who was on it comes back as well: so each at any
    /// time within the span, which is longer the less there is to be said.
    pub fn after_loss(&mut self, entropy: &dyn Entropy, is_at_work: bool) -> Duration {
        self.reset();
        let span = if is_at_work { SPREAD_AT_WORK } else { SPREAD_IDLE };
        Duration::from_nanos(entropy.below(span.as_nanos() as u64 + 1))
    }

    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
const SPREAD_AT_WORK: Duration = Duration::from_millis(500);
const SPREAD_IDLE: Duration = Duration::from_secs(3);

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

    #[test]
    fn those_who_lost_a_line_come_back_all_over_the_span() {
        for (is_at_work, span) in [(true, SPREAD_AT_WORK), (false, SPREAD_IDLE)] {
            let mut tenths = [0; 10];
            for _ in 0..1000 {
                let mut backoff = Backoff { failures: 7 };
                let pause = backoff.after_loss(&SystemEntropy, is_at_work);
                assert!(pause <= span && backoff.failures == 0);
                tenths[((pause * 10).as_nanos() / span.as_nanos()).min(9) as usize] += 1;
            }
            assert!(tenths.iter().all(|count| (50..200).contains(count)), "{tenths:?}");
        }
    }
}
