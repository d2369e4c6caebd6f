//! A new pack takes the place of condemned ones: it is stored from here on, and answers to every
//! number of theirs that any point needs; they go for good. All at once: there is no moment at
//! which a number has no pack.
//!
//! Whoever proposes has marked what every point needs after the round was cleared, and has read the
//! new pack back from every required location. That the numbers are those of the packs that go is
//! looked at here; that they are all that is needed the ledger cannot know.

use super::{
    Apply, Outcome,
    condemn_packs::insist_on_bound,
    conflict,
    intend_repack::NOBODYS,
    rounds::{insist_on_alive, over},
};
use crate::row::{
    CollectionRow, PackHome, PackRow, PackState, Repacked, Stage, TakenRun, pack::pack_key,
};
use holdfast_common::{Code, Error, PackId, Result, VaultId, limits};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct RepackPacks {
    #[n(0)]
    pub vault: VaultId,
    #[n(1)]
    pub round: u64,
    /// Where the round was cleared: the mark was made after it.
    #[n(2)]
    pub cleared: u64,
    /// The vault's row when the new pack was placed.
    #[n(3)]
    pub revision: u64,
    #[n(4)]
    pub pack: PackId,
    #[n(5)]
    pub taken: Vec<TakenRun>,
    #[n(6)]
    pub sources: Vec<PackId>,
}

impl RepackPacks {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        insist_on_bound(&self.sources)?;
        let mut round = apply.round_at(&self.vault, self.round, Stage::Clear)?;
        if round.cleared != self.cleared {
            return Err(over(self.round));
        }
        apply.insist_on_quiet_epoch()?;
        apply.vault(&self.vault)?.insist_on_all(Some(self.revision))?;
        let made = self.made(apply)?;
        let sources = self.sources_of(apply, &made)?;
        insist_on_numbers(&made, &self.taken, &sources)?;
        insist_on_no_further_keys(&made, &sources)?;
        let mut repacked: Repacked = round.repacked.unwrap_or_default();
        for source in sources {
            repacked.packs += 1;
            repacked.bytes += u64::from(source.length);
            let (doomed, into) = (Some(apply.time), Some(made.id));
            let source = PackRow { doomed, into, ..source.spared() };
            apply.turn_pack(source, PackState::Doomed)?;
        }
        repacked.made += 1;
        repacked.made_bytes += u64::from(made.length);
        let made = PackRow { taken: Some(self.taken.clone()), ..made };
        apply.turn_pack(made, PackState::Stored)?;
        (round.repacked, round.doomed_at) = (Some(repacked), apply.index);
        apply.tables.put::<CollectionRow>(&round)?;
        Ok(Outcome::Number(self.sources.len() as u64))
    }

    /// The new pack, as it was announced in this round.
    fn made(&self, apply: &Apply<'_, '_>) -> Result<PackRow> {
        let Some(made) = apply.tables.row::<PackRow>(&pack_key(&self.vault, &self.pack))? else {
            let message = format!("the pack {} was never announced", self.pack);
            return Err(Error::new(Code::PackMissing, message));
        };
        insist_on_alive(&made)?;
        let is_awaited = made.state == PackState::Intended && made.session == NOBODYS;
        match is_awaited && made.condemned.is_none() && made.home == PackHome::Object {
            true => Ok(made),
            false => Err(over(self.round)),
        }
    }

    /// Whoever has had one of them back since relies on it as it is.
    fn sources_of(&self, apply: &Apply<'_, '_>, made: &PackRow) -> Result<Vec<PackRow>> {
        let mut sources: Vec<PackRow> = Vec::with_capacity(self.sources.len());
        for id in &self.sources {
            let source = apply.tables.row::<PackRow>(&pack_key(&self.vault, id))?;
            let is_its = |pack: &PackRow| {
                pack.state == PackState::Stored
                    && pack.condemned == Some(self.round)
                    && pack.live == Some(true)
            };
            let Some(source) = source.filter(is_its) else { return Err(over(self.round)) };
            if source.kind != made.kind || source.writer != made.writer {
                return Err(conflict(format!("the pack {id} is of another kind or writer")));
            }
            if sources.iter().any(|other| other.id == *id) {
                return Err(conflict(format!("the pack {id} is named twice")));
            }
            sources.push(source);
        }
        match sources.is_empty() {
            true => Err(conflict("a pack is made of nothing")),
            false => Ok(sources),
        }
    }
}

/// No number comes to need a version of the keys that it did not need before: it may be closed, and
/// points that were committed since have been compared with what it opens. So every source has
/// every version of the new pack; and what nobody has looked into is in no pack with another one.
fn insist_on_no_further_keys(made: &PackRow, sources: &[PackRow]) -> Result<()> {
    let is_without = |source: &PackRow| match (&source.sealed_to, &made.sealed_to) {
        (Some(theirs), Some(made)) => made.iter().all(|version| theirs.contains(version)),
        (None, Some(_)) => sources.len() == 1,
        (None, None) => true,
        (Some(_), None) => false,
    };
    match sources.iter().find(|source| !is_without(source)) {
        Some(source) => Err(conflict(format!(
            "what is needed of the pack {} would come to need a further version of the keys",
            source.id
        ))),
        None => Ok(()),
    }
}

/// Slots that there are answer to numbers that the packs had which go, and to no others.
fn insist_on_numbers(made: &PackRow, taken: &[TakenRun], sources: &[PackRow]) -> Result<()> {
    if taken.is_empty() || taken.len() > limits::TAKEN_RUNS_MAX {
        let message = format!("a pack does not take over {} runs of numbers", taken.len());
        return Err(Error::new(Code::LimitExceeded, message));
    }
    let end = |(first, count): (u64, u32)| first.saturating_add(u64::from(count));
    let mut theirs: Vec<_> = sources.iter().flat_map(PackRow::numbers).collect();
    theirs.sort_unstable();
    for run in taken {
        let last_slot = run.slot.checked_add(run.count).filter(|_| run.count > 0);
        let is_there = last_slot.is_some_and(|last| last <= made.slots);
        let run = (run.number, run.count);
        let before = theirs.partition_point(|their| their.0 <= run.0);
        // No number is of two packs that live.
        let is_theirs = theirs[..before].last().is_some_and(|their| end(run) <= end(*their));
        if !is_there || !is_theirs {
            return Err(conflict("numbers are taken over that the packs never had"));
        }
    }
    Ok(())
}
