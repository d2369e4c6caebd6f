//! Destroying a version of a vault's keys, as people see it: who asks, who agrees, what is left.

use crate::{
    house::House,
    keys::destroy::{self, Asked},
};
use bytes::Bytes;
use holdfast_common::{Code, RequestId, Result, Timestamp};
use holdfast_ledger::{
    Actor,
    row::{BundleRow, DestroyRequestRow, DestroyedKeyRow, LocationRow, ShreddedRow, VaultRow},
};
use holdfast_wire::{parse, v1};
use std::{sync::Arc, time::Duration};

/// So long after a version was destroyed its objects should be gone.
const LATE: Duration = Duration::from_secs(24 * 3600);

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
    let opens = |bundle: &&BundleRow| {
        let holds = |key: &holdfast_ledger::row::BundledKey| {
            key.vault == vault.id && key.version >= row.version
        };
        bundle.exported <= row.destroyed && bundle.keys.iter().any(holds)
    };
    let bundles = house.ledger.query().bundles()?;
    Ok(v1::DestroyedKey {
        version: row.version,
        destroyed_ns: row.destroyed.as_nanos(),
        asked_by: row.asked_by.to_string(),
        agreed_by: row.agreed_by.to_string(),
        points: row.points,
        places: places(house, vault, row)?,
        bundles: bundles.iter().filter(opens).map(super::keys::bundle).collect(),
    })
}

/// Wherever its objects lay, or may lie.
fn places(
    house: &House,
    vault: &VaultRow,
    row: &DestroyedKeyRow,
) -> Result<Vec<v1::ShreddedPlace>> {
    let query = house.ledger.query();
    let seen = query.shredded(&vault.id, row.version)?;
    let is_asked = |location: &&LocationRow| {
        vault.holding().any(|name| *name == location.name)
            || seen.iter().any(|seen| seen.location == location.name)
    };
    let locations = query.locations()?;
    Ok(locations.iter().filter(is_asked).map(|location| place(location, &seen)).collect())
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

/// What waits for a second person, and what was destroyed and is on its way out of the locations.
pub(super) fn notes(house: &House) -> Result<Vec<v1::Alarm>> {
    let now = house.ledger.now();
    let mut notes: Vec<v1::Alarm> = requests(house)?.iter().map(asked).collect();
    for (vault, row, place) in left(house)? {
        if !is_late(&row, &place, now) {
            notes.push(clearing(&vault, &row, &place));
        }
    }
    Ok(notes)
}

/// What was destroyed, and does not leave the locations.
pub(super) fn alarms(house: &House) -> Result<Vec<v1::Alarm>> {
    let now = house.ledger.now();
    let late = left(house)?.into_iter().filter(|(_, row, place)| is_late(row, place, now));
    Ok(late.map(|(vault, row, place)| clearing(&vault, &row, &place)).collect())
}

/// Places in which objects of a destroyed version were not seen gone.
fn left(house: &House) -> Result<Vec<(VaultRow, DestroyedKeyRow, v1::ShreddedPlace)>> {
    let mut left = Vec::new();
    for vault in house.ledger.query().vaults()? {
        for row in house.ledger.query().destroyed_keys(&vault.id)? {
            let places = places(house, &vault, &row)?.into_iter();
            let lies_there = places.filter(|place| place.gone_ns.is_none());
            left.extend(lies_there.map(|place| (vault.clone(), row.clone(), place)));
        }
    }
    Ok(left)
}

/// A lock is meant to last; whatever else keeps it is somebody's to see to.
fn is_late(row: &DestroyedKeyRow, place: &v1::ShreddedPlace, now: Timestamp) -> bool {
    place.code != Code::ObjectLocked.name() && row.destroyed.plus(LATE) <= now
}

fn asked(request: &v1::DestroyRequest) -> v1::Alarm {
    let v1::DestroyRequest { vault, version, asked_by, ends_ns, .. } = request;
    let id = id(&request.id).map(|id| id.to_string()).unwrap_or_default();
    let ends = Timestamp::from_nanos(*ends_ns);
    v1::Alarm {
        code: "key.destroy_asked".to_owned(),
        subject: format!(
            "{vault}: `{asked_by}` asks to destroy version {version} of its keys; until {ends}"
        ),
        since_ns: Some(request.asked_ns),
        next: format!(
            "agree: holdfast keys destroy {version} --vault {vault} --approve {id}; or not: \
             holdfast keys destroy --withdraw {id}"
        ),
    }
}

fn clearing(vault: &VaultRow, row: &DestroyedKeyRow, place: &v1::ShreddedPlace) -> v1::Alarm {
    let (name, version, location) = (&vault.name, row.version, &place.location);
    let why = match place.message.is_empty() {
        true => "not looked there yet".to_owned(),
        false => format!("{}: {}", place.code, place.message),
    };
    v1::Alarm {
        code: "key.destroy_unfinished".to_owned(),
        subject: format!(
            "{name}: objects of version {version} of its keys, which was destroyed, may lie in \
             `{location}`: {why}"
        ),
        since_ns: Some(row.destroyed.as_nanos()),
        next: "see to the location; it is tried again by itself: holdfast keys list".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{VAULT, name};

    #[test]
    fn what_does_not_leave_a_location_within_a_day_is_an_alarm_unless_it_is_locked() {
        let destroyed = Timestamp::from_nanos(1_800_000_000_000_000_000);
        let row = DestroyedKeyRow {
            vault: VAULT,
            version: 1,
            remains: vec![1].into(),
            made: Timestamp::ZERO,
            retired: Timestamp::ZERO,
            destroyed,
            asked_by: name("alice"),
            agreed_by: name("bob"),
            points: 0,
            closed_at: None,
            at: 1,
        };
        let place = |code: Code| v1::ShreddedPlace {
            code: code.name().to_owned(),
            ..v1::ShreddedPlace::default()
        };
        let silent = v1::ShreddedPlace::default();
        let later = |hours: u64| destroyed.plus(Duration::from_secs(hours * 3600));
        assert!(!is_late(&row, &place(Code::LocationIoFailed), later(23)));
        assert!(is_late(&row, &place(Code::LocationIoFailed), later(24)));
        assert!(is_late(&row, &silent, later(24)), "nobody looked");
        assert!(!is_late(&row, &place(Code::ObjectLocked), later(24)));
    }
}
