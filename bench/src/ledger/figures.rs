//! Percentiles by rank and middles of rounds. A percentile is always a value that was measured:
//! the smallest that at least so many of a hundred do not exceed.

use core::time::Duration;

/// What one closed loop came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    pub per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
}

impl Pace {
    /// Of nothing there is none.
    pub fn of(mut took: Vec<Duration>, elapsed: Duration) -> Option<Self> {
        took.sort_unstable();
        Some(Self {
            per_second: took.len() as f64 / elapsed.as_secs_f64(),
            p50: percentile(&took, 50)?,
            p99: percentile(&took, 99)?,
        })
    }
}

/// Nearest rank. `sorted` ascends; of nothing there is none.
pub fn percentile(sorted: &[Duration], hundredths: usize) -> Option<Duration> {
    debug_assert!((1..=100).contains(&hundredths) && sorted.is_sorted());
    let rank = (sorted.len() * hundredths).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(values: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        values.into_iter().map(Duration::from_millis).collect()
    }

    #[test]
    fn a_percentile_is_the_value_at_its_nearest_rank() {
        let hundred = millis(1..=100);
        for wanted in [1, 50, 99, 100] {
            let found = percentile(&hundred, wanted).unwrap();
            assert_eq!(found, Duration::from_millis(wanted as u64));
        }
        let thousand = millis(1..=1000);
        assert_eq!(percentile(&thousand, 99), Some(Duration::from_millis(990)));
        assert_eq!(percentile(&millis(1..=101), 99), Some(Duration::from_millis(100)));
    }

    #[test]
    fn of_few_the_99th_is_the_largest_and_of_nothing_there_is_none() {
        assert_eq!(percentile(&millis(1..=50), 99), Some(Duration::from_millis(50)));
        assert_eq!(percentile(&millis([7, 9, 11]), 50), Some(Duration::from_millis(9)));
        assert_eq!(percentile(&millis([7, 9]), 50), Some(Duration::from_millis(7)));
        assert_eq!(percentile(&millis([7]), 1), Some(Duration::from_millis(7)));
        assert_eq!(percentile(&[], 50), None);
        assert_eq!(Pace::of(Vec::new(), Duration::from_secs(1)), None);
    }

    #[test]
    fn a_pace_counts_all_and_sorts_what_came_in_any_order() {
        let pace = Pace::of(millis([9, 1, 5]), Duration::from_millis(1500)).unwrap();
        assert_eq!(pace.per_second, 2.0);
        assert_eq!((pace.p50, pace.p99), (Duration::from_millis(5), Duration::from_millis(9)));
    }
}
