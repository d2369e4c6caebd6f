//! Typed access to the tables: one prefix byte per table, one Rust type per row.
//!
//! [`Tables`] reads through an overlay of what the group being applied has written so far, and
//! gathers those writes into a [`Batch`]. Prefix bytes are part of the stored form: never reused.

use crate::kv::{Batch, KeyValue, StateKv};
use holdfast_common::{Code, Error, Result, limits, record};
use minicbor::{Decode, Encode};
use std::ops::Bound;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Table {
    Meta = 1,
    Cluster = 2,
    Vault = 3,
    Location = 4,
    Policy = 5,
    Agent = 6,
    AgentName = 7,
    Token = 8,
    Run = 9,
    RunTime = 10,
    Session = 11,
    Pack = 12,
    Point = 13,
    PointTime = 14,
    Audit = 15,
    Idempotency = 16,
    IdempotencyOrder = 17,
    Operator = 18,
    VaultName = 19,
    RunOpen = 20,
    Segment = 21,
    Bundle = 22,
    Member = 23,
    Office = 24,
    Seat = 25,
    MemberName = 26,
    Recovery = 27,
    LostHistory = 28,
    Epoch = 30,
    Level = 34,
    Finding = 35,
    Copy = 36,
    /// Keys of packs that are lost.
    LostPack = 45,
    Hold = 46,
    Forgotten = 47,
    Class = 48,
    Collection = 49,
    NewPoint = 50,
    Gone = 51,
    /// Keys of packs that are doomed and not gone.
    DoomedPack = 52,
    /// What lies inside the objects of points: vault, point, pack.
    InlinePack = 53,
    Leaving = 54,
    GonePoint = 55,
    Lock = 70,
    Check = 60,
    Damage = 61,
    KeyVersion = 64,
    Kek = 65,
    DestroyRequest = 71,
    DestroyedKey = 72,
    Shredded = 73,
}

/// A row: its table, and the key that finds it there.
pub trait Row: Encode<()> + for<'b> Decode<'b, ()> {
    const TABLE: Table;
    const WHAT: &'static str;
    fn key(&self) -> Vec<u8>;
}

pub fn full_key(table: Table, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(1 + key.len());
    full.push(table as u8);
    full.extend_from_slice(key);
    full
}

/// The tables as the group being applied sees them.
pub struct Tables<'a> {
    base: &'a dyn StateKv,
    batch: Batch,
    undo: Vec<(Vec<u8>, Option<Change>)>,
}

type Change = Option<Vec<u8>>;

/// A place to come back to.
pub struct Mark(Vec<(Vec<u8>, Option<Change>)>);

impl<'a> Tables<'a> {
    pub fn over(base: &'a dyn StateKv) -> Self {
        Self { base, batch: Batch::default(), undo: Vec::new() }
    }

    pub fn into_batch(self) -> Batch {
        self.batch
    }

    /// What has been written so far, to come back to when a command refuses half-way.
    pub fn mark(&mut self) -> Mark {
        Mark(std::mem::take(&mut self.undo))
    }

    /// Forgets what was written since `mark`.
    pub fn rewind(&mut self, mark: Mark) {
        for (key, before) in std::mem::replace(&mut self.undo, mark.0).into_iter().rev() {
            match before {
                Some(change) => self.batch.changes.insert(key, change),
                None => self.batch.changes.remove(&key),
            };
        }
    }

    fn change(&mut self, key: Vec<u8>, change: Change) {
        let before = self.batch.changes.insert(key.clone(), change);
        self.undo.push((key, before));
    }

    pub fn raw(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let full = full_key(table, key);
        match self.batch.changes.get(&full) {
            Some(change) => Ok(change.clone()),
            None => self.base.read(&full),
        }
    }

    pub fn row<R: Row>(&self, key: &[u8]) -> Result<Option<R>> {
        self.raw(R::TABLE, key)?.map(|bytes| record::from_bytes(R::WHAT, &bytes)).transpose()
    }

    pub fn put<R: Row>(&mut self, row: &R) -> Result<()> {
        self.put_raw(R::TABLE, &row.key(), record::to_bytes(row))
    }

    pub fn put_raw(&mut self, table: Table, key: &[u8], value: Vec<u8>) -> Result<()> {
        if value.len() > limits::LEDGER_VALUE_BYTES_MAX {
            return Err(Error::new(
                Code::LimitExceeded,
                format!("a ledger row of {} bytes is too large", value.len()),
            ));
        }
        self.change(full_key(table, key), Some(value));
        Ok(())
    }

    pub fn remove(&mut self, table: Table, key: &[u8]) {
        self.change(full_key(table, key), None);
    }

    /// Rows of a table whose key begins with `prefix`, as this group sees them.
    pub fn scan(&self, table: Table, prefix: &[u8], limit: usize) -> Result<Vec<KeyValue>> {
        self.scan_after(table, prefix, None, limit)
    }

    /// Gives rows of a table their new form, a page at a time so that none is left out; `change`
    /// says it, or nothing where a row stays as it is.
    pub fn rewrite<R: Row>(&mut self, mut change: impl FnMut(R) -> Option<R>) -> Result<()> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.scan_after(R::TABLE, &[], after.as_deref(), limits::LIST_PAGE_ROWS)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (_, value) in page {
                if let Some(row) = change(record::from_bytes(R::WHAT, &value)?) {
                    self.put(&row)?;
                }
            }
        }
    }

    /// Shows every row whose key begins with `prefix`, a page at a time.
    pub fn look<R: Row>(&self, prefix: &[u8], mut look: impl FnMut(R)) -> Result<()> {
        self.each(R::TABLE, prefix, |(_, value)| {
            look(record::from_bytes(R::WHAT, &value)?);
            Ok(())
        })
    }

    /// The same as they are stored.
    pub fn each(
        &self,
        table: Table,
        prefix: &[u8],
        mut show: impl FnMut(KeyValue) -> Result<()>,
    ) -> Result<()> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.scan_after(table, prefix, after.as_deref(), limits::LIST_PAGE_ROWS)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            page.into_iter().try_for_each(&mut show)?;
        }
    }

    /// A page of a scan: rows after the key `after`.
    fn scan_after(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyValue>> {
        let prefix = full_key(table, prefix);
        let after = after.map(|key| full_key(table, key));
        let from = after.clone().map_or(Bound::Included(prefix.clone()), Bound::Excluded);
        let pending = self.batch.changes.range((from, Bound::Unbounded));
        let pending: Vec<_> = pending.take_while(|(key, _)| key.starts_with(&prefix)).collect();
        let limit_stored = limit.saturating_add(pending.len());
        let stored = self.base.scan(&prefix, after.as_deref(), limit_stored)?;
        let mut merged: std::collections::BTreeMap<_, _> = stored.into_iter().collect();
        for (key, change) in pending {
            match change {
                Some(value) => merged.insert(key.clone(), value.clone()),
                None => merged.remove(key),
            };
        }
        Ok(merged.into_iter().take(limit).map(|(key, value)| (key[1..].to_vec(), value)).collect())
    }
}
