//! Which chunk numbers some pack answers to, and which none does any more: what tells whoever
//! commits or verifies that too much was collected.
//!
//! No rule of collection rests on it. It is the second line, against a fault in them.

use super::heirs::heir_behind;
use crate::house::House;
use holdfast_common::{Result, VaultId};
use holdfast_ledger::{
    Query,
    row::{PackRow, PackState},
};
use holdfast_repository::{ChunkNumber, Reach};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// How often all packs are looked at while some are given up.
const LOOKS_MAX: usize = 8;

/// Runs of numbers: the first of each, and how many.
type Runs = Vec<(u64, u32)>;

/// The numbers that a pack answers to, and those that went with it. Every field of the row is
/// named: one that gives it further numbers, or gives its own to another, is to be thought of here.
fn numbers(row: &PackRow) -> (Runs, Runs) {
    let PackRow {
        id: _,
        vault: _,
        kind: _,
        base: _,
        slots: _,
        length: _,
        writer: _,
        session: _,
        state,
        home: _,
        digest: _,
        condemned: _,
        doomed: _,
        live: _,
        taken: _,
        into: _,
        sealed_to: _,
    } = row;
    let own = row.numbers().collect();
    match state {
        PackState::Doomed => (Vec::new(), own),
        // Nobody has it, and it is told of elsewhere.
        PackState::Lost | PackState::Stored => (own, Vec::new()),
        PackState::Intended => (Vec::new(), Vec::new()),
    }
}

/// Takes out of a set of numbers what the packs of a page answer to.
fn take_answered(left: &mut Reach, page: &[PackRow]) -> Result<()> {
    let mut answered = Reach::new();
    for (first, count) in page.iter().flat_map(|row| numbers(row).0) {
        answered.insert_range(ChunkNumber::from_u64(first), count)?;
    }
    left.subtract(&answered);
    Ok(())
}

/// Of a set of numbers those that no pack answers to.
fn unanswered(query: Query<'_>, vault: &VaultId, reach: &Reach) -> Result<Reach> {
    let (mut left, mut after) = (reach.clone(), None);
    loop {
        let page = query.packs(vault, after.as_ref())?;
        let Some(last) = page.last() else { return Ok(left) };
        after = Some(last.id);
        take_answered(&mut left, &page)?;
    }
}

/// The numbers of doomed packs that no other pack answers to.
fn given_up(query: Query<'_>, vault: &VaultId) -> Result<Reach> {
    let (mut given_up, mut taken_over) = (Reach::new(), Reach::new());
    for row in query.doomed_packs(vault, None) {
        let row = row?;
        for (first, count) in numbers(&row).1 {
            given_up.insert_range(ChunkNumber::from_u64(first), count)?;
        }
        // What any point needed of it another pack answers to.
        let heir = heir_behind(query, vault, row.into)?;
        let heir = heir.map(|heir| query.pack(vault, &heir)).transpose()?.flatten();
        for (first, count) in heir.iter().flat_map(|heir| numbers(heir).0) {
            taken_over.insert_range(ChunkNumber::from_u64(first), count)?;
        }
    }
    given_up.subtract(&taken_over);
    Ok(given_up)
}

/// What was given up in each vault, as of the entry that gave up something last.
#[derive(Default)]
pub(crate) struct GivenUp(Mutex<BTreeMap<VaultId, (u64, Arc<Reach>)>>);

impl GivenUp {
    fn known(&self, vault: &VaultId, doomed_at: u64) -> Option<Arc<Reach>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(vault).filter(|(at, _)| *at == doomed_at).map(|(_, reach)| reach.clone())
    }

    fn keep(&self, vault: VaultId, (doomed_at, reach): (u64, Arc<Reach>)) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(vault, (doomed_at, reach));
    }
}

impl House {
    /// Up to which entry a reach was compared with what was given up; none when it meets some of
    /// that.
    pub(crate) async fn compared(&self, vault: &VaultId, reach: &Reach) -> Result<Option<u64>> {
        let doomed_at = doomed_at(self.ledger.query(), vault)?;
        let given_up = match self.given_up.known(vault, doomed_at) {
            Some(known) => known,
            None => {
                let (ledger, id) = (self.ledger.clone(), *vault);
                let find = move || given_up(ledger.query(), &id);
                let found = Arc::new(self.tasks.run_blocking("doomed packs", find).await?);
                self.given_up.keep(*vault, (doomed_at, found.clone()));
                found
            }
        };
        Ok((!reach.overlaps(&given_up)).then_some(doomed_at))
    }

    /// Of what points need the numbers that no pack answers to. Packs that go meanwhile are looked
    /// at again.
    pub(crate) async fn unanswered(&self, vault: &VaultId, reach: &Arc<Reach>) -> Result<Reach> {
        for _ in 0..LOOKS_MAX {
            let before = doomed_at(self.ledger.query(), vault)?;
            let (ledger, id, reach) = (self.ledger.clone(), *vault, reach.clone());
            let find = move || unanswered(ledger.query(), &id, &reach);
            let left = self.tasks.run_blocking("packs", find).await?;
            if left.is_empty() || doomed_at(self.ledger.query(), vault)? == before {
                return Ok(left);
            }
        }
        tracing::warn!("packs are given up all the time; whether too many are is looked at later");
        Ok(Reach::new())
    }
}

/// Where something was given up last.
fn doomed_at(query: Query<'_>, vault: &VaultId) -> Result<u64> {
    Ok(query.collection(vault)?.map_or(0, |row| row.doomed_at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{Crowd, VAULT, pack};
    use holdfast_ledger::row::TakenRun;

    fn row(id: u8, base: u64, state: PackState) -> PackRow {
        PackRow { base, slots: 10, state, ..pack([id; 32]) }
    }

    fn reach(numbers: &[u64]) -> Reach {
        let mut reach = Reach::new();
        for number in numbers {
            reach.insert(ChunkNumber::from_u64(*number));
        }
        reach
    }

    #[test]
    fn numbers_without_a_pack_that_lives_are_found() {
        let mut crowd = Crowd::default();
        let states = [PackState::Stored, PackState::Lost, PackState::Doomed, PackState::Intended];
        for (id, state) in (1..).zip(states) {
            crowd.pack(&row(id, u64::from(id) * 10, state));
        }
        crowd.ask(|query| {
            let left = unanswered(query, &VAULT, &reach(&[10, 19, 25, 30, 45, 99])).unwrap();
            assert_eq!(left, reach(&[30, 45, 99]));
            assert!(unanswered(query, &VAULT, &reach(&[10, 29])).unwrap().is_empty());
            let gone = given_up(query, &VAULT).unwrap();
            assert_eq!(gone.len(), 10);
            assert!(gone.overlaps(&reach(&[5, 39])) && !gone.overlaps(&reach(&[29, 40])));
        });
    }

    #[test]
    fn numbers_that_were_taken_over_are_answered_and_those_that_were_left_out_are_not() {
        let named = |id| Some(holdfast_common::PackId::from_bytes([id; 32]));
        let taken = |number| Some(vec![TakenRun { number, slot: 0, count: 2 }]);
        let mut crowd = Crowd::default();
        crowd.pack(&PackRow { into: named(2), ..row(1, 10, PackState::Doomed) });
        let between = PackRow { taken: taken(13), ..row(2, 20, PackState::Doomed) };
        crowd.pack(&PackRow { into: named(3), ..between });
        crowd.pack(&PackRow { taken: taken(14), ..row(3, 30, PackState::Stored) });
        crowd.ask(|query| {
            let left = unanswered(query, &VAULT, &reach(&[13, 14, 15, 20, 30])).unwrap();
            assert_eq!(left, reach(&[13, 20]));
            let gone = given_up(query, &VAULT).unwrap();
            assert!(!gone.overlaps(&reach(&[14, 15, 30])));
            assert_eq!(gone.len(), 18);
        });
    }
}
