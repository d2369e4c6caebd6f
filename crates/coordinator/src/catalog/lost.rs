//! Packs that no location has whole, as the ledger says.
//!
//! Every pass over the ledger's rows finds them, and news of what was lost or found keeps them true
//! in between. Few at any time, or none: each costs some sixty bytes. Whoever commits asks whether
//! what is committed relies on one; whoever shows how things stand, how many there are.

use super::Catalog;
use holdfast_common::PackId;
use holdfast_ledger::row::{PackRow, PackState};
use holdfast_repository::Reach;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Each with the runs of its numbers: the first of a run, and how many.
#[derive(Default)]
pub(super) struct Lost(Mutex<Numbers>);

type Numbers = BTreeMap<PackId, Vec<(u64, u32)>>;

impl Lost {
    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Catalog {
    /// What the ledger says of a pack now.
    pub(super) fn note_fate(&self, row: &PackRow) {
        let mut lost = self.lost.lock();
        match row.state {
            PackState::Lost => drop(lost.insert(row.id, row.numbers().collect())),
            _ => drop(lost.remove(&row.id)),
        }
    }

    pub(crate) fn lost_packs(&self) -> usize {
        self.lost.lock().len()
    }

    /// A lost pack that holds something of this reach.
    pub(crate) fn lost_in(&self, reach: &Reach) -> Option<PackId> {
        let lost = self.lost.lock();
        let is_in = |runs: &[(u64, u32)]| reach.meets_any(runs.iter().copied());
        lost.iter().find(|(_, runs)| is_in(runs)).map(|(pack, _)| *pack)
    }
}
