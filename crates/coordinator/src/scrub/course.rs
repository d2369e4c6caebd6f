//! In which order the objects of a location are looked at: that of their names, part by part.
//!
//! ```text
//!   cluster/key → cluster/log → cluster/snapshot → epochs → index → keys → packs → points → reach
//!   └── what any location of the vault lists ────────────┘   │      └── what the ledger says ──┘
//!                              index: the ledger, keys: any location, and the ledger
//! ```
//!
//! A name is all that has to be remembered to go on, by whoever leads then. What comes meanwhile
//! with a name before it was hashed as it came, and waits for the next pass.

use super::{
    homes::Homes,
    listed::{brought, with_known},
};
use crate::{
    fill::{Own, names_of_keys},
    house::House,
    places::Place,
    shipped::ship,
    verify::Expected,
};
use holdfast_common::{PointId, Result};
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
            let way = (after, upto(&kept));
            let forgotten = match part {
                Part::Points => homes.forgotten_behind(query, &self.vault.id, way).await?,
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
            tokio::task::yield_now().await;
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
        let mut found = brought(way, part.prefix(), after, (&is_settled, grows)).await?;
        if part == Part::Keys {
            let known = names_of_keys(self.house.ledger.query(), self.vault)?;
            found = with_known(found, known, after);
        }
        Ok(found.into_iter().map(Step::Own).collect())
    }
}

/// Up to which id nothing is left out of either page; none when both are over.
fn all_upto(kept: &[PointRow], forgotten: &[PointRow]) -> Option<PointId> {
    [upto(kept), upto(forgotten)].into_iter().flatten().min()
}

/// The last of a full page, behind which there may be more.
fn upto(page: &[PointRow]) -> Option<PointId> {
    page.get(STEPS - 1).map(|last| last.id)
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
    use holdfast_common::PackId;

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

    #[test]
    fn a_pass_is_as_far_as_its_packs() {
        let pack = |first: u8| ObjectName::pack(&PackId::from_bytes([first; 32]));
        assert_eq!(thousandths(pack(0).as_str()), 0);
        assert_eq!(thousandths(pack(0x80).as_str()), 501);
        assert_eq!(thousandths(pack(0xff).as_str()), 999);
        assert_eq!((thousandths("keys/1"), thousandths("points/ab")), (0, 1000));
    }
}
