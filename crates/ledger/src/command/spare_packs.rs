//! Takes condemned packs back that a point needs after all, whichever round condemned them.

use super::{Apply, Outcome, condemn_packs::insist_on_bound};
use crate::row::{CollectionRow, PackRow, pack::pack_key};
use holdfast_common::{PackId, Result, VaultId};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct SparePacks {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub packs: Vec<PackId>,
}

impl SparePacks {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_system()?;
        insist_on_bound(&self.packs)?;
        let mut spared = 0;
        for id in &self.packs {
            let pack = apply.tables.row::<PackRow>(&pack_key(&self.vault, id))?;
            if let Some(pack) = pack.filter(|pack| pack.condemned.is_some()) {
                apply.tables.put(&pack.spared())?;
                spared += 1;
            }
        }
        if let Some(round) = apply.newest_round(&self.vault)? {
            apply.tables.put(&CollectionRow { spared: round.spared + spared, ..round })?;
        }
        Ok(Outcome::Number(spared))
    }
}
