//! What two sides have of one thing, compared as it was declared: what each ledger stamps by
//! itself, and what a region being away does to it, makes no difference.

use holdfast_common::{Name, Result};
use holdfast_ledger::{
    Query,
    row::{LocationRow, PolicyRow, VaultRow},
};
use std::collections::BTreeSet;

/// Without what the ledger of each side stamps.
pub(super) fn unstamped(policy: PolicyRow) -> PolicyRow {
    PolicyRow { revision: 0, retained_since: None, ..policy }
}

/// Whatever this side suspended, it requires again when the region is back.
pub(super) fn is_same_vault(here: &Query<'_>, ours: &VaultRow, theirs: &VaultRow) -> Result<bool> {
    let epoch = here.epoch()?;
    let suspended = epoch.iter().flat_map(|epoch| &epoch.suspended);
    let suspended = suspended.filter(|part| part.vault == ours.id).flat_map(|part| &part.locations);
    let required: BTreeSet<&Name> = ours.required_as_declared().chain(suspended).collect();
    let following =
        |vault: &VaultRow| -> BTreeSet<Name> { vault.following_as_declared().cloned().collect() };
    let declared =
        |vault: &VaultRow| (vault.id, vault.sharing, vault.custody, vault.lock, vault.checks);
    let settings = |vault: &VaultRow| {
        let beside = vault.beside.clone().unwrap_or_default();
        (beside.bytes_per_second_max, beside.enough, beside.wait_secs)
    };
    Ok(declared(ours) == declared(theirs)
        && settings(ours) == settings(theirs)
        && required == theirs.required_as_declared().collect()
        && following(ours) == following(theirs))
}

pub(super) fn location(here: &Query<'_>, name: &Name) -> Result<Option<LocationRow>> {
    here.row(name.as_str().as_bytes())
}

/// As it is declared: whether it is in use is said by itself.
pub(super) fn unrevised(location: &LocationRow) -> LocationRow {
    LocationRow { revision: 0, disabled: None, ..location.clone() }
}
