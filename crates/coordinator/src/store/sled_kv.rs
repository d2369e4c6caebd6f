//! The tables in sled 0.34.7, with the discipline that makes it safe to rely on.
//!
//! sled's own `flush` does not reach the disk on Linux, its errors are often panics, it does not
//! notice a flipped bit, and it frees less memory than large batches take. So: one tree, one batch
//! per group, values with checksums, `flush` followed by `sync_data` on its file before the log may
//! forget, freeing asked for after every batch, and every call inside `catch_unwind`. The log is
//! the truth; a store that is damaged is set aside and rebuilt.

use super::{DirectoryLock, sync_directory};
use holdfast_common::{Code, Error, Result, limits};
use holdfast_ledger::{Batch, StateKv, kv::KeyValue};
use std::{
    fs::{File, TryLockError},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

const PAGE_ROWS: usize = 1024;
/// Pages are freed when all who might read them are gone, two steps later; up to 512 at each.
const FREEINGS_MIN: usize = 4;
const ROWS_PER_FREEING: usize = 32;
const RELEASE_PAUSE: Duration = Duration::from_millis(20);
const RELEASE_TRIES: usize = 100;

pub(crate) struct SledKv {
    db: sled::Db,
    directory: PathBuf,
    /// Last, so that it goes when the files are closed.
    _lock: Option<Arc<DirectoryLock>>,
}

impl SledKv {
    /// Opens the tables. Damage is an error with [`Code::LogDamaged`]: the caller sets them aside.
    pub(crate) fn open(directory: &Path, lock: Option<Arc<DirectoryLock>>) -> Result<Self> {
        wait_for_release(&directory.join("db"))?;
        let config = sled::Config::new()
            .path(directory)
            .mode(sled::Mode::HighThroughput)
            .cache_capacity(limits::TABLE_CACHE_BYTES)
            .flush_every_ms(None)
            .use_compression(false);
        let db = guarded(|| config.open())?;
        let store = Self { db, directory: directory.to_owned(), _lock: lock };
        store.sync_creation()?;
        Ok(store)
    }

    /// Reads every row: a damaged one is found while the tables can still be rebuilt.
    pub(crate) fn verify(&self) -> Result<()> {
        let mut after: Option<Vec<u8>> = None;
        while let Some((last, _)) = self.scan(&[], after.as_deref(), PAGE_ROWS)?.pop() {
            after = Some(last);
        }
        Ok(())
    }

    /// sled never syncs what it makes at creation; without these a power cut leaves nothing. The
    /// open that made the files may have been cut short here, so every open does it.
    fn sync_creation(&self) -> Result<()> {
        let io = |error: std::io::Error| Error::io("the tables cannot be made durable", &error);
        for file in ["conf", "db"] {
            File::open(self.directory.join(file)).and_then(|f| f.sync_all()).map_err(io)?;
        }
        let blobs = self.directory.join("blobs");
        if blobs.exists() {
            sync_directory(&blobs)?;
        }
        sync_directory(&self.directory)?;
        sync_directory(self.directory.parent().unwrap_or(Path::new("/")))
    }
}

impl StateKv for SledKv {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let value = guarded(|| self.db.get(key))?;
        value.map(|value| unwrap(key, &value)).transpose()
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<KeyValue>> {
        use std::ops::Bound;
        let from = match after {
            Some(key) if key >= prefix => Bound::Excluded(key.to_vec()),
            _ => Bound::Included(prefix.to_vec()),
        };
        let rows = guarded(|| {
            self.db
                .range((from, Bound::Unbounded))
                .take_while(|row| row.as_ref().map_or(true, |(key, _)| key.starts_with(prefix)))
                .take(limit)
                .collect::<sled::Result<Vec<_>>>()
        })?;
        rows.into_iter().map(|(key, value)| Ok((key.to_vec(), unwrap(&key, &value)?))).collect()
    }

    fn write(&self, batch: Batch) -> Result<()> {
        self.write_copy(&batch)
    }

    fn write_copy(&self, batch: &Batch) -> Result<()> {
        let (rows, mut changes) = (batch.changes.len(), sled::Batch::default());
        for (key, value) in &batch.changes {
            match value {
                Some(value) => changes.insert(key.as_slice(), wrap(key, value)),
                None => changes.remove(key.as_slice()),
            }
        }
        guarded(|| {
            self.db.apply_batch(changes)?;
            free_replaced(rows);
            Ok(())
        })
    }

    fn flush(&self) -> Result<()> {
        guarded(|| self.db.flush())?;
        File::open(self.directory.join("db"))
            .and_then(|file| file.sync_data())
            .map_err(|error| Error::io("the tables cannot be made durable", &error))
    }
}

/// A batch replaces several pages a row. sled puts them aside and frees a few at every hundredth
/// call, which for large batches is less than they leave: memory would grow for ever.
fn free_replaced(rows: usize) {
    for _ in 0..FREEINGS_MIN + rows / ROWS_PER_FREEING {
        sled::pin().flush();
    }
}

/// sled lets go of its file a moment after it was dropped, and calls it damage when it is held.
fn wait_for_release(file: &Path) -> Result<()> {
    for _ in 0..RELEASE_TRIES {
        match File::open(file).map(|file| file.try_lock()) {
            Ok(Err(TryLockError::WouldBlock)) => std::thread::sleep(RELEASE_PAUSE),
            // A file that is not there, or cannot be read, is the engine's to judge.
            _ => return Ok(()),
        }
    }
    Err(Error::new(Code::ResourceConflict, "the ledger's tables are in use")
        .next("stop the other coordinator first"))
}

fn wrap(key: &[u8], value: &[u8]) -> Vec<u8> {
    let sum = crc32c::crc32c_append(crc32c::crc32c(key), value);
    [sum.to_le_bytes().as_slice(), value].concat()
}

fn unwrap(key: &[u8], wrapped: &[u8]) -> Result<Vec<u8>> {
    let bad = || Error::new(Code::LogDamaged, "a row of the ledger's tables is damaged");
    let (sum, value) = wrapped.split_first_chunk::<4>().ok_or_else(bad)?;
    let expected = crc32c::crc32c_append(crc32c::crc32c(key), value);
    if u32::from_le_bytes(*sum) == expected { Ok(value.to_vec()) } else { Err(bad()) }
}

/// Runs a call into sled; its panics and errors become one error.
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T> {
    let bad = |cause: String| {
        Error::new(Code::LogDamaged, "the ledger's tables cannot be used").cause(cause)
    };
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) if error.kind() == std::io::ErrorKind::StorageFull => {
            Err(Error::io("the ledger's tables have no space", &error))
        }
        Ok(Err(error)) => Err(bad(error.to_string())),
        Err(_) => Err(bad("the engine panicked".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_ledger::MemoryKv;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    type Change = (Vec<u8>, Option<Vec<u8>>);

    fn change() -> impl Strategy<Value = Change> {
        let key = proptest::collection::vec(0u8..4, 1..4);
        let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20));
        (key, value)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn sled_and_memory_answer_alike(
            batches in proptest::collection::vec(proptest::collection::vec(change(), 0..8), 0..12),
            prefix in proptest::collection::vec(0u8..4, 0..2),
            after in proptest::option::of(proptest::collection::vec(0u8..4, 0..3)),
            limit in 0usize..20,
        ) {
            let directory = tempfile::tempdir().unwrap();
            let model = MemoryKv::default();
            {
                let store = SledKv::open(directory.path(), None).unwrap();
                for batch in batches {
                    let batch = Batch { changes: batch.into_iter().collect() };
                    store.write(batch.clone()).unwrap();
                    model.write(batch).unwrap();
                }
                store.flush().unwrap();
            }
            let store = SledKv::open(directory.path(), None).unwrap();
            prop_assert_eq!(
                store.scan(&prefix, after.as_deref(), limit).unwrap(),
                model.scan(&prefix, after.as_deref(), limit).unwrap()
            );
            for (key, _) in model.scan(&[], None, 1000).unwrap() {
                prop_assert_eq!(store.read(&key).unwrap(), model.read(&key).unwrap());
            }
        }
    }

    #[test]
    fn what_a_batch_replaced_is_freed_and_does_not_pile_up() {
        const BATCHES: u64 = 50;
        let directory = tempfile::tempdir().unwrap();
        let store = SledKv::open(directory.path(), None).unwrap();
        let freed = Arc::new(AtomicU64::new(0));
        for number in 0..BATCHES {
            let row = |row: u64| (row.to_be_bytes().to_vec(), Some(vec![number as u8; 100]));
            store.write(Batch { changes: (0..4000).map(row).collect() }).unwrap();
            let freed = freed.clone();
            // Goes when all that was put aside before it has gone.
            sled::pin().defer(move || freed.fetch_add(1, Ordering::Relaxed));
        }
        let freed = freed.load(Ordering::Relaxed);
        assert!(freed > BATCHES * 2 / 3, "what {freed} of {BATCHES} batches replaced is freed");
    }

    #[test]
    fn a_row_whose_bytes_changed_is_damage_and_not_an_answer() {
        let directory = tempfile::tempdir().unwrap();
        let store = SledKv::open(directory.path(), None).unwrap();
        let mut wrapped = wrap(b"key", b"value");
        wrapped[6] ^= 1;
        store.db.insert(b"key", wrapped).unwrap();
        assert_eq!(store.read(b"key").unwrap_err().code, Code::LogDamaged);
        assert_eq!(store.scan(b"", None, 10).unwrap_err().code, Code::LogDamaged);
    }
}
