//! Announces packs before their first byte is written, and reserves their chunk numbers.

use super::{
    Apply, Outcome,
    numbers::{epoch_bits, reserve},
    rounds::insist_on_alive,
};
use crate::row::{ClosedKeys, PackHome, PackRow, PackState, epoch::FIRST_EPOCH, pack::pack_key};
use holdfast_common::{Code, Error, PackId, Result, SessionId, limits};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct IntendPacks {
    #[n(0)]
    pub session: SessionId,
    #[n(1)]
    pub packs: Vec<IntendedPack>,
}

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct IntendedPack {
    #[n(0)]
    pub id: PackId,
    #[n(1)]
    pub kind: u8,
    #[n(2)]
    pub slots: u32,
    #[n(3)]
    pub length: u32,
    #[n(4)]
    pub home: PackHome,
    #[cbor(n(5), with = "minicbor::bytes")]
    pub digest: [u8; 32],
    /// As whoever announces it has read in the whole pack; members of older levels do not say.
    #[n(6)]
    pub sealed_to: Option<Vec<u32>>,
}

impl IntendPacks {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let session = apply.write_session(&self.session)?;
        let mut vault = apply.with_sequence(apply.vault(&session.vault)?)?;
        let prefix = epoch_bits(apply.epoch()?.map_or(FIRST_EPOCH, |row| row.number));
        let closed = apply.closed_keys(&vault.id)?;
        let mut bases = Vec::with_capacity(self.packs.len());
        for pack in &self.packs {
            insist_on_slots(pack)?;
            insist_on_open(&closed, pack)?;
            let key = pack_key(&vault.id, &pack.id);
            if let Some(known) = apply.tables.row::<PackRow>(&key)? {
                insist_on_alive(&known)?;
                bases.push(known.base);
                let known = apply.owned_by(session.id, known)?;
                // What was read in the whole pack is right, whatever was read of it before.
                let sealed_to = pack.sealed_to.clone().or(known.sealed_to.clone());
                apply.tables.put(&PackRow { sealed_to, ..known })?;
                continue;
            }
            apply.insist_on_living_name(&vault.id, &pack.id)?;
            let base = prefix | vault.next_number;
            bases.push(base);
            apply.put_pack(&PackRow {
                id: pack.id,
                vault: vault.id,
                kind: pack.kind,
                base,
                slots: pack.slots,
                length: pack.length,
                writer: session.agent.unwrap_or(holdfast_common::AgentId::from_bytes([0; 16])),
                session: session.id,
                state: PackState::Intended,
                home: pack.home,
                digest: pack.digest,
                condemned: None,
                doomed: None,
                live: None,
                taken: None,
                into: None,
                sealed_to: pack.sealed_to.clone(),
            })?;
            vault = reserve(vault, pack.slots)?;
        }
        apply.tables.put(&vault)?;
        Ok(Outcome::Bases(bases))
    }
}

/// A session that began before a version was closed seals to it still; the next one does not.
fn insist_on_open(closed: &ClosedKeys, pack: &IntendedPack) -> Result<()> {
    if !closed.shut_out(pack.sealed_to.as_deref()) {
        return Ok(());
    }
    let message = "this session seals to a version of the vault's keys that was closed meanwhile";
    Err(Error::new(Code::SessionMissing, message).next("begin anew, with the newest version"))
}

pub(super) fn insist_on_slots(pack: &IntendedPack) -> Result<()> {
    if pack.slots == 0 || pack.slots as usize > limits::PACK_SLOTS_MAX {
        let message = format!("a pack of {} slots is not possible", pack.slots);
        return Err(Error::new(Code::PackRefused, message));
    }
    Ok(())
}
