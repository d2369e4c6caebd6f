//! A location is filled up with what others of its vault hold.
//!
//! ```text
//!   listings of the sources ─┐ in step, a page of each     ┌─ one source after the other
//!   listing of the target ───┴─→ names that it lacks ─→ a copy that is whole ─→ the target
//!   rows of points ─→ all their objects are in the listing ─→ the ledger says: they lie there
//! ```
//!
//! Every object of the layout goes, but for the one that says whose location it is: that must be
//! there before. A copy is checked before it is put, as verification checks it. What the target has
//! is left alone, unless its length shows that it is damaged. A call that was broken off is made
//! again and goes on where it was; nothing is copied twice.

mod filling;
mod keys;
mod listing;
mod object;
mod own;
mod pace;
mod points;
mod sealed;
#[cfg(test)]
mod tests;

use crate::{budget::Budget, house::House, places::Place, shipped::ship};
use filling::Filling;
use holdfast_common::{Name, PackId, PointId, Result};
use holdfast_ledger::{
    Actor,
    command::{Note, NoteAbsent, NoteKind, PlacePoints},
    row::{CopyRow, VaultRow},
};
use holdfast_repository::layout::ObjectName;
pub(crate) use keys::names_of_keys;
pub(crate) use listing::Marks;
pub(crate) use own::{
    Mended, Own, OwnState, insist_on_known_keys, look_at_own, mend_own, own_behind,
};
pub(crate) use pace::Pace;
pub(crate) use points::Lacking;
use points::Survey;
use std::fmt;

/// What a call brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Filled {
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    /// What the ledger relies on: without it the target is not whole.
    pub(crate) lacks: Left,
    /// Whatever else no source has whole.
    pub(crate) left: Left,
}

/// How many objects no source has whole, and the first of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) count: u64,
    pub(crate) first: Vec<LeftObject>,
}

/// What no source has whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftObject {
    pub(crate) name: ObjectName,
    pub(crate) why: String,
}

impl Filled {
    /// Something that was wanted and is whole nowhere.
    pub(crate) fn first_left(&self) -> Option<&LeftObject> {
        self.lacks.first.first().or_else(|| self.left.first.first())
    }
}

impl fmt::Display for LeftObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.why)
    }
}

/// What was copied so far, and how much there was to copy at the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    pub(crate) of_objects_hint: Option<u64>,
    /// Of what is not there at all.
    pub(crate) of_bytes_hint: Option<u64>,
}

/// Whoever wants to hear of it.
pub(crate) type Told<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// How much of a line copies may take, and where they come from and go.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) from: &'a [Place],
    pub(crate) to: &'a Place,
    pub(crate) pace: &'a Pace,
    pub(crate) budget: &'a Budget,
}

impl<'a> Way<'a> {
    /// As fast as it goes, for somebody who waits for it.
    pub(crate) fn at_once(house: &'a House, from: &'a [Place], to: &'a Place) -> Self {
        static NONE: Pace = Pace::none();
        Self { from, to, pace: &NONE, budget: &house.outgoing }
    }
}

/// Brings everything that the sources hold and the target lacks.
pub(crate) async fn fill(
    house: &House,
    vault: &VaultRow,
    from: &[Place],
    to: &Place,
    told: Told<'_>,
) -> Result<Filled> {
    house.places.prove(vault, &to.0).await?;
    fill_shown(house, vault, Way::at_once(house, from, to), told).await
}

/// The same of a place that has shown that it is the vault's.
pub(crate) async fn fill_shown(
    house: &House,
    vault: &VaultRow,
    way: Way<'_>,
    told: Told<'_>,
) -> Result<Filled> {
    let insist = || house.ledger.peers().insist_on_epoch();
    Filling::of(house, vault, way, told, &insist)?.everything().await
}

/// The same of some objects. Whatever the target has of them is read too, and taken anew from a
/// source where it is damaged: those that are not told to be left lie there whole.
pub(crate) async fn copy(
    house: &House,
    vault: &VaultRow,
    from: &[Place],
    to: &Place,
    names: &[ObjectName],
    told: Told<'_>,
) -> Result<Filled> {
    house.places.prove(vault, &to.0).await?;
    copy_shown(house, vault, Way::at_once(house, from, to), names, told).await
}

/// The same into a place that has shown that it is the vault's.
pub(crate) async fn copy_shown(
    house: &House,
    vault: &VaultRow,
    way: Way<'_>,
    names: &[ObjectName],
    told: Told<'_>,
) -> Result<Filled> {
    let insist = || house.ledger.peers().insist_on_epoch();
    Filling::of(house, vault, way, told, &insist)?.named(names).await
}

/// Brings the keys that open what the vault has, as the ledger has them.
pub(crate) async fn keys(house: &House, vault: &VaultRow, way: Way<'_>) -> Result<()> {
    let insist = || house.ledger.peers().insist_on_epoch();
    let all = Filling::of(house, vault, way, &|_| {}, &insist)?.keys().await?;
    for (name, put) in all.into_iter().filter(|(_, put)| put.is_instead) {
        note_healed(house, &name, &way.to.0, put.aside.as_ref()).await?;
    }
    Ok(())
}

/// Says that an object lies in a location as it must be, and where other keys lie now that had its
/// name.
pub(crate) async fn note_healed(
    house: &House,
    name: &ObjectName,
    location: &Name,
    aside: Option<&holdfast_storage::ObjectName>,
) -> Result<()> {
    let kept = aside.map(|aside| format!("; other keys that lay there are {aside}"));
    let subject = format!("{name} in {location}{}", kept.unwrap_or_default());
    let note = Note { kind: NoteKind::ObjectHealed, subject };
    house.ledger.propose(Actor::System, note).await.map(drop)
}

/// Brings what coordinators write by themselves (keys, epochs, the ledger's log and snapshots) and
/// came behind the marks; where they stand then. A place that lacks what was seen there has come
/// back older than it was.
pub(crate) async fn tail(
    house: &House,
    vault: &VaultRow,
    way: Way<'_>,
    marks: Marks,
) -> Result<Marks> {
    let insist = || house.ledger.peers().insist_on_epoch();
    // Whoever leads now may write extents from there on, whatever an earlier leader wrote.
    let settled = ship::settled(house)?;
    let filling = Filling::of(house, vault, way, &|_| {}, &insist)?;
    Ok(filling.tail(marks).await?.not_behind(&settled.as_str().parse()?))
}

/// Notes which packs a location lacks that was taken in place of lost ones: nothing comes to rely
/// on them, and everything else that is there is relied on again. How many it lacks.
pub(crate) async fn note_absent(
    house: &House,
    vault: &VaultRow,
    copies: &CopyRow,
    place: &Place,
) -> Result<u64> {
    let (location, opened) = (&place.0, copies.opened);
    let note = |packs: Vec<PackId>, is_all| {
        let (vault, location) = (vault.id, location.clone());
        let command = NoteAbsent { vault, location, opened, packs, is_all };
        async move { house.ledger.propose(Actor::System, command).await.map(drop) }
    };
    let tell = |packs| note(packs, false);
    let count = points::absent(house.ledger.query(), vault, place, tell).await?;
    note(Vec::new(), true).await?;
    Ok(count)
}

/// Says of every point whose objects lie in the location that it lies there too; how many it was
/// said of.
pub(crate) async fn place_points(house: &House, vault: &VaultRow, location: &Name) -> Result<u64> {
    house.places.prove(vault, location).await?;
    let place = (location.clone(), house.places.location(location).await?);
    Box::pin(keys(house, vault, Way::at_once(house, &[], &place))).await?;
    Ok(place_points_shown(house, vault, (&place, &house.outgoing), None).await?.0)
}

/// Of points whose objects were brought to a place, those that are whole and need nothing that is
/// lost.
pub(crate) async fn whole_points(
    house: &House,
    vault: &VaultRow,
    (place, budget): (&Place, &Budget),
    points: &[PointId],
) -> Result<Vec<PointId>> {
    let (query, tasks) = (house.ledger.query(), &house.tasks);
    Survey::of_brought(query, (vault, points), place, budget, tasks)?.batch().await
}

/// The same of a place that has shown that it is the vault's, and what it lacks; `opened` is the
/// entry since which it is brought that.
pub(crate) async fn place_points_shown(
    house: &House,
    vault: &VaultRow,
    (place, budget): (&Place, &Budget),
    opened: Option<u64>,
) -> Result<(u64, Lacking)> {
    let (query, tasks) = (house.ledger.query(), &house.tasks);
    let mut survey = Survey::begin(query, vault, place, budget, tasks).await?;
    let mut placed = 0;
    loop {
        let points = survey.batch().await?;
        if points.is_empty() {
            return Ok((placed, survey.lacking()));
        }
        placed += points.len() as u64;
        let (vault, location) = (vault.id, place.0.clone());
        let command = PlacePoints { vault, location, points, opened };
        house.ledger.propose(Actor::System, command).await?;
    }
}
