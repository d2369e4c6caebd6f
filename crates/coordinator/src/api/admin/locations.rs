//! Locations, looked after: tried, added, listed, disabled, enabled, replaced.
//!
//! The asked member does it all itself, since it is the one with the credentials. A location that
//! hangs holds up nobody: whatever is asked of one has a bound. One that comes back into use, or
//! lies elsewhere now, is brought what its vaults' other locations hold and it lacks.

use super::{
    checks, copies, locks, render,
    resources::{insist_on_settled, settled_location},
};
use crate::{
    fill,
    house::House,
    places::{self, Place, show},
    trial::{self, Trial},
};
use futures::future::join_all;
use holdfast_common::{Code, Error, Name, Result};
use holdfast_ledger::{
    Actor,
    command::{
        DisableLocation, EnableLocation, Note, NoteKind, Outcome, PutLocation, ReplaceLocation,
    },
    level::COPIES,
    row::{LocationRow, VaultRow},
};
use holdfast_storage::{
    LocationUrl,
    layers::{
        Operation,
        retry::{Retry, RetryOptions},
    },
    url,
};
use holdfast_wire::{parse, v1};
use std::{sync::Arc, time::Duration};

/// What a list waits for one location.
const LOOK_PATIENCE: Duration = Duration::from_secs(3);
/// What was agreed before is in the locations by then, or they are away.
const SHIP_PATIENCE: Duration = Duration::from_secs(30);
/// What a place that is left is given to show itself.
const LEFT_PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn test(
    house: &House,
    actor: Actor,
    request: v1::TestLocationRequest,
) -> Result<v1::TestLocationResponse> {
    let (name, text) = match (&*request.name, &*request.url) {
        (name, "") => {
            house.ledger.catch_up().await?;
            let row = house.places.row(&parse::name(name)?)?;
            (row.name.to_string(), row.url)
        }
        ("", text) => (String::new(), parse::text("the url", text.to_owned())?),
        _ => return Err(Error::new(Code::UsageMalformed, "either a name or a URL is tested")),
    };
    let url = LocationUrl::resolve(&text, &house.base)?;
    let trial = try_out(house, actor, &url).await?;
    Ok(v1::TestLocationResponse { trial: Some(render::trial(name, &url, &trial)) })
}

/// Goes there with what this host is known by: whoever has it do so is noted first.
async fn try_out(house: &House, actor: Actor, url: &LocationUrl) -> Result<Trial> {
    let note = Note { kind: NoteKind::LocationTested, subject: url.to_string() };
    house.ledger.propose(actor, note).await?;
    Ok(trial::attempt(url, house.clock.as_ref(), &house.tasks).await)
}

pub(super) async fn add(
    house: &House,
    actor: Actor,
    request: v1::AddLocationRequest,
) -> Result<v1::AddLocationResponse> {
    let name = parse::name(&request.name)?;
    let region = match request.region.is_empty() {
        true => house.region.to_string(),
        false => request.region,
    };
    house.ledger.catch_up().await?;
    if house.places.row(&name).is_ok() {
        let message = format!("there is a location `{name}` already");
        return Err(Error::new(Code::ResourceConflict, message)
            .next("choose another name; if it moved: `holdfast location replace`"));
    }
    let spec = v1::LocationSpec { url: request.url, region };
    let location = settled_location(house, name.clone(), &spec).await?;
    let (text, base) = (location.url.clone(), house.base.clone());
    house.tasks.run_blocking("location", move || places::make(&text, &base).map(drop)).await?;
    let url = LocationUrl::resolve(&location.url, &house.base)?;
    let mut tried = None;
    if !request.untested {
        let trial = try_out(house, actor.clone(), &url).await?;
        trial.insist_on_usable(&name)?;
        tried = Some(render::trial(name.to_string(), &url, &trial));
    }
    let (url, region) = (location.url.clone(), location.region.to_string());
    house.ledger.propose(actor, PutLocation { location }).await?;
    Ok(v1::AddLocationResponse { url, region, trial: tried })
}

pub(super) async fn list(house: &House) -> Result<v1::ListLocationsResponse> {
    house.ledger.catch_up().await?;
    let (rows, vaults) = (house.ledger.query().locations()?, house.ledger.query().vaults()?);
    let looks = rows.iter().map(|row| status(house, row, &vaults));
    Ok(v1::ListLocationsResponse { locations: join_all(looks).await })
}

async fn status(house: &House, row: &LocationRow, vaults: &[VaultRow]) -> v1::LocationStatus {
    let seen = match row.disabled {
        None => Some(look(house, row).await),
        Some(_) => None,
    };
    let counts = house.places.counted(row);
    let figures = counts.snapshot();
    let last_error = counts.newest_error().map(|(error, since)| v1::LocationError {
        code: error.code.name().to_owned(),
        message: error.message,
        time_ns: house.clock.now().minus(since).as_nanos(),
    });
    let required = vaults.iter().filter(|vault| vault.required.contains(&row.name));
    v1::LocationStatus {
        name: row.name.to_string(),
        url: row.url.clone(),
        region: row.region.to_string(),
        state: if row.disabled.is_some() { "disabled" } else { "enabled" }.to_owned(),
        disabled_since_ns: row.disabled.map(|since| since.as_nanos()),
        required_by: required.map(|vault| vault.name.to_string()).collect(),
        free_bytes: seen.as_ref().and_then(|seen| seen.as_ref().ok().copied().flatten()),
        calls: figures.calls(),
        errors: figures.errors(),
        bytes_read: figures.of(Operation::Get).bytes,
        last_error,
        answers: seen.map(|seen| seen.is_ok()),
        copies: copies::of(house, row, vaults).unwrap_or_default(),
        locks: locks::of(house, row, vaults).unwrap_or_default(),
        checks: checks::of(house, row, vaults).unwrap_or_default(),
    }
}

/// Whether it answers now, and what room is left there.
async fn look(house: &House, row: &LocationRow) -> Result<Option<u64>> {
    let looked = tokio::time::timeout(LOOK_PATIENCE, house.places.look(row)).await;
    let looked = looked.unwrap_or_else(|_| {
        let message = format!("it did not answer within {} s", LOOK_PATIENCE.as_secs());
        Err(Error::new(Code::LocationIoFailed, message))
    });
    looked.inspect_err(|error| house.places.counted(row).note_error(error))
}

pub(super) async fn disable(
    house: &House,
    actor: Actor,
    request: v1::DisableLocationRequest,
) -> Result<v1::DisableLocationResponse> {
    let location = parse::name(&request.name)?;
    let outcome = house.ledger.propose(actor, DisableLocation { location }).await?;
    Ok(v1::DisableLocationResponse { changed: outcome != Outcome::Unchanged })
}

pub(super) async fn enable(
    house: &House,
    actor: Actor,
    request: v1::EnableLocationRequest,
) -> Result<v1::EnableLocationResponse> {
    let location = parse::name(&request.name)?;
    house.ledger.catch_up().await?;
    let row = house.places.row(&location)?;
    let url = LocationUrl::resolve(&row.url, &house.base)?;
    let (to, _) = insist_on_vaults(house, &row.name, &url).await?;
    // Most of it before anything relies on it, and then what came meanwhile.
    let before = match row.disabled {
        Some(_) => bring(house, &to, None).await?,
        None => Brought::default(),
    };
    let outcome = house.ledger.propose(actor, EnableLocation { location }).await?;
    let after = bring_rest(house, &to, None).await.map_err(|error| {
        let message = format!("`{}` is in use again, and was not brought all it lacks", row.name);
        unfinished(message, &error).next(format!("holdfast location enable {}", row.name))
    })?;
    let Brought { objects, bytes } = before.and(&after);
    Ok(v1::EnableLocationResponse { changed: outcome != Outcome::Unchanged, objects, bytes })
}

pub(super) async fn replace(
    house: &House,
    actor: Actor,
    request: v1::ReplaceLocationRequest,
) -> Result<v1::ReplaceLocationResponse> {
    let name = parse::name(&request.name)?;
    house.ledger.catch_up().await?;
    let old = house.places.row(&name)?;
    insist_on_settled(house, &name)?;
    let url = LocationUrl::resolve(&parse::text("the url", request.url)?, &house.base)?;
    house.places.insist_on_own_ground(&name, &url).await?;
    // Before anything is made in the new place.
    let left = match request.old_is_gone {
        true => insist_on_gone(house, &old, &url).await.map(|()| None)?,
        false => place_left(house, &old).await?,
    };
    if request.empty {
        copies::give_to_all(house, &name, &url).await?;
    }
    let (to, vaults) = insist_on_vaults(house, &name, &url).await?;
    let trial = try_out(house, actor.clone(), &url).await?;
    trial.insist_on_usable(&name)?;
    let before = bring(house, &to, left.as_ref()).await?;
    let knows = house.ledger.query().level()? >= COPIES;
    let left_is_gone = (knows && request.old_is_gone).then_some(true);
    let replace = ReplaceLocation { location: name.clone(), url: url.to_string(), left_is_gone };
    house.ledger.propose(actor, replace).await?;
    let after = bring_rest(house, &to, left.as_ref()).await.map_err(|error| {
        let message = format!("`{name}` lies at {url} now, and was not brought all it lacks");
        unfinished(message, &error).next(format!("holdfast location enable {name}"))
    })?;
    let Brought { objects, bytes } = before.and(&after);
    Ok(v1::ReplaceLocationResponse {
        old_url: old.url,
        url: url.to_string(),
        vaults: vaults.iter().map(Name::to_string).collect(),
        objects,
        bytes,
        trial: Some(render::trial(name.to_string(), &url, &trial)),
    })
}

/// The place that is left, of a location that a vault lies in. One that cannot be read may have
/// what nobody else has: that it is gone is for a person to say.
async fn place_left(house: &House, old: &LocationRow) -> Result<Option<Place>> {
    let mut holding = house.ledger.query().vaults()?;
    holding.retain(|vault| vault.holding().any(|name| *name == old.name));
    if holding.is_empty() {
        return Ok(None);
    }
    let shown = async {
        let url = LocationUrl::resolve(&old.url, &house.base)?;
        let place = opened(house, &old.name, &url).await?;
        for vault in &holding {
            show(vault, &place).await?;
        }
        Ok(place)
    };
    let shown = tokio::time::timeout(LEFT_PATIENCE, shown).await.unwrap_or_else(|_| {
        let message = format!("it did not answer within {} s", LEFT_PATIENCE.as_secs());
        Err(Error::new(Code::LocationIoFailed, message))
    });
    shown.map(Some).map_err(|error| {
        let Error { code, .. } = places::absent(&old.name, error.clone());
        let message = format!("`{}` lies at {}, which cannot be read now", old.name, old.url);
        Error::new(code, message).cause(error).next(
            "bring it back, so that what only it has is brought from there; if it is gone for \
             good, say so with --old-is-gone: what no other location has is lost then",
        )
    })
}

/// What only a place has that is gone is lost: nobody gives up one that shows its vaults. The same
/// said again of the place where it lies by now changes nothing.
async fn insist_on_gone(house: &House, old: &LocationRow, url: &LocationUrl) -> Result<()> {
    if old.url == url.to_string() {
        return Ok(());
    }
    match place_left(house, old).await {
        Ok(Some(_)) => Err(readable(old)),
        _ => Ok(()),
    }
}

fn readable(old: &LocationRow) -> Error {
    let message = format!("`{}` lies at {}, which can be read", old.name, old.url);
    Error::new(Code::LocationPlaceReadable, message).next(
        "leave --old-is-gone out: what only it has is brought from there; if nothing of it shall \
         be read, unmount or move it first",
    )
}

/// What was changed stays so; what was to follow did not.
pub(super) fn unfinished(message: String, error: &Error) -> Error {
    Error { message, ..error.clone().cause(error) }
}

/// The place, and the vaults that require the location: it holds the own object of each.
async fn insist_on_vaults(
    house: &House,
    name: &Name,
    url: &LocationUrl,
) -> Result<(Place, Vec<Name>)> {
    let place = opened(house, name, url).await?;
    let mut shown = Vec::new();
    for vault in requiring(house, name)? {
        show(&vault, &place).await.map_err(|error| {
            let message = format!("{url} is not a place of the vault `{}`", vault.name);
            unfinished(message, &error)
        })?;
        shown.push(vault.name);
    }
    Ok((place, shown))
}

/// A line that breaks for a moment is no place that is gone.
async fn opened(house: &House, name: &Name, url: &LocationUrl) -> Result<Place> {
    let open = url.clone();
    let store = house.tasks.run_blocking("location", move || url::open(&open)).await?;
    let store = Retry::new(store, RetryOptions::default(), house.entropy.clone());
    Ok((name.clone(), Arc::new(store)))
}

fn requiring(house: &House, name: &Name) -> Result<Vec<VaultRow>> {
    let mut vaults = house.ledger.query().vaults()?;
    vaults.retain(|vault| vault.required.contains(name));
    Ok(vaults)
}

/// What a place was brought.
#[derive(Default)]
struct Brought {
    objects: u64,
    bytes: u64,
}

impl Brought {
    fn and(&self, more: &Self) -> Self {
        Self { objects: self.objects + more.objects, bytes: self.bytes + more.bytes }
    }
}

/// The same once more, when all that was agreed before has gone where it was to go by then.
async fn bring_rest(house: &House, to: &Place, left: Option<&Place>) -> Result<Brought> {
    let applied = house.ledger.state().applied;
    let shipped = tokio::time::timeout(SHIP_PATIENCE, house.shipped(applied)).await;
    if shipped.is_err() {
        let message = "the ledger's log is not in the locations yet";
        return Err(Error::new(Code::LocationIoFailed, message));
    }
    bring(house, to, left).await
}

/// Brings a place what the other locations of its vaults hold, and the place that is left.
async fn bring(house: &House, to: &Place, left: Option<&Place>) -> Result<Brought> {
    let mut brought = Brought::default();
    for vault in requiring(house, &to.0)? {
        let others: Vec<Name> =
            vault.required.iter().filter(|name| **name != to.0).cloned().collect();
        let others = VaultRow { required: others, ..vault.clone() };
        let mut from: Vec<Place> = left.cloned().into_iter().collect();
        if !others.required.is_empty() {
            from.extend(house.places.required(&house.places.in_use(&others)?).await?);
        }
        let following = vault.following().iter().filter(|name| **name != to.0);
        from.extend(house.places.open_of(&vault, following.cloned().collect()).await.0);
        // Where there is no other, nothing was stored while it was away.
        if from.is_empty() {
            continue;
        }
        let way = fill::Way::at_once(house, &from, to);
        let filled = fill::fill_shown(house, &vault, way, &|_| {}).await?;
        if let Some(first) = filled.lacks.first.first() {
            let message = format!("{} objects are whole in no location", filled.lacks.count);
            return Err(Error::new(Code::ObjectDamaged, format!("{message}, first {first}")));
        }
        brought = brought.and(&Brought { objects: filled.objects, bytes: filled.bytes });
    }
    Ok(brought)
}
