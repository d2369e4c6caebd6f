//! Another KEK, while everything goes on.
//!
//! ```text
//!   every member has it ─▶ every version of every vault ─▶ required locations ─▶ read back, opened
//!                          cluster's recovery key ────────▶ catalog locations        │
//!                          authority's key ─────────────────────────────────────────┴▶ one command
//!   each member: sees it applied ─▶ finds the KEK where it was told ─▶ takes it ─▶ its file
//! ```
//!
//! The keys themselves stay what they are: nothing that is open in memory closes, no session ends.
//! What is cut short is repeated by the same command; objects that an attempt left hold the same
//! keys under a KEK that may come to be used. What lies under the old KEK stays until that is
//! destroyed. In operator custody the operator wraps the halves that only operators open.

use super::{
    custody::all_keys,
    follow,
    free::{free_kek_version, read_back},
    kek::{self, unlisted},
    secrets,
};
use crate::{
    house::House,
    options::environment,
    shipped::{self, ship},
};
use holdfast_common::{Code, Error, Result, VaultId, record};
use holdfast_keyring::{
    ClusterKeyObject, Derivation, Kek, KekId, KekSource, KeyObject, OperatorsHalf, SealedKek,
    VaultKeys,
};
use holdfast_ledger::{
    Actor,
    command::{KekChange, RewrapKeys, RewrappedVault},
    level::KEYS,
    row::{Custody, Duty, VaultRow},
};
use holdfast_repository::layout::ObjectName;
use std::{path::Path, sync::Arc};

/// The halves that an operator wrapped, one for every version of a vault in operator custody.
pub(crate) type Halves = Vec<(VaultId, OperatorsHalf)>;

pub(crate) struct Changed {
    pub(crate) before: KekId,
    pub(crate) kek: KekId,
    /// Where a provider keeps it.
    pub(crate) sealed: Option<SealedKek>,
    /// Names of the new key objects.
    pub(crate) objects: Vec<String>,
}

pub(crate) async fn change(
    house: &Arc<House>,
    actor: Actor,
    (source, new_version): (&KekSource, bool),
    halves: Halves,
) -> Result<Changed> {
    house.ledger.catch_up().await?;
    insist_on_level(house)?;
    insist_on_absolute(source)?;
    insist_on_versions(source, new_version)?;
    kek::insist_on_listed(&house.config, source)?;
    let old = house.kek().await?;
    let vaults = house.ledger.query().vaults()?;
    vaults.iter().try_for_each(|row| insist_on_halves(house, row, &halves))?;
    let new = make(house, &old, source, new_version).await?;
    insist_on_members(house, source, &new).await?;
    let (mut wrapped, mut objects) = (Vec::new(), Vec::new());
    for row in &vaults {
        let keys = all_keys(&house.ledger.query(), row, &old)?;
        for version in keys.versions() {
            let half = half_of(&halves, row, version);
            let object = wrap(house, (row, &keys), (version, half), &new).await?;
            objects.push(object.name);
            let (vault, key_object) = (row.id, object.bytes.into());
            wrapped.push(RewrappedVault { vault, version, key_object });
        }
    }
    let mut command = command(house, (&old, &new), source, wrapped)?;
    put_recovery_key(house, &new, &mut command).await?;
    follow::insist_on_writable(&house.config)?;
    house.ledger.propose(actor, command).await?;
    let (before, kek, sealed) = (old.id, new.id, sealed(&new).cloned());
    tracing::info!(%before, %kek, "the KEK was changed");
    // Everything is under it now, whatever becomes of this member's file: `status` says that.
    follow::bring(house, Some((new, source.clone()))).await?;
    if let Err(error) = follow::write_down(house).await {
        tracing::warn!(%error, "the KEK in use is not written down");
    }
    Ok(Changed { before, kek, sealed, objects })
}

fn insist_on_level(house: &House) -> Result<()> {
    if house.ledger.query().level()? >= KEYS {
        return Ok(());
    }
    Err(Error::new(Code::LevelLow, "some member does not know how to change its KEK"))
}

/// Each member looks for it by itself, whatever directory it runs in.
fn insist_on_absolute(source: &KekSource) -> Result<()> {
    let look = |path: &Path| match path.is_absolute() {
        true => Ok(path.to_owned()),
        false => {
            let message = format!("`{}` is not where every coordinator looks", path.display());
            Err(Error::new(Code::UsageMalformed, message).next("name a path that begins with /"))
        }
    };
    match source {
        KekSource::File(path) | KekSource::PassphraseFile(path) => look(path).map(drop),
        KekSource::Remote(remote) => remote.clone().with_paths(look).map(drop),
        KekSource::Env(_) | KekSource::PassphraseEnv(_) => Ok(()),
    }
}

/// Only what somebody else keeps has versions of its own.
fn insist_on_versions(source: &KekSource, new_version: bool) -> Result<()> {
    if !new_version || matches!(source, KekSource::Remote(_)) {
        return Ok(());
    }
    let message = format!("`{source}` has no versions");
    Err(Error::new(Code::UsageMalformed, message).next("name another one, without --new-version"))
}

/// A KEK that is another one than the old one, and sealed by another version of its provider's key,
/// so that the old version can be destroyed one day.
async fn make(house: &House, old: &Kek, source: &KekSource, new_version: bool) -> Result<Kek> {
    let make = async || {
        let entropy = house.entropy.as_ref();
        holdfast_kek::make(source, environment, house.cluster, entropy).await
    };
    let source_of_old = house.keys()?.custodian.kek_source();
    let is_there = match (&source_of_old, source) {
        (KekSource::Remote(old), KekSource::Remote(new)) => new.is_at_the_place_of(old),
        _ => false,
    };
    let is_it = |new: &Kek| match (sealed(old), sealed(new)) {
        (Some(old), Some(new)) => is_there && new.is_of_one_version_with(old),
        _ => old.id == new.id,
    };
    let mut new = make().await?;
    if is_it(&new)
        && new_version
        && let KekSource::Remote(remote) = source
    {
        let version = holdfast_kek::renew(remote, environment).await?;
        tracing::info!(%source, version, "the provider's key has a new version");
        new = make().await?;
    }
    if !is_it(&new) {
        return Ok(new);
    }
    Err(match sealed(&new) {
        Some(sealed) => {
            let SealedKek { key, version, .. } = sealed;
            let message =
                format!("version {version} of the provider's key {key} seals the KEK in use");
            Error::new(Code::ResourceConflict, message)
                .next("make a new version of that key at its provider, or add --new-version")
        }
        None => {
            let message = format!("the keys are wrapped under the KEK of `{source}` already");
            Error::new(Code::ResourceConflict, message).next("name another one")
        }
    })
}

fn sealed(kek: &Kek) -> Option<&SealedKek> {
    match &kek.derivation {
        Some(Derivation::Sealed(sealed)) => Some(sealed),
        _ => None,
    }
}

fn half_of<'h>(halves: &'h Halves, row: &VaultRow, version: u32) -> Option<&'h OperatorsHalf> {
    let found = halves.iter().find(|(vault, half)| (*vault, half.version) == (row.id, version));
    found.map(|(_, half)| half)
}

/// Before anything is made: what only operators open is there for every version.
fn insist_on_halves(house: &House, row: &VaultRow, halves: &Halves) -> Result<()> {
    if row.custody == Custody::Coordinator {
        return Ok(());
    }
    let mut versions = vec![row.key_version];
    versions.extend(house.ledger.query().key_versions(&row.id)?.iter().map(|row| row.version));
    if versions.iter().all(|version| half_of(halves, row, *version).is_some()) {
        return Ok(());
    }
    let message = format!("the vault `{}` is in operator custody", row.name);
    Err(Error::new(Code::KeyCustodyRefused, message)
        .next("name the operator's key too: holdfast keys rewrap --to SOURCE --kek file:PATH"))
}

/// One that lacks the new KEK would not start again.
async fn insist_on_members(house: &House, source: &KekSource, new: &Kek) -> Result<()> {
    let derivation = new.derivation.as_ref().map(record::to_bytes).unwrap_or_default();
    for row in house.ledger.query().members()? {
        if !row.is_live() || row.duty == Duty::Witness || row.id == house.node_id {
            continue;
        }
        let asked = house.ledger.peers().has_kek(row.id, source, &derivation, &new.id).await;
        asked.map_err(|error| {
            let message = format!("the member `{}` does not have the new KEK", row.name);
            if error.code == Code::KekUnlisted {
                return Error::new(error.code, message).cause(error.message).next(unlisted(source));
            }
            Error::new(Code::KekUnavailable, message)
                .cause(error)
                .next(format!("bring `{source}` to every coordinator, then run this again"))
        })?;
    }
    Ok(())
}

/// What another member is asked: whether it finds this KEK there.
pub(crate) async fn insist_on_having(
    house: &House,
    source: &str,
    derivation: &[u8],
    id: &[u8; 16],
) -> Result<()> {
    let source: KekSource = source.parse()?;
    kek::insist_on_listed(&house.config, &source)?;
    let found = kek::load_by(&source, derivation).await?;
    if found.id.as_bytes() == id {
        return Ok(());
    }
    Err(Error::new(Code::KeyWrong, format!("`{source}` holds another KEK here")))
}

struct Made {
    name: String,
    bytes: Vec<u8>,
}

/// One version under the new KEK, durable where it must be and seen to open.
async fn wrap(
    house: &House,
    (row, keys): (&VaultRow, &VaultKeys),
    (version, half): (u32, Option<&OperatorsHalf>),
    kek: &Kek,
) -> Result<Made> {
    let (places, entropy) = (&house.places, house.entropy.as_ref());
    let object = match half {
        Some(half) => KeyObject::wrap_beside(keys, half, kek, entropy)?,
        None => {
            let kek_version = free_kek_version(places, row, version).await?;
            KeyObject::wrap(keys, version, kek, kek_version, None, entropy)?
        }
    };
    let name = ObjectName::keys(version, object.kek_version())?;
    let bytes = object.to_bytes();
    places.put(row, name.as_str(), bytes.clone().into()).await?;
    read_back(places, row, &name, &bytes).await?;
    let found = KeyObject::from_bytes(&bytes)?.unwrap_coordinator(kek)?;
    if found.public(version)? != keys.public(version)? {
        return Err(Error::new(Code::KeyWrong, format!("{name} does not open to the same key")));
    }
    Ok(Made { name: name.into_string(), bytes })
}

fn command(
    house: &House,
    (old, new): (&Kek, &Kek),
    source: &KekSource,
    vaults: Vec<RewrappedVault>,
) -> Result<RewrapKeys> {
    let (cluster, entropy) = (house.ledger.query().cluster()?, house.entropy.as_ref());
    let ca_key = secrets::open_ca_key(old, &cluster.ca_key_wrapped)?;
    let recovery = secrets::open_recovery_key(old, &cluster.recovery_key_wrapped)?;
    Ok(RewrapKeys {
        kek: *new.id.as_bytes(),
        ca_key_wrapped: secrets::seal_ca_key(new, &ca_key, entropy).into(),
        recovery_key_wrapped: secrets::seal_recovery_key(new, &recovery, entropy).into(),
        kek_derivation: new.derivation.as_ref().map(record::to_bytes).map(Into::into),
        vaults,
        change: Some(KekChange { before: *old.id.as_bytes(), source: source.to_string() }),
    })
}

/// Whoever has the new KEK and a location alone opens the ledger's log there. An attempt that was
/// cut short may have left it, or the KEK was in use before: then the ledger has it as it lies.
async fn put_recovery_key(house: &House, new: &Kek, command: &mut RewrapKeys) -> Result<()> {
    let recovery = secrets::open_recovery_key(new, &command.recovery_key_wrapped)?;
    let derivation = command.kek_derivation.as_ref().map(|bytes| &bytes[..]);
    let wrapped = &command.recovery_key_wrapped;
    let object = ClusterKeyObject::new(house.cluster, new.id, wrapped, derivation);
    let places = house.places.required(&ship::catalog_vault(house)?).await?;
    let lying = shipped::key::bring(&places, object, (new, &recovery)).await?;
    command.recovery_key_wrapped = lying.wrapped().to_vec().into();
    Ok(())
}
