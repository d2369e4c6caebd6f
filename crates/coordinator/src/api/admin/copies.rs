//! Locations that are brought what they lack, as people see them: how far each is, which of them
//! somebody should look at, and one that lost everything.

use super::locations::unfinished;
use crate::{house::House, places::Place, vaults};
use holdfast_common::{Code, Error, Name, Result, limits};
use holdfast_ledger::{
    Actor,
    command::RebuildLocation,
    row::{CopyRow, CopyState, LocationRow, VaultRow},
};
use holdfast_storage::{LocationUrl, url};
use holdfast_wire::{parse, v1};

/// How far a location is, for each vault that it may lack something of.
pub(super) fn of(
    house: &House,
    location: &LocationRow,
    vaults: &[VaultRow],
) -> Result<Vec<v1::CopyStatus>> {
    let mut found = Vec::new();
    for vault in vaults {
        if let Some(row) = house.ledger.query().copies_in(&vault.id, &location.name)? {
            found.push(shown(house, vault, newest(house, row)));
        }
    }
    Ok(found)
}

/// The member that leads knows it a moment earlier than the ledger.
fn newest(house: &House, row: CopyRow) -> CopyRow {
    if house.ledger.leads() { house.copies.newest(row) } else { row }
}

fn shown(house: &House, vault: &VaultRow, row: CopyRow) -> v1::CopyStatus {
    let lag = row.lag(house.ledger.now()).unwrap_or_default();
    let problem = row.problem.unwrap_or_else(|| holdfast_ledger::row::CopyProblem {
        code: String::new(),
        message: String::new(),
    });
    v1::CopyStatus {
        vault: vault.name.to_string(),
        role: role(vault, &row.location).to_owned(),
        state: row.state.name().to_owned(),
        since_ns: row.since.as_nanos(),
        whole_ns: row.whole.map(|whole| whole.as_nanos()),
        lag_ms: u64::try_from(lag.as_millis()).unwrap_or(u64::MAX),
        points: row.points,
        bytes: row.bytes,
        code: problem.code,
        message: problem.message,
    }
}

fn role(vault: &VaultRow, location: &Name) -> &'static str {
    if vault.required.contains(location) {
        "required"
    } else if vault.returning().contains(location) {
        "returns"
    } else {
        "follows"
    }
}

/// Locations that lack what they should have by now.
pub(super) fn alarms(house: &House) -> Result<Vec<v1::Alarm>> {
    let (query, mut alarms) = (house.ledger.query(), Vec::new());
    for row in query.copies()? {
        let (vault, row) = (query.vault(&row.vault)?, newest(house, row));
        alarms.extend(alarm(house, &vault, &row));
    }
    Ok(alarms)
}

fn alarm(house: &House, vault: &VaultRow, row: &CopyRow) -> Option<v1::Alarm> {
    let (location, name) = (&row.location, &vault.name);
    let is_late = || {
        let lag = row.lag(house.ledger.now()).unwrap_or_default();
        lag.as_secs() > limits::COPIES_LAG_SECS_MAX
    };
    let (code, said) = match (role(vault, location), row.state) {
        ("returns", _) => (
            Code::LocationPassedOver,
            format!("{name}: goes on without `{location}` until it lacks nothing"),
        ),
        ("required", _) if row.taken.is_some() => (
            Code::LocationBehind,
            format!("{name}: `{location}` stands in for lost locations, and lacks what is there"),
        ),
        ("required", _) => {
            (Code::LocationBehind, format!("{name}: `{location}` is brought what it lacks"))
        }
        (_, CopyState::Away) => (Code::LocationBehind, format!("{name}: `{location}` is away")),
        _ if is_late() => (
            Code::LocationBehind,
            format!("{name}: {} points do not lie in `{location}` yet", row.points),
        ),
        _ => return None,
    };
    let next = match &row.problem {
        Some(problem) => format!("{}: see `holdfast location list`", problem.code),
        None => "holdfast location list".to_owned(),
    };
    let since = row.oldest.unwrap_or(row.since);
    Some(v1::Alarm {
        code: code.name().to_owned(),
        subject: said,
        since_ns: Some(since.as_nanos()),
        next,
    })
}

/// A location lost what it held: its vaults' own objects are put there again, and it is filled.
pub(super) async fn rebuild(
    house: &House,
    actor: Actor,
    request: v1::RebuildLocationRequest,
) -> Result<v1::RebuildLocationResponse> {
    let location = parse::name(&request.name)?;
    house.ledger.catch_up().await?;
    let row = house.places.row(&location)?;
    if row.disabled.is_some() {
        let message = format!("the location `{location}` is disabled");
        return Err(Error::new(Code::LocationDisabled, message)
            .next(format!("holdfast location enable {location}")));
    }
    let url = LocationUrl::resolve(&row.url, &house.base)?;
    let holding = give_to_all(house, &location, &url).await?;
    house.places.close(&location);
    house.ledger.propose(actor, RebuildLocation { location }).await?;
    let vaults = holding.iter().map(|vault| vault.name.to_string()).collect();
    Ok(v1::RebuildLocationResponse { vaults })
}

/// An empty place gets the own object of each vault that the location holds, if another location
/// has what it is to be filled with.
pub(super) async fn give_to_all(
    house: &House,
    location: &Name,
    url: &LocationUrl,
) -> Result<Vec<VaultRow>> {
    let mut holding = house.ledger.query().vaults()?;
    holding.retain(|vault| vault.holding().any(|name| name == location));
    if holding.is_empty() {
        let message = format!("no vault lies in the location `{location}`");
        return Err(Error::new(Code::ResourceConflict, message));
    }
    for vault in &holding {
        insist_on_another(house, vault, location).await?;
    }
    let place = made(house, location, url).await?;
    for vault in &holding {
        vaults::give(house, vault, &place).await.map_err(|error| {
            unfinished(format!("{url} cannot be filled for `{location}`"), &error)
        })?;
    }
    Ok(holding)
}

/// Somewhere else has what is to be brought.
async fn insist_on_another(house: &House, vault: &VaultRow, location: &Name) -> Result<()> {
    let others = vault.holding().filter(|name| *name != location).cloned().collect();
    let (places, error) = house.places.open_of(vault, others).await;
    if !places.is_empty() {
        return Ok(());
    }
    let message = format!("no other location has what the vault `{}` holds", vault.name);
    let refused = Error::new(Code::LocationMissing, message)
        .next("mount it again, or `holdfast location replace` it by a copy");
    Err(match error {
        Some(error) => refused.cause(error),
        None => refused,
    })
}

async fn made(house: &House, location: &Name, url: &LocationUrl) -> Result<Place> {
    let url = url.clone();
    let make = move || {
        drop(url::create(&url)?);
        url::open(&url)
    };
    let store = house.tasks.run_blocking("location", make).await?;
    Ok((location.clone(), store))
}
