//! The keys that a coordinator holds, under the KEK on its disk and open in its memory.

pub(crate) mod change;
mod cleared;
pub(crate) mod copies;
pub(crate) mod custody;
pub(crate) mod destroy;
pub(crate) mod filling;
pub(crate) mod follow;
mod free;
pub(crate) mod kek;
pub(crate) mod loss;
pub(crate) mod lost;
pub(crate) mod needs;
pub(crate) mod opening;
pub(crate) mod rewrap;
pub(crate) mod rotate;
pub(crate) mod sealed;
pub(crate) mod secrets;
pub(crate) mod shred;
pub(crate) mod shut;
mod successors;

use crate::house::House;
use core::time::Duration;
use holdfast_common::{Code, Error, Result, Timestamp};
use holdfast_keyring::Kek;
use holdfast_ledger::{Query, row::VaultRow};
use std::sync::Arc;
use tokio::time::timeout;

/// What is free in a vault's locations, and what stands in its ledger.
pub(crate) struct Numbers {
    pub(crate) next_version: u32,
    /// Version, next version of a KEK, key object.
    pub(crate) versions: Vec<(u32, u32, Vec<u8>)>,
}

pub(crate) async fn free_numbers(house: &House, row: &VaultRow) -> Result<Numbers> {
    let places = &house.places;
    let next_version = free::free_version(places, row).await?;
    let older = house.ledger.query().key_versions(&row.id)?;
    let older = older.into_iter().map(|row| (row.version, Vec::from(row.key_object)));
    let newest = (row.key_version, Vec::from(row.key_object.clone()));
    let mut versions = Vec::new();
    for (version, object) in older.chain([newest]) {
        versions.push((version, free::free_kek_version(places, row, version).await?, object));
    }
    Ok(Numbers { next_version, versions })
}

/// When the newest version followed the one before, which may have been destroyed since.
pub(crate) fn made(query: &Query<'_>, row: &VaultRow) -> Result<Timestamp> {
    let older = query.key_versions(&row.id)?.into_iter().map(|row| row.retired);
    let gone = query.destroyed_keys(&row.id)?.into_iter().map(|row| row.retired);
    Ok(older.chain(gone).max().unwrap_or(row.created))
}

impl House {
    /// The KEK that everything is wrapped under; nothing new goes under one that was left behind.
    pub(crate) async fn kek(&self) -> Result<Arc<Kek>> {
        follow::take(self).await?;
        Ok(self.keys()?.custodian.kek())
    }

    /// What another member wrapped a moment ago opens here too, if its KEK is here.
    pub(crate) async fn catch_up_with_kek(&self) -> Result<()> {
        let Some(row) = follow::behind(self)? else { return Ok(()) };
        if let Some(refused) = self.keys()?.custodian.refused_lately(&row.id) {
            return Err(refused);
        }
        let late = |_| Error::new(Code::KekUnreachable, "the KEK in use does not come in time");
        timeout(PATIENCE, follow::take(self)).await.map_err(late)?
    }
}

/// Whoever begins a backup does not wait longer for the KEK's provider.
const PATIENCE: Duration = Duration::from_secs(5);
