//! Whether both sides of a divided cluster declare a vault alike, whatever each of them does
//! without for as long as they are apart.

use holdfast_common::{Name, Result};
use holdfast_ledger::{
    Query,
    row::{EpochRow, VaultRow},
};
use std::collections::BTreeSet;

/// Whatever this side suspended, it requires again when the region is back, and what it took in
/// place of that follows again.
pub(super) fn is_same_vault(here: &Query<'_>, ours: &VaultRow, theirs: &VaultRow) -> Result<bool> {
    let epoch = here.epoch()?;
    let suspended = epoch.iter().flat_map(|epoch| &epoch.suspended);
    let suspended = suspended.filter(|part| part.vault == ours.id).flat_map(|part| &part.locations);
    let taken = epoch.iter().flat_map(EpochRow::taken).filter(|taken| taken.vault == ours.id);
    let taken: BTreeSet<&Name> = taken.map(|taken| &taken.location).collect();
    let required = ours.required_as_declared().filter(|name| !taken.contains(name));
    let required: BTreeSet<&Name> = required.chain(suspended).collect();
    let following: BTreeSet<&Name> = ours.following_as_declared().chain(taken).collect();
    let declared =
        |vault: &VaultRow| (vault.id, vault.sharing, vault.custody, vault.lock, vault.checks);
    let settings = |vault: &VaultRow| {
        let beside = vault.beside.clone().unwrap_or_default();
        (beside.bytes_per_second_max, beside.enough, beside.wait_secs)
    };
    Ok(declared(ours) == declared(theirs)
        && settings(ours) == settings(theirs)
        && required == theirs.required_as_declared().collect()
        && following == theirs.following_as_declared().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{self, Crowd, VAULT, name};
    use holdfast_common::Timestamp;
    use holdfast_ledger::row::{Beside, Taken, epoch::Suspended};

    fn vault(required: &[&str], following: &[&str]) -> VaultRow {
        let names = |all: &[&str]| all.iter().map(|text| name(text)).collect::<Vec<_>>();
        let beside = Beside { following: names(following), ..Beside::default() };
        let beside = (!following.is_empty()).then_some(beside);
        VaultRow { required: names(required), beside, ..crowd::vault() }
    }

    #[test]
    fn what_stands_in_for_a_lost_location_is_no_difference() {
        let epoch = EpochRow {
            number: 2,
            regions: vec![name("dr")],
            member: 4,
            base: 9,
            since: Timestamp::ZERO,
            operator: "admin".to_owned(),
            reason: None,
            suspended: vec![Suspended { vault: VAULT, locations: vec![name("near")], alone: None }],
            taken: Some(vec![Taken { vault: VAULT, location: name("far") }]),
            gap: None,
        };
        let (ours, theirs) = (vault(&["far"], &[]), vault(&["near"], &["far"]));
        let is_same = |epoch: &EpochRow, theirs: &VaultRow| {
            let mut crowd = Crowd::default();
            crowd.put(epoch);
            crowd.ask(|query| is_same_vault(&query, &ours, theirs)).unwrap()
        };
        assert!(!is_same(&EpochRow { taken: None, ..epoch.clone() }, &theirs));
        assert!(is_same(&epoch, &theirs));
        assert!(!is_same(&epoch, &vault(&["near"], &[])), "it does not follow there");
    }
}
