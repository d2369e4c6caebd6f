//! Says which packs a location lacks that was taken in place of lost ones: they lie in those alone.
//!
//! Nothing new may rely on them until they are found again, which is when the lost locations are
//! back. Until all were told of, nothing that was stored before the location was taken is relied on
//! at all. Only what is said of the place as it is now counts; what one lacks that only
//! follows says nothing of the others.

use super::{Apply, Outcome, conflict};
use crate::row::{CopyRow, PackRow, PackState, copies::copy_key, pack::pack_key};
use holdfast_common::{Code, Error, Name, PackId, Result, VaultId, limits};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct NoteAbsent {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub location: Name,
    /// The entry that opened the row of its copies.
    #[n(2)]
    pub opened: u64,
    #[n(3)]
    pub packs: Vec<PackId>,
    /// There are no others.
    #[n(4)]
    pub is_all: bool,
}

impl NoteAbsent {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_system()?;
        if self.packs.len() > limits::PACKS_ABSENT_MAX {
            return Err(Error::new(Code::LimitExceeded, "too many packs are told of at once"));
        }
        let copies: Option<CopyRow> = apply.tables.row(&copy_key(&self.vault, &self.location))?;
        let is_meant = |row: &CopyRow| row.opened == self.opened && row.taken.is_some();
        let Some(copies) = copies.filter(is_meant) else {
            let message = format!("`{}` was not taken, or is another place by now", self.location);
            return Err(conflict(message));
        };
        if !apply.vault(&self.vault)?.required.contains(&self.location) {
            return Err(conflict(format!("`{}` stands in for nothing any more", self.location)));
        }
        let mut outcome = Outcome::Unchanged;
        for id in &self.packs {
            let Some(pack) = apply.tables.row::<PackRow>(&pack_key(&self.vault, id))? else {
                return Err(Error::new(Code::PackMissing, format!("there is no pack {id}")));
            };
            if pack.state == PackState::Stored {
                apply.turn_pack(pack, PackState::Lost)?;
                outcome = Outcome::Done;
            }
        }
        if outcome == Outcome::Done {
            apply.count_loss(&self.vault)?;
        }
        if self.is_all && copies.seen != Some(true) {
            apply.tables.put(&CopyRow { seen: Some(true), ..copies })?;
            outcome = Outcome::Done;
        }
        Ok(outcome)
    }

    pub(super) fn subject(&self) -> String {
        let rest = if self.is_all { "" } else { ", and more" };
        format!("{} in {}{rest}", self.packs.len(), self.location)
    }
}
