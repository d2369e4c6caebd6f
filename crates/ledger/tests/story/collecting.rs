//! What a collector says to the ledger.

use super::{Story, agent, commit, ids, intend, recovering::import};
use holdfast_common::Code;
use holdfast_ledger::{
    Actor, Command, Outcome, Query, StateKv, Tables,
    command::*,
    level::COLLECTED,
    row::{
        CollectionRow, NewPointRow, PackHome, PackRow, PackState, PointRow, PointState, TakenRun,
    },
};
use proptest::test_runner::TestCaseError;

pub(crate) fn begin_collection() -> BeginCollection {
    BeginCollection { vault: ids::vault() }
}

pub(crate) fn condemn(round: u64, packs: &[u8]) -> CondemnPacks {
    CondemnPacks { vault: ids::vault(), round, packs: named(packs), live: None }
}

/// To be packed anew.
pub(crate) fn condemn_live(round: u64, packs: &[u8]) -> CondemnPacks {
    CondemnPacks { live: Some(true), ..condemn(round, packs) }
}

/// Made of what agent `writer` wrote.
pub(crate) fn intend_repack(round: u64, pack: u8, writer: u8) -> IntendRepack {
    let mut intended = intend(0, &[pack], PackHome::Object).packs;
    let pack = intended.remove(0);
    IntendRepack { vault: ids::vault(), round, pack, writer: agent(writer) }
}

/// By a mark that was made after the entry `cleared`.
pub(crate) fn repack(
    (round, cleared): (u64, u64),
    pack: u8,
    taken: &[(u64, u32, u32)],
    sources: &[u8],
) -> RepackPacks {
    let run = |(number, slot, count): &(u64, u32, u32)| TakenRun {
        number: *number,
        slot: *slot,
        count: *count,
    };
    RepackPacks {
        vault: ids::vault(),
        round,
        cleared,
        revision: 1_000_000,
        pack: ids::pack(pack),
        taken: taken.iter().map(run).collect(),
        sources: named(sources),
    }
}

pub(crate) fn seal(round: u64) -> SealCollection {
    SealCollection { vault: ids::vault(), round }
}

pub(crate) fn clear(round: u64) -> ClearCollection {
    ClearCollection { vault: ids::vault(), round }
}

pub(crate) fn spare(packs: &[u8]) -> SparePacks {
    SparePacks { vault: ids::vault(), packs: named(packs) }
}

/// By a second mark that was made after this entry.
pub(crate) fn doom(round: u64, packs: &[u8], cleared: u64) -> DoomPacks {
    DoomPacks { vault: ids::vault(), round, packs: named(packs), cleared }
}

pub(crate) fn bury(packs: &[u8]) -> BuryPacks {
    BuryPacks { vault: ids::vault(), packs: named(packs), points: vec![] }
}

pub(crate) fn end_collection(round: u64) -> EndCollection {
    EndCollection { vault: ids::vault(), round, problem: None }
}

fn named(packs: &[u8]) -> Vec<holdfast_common::PackId> {
    packs.iter().map(|pack| ids::pack(*pack)).collect()
}

impl Story {
    /// How many, or which.
    #[track_caller]
    pub(crate) fn number(&mut self, command: impl Into<Command>) -> u64 {
        let outcome = self.done(Actor::System, command);
        let Outcome::Number(number) = outcome else { unreachable!("{outcome:?} is no number") };
        number
    }

    /// By a second mark that was made just now.
    pub(crate) fn doom(&self, round: u64, packs: &[u8]) -> DoomPacks {
        let row = self.query().collection(&ids::vault()).unwrap().unwrap();
        doom(round, packs, row.cleared)
    }

    /// A round that has condemned these packs and was sealed.
    #[track_caller]
    pub(crate) fn sealed(&mut self, packs: &[u8]) -> u64 {
        let round = self.number(begin_collection());
        assert_eq!(self.number(condemn(round, packs)), packs.len() as u64);
        self.done(Actor::System, seal(round));
        round
    }

    /// As many points came while the round was open.
    pub(crate) fn note_points(&mut self, count: usize) {
        let (vault, point) = (ids::vault(), ids::point(1));
        let mut tables = Tables::over(&self.kv);
        for _ in 0..count {
            self.index += 1;
            tables.put(&NewPointRow { vault, index: self.index, point }).unwrap();
        }
        self.kv.write(tables.into_batch()).unwrap();
    }

    pub(crate) fn change_round(&mut self, change: impl FnOnce(&mut CollectionRow)) {
        let mut row = self.query().collection(&ids::vault()).unwrap().unwrap();
        change(&mut row);
        let mut tables = Tables::over(&self.kv);
        tables.put(&row).unwrap();
        self.kv.write(tables.into_batch()).unwrap();
    }

    #[track_caller]
    pub(crate) fn refused_to_collect(&mut self, command: impl Into<Command>, code: Code) {
        self.refused(Actor::System, command, code);
    }
}

/// What is to go is listed from the level on that collects, and nothing else is.
pub(crate) fn check_invariants(query: &Query<'_>) -> Result<(), TestCaseError> {
    if query.level().unwrap() < COLLECTED {
        return Ok(());
    }
    let ids = |packs: Vec<PackRow>| packs.into_iter().map(|pack| pack.id).collect::<Vec<_>>();
    for vault in query.vaults().unwrap() {
        let mut packs = query.packs(&vault.id, None).unwrap();
        for home in query.leaving_points(&vault.id, None) {
            let home = home.unwrap();
            let live = query.row::<PointRow>(home.point.as_bytes()).unwrap();
            super::ensure(live.is_none(), "a point that is there does not go")?;
            let within = packs.iter().filter(|pack| pack.home.is_within(&home.point)).cloned();
            let listed = query.packs_within(&vault.id, &home.point).unwrap();
            super::ensure(ids(within.collect()) == ids(listed), "what lies in it is listed")?;
        }
        packs.retain(|pack| pack.state == PackState::Doomed);
        let listed = query.doomed_packs(&vault.id, None).collect::<Result<_, _>>().unwrap();
        super::ensure(ids(packs) == ids(listed), "doomed packs are listed")?;
    }
    for row in query.forgotten_after(None) {
        let row = row.unwrap();
        let mut leaving = query.leaving_points(&row.point.vault, None).map(Result::unwrap);
        let is_listed = leaving.any(|leaving| leaving.point == row.point.id);
        super::ensure(is_listed == row.gone.is_none(), "forgotten points are listed to go")?;
    }
    Ok(())
}

/// One of each command of collection.
pub(crate) fn samples() -> Vec<(&'static str, Command)> {
    let based = commit(1, 3, agent(1), PointState::Checkpoint);
    vec![
        ("commit_based_point", CommitPoint { based: Some(7), whole_at: Some(8), ..based }.into()),
        ("import_compared_point", ImportPoint { whole_at: Some(8), ..import(1, 3, 9) }.into()),
        ("begin_collection", begin_collection().into()),
        ("condemn_packs", condemn(7, &[1, 2]).into()),
        ("seal_collection", seal(7).into()),
        ("clear_collection", clear(7).into()),
        ("spare_packs", spare(&[1]).into()),
        ("doom_packs", doom(7, &[2], 8).into()),
        ("bury_packs", bury(&[2]).into()),
        ("end_collection", end_collection(7).into()),
        ("condemn_live_packs", condemn_live(7, &[1]).into()),
        ("intend_repack", intend_repack(7, 3, 1).into()),
        ("repack_packs", repack((7, 8), 3, &[(10, 0, 2), (300, 2, 1)], &[1, 2]).into()),
    ]
}
