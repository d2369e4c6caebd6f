//! All points first, then the packs that any of them needs, then the names of the points that need
//! what is damaged.
//!
//! ```text
//!   points ─▶ record, reach ─▶ what all need: one set of chunk numbers
//!   pack rows, page by page ─▶ those that hold one of the numbers ─▶ each looked at once
//!   something is damaged ─▶ points again: whose reach has a number of it?
//! ```
//!
//! Memory is one set of numbers, a page of rows and the findings, however many points and packs
//! there are: rows come in the order of their ids, which says nothing of who needs them. Sets are
//! walked on threads of their own.

use super::{
    Events, Level, Looked, Request,
    check::{Expected, Fate, Looks, check_everywhere},
    lost::{self, judge},
    remember::Remembered,
    suspects::{Home, Suspects, name},
};
use crate::{
    house::{House, Vault},
    scrub::{self, Seen, look_at_all_own},
};
use holdfast_common::{Name, PointId, Result};
use holdfast_ledger::row::{DamageRow, PackHome, PackRow, PackState, PointRow};
use holdfast_repository::Reach;
use holdfast_wire::v1;
use std::{collections::HashMap, ops::Range, sync::Arc};

pub(super) struct Walk<'a> {
    pub(super) house: &'a House,
    pub(super) vault: &'a Vault,
    pub(super) request: &'a Request,
    pub(super) tally: &'a mut v1::VerifyEvent,
    remembered: &'a mut Remembered,
    events: &'a Events,
    /// What the points need, all together.
    pub(super) reach: Arc<Reach>,
    /// What lies in each location that follows, of that.
    placed: HashMap<Name, Arc<Reach>>,
    pub(super) looked: Looked,
    /// Points' objects that others may need: those found damaged, and those that were not looked at
    /// with their points wherever others need them.
    homes: HashMap<PointId, Home>,
    suspects: Suspects,
}

/// What is told to whoever asked, and what is remembered.
type Tallies<'a> = (&'a mut v1::VerifyEvent, &'a mut Remembered);

impl<'a> Walk<'a> {
    pub(super) fn begin(
        house: &'a House,
        (vault, looked): (&'a Vault, Looked),
        request: &'a Request,
        ((tally, remembered), events): (Tallies<'a>, &'a Events),
    ) -> Self {
        let (reach, placed, homes, suspects) = Default::default();
        Self {
            house,
            vault,
            request,
            tally,
            remembered,
            events,
            reach,
            placed,
            looked,
            homes,
            suspects,
        }
    }

    /// A point's own objects; takes in what it needs.
    pub(super) async fn point(&mut self, point: &PointRow) -> Result<()> {
        self.tally.points += 1;
        let following = self.looked.following_of(&point.locations);
        let record = self.look(&Expected::point(point)?, &following).await?;
        if !record.damaged.is_empty() {
            let home = Home { found: vec![record.damaged], seen: following.clone() };
            self.homes.insert(point.id, home);
        }
        let reach = self.look(&Expected::reach(point)?, &following).await?;
        if point.lost.is_some() && record.is_whole && reach.is_whole {
            judge(self.house, point.id, true).await?;
        }
        let reach = match self.house.read_reach(self.vault, point).await {
            Ok(reach) => reach,
            Err(error) => {
                tracing::warn!(%error, point = %point.id, "reach cannot be read");
                // Which packs must lie there for this point is not known.
                self.remembered.passed_all_but(&following, &[]);
                return Ok(());
            }
        };
        let mut all = core::mem::take(&mut self.reach);
        let mut placed = core::mem::take(&mut self.placed);
        let unite = move || {
            Arc::make_mut(&mut all).union(&reach);
            for name in following {
                Arc::make_mut(placed.entry(name).or_default()).union(&reach);
            }
            Ok((all, placed))
        };
        (self.reach, self.placed) = self.house.tasks.run_blocking("reach", unite).await?;
        Ok(())
    }

    /// The locations that follow and have a number of a pack.
    fn placed(&self, row: &PackRow) -> Vec<Name> {
        let has = |(name, reach): (&Name, &Arc<Reach>)| {
            reach.meets_any(row.numbers()).then(|| name.clone())
        };
        self.placed.iter().filter_map(has).collect()
    }

    /// The packs that the points need, all of which were seen.
    pub(super) async fn packs(&mut self) -> Result<()> {
        let mut after = None;
        loop {
            let page = self.house.ledger.query().packs(&self.vault.row.id, after.as_ref())?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            let reach = self.reach.clone();
            let is_everything = self.request.is_everything();
            let choose = move || Ok(needed(page, &reach, is_everything));
            for row in self.house.tasks.run_blocking("reach", choose).await? {
                if self.events.is_closed() {
                    return Ok(());
                }
                let found = match row.home {
                    PackHome::Object => {
                        let following = self.placed(&row);
                        vec![self.look(&Expected::pack(&row)?, &following).await?.damaged]
                    }
                    PackHome::Point(home, _) => self.inside(&row, home).await?,
                };
                for found in found {
                    self.suspects.note(&row, found);
                }
            }
        }
    }

    /// One that was given up with the object that it lies in is relied on again when that is whole.
    async fn inside(&mut self, row: &PackRow, home: PointId) -> Result<Vec<Range<usize>>> {
        let found = self.home(home, self.placed(row)).await?;
        let is_whole = found.iter().all(Range::is_empty);
        if row.state == PackState::Lost && is_whole && !self.events.is_closed() {
            lost::find(self.house, self.vault, row.id).await?;
        }
        Ok(found)
    }

    /// A small run's pack lies in a point's object, which another point may need too, wherever that
    /// one lies.
    async fn home(&mut self, home: PointId, wanted: Vec<Name>) -> Result<Vec<Range<usize>>> {
        let query = self.house.ledger.query();
        let live = query.row::<PointRow>(home.as_bytes())?;
        let is_live = live.is_some();
        // Of a point that was forgotten too: another one relies on what lies in its object.
        let row = match live.or(query.forgotten(&home)?.map(|row| row.point)) {
            Some(row) => row,
            None => query.point(&home)?,
        };
        let mut known = match self.homes.remove(&home) {
            Some(known) => known,
            // It was looked at with its point, and is whole there.
            None if is_live && self.request.choice.includes(&row) => {
                let seen = self.looked.following_of(&row.locations);
                let known = Home { found: Vec::new(), seen };
                if known.unseen(&wanted).is_empty() {
                    return Ok(Vec::new());
                }
                known
            }
            None => {
                let found = self.look(&Expected::home(&row)?, &wanted).await?.damaged;
                Home { found: vec![found], seen: wanted.clone() }
            }
        };
        let unseen = known.unseen(&wanted);
        if !unseen.is_empty() {
            let found = self.look_in(&Expected::home(&row)?, (false, &unseen)).await?.damaged;
            known.found.push(found);
            known.seen.extend(unseen);
        }
        let found = known.found.clone();
        self.homes.insert(home, known);
        Ok(found)
    }

    /// Segments of the index: no point needs them, but whoever recovers is faster with them. One
    /// that follows need not have them; what it has must be whole.
    pub(super) async fn segments(&mut self) -> Result<()> {
        let names = self.looked.following.clone();
        let (following, _) = self.house.places.open_of(&self.vault.row, names.clone()).await;
        self.remembered.passed_all_but(&names, &following);
        for segment in self.house.ledger.query().segments(&self.vault.row.id)? {
            let (expected, mut there) = (Expected::segment(&segment)?, Vec::new());
            for (name, store) in &following {
                match store.head(expected.name()).await {
                    Ok(head) => there.extend(head.map(|_| name.clone())),
                    Err(_) => self.remembered.passed_by(name),
                }
            }
            self.look(&expected, &there).await?;
        }
        Ok(())
    }

    /// What coordinators wrote by themselves, in each of some locations.
    pub(super) async fn own(&mut self, names: &[Name]) -> Result<()> {
        let (house, vault) = (self.house, self.vault);
        let (places, _) = house.places.open_of(&vault.row, names.to_vec()).await;
        self.remembered.passed_all_but(names, &places);
        for (at, place) in places.iter().enumerate() {
            let mut others = places.clone();
            others.remove(at);
            let (tally, remembered, events) =
                (&mut *self.tally, &mut *self.remembered, self.events);
            let mut tell = |object: &str, Seen { bytes, found }: Seen| {
                tally.objects += 1;
                tally.bytes += bytes;
                let is_whole = found.iter().all(|found| found.healed_from.is_some());
                remembered.note(&place.0, object, bytes, is_whole);
                for scrub::Found { damage, healed_from } in found {
                    tally.damaged.push(told(damage, healed_from));
                }
                !events.is_closed()
            };
            look_at_all_own(house, vault, (place, &others), &mut tell).await?;
        }
        Ok(())
    }

    /// Says of each finding which points need what it is about.
    pub(super) async fn name_points(&mut self) -> Result<()> {
        if self.suspects.is_empty() {
            return Ok(());
        }
        let suspects = Arc::new(core::mem::take(&mut self.suspects));
        for point in self.request.choice.points(self.house.ledger.query(), self.vault.row.id) {
            let point = point?;
            if self.events.is_closed() {
                return Ok(());
            }
            // One that cannot be read was found damaged itself.
            let Ok(reach) = self.house.read_reach(self.vault, &point).await else { continue };
            let suspects = suspects.clone();
            let find = move || Ok(suspects.needed_by(&reach));
            for found in self.house.tasks.run_blocking("reach", find).await? {
                name(&mut self.tally.damaged, found, point.id);
            }
        }
        Ok(())
    }

    async fn look(&mut self, expected: &Expected, following: &[Name]) -> Result<Found> {
        self.look_in(expected, (true, following)).await
    }

    /// Where it is required, or not there, and in some that follow.
    async fn look_in(
        &mut self,
        expected: &Expected,
        (is_required, following): (bool, &[Name]),
    ) -> Result<Found> {
        let from = self.tally.damaged.len();
        if self.events.is_closed() {
            return Ok(Found { damaged: from..from, is_whole: false });
        }
        let level: Level = self.request.level;
        let mut places = match is_required {
            true => self.house.places.required(&self.looked.required).await?,
            false => Vec::new(),
        };
        let required = places.len();
        let (open, _) = self.house.places.open_of(&self.vault.row, following.to_vec()).await;
        self.remembered.passed_all_but(following, &open);
        places.extend(open);
        let places = (&places[..], required);
        let looks = check_everywhere(self.house, self.vault, places, (expected, level)).await?;
        let Looks { event, read, fate } = looks;
        for (place, read) in places.0.iter().zip(read) {
            let Some(bytes) = read else {
                self.remembered.passed_by(&place.0);
                continue;
            };
            let is_left = |damage: &v1::Damage| {
                damage.location == place.0.as_str() && damage.healed_from.is_none()
            };
            // What was not read in a place says nothing of it.
            let is_whole = bytes > 0 && !event.damaged.iter().any(is_left);
            let object = expected.name().as_str();
            self.remembered.note(&place.0, object, bytes, is_whole);
        }
        self.tally.objects += 1;
        self.tally.bytes += event.bytes;
        self.tally.damaged.extend(event.damaged);
        let damaged = from..self.tally.damaged.len();
        if !damaged.is_empty() || self.tally.objects.is_multiple_of(64) {
            let (points, objects, bytes) =
                (self.tally.points, self.tally.objects, self.tally.bytes);
            let progress = v1::VerifyEvent { points, objects, bytes, ..Default::default() };
            // A caller that has gone is noticed before the next object.
            let _ = self.events.send(Ok(progress)).await;
        }
        Ok(Found { damaged, is_whole: fate == Fate::Whole })
    }
}

/// What was seen of one object.
struct Found {
    /// Which of the findings are about it.
    damaged: Range<usize>,
    /// It is, or it was healed, everywhere.
    is_whole: bool,
}

/// As it is told to whoever asked.
fn told(damage: DamageRow, healed_from: Option<Name>) -> v1::Damage {
    v1::Damage {
        object: damage.object,
        location: damage.location.to_string(),
        problem: damage.problem,
        healed_from: healed_from.map(|name| name.to_string()),
        ..Default::default()
    }
}

/// The packs of a page that hold a number of the reach; later points may come to need any that is
/// stored.
fn needed(page: Vec<PackRow>, reach: &Reach, is_everything: bool) -> Vec<PackRow> {
    let is_needed = |row: &PackRow| match row.state {
        // One that a point needs all the same is told of with the point.
        PackState::Doomed | PackState::Intended => false,
        PackState::Stored if is_everything => true,
        _ => reach.meets_any(row.numbers()),
    };
    page.into_iter().filter(is_needed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(id: u8, base: u64, slots: u32) -> PackRow {
        PackRow { base, slots, ..crate::crowd::pack([id; 32]) }
    }

    fn reach(numbers: &[u64]) -> Reach {
        let mut reach = Reach::new();
        for number in numbers {
            reach.insert(holdfast_repository::ChunkNumber::from_u64(*number));
        }
        reach
    }

    #[test]
    fn the_packs_of_a_reach_are_those_that_hold_its_numbers() {
        let page = || vec![pack(3, 30, 2), pack(1, 10, 10), pack(2, 20, 10)];
        let ids = |numbers: &[u64]| -> Vec<u64> {
            needed(page(), &reach(numbers), false).iter().map(|row| row.base).collect()
        };
        assert_eq!(ids(&[3, 10, 19, 30, 31, 99]), [30, 10]);
        assert_eq!(ids(&[29, 32]), [20]);
        assert_eq!(ids(&[]), [0; 0]);
        let announced = PackRow { state: PackState::Intended, ..pack(1, 10, 10) };
        assert_eq!(needed(vec![announced], &reach(&[10]), true), []);
        assert_eq!(needed(page(), &reach(&[10]), true).len(), 3, "whatever needs them");
    }
}
