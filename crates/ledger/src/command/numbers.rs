//! Chunk numbers: the epoch above, a sequence of 40 bits below.
//!
//! ```text
//!   63        40 39              0
//!   [  epoch   ][    sequence    ]     a vault counts the sequence alone
//! ```
//!
//! What was taken in from other epochs counts with its sequence too. Members of the second level
//! counted it with the epoch above: such a vault had no numbers left, and counts anew here, behind
//! the highest that any of its packs has.

use super::{Apply, conflict};
use crate::{
    level::SEQUENCES,
    row::{PackRow, VaultRow, epoch::FIRST_EPOCH, pack::NUMBERS_OF_EPOCH},
};
use holdfast_common::{Code, Error, Result};

/// Numbers have 40 bits within an epoch.
const NUMBERS_MAX: u64 = NUMBERS_OF_EPOCH;

/// The upper part of a number. It is 0 in the first epoch, as it was before there were others.
pub(super) fn epoch_bits(epoch: u64) -> u64 {
    if epoch == FIRST_EPOCH { 0 } else { epoch * NUMBERS_MAX }
}

pub(super) fn reserve(vault: VaultRow, slots: u32) -> Result<VaultRow> {
    let next_number = vault.next_number + u64::from(slots);
    if next_number > NUMBERS_MAX {
        return Err(Error::new(Code::LimitExceeded, "the vault has no chunk numbers left"));
    }
    Ok(VaultRow { next_number, packs: vault.packs + 1, ..vault })
}

/// The sequence behind a pack.
fn behind(pack: &PackRow) -> u64 {
    pack.base % NUMBERS_MAX + u64::from(pack.slots)
}

impl Apply<'_, '_> {
    /// Where the vault goes on after a pack that was numbered elsewhere.
    pub(super) fn number_behind(&self, pack: &PackRow) -> Result<u64> {
        if self.level()? < SEQUENCES {
            return Ok(pack.base.saturating_add(u64::from(pack.slots)));
        }
        if behind(pack) > NUMBERS_MAX {
            return Err(conflict(format!("the pack {} goes beyond its epoch's numbers", pack.id)));
        }
        Ok(behind(pack))
    }

    /// The vault with a number to go on from. It walks over the packs once in the life of a vault
    /// that counted epochs.
    pub(super) fn with_sequence(&self, vault: VaultRow) -> Result<VaultRow> {
        if vault.next_number <= NUMBERS_MAX || self.level()? < SEQUENCES {
            return Ok(vault);
        }
        let mut next_number = 0;
        self.tables.look::<PackRow>(vault.id.as_bytes(), |pack| {
            next_number = next_number.max(behind(&pack));
        })?;
        Ok(VaultRow { next_number, ..vault })
    }
}
