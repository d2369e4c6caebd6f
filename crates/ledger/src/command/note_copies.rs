//! Says how far locations are that are brought what they lack. A required one that lacks nothing
//! any more needs no row.
//!
//! Only what is said of the place as it is now counts: a leader that was paused while a location
//! was moved speaks of another one.

use super::{Apply, Outcome};
use crate::{
    row::{CopyRow, CopyState, Taken, VaultRow, copies::copy_key},
    tables::{Row, Table},
};
use holdfast_common::{Code, Error, Name, Result, VaultId, limits};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct NoteCopies {
    #[n(0)]
    pub copies: Vec<CopyRow>,
}

impl NoteCopies {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_system()?;
        if self.copies.len() > limits::COPIES_NOTED_MAX {
            return Err(Error::new(Code::LimitExceeded, "too many copies are told of at once"));
        }
        let mut outcome = Outcome::Unchanged;
        for copy in &self.copies {
            let known: Option<CopyRow> =
                apply.tables.row(&copy_key(&copy.vault, &copy.location))?;
            let Some(known) = known.filter(|known| known.opened == copy.opened) else { continue };
            let is_required = apply.vault(&copy.vault)?.required.contains(&copy.location);
            outcome = Outcome::Done;
            if is_required && copy.state == CopyState::Current {
                apply.tables.remove(Table::Copy, &copy_key(&copy.vault, &copy.location));
                continue;
            }
            let since = if known.state == copy.state { known.since } else { apply.time };
            let anew = known.anew.filter(|_| copy.whole.is_none());
            let left = known.left.filter(|_| copy.whole.is_none());
            let (taken, seen) = (known.taken, known.seen);
            apply.tables.put(&CopyRow { since, left, anew, taken, seen, ..copy.clone() })?;
        }
        Ok(outcome)
    }

    pub(super) fn subject(&self) -> String {
        let of = |copy: &CopyRow| format!("{} {}", copy.location, copy.state.name());
        self.copies.iter().map(of).collect::<Vec<_>>().join(", ")
    }
}

impl Apply<'_, '_> {
    /// Whether a required location was seen to lack nothing.
    pub(super) fn is_whole(&self, vault: &VaultId, location: &Name) -> Result<bool> {
        Ok(self.tables.raw(Table::Copy, &copy_key(vault, location))?.is_none())
    }

    /// A location may lack something of a vault from here on.
    pub(super) fn open_copies(&mut self, vault: &VaultRow, location: &Name) -> Result<()> {
        let known = self.tables.row::<CopyRow>(&copy_key(&vault.id, location))?;
        let opened = CopyRow::opened(vault.id, location.clone(), self.index, self.time);
        let known = known.unwrap_or_else(|| opened.clone());
        let CopyRow { whole, left, anew, taken, .. } = known;
        let taken = self.taken_by(&vault.id, location, taken)?;
        self.tables.put(&CopyRow { whole, left, anew, taken, ..opened })
    }

    /// The same of one that is required no more: it stands in for nothing, and what it lacks is
    /// brought like to any that follows.
    pub(super) fn open_copies_behind(&mut self, vault: &VaultRow, location: &Name) -> Result<()> {
        self.open_copies(vault, location)?;
        match self.tables.row::<CopyRow>(&copy_key(&vault.id, location))? {
            Some(row) => self.tables.put(&CopyRow { taken: None, seen: None, ..row }),
            None => Ok(()),
        }
    }

    /// A location of which nothing is known, whatever was said of the place before.
    pub(super) fn open_copies_anew(
        &mut self,
        vault: &VaultRow,
        location: &Name,
        left: Option<String>,
    ) -> Result<()> {
        self.open_lock(vault, location)?;
        self.forget_checks(&vault.id, location)?;
        let opened = CopyRow::opened(vault.id, location.clone(), self.index, self.time);
        let taken = self.tables.row::<CopyRow>(&opened.key())?.and_then(|known| known.taken);
        let taken = self.taken_by(&vault.id, location, taken)?;
        self.tables.put(&CopyRow { left, anew: Some(true), taken, ..opened })
    }

    /// The epoch that took a location in place of lost ones. It stands in for them as long as they
    /// are awaited, although it lacked nothing once and needed no row then.
    fn taken_by(
        &self,
        vault: &VaultId,
        location: &Name,
        known: Option<u64>,
    ) -> Result<Option<u64>> {
        let is_it = |taken: &Taken| taken.vault == *vault && taken.location == *location;
        let newest = self.epoch()?.filter(|epoch| epoch.taken().iter().any(is_it));
        Ok(known.or(newest.map(|epoch| epoch.number)))
    }

    /// Where the location lay before, while what nobody else has may be there.
    pub(super) fn left_before(&self, vault: &VaultId, location: &Name) -> Result<Option<String>> {
        Ok(self.tables.row::<CopyRow>(&copy_key(vault, location))?.and_then(|row| row.left))
    }
}
