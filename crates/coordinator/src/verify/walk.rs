//! From point to point, and to each object once.
//!
//! Points share most of what they rely on. An object is looked at when the first of them needs it;
//! of one that was found damaged, each later point is added to the finding. What is kept between
//! points is the names of objects, never the points that need them: that would be their product.

use super::{
    Events, Level,
    check::{Expected, check_everywhere},
};
use crate::house::{House, Vault};
use bytes::Bytes;
use holdfast_common::{PackId, PointId, Result, VaultId};
use holdfast_ledger::row::{PackHome, PackRow, PackState, PointRow};
use holdfast_repository::Reach;
use holdfast_wire::v1;
use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::Arc,
};

pub(super) struct Walk<'a> {
    house: &'a House,
    vault: &'a Vault,
    level: Level,
    tally: &'a mut v1::VerifyEvent,
    events: &'a Events,
    /// In the order of their chunk numbers.
    packs: Arc<[PackRow]>,
    seen: Seen,
}

impl<'a> Walk<'a> {
    /// The points must have been chosen before: the packs that they need are listed here.
    pub(super) fn begin(
        house: &'a House,
        vault: &'a Vault,
        level: Level,
        tally: &'a mut v1::VerifyEvent,
        events: &'a Events,
    ) -> Result<Self> {
        let packs = packs_by_base(house, &vault.row.id)?.into();
        Ok(Self { house, vault, level, tally, events, packs, seen: Seen::default() })
    }

    pub(super) async fn point(&mut self, point: &PointRow) -> Result<()> {
        self.tally.points += 1;
        if !self.is_known(Object::Point(point.id), point.id) {
            self.check(Object::Point(point.id), Expected::point(point, point.id)?).await?;
        }
        self.look(&Expected::reach(point)?).await?;
        match self.house.read_reach(self.vault, point).await {
            Ok(reach) => self.packs(point.id, &needed(&self.packs, &reach)).await,
            Err(error) => {
                tracing::warn!(%error, point = %point.id, "reach cannot be read");
                Ok(())
            }
        }
    }

    async fn packs(&mut self, point: PointId, needed: &[usize]) -> Result<()> {
        let packs = self.packs.clone();
        for row in needed.iter().filter_map(|at| packs.get(*at)) {
            // A small run's pack lies in another point's object: this point needs that object too.
            let object = match row.home {
                PackHome::Point(home, _) => Object::Point(home),
                _ => Object::Pack(row.id),
            };
            if self.is_known(object, point) || self.events.is_closed() {
                continue;
            }
            let expected = match object {
                Object::Point(home) => {
                    Expected::point(&self.house.ledger.query().point(&home)?, point)?
                }
                Object::Pack(_) => Expected::pack(row, point)?,
            };
            self.check(object, expected).await?;
        }
        Ok(())
    }

    /// Segments of the index: no point needs them, but whoever recovers is faster with them.
    pub(super) async fn segments(&mut self) -> Result<()> {
        for segment in self.house.ledger.query().segments(&self.vault.row.id)? {
            self.look(&Expected::segment(&segment)?).await?;
        }
        Ok(())
    }

    async fn check(&mut self, object: Object, expected: Expected) -> Result<()> {
        let found = self.look(&expected).await?;
        self.seen.note(object, found);
        Ok(())
    }

    /// Which of the findings are about it.
    async fn look(&mut self, expected: &Expected) -> Result<Range<usize>> {
        let from = self.tally.damaged.len();
        if self.events.is_closed() {
            return Ok(from..from);
        }
        let event = check_everywhere(self.house, self.vault, expected, self.level).await?;
        self.tally.objects += 1;
        self.tally.bytes += event.bytes;
        self.tally.damaged.extend(event.damaged);
        let found = from..self.tally.damaged.len();
        if !found.is_empty() || self.tally.objects.is_multiple_of(64) {
            let (points, objects, bytes) =
                (self.tally.points, self.tally.objects, self.tally.bytes);
            let progress = v1::VerifyEvent { points, objects, bytes, ..Default::default() };
            // A caller that has gone is noticed before the next object.
            let _ = self.events.send(Ok(progress)).await;
        }
        Ok(found)
    }

    fn is_known(&mut self, object: Object, point: PointId) -> bool {
        self.seen.is_known(object, point, &mut self.tally.damaged)
    }
}

/// What more than one point may need.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Object {
    Pack(PackId),
    Point(PointId),
}

/// What was looked at, and where the findings about it lie.
#[derive(Default)]
struct Seen {
    whole: HashSet<Object>,
    damaged: HashMap<Object, Range<usize>>,
}

impl Seen {
    fn note(&mut self, object: Object, found: Range<usize>) {
        if found.is_empty() {
            self.whole.insert(object);
        } else {
            self.damaged.insert(object, found);
        }
    }

    /// Whether it was looked at already; what was found then is said of this point too.
    fn is_known(&self, object: Object, point: PointId, findings: &mut [v1::Damage]) -> bool {
        let Some(found) = self.damaged.get(&object) else { return self.whole.contains(&object) };
        for damage in findings.get_mut(found.clone()).into_iter().flatten() {
            // All that one point needs comes before the next one.
            if damage.points.last().is_none_or(|last| last[..] != point.as_bytes()[..]) {
                damage.points.push(Bytes::copy_from_slice(point.as_bytes()));
            }
        }
        true
    }
}

/// Where the packs lie that a reach has numbers of.
fn needed(packs: &[PackRow], reach: &Reach) -> Vec<usize> {
    let mut needed = Vec::new();
    for number in reach.iter() {
        let at = packs.partition_point(|row| row.base <= number.as_u64());
        let Some(at) = at.checked_sub(1) else { continue };
        if needed.last() != Some(&at) {
            needed.push(at);
        }
    }
    needed
}

fn packs_by_base(house: &House, vault: &VaultId) -> Result<Vec<PackRow>> {
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let page = house.ledger.query().packs(vault, after.as_ref())?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        rows.extend(page.into_iter().filter(|row| row.state != PackState::Intended));
    }
    rows.sort_unstable_by_key(|row| row.base);
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_repository::ChunkNumber;

    fn pack(id: u8, base: u64) -> PackRow {
        PackRow { base, ..crate::crowd::pack([id; 32]) }
    }

    #[test]
    fn a_finding_names_every_point_that_needs_the_object_and_each_once() {
        let [first, second, third] = [1, 2, 3].map(|id| PointId::from_bytes([id; 16]));
        let [good, bad] = [1, 2].map(|id| Object::Pack(PackId::from_bytes([id; 32])));
        let named = |id: PointId| Bytes::copy_from_slice(id.as_bytes());
        let of = |location: &str| v1::Damage {
            location: location.to_owned(),
            points: vec![named(first)],
            ..Default::default()
        };
        let mut findings = vec![of("elsewhere"), of("here"), of("there")];
        let mut seen = Seen::default();
        assert!(!seen.is_known(bad, first, &mut findings));
        seen.note(good, 1..1);
        seen.note(bad, 1..3);
        for point in [first, second, second, third] {
            assert!(seen.is_known(good, point, &mut findings));
            assert!(seen.is_known(bad, point, &mut findings));
        }
        let unseen = Object::Point(first);
        assert!(!seen.is_known(unseen, first, &mut findings));
        assert_eq!(findings[0].points, [named(first)]);
        for finding in &findings[1..] {
            assert_eq!(finding.points, [named(first), named(second), named(third)]);
        }
    }

    #[test]
    fn the_packs_of_a_reach_are_those_that_hold_its_numbers() {
        let packs = [pack(1, 10), pack(2, 20), pack(3, 30)];
        let mut reach = Reach::new();
        for number in [3, 10, 19, 30, 31, 99] {
            reach.insert(ChunkNumber::from_u64(number));
        }
        assert_eq!(needed(&packs, &reach), [0, 2]);
        assert_eq!(needed(&packs, &Reach::new()), [0; 0]);
    }
}
