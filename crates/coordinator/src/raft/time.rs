//! Ledger time: what the leader stamps on commands. Leases and retention go by it.
//!
//! It advances by the machine's monotonic clock and never goes back; the wall clock only slews it.
//! A wall clock that is off by a day therefore expires nothing early: ledger time approaches it by
//! one part in twenty.

use holdfast_common::{Clock, Timestamp};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// A difference that is noise and taken over at once.
const NOISE: Duration = Duration::from_secs(60);
const SLEW_PART: u32 = 20;

pub(crate) struct LedgerTime {
    clock: Arc<dyn Clock>,
    last: Mutex<Stamp>,
}

#[derive(Clone, Copy)]
struct Stamp {
    time: Timestamp,
    elapsed: Duration,
}

impl LedgerTime {
    /// Continues from the newest stamp in the ledger, if there is one. How long the cluster was
    /// down only the wall clock knows; it is believed when it says that time went on.
    pub(crate) fn new(clock: Arc<dyn Clock>, newest: Option<Timestamp>) -> Self {
        let time = newest.map_or(clock.now(), |newest| newest.max(clock.now()));
        let last = Mutex::new(Stamp { time, elapsed: clock.elapsed() });
        Self { clock, last }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = self.clock.elapsed();
        let step = elapsed.saturating_sub(last.elapsed);
        let time = slewed(last.time, step, self.clock.now());
        *last = Stamp { time, elapsed };
        time
    }
}

/// Where ledger time stands `step` after `last`, given what the wall clock says.
fn slewed(last: Timestamp, step: Duration, wall: Timestamp) -> Timestamp {
    let straight = last.plus(step);
    let slew = step / SLEW_PART;
    if wall >= straight {
        let ahead = wall.since(straight);
        return if ahead <= NOISE { wall } else { straight.plus(slew) };
    }
    let behind = straight.since(wall);
    straight.minus(slew.min(behind)).max(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_wall_clock_a_day_ahead_moves_ledger_time_by_a_twentieth() {
        let last = Timestamp::from_nanos(1_000_000_000_000_000_000);
        let now = slewed(last, HOUR, last.plus(DAY));
        assert_eq!(now.since(last), HOUR + HOUR / 20);
    }

    #[test]
    fn ledger_time_never_goes_back() {
        let last = Timestamp::from_nanos(1_000_000_000_000_000_000);
        assert!(slewed(last, HOUR, last.minus(DAY)) >= last);
        assert_eq!(slewed(last, Duration::ZERO, last.minus(DAY)), last);
    }

    #[test]
    fn small_differences_follow_the_wall_clock() {
        let last = Timestamp::from_nanos(1_000_000_000_000_000_000);
        let wall = last.plus(Duration::from_secs(31));
        assert_eq!(slewed(last, Duration::from_secs(30), wall), wall);
    }
}
