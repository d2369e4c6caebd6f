//! Packs that no location has whole, as the ledger says.
//!
//! Every pass over the ledger's rows finds them, and news of what was lost or found keeps them true
//! in between. Few at any time, or none: each costs some sixty bytes. Whoever commits asks whether
//! what is committed relies on one; whoever shows how things stand, how many there are.

use super::Catalog;
use holdfast_common::PackId;
use holdfast_ledger::row::{PackRow, PackState};
use holdfast_repository::{Reach, number::ChunkNumber};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Each with the number of its first chunk, and how many it has.
#[derive(Default)]
pub(super) struct Lost(Mutex<BTreeMap<PackId, (u64, u32)>>);

impl Lost {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PackId, (u64, u32)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Catalog {
    /// What the ledger says of a pack now.
    pub(super) fn note_fate(&self, row: &PackRow) {
        let mut lost = self.lost.lock();
        match row.state {
            PackState::Lost => drop(lost.insert(row.id, (row.base, row.slots))),
            _ => drop(lost.remove(&row.id)),
        }
    }

    pub(crate) fn lost_packs(&self) -> usize {
        self.lost.lock().len()
    }

    /// A lost pack that holds something of this reach.
    pub(crate) fn lost_in(&self, reach: &Reach) -> Option<PackId> {
        let lost = self.lost.lock();
        let is_in = |base: u64, slots: u32| {
            let numbers = base..base.saturating_add(u64::from(slots));
            numbers.into_iter().any(|number| reach.contains(ChunkNumber::from_u64(number)))
        };
        lost.iter().find(|(_, (base, slots))| is_in(*base, *slots)).map(|(pack, _)| *pack)
    }
}
