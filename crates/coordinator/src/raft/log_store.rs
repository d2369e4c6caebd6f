//! The log and the vote, as openraft asks for them: durable before they are acknowledged.
//!
//! ```text
//!   append ─┐                       ┌─ one group of records, one sync ─→ acknowledge all
//!   vote   ─┼─→ bounded queue ─→ writer thread (drains what waits: group commit)
//!   purge  ─┘
//! ```
//!
//! Every entry carries its own checksum, because it is read again long after the log was opened: a
//! flipped bit is an error that stops this member, never a different entry; nor is it an older log,
//! which `generation` sees. A failed write stops the member as well: after a failed fsync nobody
//! knows what is on the disk.

use super::{
    log::{self, Group, Reader, Record},
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
use std::{
    collections::BTreeMap,
    fmt::Debug,
    io,
    ops::RangeBounds,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
};
use tokio::sync::{oneshot, watch};

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
    Purge {
        upto: LogId,
        /// The log does not reach that far: entries between were never here.
        is_hole: bool,
        done: Done,
    },
}

type Done = oneshot::Sender<io::Result<()>>;

#[derive(Clone)]
pub(crate) struct LogStore {
    log: Arc<Held>,
    /// What was appended last, on the disk or not.
    recent: Arc<Mutex<Recent>>,
    queue: mpsc::SyncSender<Write>,
    tables: Arc<dyn StateKv>,
    /// Entries behind this index are still needed for shipping, purged or not.
    shipped: Arc<AtomicU64>,
    committed: Arc<Mutex<Option<LogId>>>,
    /// Up to which entry the log is on the disk.
    stored: Arc<watch::Sender<u64>>,
}

/// The open log, and the lock that goes when it is closed.
struct Held {
    reader: Reader,
    lock: Arc<DirectoryLock>,
}

impl LogStore {
    /// Whether the ledger in `directory` has a log.
    pub(crate) fn exists(directory: &Path) -> Result<bool> {
        Ok(log::former::path(directory).exists() || log::exists(&path_of(directory))?)
    }

    /// Opens the log of the ledger in `directory`. `tables` are made durable before any entry is
    /// purged.
    pub(crate) fn open(
        directory: &Path,
        tables: Arc<dyn StateKv>,
        lock: Arc<DirectoryLock>,
    ) -> Result<Self> {
        let path = path_of(directory);
        log::former::take_over(directory, &path)?;
        let files = log::open(&path)?;
        let log = Arc::new(Held { reader: files.reader(), lock });
        let recent = Arc::new(Mutex::new(Recent::new(limits::LOG_RECENT_BYTES_MAX)));
        let (queue, writes) = mpsc::sync_channel(QUEUE_MAX);
        let shipped = Arc::new(AtomicU64::new(0));
        let committed = Arc::new(Mutex::new(None));
        let stored = Arc::new(watch::Sender::new(0));
        let mut writer = Writer {
            files,
            _log: log.clone(),
            recent: recent.clone(),
            shipped: shipped.clone(),
            committed: committed.clone(),
            stored: stored.clone(),
        };
        std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || writer.run(&writes))
            .map_err(|error| Error::io("the log's writer cannot start", &error))?;
        let this = Self { log, recent, queue, tables, shipped, committed, stored };
        let (last, purged) = (this.last(), this.meta::<StoredLogId>("purged"));
        let unreadable = |error: io::Error| damaged("the log cannot be read", &error);
        let purged = purged.map_err(&unreadable)?.map_or(0, |id| id.parts().2);
        let last = last.map_err(unreadable)?.map_or(0, |id| id.index);
        this.stored.send_replace(last.max(purged));
        Ok(this)
    }

    /// Ends when the log is on the disk up to `index`. What a quorum has is applied at once, and
    /// may not be on this disk yet.
    pub(crate) async fn stored_at_least(&self, index: u64) {
        let mut stored = self.stored.subscribe();
        // The sender is ours: there is no other end.
        drop(stored.wait_for(|at| *at >= index).await);
    }

    /// Entries from `from` to `to` in their stored form, as far as they are on the disk.
    pub(crate) fn stored(&self, from: u64, to: u64) -> Result<Vec<(u64, Vec<u8>)>> {
        if let Some(rows) = self.lock().stored_forms(from, to) {
            return Ok(rows);
        }
        let rows = self.log.reader.entries(from..=to);
        let rows = rows.map_err(|error| damaged("the log cannot be read", &error))?;
        rows.into_iter()
            .map(|(index, wrapped)| {
                Ok((index, unwrap_checksum(&index.to_string(), &wrapped)?.to_vec()))
            })
            .collect()
    }

    /// Ends when every file of the ledger is closed and its directory may be opened again.
    pub(crate) fn release(&self) -> impl Future<Output = ()> + Send + use<> {
        self.log.lock.release()
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
        let record = self.log.reader.note(key);
        let read = record.map(|bytes| record::from_bytes(key, &bytes)).transpose();
        read.map_err(io::Error::other)
    }

    fn last(&self) -> io::Result<Option<LogId>> {
        let recent = self.lock().last();
        if recent.is_some() {
            return Ok(recent);
        }
        let Some((index, bytes)) = self.log.reader.last()? else { return Ok(None) };
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
        // Memory first: an entry that leaves it in between is on the disk by then.
        let recent = {
            let recent = self.lock();
            if let Some(entries) = recent.range(&range) {
                return Ok(entries);
            }
            recent.part(range.clone())
        };
        let stored = self.log.reader.entries(range)?;
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
        // What lies before the purged one is there for shipping only.
        let purged = last_purged_log_id.map_or(0, |id: LogId| id.index);
        let last = self.last()?.filter(|last| last.index > purged);
        Ok(LogState { last_purged_log_id, last_log_id: last.or(last_purged_log_id) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let bytes = record::to_bytes(&StoredVote::from(vote));
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
        // What a snapshot stands for was never all here: the rest leads nowhere, and entries that
        // nobody agreed on may be among it.
        let is_hole = self.last()?.is_none_or(|last| last.index < upto.index);
        self.lock().purge(upto.index);
        self.finish(|done| Write::Purge { upto, is_hole, done }).await
    }
}

/// The one thread that writes.
struct Writer {
    files: log::Writer,
    /// Nobody opens the directory before this is gone too.
    _log: Arc<Held>,
    recent: Arc<Mutex<Recent>>,
    shipped: Arc<AtomicU64>,
    /// Written with whatever comes next.
    committed: Arc<Mutex<Option<LogId>>>,
    stored: Arc<watch::Sender<u64>>,
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
            let result = self.files.write(&self.records(&group));
            let failed = result.is_err();
            if !failed {
                self.stored.send_modify(|at| *at = group.iter().fold(*at, stored_after));
            }
            self.acknowledge(group, &result);
            if failed {
                tracing::error!("the log could not be written; this member stops writing");
                return;
            }
        }
    }

    fn records(&self, writes: &[Write]) -> Group {
        let mut group = Group::default();
        let committed = *self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = committed {
            let record = record::to_bytes(&StoredLogId::from(&id));
            group.push(Record::Note("committed", &record));
        }
        for write in writes {
            match write {
                Write::Append(rows, _) => {
                    rows.iter().for_each(|row| entry(&mut group, row.entry.index(), &row.bytes));
                }
                Write::Alone(index, bytes, _) => entry(&mut group, *index, bytes),
                Write::Meta(name, bytes, _) => group.push(Record::Note(name, bytes)),
                Write::TruncateFrom(from, _) => group.push(Record::Truncate(*from)),
                Write::Purge { upto, is_hole, .. } => {
                    let shipped = self.shipped.load(Ordering::Relaxed);
                    let last = if *is_hole { upto.index } else { upto.index.min(shipped) };
                    group.push(Record::Remove(last));
                    let record = record::to_bytes(&StoredLogId::from(upto));
                    group.push(Record::Note("purged", &record));
                }
            }
        }
        group
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
                | Write::Purge { done, .. } => {
                    // The other side may have been dropped at shutdown.
                    let _ = done.send(copy());
                }
            }
        }
    }
}

/// Up to where the log is stored after a write, when it was up to `at` before.
fn stored_after(at: u64, write: &Write) -> u64 {
    match write {
        Write::Append(rows, _) => rows.last().map_or(at, |row| row.entry.index()),
        Write::Alone(index, ..) => *index,
        Write::Meta(..) => at,
        Write::TruncateFrom(from, _) => at.min(from.saturating_sub(1)),
        Write::Purge { upto, .. } => at.max(upto.index),
    }
}

fn entry(group: &mut Group, index: u64, bytes: &[u8]) {
    group.push(Record::Entry(index, &wrap_checksum(&index.to_string(), bytes)));
}

/// `crc32c(key ‖ value) ‖ value`: a value that turns up under another key is damage too.
pub(super) fn wrap_checksum(key: &str, value: &[u8]) -> Vec<u8> {
    let sum = crc32c::crc32c_append(crc32c::crc32c(key.as_bytes()), value);
    let mut wrapped = Vec::with_capacity(4 + value.len());
    wrapped.extend_from_slice(&sum.to_le_bytes());
    wrapped.extend_from_slice(value);
    wrapped
}

pub(super) fn unwrap_checksum<'a>(key: &str, wrapped: &'a [u8]) -> Result<&'a [u8]> {
    let bad = || Error::new(Code::LogDamaged, format!("the log's record `{key}` is damaged"));
    let (sum, value) = wrapped.split_first_chunk::<4>().ok_or_else(bad)?;
    let expected = crc32c::crc32c_append(crc32c::crc32c(key.as_bytes()), value);
    if u32::from_le_bytes(*sum) == expected { Ok(value) } else { Err(bad()) }
}

/// Where the log of the ledger in `directory` lies.
pub(super) fn path_of(directory: &Path) -> PathBuf {
    directory.join("log")
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

    #[tokio::test]
    async fn an_entry_is_waited_for_until_it_is_on_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let open = || {
            let lock = DirectoryLock::take(directory.path()).unwrap();
            let tables = Arc::new(holdfast_ledger::MemoryKv::default());
            LogStore::open(directory.path(), tables, lock).unwrap()
        };
        let entry = |index| {
            let log_id = StoredLogId::of(1, 1, index).into();
            Entry { log_id, payload: EntryPayload::Blank }
        };
        let is_stored = async |log: &LogStore, index| {
            futures::FutureExt::now_or_never(log.stored_at_least(index)).is_some()
        };
        let mut log = open();
        assert!(!is_stored(&log, 1).await);
        for index in 1..=3 {
            log.append_alone(&entry(index)).await.unwrap();
            assert!(is_stored(&log, index).await && !is_stored(&log, index + 1).await);
        }
        log.truncate_after(Some(StoredLogId::of(1, 1, 2).into())).await.unwrap();
        assert!(is_stored(&log, 2).await && !is_stored(&log, 3).await);
        let release = log.release();
        drop(log);
        release.await;
        let mut log = open();
        assert!(is_stored(&log, 2).await && !is_stored(&log, 3).await, "after a start");
        // A snapshot stands for what the log has not, and what was here before leads nowhere.
        log.purge(StoredLogId::of(1, 1, 9).into()).await.unwrap();
        assert!(is_stored(&log, 9).await && !is_stored(&log, 10).await);
        for _ in 0..2 {
            let state = log.get_log_state().await.unwrap();
            assert_eq!(state.last_purged_log_id, Some(StoredLogId::of(1, 1, 9).into()));
            assert_eq!(state.last_log_id, state.last_purged_log_id, "openraft refuses another");
            assert_eq!(log.stored(1, 9).unwrap(), []);
            let release = log.release();
            drop(log);
            release.await;
            log = open();
        }
    }

    #[tokio::test]
    async fn what_is_purged_and_not_shipped_stays_and_is_not_the_end_of_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let lock = DirectoryLock::take(directory.path()).unwrap();
        let tables = Arc::new(holdfast_ledger::MemoryKv::default());
        let mut log = LogStore::open(directory.path(), tables, lock).unwrap();
        for index in 1..=5 {
            let log_id = StoredLogId::of(1, 1, index).into();
            log.append_alone(&Entry { log_id, payload: EntryPayload::Blank }).await.unwrap();
        }
        log.note_shipped(2);
        log.purge(StoredLogId::of(1, 1, 5).into()).await.unwrap();
        let indexes = |log: &LogStore| -> Vec<u64> {
            log.stored(1, 9).unwrap().into_iter().map(|(index, _)| index).collect()
        };
        assert_eq!(indexes(&log), [3, 4, 5]);
        let state = log.get_log_state().await.unwrap();
        assert_eq!(state.last_log_id, Some(StoredLogId::of(1, 1, 5).into()));
        log.note_shipped(5);
        log.purge(StoredLogId::of(1, 1, 5).into()).await.unwrap();
        assert_eq!(indexes(&log), [0; 0]);
    }

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
