//! The state machine: applies committed entries to the tables, a group at a time.
//!
//! One group is one [`Batch`](holdfast_ledger::Batch): rows, the applied index and the membership
//! go in together, and only then are the proposers answered. Snapshots are files of sorted rows
//! with a hash at the end; they are taken between two groups.

use super::{
    snapshot::{self, SnapshotHead},
    types::{Answer, LogId, StoredLogId, StoredMembers, StoredMembership, Types},
};
use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use holdfast_common::{Result, record};
use holdfast_ledger::{Envelope, StateKv, Table, Tables, apply};
use openraft::{
    EntryPayload, OptionalSend, alias,
    storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine},
};
use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::watch;

const APPLIED: &[u8] = b"applied";
const MEMBERS: &[u8] = b"members";

#[derive(Clone)]
pub(crate) struct Machine {
    tables: Arc<dyn StateKv>,
    snapshots: PathBuf,
    /// Held while a group is written or a snapshot is read, so that neither sees half of the other.
    barrier: Arc<Mutex<()>>,
    applied: Arc<watch::Sender<u64>>,
}

impl Machine {
    pub(crate) fn new(
        tables: Arc<dyn StateKv>,
        snapshots: PathBuf,
        applied: watch::Sender<u64>,
    ) -> Self {
        Self { tables, snapshots, barrier: Arc::default(), applied: Arc::new(applied) }
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
        for entry in group {
            answers.push(apply_entry(&mut tables, entry)?);
            let applied = record::to_bytes(&StoredLogId::from(&entry.log_id));
            tables.put_raw(Table::Meta, APPLIED, applied)?;
        }
        let _barrier = self.barrier.lock().unwrap_or_else(PoisonError::into_inner);
        self.tables.write(tables.into_batch())?;
        Ok(answers)
    }

    fn snapshot(&self) -> Result<(SnapshotHead, PathBuf)> {
        let _barrier = self.barrier.lock().unwrap_or_else(PoisonError::into_inner);
        let head = self.head()?;
        let path = snapshot::write(&self.snapshots, &head, self.tables.as_ref())?;
        Ok((head, path))
    }
}

fn apply_entry(tables: &mut Tables<'_>, entry: &alias::EntryOf<Types>) -> Result<Bytes> {
    match &entry.payload {
        EntryPayload::Blank => Ok(Bytes::new()),
        EntryPayload::Normal(proposal) => {
            let envelope: Envelope = record::from_bytes("command", &proposal.0)?;
            let reply = apply(tables, entry.log_id.index, &envelope)?;
            Ok(record::to_bytes(&reply).into())
        }
        EntryPayload::Membership(membership) => {
            let stored = StoredMembership::new(Some(entry.log_id), membership.clone());
            let bytes = record::to_bytes(&StoredMembers::from(&stored));
            tables.put_raw(Table::Meta, MEMBERS, bytes)?;
            Ok(Bytes::new())
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T, io::Error> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?.map_err(io::Error::other)
}

fn meta_of(head: &SnapshotHead) -> Result<alias::SnapshotMetaOf<Types>> {
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
            snapshot::install(&path, machine.tables.as_ref())
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
