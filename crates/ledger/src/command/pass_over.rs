//! A vault goes on without a required location that is away, as it was declared that it may.
//!
//! From here on the location follows, and is required again when it lacks nothing (`take_back`).
//! Where members stand in several regions it is not passed over: each region sees there whether
//! another one leads.

use super::{Apply, Outcome, conflict};
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
