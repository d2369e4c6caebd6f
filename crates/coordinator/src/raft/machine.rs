//! The state machine: applies committed entries to the tables, a group at a time.
//!
//! One group is one [`Batch`](holdfast_ledger::Batch): rows, the applied index and the membership
//! go in together, and only then are the proposers answered. Snapshots are files of sorted rows
//! with a hash at the end; each shows the tables between two groups, and further groups go in while
//! it is written. One is written at a time, and none while another is installed.

use super::{
    heard::Ear,
    knowledge::Knowledge,
    snapshot::{self, SnapshotHead},
    time::LedgerTime,
    types::{Answer, LogId, StoredLogId, StoredMembers, StoredMembership, Types},
};
use crate::store::{Overlay, View};
use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use holdfast_common::{Error, Result, record};
use holdfast_ledger::{Envelope, Query, StateKv, Table, Tables, apply, level::LEVEL_FIRST};
use openraft::{
    EntryPayload, OptionalSend, alias,
    storage::{EntryResponder, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::{Mutex, watch};

pub(super) const APPLIED: &[u8] = b"applied";
pub(super) const MEMBERS: &[u8] = b"members";
/// A group of so many entries is applied at once: to hand it on takes longer than most do.
const SHORT_GROUP: usize = 32;

#[derive(Clone)]
pub(crate) struct Machine {
    tables: Arc<Overlay>,
    snapshots: PathBuf,
    /// Whose own stamps are not news.
    me: u64,
    time: Arc<LedgerTime>,
    ear: Arc<Ear>,
    knowledge: Arc<Knowledge>,
    /// Held while a snapshot is written or installed.
    snapshotting: Arc<Mutex<()>>,
    applied: Arc<watch::Sender<u64>>,
}

impl Machine {
    pub(crate) fn new(
        tables: Arc<Overlay>,
        snapshots: PathBuf,
        (me, time): (u64, Arc<LedgerTime>),
        applied: watch::Sender<u64>,
    ) -> Self {
        let (ear, snapshotting, applied) = (Arc::default(), Arc::default(), Arc::new(applied));
        let knowledge = Arc::default();
        Self { tables, snapshots, me, time, ear, knowledge, snapshotting, applied }
    }

    /// The same with other bounds to what it knows.
    pub(super) fn knowing(self, knowledge: Arc<Knowledge>) -> Self {
        Self { knowledge, ..self }
    }

    pub(super) fn ear(&self) -> Arc<Ear> {
        self.ear.clone()
    }

    fn apply_group(&self, group: &[alias::EntryOf<Types>]) -> Result<Vec<Bytes>> {
        let mut tables = Tables::over(self.tables.as_ref());
        let mut answers = Vec::with_capacity(group.len());
        let (mut stamp, mut commands) = (None, Vec::with_capacity(group.len()));
        for entry in group {
            let (answer, envelope) = apply_entry(&mut tables, entry, &self.knowledge)?;
            answers.push(answer);
            if entry.log_id.leader_id.node_id != self.me {
                stamp = envelope.as_ref().map(|envelope| envelope.time).or(stamp);
            }
            commands.push((entry.log_id.index, envelope.map(|envelope| envelope.command)));
        }
        if let Some(last) = group.last() {
            let applied = record::to_bytes(&StoredLogId::from(&last.log_id));
            tables.put_raw(Table::Meta, APPLIED, applied)?;
        }
        self.tables.write(tables.into_batch())?;
        #[cfg(test)]
        super::simulation::tell_applied(self.me, group, self.tables.as_ref());
        for (index, command) in commands {
            self.ear.hear(index, command.as_ref());
        }
        if let Some(stamp) = stamp {
            self.time.follow(stamp);
        }
        Ok(answers)
    }

    /// An entry is applied when a quorum has it, which may be before the log here is synced: after
    /// a crash the tables may be ahead of the log. A snapshot then stands in for what it lacks;
    /// without one, this member could lead and not bring up who is behind.
    pub(super) async fn stand_in_for(&self, mut log: impl RaftLogStorage<Types>) -> Result<()> {
        let state = log.get_log_state().await;
        let state = state.map_err(|error| Error::io("the log cannot be read", &error))?;
        let applied = head_of(self.tables.as_ref())?.applied.map(LogId::from);
        if applied.map(|id| id.index) > state.last_log_id.map(|id| id.index) {
            tracing::warn!(?applied, "the log is behind the tables; taking a snapshot");
            write_snapshot(&self.snapshots, &self.tables.view())?;
        }
        Ok(())
    }
}

fn write_snapshot(directory: &Path, view: &View) -> Result<(SnapshotHead, PathBuf)> {
    let head = head_of(view)?;
    let path = snapshot::write(directory, &head, view)?;
    Ok((head, path))
}

/// How far tables are, and who belonged to the cluster then.
pub(super) fn head_of(tables: &dyn StateKv) -> Result<SnapshotHead> {
    Ok(SnapshotHead {
        applied: meta(tables, APPLIED)?,
        members: meta(tables, MEMBERS)?.unwrap_or_default(),
        level: Some(Query::over(tables).level()?).filter(|level| *level > LEVEL_FIRST),
    })
}

fn meta<T: for<'b> minicbor::Decode<'b, ()>>(
    tables: &dyn StateKv,
    key: &'static [u8],
) -> Result<Option<T>> {
    let bytes = Tables::over(tables).raw(Table::Meta, key)?;
    bytes.map(|bytes| record::from_bytes("raft state", &bytes)).transpose()
}

/// The reply, and the command if it is one.
pub(super) fn apply_entry(
    tables: &mut Tables<'_>,
    entry: &alias::EntryOf<Types>,
    knowledge: &Knowledge,
) -> Result<(Bytes, Option<Envelope>)> {
    match &entry.payload {
        EntryPayload::Blank => Ok((Bytes::new(), None)),
        EntryPayload::Normal(proposal) => {
            let envelope = knowledge.read(&proposal.0)?;
            let reply = apply(tables, entry.log_id.index, &envelope)?;
            Ok((record::to_bytes(&reply).into(), Some(envelope)))
        }
        EntryPayload::Membership(membership) => {
            let stored = StoredMembership::new(Some(entry.log_id), membership.clone());
            let bytes = record::to_bytes(&StoredMembers::from(&stored));
            tables.put_raw(Table::Meta, MEMBERS, bytes)?;
            Ok((Bytes::new(), None))
        }
    }
}

/// The last entry that the tables hold.
pub(super) fn applied_in(tables: &dyn StateKv) -> Result<Option<u64>> {
    let bytes = Tables::over(tables).raw(Table::Meta, APPLIED)?;
    let id: Option<StoredLogId> =
        bytes.map(|bytes| record::from_bytes("raft state", &bytes)).transpose()?;
    Ok(id.map(|id| id.parts().2))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T, io::Error> {
    work_off(false, work).await
}

/// Does what is short here, and hands on what may take longer.
async fn work_off<T: Send + 'static>(
    is_short: bool,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T, io::Error> {
    #[cfg(test)]
    if let Some(span) = super::simulation::span_of_work() {
        tokio::time::sleep(span).await;
        return work().map_err(io::Error::other);
    }
    if is_short {
        return work().map_err(io::Error::other);
    }
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?.map_err(io::Error::other)
}

pub(super) fn meta_of(head: &SnapshotHead) -> Result<alias::SnapshotMetaOf<Types>> {
    Ok(alias::SnapshotMetaOf::<Types> {
        last_log_id: head.applied.map(LogId::from),
        last_membership: head.members.clone().try_into()?,
    })
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = PathBuf;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let head = head_of(self.tables.as_ref()).map_err(io::Error::other)?;
        if let Some(applied) = head.applied.map(LogId::from) {
            self.ear.begin(applied.index);
            self.applied.send_replace(applied.index);
        }
        let members = head.members.try_into().map_err(io::Error::other)?;
        Ok((head.applied.map(LogId::from), members))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let (mut group, mut responders) = (Vec::new(), Vec::new());
        while let Some((entry, responder)) = entries.try_next().await? {
            group.push(entry);
            responders.push(responder);
        }
        let Some(last) = group.last().map(|entry| entry.log_id.index) else { return Ok(()) };
        let machine = self.clone();
        let is_short = group.len() <= SHORT_GROUP && self.tables.has_room();
        let answers = work_off(is_short, move || machine.apply_group(&group)).await?;
        self.applied.send_replace(last);
        for (responder, answer) in responders.into_iter().zip(answers) {
            if let Some(responder) = responder {
                responder.send(Answer(answer));
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        _: &alias::SnapshotMetaOf<Types>,
        path: PathBuf,
    ) -> Result<(), io::Error> {
        let machine = self.clone();
        let alone = self.snapshotting.clone().lock_owned().await;
        let head = blocking(move || {
            let _alone = alone;
            let level = snapshot::head_of(&path)?.level.unwrap_or(LEVEL_FIRST);
            machine.knowledge.insist_on(level)?;
            machine.ear.replace();
            let replaced = machine.tables.replace(|below| snapshot::install(&path, below));
            machine.ear.replace();
            let head = replaced?;
            if let Some(newest) = Query::over(machine.tables.as_ref()).audit_newest_time()? {
                machine.time.follow(newest);
            }
            machine.ear.miss(head.applied.map_or(0, |id| LogId::from(id).index));
            Ok(head)
        })
        .await?;
        if let Some(applied) = head.applied.map(LogId::from) {
            self.applied.send_replace(applied.index);
        }
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<alias::SnapshotOf<Types, PathBuf>>, io::Error> {
        let directory = self.snapshots.clone();
        let newest = blocking(move || snapshot::newest(&directory)).await?;
        let Some((head, snapshot)) = newest else { return Ok(None) };
        let meta = meta_of(&head).map_err(io::Error::other)?;
        Ok(Some(alias::SnapshotOf::<Types, PathBuf> { meta, snapshot }))
    }
}

impl RaftSnapshotBuilder<Types> for Machine {
    type SnapshotData = PathBuf;

    async fn build_snapshot(&mut self) -> Result<alias::SnapshotOf<Types, PathBuf>, io::Error> {
        let alone = self.snapshotting.clone().lock_owned().await;
        let (directory, view) = (self.snapshots.clone(), self.tables.view());
        let (head, snapshot) = blocking(move || {
            let _alone = alone;
            write_snapshot(&directory, &view)
        })
        .await?;
        let meta = meta_of(&head).map_err(io::Error::other)?;
        Ok(alias::SnapshotOf::<Types, PathBuf> { meta, snapshot })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        raft::{log_store::LogStore, tests::location, types::Entry},
        store::DirectoryLock,
    };
    use futures::stream;
    use holdfast_common::{SystemClock, Timestamp};
    use holdfast_ledger::{Actor, Batch, MemoryKv, envelope::ENVELOPE_VERSION, kv::KeyValue};
    use std::sync::{Mutex as Lock, mpsc};

    /// Tables of which a whole scan stops after its first page, until it is let go on.
    struct Slow {
        rows: MemoryKv,
        begun: mpsc::SyncSender<()>,
        go_on: Lock<mpsc::Receiver<()>>,
    }

    impl StateKv for Slow {
        fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
            self.rows.read(key)
        }

        fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<KeyValue>> {
            let rows = self.rows.scan(prefix, after, limit);
            // Commands scan one table at a time.
            if prefix.is_empty() && after.is_none() {
                self.begun.send(()).unwrap();
                self.go_on.lock().unwrap().recv().unwrap();
            }
            rows
        }

        fn write(&self, batch: Batch) -> Result<()> {
            self.rows.write(batch)
        }

        fn flush(&self) -> Result<()> {
            Ok(())
        }
    }

    fn entry(index: u64) -> Entry {
        let number = usize::try_from(index).unwrap();
        let envelope = Envelope {
            version: ENVELOPE_VERSION,
            key: u128::from(index).to_be_bytes(),
            actor: Actor::System,
            time: Timestamp::from_nanos(1_800_000_000_000_000_000),
            epoch: 1,
            traceparent: None,
            command: location(number).into(),
        };
        let leader_id = openraft::impls::leader_id_adv::LeaderId { term: 1, node_id: 1 };
        let log_id = LogId { leader_id, index };
        let proposal = super::super::Proposal(record::to_bytes(&envelope).into());
        Entry { log_id, payload: EntryPayload::Normal(proposal) }
    }

    fn machine(tables: &Arc<Overlay>, directory: &Path) -> Machine {
        let time = LedgerTime::new(Arc::new(SystemClock::start()), None, directory.join("time"));
        let (sender, _) = watch::channel(0);
        Machine::new(tables.clone(), directory.to_owned(), (2, Arc::new(time)), sender)
    }

    async fn apply_all(machine: &mut Machine, indexes: std::ops::Range<u64>) {
        machine.apply(stream::iter(indexes.map(|index| Ok((entry(index), None))))).await.unwrap();
    }

    fn all(tables: &dyn StateKv) -> Vec<KeyValue> {
        tables.scan(&[1], None, usize::MAX).unwrap();
        (0..=u8::MAX).flat_map(|table| tables.scan(&[table], None, usize::MAX).unwrap()).collect()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_snapshot_is_the_state_at_its_index_and_applies_go_on_while_it_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let (begun, has_begun) = mpsc::sync_channel(1);
        let (let_go, go_on) = mpsc::sync_channel(1);
        let slow = Slow { rows: MemoryKv::default(), begun, go_on: Lock::new(go_on) };
        let tables = Overlay::without_settler(Arc::new(slow), 1_000);
        let mut machine = machine(&tables, directory.path());
        let applied = machine.applied.subscribe();
        apply_all(&mut machine, 1..40).await;
        let before = all(tables.as_ref());

        let mut builder = machine.clone();
        let built = async move { builder.build_snapshot().await.unwrap() };
        let other = async {
            tokio::task::spawn_blocking(move || has_begun.recv().unwrap()).await.unwrap();
            apply_all(&mut machine, 40..90).await;
            assert_eq!(*applied.borrow(), 89, "applied, and the snapshot is not written");
            let_go.send(()).unwrap();
        };
        let (built, ()) = futures::join!(built, other);

        assert_eq!(built.meta.last_log_id.map(|id| id.index), Some(39));
        let filled = MemoryKv::default();
        snapshot::install(&built.snapshot, &filled).unwrap();
        assert_eq!(all(&filled), before);
        assert_ne!(all(tables.as_ref()), before);
        assert_eq!(Query::over(tables.as_ref()).locations().unwrap().len(), 89);
    }

    #[tokio::test]
    async fn tables_that_are_ahead_of_the_log_leave_a_snapshot_and_others_leave_none() {
        let directory = tempfile::tempdir().unwrap();
        let lock = DirectoryLock::take(directory.path()).unwrap();
        let rows = Arc::new(MemoryKv::default());
        let log = LogStore::open(&directory.path().join("log.redb"), rows.clone(), lock).unwrap();
        let tables = Overlay::without_settler(rows, 1_000);
        let mut machine = machine(&tables, directory.path());
        machine.stand_in_for(log.clone()).await.unwrap();
        assert!(machine.get_current_snapshot().await.unwrap().is_none(), "nothing is lacking");

        apply_all(&mut machine, 1..40).await;
        machine.stand_in_for(log).await.unwrap();
        let taken = machine.get_current_snapshot().await.unwrap().expect("a snapshot");
        assert_eq!(taken.meta.last_log_id.map(|id| id.index), Some(39));
        let filled = MemoryKv::default();
        snapshot::install(&taken.snapshot, &filled).unwrap();
        assert_eq!(all(&filled), all(tables.as_ref()));
    }
}
