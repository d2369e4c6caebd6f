//! A ledger made anew from what was shipped: a snapshot, entries, and commands of the recovery
//! itself, all through the code that a running member applies with.
//!
//! ```text
//!   snapshot ─┐
//!   entries ──┴→ tables ─→ commands of the recovery ─→ one voter ─→ a log that begins behind them
//! ```
//!
//! The recovered side begins at a term and an index that no member before can have reached: what an
//! old member says is never taken for its own.

use super::{
    Node,
    knowledge::Knowledge,
    log_store::LogStore,
    machine, snapshot,
    types::{Member, StoredLogId, StoredMembers, StoredVote, entry_from_bytes},
};
use crate::store::{DirectoryLock, SledKv, sync_directory};
use holdfast_common::{Code, Error, Result, record};
use holdfast_ledger::{
    Envelope, LEVEL, Query, Reply, StateKv, Table, Tables, apply, audit, command::Outcome,
    row::Position,
};
use openraft::storage::RaftLogStorage;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// How far behind what was shipped a recovered side begins.
const INDEX_GAP: u64 = 1 << 32;
const TERM_GAP: u64 = 1 << 20;
const GROUP_ENTRIES: usize = 64;

/// Tables under way, and the last entry that is in them.
pub(crate) struct Rebuild<K> {
    tables: K,
    last: Option<StoredLogId>,
    epoch: u64,
    knowledge: Knowledge,
}

impl<K: StateKv> Rebuild<K> {
    pub(crate) fn over(tables: K) -> Self {
        Self { tables, last: None, epoch: 1, knowledge: Knowledge::up_to(LEVEL) }
    }

    pub(crate) fn query(&self) -> Query<'_> {
        Query::over(&self.tables)
    }

    #[cfg(test)]
    pub(crate) fn tables(&self) -> &K {
        &self.tables
    }

    /// The tables as a member would write them to a snapshot.
    #[cfg(test)]
    pub(crate) fn snapshot_in(&self, directory: &Path) -> PathBuf {
        let (members, level) = Default::default();
        let head = snapshot::SnapshotHead { applied: self.last, members, level };
        snapshot::write(directory, &head, &self.tables).unwrap()
    }

    /// The next entry that is wanted. The very first one, which names the founder, is in no extent.
    pub(crate) fn next(&self) -> u64 {
        self.last.map_or(1, |last| last.parts().2 + 1)
    }

    /// Begins with a snapshot, of which every byte was checked.
    pub(crate) fn install(&mut self, path: &Path, epoch: u64) -> Result<()> {
        self.last = snapshot::install(path, &self.tables)?.applied;
        self.epoch = epoch;
        Ok(())
    }

    /// Applies entries that go on from what is there.
    pub(crate) fn replay(&mut self, epoch: u64, entries: &[(u64, Vec<u8>)]) -> Result<()> {
        for group in entries.chunks(GROUP_ENTRIES) {
            let mut tables = Tables::over(&self.tables);
            for (index, bytes) in group {
                if *index != self.last.map_or(1, |last| last.parts().2 + 1) {
                    return Err(Error::new(Code::LogDamaged, format!("{index} does not go on")));
                }
                let entry = entry_from_bytes(bytes)?;
                machine::apply_entry(&mut tables, &entry, &self.knowledge)?;
                let id = StoredLogId::from(&entry.log_id);
                tables.put_raw(Table::Meta, machine::APPLIED, record::to_bytes(&id))?;
                self.last = Some(id);
            }
            self.tables.write(tables.into_batch())?;
        }
        self.epoch = self.epoch.max(epoch);
        Ok(())
    }

    /// How far it is, once the whole audit chain was seen to hold.
    pub(crate) fn reached(&self) -> Result<(Position, u64)> {
        let query = self.query();
        let head = query.audit_head()?;
        audit::verify(query.audit_chain(), &query.audit_cut()?, &head)?;
        let (term, _, index) = self.last.map_or((0, 0, 0), StoredLogId::parts);
        let time = query.audit_newest_time()?.unwrap_or_default();
        Ok((Position { epoch: self.epoch, index, audit: head, time }, term))
    }

    /// From here on the entries are of the recovered side, which this member leads.
    pub(crate) fn take_over(&mut self, member: u64) {
        let (term, _, index) = self.last.map_or((0, 0, 0), StoredLogId::parts);
        self.last = Some(StoredLogId::of(term + TERM_GAP, member, index + INDEX_GAP));
    }

    /// The index of the entry that comes next on the recovered side.
    pub(crate) fn base(&self) -> u64 {
        self.next()
    }

    /// One more entry: a command that nobody may refuse.
    pub(crate) fn command(&mut self, envelope: &Envelope) -> Result<Outcome> {
        let (term, node, index) = self.last.map_or((0, 0, 0), StoredLogId::parts);
        let id = StoredLogId::of(term, node, index + 1);
        let mut tables = Tables::over(&self.tables);
        let reply: Reply = apply(&mut tables, index + 1, envelope)?;
        let outcome = reply.into_result()?;
        tables.put_raw(Table::Meta, machine::APPLIED, record::to_bytes(&id))?;
        self.tables.write(tables.into_batch())?;
        self.last = Some(id);
        Ok(outcome)
    }

    /// Who belongs to the cluster from now on.
    fn found(&self, node: &Node) -> Result<()> {
        let member = Member {
            name: node.name.to_string(),
            region: node.region.to_string(),
            address: node.address.clone(),
        };
        let members = StoredMembers::alone(self.last, node.id, member);
        let mut tables = Tables::over(&self.tables);
        tables.put_raw(Table::Meta, machine::MEMBERS, record::to_bytes(&members))?;
        self.tables.write(tables.into_batch())?;
        self.tables.flush()
    }
}

/// The files of a member that is being made.
pub(crate) struct Workshop {
    directory: PathBuf,
    lock: Arc<DirectoryLock>,
}

impl Workshop {
    /// In a directory that holds no ledger.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        std::fs::create_dir_all(directory.join("snapshots"))
            .map_err(|error| Error::io("the ledger's directory cannot be made", &error))?;
        let (directory, lock) = (directory.to_owned(), DirectoryLock::take(directory)?);
        Ok(Self { directory, lock })
    }

    pub(crate) fn tables(&self) -> Result<SledKv> {
        SledKv::open(&self.directory.join("tables"), Some(self.lock.clone()))
    }

    /// Where a snapshot may be put together.
    pub(crate) fn part(&self) -> PathBuf {
        self.directory.join("recovered.part")
    }

    /// A log without entries that goes on behind the tables; the member has voted for itself.
    pub(crate) async fn finish(self, rebuild: Rebuild<SledKv>, node: &Node) -> Result<()> {
        rebuild.found(node)?;
        let (term, ..) = rebuild.last.map_or((0, 0, 0), StoredLogId::parts);
        let tables: Arc<dyn StateKv> = Arc::new(rebuild.tables);
        let mut log = LogStore::open(&self.directory, tables, self.lock)?;
        let vote = StoredVote::of(term, node.id, false).into();
        log.save_vote(&vote).await.map_err(|e| Error::io("the log cannot be written", &e))?;
        sync_directory(&self.directory)?;
        let released = log.release();
        drop(log);
        released.await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::{entry_of_command, tests::location};
    use holdfast_common::Timestamp;
    use holdfast_ledger::{Actor, MemoryKv, envelope::ENVELOPE_VERSION};

    fn envelope(number: u64) -> Envelope {
        Envelope {
            version: ENVELOPE_VERSION,
            key: u128::from(number).to_be_bytes(),
            actor: Actor::System,
            time: Timestamp::from_nanos(i64::try_from(number).unwrap()),
            epoch: 1,
            traceparent: None,
            command: location(usize::try_from(number % 7).unwrap()).into(),
        }
    }

    fn entries(range: std::ops::RangeInclusive<u64>) -> Vec<(u64, Vec<u8>)> {
        range.map(|index| (index, entry_of_command(2, 1, index, &envelope(index)))).collect()
    }

    #[test]
    fn entries_go_on_one_after_the_other() {
        let mut rebuild = Rebuild::over(MemoryKv::default());
        rebuild.replay(1, &entries(1..=5)).unwrap();
        assert_eq!(rebuild.next(), 6);
        assert_eq!(rebuild.replay(1, &entries(7..=8)).unwrap_err().code, Code::LogDamaged);
        assert_eq!(rebuild.replay(1, &entries(5..=6)).unwrap_err().code, Code::LogDamaged);
        rebuild.replay(1, &entries(6..=100)).unwrap();
        let (reached, term) = rebuild.reached().unwrap();
        assert_eq!((reached.index, reached.audit.rows, term), (100, 100, 2));
    }

    #[test]
    fn a_recovered_side_begins_where_nobody_was() {
        let mut rebuild = Rebuild::over(MemoryKv::default());
        rebuild.replay(1, &entries(1..=5)).unwrap();
        rebuild.take_over(4);
        assert!(rebuild.base() > 5 + INDEX_GAP - 1);
        let (term, node, index) = rebuild.last.unwrap().parts();
        assert_eq!((term, node, index), (2 + TERM_GAP, 4, 5 + INDEX_GAP));
    }

    #[test]
    fn an_audit_chain_that_does_not_hold_is_not_taken() {
        let mut rebuild = Rebuild::over(MemoryKv::default());
        rebuild.replay(1, &entries(1..=5)).unwrap();
        let mut tables = Tables::over(&rebuild.tables);
        tables.remove(Table::Audit, &2u64.to_be_bytes());
        let batch = tables.into_batch();
        rebuild.tables.write(batch).unwrap();
        assert_eq!(rebuild.reached().unwrap_err().code, Code::LogDamaged);
    }
}
