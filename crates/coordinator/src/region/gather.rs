//! What the lost side had shipped and this member had not heard: taken from the location.
//!
//! Whatever was reported committed lies in an extent of the log in every required location, so also
//! in this region's. A member that was behind when the line broke takes those entries as if their
//! leader had sent them, before it claims anything and once more after it: see `promote` for why
//! nothing that was acknowledged is missing then.

use crate::{house::House, places::Place, shipped::ship};
use holdfast_common::{Code, Error, Result, limits};
use holdfast_ledger::row::epoch::FIRST_EPOCH;
use holdfast_repository::layout::{self, Object};
use holdfast_storage::{ObjectPrefix, ObjectStore};
use std::{collections::BTreeSet, time::Duration};

/// How long the entries may take to be applied.
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes what lies in these locations; how many entries that were. What one of them cannot give may
/// lie in the next, and the error is told all the same.
pub(super) async fn gather(house: &House, places: &[Place]) -> Result<u64> {
    let before = house.ledger.state().applied;
    let mut failed = None;
    for place in places {
        if let Err(error) = take(house, place).await {
            tracing::warn!(%error, location = %place.0, "the log there is not all taken");
            failed.get_or_insert(error);
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(house.ledger.state().applied - before),
    }
}

async fn take(house: &House, (_, store): &Place) -> Result<()> {
    let log_key = house.keys()?.recovery.log_key();
    let row = house.ledger.query().epoch()?;
    let epoch = row.map_or(FIRST_EPOCH, |row| row.number);
    for from in beginnings(store.as_ref(), epoch, house.ledger.state().applied).await? {
        let applied = house.ledger.state().applied;
        let name = number(epoch).map(|epoch| layout::ObjectName::log(epoch, from))?;
        let extent = store.get(&name.as_str().parse()?, ship::EXTENT_OBJECT_BYTES_MAX).await?;
        if ship::reach_of(&extent, &house.cluster)? <= applied {
            continue;
        }
        if from > applied + 1 {
            let message = format!("the log at the location lacks entry {}", applied + 1);
            return Err(Error::new(Code::LogDamaged, message));
        }
        let entries = ship::opened(&log_key, &extent)?;
        let taken = house.ledger.take_shipped(&entries);
        tokio::time::timeout(PATIENCE, taken)
            .await
            .map_err(|_| Error::new(Code::ClusterBusy, "the log is not applied in time"))??;
    }
    Ok(())
}

/// Where the extents begin that may reach beyond `applied`, in order.
async fn beginnings(store: &dyn ObjectStore, epoch: u64, applied: u64) -> Result<BTreeSet<u64>> {
    let prefix: ObjectPrefix = format!("cluster/log/{epoch:010}-").parse()?;
    // An extent has a bounded number of entries: what begins long before ends before.
    let first = applied.saturating_sub(limits::EXTENT_ENTRIES_MAX);
    let mut after = Some(layout::ObjectName::log(number(epoch)?, first).as_str().parse()?);
    let mut found = BTreeSet::new();
    loop {
        let page = store.list(&prefix, after.as_ref(), limits::LIST_PAGE_ROWS).await?;
        let Some(last) = page.last() else { return Ok(found) };
        after = Some(last.name.clone());
        found.extend(page.iter().filter_map(|meta| {
            match layout::ObjectName::parse(meta.name.as_str()) {
                Ok(Object::Log { from, .. }) => Some(from),
                _ => None,
            }
        }));
    }
}

fn number(epoch: u64) -> Result<u32> {
    u32::try_from(epoch).map_err(|error| Error::new(Code::InternalBug, "an epoch").cause(error))
}
