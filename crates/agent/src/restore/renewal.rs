//! Something that many use and that is replaced when it failed: by one of them, once, however many
//! saw it fail.
//!
//! Whoever comes while it is being replaced waits, and what comes of it is his answer too. If each
//! tried in turn, for as long as the one before, the last of them would wait as many times as there
//! are. Whoever only uses it waits for nobody.

use crate::flow::lock;
use holdfast_common::Result;
use std::sync::{Arc, Mutex, OnceLock};

pub(super) struct Renewal<T>(Mutex<State<T>>);

struct State<T> {
    current: Arc<T>,
    /// Its being replaced, while it is.
    attempt: Option<Attempt>,
}

type Attempt = Arc<OnceLock<Result<()>>>;

impl<T> Renewal<T> {
    pub(super) fn new(first: T) -> Self {
        Self(Mutex::new(State { current: Arc::new(first), attempt: None }))
    }

    pub(super) fn current(&self) -> Arc<T> {
        Arc::clone(&lock(&self.0).current)
    }

    /// Replaces what failed, unless somebody has, or tries to just now.
    pub(super) fn renew(&self, failed: &Arc<T>, renew: impl FnOnce() -> Result<T>) -> Result<()> {
        let attempt = {
            let mut state = lock(&self.0);
            if !Arc::ptr_eq(&state.current, failed) {
                return Ok(());
            }
            Arc::clone(state.attempt.get_or_insert_default())
        };
        let outcome = attempt.get_or_init(|| {
            let renewed = Arc::new(renew()?);
            lock(&self.0).current = renewed;
            Ok(())
        });
        lock(&self.0).attempt.take_if(|latest| Arc::ptr_eq(latest, &attempt));
        outcome.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::{Code, Error};
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::thread;

    const ALL: usize = 8;

    /// So many see it fail at once. What each of them heard, and how often it was tried.
    fn all_at_once(renewal: &Renewal<u32>, outcome: &Result<u32>) -> (Vec<Result<()>>, usize) {
        let (failed, tries) = (renewal.current(), AtomicUsize::new(0));
        let renew = || {
            tries.fetch_add(1, SeqCst);
            let all_are_there = || {
                let state = lock(&renewal.0);
                state.attempt.as_ref().is_none_or(|attempt| Arc::strong_count(attempt) > ALL)
            };
            while tries.load(SeqCst) == 1 && !all_are_there() {
                thread::yield_now();
            }
            outcome.clone()
        };
        let heard = thread::scope(|scope| {
            let all: Vec<_> =
                (0..ALL).map(|_| scope.spawn(|| renewal.renew(&failed, renew))).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        (heard, tries.into_inner())
    }

    #[test]
    fn it_is_replaced_once_however_many_saw_it_fail() {
        let renewal = Renewal::new(1);
        let (heard, tries) = all_at_once(&renewal, &Ok(2));
        assert!(heard.iter().all(Result::is_ok));
        assert_eq!((tries, *renewal.current()), (1, 2));
    }

    #[test]
    fn whoever_waited_hears_that_it_failed_and_the_next_one_tries_again() {
        let renewal = Renewal::new(1);
        let away = Error::new(Code::ClusterUnreachable, "nobody answers");
        for _ in 0..2 {
            let (heard, tries) = all_at_once(&renewal, &Err(away.clone()));
            let codes = heard.into_iter().map(|heard| heard.unwrap_err().code);
            assert!(codes.into_iter().all(|code| code == Code::ClusterUnreachable));
            assert_eq!((tries, *renewal.current()), (1, 1));
        }
    }

    #[test]
    fn what_was_replaced_meanwhile_is_not_replaced_again() {
        let renewal = Renewal::new(1);
        let failed = renewal.current();
        renewal.renew(&failed, || Ok(2)).unwrap();
        renewal.renew(&failed, || panic!("it was replaced")).unwrap();
        assert_eq!(*renewal.current(), 2);
    }
}
