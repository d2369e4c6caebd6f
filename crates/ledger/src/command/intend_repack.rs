//! Announces a pack that is to take over what is needed of condemned ones, and reserves numbers.
//!
//! Nobody's session writes it: it is alive as long as its round is, and garbage for the next one
//! when nothing came of it.

use super::{
    Apply, IntendedPack, Outcome,
    intend_packs::insist_on_slots,
    numbers::{epoch_bits, reserve},
    rounds::over,
};
use crate::row::{PackHome, PackRow, PackState, Stage, epoch::FIRST_EPOCH, pack::pack_key};
use holdfast_common::{AgentId, Result, SessionId, VaultId};
use minicbor::{Decode, Encode};

/// No session has this id.
pub(super) const NOBODYS: SessionId = SessionId::from_bytes([0; 16]);

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct IntendRepack {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub round: u64,
    #[n(2)]
    pub pack: IntendedPack,
    /// Whoever wrote what it is made of; all of it.
    #[n(3)]
    pub writer: AgentId,
}

impl IntendRepack {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let pack = &self.pack;
        insist_on_slots(pack)?;
        apply.round_at(&self.vault, self.round, Stage::Clear)?;
        apply.insist_on_quiet_epoch()?;
        apply.insist_on_living_name(&self.vault, &pack.id)?;
        if apply.tables.row::<PackRow>(&pack_key(&self.vault, &pack.id))?.is_some() {
            return Err(over(self.round));
        }
        let vault = apply.with_sequence(apply.vault(&self.vault)?)?;
        let epoch = apply.epoch()?.map_or(FIRST_EPOCH, |row| row.number);
        let base = epoch_bits(epoch) | vault.next_number;
        apply.tables.put(&PackRow {
            id: pack.id,
            vault: vault.id,
            kind: pack.kind,
            base,
            slots: pack.slots,
            length: pack.length,
            writer: self.writer,
            session: NOBODYS,
            state: PackState::Intended,
            home: PackHome::Object,
            digest: pack.digest,
            condemned: None,
            doomed: None,
            live: None,
            taken: None,
            into: None,
            sealed_to: pack.sealed_to.clone(),
        })?;
        let vault = reserve(vault, pack.slots)?;
        apply.tables.put(&vault)?;
        Ok(Outcome::Bases(vec![base]))
    }
}
