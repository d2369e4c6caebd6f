//! What was proven of locations, each proof made by one caller while the others wait for it.
//!
//! A proof of a bucket is some fifty requests, and one of a mount that hangs is a thread: many puts
//! want the same one at the same moment. One that failed because nobody answered, or that found no
//! fence, is not made anew for a while; what is cheap to look at again is looked at again. Where
//! something failed later a location shows itself once more; what it enforces is known by then.

use holdfast_common::{Code, Error, Name, VaultId};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How long a failure stands for the next tries.
const PAUSE: Duration = Duration::from_secs(2);

/// A location where it lies, and the vault whose it is.
pub(super) type Key = (Name, String, VaultId);

/// Why a location was not proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unproven {
    pub(super) error: Error,
    /// It is the vault's, and what it enforces could not be tried: it can be read.
    pub(super) is_readable: bool,
}

#[derive(Default)]
pub(super) struct Proofs {
    proven: Mutex<HashSet<Key>>,
    /// What these enforce was tried.
    tried: Mutex<HashSet<Key>>,
    turns: Mutex<HashMap<Key, Turn>>,
}

/// Whose turn it is, and how the last one failed.
type Turn = Arc<tokio::sync::Mutex<Option<(Unproven, Instant)>>>;

impl Proofs {
    /// Once proven, until it is doubted; and never by two at once.
    pub(super) async fn once(
        &self,
        key: Key,
        prove: impl Future<Output = Result<(), Unproven>>,
    ) -> Result<(), Unproven> {
        if self.is_proven(&key) {
            return Ok(());
        }
        let turn = self.turn(&key);
        let mut last = turn.lock().await;
        if self.is_proven(&key) {
            return Ok(());
        }
        if let Some((unproven, _)) = last.as_ref().filter(|(_, at)| at.elapsed() < PAUSE) {
            return Err(unproven.clone());
        }
        let proven = prove.await;
        *last = None;
        match &proven {
            Ok(()) => {
                lock(&self.tried).insert(key.clone());
                lock(&self.proven).insert(key);
            }
            Err(unproven) if is_dear(&unproven.error) => {
                *last = Some((unproven.clone(), Instant::now()));
            }
            Err(_) => {}
        }
        proven
    }

    /// Whoever wants to write there asks again whether it is the vault's.
    pub(super) fn doubt(&self, name: &Name) {
        lock(&self.proven).retain(|(proven, ..)| proven != name);
    }

    pub(super) fn was_tried(&self, key: &Key) -> bool {
        lock(&self.tried).contains(key)
    }

    fn is_proven(&self, key: &Key) -> bool {
        lock(&self.proven).contains(key)
    }

    fn turn(&self, key: &Key) -> Turn {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.entry(key.clone()).or_default().clone()
    }
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// To be found out again it takes a race, or a wait.
fn is_dear(error: &Error) -> bool {
    matches!(error.code, Code::LocationIoFailed | Code::LocationUnfenced)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn key() -> Key {
        ("far".parse().unwrap(), "local:/far".to_owned(), VaultId::from_bytes([1; 16]))
    }

    /// Eight callers at once; how many proofs were made for them, and how many were told no.
    async fn eight(proofs: &Proofs, outcome: Option<Code>) -> (usize, usize) {
        let made = AtomicUsize::new(0);
        let prove = async || {
            made.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(10)).await;
            let refused = |code| Unproven { error: Error::new(code, "far"), is_readable: false };
            outcome.map_or(Ok(()), |code| Err(refused(code)))
        };
        let told = futures::future::join_all((0..8).map(|_| proofs.once(key(), prove()))).await;
        let refused = told.iter().filter(|told| told.is_err()).count();
        (made.load(Ordering::SeqCst), refused)
    }

    #[tokio::test(start_paused = true)]
    async fn one_proof_serves_all_who_ask_and_a_dear_failure_stands_for_a_while() {
        let proofs = Proofs::default();
        for code in [Code::LocationIoFailed, Code::LocationUnfenced] {
            assert_eq!(eight(&proofs, Some(code)).await, (1, 8), "{code:?}");
            assert_eq!(eight(&proofs, None).await, (0, 8), "it is not made anew at once: {code:?}");
            tokio::time::advance(PAUSE).await;
        }
        assert_eq!(eight(&proofs, None).await, (1, 0));
        assert_eq!(eight(&proofs, Some(Code::LocationIoFailed)).await, (0, 0), "it stands");
        proofs.doubt(&"far".parse().unwrap());
        assert!(proofs.was_tried(&key()), "what it enforces is known");
        assert_eq!(eight(&proofs, None).await, (1, 0), "whose it is, is asked again");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_cheap_to_look_at_is_looked_at_again() {
        let proofs = Proofs::default();
        assert_eq!(eight(&proofs, Some(Code::LocationEmpty)).await, (8, 8));
        assert_eq!(eight(&proofs, None).await, (1, 0), "the disk was mounted meanwhile");
    }
}
