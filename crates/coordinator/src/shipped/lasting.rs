//! Whether what was shipped last still lies where it was put.
//!
//! An extent of the log is put into every required location, and the next one follows within a
//! second of any change: a location that lacks the one before was emptied, or came back older than
//! it was, and lacks packs and points besides. Then it is known to hold nothing until it was looked
//! through. One answer decides nothing: the location is opened anew after a moment, and asked once
//! more. One that does not show the vault's own object is no place to put anything: an unmounted
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
use holdfast_storage::{ObjectName, ObjectStore};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

/// A server that has just started, or a listing that lags, has come round by then.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(3);

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
        let again = opened_anew(house, vault, &place.0);
        if !is_filled && is_gone(place.1.as_ref(), again, &name).await? {
            doubt(house, (row, name, upto)).await?;
        }
    }
    Ok(())
}

/// Whether a location says twice that it lacks the object. `again` opens it anew.
pub(crate) async fn is_gone(
    store: &dyn ObjectStore,
    again: impl Future<Output = Result<Arc<dyn ObjectStore>>>,
    name: &ObjectName,
) -> Result<bool> {
    if store.head(name).await?.is_some() {
        return Ok(false);
    }
    tracing::warn!(object = %name, "it was put there, and is not found; asked once more");
    tokio::time::sleep(ASKED_AGAIN_AFTER).await;
    Ok(again.await?.head(name).await?.is_none())
}

/// The location as whoever opens it now finds it, which has shown that it is the vault's.
pub(crate) async fn opened_anew(
    house: &House,
    vault: &VaultRow,
    name: &Name,
) -> Result<Arc<dyn ObjectStore>> {
    house.places.close(name);
    let place = (name.clone(), house.places.location(name).await?);
    show(vault, &place).await.inspect_err(|_| house.places.distrust(name))?;
    Ok(place.1)
}

async fn doubt(house: &House, (row, name, upto): (LocationRow, ObjectName, u64)) -> Result<()> {
    // Where no other location has the log, a snapshot makes up for what it lacks.
    house.shipping.gap.fetch_max(upto, Relaxed);
    note_doubt(house, row, &name).await
}

/// Says that a location lacks what lay there; members of an older level have no word for it.
pub(crate) async fn note_doubt(house: &House, row: LocationRow, name: &ObjectName) -> Result<()> {
    tracing::error!(location = %row.name, object = %name, "it was put there, and is gone");
    if house.ledger.query().level()? < DOUBTS {
        return Ok(());
    }
    let LocationRow { name: location, revision, .. } = row;
    let command = DoubtLocation { location, revision, lacks: name.to_string() };
    house.ledger.propose(Actor::System, command).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use holdfast_common::SystemClock;
    use holdfast_storage::MemoryStore;
    use tokio::time::Instant;

    async fn store(name: &ObjectName, has: bool) -> Arc<dyn ObjectStore> {
        let store = MemoryStore::new(Arc::new(SystemClock::start()));
        if has {
            store.put_new(name, Bytes::from_static(b"it")).await.unwrap();
        }
        Arc::new(store)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_missed_once_is_asked_for_again_before_anything_is_doubted() {
        let name: ObjectName = "cluster/log/00000001-1".parse().unwrap();
        for (first, second, due) in
            [(true, false, false), (false, true, false), (false, false, true)]
        {
            let begun = Instant::now();
            let (now, later) = (store(&name, first).await, store(&name, second).await);
            let again = async { Ok(later) };
            let is_gone = is_gone(now.as_ref(), again, &name).await.unwrap();
            assert_eq!(is_gone, due, "first {first}, then {second}");
            assert_eq!(begun.elapsed() >= ASKED_AGAIN_AFTER, !first, "a moment lies between them");
        }
    }
}
