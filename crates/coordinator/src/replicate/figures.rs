//! How far the copiers of this member are, a moment ago: what the ledger is told now and then.

use holdfast_common::{Name, VaultId};
use holdfast_ledger::row::CopyRow;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

#[derive(Default)]
pub(crate) struct Figures(Mutex<BTreeMap<(VaultId, Name), CopyRow>>);

impl Figures {
    pub(super) fn set(&self, row: &CopyRow) {
        self.lock().insert((row.vault, row.location.clone()), row.clone());
    }

    /// What this member knows of a row better than the ledger; of one that was opened again nobody
    /// knows better.
    pub(crate) fn newest(&self, row: CopyRow) -> CopyRow {
        let shown = self.lock().get(&(row.vault, row.location.clone())).cloned();
        match shown.filter(|shown| shown.opened == row.opened) {
            Some(shown) => CopyRow { since: row.since, left: row.left, anew: row.anew, ..shown },
            None => row,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(VaultId, Name), CopyRow>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
