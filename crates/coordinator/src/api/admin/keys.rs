//! Keys, as people see them: versions, KEKs, bundles; and the calls that make new ones.

use super::{destroy, shredding::state_of};
use crate::{
    house::House,
    keys::{
        change, loss,
        rotate::{self, OperatorsVersion},
    },
};
use bytes::Bytes;
use holdfast_common::{Code, Error, Result, record};
use holdfast_keyring::{
    Derivation, IndexPrivateKey, KekId, KekSource, KeyObject, OperatorsHalf, SealedKek, Succession,
};
use holdfast_ledger::{
    Actor,
    row::{BundleRow, Custody, KekRow, VaultRow},
};
use holdfast_wire::{parse, v1};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// How long a list of the keys counts points.
const COUNTING_MAX: Duration = Duration::from_secs(15);

pub(super) async fn list(house: &Arc<House>) -> Result<v1::ListKeysResponse> {
    house.ledger.catch_up().await?;
    let query = house.ledger.query();
    let vaults = query.vaults()?;
    let mut bundles = query.bundles()?;
    bundles.sort_by_key(|row| core::cmp::Reverse(row.exported));
    let mut shown = Vec::with_capacity(vaults.len());
    for row in &vaults {
        shown.push(with_needs(house, row, vault(house, row)?).await?);
    }
    Ok(v1::ListKeysResponse {
        vaults: shown,
        keks: keks(house)?,
        bundles: bundles.iter().map(bundle).collect(),
        now_ns: house.ledger.now().as_nanos(),
        requests: destroy::requests(house)?,
    })
}

fn vault(house: &House, row: &VaultRow) -> Result<v1::VaultKeysStatus> {
    let older = house.ledger.query().key_versions(&row.id)?;
    let made = crate::keys::made(&house.ledger.query(), row)?;
    let mut versions = Vec::with_capacity(older.len() + 1);
    for row in &older {
        let shown = version(&row.key_object, row.made.as_nanos(), Some(row.retired.as_nanos()))?;
        let closed_ns = row.closed.map(|closed| closed.as_nanos());
        versions.push(v1::KeyVersionStatus { closed_ns, ..shown });
    }
    versions.push(version(&row.key_object, made.as_nanos(), None)?);
    Ok(v1::VaultKeysStatus {
        id: Bytes::copy_from_slice(row.id.as_bytes()),
        name: row.name.to_string(),
        custody: custody(row).to_owned(),
        versions,
        destroyed: destroy::destroyed(house, row)?,
        packs_unknown: None,
        points_unsure: 0,
    })
}

/// What each version is needed for, as far as that can be found out soon: whoever changes keys
/// wants to see the others meanwhile. It takes reading what every point needs, unless all of them
/// can only need the one that there is.
async fn with_needs(
    house: &Arc<House>,
    row: &VaultRow,
    mut shown: v1::VaultKeysStatus,
) -> Result<v1::VaultKeysStatus> {
    let needs = loss::needs(house, &row.id).await;
    let needs = needs.inspect_err(|error| tracing::info!(%error, "keys are shown without needs"));
    let needs = needs.ok();
    let counted = match (&needs, house.vault(&row.id)) {
        (Some(needs), Ok(vault)) if shown.versions.len() > 1 => {
            soon(loss::points_by_version(house, &vault, needs)).await
        }
        _ => None,
    };
    for version in &mut shown.versions {
        let of_version = needs.as_ref().map(|needs| needs.of_version(version.version));
        version.packs = of_version.as_ref().map(|needs| needs.packs);
        version.bytes = of_version.as_ref().map(|needs| needs.bytes);
        let is_closed = version.closed_ns.is_some();
        version.state = state_of(row.key_version, version.version, is_closed).to_owned();
        let count = |(points, _): &(BTreeMap<u32, u64>, u64)| {
            points.get(&version.version).copied().unwrap_or(0)
        };
        version.points = counted.as_ref().map(count);
    }
    shown.packs_unknown = needs.map(|needs| needs.unknown.packs);
    shown.points_unsure = counted.map_or(0, |(_, unsure)| unsure);
    Ok(shown)
}

/// What is not there in time is left out: a location that hangs holds up every reach in turn.
async fn soon<T>(counting: impl Future<Output = Result<T>>) -> Option<T> {
    tokio::time::timeout(COUNTING_MAX, counting).await.ok()?.ok()
}

fn version(object: &[u8], made_ns: i64, retired_ns: Option<i64>) -> Result<v1::KeyVersionStatus> {
    let object = KeyObject::from_bytes(object)?;
    let id = |kek: KekId| Bytes::copy_from_slice(kek.as_bytes());
    Ok(v1::KeyVersionStatus {
        version: object.version(),
        made_ns,
        retired_ns,
        kek_version: object.kek_version(),
        kek_id: id(object.kek()),
        operator_kek_id: object.operator_kek().map(id),
        state: String::new(),
        closed_ns: None,
        packs: None,
        bytes: None,
        points: None,
    })
}

/// A KEK that was never changed has no row: it is the one that this member has.
fn keks(house: &House) -> Result<Vec<v1::KekStatus>> {
    let query = house.ledger.query();
    let mut rows = query.keks()?;
    rows.sort_by_key(|row| row.since);
    let custodian = &house.keys()?.custodian;
    let (kek, source) = (custodian.kek(), custodian.kek_source().to_string());
    if rows.is_empty() {
        return Ok(vec![v1::KekStatus {
            id: Bytes::copy_from_slice(kek.id.as_bytes()),
            source,
            state: "current".to_owned(),
            since_ns: query.cluster()?.created.as_nanos(),
            until_ns: None,
            sealed_by: kek.derivation.as_ref().and_then(sealed_by),
        }]);
    }
    let shown = |row: &KekRow| -> Result<v1::KekStatus> {
        Ok(v1::KekStatus {
            id: Bytes::copy_from_slice(&row.id),
            source: match row.id == *kek.id.as_bytes() {
                true => source.clone(),
                false => row.source.clone().unwrap_or_default(),
            },
            state: state(row).to_owned(),
            since_ns: row.since.as_nanos(),
            until_ns: row.until.map(|until| until.as_nanos()),
            sealed_by: match &row.derivation {
                Some(bytes) => sealed_by(&record::from_bytes("derivation", bytes)?),
                None => None,
            },
        })
    };
    rows.iter().map(shown).collect()
}

fn sealed_by(derivation: &Derivation) -> Option<v1::ProviderKey> {
    match derivation {
        Derivation::Passphrase(_) => None,
        Derivation::Sealed(sealed) => Some(provider_key(sealed)),
    }
}

fn provider_key(sealed: &SealedKek) -> v1::ProviderKey {
    v1::ProviderKey {
        provider: sealed.provider.name().to_owned(),
        key: sealed.key.clone(),
        version: sealed.version.clone(),
    }
}

fn state(row: &KekRow) -> &'static str {
    if row.until.is_none() { "current" } else { "former" }
}

pub(super) fn bundle(row: &BundleRow) -> v1::BundleStatus {
    let key = |key: &holdfast_ledger::row::BundledKey| v1::BundledKey {
        vault_id: Bytes::copy_from_slice(key.vault.as_bytes()),
        version: key.version,
    };
    v1::BundleStatus {
        hash: Bytes::copy_from_slice(&row.hash),
        exported_ns: row.exported.as_nanos(),
        verified_ns: row.verified.map(|verified| verified.as_nanos()),
        keys: row.keys.iter().map(key).collect(),
    }
}

fn custody(row: &VaultRow) -> &'static str {
    match row.custody {
        Custody::Coordinator => "coordinator",
        Custody::Operator => "operator",
    }
}

pub(super) async fn plan(
    house: &House,
    request: &v1::PlanKeysRequest,
) -> Result<v1::PlanKeysResponse> {
    house.ledger.catch_up().await?;
    let query = house.ledger.query();
    let rows = match request.vault.is_empty() {
        true => query.vaults()?,
        false => vec![query.vault_named(&request.vault.parse()?)?],
    };
    let mut vaults = Vec::with_capacity(rows.len());
    for row in rows {
        let numbers = crate::keys::free_numbers(house, &row).await?;
        let version = |(version, next_kek_version, key_object): (u32, u32, Vec<u8>)| {
            let key_object = key_object.into();
            v1::KeyVersionPlan { version, next_kek_version, key_object }
        };
        vaults.push(v1::KeysPlan {
            vault_id: Bytes::copy_from_slice(row.id.as_bytes()),
            name: row.name.to_string(),
            custody: custody(&row).to_owned(),
            next_version: numbers.next_version,
            versions: numbers.versions.into_iter().map(version).collect(),
        });
    }
    Ok(v1::PlanKeysResponse { vaults })
}

pub(super) async fn rotate(
    house: &House,
    actor: Actor,
    request: v1::RotateKeysRequest,
) -> Result<v1::RotateKeysResponse> {
    let name = request.vault.parse()?;
    let row = house.ledger.query().vault_named(&name)?;
    let operators = request.operators.map(|made| operators_version(&row, &made)).transpose()?;
    let made = rotate::rotate(house, actor, &name, operators).await?;
    let rotate::Rotated { before, version, object } = made;
    Ok(v1::RotateKeysResponse { version, before, object })
}

pub(super) async fn rewrap(
    house: &Arc<House>,
    actor: Actor,
    request: v1::RewrapKeysRequest,
) -> Result<v1::RewrapKeysResponse> {
    let source: KekSource = request.source.parse()?;
    let half = |given: &v1::VaultHalf| {
        let half = given.half.as_ref().ok_or_else(|| lacking("the operator's half"))?;
        Ok((parse::vault_id(&given.vault_id)?, operators_half(half)?))
    };
    let halves = request.operators.iter().map(half).collect::<Result<_>>()?;
    let change::Changed { before, kek, sealed, objects } =
        change::change(house, actor, (&source, request.new_version), halves).await?;
    Ok(v1::RewrapKeysResponse {
        before: Bytes::copy_from_slice(before.as_bytes()),
        kek_id: Bytes::copy_from_slice(kek.as_bytes()),
        objects,
        sealed_by: sealed.as_ref().map(provider_key),
    })
}

fn operators_version(row: &VaultRow, made: &v1::OperatorsVersion) -> Result<OperatorsVersion> {
    let half = made.half.as_ref().ok_or_else(|| lacking("the operator's half"))?;
    let mut index = parse::array::<32>("the index private key", &made.index_private)?;
    let index = holdfast_common::Secret::take(&mut index);
    let signature = parse::array("the older key's signature", &made.signature)?;
    Ok(OperatorsVersion {
        index: IndexPrivateKey::from_secret(row.id, half.version, index),
        half: operators_half(half)?,
        succession: Succession { before: made.before, signature },
    })
}

fn operators_half(half: &v1::OperatorsHalf) -> Result<OperatorsHalf> {
    Ok(OperatorsHalf {
        version: half.version,
        kek_version: half.kek_version,
        vault_public: parse::array("the vault's public key", &half.vault_public)?,
        index_public: parse::array("the index public key", &half.index_public)?,
        operator_kek: KekId::from_bytes(parse::array("the KEK's id", &half.operator_kek_id)?),
        wrapped: parse::array("the wrapped key", &half.wrapped)?,
    })
}

fn lacking(what: &str) -> Error {
    Error::new(Code::UsageMalformed, format!("{what} is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_list_of_keys_waits_for_no_location_that_hangs() {
        assert_eq!(soon(async { Ok(7) }).await, Some(7));
        let busy = async { Err::<u64, _>(Error::new(Code::ClusterBusy, "packed anew")) };
        assert_eq!(soon(busy).await, None);
        assert_eq!(soon(std::future::pending::<Result<u64>>()).await, None);
    }
}
