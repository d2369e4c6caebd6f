//! What could not be deleted the last time, and why: the memory of the member that leads, for
//! whoever asks what is the matter. It is forgotten with the lead; the next leader finds out by
//! trying.

use holdfast_common::{Error, Name, Timestamp, VaultId};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

#[derive(Default)]
pub(crate) struct Stuck(Mutex<BTreeMap<VaultId, Left>>);

/// Of one vault, after a pass over all that is due there.
#[derive(Clone, Debug)]
pub(crate) struct Left {
    /// When the oldest of it was given up.
    pub(crate) oldest: Timestamp,
    /// Which location did not do it all, and what it said.
    pub(crate) refused: BTreeMap<Name, Error>,
    /// What kept everything from going, wherever it lies.
    pub(crate) waits: Option<Error>,
}

impl Stuck {
    pub(super) fn set(&self, vault: VaultId, left: Option<Left>) {
        let mut all = self.lock();
        match left {
            Some(left) => all.insert(vault, left),
            None => all.remove(&vault),
        };
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    pub(crate) fn of(&self, vault: &VaultId) -> Option<Left> {
        self.lock().get(vault).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<VaultId, Left>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
