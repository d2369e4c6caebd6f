//! The state machine: applies committed entries to the tables, a group at a time.
//!
//! One group is one [`Batch`](holdfast_ledger::Batch): rows, the applied index and the membership
//! go in together, and only then are the proposers answered. Snapshots are files of sorted rows
//! with a hash at the end; they are taken between two groups.

use super::{
    heard::Ear,
    snapshot::{self, SnapshotHead},
    time::LedgerTime,
    types::{Answer, LogId, StoredLogId, StoredMembers, StoredMembership, Types},
};
use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use holdfast_common::{Error, Result, record};
use holdfast_ledger::{Envelope, Query, StateKv, Table, Tables, apply};
use openraft::{
    EntryPayload, OptionalSend, alias,
    storage::{EntryResponder, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine},
};
use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::watch;

pub(super) const APPLIED: &[u8] = b"applied";
pub(super) const MEMBERS: &[u8] = b"members";

#[derive(Clone)]
pub(crate) struct Machine {
    tables: Arc<dyn StateKv>,
    snapshots: PathBuf,
    /// Whose own stamps are not news.
    me: u64,
    time: Arc<LedgerTime>,
    ear: Arc<Ear>,
    /// Held while a group is written or a snapshot is read, so that neither sees half of the other.
    barrier: Arc<Mutex<()>>,
    applied: Arc<watch::Sender<u64>>,
}

impl Machine {
    pub(crate) fn new(
        tables: Arc<dyn StateKv>,
        snapshots: PathBuf,
        (me, time): (u64, Arc<LedgerTime>),
        applied: watch::Sender<u64>,
    ) -> Self {
        let (ear, barrier, applied) = (Arc::default(), Arc::default(), Arc::new(applied));
        Self { tables, snapshots, me, time, ear, barrier, applied }
    }

    pub(super) fn ear(&self) -> Arc<Ear> {
        self.ear.clone()
    }

    fn meta<T: for<'b> minicbor::Decode<'b, ()>>(&self, key: &'static [u8]) -> Result<Option<T>> {
        let bytes = Tables::over(self.tables.as_ref()).raw(Table::Meta, key)?;
        bytes.map(|bytes| record::from_bytes("raft state", &bytes)).transpose()
    }

    fn head(&self) -> Result<SnapshotHead> {
        Ok(SnapshotHead {
            applied: self.meta(APPLIED)?,
            members: self.meta(MEMBERS)?.unwrap_or_default(),
        })
    }

    fn apply_group(&self, group: &[alias::EntryOf<Types>]) -> Result<Vec<Bytes>> {
        let mut tables = Tables::over(self.tables.as_ref());
        let mut answers = Vec::with_capacity(group.len());
        let (mut stamp, mut commands) = (None, Vec::with_capacity(group.len()));
        for entry in group {
            let (answer, envelope) = apply_entry(&mut tables, entry)?;
            answers.push(answer);
            if entry.log_id.leader_id.node_id != self.me {
                stamp = envelope.as_ref().map(|envelope| envelope.time).or(stamp);
            }
            commands.push((entry.log_id.index, envelope.map(|envelope| envelope.command)));
            let applied = record::to_bytes(&StoredLogId::from(&entry.log_id));
            tables.put_raw(Table::Meta, APPLIED, applied)?;
        }
        let _barrier = self.barrier.lock().unwrap_or_else(PoisonError::into_inner);
        self.tables.write(tables.into_batch())?;
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
        let applied = self.head()?.applied.map(LogId::from);
        if applied.map(|id| id.index) > state.last_log_id.map(|id| id.index) {
            tracing::warn!(?applied, "the log is behind the tables; taking a snapshot");
            self.snapshot()?;
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<(SnapshotHead, PathBuf)> {
        let _barrier = self.barrier.lock().unwrap_or_else(PoisonError::into_inner);
        let head = self.head()?;
        let path = snapshot::write(&self.snapshots, &head, self.tables.as_ref())?;
        Ok((head, path))
    }
}

/// The reply, and the command if it is one.
pub(super) fn apply_entry(
    tables: &mut Tables<'_>,
    entry: &alias::EntryOf<Types>,
) -> Result<(Bytes, Option<Envelope>)> {
    match &entry.payload {
        EntryPayload::Blank => Ok((Bytes::new(), None)),
        EntryPayload::Normal(proposal) => {
            let envelope: Envelope = record::from_bytes("command", &proposal.0)?;
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
    #[cfg(test)]
    if let Some(span) = super::simulation::span_of_work() {
        tokio::time::sleep(span).await;
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
        let head = self.head().map_err(io::Error::other)?;
        if let Some(applied) = head.applied.map(LogId::from) {
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
        let answers = blocking(move || machine.apply_group(&group)).await?;
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
        let head = blocking(move || {
            let _barrier = machine.barrier.lock().unwrap_or_else(PoisonError::into_inner);
            let head = snapshot::install(&path, machine.tables.as_ref())?;
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
        let machine = self.clone();
        let (head, snapshot) = blocking(move || machine.snapshot()).await?;
        let meta = meta_of(&head).map_err(io::Error::other)?;
        Ok(alias::SnapshotOf::<Types, PathBuf> { meta, snapshot })
    }
}
