//! In which order the objects of a location are looked at: that of their names, part by part.
//!
//! ```text
//!   cluster/key → cluster/log → cluster/snapshot → epochs → index → keys → packs → points → reach
//!   └── what any location of the vault lists ────────────┘   │      └── what the ledger says ──┘
//!                                                   index: the ledger, keys: any location
//! ```
//!
//! A name is all that has to be remembered to go on, by whoever leads then. What comes meanwhile
//! with a name before it was hashed as it came, and waits for the next pass.

use super::homes::Homes;
use crate::{
    fill::{Own, own_behind},
    house::House,
    places::Place,
    shipped::ship,
    verify::Expected,
};
use holdfast_common::{PointId, Result, limits};
use holdfast_ledger::row::{PackHome, PackRow, PackState, PointRow, VaultRow};
use holdfast_repository::layout::{Object, ObjectName};
use std::collections::BTreeMap;

/// Taken from the tables and the listings at once.
pub(super) const STEPS: usize = 64;

/// A part of the names of a location, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    ClusterKeys,
    Log,
    Snapshots,
    Epochs,
    Segments,
    Keys,
    Packs,
    Points,
    Reach,
}

impl Part {
    const ALL: [Self; 9] = [
        Self::ClusterKeys,
        Self::Log,
        Self::Snapshots,
        Self::Epochs,
        Self::Segments,
        Self::Keys,
        Self::Packs,
        Self::Points,
        Self::Reach,
    ];

    fn prefix(self) -> &'static str {
        match self {
            Self::ClusterKeys => "cluster/key/",
            Self::Log => "cluster/log/",
            Self::Snapshots => "cluster/snapshot/",
            Self::Epochs => "epochs/",
            Self::Segments => "index/",
            Self::Keys => "keys/",
            Self::Packs => "packs/",
            Self::Points => "points/",
            Self::Reach => "reach/",
        }
    }

    /// Each new name is behind all others.
    fn grows(self) -> bool {
        matches!(self, Self::Log | Self::Snapshots)
    }

    /// The parts that are not over behind a name, the one that it is in first.
    fn left(cursor: Option<&ObjectName>) -> impl Iterator<Item = Self> {
        let cursor = cursor.map(|name| name.as_str().to_owned()).unwrap_or_default();
        let is_left =
            move |part: &Self| part.prefix() > cursor.as_str() || cursor.starts_with(part.prefix());
        Self::ALL.into_iter().filter(is_left)
    }

    /// The cursor, if it is within this part.
    fn within(self, cursor: Option<&ObjectName>) -> Option<&ObjectName> {
        cursor.filter(|name| name.as_str().starts_with(self.prefix()))
    }
}

/// One object that is to be looked at.
pub(super) enum Step {
    Known(Box<Expected>),
    Own(Own),
}

impl Step {
    pub(super) fn name(&self) -> Result<ObjectName> {
        match self {
            Self::Known(expected) => expected.name().as_str().parse(),
            Self::Own(own) => Ok(own.name.clone()),
        }
    }
}

/// Where the course goes: one location of a vault, and the others that are there.
pub(super) struct Course<'a> {
    pub(super) house: &'a House,
    pub(super) vault: &'a VaultRow,
    pub(super) place: &'a Place,
    pub(super) others: &'a [Place],
}

impl Course<'_> {
    /// The next of what coordinators wrote by themselves.
    pub(super) async fn own_behind(&self, cursor: Option<&ObjectName>) -> Result<Vec<Step>> {
        let is_own = |part: &Part| {
            !matches!(part, Part::Packs | Part::Points | Part::Reach | Part::Segments)
        };
        for part in Part::left(cursor).filter(is_own) {
            let steps = self.own(part, part.within(cursor)).await?;
            if !steps.is_empty() {
                return Ok(steps);
            }
        }
        Ok(Vec::new())
    }

    /// The next objects behind a name; none when all were looked at.
    pub(super) async fn behind(
        &self,
        cursor: Option<&ObjectName>,
        homes: &mut Homes,
    ) -> Result<Vec<Step>> {
        for part in Part::left(cursor) {
            let after = part.within(cursor);
            let steps = match part {
                Part::Packs => self.packs(after)?,
                Part::Points | Part::Reach => self.points(part, after, homes).await?,
                Part::Segments => self.segments(after)?,
                _ => self.own(part, after).await?,
            };
            if !steps.is_empty() {
                return Ok(steps);
            }
        }
        Ok(Vec::new())
    }

    fn is_required(&self) -> bool {
        self.vault.required.contains(&self.place.0)
    }

    /// Packs that lie in points are looked at with them.
    fn packs(&self, after: Option<&ObjectName>) -> Result<Vec<Step>> {
        let query = self.house.ledger.query();
        let mut after = match after.map(ObjectName::object) {
            Some(Object::Pack(id)) => Some(id),
            _ => None,
        };
        loop {
            let page = query.packs_behind(&self.vault.id, after.as_ref(), STEPS)?;
            let Some(last) = page.last() else { return Ok(Vec::new()) };
            after = Some(last.id);
            // What is given up for good may be gone already.
            let is_there = |row: &&PackRow| {
                row.home == PackHome::Object
                    && matches!(row.state, PackState::Stored | PackState::Lost)
            };
            let steps = page.iter().filter(is_there).map(|row| known(Expected::pack(row)));
            let steps: Vec<Step> = steps.collect::<Result<_>>()?;
            if !steps.is_empty() {
                return Ok(steps);
            }
        }
    }

    /// Of a point that was forgotten others may rest on what lies in its object.
    async fn points(
        &self,
        part: Part,
        after: Option<&ObjectName>,
        homes: &mut Homes,
    ) -> Result<Vec<Step>> {
        let query = self.house.ledger.query();
        let mut after = match after.map(ObjectName::object) {
            Some(Object::Point(id) | Object::Reach(id)) => Some(id),
            _ => None,
        };
        let expected = match part {
            Part::Reach => Expected::reach,
            _ => Expected::point,
        };
        let is_there = |row: &PointRow| {
            let is_placed = row.locations.contains(&self.place.0);
            row.vault == self.vault.id && (self.is_required() || is_placed)
        };
        loop {
            let kept = query.points_behind(after.as_ref(), STEPS)?;
            let forgotten = match part {
                Part::Points => homes.forgotten_behind(query, &self.vault.id, after).await?,
                _ => Vec::new(),
            };
            let upto = all_upto(&kept, &forgotten);
            let mut steps = BTreeMap::new();
            for row in kept.iter().filter(|row| is_there(row)) {
                steps.insert(row.id, known(expected(row))?);
            }
            for row in &forgotten {
                steps.insert(row.id, known(Expected::home(row))?);
            }
            steps.retain(|id, _| upto.is_none_or(|upto| *id <= upto));
            if !steps.is_empty() || upto.is_none() {
                return Ok(steps.into_values().collect());
            }
            after = upto;
        }
    }

    fn segments(&self, after: Option<&ObjectName>) -> Result<Vec<Step>> {
        let after = match after.map(ObjectName::object) {
            Some(Object::Segment(id)) => Some(id),
            _ => None,
        };
        let query = self.house.ledger.query();
        let page = query.segments_behind(&self.vault.id, after.as_ref(), STEPS)?;
        page.iter().map(|row| known(Expected::segment(row))).collect()
    }

    /// What is on its way into the locations right now is not missed in any.
    async fn own(&self, part: Part, after: Option<&ObjectName>) -> Result<Vec<Step>> {
        let (settled, shipped) = match part {
            Part::Log => (Some(ship::settled(self.house)?), None),
            Part::Snapshots => (None, self.house.ledger.query().shipped_snapshot()?),
            _ => (None, None),
        };
        let is_settled = |own: &Own| match own.name.object() {
            Object::Log { .. } => settled.as_ref().is_none_or(|settled| own.name < *settled),
            Object::Snapshot { index, .. } => {
                shipped.as_ref().is_some_and(|shipped| index <= shipped.index)
            }
            _ => true,
        };
        let grows = part.grows() && !self.is_required();
        let way = (self.others, self.place);
        let found = brought(way, part.prefix(), after, (&is_settled, grows)).await?;
        Ok(found.into_iter().map(Step::Own).collect())
    }
}

/// The next names that must be there, of those that are due. What only grows is brought into a
/// location that follows in the order of the names: what is behind the last is still to come.
async fn brought(
    way: (&[Place], &Place),
    prefix: &str,
    after: Option<&ObjectName>,
    (is_due, grows): (&(dyn Fn(&Own) -> bool + Sync), bool),
) -> Result<Vec<Own>> {
    let is_there = |own: &Own| own.there.is_some();
    let (mut found, mut after): (Vec<Own>, _) = (Vec::new(), after.cloned());
    loop {
        let count = if found.is_empty() { STEPS } else { limits::LIST_PAGE_ROWS };
        let page = own_behind(way, prefix, after.as_ref(), count).await?;
        let is_last = page.len() < count;
        after = page.last().map(|last| last.name.clone());
        let due: Vec<Own> = page.into_iter().filter(is_due).collect();
        let is_brought = if found.is_empty() {
            found = due;
            found.last().is_some_and(is_there)
        } else {
            due.iter().any(is_there)
        };
        if is_brought || (!grows && !found.is_empty()) {
            return Ok(found);
        }
        if is_last {
            let last = found.iter().rposition(is_there);
            found.truncate(if grows { last.map_or(0, |last| last + 1) } else { found.len() });
            return Ok(found);
        }
    }
}

/// Up to which id nothing is left out of either page; none when both are over.
fn all_upto(kept: &[PointRow], forgotten: &[PointRow]) -> Option<PointId> {
    let full = |page: &[PointRow]| page.get(STEPS - 1).map(|last| last.id);
    [full(kept), full(forgotten)].into_iter().flatten().min()
}

fn known(expected: Result<Expected>) -> Result<Step> {
    Ok(Step::Known(Box::new(expected?)))
}

/// How far a pass is behind a name, in thousandths of the packs; they are nearly all there is.
pub(crate) fn thousandths(cursor: &str) -> u32 {
    match ObjectName::parse(cursor) {
        Ok(Object::Pack(id)) => {
            let [first, second, ..] = *id.as_bytes();
            u32::from(u16::from_be_bytes([first, second])) * 1000 / (u32::from(u16::MAX) + 1)
        }
        _ if cursor > Part::Packs.prefix() => 1000,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{Crowd, id};
    use holdfast_common::{PackId, SystemClock};
    use holdfast_storage::{MemoryStore, ObjectStore};
    use std::sync::Arc;

    fn name(text: &str) -> ObjectName {
        text.parse().unwrap()
    }

    #[test]
    fn parts_come_in_the_order_of_their_names_and_each_once() {
        let prefixes = Part::ALL.map(Part::prefix);
        assert!(prefixes.is_sorted(), "{prefixes:?}");
        assert_eq!(Part::left(None).collect::<Vec<_>>(), Part::ALL);
    }

    #[test]
    fn what_is_left_begins_in_the_part_of_the_cursor() {
        let left = |text: &str| Part::left(Some(&name(text))).collect::<Vec<_>>();
        assert_eq!(left("points/ab"), [Part::Points, Part::Reach]);
        assert_eq!(left("packs/ff/ff")[0], Part::Packs);
        assert_eq!(left("cluster/key/1").len(), Part::ALL.len());
        // A name between two parts ends the one before it.
        assert_eq!(left("keyz")[0], Part::Packs);
        assert_eq!(left("zebra"), []);
        let cursor = name("points/ab");
        assert_eq!(Part::Points.within(Some(&cursor)), Some(&cursor));
        assert_eq!(Part::Reach.within(Some(&cursor)), None);
    }

    #[test]
    fn two_pages_are_taken_up_to_where_neither_leaves_anything_out() {
        let rows = |numbers: core::ops::Range<u64>| numbers.map(Crowd::row).collect::<Vec<_>>();
        let point = |number| Some(PointId::from_bytes(id(number)));
        let (many, steps) = (9 + STEPS as u64, STEPS as u64);
        assert_eq!(all_upto(&rows(1..5), &rows(90..99)), None);
        assert_eq!(all_upto(&rows(0..steps), &[]), point(steps - 1));
        assert_eq!(all_upto(&rows(9..many), &rows(0..steps)), point(steps - 1));
        assert_eq!(all_upto(&rows(0..2), &rows(9..many)), point(many - 1));
    }

    async fn place(called: &str, names: &[ObjectName]) -> Place {
        let store: Arc<dyn ObjectStore> =
            Arc::new(MemoryStore::new(Arc::new(SystemClock::start())));
        for name in names {
            let name = name.as_str().parse().unwrap();
            store.put_new(&name, "some bytes".into()).await.unwrap();
        }
        (called.parse().unwrap(), store)
    }

    /// All names of a part, from page to page.
    async fn all(others: &[Place], place: &Place, part: Part, grows: bool) -> Vec<ObjectName> {
        let mut names: Vec<ObjectName> = Vec::new();
        loop {
            let (way, after) = ((others, place), names.last().cloned());
            let due = (&|_: &Own| true, grows);
            let page = brought(way, part.prefix(), after.as_ref(), (due.0, due.1)).await.unwrap();
            if page.is_empty() {
                return names;
            }
            names.extend(page.into_iter().map(|own| own.name));
        }
    }

    #[tokio::test]
    async fn a_gap_of_more_than_a_page_ends_no_part() {
        let log: Vec<ObjectName> = (1..=200).map(|from| ObjectName::log(1, from)).collect();
        let whole = [place("main", &log).await];
        let gap = place("far", &[log[0].clone(), log[149].clone()]).await;
        assert_eq!(
            all(&whole, &gap, Part::Log, Part::Log.grows()).await,
            log[..150],
            "the rest is to come"
        );
        assert_eq!(all(&whole, &gap, Part::Log, false).await, log);
        let empty = place("new", &[]).await;
        assert_eq!(all(&whole, &empty, Part::Log, true).await, []);
    }

    #[tokio::test]
    async fn the_newest_keys_are_missed_too() {
        let keys = [1, 2].map(|version| ObjectName::keys(version, 1).unwrap());
        let whole = [place("main", &keys).await];
        let old = place("far", &keys[..1]).await;
        assert_eq!(all(&whole, &old, Part::Keys, Part::Keys.grows()).await, keys);
    }

    #[test]
    fn a_pass_is_as_far_as_its_packs() {
        let pack = |first: u8| ObjectName::pack(&PackId::from_bytes([first; 32]));
        assert_eq!(thousandths(pack(0).as_str()), 0);
        assert_eq!(thousandths(pack(0x80).as_str()), 501);
        assert_eq!(thousandths(pack(0xff).as_str()), 999);
        assert_eq!((thousandths("keys/1"), thousandths("points/ab")), (0, 1000));
    }
}
