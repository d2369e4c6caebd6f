//! Says that doomed packs, and objects of points that were forgotten or never came to be, were seen
//! gone from every location that could hold them. The rows of packs go; that names are taken stays.

use super::{Apply, Outcome, condemn_packs::insist_on_bound};
use crate::{
    row::{GoneRow, PackRow, PackState, pack::pack_key},
    tables::Table,
};
use holdfast_common::{Code, Error, PackId, PointId, Result, VaultId, limits};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct BuryPacks {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub packs: Vec<PackId>,
    /// Their records and reaches are gone too.
    #[n(2)]
    pub points: Vec<PointId>,
}

impl BuryPacks {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_system()?;
        insist_on_bound(&self.packs)?;
        if self.points.len() > limits::PACKS_COLLECTED_MAX {
            return Err(Error::new(Code::LimitExceeded, "too many points are named at once"));
        }
        let mut buried = 0;
        for id in &self.packs {
            let key = pack_key(&self.vault, id);
            let pack = apply.tables.row::<PackRow>(&key)?;
            if let Some(pack) = pack.filter(|pack| pack.state == PackState::Doomed) {
                apply.tables.remove(Table::Pack, &key);
                apply.unlist_pack(&pack);
                let (vault, when, into) = (self.vault, apply.time, pack.into);
                apply.tables.put(&GoneRow { vault, pack: *id, when, into })?;
                buried += 1;
            }
        }
        for id in &self.points {
            buried += u64::from(apply.bury_point(&self.vault, id)?);
        }
        Ok(Outcome::Number(buried))
    }
}
