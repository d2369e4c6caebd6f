//! A location in memory, for tests and for a cluster that is tried out.
//!
//! It keeps the trait's promises and can show where others break them: with a `settle` time an
//! object is visible before it is durable, as on a real disk, and [`MemoryStore::crash`] loses what
//! had not settled. Its size has a bound, so that "full" can be tested too. It is never offered as
//! a location of a vault: what lies here dies with the process.

use crate::store::{Keeps, Locking, ObjectMeta, ObjectStore, Pending, Probe, Receipt};
use crate::{ObjectName, ObjectPrefix, refusal};
use bytes::Bytes;
use core::{fmt, ops::Range, time::Duration};
use holdfast_common::{Clock, Code, Error, Lock, Result, Timestamp, limits};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Clone, Copy, Debug)]
pub struct MemoryOptions {
    pub bytes_max: u64,
    /// How long an object is visible before it is durable and acknowledged.
    pub settle: Duration,
    /// Objects can be locked in it.
    pub locks: bool,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self { bytes_max: 1 << 30, settle: Duration::ZERO, locks: false }
    }
}

pub struct MemoryStore {
    options: MemoryOptions,
    clock: Arc<dyn Clock>,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    objects: BTreeMap<ObjectName, Object>,
    bytes: u64,
    crashes: u64,
}

struct Object {
    bytes: Bytes,
    hash: blake3::Hash,
    modified: Timestamp,
    durable: bool,
    lock: Option<Lock>,
}

impl MemoryStore {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_options(MemoryOptions::default(), clock)
    }

    pub fn with_options(options: MemoryOptions, clock: Arc<dyn Clock>) -> Self {
        Self { options, clock, shelf: Mutex::default() }
    }

    /// Power is cut: what was not durable is gone, and whoever waits for it is told so.
    pub fn crash(&self) {
        let mut shelf = self.shelf();
        shelf.crashes += 1;
        shelf.objects.retain(|_, object| object.durable);
        shelf.bytes = shelf.objects.values().map(|object| object.bytes.len() as u64).sum();
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the object visible; says whether it was, and how many crashes came before.
    fn place(&self, receipt: &Receipt, bytes: Bytes) -> Result<(bool, u64)> {
        let mut shelf = self.shelf();
        if let Some(held) = shelf.objects.get(&receipt.name) {
            refusal::check_same(receipt, held.bytes.len() as u64, &held.hash)?;
            return Ok((true, shelf.crashes));
        }
        if shelf.bytes.saturating_add(receipt.length) > self.options.bytes_max {
            return Err(full(&receipt.name));
        }
        shelf.bytes += receipt.length;
        let object = self.object(receipt, bytes, self.options.settle.is_zero());
        shelf.objects.insert(receipt.name.clone(), object);
        Ok((false, shelf.crashes))
    }

    /// The same over whatever has the name, durable at once: a crash must not take both.
    fn place_over(&self, receipt: &Receipt, bytes: Bytes) -> Result<()> {
        let mut shelf = self.shelf();
        let held = shelf.objects.get(&receipt.name).map_or(0, |held| held.bytes.len() as u64);
        let others = shelf.bytes - held;
        if others.saturating_add(receipt.length) > self.options.bytes_max {
            return Err(full(&receipt.name));
        }
        shelf.bytes = others + receipt.length;
        let lock = shelf.objects.get(&receipt.name).and_then(|held| held.lock);
        let object = Object { lock, ..self.object(receipt, bytes, true) };
        shelf.objects.insert(receipt.name.clone(), object);
        Ok(())
    }

    fn object(&self, receipt: &Receipt, bytes: Bytes, durable: bool) -> Object {
        Object { bytes, hash: receipt.blake3, modified: self.clock.now(), durable, lock: None }
    }

    async fn settle(&self, name: &ObjectName, crashes: u64) -> Result<()> {
        if self.options.settle.is_zero() {
            return Ok(());
        }
        tokio::time::sleep(self.options.settle).await;
        let mut shelf = self.shelf();
        let same_life = shelf.crashes == crashes;
        match shelf.objects.get_mut(name) {
            Some(object) if same_life => {
                object.durable = true;
                Ok(())
            }
            _ => Err(Error::new(
                Code::LocationIoFailed,
                format!("object {name} was lost before it was durable"),
            )),
        }
    }

    fn held(&self, name: &ObjectName) -> Result<Bytes> {
        let shelf = self.shelf();
        let object = shelf.objects.get(name).ok_or_else(|| refusal::missing(name))?;
        Ok(object.bytes.clone())
    }

    fn page(
        &self,
        prefix: &ObjectPrefix,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> Vec<ObjectMeta> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.shelf()
            .objects
            .range((from, Bound::Unbounded))
            .filter(|(name, _)| prefix.begins(name))
            .take(limit.clamp(1, limits::LIST_PAGE_ROWS))
            .map(|(name, object)| object.meta(name))
            .collect()
    }
}

impl Object {
    fn meta(&self, name: &ObjectName) -> ObjectMeta {
        let length = self.bytes.len() as u64;
        ObjectMeta { name: name.clone(), length, modified: self.modified }
    }
}

fn full(name: &ObjectName) -> Error {
    Error::new(Code::LocationFull, format!("no room for object {name} in memory"))
}

impl ObjectStore for MemoryStore {
    fn put_new<'a>(&'a self, name: &'a ObjectName, bytes: Bytes) -> Pending<'a, Receipt> {
        Box::pin(async move {
            refusal::check_object(name, bytes.len())?;
            let receipt = Receipt::of(name, &bytes);
            let (existed, crashes) = self.place(&receipt, bytes)?;
            self.settle(name, crashes).await?;
            Ok(if existed { receipt.existed() } else { receipt })
        })
    }

    fn replace<'a>(&'a self, name: &'a ObjectName, bytes: Bytes) -> Pending<'a, ()> {
        Box::pin(async move {
            refusal::check_object(name, bytes.len())?;
            tokio::time::sleep(self.options.settle).await;
            self.place_over(&Receipt::of(name, &bytes), bytes)
        })
    }

    fn get<'a>(&'a self, name: &'a ObjectName, bytes_max: usize) -> Pending<'a, Bytes> {
        Box::pin(async move {
            let bytes = self.held(name)?;
            refusal::check_whole(name, bytes.len() as u64, bytes_max)?;
            Ok(bytes)
        })
    }

    fn get_range<'a>(&'a self, name: &'a ObjectName, range: Range<u64>) -> Pending<'a, Bytes> {
        Box::pin(async move {
            let bytes = self.held(name)?;
            let wanted = refusal::check_range(name, &range, bytes.len() as u64)?;
            let start = bytes.len().min(usize::try_from(range.start).unwrap_or(usize::MAX));
            Ok(bytes.slice(start..start + wanted))
        })
    }

    fn head<'a>(&'a self, name: &'a ObjectName) -> Pending<'a, Option<ObjectMeta>> {
        Box::pin(async move { Ok(self.shelf().objects.get(name).map(|object| object.meta(name))) })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a ObjectPrefix,
        after: Option<&'a ObjectName>,
        limit: usize,
    ) -> Pending<'a, Vec<ObjectMeta>> {
        Box::pin(async move { Ok(self.page(prefix, after, limit)) })
    }

    fn delete<'a>(&'a self, name: &'a ObjectName) -> Pending<'a, bool> {
        Box::pin(async move {
            let mut shelf = self.shelf();
            let now = self.clock.now();
            let lock = shelf.objects.get(name).and_then(|object| object.lock);
            if let Some(lock) = lock.filter(|lock| lock.until > now) {
                let message = format!("{name} is locked until {}", lock.until);
                return Err(Error::new(Code::ObjectLocked, message));
            }
            let Some(object) = shelf.objects.remove(name) else { return Ok(false) };
            shelf.bytes -= object.bytes.len() as u64;
            Ok(true)
        })
    }

    fn locking(&self) -> Pending<'_, Locking> {
        let locking = if self.options.locks { Locking::Enforced } else { Locking::Off };
        Box::pin(async move { Ok(locking) })
    }

    fn lock<'a>(&'a self, name: &'a ObjectName, lock: Lock) -> Pending<'a, Lock> {
        Box::pin(async move {
            let mut shelf = self.shelf();
            let object = shelf.objects.get_mut(name).ok_or_else(|| refusal::missing(name))?;
            let held = object.lock.unwrap_or(lock);
            let (class, until) = (held.class.max(lock.class), held.until.max(lock.until));
            Ok(*object.lock.insert(Lock { class, until }))
        })
    }

    fn keeps(&self) -> Pending<'_, Keeps> {
        Box::pin(async { Ok(Keeps::ALL) })
    }

    fn probe(&self) -> Pending<'_, Probe> {
        Box::pin(async move {
            let free = self.options.bytes_max.saturating_sub(self.shelf().bytes);
            Ok(Probe { create_only: true, free_bytes: Some(free), ..Probe::default() })
        })
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("options", &self.options).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::SystemClock;

    fn store(options: MemoryOptions) -> Arc<MemoryStore> {
        Arc::new(MemoryStore::with_options(options, Arc::new(SystemClock::start())))
    }

    #[tokio::test(start_paused = true)]
    async fn a_crash_loses_what_had_not_settled_and_tells_whoever_waits() {
        let settle = Duration::from_secs(1);
        let store = store(MemoryOptions { settle, ..MemoryOptions::default() });
        let (kept, lost) = ("kept".parse().unwrap(), "lost".parse().unwrap());
        store.put_new(&kept, Bytes::from_static(b"a")).await.unwrap();

        let crash = async {
            tokio::time::sleep(settle / 2).await;
            assert!(store.head(&lost).await.unwrap().is_some(), "visible before durable");
            store.crash();
        };
        let (put, ()) = tokio::join!(store.put_new(&lost, Bytes::from_static(b"b")), crash);
        assert_eq!(put.unwrap_err().code, Code::LocationIoFailed);
        assert!(store.head(&lost).await.unwrap().is_none());
        assert_eq!(store.get(&kept, 1).await.unwrap(), "a");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_told_of_the_same_bytes_before_they_are_durable() {
        let settle = Duration::from_secs(1);
        let store = store(MemoryOptions { settle, ..MemoryOptions::default() });
        let name = "a".parse().unwrap();
        let crash = async {
            tokio::time::sleep(settle / 2).await;
            store.crash();
        };
        let put = || store.put_new(&name, Bytes::from_static(b"a"));
        let (first, second, ()) = tokio::join!(put(), put(), crash);
        assert!(first.is_err() && second.is_err());
    }

    #[tokio::test]
    async fn a_full_memory_refuses_and_takes_again_when_there_is_room() {
        let store = store(MemoryOptions { bytes_max: 4, ..MemoryOptions::default() });
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        store.put_new(&a, Bytes::from_static(b"abc")).await.unwrap();
        let refusal = store.put_new(&b, Bytes::from_static(b"de")).await.unwrap_err();
        assert_eq!(refusal.code, Code::LocationFull);
        assert!(store.head(&b).await.unwrap().is_none());
        assert!(store.delete(&a).await.unwrap());
        store.put_new(&b, Bytes::from_static(b"de")).await.unwrap();
        assert_eq!(store.probe().await.unwrap().free_bytes, Some(2));
    }
}
