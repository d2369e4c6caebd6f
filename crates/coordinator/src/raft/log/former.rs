//! The log as members kept it before it had files of its own: in redb, at `log.redb`. It is moved
//! once, when such a member is started, and never written again.
//!
//! ```text
//!   log.redb ─ checked whole ─→ moving ─ durable ─ rename ─→ log ─→ log.redb is deleted
//! ```
//!
//! Cut short anywhere, the move begins anew or is done: what has the name `log` is whole, and then
//! `log.redb` counts for nothing. The groups' numbers go on from the number of its commits, so that
//! a copy from before is still seen for what it is.

use super::{Group, Record};
use crate::{raft::generation::Generation, store::sync_directory};
use holdfast_common::{Code, Error, Result, limits};
use redb::{ReadableDatabase, TableDefinition};
use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const GENERATION: &str = "generation";
const NOTES: [&str; 3] = ["vote", "purged", "committed"];

/// The file of a log that was not moved yet, in a ledger's directory.
pub(in super::super) fn path(ledger: &Path) -> PathBuf {
    ledger.join("log.redb")
}

/// Moves a former log, if there is one, to where logs are now.
pub(in super::super) fn take_over(ledger: &Path, log: &Path) -> Result<()> {
    let (path, part) = (path(ledger), ledger.join("moving"));
    let io = |error: io::Error| Error::io("the log cannot be moved", &error);
    if !path.exists() {
        return Ok(());
    }
    if !super::exists(log)? {
        if part.exists() {
            fs::remove_dir_all(&part).map_err(io)?;
        }
        drop(fs::remove_file(part.with_extension("generation")));
        tracing::info!("the log is moved out of redb, once");
        if let Err(error) = move_to(&path, log, &part) {
            // What was begun must not hold the room that the next try needs.
            drop(fs::remove_dir_all(&part));
            drop(fs::remove_file(part.with_extension("generation")));
            return Err(error);
        }
        fs::rename(&part, log).map_err(io)?;
        drop(fs::remove_file(part.with_extension("generation")));
        sync_directory(ledger)?;
    }
    fs::remove_file(&path).map_err(io)?;
    sync_directory(ledger)
}

fn move_to(path: &Path, log: &Path, part: &Path) -> Result<()> {
    let damaged =
        |error: io::Error| Error::new(Code::LogDamaged, "the log cannot be opened").cause(error);
    let db = guarded(|| {
        let mut db = redb::Builder::new().set_cache_size(limits::LOG_CACHE_BYTES).open(path)?;
        if db.check_integrity()? {
            return Ok(db);
        }
        Err(redb::Error::Corrupted("the log's pages do not fit together".to_owned()))
    });
    let db = db.map_err(damaged)?;
    let notes = guarded(|| notes(&db)).map_err(damaged)?;
    let mut opened = Vec::new();
    for (name, wrapped) in &notes {
        opened.push((*name, crate::raft::log_store::unwrap_checksum(name, wrapped)?));
    }
    let commits = opened.iter().find(|(name, _)| *name == GENERATION);
    let commits = commits.and_then(|(_, bytes)| bytes.first_chunk::<8>().copied());
    let commits = commits.map_or(0, u64::from_le_bytes);
    let (_, is_behind) = Generation::open(log, commits).map_err(damaged)?;
    if is_behind {
        return Err(Error::new(Code::LogDamaged, "the log has gone back to an earlier state"));
    }
    let mut writer = super::create(part, commits + 1, limits::LOG_VOLUME_BYTES)?;
    let mut write = |group: &Group| writer.write(group).map_err(damaged);
    let mut group = Group::default();
    for (name, bytes) in opened.iter().filter(|(name, _)| NOTES.contains(name)) {
        group.push(Record::Note(name, bytes));
    }
    let mut after = None;
    while let Some((index, wrapped)) = guarded(|| entry_after(&db, after)).map_err(damaged)? {
        // Whatever is damaged stays where it is.
        crate::raft::log_store::unwrap_checksum(&index.to_string(), &wrapped)?;
        group.push(Record::Entry(index, &wrapped));
        after = Some(index);
        if group.bytes() > limits::APPEND_BYTES_MAX {
            write(&std::mem::take(&mut group))?;
        }
    }
    write(&group)
}

type Note = (&'static str, Vec<u8>);

fn notes(db: &redb::Database) -> Result<Vec<Note>, redb::Error> {
    let table = db.begin_read()?.open_table(META)?;
    let mut notes = Vec::new();
    for name in NOTES.into_iter().chain([GENERATION]) {
        notes.extend(table.get(name)?.map(|value| (name, value.value().to_vec())));
    }
    Ok(notes)
}

fn entry_after(
    db: &redb::Database,
    after: Option<u64>,
) -> Result<Option<(u64, Vec<u8>)>, redb::Error> {
    let table = db.begin_read()?.open_table(LOG)?;
    let from = after.map_or(0, |index| index.saturating_add(1));
    let row = table.range(from..)?.next().transpose()?;
    Ok(row.map(|(index, value)| (index.value(), value.value().to_vec())))
}

/// Runs a call into redb, which panics at some kinds of damage.
fn guarded<T>(call: impl FnOnce() -> Result<T, redb::Error>) -> io::Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(io::Error::other),
        Err(_) => Err(io::Error::other("the log's engine panicked")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::log_store::wrap_checksum;

    /// A log as members wrote it, after so many commits.
    fn write_former(path: &Path, entries: std::ops::Range<u64>, commits: u64) {
        let db = redb::Builder::new().create(path).unwrap();
        let transaction = db.begin_write().unwrap();
        {
            let mut log = transaction.open_table(LOG).unwrap();
            let mut meta = transaction.open_table(META).unwrap();
            for index in entries {
                let wrapped = wrap_checksum(&index.to_string(), &entry(index));
                log.insert(index, wrapped.as_slice()).unwrap();
            }
            meta.insert("vote", wrap_checksum("vote", b"mine").as_slice()).unwrap();
            let number = commits.to_le_bytes();
            meta.insert(GENERATION, wrap_checksum(GENERATION, &number).as_slice()).unwrap();
        }
        transaction.commit().unwrap();
    }

    fn entry(index: u64) -> Vec<u8> {
        format!("entry {index} ").repeat(100).into_bytes()
    }

    fn assert_moved(ledger: &Path, entries: std::ops::Range<u64>) {
        let reader = super::super::open(&ledger.join("log")).unwrap().reader();
        let wrapped = |index: u64| (index, wrap_checksum(&index.to_string(), &entry(index)));
        assert_eq!(reader.entries(..).unwrap(), entries.map(wrapped).collect::<Vec<_>>());
        assert_eq!(reader.note("vote").unwrap(), b"mine");
        assert_eq!(reader.note(GENERATION), None, "the groups have numbers");
        assert!(!path(ledger).exists());
    }

    #[test]
    fn a_log_in_redb_is_moved_whole_and_a_move_that_was_cut_short_begins_anew() {
        let ledger = tempfile::tempdir().unwrap();
        let log = ledger.path().join("log");
        take_over(ledger.path(), &log).unwrap();
        assert!(!log.exists(), "there was none");
        write_former(&path(ledger.path()), 5..3000, 70);
        Generation::open(&log, 70).unwrap().0.tell(70).unwrap();
        fs::create_dir(ledger.path().join("moving")).unwrap();
        fs::write(ledger.path().join("moving/volume-00000000000000000001"), b"begun").unwrap();
        let moving = ledger.path().join("moving");
        Generation::open(&moving, 73).unwrap().0.tell(73).unwrap();
        take_over(ledger.path(), &log).unwrap();
        assert_moved(ledger.path(), 5..3000);
        // It was moved, and only the old file was not deleted any more.
        write_former(&path(ledger.path()), 5..9, 60);
        take_over(ledger.path(), &log).unwrap();
        assert_moved(ledger.path(), 5..3000);
    }

    #[test]
    fn a_log_in_redb_that_is_damaged_or_was_taken_back_is_not_moved() {
        let ledger = tempfile::tempdir().unwrap();
        let (path, log) = (path(ledger.path()), ledger.path().join("log"));
        write_former(&path, 1..9, 70);
        let good = fs::read(&path).unwrap();
        let places = good.windows(6).enumerate().filter(|(_, window)| *window == b"entry ");
        let mut bad = good.clone();
        places.for_each(|(at, _)| bad[at] ^= 1);
        fs::write(&path, bad).unwrap();
        let refused = |what| {
            let error = take_over(ledger.path(), &log).unwrap_err();
            assert_eq!(error.code, Code::LogDamaged, "{what}");
            assert!(path.exists() && !log.exists(), "{what}");
            assert!(!ledger.path().join("moving").exists(), "{what}: it would hold room");
        };
        refused("damaged");
        fs::write(&path, good).unwrap();
        Generation::open(&log, 71).unwrap().0.tell(71).unwrap();
        refused("taken back");
    }
}
