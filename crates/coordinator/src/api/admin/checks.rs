//! What is read back of each location, as people see it: how old the oldest check is, how far the
//! pass is that goes on, and what was found and nobody could mend.

use crate::{house::House, scrub};
use holdfast_common::{Code, Result, limits};
use holdfast_ledger::{
    Query,
    row::{CheckPass, CheckRow, DamageRow, LocationRow, PointRow, VaultRow},
};
use holdfast_wire::v1;
use std::collections::BTreeSet;

/// So many objects are told by their names; the rest by their number.
const TOLD_MAX: usize = 20;
/// So many points are named of one object.
const POINTS_TOLD: usize = 3;

/// One for each vault that lies in a location.
pub(super) fn of(
    house: &House,
    location: &LocationRow,
    vaults: &[VaultRow],
) -> Result<Vec<v1::CheckStatus>> {
    let query = house.ledger.query();
    let mut found = Vec::new();
    for vault in vaults.iter().filter(|vault| vault.holding().any(|name| *name == location.name)) {
        let damage = query.damage(Some((&vault.id, &location.name)))?;
        let row = query.check_of(&vault.id, &location.name)?;
        let row = match house.ledger.leads() {
            true => row.map(|row| house.checks.newest(row)),
            false => row,
        };
        found.push(shown(vault, row, damage.len() as u64));
    }
    Ok(found)
}

fn shown(vault: &VaultRow, row: Option<CheckRow>, damage: u64) -> v1::CheckStatus {
    let pass = row.as_ref().and_then(|row| row.pass);
    let last = row.as_ref().and_then(|row| row.last);
    let cursor = row.as_ref().and_then(|row| row.cursor.as_deref());
    let state = match (vault.check_bytes_per_day(), pass) {
        (0, _) => "off",
        (_, Some(_)) => "reading",
        (_, None) => "resting",
    };
    v1::CheckStatus {
        vault: vault.name.to_string(),
        state: state.to_owned(),
        bytes_per_day: vault.check_bytes_per_day(),
        oldest_ns: row.as_ref().and_then(CheckRow::oldest).map(|at| at.as_nanos()),
        since_ns: row.as_ref().map(|row| row.since.as_nanos()),
        thousandths: pass.and(cursor).map_or(0, scrub::thousandths),
        pass: pass.map(pass_shown),
        last: last.map(pass_shown),
        damage,
    }
}

fn pass_shown(pass: CheckPass) -> v1::CheckPass {
    v1::CheckPass {
        began_ns: pass.began.as_nanos(),
        ended_ns: pass.ended.map(|ended| ended.as_nanos()),
        objects: pass.objects,
        bytes: pass.bytes,
        damaged: pass.damaged,
        healed: pass.healed,
    }
}

/// What is damaged and was not mended.
pub(super) fn alarms(house: &House) -> Result<Vec<v1::Alarm>> {
    let query = house.ledger.query();
    let damage = query.damage(None)?;
    let mut alarms = Vec::new();
    for row in damage.iter().take(TOLD_MAX) {
        alarms.push(alarm(query, row)?);
    }
    if damage.len() > TOLD_MAX {
        alarms.push(v1::Alarm {
            code: Code::ObjectDamaged.name().to_owned(),
            subject: format!("{} more objects are damaged", damage.len() - TOLD_MAX),
            since_ns: None,
            next: "holdfast verify --all --level storage".to_owned(),
        });
    }
    Ok(alarms)
}

fn alarm(query: Query<'_>, row: &DamageRow) -> Result<v1::Alarm> {
    let vault = query.vault(&row.vault)?.name;
    let (mut sources, mut named) = (BTreeSet::new(), Vec::new());
    for id in &row.points {
        let Some(point) = query.row::<PointRow>(id.as_bytes())? else { continue };
        let agent = query.agent(&point.agent).map(|agent| agent.name.to_string());
        let agent = agent.unwrap_or_default();
        sources.insert(match &point.policy {
            Some(policy) => format!("{policy} ({} on {agent})", point.source),
            None => format!("{} on {agent}", point.source),
        });
        named.push(point.id.to_string());
    }
    let hit = match row.points_count {
        0 => String::new(),
        limits::DAMAGE_POINTS_MANY if named.is_empty() => "; many points may need it".to_owned(),
        count => {
            let sources = sources.into_iter().collect::<Vec<_>>().join(", ");
            let more = if count as usize > POINTS_TOLD { ", …" } else { "" };
            let ids = named.iter().take(POINTS_TOLD).cloned().collect::<Vec<_>>().join(", ");
            let many = count == limits::DAMAGE_POINTS_MANY;
            let count = if many { "many".to_owned() } else { count.to_string() };
            format!("; {count} points need it ({ids}{more}) of {sources}")
        }
    };
    let code = match row.problem.as_str() {
        "missing" => Code::ObjectMissing,
        _ => Code::ObjectDamaged,
    };
    let next = match named.first() {
        Some(point) => format!("holdfast verify {point} names the paths"),
        None => "holdfast verify --all --level storage".to_owned(),
    };
    Ok(v1::Alarm {
        code: code.name().to_owned(),
        subject: format!("{vault}: {} in `{}`: {}{hit}", row.object, row.location, row.problem),
        since_ns: Some(row.since.as_nanos()),
        next,
    })
}
