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
    row::{CopyRow, LocationRow, PointRow, VaultRow},
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
    if is_due && is_news(copies.as_ref()) {
        note_doubt(house, row.clone(), &name).await?;
    }
    Ok(())
}

/// Whether a point that is missing says something new of the location. Where it was doubted once,
/// nothing that is said to lie there was seen there, until it lacks nothing.
fn is_news(copies: Option<&CopyRow>) -> bool {
    copies.is_none_or(|copies| copies.confirms() && !copies.is_doubted())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{VAULT, name};
    use holdfast_common::Timestamp;
    use holdfast_ledger::row::CopyState;

    #[test]
    fn one_that_stands_in_is_doubted_once_by_what_it_lacks() {
        let stands_in = CopyRow {
            vault: VAULT,
            location: name("far"),
            opened: 3,
            state: CopyState::Away,
            since: Timestamp::ZERO,
            whole: None,
            oldest: None,
            points: 1,
            bytes: 0,
            problem: None,
            left: None,
            anew: None,
            taken: Some(2),
            seen: Some(true),
        };
        assert!(is_news(None), "it lacks nothing");
        assert!(is_news(Some(&stands_in)));
        let doubted = CopyRow { anew: Some(true), ..stands_in.clone() };
        assert!(!is_news(Some(&doubted)), "nobody has said since that the point lies there");
        assert!(!is_news(Some(&CopyRow { seen: None, ..stands_in })), "it is looked through");
    }
}
