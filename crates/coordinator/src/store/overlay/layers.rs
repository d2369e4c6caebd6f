//! What was written and is not below yet: one layer that takes writes, and those that were frozen.
//!
//! A frozen layer never changes, so that a view keeps it by a pointer. Layers go below in the order
//! of their numbers, and none goes that is newer than what the oldest view shows.

use holdfast_common::{Error, Result};
use holdfast_ledger::Batch;
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::Arc,
};

/// What was written to a key; `None` deletes.
pub(super) type Change = Option<Vec<u8>>;

#[derive(Default)]
pub(super) struct Layers {
    pub(super) open: Layer,
    /// The oldest first, with their numbers.
    pub(super) frozen: VecDeque<(u64, Arc<Layer>)>,
    /// The number of the layer that was frozen last.
    pub(super) newest: u64,
    /// Up to which layers views show; none beyond the least of these goes below.
    pub(super) held: Vec<u64>,
    pub(super) failed: Option<Error>,
}

impl Layers {
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Layer> {
        let frozen = self.frozen.iter().rev().map(|(_, layer)| layer.as_ref());
        std::iter::once(&self.open).chain(frozen)
    }

    pub(super) fn bytes(&self) -> usize {
        self.newest_first().map(|layer| layer.bytes).sum()
    }

    /// Whether something is to go below, and may.
    pub(super) fn is_due(&self, settle_at: usize) -> bool {
        self.held.is_empty() && (self.open.bytes >= settle_at || !self.frozen.is_empty())
    }

    pub(super) fn freeze(&mut self, at_least: usize) {
        if self.open.bytes >= at_least.max(1) {
            self.newest += 1;
            self.frozen.push_back((self.newest, Arc::new(std::mem::take(&mut self.open))));
        }
    }

    /// What goes below next, if no view stands in its way.
    pub(super) fn oldest(&self) -> Result<Option<Arc<Layer>>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let upto = self.held.iter().min().copied().unwrap_or(u64::MAX);
        let oldest = self.frozen.front().filter(|(number, _)| *number <= upto);
        Ok(oldest.map(|(_, layer)| layer.clone()))
    }
}

#[derive(Default)]
pub(super) struct Layer {
    pub(super) rows: Batch,
    pub(super) bytes: usize,
}

impl Layer {
    pub(super) fn take(&mut self, batch: Batch) {
        for (key, change) in batch.changes {
            let weight = |change: &Change| change.as_ref().map_or(0, Vec::len);
            self.bytes += weight(&change);
            let key_bytes = key.len();
            match self.rows.changes.insert(key, change) {
                Some(before) => self.bytes -= weight(&before),
                None => self.bytes += key_bytes + ROW_BYTES,
            }
        }
    }
}

/// The first `count` keys of a scan that any of these layers has, with what the newest says.
pub(super) fn first_changes<'a>(
    newest_first: impl Iterator<Item = &'a Layer>,
    (prefix, after): (&[u8], Option<&[u8]>),
    count: usize,
) -> BTreeMap<Vec<u8>, Change> {
    let from = match after {
        Some(key) if key >= prefix => Bound::Excluded(key),
        _ => Bound::Included(prefix),
    };
    let mut first = BTreeMap::new();
    for layer in newest_first {
        let rows = layer.rows.changes.range::<[u8], _>((from, Bound::Unbounded));
        for (key, change) in rows.take_while(|(key, _)| key.starts_with(prefix)) {
            if first.len() >= count && first.last_key_value().is_none_or(|(last, _)| key > last) {
                break;
            }
            if !first.contains_key(key) {
                first.insert(key.clone(), change.clone());
                if first.len() > count {
                    first.pop_last();
                }
            }
        }
    }
    first
}

/// What a row takes beside its bytes.
const ROW_BYTES: usize = 96;
