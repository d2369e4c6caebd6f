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
    let (mut small, mut after) = (BTreeMap::<(AgentId, u8), Small>::new(), None);
    loop {
        let page = query.packs(vault, after.as_ref())?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        let may_be = |row: &&PackRow| {
            row.state == PackState::Stored && row.base < below && !writing.contains(&row.session)
        };
        for row in page.iter().filter(may_be) {
            match span_of(query, row, |span| plan.weigh(span))? {
                (Verdict::Repack, amount) => drop(chosen.add(row.id, amount, room)),
                (Verdict::Small, amount) => {
                    small.entry((row.writer, row.kind)).or_default().note(row.id, amount);
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

/// Small packs of one kind and writer.
#[derive(Default)]
struct Small {
    packs: Vec<(PackId, Amount)>,
    live_bytes: u64,
}

impl Small {
    fn note(&mut self, pack: PackId, amount: Amount) {
        if self.live_bytes < SMALL_BYTES_MAX && self.packs.len() < limits::PACKS_REPACKED_MAX {
            self.packs.push((pack, amount));
            self.live_bytes += amount.live_bytes;
        }
    }

    fn fills_a_pack(&self) -> bool {
        self.packs.len() > 1 && self.live_bytes >= limits::PACK_BYTES_MAX as u64
    }
}

/// Whether a round is to pack it anew.
pub(super) fn is_chosen_in(row: &PackRow, round: u64) -> bool {
    row.condemned == Some(round) && row.live.is_some()
}
