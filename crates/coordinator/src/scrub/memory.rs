//! Tells the ledger what was read back, and what was found.

use crate::house::House;
use holdfast_common::{Name, Result, VaultId};
use holdfast_ledger::{
    Actor, Outcome,
    command::NoteCheck,
    row::{CheckRow, DamageRow},
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The memory as the ledger has it then; none when it is about a place that is no more.
pub(crate) async fn tell(
    house: &House,
    check: CheckRow,
    damaged: Vec<DamageRow>,
    whole: Vec<String>,
) -> Result<Option<CheckRow>> {
    let command = NoteCheck { check: check.clone(), damaged, whole };
    Ok(match house.ledger.propose(Actor::System, command).await? {
        Outcome::At(opened) => Some(CheckRow { opened, ..check }),
        _ => None,
    })
}

/// Damage in a location that somebody else reads back.
pub(crate) async fn tell_of(house: &House, damage: DamageRow) -> Result<()> {
    let known = house.ledger.query().check_of(&damage.vault, &damage.location)?;
    let check = known.unwrap_or_else(|| {
        CheckRow::new(damage.vault, damage.location.clone(), house.ledger.now())
    });
    tell(house, check, vec![damage], Vec::new()).await.map(drop)
}

/// How far this member is, a moment ago: what the ledger is told now and then.
#[derive(Default)]
pub(crate) struct Reading(Mutex<BTreeMap<(VaultId, Name), CheckRow>>);

impl Reading {
    pub(super) fn set(&self, row: &CheckRow) {
        self.lock().insert((row.vault, row.location.clone()), row.clone());
    }

    /// What this member knows better than the ledger, if it is about the same.
    pub(crate) fn newest(&self, told: CheckRow) -> CheckRow {
        let shown = self.lock().get(&(told.vault, told.location.clone())).cloned();
        let is_same = |shown: &CheckRow| (shown.opened, shown.last) == (told.opened, told.last);
        shown.filter(is_same).unwrap_or(told)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(VaultId, Name), CheckRow>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
