//! Notes that every required location has a lost pack whole again: it may be relied on.

use super::{Apply, Outcome};
use crate::row::{PackRow, PackState, pack::pack_key};
use holdfast_common::{Code, Error, PackId, Result, VaultId};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct FindPack {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub pack: PackId,
}

impl FindPack {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let Some(pack) = apply.tables.row::<PackRow>(&pack_key(&self.vault, &self.pack))? else {
            return Err(Error::new(Code::PackMissing, "there is no such pack"));
        };
        if pack.state != PackState::Lost {
            return Ok(Outcome::Unchanged);
        }
        apply.turn_pack(pack, PackState::Stored)?;
        Ok(Outcome::Done)
    }
}
