//! Ends a round, at whatever stage it is: it is done, or cannot be. What it condemned and did not
//! doom stays absent for offers until the next round condemns or spares it.
//!
//! Points that were noted are forgotten some at a time. Whoever says once more that a round is over
//! takes away more of them.

use super::{Apply, Outcome};
use crate::{
    envelope::Refusal,
    row::{CollectionRow, Stage},
};
use holdfast_common::{Result, VaultId};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct EndCollection {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub round: u64,
    /// Why it ends before it is done.
    #[n(2)]
    pub problem: Option<Refusal>,
}

impl EndCollection {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_system()?;
        match apply.newest_round(&self.vault)? {
            Some(row) if row.round == self.round => {
                let forgotten = apply.forget_new_points(&self.vault)?;
                if row.stage == Stage::Over {
                    return Ok(if forgotten > 0 { Outcome::Done } else { Outcome::Unchanged });
                }
                let (ended, problem) = (Some(apply.time), self.problem.clone());
                apply.tables.put(&CollectionRow { stage: Stage::Over, ended, problem, ..row })?;
                Ok(Outcome::Done)
            }
            _ => Ok(Outcome::Unchanged),
        }
    }
}
