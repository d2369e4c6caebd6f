//! Notes that no location has a pack whole any more: nothing new may rely on it.
//!
//! What it held is sent again by the next backup of a source that still has it. Points that were
//! committed before keep naming it, and verification says so until it is found again.

use super::{Apply, Outcome};
use crate::row::{PackRow, PackState, pack::pack_key};
use holdfast_common::{Code, Error, PackId, Result, VaultId};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct LosePack {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub pack: PackId,
}

impl LosePack {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let Some(pack) = apply.tables.row::<PackRow>(&pack_key(&self.vault, &self.pack))? else {
            return Err(Error::new(Code::PackMissing, "there is no such pack"));
        };
        if matches!(pack.state, PackState::Lost | PackState::Doomed) {
            return Ok(Outcome::Unchanged);
        }
        apply.tables.put(&PackRow { state: PackState::Lost, ..pack })?;
        Ok(Outcome::Done)
    }
}
