//! Says that doomed packs were seen gone from every location that could hold them. Their rows go;
//! that their names are taken stays.

use super::{Apply, Outcome, condemn_packs::insist_on_bound};
use crate::{
    row::{GoneRow, PackRow, PackState, pack::pack_key},
    tables::Table,
};
use holdfast_common::{PackId, Result, VaultId};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct BuryPacks {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub packs: Vec<PackId>,
}

impl BuryPacks {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_system()?;
        insist_on_bound(&self.packs)?;
        let mut buried = 0;
        for id in &self.packs {
            let key = pack_key(&self.vault, id);
            let pack = apply.tables.row::<PackRow>(&key)?;
            if pack.is_some_and(|pack| pack.state == PackState::Doomed) {
                apply.tables.remove(Table::Pack, &key);
                apply.tables.put(&GoneRow { vault: self.vault, pack: *id, when: apply.time })?;
                buried += 1;
            }
        }
        Ok(Outcome::Number(buried))
    }
}
