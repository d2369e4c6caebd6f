//! Tables in memory that know what was flushed: a crash takes them back to an older whole batch.
//! What lies above them in the overlay is not theirs, and a crash takes it.

use super::{Place, Rows};
use crate::raft::{
    simulation::{events::Event, world::Lie},
    snapshot,
    types::{LogId, StoredLogId},
};
use holdfast_common::{Error, Result, record};
use holdfast_ledger::{Batch, MemoryKv, Query, StateKv, Table, kv::KeyValue, tables::full_key};
use std::sync::Mutex;

pub(in super::super) struct SimulatedTables {
    place: Place,
    now: MemoryKv,
    kept: Mutex<Rows>,
    unflushed: Mutex<Vec<Batch>>,
}

impl SimulatedTables {
    pub(super) fn new(place: Place, rows: Rows) -> Self {
        let now = MemoryKv::default();
        let changes = rows.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        now.write(Batch { changes }).unwrap();
        Self { place, now, kept: Mutex::new(rows), unflushed: Mutex::default() }
    }

    pub(super) fn crash(&self) -> Rows {
        let (mut rows, unflushed) =
            (self.kept.lock().unwrap().clone(), self.unflushed.lock().unwrap());
        let kept = self.place.world.dice().below(unflushed.len() as u64 + 1);
        for batch in unflushed.iter().take(usize::try_from(kept).unwrap()) {
            keep(&mut rows, batch);
        }
        rows
    }
}

/// The index of the last entry that was applied.
pub(in super::super) fn applied(tables: &dyn StateKv) -> u64 {
    let applied = tables.read(&full_key(Table::Meta, b"applied")).unwrap();
    applied.map_or(0, |bytes| {
        let id: StoredLogId = record::from_bytes("applied", &bytes).unwrap();
        LogId::from(id).index
    })
}

/// All rows, as one number.
pub(in super::super) fn digest(tables: &dyn StateKv) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for (key, value) in tables.scan(&[], None, usize::MAX).unwrap() {
        hasher.update(&(key.len() as u64).to_le_bytes()).update(&key);
        hasher.update(&(value.len() as u64).to_le_bytes()).update(&value);
    }
    u64::from_le_bytes(*hasher.finalize().as_bytes().first_chunk::<8>().unwrap())
}

impl StateKv for SimulatedTables {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let is_a_key = key.first() == Some(&(Table::Idempotency as u8));
        if is_a_key && self.place.world.lie == Some(Lie::ForgottenKeys) {
            return Ok(None);
        }
        self.now.read(key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<KeyValue>> {
        self.now.scan(prefix, after, limit)
    }

    fn write(&self, batch: Batch) -> Result<()> {
        let io = |error: std::io::Error| Error::io("the tables cannot be written", &error);
        self.place.fuse.burn(&self.place.world, self.place.member).map_err(io)?;
        let was_half = snapshot::is_half_installed(&self.now)?;
        self.unflushed.lock().unwrap().push(batch.clone());
        self.now.write(batch)?;
        if was_half && !snapshot::is_half_installed(&self.now)? {
            let (member, upto) = (self.place.member, applied(&self.now));
            let head = Query::over(&self.now).audit_head()?;
            self.place.world.tell(Event::Installed { member, upto, head });
        }
        if self.place.world.dice().is(5) {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        let io = |error: std::io::Error| Error::io("the tables cannot be flushed", &error);
        self.place.fuse.burn(&self.place.world, self.place.member).map_err(io)?;
        let unflushed = std::mem::take(&mut *self.unflushed.lock().unwrap());
        if !unflushed.is_empty() {
            let mut kept = self.kept.lock().unwrap();
            unflushed.iter().for_each(|batch| keep(&mut kept, batch));
            let (member, upto) = (self.place.member, applied(&self.now));
            self.place.world.tell(Event::Flushed { member, upto });
        }
        Ok(())
    }
}

fn keep(rows: &mut Rows, batch: &Batch) {
    for (key, value) in &batch.changes {
        match value {
            Some(value) => rows.insert(key.clone(), value.clone()),
            None => rows.remove(key),
        };
    }
}
