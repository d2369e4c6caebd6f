//! Says that a round condemns nothing more. Whoever begins after this entry relies on nothing that
//! it condemned; whoever began before may.

use super::{Apply, Outcome};
use crate::row::{CollectionRow, Stage};
use holdfast_common::{Result, VaultId};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct SealCollection {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub round: u64,
}

impl SealCollection {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let round = apply.round_at(&self.vault, self.round, Stage::Marking)?;
        let sealed = apply.index;
        apply.tables.put(&CollectionRow { stage: Stage::Sealed, sealed, ..round })?;
        Ok(Outcome::At(sealed))
    }
}
