//! What the leader remembers of a vault's round between two tries: when to try again, and what was
//! marked for it.
//!
//! Nothing of it counts: whoever leads next begins without. A mark of a round stays right for as
//! long as that is the same: what came after it was made is noted, and what was forgotten since is
//! needed by one mark too many.

use holdfast_common::{Timestamp, limits};
use holdfast_ledger::row::{CollectionRow, Stage};
use holdfast_repository::collect::Mark;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Between two tries, longer and longer.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(600);
/// A round is not open for longer.
const ROUND_MAX: Duration = Duration::from_secs(limits::COLLECT_ROUND_SECS_MAX);

#[derive(Default)]
pub(super) struct Care {
    /// The stage that was tried last, and of which round.
    tried: Option<(u64, Stage)>,
    pause: Duration,
    again: Duration,
    kept: Mutex<Option<Kept>>,
}

/// The marks of a round: the first one, and the one after it was cleared there.
struct Kept {
    round: u64,
    cleared: u64,
    mark: Arc<Mark>,
}

impl Care {
    /// Whether this stage of a round is to be tried now, by the time since the start.
    pub(super) fn is_due(&mut self, round: &CollectionRow, now: Duration) -> bool {
        let tried = Some((round.round, round.stage));
        if self.tried != tried {
            (self.tried, self.pause, self.again) = (tried, Duration::ZERO, Duration::ZERO);
        }
        self.again <= now
    }

    /// It went on, or has to wait for something.
    pub(super) fn note(&mut self, waits: bool, now: Duration) {
        self.pause = match waits {
            true => (2 * self.pause).clamp(PAUSE_MIN, PAUSE_MAX),
            false => Duration::ZERO,
        };
        self.again = now + self.pause;
    }

    /// What was marked of a round, where it was cleared last or not at all.
    pub(super) fn mark(&self, round: u64, cleared: u64) -> Option<Arc<Mark>> {
        let is_it = |kept: &&Kept| (kept.round, kept.cleared) == (round, cleared);
        self.kept().as_ref().filter(is_it).map(|kept| kept.mark.clone())
    }

    pub(super) fn keep(&self, round: u64, cleared: u64, mark: Mark) -> Arc<Mark> {
        let mark = Arc::new(mark);
        *self.kept() = Some(Kept { round, cleared, mark: mark.clone() });
        mark
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What comes while a round is open is noted, and all that began before it is waited for: a new one
/// has less to note, and may wait for others.
pub(super) fn is_too_long(round: &CollectionRow, now: Timestamp) -> bool {
    round.begun.plus(ROUND_MAX) <= now
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{moment, round};

    #[test]
    fn a_round_that_is_open_for_days_ends() {
        let days = |count: u64| moment(count * 24 * 3600);
        let row = CollectionRow { begun: days(1), ..round(Stage::Sealed) };
        assert!(!is_too_long(&row, days(3)));
        assert!(is_too_long(&row, days(4)));
    }

    #[test]
    fn what_has_to_wait_is_tried_less_and_less_often_until_it_goes_on() {
        let (mut care, row) = (Care::default(), round(Stage::Marking));
        let mut now = Duration::ZERO;
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600] {
            assert!(care.is_due(&row, now));
            care.note(true, now);
            now += Duration::from_secs(seconds);
            assert!(!care.is_due(&row, now - Duration::from_millis(1)), "{seconds}");
        }
        assert!(care.is_due(&round(Stage::Sealed), now - Duration::from_secs(1)), "another stage");
        care.note(false, now);
        assert!(care.is_due(&round(Stage::Sealed), now));
    }

    #[test]
    fn a_mark_is_kept_for_its_round_and_for_where_that_was_cleared() {
        let care = Care::default();
        assert!(care.mark(7, 0).is_none());
        care.keep(7, 0, Mark::new());
        assert!(care.mark(7, 0).is_some());
        assert!(care.mark(8, 0).is_none() && care.mark(7, 9).is_none());
        care.keep(7, 9, Mark::new());
        assert!(care.mark(7, 9).is_some() && care.mark(7, 10).is_none());
    }
}
