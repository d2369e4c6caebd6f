//! When the next object of a location may be read back: pure, on ledger time.
//!
//! ```text
//!   memory ─ resting ──────────▶ a pass begins, so long after the one before began
//!          └ in a pass ─ paid? ─▶ one object is read, and takes its time at the budget's pace
//! ```
//!
//! Each object pushes forward the time at which the next one may be read, so the pace is even and a
//! pause is not made up for: whatever the pattern of calls, in no span of time more is read than
//! the budget gives for it and one object.

use holdfast_common::{Timestamp, limits};
use holdfast_ledger::row::{CheckPass, CheckRow};
use std::time::Duration;

const DAY_NANOS: u128 = 24 * 3600 * 1_000_000_000;

/// What a vault says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    /// 0: nothing is read.
    pub(super) bytes_per_day: u64,
    pub(super) every: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A new pass.
    Begin,
    GoOn,
    /// Nothing is read for so long.
    Wait(Duration),
}

impl Budget {
    /// How long an object of so many bytes takes; four days at most.
    fn takes(&self, bytes: u64) -> Duration {
        let bytes = bytes.max(limits::CHECK_OBJECT_BYTES_MIN);
        let nanos = u128::from(bytes) * DAY_NANOS / u128::from(self.bytes_per_day.max(1));
        Duration::from_nanos(u64::try_from(nanos.min(4 * DAY_NANOS)).unwrap_or(u64::MAX))
    }

    /// Until when what was read now is paid for.
    pub(super) fn pay(&self, paid: Timestamp, now: Timestamp, bytes: u64) -> Timestamp {
        paid.max(now).plus(self.takes(bytes))
    }

    /// What was read under a smaller budget is not waited for longer than any object takes now.
    pub(super) fn next(&self, memory: &mut CheckRow, now: Timestamp) -> Next {
        let longest = self.takes(limits::REACH_BYTES_MAX as u64);
        memory.paid = memory.paid.min(now.plus(longest));
        let owed = memory.paid.since(now);
        let rests = match (memory.pass, memory.last) {
            (Some(_), _) => Duration::ZERO,
            // What lay there when this memory began was hashed when it came.
            (None, last) => {
                let before = last.map_or(memory.since, |CheckPass { began, .. }| began);
                before.plus(self.every).since(now)
            }
        };
        match (owed.max(rests), memory.pass) {
            (wait, _) if !wait.is_zero() => Next::Wait(wait),
            (_, None) => Next::Begin,
            (_, Some(_)) => Next::GoOn,
        }
    }
}
