//! Says what is locked in locations, and until when.
//!
//! Only what is said of the place as it is now counts: a leader that was paused while a location
//! was moved speaks of another one.

use super::{Apply, Outcome};
use crate::{
    row::{LockRow, VaultRow, copies::copy_key},
    tables::Table,
};
use holdfast_common::{Name, Result};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct NoteLocks {
    #[n(0)]
    pub lock: LockRow,
}

impl NoteLocks {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_system()?;
        let key = copy_key(&self.lock.vault, &self.lock.location);
        let known: Option<LockRow> = apply.tables.row(&key)?;
        if known.is_none_or(|known| known.opened != self.lock.opened) {
            return Ok(Outcome::Unchanged);
        }
        apply.tables.put(&LockRow { noted: apply.time, ..self.lock.clone() })?;
        Ok(Outcome::Done)
    }

    pub(super) fn subject(&self) -> String {
        match self.lock.until {
            Some(until) => format!("{} until {until}", self.lock.location),
            None => self.lock.location.to_string(),
        }
    }
}

impl Apply<'_, '_> {
    /// A row for each location of a vault that wants locks, and none for others. What is locked
    /// stays so whatever is declared; but nobody says any more until when.
    pub(super) fn open_locks(&mut self, old: Option<&VaultRow>, vault: &VaultRow) -> Result<()> {
        let is_kept =
            |name: &Name| vault.lock.is_some() && vault.holding().any(|held| held == name);
        for name in old.iter().flat_map(|old| old.holding()).filter(|name| !is_kept(name)) {
            self.tables.remove(Table::Lock, &copy_key(&vault.id, name));
        }
        let Some(terms) = vault.lock else { return Ok(()) };
        let is_other = old.and_then(|old| old.lock).is_none_or(|old| old.class != terms.class);
        for name in vault.holding() {
            let known = self.tables.row::<LockRow>(&copy_key(&vault.id, name))?;
            if is_other || known.is_none() {
                self.open_lock(vault, name)?;
            }
        }
        Ok(())
    }

    /// Nothing is known of the locks in a place, if it shall have any.
    pub(super) fn open_lock(&mut self, vault: &VaultRow, location: &Name) -> Result<()> {
        if vault.lock.is_none() {
            return Ok(());
        }
        self.tables.put(&LockRow::opened(vault.id, location.clone(), self.index, self.time))
    }
}
