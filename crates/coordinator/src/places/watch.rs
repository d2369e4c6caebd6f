//! Looks now and then whether the locations that vaults require are there, and still the vault's.
//!
//! Whoever puts something finds out; at rest nobody would, and a place that was emptied would look
//! well until the next backup, or until somebody has to restore. Every member looks for itself:
//! what one sees another may not. What cannot be seen is opened anew for whoever comes next, and
//! `status` tells of it.
//!
//! What follows, and what is brought what it lacks, is looked after by whoever copies.

use super::Places;
use crate::house::House;
use futures::future::join_all;
use holdfast_common::{Code, Error, Name, Result, Timestamp};
use holdfast_ledger::row::LocationRow;
use std::{
    collections::BTreeMap,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

const INTERVAL: Duration = Duration::from_secs(30);
/// What was not seen is looked at again so soon.
const AGAIN: Duration = Duration::from_secs(5);
/// So long one may take to show itself.
const PATIENCE: Duration = Duration::from_secs(10);
/// One that was not seen so often in a row is told of: a line breaks for a moment.
const TIMES: u32 = 2;

/// A location that could not be seen.
#[derive(Clone, Debug)]
pub(crate) struct Doubt {
    pub(crate) error: Error,
    pub(crate) since: Timestamp,
    times: u32,
}

/// Looks for as long as the process runs.
pub(crate) async fn watch(house: Arc<House>, shutdown: CancellationToken) -> Result<()> {
    loop {
        look_at_all(&house).await?;
        let pause = if house.places.doubts().is_empty() { INTERVAL } else { AGAIN };
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn look_at_all(house: &House) -> Result<()> {
    let rows = relied_on(house)?;
    join_all(rows.values().map(|row| look(house, row))).await;
    house.places.doubts().retain(|name, _| rows.contains_key(name));
    Ok(())
}

/// Locations that are in use, required, and were seen to lack nothing.
fn relied_on(house: &House) -> Result<BTreeMap<Name, LocationRow>> {
    let (query, mut found) = (house.ledger.query(), BTreeMap::new());
    for vault in query.vaults()? {
        for name in &vault.required {
            let is_filled = query.copies_in(&vault.id, name)?.is_some();
            let row = house.places.row(name).ok().filter(|row| row.disabled.is_none());
            found.extend(row.filter(|_| !is_filled).map(|row| (name.clone(), row)));
        }
    }
    Ok(found)
}

async fn look(house: &House, row: &LocationRow) {
    let looked = tokio::time::timeout(PATIENCE, house.places.look(row)).await;
    let error = match looked {
        Ok(Ok(_)) => return drop(house.places.doubts().remove(&row.name)),
        Ok(Err(error)) => error,
        Err(_) => Error::new(Code::LocationIoFailed, "it does not answer"),
    };
    tracing::warn!(location = %row.name, %error, "a required location cannot be seen");
    house.places.distrust(&row.name);
    house.places.note_doubt(&row.name, error, house.ledger.now());
}

impl Places {
    fn doubts(&self) -> MutexGuard<'_, BTreeMap<Name, Doubt>> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_doubt(&self, name: &Name, error: Error, now: Timestamp) {
        let mut doubts = self.doubts();
        let doubt = doubts.entry(name.clone());
        let doubt = doubt.or_insert_with(|| Doubt { error: error.clone(), since: now, times: 0 });
        (doubt.error, doubt.times) = (error, doubt.times + 1);
    }

    /// Required locations that this member cannot see, by more than a blink.
    pub(crate) fn unseen(&self) -> Vec<(Name, Doubt)> {
        let doubts = self.doubts();
        let told = doubts.iter().filter(|(_, doubt)| doubt.times >= TIMES);
        told.map(|(name, doubt)| (name.clone(), doubt.clone())).collect()
    }
}
