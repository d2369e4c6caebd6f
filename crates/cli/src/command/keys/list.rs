//! `holdfast keys list`: every version of each vault's keys, the KEKs that wrap them, and the
//! bundles that open them without one.

use super::destroy;
use crate::{
    client::Admin,
    demand::Demand,
    output::{
        figures::{self, json_time},
        table::Table,
    },
};
use holdfast_common::{Result, Timestamp};
use holdfast_wire::v1;
use serde_json::{Value, json};

pub(super) async fn list(demand: &Demand<'_>) -> Result<()> {
    let client = demand.client().await?;
    let ask = async |mut admin: Admin, question| admin.list_keys(question).await;
    let found = client.ask(v1::ListKeysRequest {}, ask).await?;
    demand.output.answer(|| told(&found), || text(&found))
}

fn told(found: &v1::ListKeysResponse) -> Value {
    json!({
        "keys": found.vaults.iter().map(vault).collect::<Vec<_>>(),
        "keks": found.keks.iter().map(|kek| json!({
            "id": hex::encode(&kek.id),
            "source": kek.source,
            "state": kek.state,
            "since": json_time(Some(kek.since_ns)),
            "until": json_time(kek.until_ns),
            "sealed_by": kek.sealed_by.as_ref().map(json_key),
        })).collect::<Vec<_>>(),
        "bundles": found.bundles.iter().map(|bundle| json!({
            "hash": hex::encode(&bundle.hash),
            "exported": json_time(Some(bundle.exported_ns)),
            "verified": json_time(bundle.verified_ns),
            "opens_all": opens_all(bundle, &found.vaults),
        })).collect::<Vec<_>>(),
        "requests": found.requests.iter().map(destroy::request).collect::<Vec<_>>(),
    })
}

pub(super) fn json_key(key: &v1::ProviderKey) -> Value {
    json!({ "provider": key.provider, "key": key.key, "version": key.version })
}

pub(super) fn text_key(key: &v1::ProviderKey) -> String {
    format!("{} version {}", key.key, key.version)
}

fn vault(vault: &v1::VaultKeysStatus) -> Value {
    let newest = vault.versions.last();
    json!({
        "vault": vault.name,
        "vault_id": hex::encode(&vault.id),
        "version": newest.map(|newest| newest.version),
        "custody": vault.custody,
        "versions": vault.versions.iter().map(|version| json!({
            "version": version.version,
            "made": json_time(Some(version.made_ns)),
            "retired": json_time(version.retired_ns),
            "kek": hex::encode(&version.kek_id),
            "kek_version": version.kek_version,
            "operator_kek": version.operator_kek_id.as_ref().map(hex::encode),
            "state": version.state,
            "closed": json_time(version.closed_ns),
            "packs": version.packs,
            "bytes": version.bytes,
            "points": version.points,
        })).collect::<Vec<_>>(),
        "packs_unknown": vault.packs_unknown,
        "points_unsure": vault.points_unsure,
        "destroyed": vault.destroyed.iter().map(destroyed).collect::<Vec<_>>(),
    })
}

fn destroyed(key: &v1::DestroyedKey) -> Value {
    json!({
        "version": key.version,
        "destroyed": json_time(Some(key.destroyed_ns)),
        "asked_by": key.asked_by,
        "agreed_by": key.agreed_by,
        "points_lost": key.points,
        "locations": key.places.iter().map(|place| json!({
            "location": place.location,
            "gone": json_time(place.gone_ns),
            "problem": (!place.code.is_empty()).then_some(&place.code),
            "message": (!place.message.is_empty()).then_some(&place.message),
        })).collect::<Vec<_>>(),
        "bundles": key.bundles.iter().map(|it| hex::encode(&it.hash)).collect::<Vec<_>>(),
    })
}

/// A bundle opens the version that it names and all before it.
fn opens_all(bundle: &v1::BundleStatus, vaults: &[v1::VaultKeysStatus]) -> bool {
    vaults.iter().all(|vault| {
        let newest = vault.versions.last().map(|newest| newest.version);
        bundle.keys.iter().any(|key| key.vault_id == vault.id && Some(key.version) == newest)
    })
}

fn text(found: &v1::ListKeysResponse) -> String {
    let mut keys = Table::new([
        "vault", ">version", "custody", "made", "state", ">packs", ">bytes", ">points", ">wrap",
        "kek",
    ]);
    for vault in &found.vaults {
        for version in &vault.versions {
            keys.row([
                vault.name.clone(),
                version.version.to_string(),
                vault.custody.clone(),
                time(version.made_ns),
                version.state.replace('_', " "),
                version.packs.map(|packs| packs.to_string()).unwrap_or_default(),
                version.bytes.map(figures::size).unwrap_or_default(),
                version.points.map(|points| points.to_string()).unwrap_or_default(),
                version.kek_version.to_string(),
                short(&version.kek_id),
            ]);
        }
    }
    let mut keks = Table::new(["kek", "state", "since", "until", "sealed by", "source"]);
    for kek in &found.keks {
        let until = kek.until_ns.map(time).unwrap_or_default();
        keks.row([
            short(&kek.id),
            kek.state.clone(),
            time(kek.since_ns),
            until,
            kek.sealed_by.as_ref().map(text_key).unwrap_or_default(),
            kek.source.clone(),
        ]);
    }
    let mut bundles = Table::new(["bundle", "made", "proved", "opens"]);
    for bundle in &found.bundles {
        let proved = bundle.verified_ns.map_or_else(|| "never".to_owned(), time);
        let opens = if opens_all(bundle, &found.vaults) { "every version" } else { "older ones" };
        bundles.row([short(&bundle.hash), time(bundle.exported_ns), proved, opens.to_owned()]);
    }
    let bundles = match found.bundles.is_empty() {
        true => "no bundle was made: holdfast keys export --to FILE".to_owned(),
        false => bundles.render(),
    };
    let shown =
        [Some(keys.render()), Some(keks.render()), Some(bundles), gone(found), asked(found)];
    shown.into_iter().flatten().collect::<Vec<_>>().join("\n\n")
}

/// What was destroyed, and where something of it may lie still.
fn gone(found: &v1::ListKeysResponse) -> Option<String> {
    let columns = ["vault", ">version", "destroyed", "asked", "agreed", ">bundles", "objects"];
    let (mut table, mut is_empty) = (Table::new(columns), true);
    for vault in &found.vaults {
        for key in &vault.destroyed {
            is_empty = false;
            table.row([
                vault.name.clone(),
                key.version.to_string(),
                time(key.destroyed_ns),
                key.asked_by.clone(),
                key.agreed_by.clone(),
                key.bundles.len().to_string(),
                left(&key.places),
            ]);
        }
    }
    (!is_empty).then(|| table.render())
}

fn left(places: &[v1::ShreddedPlace]) -> String {
    let told = |place: &v1::ShreddedPlace| {
        let v1::ShreddedPlace { location, message, .. } = place;
        match (place.gone_ns.is_some(), message.is_empty()) {
            (true, true) => None,
            (true, false) => Some(format!("{location}: gone, and not looked at again: {message}")),
            (false, true) => Some(format!("{location}: not looked yet")),
            (false, false) => Some(format!("{location}: {message}")),
        }
    };
    let left: Vec<_> = places.iter().filter_map(told).collect();
    if left.is_empty() { "gone".to_owned() } else { left.join("; ") }
}

/// What waits for a second person.
fn asked(found: &v1::ListKeysResponse) -> Option<String> {
    let mut table = Table::new(["to destroy", "vault", ">version", "asked by", "until", ">points"]);
    for asked in &found.requests {
        table.row([
            hex::encode(&asked.id),
            asked.vault.clone(),
            asked.version.to_string(),
            asked.asked_by.clone(),
            time(asked.ends_ns),
            asked.points.to_string(),
        ]);
    }
    (!found.requests.is_empty()).then(|| table.render())
}

fn time(ns: i64) -> String {
    figures::time(Timestamp::from_nanos(ns))
}

/// As much of an id as tells it from others.
fn short(id: &[u8]) -> String {
    hex::encode(&id[..id.len().min(8)])
}
