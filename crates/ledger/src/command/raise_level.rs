//! The ledger speaks a newer language from here on: every member said that it understands it.
//!
//! The members that were asked are named, so that one that joined meanwhile is not forgotten.

use super::{Apply, Outcome, conflict};
use crate::{
    level::{COLLECTED, RETENTION},
    row::{LevelRow, level::LEVEL_KEY},
};
use holdfast_common::Result;
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct RaiseLevel {
    #[n(0)]
    pub level: u32,
    /// Who said that it knows the level.
    #[n(1)]
    pub members: Vec<u64>,
}

impl RaiseLevel {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_system()?;
        let before = apply.level()?;
        if self.level <= before {
            return Ok(Outcome::Unchanged);
        }
        let unasked = apply.live_members()?.into_iter().find(|row| !self.members.contains(&row.id));
        if let Some(member) = unasked {
            return Err(conflict(format!("`{}` did not say what it knows", member.name)));
        }
        apply.tables.put(&LevelRow { level: self.level, since: apply.time })?;
        if (before + 1..=self.level).contains(&RETENTION) {
            apply.hold_all_of_revoked()?;
            apply.list_all_lost()?;
            apply.upset_rules()?;
        }
        if (before + 1..=self.level).contains(&COLLECTED) {
            apply.list_all_leaving()?;
        }
        Ok(Outcome::Done)
    }
}

impl Apply<'_, '_> {
    /// What the ledger is at.
    pub(crate) fn level(&self) -> Result<u32> {
        let row = self.tables.row::<LevelRow>(LEVEL_KEY)?;
        Ok(row.map_or(crate::level::LEVEL_FIRST, |row| row.level))
    }
}
