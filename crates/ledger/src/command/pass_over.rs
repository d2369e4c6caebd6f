//! A vault goes on without a required location that is away, as it was declared that it may.
//!
//! From here on the location follows, and is required again when it lacks nothing (`take_back`).
//! One that is still being brought what it lacks does not count among those that are enough: what
//! backups rest on may lie in the one that is away alone.
//!
//! Where members stand in several regions it is not passed over: each region sees there whether
//! another one leads.

use super::{Apply, Outcome, conflict};
use crate::{level::WHOLE_ONES, row::VaultRow};
use holdfast_common::{Name, Result, VaultId};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct PassOver {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub location: Name,
}

impl PassOver {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_system()?;
        let vault = apply.vault(&self.vault)?;
        if !vault.required.contains(&self.location) {
            return Ok(Outcome::Unchanged);
        }
        if !vault.can_spare(1) {
            let message = format!("the vault `{}` does not go on without it", vault.name);
            return Err(conflict(message));
        }
        if apply.stands_in_regions()? {
            let message = format!("regions see each other's epochs in `{}`", self.location);
            return Err(conflict(message));
        }
        apply.insist_on_enough_whole(&vault, &self.location)?;
        apply.open_copies(&vault, &self.location)?;
        let mut required = vault.required.clone();
        required.retain(|name| *name != self.location);
        let mut beside = vault.beside.clone().unwrap_or_default();
        beside.following.push(self.location.clone());
        beside.returning.push(self.location.clone());
        apply.tables.put(&vault.requiring(required).with_beside(beside))?;
        Ok(Outcome::Done)
    }
}

impl Apply<'_, '_> {
    /// Without it, as many are left that lack nothing as are to be enough.
    fn insist_on_enough_whole(&self, vault: &VaultRow, away: &Name) -> Result<()> {
        if self.level()? < WHOLE_ONES {
            return Ok(());
        }
        let mut whole = 0;
        for name in vault.required.iter().filter(|name| *name != away) {
            whole += usize::from(self.is_whole(&vault.id, name)?);
        }
        if vault.enough().is_some_and(|enough| whole >= enough) {
            return Ok(());
        }
        let message =
            format!("what is left of the vault `{}` is still brought what it lacks", vault.name);
        Err(conflict(message))
    }
}
