//! Tells the ledger what was read back, and what was found.

use crate::house::House;
use holdfast_common::Result;
use holdfast_ledger::{
    Actor, Outcome,
    command::NoteCheck,
    row::{CheckRow, DamageRow},
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
