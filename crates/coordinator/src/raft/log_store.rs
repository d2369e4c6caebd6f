//! The log and the vote, in redb: durable before they are acknowledged.
//!
//! ```text
//!   append ─┐                       ┌─ one write transaction, one fsync ─→ acknowledge all
//!   vote   ─┼─→ bounded queue ─→ writer thread (drains what waits: group commit)
//!   purge  ─┘
//! ```
//!
//! Every value carries its own checksum, because the engine checks its pages only on repair: a
//! flipped bit is an error that stops this member, never a different entry; nor is it an older log,
//! which `generation` sees. A failed write stops the member as well: after a failed fsync nobody
//! knows what is on the disk.

use super::{
    generation::Generation,
    recent::{Recent, Row},
    types::{Entry, LogId, StoredLogId, StoredVote, Types, Vote, entry_from_bytes, entry_to_bytes},
};
use crate::store::DirectoryLock;
use holdfast_common::{Code, Error, Result, limits, record};
use holdfast_ledger::StateKv;
use openraft::{
    EntryPayload, OptionalSend,
    entry::RaftEntry,
    storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage},
};
use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use std::{
    collections::BTreeMap,
    fmt::Debug,
    io,
    ops::RangeBounds,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
};
use tokio::sync::oneshot;

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const GENERATION: &str = "generation";
const QUEUE_MAX: usize = 1024;
const GROUP_MAX: usize = 256;
/// Entries that are read at once, while it is not known yet how large they are.
const MESSAGE_ENTRIES: usize = 32;

enum Write {
    Append(Vec<Row>, IOFlushed<Types>),
    /// One entry, while nothing else runs on the log.
    Alone(u64, Vec<u8>, Done),
    Meta(&'static str, Vec<u8>, Done),
    TruncateFrom(u64, Done),
    Purge(LogId, Done),
}

type Done = oneshot::Sender<io::Result<()>>;

#[derive(Clone)]
pub(crate) struct LogStore {
    db: Arc<Held>,
    /// What was appended last, in the database or not.
    recent: Arc<Mutex<Recent>>,
    queue: mpsc::SyncSender<Write>,
    tables: Arc<dyn StateKv>,
    /// Entries behind this index are still needed for shipping, purged or not.
    shipped: Arc<AtomicU64>,
    committed: Arc<Mutex<Option<LogId>>>,
}

/// The open database, and the lock that goes when it is closed.
struct Held {
    db: redb::Database,
    lock: Arc<DirectoryLock>,
}

impl std::ops::Deref for Held {
    type Target = redb::Database;

    fn deref(&self) -> &redb::Database {
        &self.db
    }
}

impl LogStore {
    /// Opens the log at `path`. `tables` are made durable before any entry is purged.
    pub(crate) fn open(
        path: &Path,
        tables: Arc<dyn StateKv>,
        lock: Arc<DirectoryLock>,
    ) -> Result<Self> {
        let db = guarded(|| open_whole(path))
            .map_err(|error| damaged("the log cannot be opened", &error))?;
        let generation = generation(path, &db)?;
        let db = Arc::new(Held { db, lock });
        let recent = Arc::new(Mutex::new(Recent::new(limits::LOG_RECENT_BYTES_MAX)));
        let (queue, writes) = mpsc::sync_channel(QUEUE_MAX);
        let shipped = Arc::new(AtomicU64::new(0));
        let committed = Arc::new(Mutex::new(None));
        let mut writer = Writer {
            db: db.clone(),
            recent: recent.clone(),
            shipped: shipped.clone(),
            committed: committed.clone(),
            generation,
        };
        std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || writer.run(&writes))
            .map_err(|error| Error::io("the log's writer cannot start", &error))?;
        Ok(Self { db, recent, queue, tables, shipped, committed })
    }

    /// Entries from `from` to `to` in their stored form, as far as they are in the database.
    pub(crate) fn stored(&self, from: u64, to: u64) -> Result<Vec<(u64, Vec<u8>)>> {
        if let Some(rows) = self.lock().stored_forms(from, to) {
            return Ok(rows);
        }
        let read = || -> Result<Vec<(u64, Vec<u8>)>, redb::Error> {
            let table = self.db.begin_read()?.open_table(LOG)?;
            table
                .range(from..=to)?
                .map(|row| Ok(row.map(|(k, v)| (k.value(), v.value().to_vec()))?))
                .collect()
        };
        let rows = guarded(read).map_err(|error| damaged("the log cannot be read", &error))?;
        rows.into_iter()
            .map(|(index, wrapped)| {
                Ok((index, unwrap_checksum(&index.to_string(), &wrapped)?.to_vec()))
            })
            .collect()
    }

    /// Ends when every file of the ledger is closed and its directory may be opened again.
    pub(crate) fn release(&self) -> impl Future<Output = ()> + Send + use<> {
        self.db.lock.release()
    }

    /// Everything up to `index` lies in the locations.
    pub(crate) fn note_shipped(&self, index: u64) {
        self.shipped.fetch_max(index, Ordering::Relaxed);
    }

    /// Appends an entry of our own making to a log that no member runs on; durable on return.
    pub(crate) async fn append_alone(&self, entry: &Entry) -> io::Result<()> {
        let (index, bytes) = (entry.index(), entry_to_bytes(entry));
        self.finish(|done| Write::Alone(index, bytes, done)).await
    }

    fn send(&self, write: Write) -> io::Result<()> {
        self.queue.send(write).map_err(|_| io::Error::other("the log's writer has stopped"))
    }

    async fn finish(&self, write: impl FnOnce(Done) -> Write) -> io::Result<()> {
        let (done, finished) = oneshot::channel();
        self.send(write(done))?;
        finished.await.map_err(|_| io::Error::other("the log's writer has stopped"))?
    }

    fn meta<T: for<'b> minicbor::Decode<'b, ()>>(
        &self,
        key: &'static str,
    ) -> io::Result<Option<T>> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            let table = self.db.begin_read()?.open_table(META)?;
            Ok(table.get(key)?.map(|value| value.value().to_vec()))
        };
        let Some(bytes) = guarded(read)? else { return Ok(None) };
        let record = unwrap_checksum(key, &bytes).map_err(io::Error::other)?;
        record::from_bytes(key, record).map(Some).map_err(io::Error::other)
    }

    fn last(&self) -> io::Result<Option<LogId>> {
        let recent = self.lock().last();
        if recent.is_some() {
            return Ok(recent);
        }
        let read = || -> Result<Option<(u64, Vec<u8>)>, redb::Error> {
            let table = self.db.begin_read()?.open_table(LOG)?;
            Ok(table.last()?.map(|(key, value)| (key.value(), value.value().to_vec())))
        };
        let Some((index, bytes)) = guarded(read)? else { return Ok(None) };
        let entry = stored_entry(index, &bytes).map_err(io::Error::other)?;
        Ok(Some(entry.log_id))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R>(&mut self, range: R) -> Result<Vec<Entry>, io::Error>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        // Memory first: an entry that leaves it in between is in the database by then.
        let recent = {
            let recent = self.lock();
            if let Some(entries) = recent.range(&range) {
                return Ok(entries);
            }
            recent.part(range.clone())
        };
        let read = || -> Result<Vec<(u64, Vec<u8>)>, redb::Error> {
            let table = self.db.begin_read()?.open_table(LOG)?;
            table
                .range(range)?
                .map(|row| Ok(row.map(|(k, v)| (k.value(), v.value().to_vec()))?))
                .collect()
        };
        let stored = guarded(read)?;
        let mut entries = BTreeMap::new();
        for (index, bytes) in &stored {
            entries.insert(*index, stored_entry(*index, bytes).map_err(io::Error::other)?);
        }
        entries.extend(recent.into_iter().map(|entry| (entry.index(), entry)));
        Ok(entries.into_values().collect())
    }

    /// As many as one message takes.
    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for from in (start..end).step_by(MESSAGE_ENTRIES) {
            for entry in
                self.try_get_log_entries(from..end.min(from + MESSAGE_ENTRIES as u64)).await?
            {
                bytes += match &entry.payload {
                    EntryPayload::Normal(proposal) => proposal.0.len(),
                    _ => 0,
                };
                if bytes > limits::APPEND_BYTES_MAX && !entries.is_empty() {
                    return Ok(entries);
                }
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.meta::<StoredVote>("vote")?.map(Vote::from))
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let last_purged_log_id = self.meta::<StoredLogId>("purged")?.map(LogId::from);
        let last_log_id = self.last()?.or(last_purged_log_id);
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let bytes = wrap_checksum("vote", &record::to_bytes(&StoredVote::from(vote)));
        self.finish(|done| Write::Meta("vote", bytes, done)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        // Only a hint, which goes along with whatever is written next.
        *self.committed.lock().unwrap_or_else(PoisonError::into_inner) = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.meta::<StoredLogId>("committed")?.map(LogId::from))
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let row = |entry: Entry| Row { bytes: Arc::from(entry_to_bytes(&entry)), entry };
        let rows: Vec<Row> = entries.into_iter().map(row).collect();
        self.lock().append(&rows);
        self.send(Write::Append(rows, flushed))
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let from = last.map_or(0, |id| id.index + 1);
        self.lock().truncate(from);
        self.finish(|done| Write::TruncateFrom(from, done)).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let tables = self.tables.clone();
        tokio::task::spawn_blocking(move || tables.flush())
            .await
            .map_err(io::Error::other)?
            .map_err(io::Error::other)?;
        self.lock().purge(upto.index);
        self.finish(|done| Write::Purge(upto, done)).await
    }
}

/// The one thread that writes.
struct Writer {
    db: Arc<Held>,
    recent: Arc<Mutex<Recent>>,
    shipped: Arc<AtomicU64>,
    /// Written with whatever comes next.
    committed: Arc<Mutex<Option<LogId>>>,
    generation: Generation,
}

impl Writer {
    fn run(&mut self, writes: &mpsc::Receiver<Write>) {
        while let Ok(first) = writes.recv() {
            let mut group = vec![first];
            while group.len() < GROUP_MAX
                && let Ok(next) = writes.try_recv()
            {
                group.push(next);
            }
            let result = guarded(|| self.write(&group)).and_then(|()| self.generation.advance());
            let failed = result.is_err();
            self.acknowledge(group, &result);
            if failed {
                tracing::error!("the log could not be written; this member stops writing");
                return;
            }
        }
    }

    fn write(&self, group: &[Write]) -> Result<(), redb::Error> {
        let transaction = self.db.begin_write()?;
        {
            let mut log = transaction.open_table(LOG)?;
            let mut meta = transaction.open_table(META)?;
            let number = self.generation.next().to_le_bytes();
            meta.insert(GENERATION, wrap_checksum(GENERATION, &number).as_slice())?;
            let committed = *self.committed.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(id) = committed {
                let record = record::to_bytes(&StoredLogId::from(&id));
                meta.insert("committed", wrap_checksum("committed", &record).as_slice())?;
            }
            for write in group {
                match write {
                    Write::Append(rows, _) => {
                        for row in rows {
                            let index = row.entry.index();
                            let value = wrap_checksum(&index.to_string(), &row.bytes);
                            log.insert(index, value.as_slice())?;
                        }
                    }
                    Write::Alone(index, bytes, _) => {
                        let value = wrap_checksum(&index.to_string(), bytes);
                        log.insert(index, value.as_slice())?;
                    }
                    Write::Meta(key, value, _) => {
                        meta.insert(*key, value.as_slice())?;
                    }
                    Write::TruncateFrom(from, _) => log.retain_in(*from.., |_, _| false)?,
                    Write::Purge(upto, _) => {
                        let last = upto.index.min(self.shipped.load(Ordering::Relaxed));
                        log.retain_in(..=last, |_, _| false)?;
                        let record = record::to_bytes(&StoredLogId::from(upto));
                        meta.insert("purged", wrap_checksum("purged", &record).as_slice())?;
                    }
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn acknowledge(&self, group: Vec<Write>, result: &io::Result<()>) {
        let copy = || match result {
            Ok(()) => Ok(()),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        for write in group {
            match write {
                Write::Append(rows, flushed) => {
                    if result.is_ok() {
                        self.recent.lock().unwrap_or_else(PoisonError::into_inner).stored(&rows);
                    }
                    flushed.io_completed(copy());
                }
                Write::Alone(_, _, done)
                | Write::Meta(_, _, done)
                | Write::TruncateFrom(_, done)
                | Write::Purge(_, done) => {
                    // The other side may have been dropped at shutdown.
                    let _ = done.send(copy());
                }
            }
        }
    }
}

/// `crc32c(key ‖ value) ‖ value`: a value that turns up under another key is damage too.
fn wrap_checksum(key: &str, value: &[u8]) -> Vec<u8> {
    let sum = crc32c::crc32c_append(crc32c::crc32c(key.as_bytes()), value);
    let mut wrapped = Vec::with_capacity(4 + value.len());
    wrapped.extend_from_slice(&sum.to_le_bytes());
    wrapped.extend_from_slice(value);
    wrapped
}

fn unwrap_checksum<'a>(key: &str, wrapped: &'a [u8]) -> Result<&'a [u8]> {
    let bad = || Error::new(Code::LogDamaged, format!("the log's record `{key}` is damaged"));
    let (sum, value) = wrapped.split_first_chunk::<4>().ok_or_else(bad)?;
    let expected = crc32c::crc32c_append(crc32c::crc32c(key.as_bytes()), value);
    if u32::from_le_bytes(*sum) == expected { Ok(value) } else { Err(bad()) }
}

/// Opens the file, and reads all of it once: pages are not checked when they are used.
fn open_whole(path: &Path) -> Result<redb::Database, redb::Error> {
    let mut db = redb::Builder::new().set_cache_size(limits::LOG_CACHE_BYTES).create(path)?;
    if !db.check_integrity()? {
        return Err(redb::Error::Corrupted("the log's pages do not fit together".to_owned()));
    }
    let transaction = db.begin_write()?;
    transaction.open_table(LOG)?;
    transaction.open_table(META)?;
    transaction.commit()?;
    Ok(db)
}

/// Refuses a log that went back to an earlier commit.
fn generation(path: &Path, db: &redb::Database) -> Result<Generation> {
    let read = || -> Result<Option<Vec<u8>>, redb::Error> {
        let table = db.begin_read()?.open_table(META)?;
        Ok(table.get(GENERATION)?.map(|value| value.value().to_vec()))
    };
    let stored = guarded(read).map_err(|error| damaged("the log cannot be read", &error))?;
    let stored = match &stored {
        Some(wrapped) => unwrap_checksum(GENERATION, wrapped)?.first_chunk::<8>().copied(),
        None => None,
    };
    let opened = Generation::open(path, stored.map_or(0, u64::from_le_bytes));
    let (generation, is_behind) =
        opened.map_err(|error| damaged("the log's generation cannot be read", &error))?;
    if is_behind {
        return Err(Error::new(Code::LogDamaged, "the log has gone back to an earlier state"));
    }
    Ok(generation)
}

/// Runs a call into redb, which panics at some kinds of damage.
fn guarded<T>(call: impl FnOnce() -> Result<T, redb::Error>) -> io::Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(io::Error::other),
        Err(_) => Err(io::Error::other("the log's engine panicked")),
    }
}

fn stored_entry(index: u64, wrapped: &[u8]) -> Result<Entry> {
    entry_from_bytes(unwrap_checksum(&index.to_string(), wrapped)?)
}

fn damaged(what: &str, error: &dyn std::error::Error) -> Error {
    Error::new(Code::LogDamaged, what).cause(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_opens_under_its_own_key_and_as_it_was_written() {
        let wrapped = wrap_checksum("7", b"an entry");
        assert_eq!(unwrap_checksum("7", &wrapped).unwrap(), b"an entry");
        assert_eq!(unwrap_checksum("8", &wrapped).unwrap_err().code, Code::LogDamaged);
        for at in 0..wrapped.len() {
            let mut flipped = wrapped.clone();
            flipped[at] ^= 1;
            assert_eq!(unwrap_checksum("7", &flipped).unwrap_err().code, Code::LogDamaged, "{at}");
            assert!(unwrap_checksum("7", &wrapped[..at]).is_err(), "{at}");
        }
    }
}
