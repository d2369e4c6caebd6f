//! What is locked where, as people see it, and locks that are not what a vault wants.

use crate::house::House;
use holdfast_common::{Code, Result, Timestamp};
use holdfast_ledger::row::{LocationRow, LockRow, VaultRow};
use holdfast_wire::v1;
use std::time::Duration;

/// So long after its commit a point should be locked.
const LATE: Duration = Duration::from_secs(3600);
/// Points of other vaults among which the newest of one is looked for.
const LOOKED_AT: usize = 1000;

/// What is locked in a location, of each vault that wants it.
pub(super) fn of(
    house: &House,
    location: &LocationRow,
    vaults: &[VaultRow],
) -> Result<Vec<v1::LockStatus>> {
    let mut found = Vec::new();
    for vault in vaults {
        if let Some(row) = house.ledger.query().locks_in(&vault.id, &location.name)? {
            found.extend(shown(vault, row));
        }
    }
    Ok(found)
}

fn shown(vault: &VaultRow, row: LockRow) -> Option<v1::LockStatus> {
    let problem = row.problem.map(|problem| (problem.code, problem.message));
    let (code, message) = problem.unwrap_or_default();
    Some(v1::LockStatus {
        vault: vault.name.to_string(),
        class: vault.lock?.class.name().to_owned(),
        until_ns: row.until.map(Timestamp::as_nanos),
        covers_ns: row.covers.map(Timestamp::as_nanos),
        objects: row.objects,
        code,
        message,
    })
}

/// Vaults that want locks, and have them nowhere; and places whose locks come to their end.
pub(super) fn alarms(house: &House) -> Result<Vec<v1::Alarm>> {
    let (query, now, mut alarms) = (house.ledger.query(), house.ledger.now(), Vec::new());
    for vault in query.vaults()? {
        let Some(terms) = vault.lock else { continue };
        let mut rows = Vec::new();
        for name in vault.holding() {
            rows.extend(query.locks_in(&vault.id, name)?);
        }
        let before = now.minus(LATE);
        let newest = query
            .points(Some(before))
            .take(LOOKED_AT)
            .find(|point| point.as_ref().map_or(true, |point| point.vault == vault.id));
        let newest = newest.transpose()?.map(|point| point.committed);
        // A place that cannot lock is no worse than before where another one can.
        let is_held = |row: &LockRow| {
            let is_long = row.until.is_some_and(|until| until.since(now) > terms.half_life() / 2);
            is_long && newest.is_none_or(|newest| row.covers >= Some(newest))
        };
        if rows.iter().any(is_held) {
            continue;
        }
        let problem = rows.iter().find_map(|row| row.problem.as_ref());
        alarms.push(v1::Alarm {
            code: Code::LocationLockAbsent.name().to_owned(),
            subject: format!("{}: no location holds it locked as long as it should", vault.name),
            since_ns: rows.iter().map(|row| row.noted.as_nanos()).min(),
            next: match problem {
                Some(problem) => format!("{}: {}", problem.code, problem.message),
                None => "holdfast location list".to_owned(),
            },
        });
    }
    Ok(alarms)
}
