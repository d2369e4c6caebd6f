//! A location that was passed over lacks nothing any more, and is required again.
//!
//! What was put without it and is not stored yet is put again, there too. Its row stays until it
//! was looked through once more: what was stored up to here may have come after it was seen whole.

use super::{Apply, Outcome, conflict};
use crate::row::{CopyRow, CopyState, copies::copy_key};
use holdfast_common::{Name, Result, VaultId};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct TakeBack {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub location: Name,
}

impl TakeBack {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_system()?;
        let vault = apply.vault(&self.vault)?;
        if !vault.returning().contains(&self.location) {
            return Ok(Outcome::Unchanged);
        }
        insist_on_current(apply, &self.vault, &self.location)?;
        apply.open_copies(&vault, &self.location)?;
        let mut beside = vault.beside.clone().unwrap_or_default();
        beside.following.retain(|name| *name != self.location);
        beside.returning.retain(|name| *name != self.location);
        let mut required = vault.required.clone();
        required.push(self.location.clone());
        apply.tables.put(&vault.requiring(required).with_beside(beside))?;
        Ok(Outcome::Done)
    }
}

/// It had everything a moment ago.
pub(super) fn insist_on_current(
    apply: &Apply<'_, '_>,
    vault: &VaultId,
    location: &Name,
) -> Result<()> {
    let row = apply.tables.row::<CopyRow>(&copy_key(vault, location))?;
    if row.is_some_and(|row| row.state == CopyState::Current) {
        return Ok(());
    }
    let message = format!("`{location}` cannot become required: it lacks what the vault holds");
    Err(conflict(message).next(format!(
        "declare `{location}` as following, and wait until `holdfast location list` says that it \
         is current"
    )))
}
