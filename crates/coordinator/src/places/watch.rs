//! Looks now and then whether the locations that vaults require are there, and still the vault's.
//!
//! Whoever puts something finds out; at rest nobody would, and a place that was emptied would look
//! well until the next backup, or until somebody has to restore. Every member looks for itself:
//! what one sees another may not, and `status` tells of it. What says no is opened anew for whoever
//! comes next; what says nothing is left open, since opened anew it would hold everybody up.
//!
//! Whoever leads sees besides whether the newest point is there (`older`).
//!
//! What follows, and what is brought what it lacks, is looked after by whoever copies.

use super::{Places, older};
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
/// The same to show what it has, and to be asked once more.
const NEWEST_PATIENCE: Duration = Duration::from_secs(20);
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
            let copies = query.copies_in(&vault.id, name)?;
            let is_filled = copies.is_some_and(|copies| copies.is_doubted());
            let row = house.places.row(name).ok().filter(|row| row.disabled.is_none());
            found.extend(row.filter(|_| !is_filled).map(|row| (name.clone(), row)));
        }
    }
    Ok(found)
}

async fn look(house: &House, row: &LocationRow) {
    let looked = tokio::time::timeout(PATIENCE, house.places.look(row)).await;
    let error = match looked {
        Ok(Ok(_)) => {
            house.places.silent.heard(&row.name);
            house.places.doubts().remove(&row.name);
            return look_for_newest(house, row).await;
        }
        Ok(Err(error)) => {
            if says_of_what_is_open(row, &error) {
                house.places.distrust(&row.name);
            }
            error
        }
        Err(_) => house.places.silent.note(&row.name),
    };
    tracing::warn!(location = %row.name, %error, "a required location cannot be seen");
    house.places.note_doubt(&row.name, error, house.ledger.now());
}

/// One that shows itself may have come back older than it was.
async fn look_for_newest(house: &House, row: &LocationRow) {
    let looked = tokio::time::timeout(NEWEST_PATIENCE, older::look(house, row)).await;
    if let Ok(Err(error)) = looked {
        tracing::debug!(location = %row.name, %error, "whether it is as it was is not known");
    }
}

/// Whether what is open may lead to something else than the location: a disk that is gone, or that
/// of another vault. A service that has no time is the one that it was.
fn says_of_what_is_open(row: &LocationRow, error: &Error) -> bool {
    error.code != Code::LocationIoFailed || row.url.starts_with("local:")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_has_no_time_is_proven_still_and_a_disk_that_fails_is_not() {
        let row = |url: &str| LocationRow {
            name: "far".parse().unwrap(),
            url: url.to_owned(),
            region: "here".parse().unwrap(),
            revision: 0,
            disabled: None,
        };
        let says = |url, code| says_of_what_is_open(&row(url), &Error::new(code, "no"));
        assert!(!says("s3:bucket/vault", Code::LocationIoFailed));
        assert!(says("s3:bucket/vault", Code::LocationEmpty));
        assert!(says("s3:bucket/vault", Code::VaultForeign));
        assert!(says("local:/mnt/far", Code::LocationIoFailed));
    }
}
