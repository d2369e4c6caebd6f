//! Destroying a version of a vault's keys, as people see it: who asks, who agrees, what is left.

use crate::{
    house::House,
    keys::destroy::{self, Asked},
};
use bytes::Bytes;
use holdfast_common::{RequestId, Result};
use holdfast_ledger::{
    Actor,
    row::{DestroyRequestRow, DestroyedKeyRow, LocationRow, ShreddedRow, VaultRow},
};
use holdfast_wire::{parse, v1};
use std::sync::Arc;

pub(super) async fn ask(
    house: &Arc<House>,
    actor: Actor,
    request: &v1::AskDestroyRequest,
) -> Result<v1::AskDestroyResponse> {
    let asked = Asked {
        vault: request.vault.parse()?,
        version: request.version,
        lose_points: request.lose_points,
    };
    let row = destroy::ask(house, actor, &asked).await?;
    Ok(v1::AskDestroyResponse { request: Some(shown(house, &row)?) })
}

pub(super) async fn agree(
    house: &Arc<House>,
    actor: Actor,
    request: &v1::DestroyKeysRequest,
) -> Result<v1::DestroyKeysResponse> {
    let destroyed = destroy::agree(house, actor, &id(&request.id)?).await?;
    let vault = house.ledger.query().vault(&destroyed.vault)?.name.to_string();
    let DestroyedKeyRow { version, points, .. } = destroyed;
    Ok(v1::DestroyKeysResponse { vault, version, points })
}

pub(super) async fn withdraw(
    house: &House,
    actor: Actor,
    request: &v1::WithdrawDestroyRequest,
) -> Result<v1::WithdrawDestroyResponse> {
    destroy::withdraw(house, actor, id(&request.id)?).await?;
    Ok(v1::WithdrawDestroyResponse {})
}

fn id(bytes: &[u8]) -> Result<RequestId> {
    parse::array("the id of the request", bytes).map(RequestId::from_bytes)
}

/// What waits for a second person.
pub(super) fn requests(house: &House) -> Result<Vec<v1::DestroyRequest>> {
    let now = house.ledger.now();
    let mut rows = house.ledger.query().destroy_requests()?;
    rows.retain(|row| row.is_in_force(now));
    rows.sort_by_key(|row| row.asked);
    rows.iter().map(|row| shown(house, row)).collect()
}

fn shown(house: &House, row: &DestroyRequestRow) -> Result<v1::DestroyRequest> {
    Ok(v1::DestroyRequest {
        id: Bytes::copy_from_slice(row.id.as_bytes()),
        vault: house.ledger.query().vault(&row.vault)?.name.to_string(),
        version: row.version,
        asked_by: row.by.to_string(),
        asked_ns: row.asked.as_nanos(),
        ends_ns: row.ends().as_nanos(),
        points: row.points.len() as u64,
    })
}

/// What is left of the vault's versions that were destroyed, and where.
pub(super) fn destroyed(house: &House, vault: &VaultRow) -> Result<Vec<v1::DestroyedKey>> {
    let rows = house.ledger.query().destroyed_keys(&vault.id)?;
    rows.iter().map(|row| key(house, vault, row)).collect()
}

fn key(house: &House, vault: &VaultRow, row: &DestroyedKeyRow) -> Result<v1::DestroyedKey> {
    let query = house.ledger.query();
    let seen = query.shredded(&vault.id, row.version)?;
    let locations = query.locations()?;
    let is_asked = |location: &&LocationRow| {
        vault.holding().any(|name| *name == location.name)
            || seen.iter().any(|seen| seen.location == location.name)
    };
    let places = locations.iter().filter(is_asked).map(|location| place(location, &seen));
    Ok(v1::DestroyedKey {
        version: row.version,
        destroyed_ns: row.destroyed.as_nanos(),
        asked_by: row.asked_by.to_string(),
        agreed_by: row.agreed_by.to_string(),
        points: row.points,
        places: places.collect(),
    })
}

/// What was seen where the location was before it moved says nothing of it.
fn place(location: &LocationRow, seen: &[ShreddedRow]) -> v1::ShreddedPlace {
    let is_of = |seen: &&ShreddedRow| {
        (&seen.location, seen.revision) == (&location.name, location.revision)
    };
    let row = seen.iter().find(is_of);
    let problem = row.and_then(|row| row.problem.as_ref());
    v1::ShreddedPlace {
        location: location.name.to_string(),
        gone_ns: row.and_then(|row| row.gone).map(|gone| gone.as_nanos()),
        code: problem.map(|problem| problem.code.clone()).unwrap_or_default(),
        message: problem.map(|problem| problem.message.clone()).unwrap_or_default(),
    }
}
