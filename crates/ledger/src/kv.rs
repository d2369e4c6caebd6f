//! Where the tables lie: a sorted map of bytes behind one small trait.
//!
//! An engine keeps a [`Batch`] whole or not at all, and what was flushed survives a power cut. It
//! may lose what was not flushed, because the log still has it. Implementations share one
//! conformance suite; [`MemoryKv`] is the model the others are compared with.

use holdfast_common::Result;
use std::{collections::BTreeMap, sync::RwLock};

/// Changes that go in together. `None` deletes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

pub type KeyValue = (Vec<u8>, Vec<u8>);

/// A sorted map of bytes.
pub trait StateKv: Send + Sync {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// At most `limit` rows whose key begins with `prefix` and sorts after `after`, in key order.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<KeyValue>>;

    fn write(&self, batch: Batch) -> Result<()>;

    /// The same for whoever keeps the batch.
    fn write_copy(&self, batch: &Batch) -> Result<()> {
        self.write(batch.clone())
    }

    /// Makes everything written so far survive a power cut.
    fn flush(&self) -> Result<()>;
}

/// Tables in memory: the model, and the engine of simulations.
#[derive(Debug, Default)]
pub struct MemoryKv {
    map: RwLock<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl StateKv for MemoryKv {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let map = self.map.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(map.get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<KeyValue>> {
        use std::ops::Bound;
        let map = self.map.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let from = match after {
            Some(key) if key >= prefix => Bound::Excluded(key),
            _ => Bound::Included(prefix),
        };
        Ok(map
            .range::<[u8], _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn write(&self, batch: Batch) -> Result<()> {
        let mut map = self.map.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (key, value) in batch.changes {
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}
