//! A store that fails on purpose, the same way every time its seed says so. For tests.
//!
//! What becomes of a call depends on the seed, the operation, the name and how often that pair was
//! called, and on nothing else: other calls and the order of tasks do not move the faults. It fails
//! before the work, or after it (a lost acknowledgement), or tears a put (stores a prefix, for
//! stores that are not atomic), or is slow. The seed is in its `Debug` form and in every error.

use super::Operation;
use crate::store::{Keeps, Locking, ObjectMeta, ObjectStore, Pending, Probe, Receipt};
use crate::{ObjectName, ObjectPrefix};
use bytes::Bytes;
use core::{fmt, ops::Range, time::Duration};
use holdfast_common::{Code, Error, Lock, Result};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Pairs of operation and name whose calls are counted; beyond it counting begins anew.
const PAIRS_MAX: usize = 1 << 16;

/// How often what goes wrong, in thousandths of the calls.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    pub fail_before_permille: u16,
    pub fail_after_permille: u16,
    /// Only for stores whose puts are not atomic: a torn object keeps its name.
    pub tear_permille: u16,
    pub delay_permille: u16,
    pub delay_max: Duration,
    /// Every listing takes this long.
    pub list_delay: Duration,
    /// After so many failures in a row of one operation on one name, the next call succeeds.
    pub streak_max: u32,
}

impl Faults {
    pub const NONE: Self = Self {
        fail_before_permille: 0,
        fail_after_permille: 0,
        tear_permille: 0,
        delay_permille: 0,
        delay_max: Duration::ZERO,
        list_delay: Duration::ZERO,
        streak_max: u32::MAX,
    };
}

pub struct Unreliable {
    inner: Arc<dyn ObjectStore>,
    faults: Faults,
    seed: u64,
    history: Mutex<HashMap<(Operation, String), History>>,
}

#[derive(Clone, Copy, Default)]
struct History {
    calls: u64,
    streak: u32,
}

/// What becomes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fate {
    delay: Duration,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    FailAfter,
    FailBefore,
    Succeed,
    /// Keeps this many thousandths of the bytes.
    Tear(u16),
}

impl Unreliable {
    pub fn new(inner: Arc<dyn ObjectStore>, faults: Faults, seed: u64) -> Self {
        Self { inner, faults, seed, history: Mutex::default() }
    }

    async fn endure<T>(
        &self,
        operation: Operation,
        subject: &str,
        call: Pending<'_, T>,
    ) -> Result<T> {
        let fate = self.fate(operation, subject);
        tokio::time::sleep(fate.delay).await;
        match fate.end {
            End::Succeed => call.await,
            End::FailBefore => Err(self.fault("before", operation, subject)),
            End::FailAfter | End::Tear(_) => {
                call.await?;
                Err(self.fault("after", operation, subject))
            }
        }
    }

    fn fate(&self, operation: Operation, subject: &str) -> Fate {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        if history.len() >= PAIRS_MAX {
            history.clear();
        }
        let past = history.entry((operation, subject.to_owned())).or_default();
        let mut fate = self.draw(operation, subject, past.calls);
        if past.streak >= self.faults.streak_max {
            fate.end = End::Succeed;
        }
        past.calls += 1;
        past.streak = if fate.end == End::Succeed { 0 } else { past.streak + 1 };
        fate
    }

    fn draw(&self, operation: Operation, subject: &str, call: u64) -> Fate {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes()).update(&call.to_le_bytes());
        hasher.update(operation.name().as_bytes()).update(b"\0").update(subject.as_bytes());
        let mut dice = hasher.finalize_xof();
        let mut throw = || {
            let mut bytes = [0; 8];
            dice.fill(&mut bytes);
            u16::try_from(u64::from_le_bytes(bytes) % 1000).unwrap_or_default()
        };
        let faults = &self.faults;
        let (end, kept, slow, span) = (throw(), throw(), throw(), throw());
        let before = faults.fail_before_permille;
        let after = before.saturating_add(faults.fail_after_permille);
        let tear = after.saturating_add(faults.tear_permille);
        let end = match end {
            end if end < before => End::FailBefore,
            end if end < after => End::FailAfter,
            end if end < tear && operation == Operation::Put => End::Tear(kept),
            _ => End::Succeed,
        };
        let listing = if operation == Operation::List { faults.list_delay } else { Duration::ZERO };
        let slow = slow < faults.delay_permille;
        let delay = if slow { faults.delay_max * u32::from(span) / 1000 } else { Duration::ZERO };
        Fate { delay: listing + delay, end }
    }

    fn fault(&self, when: &str, operation: Operation, subject: &str) -> Error {
        let (operation, seed) = (operation.name(), self.seed);
        let message = format!("{operation} of `{subject}` was made to fail {when} it, seed {seed}");
        Error::new(Code::LocationIoFailed, message)
    }
}

impl ObjectStore for Unreliable {
    fn put_new<'a>(&'a self, name: &'a ObjectName, bytes: Bytes) -> Pending<'a, Receipt> {
        Box::pin(async move {
            let fate = self.fate(Operation::Put, name.as_str());
            tokio::time::sleep(fate.delay).await;
            match fate.end {
                End::Succeed => return self.inner.put_new(name, bytes).await,
                End::FailBefore => {}
                End::FailAfter => drop(self.inner.put_new(name, bytes).await?),
                End::Tear(kept) => {
                    let kept = bytes.len() * usize::from(kept) / 1000;
                    drop(self.inner.put_new(name, bytes.slice(..kept)).await?);
                }
            }
            Err(self.fault(fate.end.when(), Operation::Put, name.as_str()))
        })
    }

    fn replace<'a>(&'a self, name: &'a ObjectName, bytes: Bytes) -> Pending<'a, ()> {
        // Never torn: that the name has the one or the other is what the call is for.
        let call = self.inner.replace(name, bytes);
        Box::pin(self.endure(Operation::Replace, name.as_str(), call))
    }

    fn get<'a>(&'a self, name: &'a ObjectName, bytes_max: usize) -> Pending<'a, Bytes> {
        let call = self.inner.get(name, bytes_max);
        Box::pin(self.endure(Operation::Get, name.as_str(), call))
    }

    fn get_range<'a>(&'a self, name: &'a ObjectName, range: Range<u64>) -> Pending<'a, Bytes> {
        let call = self.inner.get_range(name, range);
        Box::pin(self.endure(Operation::GetRange, name.as_str(), call))
    }

    fn head<'a>(&'a self, name: &'a ObjectName) -> Pending<'a, Option<ObjectMeta>> {
        Box::pin(self.endure(Operation::Head, name.as_str(), self.inner.head(name)))
    }

    fn list<'a>(
        &'a self,
        prefix: &'a ObjectPrefix,
        after: Option<&'a ObjectName>,
        limit: usize,
    ) -> Pending<'a, Vec<ObjectMeta>> {
        let call = self.inner.list(prefix, after, limit);
        Box::pin(self.endure(Operation::List, prefix.as_str(), call))
    }

    fn delete<'a>(&'a self, name: &'a ObjectName) -> Pending<'a, bool> {
        Box::pin(self.endure(Operation::Delete, name.as_str(), self.inner.delete(name)))
    }

    fn keeps(&self) -> Pending<'_, Keeps> {
        Box::pin(self.endure(Operation::Keeps, "", self.inner.keeps()))
    }

    fn locking(&self) -> Pending<'_, Locking> {
        Box::pin(self.endure(Operation::Locking, "", self.inner.locking()))
    }

    fn lock<'a>(&'a self, name: &'a ObjectName, lock: Lock) -> Pending<'a, Lock> {
        Box::pin(self.endure(Operation::Lock, name.as_str(), self.inner.lock(name, lock)))
    }

    fn probe(&self) -> Pending<'_, Probe> {
        Box::pin(self.endure(Operation::Probe, "", self.inner.probe()))
    }
}

impl End {
    const fn when(self) -> &'static str {
        match self {
            Self::FailBefore => "before",
            Self::FailAfter | Self::Succeed => "after",
            Self::Tear(_) => "within",
        }
    }
}

impl fmt::Debug for Unreliable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unreliable")
            .field("seed", &self.seed)
            .field("faults", &self.faults)
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;
    use holdfast_common::SystemClock;
    use tokio::time::Instant;

    const MIXED: Faults = Faults {
        fail_before_permille: 200,
        fail_after_permille: 200,
        tear_permille: 200,
        delay_permille: 500,
        delay_max: Duration::from_secs(1),
        ..Faults::NONE
    };

    fn store(faults: Faults, seed: u64) -> (Unreliable, Arc<MemoryStore>) {
        let memory = Arc::new(MemoryStore::new(Arc::new(SystemClock::start())));
        (Unreliable::new(memory.clone(), faults, seed), memory)
    }

    fn fates(store: &Unreliable, name: &str) -> Vec<Fate> {
        (0..50).map(|_| store.fate(Operation::Put, name)).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_faults_whatever_else_is_called() {
        let (one, _) = store(MIXED, 11);
        let (two, _) = store(MIXED, 11);
        fates(&two, "another");
        assert_eq!(fates(&one, "a"), fates(&two, "a"));
        let (other, _) = store(MIXED, 12);
        assert_ne!(fates(&one, "b"), fates(&other, "b"));
        assert!(format!("{one:?}").contains("seed: 11"), "{one:?}");
    }

    #[test]
    fn every_fault_happens_about_as_often_as_asked() {
        let (store, _) = store(MIXED, 3);
        let fates: Vec<Fate> = (0..100).flat_map(|n| fates(&store, &format!("n{n}"))).collect();
        let share = |wanted: fn(&Fate) -> bool| fates.iter().filter(|f| wanted(f)).count();
        for (what, count) in [
            ("before", share(|fate| fate.end == End::FailBefore)),
            ("after", share(|fate| fate.end == End::FailAfter)),
            ("torn", share(|fate| matches!(fate.end, End::Tear(_)))),
        ] {
            assert!((850..1150).contains(&count), "{what}: {count} of 5000, seed 3");
        }
        let slow = share(|fate| !fate.delay.is_zero());
        assert!((2300..2700).contains(&slow), "slow: {slow} of 5000, seed 3");
    }

    #[test]
    fn a_streak_of_failures_ends_where_it_was_told_to() {
        let faults = Faults { fail_before_permille: 1000, streak_max: 3, ..Faults::NONE };
        let (store, _) = store(faults, 1);
        let ends: Vec<bool> =
            fates(&store, "a").iter().map(|fate| fate.end == End::Succeed).collect();
        assert_eq!(ends[..8], [false, false, false, true, false, false, false, true]);
    }

    #[tokio::test]
    async fn each_fault_leaves_what_it_says() {
        let name = "a".parse().unwrap();
        let bytes = Bytes::from(vec![1; 1000]);
        for (faults, least, most) in [
            (Faults { fail_before_permille: 1000, ..Faults::NONE }, None, None),
            (Faults { fail_after_permille: 1000, ..Faults::NONE }, Some(1000), Some(1000)),
            (Faults { tear_permille: 1000, ..Faults::NONE }, Some(0), Some(999)),
        ] {
            let (store, memory) = store(faults, 21);
            let error = store.put_new(&name, bytes.clone()).await.unwrap_err();
            assert!(error.is_retryable() && error.message.ends_with("seed 21"), "{error}");
            let length = memory.head(&name).await.unwrap().map(|meta| meta.length);
            assert!(least <= length && length <= most, "{faults:?}: {length:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_listing_is_slow_and_right() {
        let faults = Faults { list_delay: Duration::from_secs(9), ..Faults::NONE };
        let (store, memory) = store(faults, 1);
        memory.put_new(&"a".parse().unwrap(), Bytes::new()).await.unwrap();
        let start = Instant::now();
        let page = store.list(&ObjectPrefix::all(), None, 10).await.unwrap();
        assert_eq!((page.len(), start.elapsed().as_secs()), (1, 9));
    }
}
