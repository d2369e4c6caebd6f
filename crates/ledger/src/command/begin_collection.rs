//! Opens a round of collection in a vault, for whoever leads or for an operator who asks for it.
//! One that is open ends with it.
//!
//! From this entry on points that come into the vault are noted. Marks are made of what the tables
//! hold at this entry or later; what is announced after it is not looked at.

use super::{Apply, Outcome, numbers::epoch_bits};
use crate::row::{CollectionRow, Stage, epoch::FIRST_EPOCH};
use holdfast_common::{Result, VaultId};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct BeginCollection {
    #[n(0)]
    pub vault: VaultId,
}

impl BeginCollection {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_operator()?;
        apply.insist_on_quiet_epoch()?;
        let vault = apply.vault(&self.vault)?;
        let newest = apply.newest_round(&self.vault)?;
        apply.forget_new_points(&self.vault)?;
        let epoch = apply.epoch()?.map_or(FIRST_EPOCH, |row| row.number);
        apply.tables.put(&CollectionRow {
            vault: self.vault,
            round: apply.index,
            begun: apply.time,
            stage: Stage::Marking,
            below: epoch_bits(epoch) | vault.next_number,
            sealed: 0,
            condemned: 0,
            spared: 0,
            doomed: 0,
            doomed_bytes: 0,
            doomed_at: newest.map_or(0, |row| row.doomed_at),
            ended: None,
            problem: None,
            cleared: 0,
            repacked: None,
            noted: 0,
        })?;
        Ok(Outcome::Number(apply.index))
    }
}
