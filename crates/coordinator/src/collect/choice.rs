//! Which packs a round packs anew: so many that they fit into the room that is left, and are done
//! in a while.
//!
//! ```text
//!   mostly not needed, or in the object of a forgotten point ─→ as they come
//!   small, and so many of one kind and writer that they fill a pack ─→ as long as there is room
//! ```
//!
//! Writing comes before freeing, so at most half of the room that is left in a location is used.
//! Until the round is over, what backups have of these packs is sent again: so there is a bound.

use super::marking::{plan, span_of};
use crate::house::{House, Vault};
use holdfast_common::{AgentId, PackId, Result, SessionId, VaultId, limits};
use holdfast_ledger::{
    Query,
    level::SEALED,
    row::{PackRow, PackState},
};
use holdfast_repository::collect::{Amount, Mark, Verdict};
use std::collections::{BTreeMap, HashSet};

/// Small packs of one kind and writer that one round looks at: they fill some packs.
const SMALL_BYTES_MAX: u64 = 4 * limits::PACK_BYTES_MAX as u64;

/// What is to be packed anew, and how much that is.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    pub(super) packs: Vec<PackId>,
    pub(super) amount: Amount,
}

/// Bytes that may be written anew. Nothing while a location does not answer that has to have them.
pub(super) async fn room(house: &House, vault: &Vault) -> u64 {
    let mut room = u64::MAX;
    for name in vault.row.holding() {
        let Ok(row) = house.places.row(name) else { return 0 };
        if row.disabled.is_some() {
            continue;
        }
        match house.places.look(&row).await {
            Ok(free) => room = room.min(free.map_or(u64::MAX, |free| free / 2)),
            Err(_) if vault.row.required.contains(name) => return 0,
            Err(_) => {}
        }
    }
    room
}

/// What a mark says of the packs of a vault that were announced before `below`.
pub(super) fn choose(
    query: Query<'_>,
    (vault, below): (&VaultId, u64),
    mark: &Mark,
    writing: &HashSet<SessionId>,
    room: u64,
) -> Result<Chosen> {
    let (mut chosen, plan) = (Chosen::default(), plan(mark.clone()));
    let knows_keys = query.level()? >= SEALED;
    let (mut small, mut after) = (BTreeMap::<Alike, Small>::new(), None);
    loop {
        let page = query.packs(vault, after.as_ref())?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        let may_be = |row: &&PackRow| {
            // What nobody has looked into is in no pack with another one.
            let is_known = !knows_keys || row.sealed_to.is_some();
            let is_old = row.base < below && !writing.contains(&row.session);
            row.state == PackState::Stored && is_known && is_old
        };
        for row in page.iter().filter(may_be) {
            match span_of(query, row, |span| plan.weigh(span))? {
                (Verdict::Repack, amount) => drop(chosen.add(row.id, amount, room)),
                (Verdict::Small, amount) => {
                    small.entry(alike(row)).or_default().note(row, amount);
                }
                (Verdict::Condemn | Verdict::Keep, _) => {}
            }
        }
    }
    // Merged sooner they would be small again, and written anew in every round.
    for small in small.into_values().filter(Small::fills_a_pack) {
        for (pack, amount) in small.packs {
            if !chosen.add(pack, amount, room) {
                break;
            }
        }
    }
    Ok(chosen)
}

impl Chosen {
    fn add(&mut self, pack: PackId, amount: Amount, room: u64) -> bool {
        let live_bytes = self.amount.live_bytes + amount.live_bytes;
        if self.packs.len() == limits::PACKS_REPACKED_MAX || live_bytes > room {
            return false;
        }
        self.packs.push(pack);
        let Amount { packs, bytes, .. } = self.amount;
        self.amount = Amount { packs: packs + 1, bytes: bytes + amount.bytes, live_bytes };
        true
    }
}

/// What may be in one pack: of one kind and writer, and sealed to the same versions of the keys, or
/// some of it would come to need another one.
pub(super) type Alike = (AgentId, u8, Option<Vec<u32>>);

pub(super) fn alike(row: &PackRow) -> Alike {
    (row.writer, row.kind, row.sealed_to.clone())
}

/// Small packs that are alike.
#[derive(Default)]
struct Small {
    packs: Vec<(PackId, Amount)>,
    live_bytes: u64,
    /// Of those that were never packed anew: one that came out small will again.
    new_bytes: u64,
}

impl Small {
    fn note(&mut self, row: &PackRow, amount: Amount) {
        if self.live_bytes < SMALL_BYTES_MAX && self.packs.len() < limits::PACKS_REPACKED_MAX {
            self.packs.push((row.id, amount));
            self.live_bytes += amount.live_bytes;
            self.new_bytes += if row.taken.is_none() { amount.live_bytes } else { 0 };
        }
    }

    fn fills_a_pack(&self) -> bool {
        self.packs.len() > 1 && self.new_bytes >= limits::PACK_BYTES_MAX as u64
    }
}

/// Whether a round is to pack it anew.
pub(super) fn is_chosen_in(row: &PackRow, round: u64) -> bool {
    row.state == PackState::Stored && row.condemned == Some(round) && row.live.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{Crowd, VAULT, pack};
    use holdfast_ledger::row::PackHome;
    use holdfast_repository::{ChunkNumber, Reach};

    const MIB: u32 = 1 << 20;

    /// Ten slots, numbers from ten times its own on.
    fn row(number: u8, length: u32) -> PackRow {
        let base = u64::from(number) * 10;
        PackRow { base, slots: 10, length, vault: VAULT, ..pack([number; 32]) }
    }

    /// So many numbers of each of these packs are needed.
    fn mark(packs: &[(u8, u32)]) -> Mark {
        let (mut mark, mut reach) = (Mark::new(), Reach::new());
        for (number, count) in packs {
            let base = ChunkNumber::from_u64(u64::from(*number) * 10);
            reach.insert_range(base, *count).unwrap();
        }
        mark.add(&reach);
        mark
    }

    fn chosen(rows: &[PackRow], mark: &Mark, below: u64, room: u64) -> (Vec<u8>, Amount) {
        let mut crowd = Crowd::default();
        rows.iter().for_each(|row| crowd.put(row));
        let writing = HashSet::from([SessionId::from_bytes([9; 16])]);
        let chosen = crowd.ask(|query| choose(query, (&VAULT, below), mark, &writing, room));
        let chosen = chosen.unwrap();
        (chosen.packs.iter().map(|pack| pack.as_bytes()[0]).collect(), chosen.amount)
    }

    #[test]
    fn what_is_mostly_not_needed_is_chosen_unless_it_is_new_or_somebody_writes_it() {
        let all = mark(&[(1, 4), (2, 5), (3, 1), (4, 1), (5, 1), (6, 0), (7, 9)]);
        let rows = [
            row(1, 10 * MIB),
            row(2, 10 * MIB),
            PackRow { session: SessionId::from_bytes([9; 16]), ..row(3, 10 * MIB) },
            PackRow { state: PackState::Lost, ..row(4, 10 * MIB) },
            row(5, 10 * MIB),
            row(6, 10 * MIB),
            PackRow {
                home: PackHome::Point(holdfast_common::PointId::from_bytes([5; 16]), 9),
                ..row(7, MIB)
            },
        ];
        let (packs, amount) = chosen(&rows, &all, u64::MAX, u64::MAX);
        assert_eq!(packs, [1, 5, 7]);
        assert_eq!((amount.packs, amount.bytes), (3, 21 * u64::from(MIB)));
        assert_eq!(chosen(&rows, &all, 50, u64::MAX).0, [1]);
    }

    #[test]
    fn no_more_is_chosen_than_there_is_room_for() {
        let rows: Vec<PackRow> = (1..=8).map(|number| row(number, 10 * MIB)).collect();
        let all: Vec<(u8, u32)> = (1..=8).map(|number| (number, 4)).collect();
        let four = u64::from(4 * MIB);
        for (room, packs) in [(0, 0), (four - 1, 0), (3 * four, 3), (u64::MAX, 8)] {
            let (chosen, amount) = chosen(&rows, &mark(&all), u64::MAX, room);
            assert_eq!((chosen.len(), amount.live_bytes), (packs, packs as u64 * four));
        }
    }

    #[test]
    fn small_packs_are_merged_when_those_of_one_writer_and_kind_fill_a_pack() {
        let small: Vec<PackRow> = (1..=6).map(|number| row(number, 3 * MIB)).collect();
        let all: Vec<(u8, u32)> = (1..=6).map(|number| (number, 10)).collect();
        let of = |rows: &[PackRow]| chosen(rows, &mark(&all), u64::MAX, u64::MAX).0;
        assert_eq!(of(&small), [1, 2, 3, 4, 5, 6]);
        assert!(of(&small[..5]).is_empty(), "15 MiB fill none");
        let mut mixed = small.clone();
        mixed[0].kind = 2;
        assert!(of(&mixed).is_empty());
        let mut again = small.clone();
        again[0].taken = Some(Vec::new());
        assert!(of(&again).is_empty(), "what came out small is not packed anew by itself");
        let mut mixed = small;
        mixed[0].writer = AgentId::from_bytes([7; 16]);
        assert!(of(&mixed).is_empty());
    }
}
