//! Notes that no location has a pack whole any more: nothing new may rely on it.
//!
//! What it held is sent again by the next backup of a source that still has it. Points that were
//! committed before keep naming it, and verification says so until it is found again. Plans of
//! what is forgotten that were made before do not hold any more.

use super::{Apply, Outcome};
use crate::{
    level::RETENTION,
    row::{PackRow, PackState, VaultRow, pack::pack_key},
    tables::{Row, Table},
};
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
        apply.turn_pack(pack, PackState::Lost)?;
        apply.count_loss(&self.vault)?;
        Ok(Outcome::Done)
    }
}

impl Apply<'_, '_> {
    /// Writes what a pack is from now on, and keeps the list of lost ones true.
    pub(super) fn turn_pack(&mut self, pack: PackRow, state: PackState) -> Result<()> {
        let (key, before) = (pack.key(), pack.state);
        self.put_pack(&PackRow { state, ..pack })?;
        match (before == PackState::Lost, state == PackState::Lost) {
            (_, true) => self.list_lost(&key),
            (true, false) => {
                self.tables.remove(Table::LostPack, &key);
                Ok(())
            }
            (false, false) => Ok(()),
        }
    }

    /// Members of an older level list none: they forget nothing either.
    fn list_lost(&mut self, key: &[u8]) -> Result<()> {
        match self.level()? < RETENTION {
            true => Ok(()),
            false => self.tables.put_raw(Table::LostPack, key, Vec::new()),
        }
    }

    /// Of packs that were lost before they were listed. It walks over all packs once in the life of
    /// a ledger.
    pub(super) fn list_all_lost(&mut self) -> Result<()> {
        let mut lost = Vec::new();
        self.tables.look::<PackRow>(&[], |pack| {
            if pack.state == PackState::Lost {
                lost.push(pack.key());
            }
        })?;
        lost.iter().try_for_each(|key| self.list_lost(key))
    }

    /// Whoever has planned what to forget did not know of this.
    pub(super) fn count_loss(&mut self, vault: &VaultId) -> Result<()> {
        if self.level()? < RETENTION {
            return Ok(());
        }
        let vault = self.vault(vault)?;
        let losses = Some(vault.losses() + 1);
        self.tables.put(&VaultRow { losses, ..vault })
    }
}
