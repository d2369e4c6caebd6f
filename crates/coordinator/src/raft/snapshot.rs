//! A snapshot of the tables as a file: head, sorted rows, hash.
//!
//! `"HFSN" ‖ version ‖ 3 zero bytes ‖ head record (length-prefixed) ‖ rows (key and value
//! length-prefixed) ‖ BLAKE3 of all before`. Written under a temporary name, made durable, renamed;
//! read only when the hash fits. One older snapshot is kept.

use super::types::{StoredLogId, StoredMembers};
use crate::store::sync_directory;
use holdfast_common::{Code, Error, Result, limits, record};
use holdfast_ledger::{Batch, StateKv, Table, tables::full_key};
use minicbor::{Decode, Encode};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

const MAGIC: &[u8; 8] = b"HFSN\x01\0\0\0";
const PAGE_ROWS: usize = 1024;
const KEPT: usize = 2;
const INSTALLING: &[u8] = b"installing";

/// What a snapshot holds, in a few words.
#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub(crate) struct SnapshotHead {
    #[n(0)]
    pub(crate) applied: Option<StoredLogId>,
    #[n(1)]
    pub(crate) members: StoredMembers,
    /// The feature level of what is in it; the first one, where it does not say.
    #[n(2)]
    pub(crate) level: Option<u32>,
}

/// Writes all of `tables`; the caller keeps them from changing meanwhile.
pub(crate) fn write(
    directory: &Path,
    head: &SnapshotHead,
    tables: &dyn StateKv,
) -> Result<PathBuf> {
    let path = path_of(directory, head);
    let temporary = directory.join("snapshot.part");
    let io = |error: std::io::Error| Error::io("a snapshot cannot be written", &error);
    let file = File::create(&temporary).map_err(io)?;
    let mut out = Hashing { inner: BufWriter::new(file), hasher: blake3::Hasher::new() };
    out.write_all(MAGIC).map_err(io)?;
    put(&mut out, &record::to_bytes(head)).map_err(io)?;
    let mut after: Option<Vec<u8>> = None;
    loop {
        let rows = tables.scan(&[], after.as_deref(), PAGE_ROWS)?;
        for (key, value) in &rows {
            put(&mut out, key).and_then(|()| put(&mut out, value)).map_err(io)?;
        }
        match rows.into_iter().next_back() {
            Some((key, _)) => after = Some(key),
            None => break,
        }
    }
    put(&mut out, &[]).map_err(io)?;
    let hash = out.hasher.finalize();
    out.inner.write_all(hash.as_bytes()).map_err(io)?;
    let file = out.inner.into_inner().map_err(|error| io(error.into_error()))?;
    file.sync_all().map_err(io)?;
    fs::rename(&temporary, &path).map_err(io)?;
    sync_directory(directory)?;
    sweep(directory)?;
    Ok(path)
}

/// Replaces everything in `tables` by the snapshot, after its hash was checked. It takes many
/// batches; until the last of them is durable a mark says that what is there is not a state.
pub(crate) fn install(path: &Path, tables: &dyn StateKv) -> Result<SnapshotHead> {
    check(path)?;
    mark(tables, Some(Vec::new()))?;
    wipe(tables)?;
    let head = fill(&mut open(path)?, tables)?;
    mark(tables, None)?;
    Ok(head)
}

/// Puts the rows of a snapshot into `tables`; the hash behind them is the caller's to check.
pub(crate) fn fill(file: &mut impl Read, tables: &dyn StateKv) -> Result<SnapshotHead> {
    let head = read_head(file)?;
    loop {
        let mut batch = Batch::default();
        while batch.changes.len() < PAGE_ROWS {
            let key = take(file)?;
            if key.is_empty() {
                tables.write(batch)?;
                tables.flush()?;
                return Ok(head);
            }
            batch.changes.insert(key, Some(take(file)?));
        }
        tables.write(batch)?;
    }
}

/// The newest snapshot whose hash fits.
pub(crate) fn newest(directory: &Path) -> Result<Option<(SnapshotHead, PathBuf)>> {
    for path in list(directory)?.into_iter().rev() {
        match check(&path).and_then(|()| read_head(&mut open(&path)?)) {
            Ok(head) => return Ok(Some((head, path))),
            Err(error) => tracing::warn!(%error, path = %path.display(), "a snapshot is damaged"),
        }
    }
    Ok(None)
}

/// The hash at the end of a snapshot, by which others know it, and its length.
pub(super) fn hash_of(path: &Path) -> Result<([u8; 32], u64)> {
    let io = |error: std::io::Error| Error::io("a snapshot cannot be read", &error);
    let mut file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    file.seek(SeekFrom::Start(length.checked_sub(32).ok_or_else(damaged)?)).map_err(io)?;
    let mut hash = [0; 32];
    file.read_exact(&mut hash).map_err(io)?;
    Ok((hash, length))
}

pub(super) fn head_of(path: &Path) -> Result<SnapshotHead> {
    read_head(&mut open(path)?)
}

/// Gives a received file the name of a snapshot, once all of it fits the hash it was announced by.
pub(super) fn adopt(directory: &Path, part: &Path, hash: &[u8; 32]) -> Result<PathBuf> {
    check(part)?;
    if hash_of(part)?.0 != *hash {
        return Err(damaged());
    }
    let path = path_of(directory, &head_of(part)?);
    fs::rename(part, &path).map_err(|e| Error::io("a snapshot cannot be renamed", &e))?;
    Ok(path)
}

/// Whether an installation was begun and not ended.
pub(crate) fn is_half_installed(tables: &dyn StateKv) -> Result<bool> {
    Ok(tables.read(&full_key(Table::Meta, INSTALLING))?.is_some())
}

fn mark(tables: &dyn StateKv, value: Option<Vec<u8>>) -> Result<()> {
    let changes = [(full_key(Table::Meta, INSTALLING), value)].into_iter().collect();
    tables.write(Batch { changes })?;
    tables.flush()
}

fn path_of(directory: &Path, head: &SnapshotHead) -> PathBuf {
    let index = head.applied.map_or(0, |id| super::types::LogId::from(id).index);
    directory.join(format!("snapshot-{index:020}"))
}

fn wipe(tables: &dyn StateKv) -> Result<()> {
    loop {
        let rows = tables.scan(&[], None, PAGE_ROWS)?;
        let mut changes: BTreeMap<_, _> = rows.into_iter().map(|(key, _)| (key, None)).collect();
        changes.remove(&full_key(Table::Meta, INSTALLING));
        if changes.is_empty() {
            return Ok(());
        }
        tables.write(Batch { changes })?;
    }
}

fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let io = |error: std::io::Error| Error::io("snapshots cannot be listed", &error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(io)? {
        let entry = entry.map_err(io)?;
        if entry.file_name().to_string_lossy().starts_with("snapshot-") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn sweep(directory: &Path) -> Result<()> {
    let paths = list(directory)?;
    for old in paths.iter().rev().skip(KEPT) {
        fs::remove_file(old).map_err(|e| Error::io("an old snapshot cannot be removed", &e))?;
    }
    Ok(())
}

fn open(path: &Path) -> Result<BufReader<File>> {
    let file = File::open(path).map_err(|e| Error::io("a snapshot cannot be read", &e))?;
    Ok(BufReader::new(file))
}

fn read_head(file: &mut impl Read) -> Result<SnapshotHead> {
    let mut magic = [0; 8];
    file.read_exact(&mut magic).map_err(|e| Error::io("a snapshot cannot be read", &e))?;
    if magic != *MAGIC {
        return Err(damaged());
    }
    record::from_bytes("snapshot head", &take(file)?)
}

fn check(path: &Path) -> Result<()> {
    let io = |error: std::io::Error| Error::io("a snapshot cannot be read", &error);
    let length = fs::metadata(path).map_err(io)?.len();
    let body = length.checked_sub(32).ok_or_else(damaged)?;
    let mut file = open(path)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader((&mut file).take(body)).map_err(io)?;
    let mut stored = [0; 32];
    file.read_exact(&mut stored).map_err(io)?;
    if hasher.finalize() == stored { Ok(()) } else { Err(damaged()) }
}

fn damaged() -> Error {
    Error::new(Code::LogDamaged, "a snapshot of the ledger is damaged")
}

fn put(out: &mut impl Write, bytes: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(std::io::Error::other)?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(bytes)
}

fn take(file: &mut impl Read) -> Result<Vec<u8>> {
    let io = |error: std::io::Error| Error::io("a snapshot cannot be read", &error);
    let mut length = [0; 4];
    file.read_exact(&mut length).map_err(io)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > 2 * limits::LEDGER_VALUE_BYTES_MAX {
        return Err(damaged());
    }
    // A length may lie: what it costs is what is there.
    let mut bytes = Vec::new();
    file.take(length as u64).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() == length { Ok(bytes) } else { Err(damaged()) }
}

struct Hashing<W> {
    inner: W,
    hasher: blake3::Hasher,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::types::{LogId, Member, StoredMembership},
        *,
    };
    use holdfast_ledger::MemoryKv;

    fn filled() -> MemoryKv {
        let tables = MemoryKv::default();
        let changes = (0..3000u32).map(|i| (i.to_be_bytes().to_vec(), Some(vec![7; 10]))).collect();
        tables.write(Batch { changes }).unwrap();
        tables
    }

    fn head() -> SnapshotHead {
        SnapshotHead { applied: None, members: StoredMembers::default(), level: None }
    }

    #[test]
    fn a_snapshot_brings_back_every_row_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = write(directory.path(), &head(), &filled()).unwrap();
        let other = MemoryKv::default();
        let changes = [(vec![9; 9], Some(vec![1]))].into_iter().collect();
        other.write(Batch { changes }).unwrap();
        assert_eq!(install(&path, &other).unwrap(), head());
        assert_eq!(
            other.scan(&[], None, 10_000).unwrap(),
            filled().scan(&[], None, 10_000).unwrap()
        );
    }

    /// Tables that take only so many batches, as if the process ended there.
    struct Cut {
        tables: MemoryKv,
        left: std::sync::atomic::AtomicUsize,
    }

    impl StateKv for Cut {
        fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
            self.tables.read(key)
        }

        fn scan(
            &self,
            prefix: &[u8],
            after: Option<&[u8]>,
            limit: usize,
        ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
            self.tables.scan(prefix, after, limit)
        }

        fn write(&self, batch: Batch) -> Result<()> {
            use std::sync::atomic::Ordering::Relaxed;
            let left = self.left.load(Relaxed);
            self.left.store(left.checked_sub(1).ok_or_else(damaged)?, Relaxed);
            self.tables.write(batch)
        }

        fn flush(&self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_installation_that_was_cut_short_is_known_as_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = write(directory.path(), &head(), &filled()).unwrap();
        let mut batches = 0;
        loop {
            let tables = Cut { tables: filled(), left: batches.into() };
            let installed = install(&path, &tables);
            let half = is_half_installed(&tables).unwrap();
            assert_eq!(half, batches > 0 && installed.is_err(), "after {batches} batches");
            if installed.is_ok() {
                break;
            }
            batches += 1;
        }
        assert!(batches > 4, "it took {batches} batches");
    }

    /// Of a cluster of one at an index.
    fn voting(level: Option<u32>) -> SnapshotHead {
        let id = LogId::from(StoredLogId::of(3, 2, 9));
        let node = Member { name: "one".into(), region: "eu".into(), address: "h:1".into() };
        let members = openraft::Membership::new(vec![[1].into()], BTreeMap::from([(1, node)]));
        let stored = StoredMembership::new(Some(id), members.unwrap());
        let (applied, members) = (Some(StoredLogId::from(&id)), StoredMembers::from(&stored));
        SnapshotHead { applied, members, level }
    }

    /// The stored form, also of a member that knows the first feature level only.
    #[test]
    fn snapshots_keep_their_bytes_and_old_ones_are_read() {
        let golden = include_str!("../../tests/golden/snapshot.hex");
        let tables = MemoryKv::default();
        let changes = [(vec![3, 1], Some(vec![7; 3])), (vec![5], Some(Vec::new()))].into();
        tables.write(Batch { changes }).unwrap();
        let written = |head: &SnapshotHead| {
            let directory = tempfile::tempdir().unwrap();
            let bytes = fs::read(write(directory.path(), head, &tables).unwrap()).unwrap();
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        let heads = [voting(None), voting(Some(2))];
        let now = ["level_1", "level_2"].iter().zip(&heads);
        let now: Vec<_> = now.map(|(name, head)| format!("{name} {}", written(head))).collect();
        assert_eq!(golden.lines().collect::<Vec<_>>(), now, "now:\n{}", now.join("\n"));
        for (line, head) in golden.lines().zip(&heads) {
            let hex = line.split_once(' ').unwrap().1;
            let digits = (0..hex.len()).step_by(2);
            let bytes = digits.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
            let (directory, filled) = (tempfile::tempdir().unwrap(), MemoryKv::default());
            let path = directory.path().join("snapshot");
            fs::write(&path, bytes.collect::<Vec<_>>()).unwrap();
            assert_eq!(install(&path, &filled).unwrap(), *head);
            assert_eq!(filled.scan(&[], None, 9).unwrap(), tables.scan(&[], None, 9).unwrap());
        }
    }

    #[test]
    fn a_damaged_snapshot_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = write(directory.path(), &head(), &filled()).unwrap();
        let good = fs::read(&path).unwrap();
        for position in [0, 9, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[position] ^= 1;
            fs::write(&path, &bad).unwrap();
            let tables = filled();
            assert_eq!(install(&path, &tables).unwrap_err().code, Code::LogDamaged);
            assert_eq!(tables.scan(&[], None, 10_000).unwrap().len(), 3000);
            assert_eq!(newest(directory.path()).unwrap(), None);
        }
    }
}
