//! Chunks on their way: from being cut until they are stored, or known to be held.
//!
//! Each carries a token. A barrier turns the page: tokens given out before it are counted apart
//! from later ones, so that a checkpoint waits for what it needs while the run goes on.

use crate::flow::{Halt, lock, wait};
use holdfast_common::Result;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

#[derive(Default)]
pub(super) struct Unsettled {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    side: usize,
    counts: [usize; 2],
}

pub(super) struct Token {
    home: Arc<Unsettled>,
    side: usize,
}

impl Unsettled {
    pub(super) fn token(self: &Arc<Self>) -> Token {
        let mut state = lock(&self.state);
        let side = state.side;
        state.counts[side] += 1;
        Token { home: Arc::clone(self), side }
    }

    /// Waits until everything that has a token now is settled. One barrier at a time.
    pub(super) fn barrier(&self, halt: &Halt) -> Result<()> {
        let mut state = lock(&self.state);
        let before = state.side;
        debug_assert_eq!(state.counts[1 - before], 0, "two barriers at once");
        state.side = 1 - before;
        while state.counts[before] > 0 {
            halt.check()?;
            state = wait(&self.changed, state, Duration::MAX);
        }
        Ok(())
    }
}

#[cfg(test)]
impl Unsettled {
    pub(super) fn is_settled(&self) -> bool {
        lock(&self.state).counts == [0, 0]
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let mut state = lock(&self.home.state);
        state.counts[self.side] -= 1;
        let is_last = state.counts[self.side] == 0;
        drop(state);
        if is_last {
            self.home.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_barrier_waits_for_what_was_before_it_and_not_for_what_comes_after() {
        let (unsettled, halt) = (Arc::new(Unsettled::default()), Halt::new());
        let before = unsettled.token();
        std::thread::scope(|scope| {
            let barrier = scope.spawn(|| unsettled.barrier(&halt));
            while lock(&unsettled.state).side == 0 {
                std::thread::yield_now();
            }
            let after = unsettled.token();
            assert!(!barrier.is_finished());
            drop(before);
            barrier.join().unwrap().unwrap();
            drop(after);
        });
        assert_eq!(lock(&unsettled.state).counts, [0, 0]);
    }
}
