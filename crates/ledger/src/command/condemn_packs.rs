//! Condemns packs that no point needed when a round was marked: from here on offers are answered
//! as if they were absent. Nothing of them goes yet, and whoever wants one has it back.
//!
//! What points need some of may be condemned to be packed anew: it is never doomed as it is.
//! What came after the round began, what an open session is writing, and what is doomed already is
//! left alone; how many were condemned is the outcome.

use super::{Apply, Outcome};
use crate::row::{CollectionRow, PackRow, PackState, SessionRow, Stage, pack::pack_key};
use holdfast_common::{Code, Error, PackId, Result, VaultId, limits};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct CondemnPacks {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub round: u64,
    #[n(2)]
    pub packs: Vec<PackId>,
    /// Points need some of them: they are to be packed anew.
    #[n(3)]
    pub live: Option<bool>,
}

impl CondemnPacks {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        insist_on_bound(&self.packs)?;
        let round = apply.round_at(&self.vault, self.round, Stage::Marking)?;
        let mut condemned = 0;
        for id in &self.packs {
            let Some(pack) = apply.tables.row::<PackRow>(&pack_key(&self.vault, id))? else {
                continue;
            };
            if is_condemnable(apply, &round, &pack)? {
                let live = self.live.filter(|live| *live);
                apply.tables.put(&PackRow { condemned: Some(round.round), live, ..pack })?;
                condemned += 1;
            }
        }
        let all = round.condemned + condemned;
        apply.tables.put(&CollectionRow { condemned: all, ..round })?;
        Ok(Outcome::Number(condemned))
    }
}

fn is_condemnable(apply: &Apply<'_, '_>, round: &CollectionRow, pack: &PackRow) -> Result<bool> {
    let is_new = pack.base >= round.below;
    let is_done = pack.state == PackState::Doomed || pack.condemned == Some(round.round);
    let writer = apply.tables.row::<SessionRow>(pack.session.as_bytes())?;
    Ok(!is_new && !is_done && writer.is_none())
}

pub(super) fn insist_on_bound(packs: &[PackId]) -> Result<()> {
    if packs.len() <= limits::PACKS_COLLECTED_MAX {
        return Ok(());
    }
    Err(Error::new(Code::LimitExceeded, "too many packs are named at once")
        .next(format!("name at most {} at a time", limits::PACKS_COLLECTED_MAX)))
}
