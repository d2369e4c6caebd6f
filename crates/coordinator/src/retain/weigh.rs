//! How much a plan frees: an estimate, by what every point needs.
//!
//! ```text
//!   reach of all that stays ─ united ─┐
//!   reach of each that goes ──────────┴─→ numbers that nobody needs then ─→ packs ─→ bytes
//! ```
//!
//! A pack of which nothing is needed any more is freed whole; of another one the share of its
//! slots, which collection gives back when it packs the rest anew. What open backups rely on, and
//! the points' own small objects, are not looked at. Each number counts for the newest point that
//! goes and has it.

use super::Plan;
use crate::house::{House, Vault};
use holdfast_common::{Code, Error, PointId, Result, VaultId, limits};
use holdfast_ledger::{
    Query,
    row::{PackState, PointRow},
};
use holdfast_repository::{ChunkNumber, Reach};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What the going of each point frees.
pub(crate) type Weight = BTreeMap<PointId, u64>;

pub(crate) async fn weigh(house: &Arc<House>, plan: &Plan) -> Result<Weight> {
    let mut weight = Weight::new();
    let gone: BTreeSet<PointId> = plan.gone().collect();
    let mut vaults = BTreeSet::new();
    for point in &gone {
        vaults.insert(house.ledger.query().point(point)?.vault);
    }
    for id in vaults {
        let vault = house.vault(&id)?;
        let points = points_of(house, id).await?;
        let (going, staying) = points.into_iter().partition(|point| gone.contains(&point.id));
        weight.extend(weigh_vault(house, &vault, going, staying).await?);
    }
    Ok(weight)
}

async fn points_of(house: &Arc<House>, vault: VaultId) -> Result<Vec<PointRow>> {
    let at = house.clone();
    let find = move || {
        let of_vault = |point: &Result<PointRow>| match point {
            Ok(point) => point.vault == vault,
            Err(_) => true,
        };
        let points = at.ledger.query().points(None).filter(of_vault);
        let points: Vec<_> = points.take(limits::REACHES_WEIGHED_MAX + 1).collect::<Result<_>>()?;
        if points.len() > limits::REACHES_WEIGHED_MAX {
            let message = "its vault has too many points to say what a plan frees";
            return Err(Error::new(Code::LimitExceeded, message));
        }
        Ok(points)
    };
    house.tasks.run_blocking("points", find).await
}

async fn weigh_vault(
    house: &Arc<House>,
    vault: &Vault,
    going: Vec<PointRow>,
    staying: Vec<PointRow>,
) -> Result<Weight> {
    let mut needed = Reach::new();
    for point in &staying {
        let reach = read(house, vault, point).await?;
        needed = house.tasks.run_blocking("reach", move || Ok(united(needed, &reach))).await?;
    }
    let (mut own, mut seen) = (Vec::with_capacity(going.len()), needed.clone());
    for point in going {
        let mut reach = read(house, vault, &point).await?;
        let part = move || {
            reach.subtract(&seen);
            seen.union(&reach);
            Ok((seen, reach))
        };
        let parted = house.tasks.run_blocking("reach", part).await?;
        seen = parted.0;
        own.push((point.id, parted.1));
    }
    let (at, id) = (house.clone(), vault.row.id);
    let weigh = move || {
        let packs = freed_packs(at.ledger.query(), &id, &needed, &seen)?;
        Ok(own.into_iter().map(|(point, reach)| (point, bytes_of(&packs, &reach))).collect())
    };
    house.tasks.run_blocking("weigh", weigh).await
}

fn united(mut all: Reach, more: &Reach) -> Reach {
    all.union(more);
    all
}

async fn read(house: &House, vault: &Vault, point: &PointRow) -> Result<Reach> {
    let _share = house.outgoing.reserve(limits::PACK_BYTES_MAX).await?;
    house.read_reach(vault, point).await
}

/// A pack of which something is freed, and what each of those slots weighs.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Freed {
    base: u64,
    slots: u32,
    bytes_per_slot: f64,
}

/// In the order of their numbers. `all` is what is needed and what goes.
fn freed_packs(
    query: Query<'_>,
    vault: &VaultId,
    needed: &Reach,
    all: &Reach,
) -> Result<Vec<Freed>> {
    let (mut packs, mut after) = (Vec::new(), None);
    loop {
        let page = query.packs(vault, after.as_ref())?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        for pack in page.iter().filter(|pack| pack.state == PackState::Stored) {
            // One number of a chunk at most, all but always: that it is needed under two is rare.
            let count = |reach: &Reach| -> u64 {
                let runs = pack.numbers();
                runs.map(|(first, count)| reach.count(ChunkNumber::from_u64(first), count)).sum()
            };
            let kept = count(needed);
            let freed = count(all) - kept;
            if let Some(own) = share(pack.base, pack.slots, pack.length, (kept, freed)) {
                packs.extend(pack.numbers().map(|(base, slots)| Freed { base, slots, ..own }));
            }
        }
    }
    packs.sort_unstable_by_key(|pack| pack.base);
    Ok(packs)
}

/// The whole length where nothing is kept, whatever nobody needed before.
fn share(base: u64, slots: u32, length: u32, (kept, freed): (u64, u64)) -> Option<Freed> {
    let over = if kept == 0 { freed } else { u64::from(slots) };
    #[expect(clippy::cast_precision_loss, reason = "an estimate; packs have at most 65,536 slots")]
    let bytes_per_slot = f64::from(length) / over as f64;
    (freed > 0).then_some(Freed { base, slots, bytes_per_slot })
}

/// What the numbers of one point weigh: both come in order.
fn bytes_of(packs: &[Freed], own: &Reach) -> u64 {
    let (mut packs, mut bytes) = (packs.iter().peekable(), 0.0);
    for number in own.iter().map(ChunkNumber::as_u64) {
        while packs.next_if(|pack| pack.base + u64::from(pack.slots) <= number).is_some() {}
        if let Some(pack) = packs.peek().filter(|pack| pack.base <= number) {
            bytes += pack.bytes_per_slot;
        }
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a sum of lengths")]
    let bytes = bytes.round() as u64;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(numbers: core::ops::Range<u64>) -> Reach {
        let mut reach = Reach::new();
        for number in numbers {
            reach.insert(ChunkNumber::from_u64(number));
        }
        reach
    }

    #[test]
    fn a_pack_that_nobody_needs_is_freed_whole_and_of_another_the_share_of_its_slots() {
        // Of the first three of ten slots were ever needed; of the second half is needed still.
        let packs: Vec<Freed> = [share(0, 10, 900, (0, 3)), share(10, 10, 1000, (5, 5))]
            .into_iter()
            .flatten()
            .collect();
        assert_eq!(bytes_of(&packs, &reach(0..3)), 900);
        assert_eq!(bytes_of(&packs, &reach(12..14)), 200);
        assert_eq!(bytes_of(&packs, &united(reach(0..1), &reach(10..11))), 400);
        assert_eq!(bytes_of(&packs, &reach(20..30)), 0);
        assert_eq!(share(0, 10, 900, (4, 0)), None);
    }
}
