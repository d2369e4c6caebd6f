//! Whether a required location still has the newest point that is said to lie there.
//!
//! One that came back older than it was shows its vault as before. Where the ledger's log lies the
//! next extent finds that out (`shipped/lasting`); of another vault nobody would learn before a
//! backup needs what is gone. Whoever leads looks: members may see other disks under one path.

use crate::{
    house::House,
    shipped::{
        lasting::{is_gone, note_doubt, opened_anew},
        ship,
    },
};
use holdfast_common::{Name, PointId, Result, VaultId};
use holdfast_ledger::{
    Query,
    row::{LocationRow, PointRow, VaultRow},
};
use holdfast_repository::layout::ObjectName;

/// Sees to it that a location that came back older is relied on no more.
pub(super) async fn look(house: &House, row: &LocationRow) -> Result<()> {
    if !house.ledger.leads() {
        return Ok(());
    }
    let log = ship::catalog_vault(house)?.id;
    let mut vaults = house.ledger.query().vaults()?;
    vaults.retain(|vault| vault.id != log && vault.required.contains(&row.name));
    for vault in vaults {
        let (ledger, of, at) = (house.ledger.clone(), vault.id, row.name.clone());
        let newest = move || newest_in(ledger.query(), &of, &at);
        if let Some(point) = house.tasks.run_blocking("points", newest).await? {
            insist_on_point(house, &vault, row, &point).await?;
        }
    }
    Ok(())
}

async fn insist_on_point(
    house: &House,
    vault: &VaultRow,
    row: &LocationRow,
    point: &PointId,
) -> Result<()> {
    let name = ObjectName::point(point).as_str().parse()?;
    let store = house.places.location(&row.name).await?;
    let again = opened_anew(house, vault, &row.name);
    if !is_gone(store.as_ref(), again, &name).await? {
        return Ok(());
    }
    // It may have been forgotten while it was looked for, or the location is filled by now.
    let query = house.ledger.query();
    let is_due = query.row(point.as_bytes())?.is_some_and(|point| lies_in(&point, &row.name));
    let copies = query.copies_in(&vault.id, &row.name)?;
    if is_due && !copies.is_some_and(|copies| copies.is_doubted()) {
        note_doubt(house, row.clone(), &name).await?;
    }
    Ok(())
}

/// The newest of a vault's points that is said to lie in a location.
fn newest_in(query: Query<'_>, vault: &VaultId, location: &Name) -> Result<Option<PointId>> {
    let mut newest: Option<PointRow> = None;
    for point in query.newest_points() {
        let point = point?;
        let is_newer = newest.as_ref().is_none_or(|known| known.committed < point.committed);
        if point.vault == *vault && lies_in(&point, location) && is_newer {
            newest = Some(point);
        }
    }
    Ok(newest.map(|point| point.id))
}

/// One that is lost lies nowhere.
fn lies_in(point: &PointRow, location: &Name) -> bool {
    point.lost.is_none() && point.locations.contains(location)
}
