//! Which points lie in a location that was filled up, all of each.
//!
//! ```text
//!   rows of packs  │ in step with the listing ─→ numbers that are missing there (few, or none)
//!   rows of points │ in step with the listing ─→ points whose record or reach is missing
//!   rows of points ─→ neither, and a reach without a missing number? ─→ the ledger, in batches
//! ```
//!
//! A reach is read only where something is missing at all. Presence and length count here; whether
//! the bytes are right was seen when they were put, and is for verification to say later.

use super::{listing::Listing, object::went_away};
use crate::{
    budget::Budget,
    places::{Place, show},
    verify::problem_of,
};
use holdfast_common::{PackId, PointId, Result, VaultId, limits};
use holdfast_ledger::{
    Query,
    row::{PackHome, PackRow, PackState, PointRow, VaultRow},
};
use holdfast_repository::{ChunkNumber, Reach, layout::ObjectName};
use holdfast_runtime::tasks::Tasks;
use std::{collections::BTreeSet, sync::Arc};

/// What a location lacks of what the ledger knows, and the points that lack nothing.
pub(super) struct Survey<'a> {
    vault: &'a VaultRow,
    place: &'a Place,
    budget: &'a Budget,
    tasks: &'a Tasks,
    /// Points without their record or their reach.
    bare: BTreeSet<PointId>,
    /// Numbers of chunks whose packs are not there.
    missing: Arc<Reach>,
    lacking: Lacking,
    points: Box<dyn Iterator<Item = Result<PointRow>> + Send + Sync + 'a>,
}

/// What the ledger relies on and a location did not list.
#[derive(Debug, Default)]
pub(crate) struct Lacking {
    /// The first of them.
    pub(crate) packs: Vec<PackId>,
    pub(crate) points: Vec<PointId>,
    /// Points that were forgotten, and whose object has what others need.
    pub(crate) homes: Vec<PointId>,
    /// How many there are.
    pub(crate) count: u64,
}

impl Lacking {
    /// Whether there are no more than the first ones.
    pub(crate) fn all_are_named(&self) -> bool {
        self.count <= (self.packs.len() + self.points.len() + self.homes.len()) as u64
    }

    /// What is in a live point's object counts with the point.
    fn note(&mut self, pack: &PackRow, gone: &BTreeSet<PointId>) {
        let room = self.packs.len() + self.homes.len() < limits::OBJECTS_LACKED_MAX;
        match pack.home {
            PackHome::Object => {
                self.count += 1;
                self.packs.extend(room.then_some(pack.id));
            }
            PackHome::Point(home, _) if gone.contains(&home) && !self.homes.contains(&home) => {
                self.count += 1;
                self.homes.extend(room.then_some(home));
            }
            PackHome::Point(..) => {}
        }
    }
}

impl<'a> Survey<'a> {
    pub(super) async fn begin(
        query: Query<'a>,
        vault: &'a VaultRow,
        place: &'a Place,
        budget: &'a Budget,
        tasks: &'a Tasks,
    ) -> Result<Self> {
        let homes = homes(query, vault.id).await?;
        let Missed { bare, gone, headless } = missed(query, vault.id, place, homes).await?;
        let mut lacking = Lacking { count: bare.len() as u64, ..Lacking::default() };
        lacking.points.extend(bare.iter().copied().take(limits::OBJECTS_LACKED_MAX));
        let missing = missing(query, vault.id, place, (&headless, &gone), &mut lacking).await?;
        let (missing, points) = (Arc::new(missing), Box::new(points(query)));
        Ok(Self { vault, place, budget, tasks, bare, missing, lacking, points })
    }

    /// A survey of some points whose objects were brought, and nothing that they need is missing
    /// but what is lost.
    pub(super) fn of_brought(
        query: Query<'a>,
        (vault, ids): (&'a VaultRow, &[PointId]),
        place: &'a Place,
        budget: &'a Budget,
        tasks: &'a Tasks,
    ) -> Result<Self> {
        let mut missing = Reach::new();
        for pack in query.lost_packs(&vault.id) {
            for (first, count) in pack?.numbers() {
                missing.insert_range(ChunkNumber::from_u64(first), count)?;
            }
        }
        let mut points: Vec<Result<PointRow>> = Vec::with_capacity(ids.len());
        for id in ids {
            let point = query.row::<PointRow>(id.as_bytes())?;
            points.extend(point.filter(|point| point.lost.is_none()).map(Ok));
        }
        let (bare, lacking) = (BTreeSet::new(), Lacking::default());
        let (missing, points) = (Arc::new(missing), Box::new(points.into_iter()));
        Ok(Self { vault, place, budget, tasks, bare, missing, lacking, points })
    }

    pub(super) fn lacking(self) -> Lacking {
        self.lacking
    }

    /// The next points that lie there and are not said to; none when there are no more.
    pub(super) async fn batch(&mut self) -> Result<Vec<PointId>> {
        let mut batch = Vec::new();
        while batch.len() < limits::POINTS_PLACED_MAX {
            let Some(point) = self.points.next() else { break };
            let point = point?;
            let is_known = point.vault != self.vault.id || point.locations.contains(&self.place.0);
            if !is_known && self.is_whole(&point).await? {
                batch.push(point.id);
            }
        }
        Ok(batch)
    }

    async fn is_whole(&self, point: &PointRow) -> Result<bool> {
        if self.bare.contains(&point.id) {
            return Ok(false);
        }
        if self.missing.is_empty() {
            return Ok(true);
        }
        let _share = self.budget.wait_for(limits::PACK_BYTES_MAX, &|| Ok(())).await?;
        let name = ObjectName::reach(&point.id).as_str().parse()?;
        let bytes = match self.place.1.get(&name, limits::REACH_BYTES_MAX).await {
            Ok(bytes) => bytes,
            Err(error) => {
                let problem = problem_of(self.vault, self.place, &error).await;
                problem.map_err(|error| went_away(self.place, error))?;
                tracing::warn!(point = %point.id, location = %self.place.0, %error, "not read");
                return Ok(false);
            }
        };
        let (missing, point) = (self.missing.clone(), point.clone());
        let meets = move || {
            if blake3::hash(&bytes) != point.reach_hash {
                return Ok(false);
            }
            let reach = Reach::from_object(&bytes, &point.vault, &point.id)?;
            Ok(!missing.iter().any(|number| reach.contains(number)))
        };
        self.tasks.run_blocking("reach", meets).await
    }
}

/// Tells of all packs that are relied on and are not in a location, some at a time; how many there
/// are. What a listing does not show is asked for by its name: it may have come behind it.
pub(super) async fn absent<T: Future<Output = Result<()>> + Send>(
    query: Query<'_>,
    vault: &VaultRow,
    place: &Place,
    tell: impl Fn(Vec<PackId>) -> T + Send + Sync,
) -> Result<u64> {
    let missing_homes = missing_homes(query, vault.id, place).await?;
    let (mut listed, mut count, mut after) = (Listing::over(place, "packs/")?, 0, None);
    loop {
        let page = query.packs(&vault.id, after.as_ref())?;
        after = page.last().map(|last| last.id);
        let mut absent = Vec::new();
        for pack in page.iter().filter(|pack| pack.state == PackState::Stored) {
            let is_there = match pack.home {
                PackHome::Object => {
                    let (name, length) = (ObjectName::pack(&pack.id), u64::from(pack.length));
                    listed.length_of(&name).await? == Some(length)
                        || length_in(place, &name).await? == Some(length)
                }
                PackHome::Point(home, _) => !missing_homes.contains(&home),
            };
            absent.extend((!is_there).then_some(pack.id));
        }
        // A disk that is not mounted is an empty directory.
        show(vault, place).await?;
        count += absent.len() as u64;
        for some in absent.chunks(limits::PACKS_ABSENT_MAX) {
            tell(some.to_vec()).await?;
        }
        if after.is_none() {
            return Ok(count);
        }
    }
}

async fn length_in((_, store): &Place, name: &ObjectName) -> Result<Option<u64>> {
    Ok(store.head(&name.as_str().parse()?).await?.map(|there| there.length))
}

/// Points, forgotten ones too, whose object is not there and has packs that are relied on.
async fn missing_homes(
    query: Query<'_>,
    vault: VaultId,
    place: &Place,
) -> Result<BTreeSet<PointId>> {
    let (mut homes, mut after) = (BTreeSet::new(), None);
    loop {
        let page = query.packs(&vault, after.as_ref())?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        for pack in page.iter().filter(|pack| pack.state == PackState::Stored) {
            if let PackHome::Point(home, _) = pack.home {
                homes.insert(home);
            }
        }
        tokio::task::yield_now().await;
    }
    let (mut records, mut missing) = (Listing::over(place, "points/")?, BTreeSet::new());
    for home in homes {
        let name = ObjectName::point(&home);
        let listed = records.length_of(&name).await?;
        if listed.is_none() && length_in(place, &name).await?.is_none() {
            missing.insert(home);
        }
    }
    Ok(missing)
}

/// All points, in the order of their ids, as locations list them.
fn points(query: Query<'_>) -> impl Iterator<Item = Result<PointRow>> + use<'_> {
    query.points_like("")
}

/// Points that were forgotten, and whose object has packs that are relied on: of all that were
/// forgotten no others are looked for.
async fn homes(query: Query<'_>, vault: VaultId) -> Result<BTreeSet<PointId>> {
    let (mut homes, mut after) = (BTreeSet::new(), None);
    loop {
        let page = query.packs(&vault, after.as_ref())?;
        let Some(last) = page.last() else { return Ok(homes) };
        after = Some(last.id);
        for pack in page.iter().filter(|pack| pack.state == PackState::Stored) {
            if let PackHome::Point(home, _) = pack.home
                && !homes.contains(&home)
                && query.row::<PointRow>(home.as_bytes())?.is_none()
            {
                homes.insert(home);
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Whose own objects are not there.
#[derive(Default)]
struct Missed {
    /// Points without their record or their reach.
    bare: BTreeSet<PointId>,
    /// Of those, the ones without their record, in which packs may lie.
    headless: BTreeSet<PointId>,
    /// Points that were forgotten.
    gone: BTreeSet<PointId>,
}

async fn missed(
    query: Query<'_>,
    vault: VaultId,
    place: &Place,
    homes: BTreeSet<PointId>,
) -> Result<Missed> {
    let (mut records, mut reaches) =
        (Listing::over(place, "points/")?, Listing::over(place, "reach/")?);
    let Missed { mut bare, mut headless, mut gone } = Missed::default();
    let mut homes = homes.into_iter().peekable();
    for point in points(query) {
        let point = point?;
        if point.vault != vault {
            continue;
        }
        // A listing is walked through once, in order.
        while let Some(home) = homes.next_if(|home| *home < point.id) {
            if records.length_of(&ObjectName::point(&home)).await?.is_none() {
                gone.insert(home);
            }
        }
        let record = records.length_of(&ObjectName::point(&point.id)).await?;
        let reach = reaches.length_of(&ObjectName::reach(&point.id)).await?;
        if record.is_none() || reach.is_none() {
            bare.insert(point.id);
        }
        if record.is_none() {
            headless.insert(point.id);
        }
    }
    for home in homes {
        if records.length_of(&ObjectName::point(&home)).await?.is_none() {
            gone.insert(home);
        }
    }
    Ok(Missed { bare, headless, gone })
}

async fn missing(
    query: Query<'_>,
    vault: VaultId,
    place: &Place,
    (headless, gone): (&BTreeSet<PointId>, &BTreeSet<PointId>),
    lacking: &mut Lacking,
) -> Result<Reach> {
    let (mut listed, mut missing, mut after) =
        (Listing::over(place, "packs/")?, Reach::new(), None);
    loop {
        let page = query.packs(&vault, after.as_ref())?;
        let Some(last) = page.last() else { return Ok(missing) };
        after = Some(last.id);
        for pack in page {
            let is_there = match pack.home {
                PackHome::Object => {
                    let length = listed.length_of(&ObjectName::pack(&pack.id)).await?;
                    length == Some(u64::from(pack.length))
                }
                PackHome::Point(point, _) => !headless.contains(&point) && !gone.contains(&point),
            };
            let is_whole = match pack.state {
                PackState::Doomed | PackState::Intended => continue,
                PackState::Lost => false,
                PackState::Stored => is_there,
            };
            if !is_whole && pack.state == PackState::Stored {
                lacking.note(&pack, gone);
            }
            if !is_whole {
                for (first, count) in pack.numbers() {
                    missing.insert_range(ChunkNumber::from_u64(first), count)?;
                }
            }
        }
    }
}
