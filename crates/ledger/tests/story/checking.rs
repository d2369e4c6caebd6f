//! What a leader says of reading locations back.

use super::{ids, name, vault};
use holdfast_common::{PointId, Timestamp};
use holdfast_ledger::{
    Command, Query,
    command::{NoteCheck, PutVault},
    row::{CheckPass, CheckRow, Checks, DamageRow, VaultRow},
};
use proptest::{prop_assert, test_runner::TestCaseError};

/// `main` is required, and its checks are not the usual ones.
pub(crate) fn vault_checked() -> VaultRow {
    let (storage_bytes_per_day, storage_every_hours) = (Some(1 << 30), Some(48));
    VaultRow { checks: Some(Checks { storage_bytes_per_day, storage_every_hours }), ..vault() }
}

pub(crate) fn damage(location: &str, object: &str, points: &[PointId]) -> DamageRow {
    DamageRow {
        vault: ids::vault(),
        location: name(location),
        object: object.to_owned(),
        problem: "hash".to_owned(),
        since: Timestamp::ZERO,
        points: points.to_vec(),
        points_count: points.len() as u64,
    }
}

/// A pass goes on in a location since the entry that opened its memory; these objects are damaged,
/// and those are whole.
pub(crate) fn note(opened: u64, location: &str, damaged: &[&str], whole: &[&str]) -> NoteCheck {
    let new = CheckRow::new(ids::vault(), name(location), Timestamp::from_nanos(3));
    let last = CheckPass {
        ended: Some(Timestamp::from_nanos(9)),
        objects: 5,
        bytes: 600,
        damaged: 2,
        healed: 1,
        ..CheckPass::begun(Timestamp::from_nanos(4))
    };
    let check = CheckRow {
        opened,
        pass: Some(CheckPass::begun(Timestamp::from_nanos(10))),
        cursor: Some("packs/01".to_owned()),
        last: Some(last),
        ..new
    };
    let damaged = damaged.iter().map(|object| damage(location, object, &[ids::point(1)]));
    let whole = whole.iter().map(|object| (*object).to_owned()).collect();
    NoteCheck { check, damaged: damaged.collect(), whole }
}

/// Nothing is remembered of a place that a vault does not lie in.
pub(crate) fn check_invariants(query: &Query<'_>) -> Result<(), TestCaseError> {
    for row in query.damage(None).unwrap() {
        let vault = query.vault(&row.vault).unwrap();
        let is_held = vault.holding().any(|name| *name == row.location);
        prop_assert!(is_held, "damage where the vault does not lie: {:?}", row);
        let check = query.check_of(&row.vault, &row.location).unwrap();
        prop_assert!(check.is_some(), "damage without a memory: {:?}", row);
    }
    Ok(())
}

pub(super) fn samples() -> Vec<(&'static str, Command)> {
    vec![
        ("put_vault_checked", PutVault { vault: vault_checked(), kek: None }.into()),
        ("note_check", note(7, "far", &["packs/1"], &["packs/2"]).into()),
    ]
}
