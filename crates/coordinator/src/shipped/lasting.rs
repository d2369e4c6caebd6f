//! Whether what was shipped last still lies where it was put.
//!
//! An extent of the log is put into every required location, and the next one follows within a
//! second of any change: a location that lacks the one before was emptied, or came back older than
//! it was, and lacks packs and points besides. Then it is known to hold nothing until it was looked
//! through. One that does not show the vault's own object is no place to put anything: an unmounted
//! disk is an empty directory.

use crate::{
    house::House,
    places::{Place, show},
};
use holdfast_common::{Name, Result};
use holdfast_ledger::{
    Actor,
    command::DoubtLocation,
    level::DOUBTS,
    row::{LocationRow, VaultRow},
};
use holdfast_storage::ObjectName;
use std::sync::{Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed};

/// The newest extent that this member put, or found, in every location that was required then.
#[derive(Default)]
pub(crate) struct Last(Mutex<Option<Lying>>);

struct Lying {
    name: ObjectName,
    upto: u64,
    /// As the locations were: one that moved or was filled again since is another place.
    places: Vec<(Name, u64)>,
}

impl Last {
    pub(super) fn note(&self, house: &House, name: &ObjectName, upto: u64, places: &[Place]) {
        let row = |(name, _): &Place| house.places.row(name).ok();
        let places = places.iter().filter_map(row).map(|row| (row.name, row.revision)).collect();
        *self.lock() = Some(Lying { name: name.clone(), upto, places });
    }

    /// What is to be there, and up to which entry.
    fn wanted_in(&self, row: &LocationRow) -> Option<(ObjectName, u64)> {
        let last = self.lock();
        let lying = last.as_ref()?;
        let lies_there = lying.places.contains(&(row.name.clone(), row.revision));
        lies_there.then(|| (lying.name.clone(), lying.upto))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Lying>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sees to it that a location that lacks what was shipped last is relied on no more.
pub(super) async fn look(house: &House, vault: &VaultRow, places: &[Place]) -> Result<()> {
    for place in places {
        let row = house.places.row(&place.0)?;
        let Some((name, upto)) = house.shipping.last.wanted_in(&row) else { continue };
        // What is brought what it lacks is known to lack something.
        let copies = house.ledger.query().copies_in(&vault.id, &row.name)?;
        let is_filled = copies.is_some_and(|copies| copies.is_doubted());
        if !is_filled && place.1.head(&name).await?.is_none() {
            doubt(house, vault, place, (row, name, upto)).await?;
        }
    }
    Ok(())
}

async fn doubt(
    house: &House,
    vault: &VaultRow,
    place: &Place,
    (row, name, upto): (LocationRow, ObjectName, u64),
) -> Result<()> {
    show(vault, place).await.inspect_err(|_| house.places.distrust(&row.name))?;
    tracing::error!(location = %row.name, object = %name, "it was put there, and is gone");
    // Where no other location has the log, a snapshot makes up for what it lacks.
    house.shipping.gap.fetch_max(upto, Relaxed);
    if house.ledger.query().level()? < DOUBTS {
        return Ok(());
    }
    let LocationRow { name: location, revision, .. } = row;
    let command = DoubtLocation { location, revision, lacks: name.to_string() };
    house.ledger.propose(Actor::System, command).await.map(drop)
}
