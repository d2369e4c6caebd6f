//! `apply`, `get`, `delete`: declared things, checked here as far as the ledger cannot.

use super::render;
use crate::{house::House, places, vaults};
use holdfast_common::{Code, Error, Name, Result};
use holdfast_ledger::{
    Actor,
    command::{DeleteResource, Outcome, PutClass, PutLocation, PutPolicy},
    row::LocationRow,
};
use holdfast_storage::LocationUrl;
use holdfast_wire::{
    parse,
    v1::{self, resource::Spec},
};
use std::collections::BTreeSet;

pub(super) async fn apply(
    house: &House,
    actor: Actor,
    request: v1::ApplyRequest,
) -> Result<v1::ApplyResponse> {
    let resource = parse::required("a resource", request.resource)?;
    let name = parse::name(&resource.name)?;
    let spec = parse::required("a spec", resource.spec)?;
    house.ledger.catch_up().await?;
    let before = current(house, kind_of(&spec), &name)?;
    if resource.revision != 0 && before.as_ref().map(|b| b.revision) != Some(resource.revision) {
        return Err(Error::new(
            Code::ResourceConflict,
            format!("`{name}` is not at revision {}", resource.revision),
        ));
    }
    if request.dry_run {
        if let Spec::Location(spec) = &spec {
            settled_location(house, name.clone(), spec).await?;
        }
        let wished = preview(&name, &spec)?;
        let same = before.as_ref().is_some_and(|b| same_spec(b, &wished));
        let result = result_of(before.is_some(), same);
        return Ok(v1::ApplyResponse { result: result.to_owned(), resource: Some(wished) });
    }
    let kind = kind_of(&spec);
    let outcome = match spec {
        Spec::Vault(spec) => {
            let settings = render::vault_settings(&spec)?;
            vaults::put(house, actor, name.clone(), settings).await?
        }
        Spec::Location(spec) => {
            let location = settled_location(house, name.clone(), &spec).await?;
            places::make(&location.url, &house.base)?;
            let is_moved = |old: &LocationRow| old.name == name && old.url != location.url;
            if house.ledger.query().locations()?.iter().any(is_moved) {
                insist_on_settled(house, &name)?;
            }
            house.ledger.propose(actor, PutLocation { location }).await?
        }
        Spec::Class(spec) => {
            let class = render::class_row(name.clone(), &spec);
            house.ledger.propose(actor, PutClass { class }).await?
        }
        Spec::Policy(spec) => {
            let policy = render::policy_row(name.clone(), &spec)?;
            house.ledger.propose(actor, PutPolicy { policy }).await?
        }
    };
    let result = result_of(before.is_some(), outcome == Outcome::Unchanged);
    let resource = current(house, kind, &name)?;
    Ok(v1::ApplyResponse { result: result.to_owned(), resource })
}

fn result_of(existed: bool, same: bool) -> &'static str {
    match (existed, same) {
        (false, _) => "created",
        (true, true) => "unchanged",
        (true, false) => "changed",
    }
}

fn kind_of(spec: &Spec) -> &'static str {
    match spec {
        Spec::Class(_) => "class",
        Spec::Vault(_) => "vault",
        Spec::Location(_) => "location",
        Spec::Policy(_) => "policy",
    }
}

pub(crate) fn preview(name: &Name, spec: &Spec) -> Result<v1::Resource> {
    match spec {
        Spec::Vault(spec) => {
            render::vault_settings(spec)?;
            Ok(v1::Resource {
                name: name.to_string(),
                revision: 0,
                spec: Some(Spec::Vault(spec.clone())),
            })
        }
        Spec::Location(spec) => Ok(render::location(&render::location_row(name.clone(), spec)?)),
        Spec::Class(spec) => Ok(render::class(&render::class_row(name.clone(), spec))),
        Spec::Policy(spec) => Ok(render::policy(&render::policy_row(name.clone(), spec)?)),
    }
}

/// The same but for what the server sets.
fn same_spec(a: &v1::Resource, b: &v1::Resource) -> bool {
    match (&a.spec, &b.spec) {
        (Some(Spec::Vault(a)), Some(Spec::Vault(b))) => declared(a) == declared(b),
        (a, b) => a == b,
    }
}

/// What is said of a vault's locations, and may change.
fn declared(vault: &v1::VaultSpec) -> impl PartialEq + use<> {
    let names = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
    let (required, following) = (names(&vault.required), names(&vault.following));
    let checks = (vault.check_bytes_per_day, vault.check_every_hours);
    let (waits, lock) = ((vault.enough, vault.wait_secs), vault.lock.clone());
    (required, following, waits, vault.copy_bytes_per_second_max, checks, lock)
}

/// A location under the one form of its URL, that is no other location's place.
pub(super) async fn settled_location(
    house: &House,
    name: Name,
    spec: &v1::LocationSpec,
) -> Result<LocationRow> {
    let row = render::location_row(name, spec)?;
    let url = LocationUrl::resolve(&row.url, &house.base)?;
    house.places.insist_on_own_ground(&row.name, &url).await?;
    let old = house.ledger.query().locations()?.into_iter().find(|old| old.name == row.name);
    // A ledger may hold another form of the same: that is no change.
    let same = old.map(|old| old.url).filter(|old| old.parse().is_ok_and(|old| url == old));
    Ok(LocationRow { url: same.unwrap_or_else(|| url.to_string()), ..row })
}

/// A location of a region that was given up is filled again or forgotten, and stays what it is
/// until then: nobody could end its waiting afterwards.
pub(super) fn insist_on_settled(house: &House, name: &Name) -> Result<()> {
    let suspended = house.ledger.query().epoch()?.map(|epoch| epoch.suspended).unwrap_or_default();
    if suspended.iter().all(|part| !part.locations.contains(name)) {
        return Ok(());
    }
    let region = house.ledger.query().locations()?.into_iter().find(|row| row.name == *name);
    let region = region.map_or_else(|| "REGION".to_owned(), |row| row.region.to_string());
    let message = format!("the location `{name}` waits for `{region}` to come back");
    Err(Error::new(Code::ResourceConflict, message).next(format!(
        "`holdfast region failback {region}` fills it; if it is gone: `holdfast region forget \
         {region}`"
    )))
}

pub(super) fn list(house: &House, request: &v1::ListRequest) -> Result<v1::ListResponse> {
    let resources = of_kind(house, &request.kind)?;
    if request.name.is_empty() {
        return Ok(v1::ListResponse { resources });
    }
    let found = resources.into_iter().find(|resource| resource.name == request.name);
    match found {
        Some(resource) => Ok(v1::ListResponse { resources: vec![resource] }),
        None => Err(Error::new(
            Code::ResourceMissing,
            format!("there is no {} `{}`", request.kind, request.name),
        )),
    }
}

fn of_kind(house: &House, kind: &str) -> Result<Vec<v1::Resource>> {
    let query = house.ledger.query();
    match kind {
        "class" => Ok(query.classes()?.iter().map(render::class).collect()),
        "vault" => Ok(query.vaults()?.iter().map(render::vault).collect()),
        "location" => Ok(query.locations()?.iter().map(render::location).collect()),
        "policy" => Ok(query.policies()?.iter().map(render::policy).collect()),
        other => Err(Error::new(Code::ResourceMalformed, format!("there is no kind `{other}`"))
            .next("the kinds are vault, location, class and policy")),
    }
}

fn current(house: &House, kind: &str, name: &Name) -> Result<Option<v1::Resource>> {
    Ok(of_kind(house, kind)?.into_iter().find(|resource| resource.name == name.as_str()))
}

pub(super) async fn delete(
    house: &House,
    actor: Actor,
    request: v1::DeleteRequest,
) -> Result<v1::DeleteResponse> {
    let command = DeleteResource { kind: request.kind, name: parse::name(&request.name)? };
    house.ledger.catch_up().await?;
    if command.kind == "location" {
        insist_on_settled(house, &command.name)?;
    }
    house.ledger.propose(actor, command).await?;
    Ok(v1::DeleteResponse {})
}
