//! The least that a sender of a pack must bring, window by window.
//!
//! A pack on its way holds a share of the budget. Who brings too little within a window loses it:
//! however much came before, and however evenly it trickles. A window ends when its quota came.

use holdfast_common::limits;
use std::time::Duration;

pub(crate) struct Pace {
    window_ends: Duration,
    missing: u64,
}

const WINDOW: Duration = Duration::from_secs(limits::PUT_WINDOW_SECS);
const QUOTA: u64 = limits::PUT_BYTES_PER_SECOND_MIN * limits::PUT_WINDOW_SECS;

impl Pace {
    pub(crate) fn new(now: Duration) -> Self {
        Self { window_ends: now + WINDOW, missing: QUOTA }
    }

    /// How long the next bytes may take.
    pub(crate) fn patience(&self, now: Duration) -> Duration {
        self.window_ends.saturating_sub(now)
    }

    pub(crate) fn came(&mut self, bytes: usize, now: Duration) {
        self.missing = self.missing.saturating_sub(bytes as u64);
        if self.missing == 0 {
            *self = Self::new(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds until a sender of one frame every `pause` is cut off; `None` when its pack is whole.
    fn cut_off_after(first: usize, frame: usize, pause: Duration) -> Option<u64> {
        let (mut now, mut sent) = (Duration::ZERO, first);
        let mut pace = Pace::new(now);
        pace.came(first, now);
        while sent < limits::PACK_BYTES_MAX {
            if pause > pace.patience(now) {
                return Some((now + pace.patience(now)).as_secs());
            }
            now += pause;
            sent += frame;
            pace.came(frame, now);
        }
        None
    }

    #[test]
    fn a_trickle_is_cut_off_when_the_window_ends_whatever_came_before() {
        let minute = Duration::from_secs(60);
        for first in [0, 100, 15 * limits::MIB] {
            assert_eq!(cut_off_after(first, 1, minute), Some(limits::PUT_WINDOW_SECS), "{first}");
        }
    }

    #[test]
    fn the_least_that_a_policy_may_ask_for_is_enough() {
        let frame = limits::STREAM_FRAME_BYTES;
        let rate = limits::POLICY_BYTES_PER_SECOND_MIN / limits::PACKS_IN_FLIGHT_MAX as u64;
        let pause = Duration::from_secs(frame as u64 / rate);
        assert_eq!(cut_off_after(0, frame, pause), None);
        assert!(cut_off_after(0, frame, 4 * pause).is_some(), "and a quarter of it is not");
    }
}
