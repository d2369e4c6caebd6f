//! The delete entry. What this round condemned and nobody took back goes for good: its objects may
//! be deleted from here on, by anybody, at any time, and its name is never used again.
//!
//! A pack that is not condemned by this round any more is left alone; how many are doomed is the
//! outcome. Whoever made his second mark before the round was cleared for the last time is refused:
//! a point was taken in since, and he may have slept.

use super::{Apply, Outcome, condemn_packs::insist_on_bound, rounds::over};
use crate::row::{CollectionRow, PackRow, PackState, Stage, pack::pack_key};
use holdfast_common::{PackId, Result, VaultId};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct DoomPacks {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub round: u64,
    #[n(2)]
    pub packs: Vec<PackId>,
    /// Where the round was cleared: the second mark was made after it.
    #[n(3)]
    pub cleared: u64,
}

impl DoomPacks {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        insist_on_bound(&self.packs)?;
        let mut round = apply.round_at(&self.vault, self.round, Stage::Clear)?;
        if round.cleared != self.cleared {
            return Err(over(self.round));
        }
        apply.insist_on_quiet_epoch()?;
        let mut doomed = 0;
        for id in &self.packs {
            let pack = apply.tables.row::<PackRow>(&pack_key(&self.vault, id))?;
            // A point needs some of what is live: that goes by being packed anew alone.
            let is_dead = |pack: &PackRow| pack.live.is_none();
            let is_its = |pack: &PackRow| pack.condemned == Some(self.round) && is_dead(pack);
            let Some(pack) = pack.filter(is_its) else { continue };
            doomed += 1;
            round.doomed_bytes += u64::from(pack.length);
            let (condemned, doomed) = (None, Some(apply.time));
            apply.turn_pack(PackRow { condemned, doomed, ..pack }, PackState::Doomed)?;
        }
        round.doomed += doomed;
        if doomed > 0 {
            round.doomed_at = apply.index;
        }
        apply.tables.put::<CollectionRow>(&round)?;
        Ok(Outcome::Number(doomed))
    }
}
