//! Which locations did not answer a short while ago.
//!
//! A mount that hangs gives no error, and whoever asks it waits with it. What one found out spares
//! the others the wait: it is opened in a moment or not at all, and read when nothing else is left.
//! What was opened there is not closed: opened anew it would hang too.

use holdfast_common::{Code, Error, Name, Result};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// What a location is given to be opened by whoever can do without it.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same of one that did not answer.
const MOMENT: Duration = Duration::from_millis(250);
/// How long nobody tries whether it answers again, but those who look after it.
const MEMORY: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(crate) struct Silent(Mutex<HashMap<Name, Instant>>);

impl Silent {
    pub(crate) fn has(&self, name: &Name) -> bool {
        self.lock().get(name).is_some_and(|since| since.elapsed() < MEMORY)
    }

    /// It did not answer within what it was given.
    pub(crate) fn note(&self, name: &Name) -> Error {
        self.lock().insert(name.clone(), Instant::now());
        silent(name)
    }

    pub(crate) fn heard(&self, name: &Name) {
        self.lock().remove(name);
    }

    /// Waits for a location to be opened, as long as that holds nobody up.
    pub(super) async fn bound<T>(
        &self,
        name: &Name,
        opening: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let patience = if self.has(name) { MOMENT } else { PATIENCE };
        let opened = tokio::time::timeout(patience, opening).await;
        opened.unwrap_or_else(|_| Err(self.note(name)))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn silent(name: &Name) -> Error {
    Error::new(Code::LocationIoFailed, format!("the location `{name}` does not answer"))
}

/// Whether this is said of a location that did not answer, and not by it.
pub(crate) fn is_silent(name: &Name, error: &Error) -> bool {
    *error == silent(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    #[tokio::test(start_paused = true)]
    async fn what_hangs_holds_up_the_first_and_the_next_for_a_moment() {
        let (silent, name) = (Silent::default(), "far".parse().unwrap());
        for patience in [PATIENCE, MOMENT, MOMENT] {
            let begun = Instant::now();
            let error = silent.bound(&name, pending::<Result<()>>()).await.unwrap_err();
            assert!(is_silent(&name, &error), "{error}");
            assert!(begun.elapsed() < patience + Duration::from_millis(10));
        }
        assert!(silent.has(&name));
        silent.bound(&name, ready(Ok(()))).await.unwrap();
        assert!(silent.has(&name), "what was open says nothing");
        silent.heard(&name);
        assert!(!silent.has(&name));
        let other = Error::new(Code::LocationIoFailed, "it says no");
        let error = silent.bound(&name, ready(Err::<(), _>(other))).await.unwrap_err();
        assert!(!is_silent(&name, &error) && !silent.has(&name), "it answered");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_while_it_is_tried_again() {
        let (silent, name) = (Silent::default(), "far".parse().unwrap());
        drop(silent.note(&name));
        tokio::time::advance(MEMORY).await;
        assert!(!silent.has(&name));
    }
}
