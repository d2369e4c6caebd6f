//! Whose turn it is in a directory: one who is answered about it, or the one who asks the kernel
//! to forget names of it.
//!
//! The kernel locks a directory while it waits for our answer about a name in it, and wants the
//! same lock to forget one. Whoever waits for that lock cannot be killed, and with it stay the
//! process and the mount. So nothing of a directory is forgotten while somebody waits for an
//! answer about it, nothing at all once the mount is to end, and a process ends only when nobody
//! waits in the kernel any more.

use crate::lock;
use core::time::Duration;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub(super) struct Turns {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    /// The directories that are being answered about, each as often as it is.
    answered: Vec<u64>,
    is_forgetting: bool,
    is_ending: bool,
}

/// Somebody is being answered about a directory.
pub(super) struct Answering<'a> {
    turns: &'a Turns,
    directory: u64,
}

impl Turns {
    pub(super) fn answer(&self, directory: u64) -> Answering<'_> {
        lock(&self.state).answered.push(directory);
        Answering { turns: self, directory }
    }

    /// Forgets a name of a directory when nobody is being answered about it; whether that was
    /// soon.
    pub(super) fn forget(&self, directory: u64, forget: impl FnOnce()) -> bool {
        let is_wanted = |state: &mut State| !state.is_ending && state.answered.contains(&directory);
        let waited = self.moved.wait_timeout_while(lock(&self.state), PATIENCE, is_wanted);
        let (mut state, late) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.is_ending || late.timed_out() {
            return false;
        }
        state.is_forgetting = true;
        drop(state);
        forget();
        lock(&self.state).is_forgetting = false;
        self.moved.notify_all();
        true
    }

    /// Nothing is forgotten from now on.
    pub(super) fn end(&self) {
        lock(&self.state).is_ending = true;
        self.moved.notify_all();
    }

    /// Waits until nobody waits in the kernel.
    pub(super) fn wait(&self) {
        let forgetting = self.moved.wait_while(lock(&self.state), |state| state.is_forgetting);
        drop::<MutexGuard<'_, State>>(forgetting.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.turns.state);
        let at = state.answered.iter().position(|answered| *answered == self.directory);
        if let Some(at) = at {
            state.answered.swap_remove(at);
        }
        drop(state);
        self.turns.moved.notify_all();
    }
}

/// For so long an answer may be waited for before something is forgotten; longer, and it is asked
/// for from elsewhere.
const PATIENCE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn nothing_is_forgotten_of_a_directory_that_somebody_is_answered_about() {
        let turns = Turns::default();
        let (first, second) = (turns.answer(7), turns.answer(7));
        assert!(!turns.forget(7, || panic!("somebody waits for an answer about it")));
        let mut forgotten = 0;
        assert!(turns.forget(8, || forgotten += 1));
        drop(first);
        assert!(!turns.forget(7, || panic!("another one waits still")));
        drop(second);
        assert!(turns.forget(7, || forgotten += 1));
        assert_eq!(forgotten, 2);
    }

    #[test]
    fn nothing_is_forgotten_once_it_is_to_end_and_the_end_waits_for_what_is() {
        let turns = Turns::default();
        let (begun, go_on) = (Condvar::new(), Mutex::new((false, false)));
        thread::scope(|scope| {
            scope.spawn(|| {
                turns.forget(7, || {
                    lock(&go_on).0 = true;
                    begun.notify_all();
                    drop(begun.wait_while(lock(&go_on), |(_, may)| !*may).unwrap());
                })
            });
            drop(begun.wait_while(lock(&go_on), |(begun, _)| !*begun).unwrap());
            turns.end();
            assert!(!turns.forget(8, || panic!("it is to end")));
            assert!(lock(&turns.state).is_forgetting);
            lock(&go_on).1 = true;
            begun.notify_all();
            turns.wait();
        });
        assert!(!lock(&turns.state).is_forgetting);
    }
}
