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
    secrets,
};
use crate::{cluster::init::load_or_make_kek, house::House, options::environment, shipped::ship};
use bytes::Bytes;
use holdfast_common::{Code, Error, Result, VaultId, record};
use holdfast_keyring::{
    Argon, ClusterKeyObject, Kek, KekId, KekSource, KeyObject, OperatorsHalf, VaultKeys,
};
use holdfast_ledger::{
    Actor,
    command::{KekChange, RewrapKeys, RewrappedVault},
    level::KEYS,
    row::{Custody, Duty, VaultRow},
};
use holdfast_repository::layout::ObjectName;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The halves that an operator wrapped, one for every version of a vault in operator custody.
pub(crate) type Halves = Vec<(VaultId, OperatorsHalf)>;

pub(crate) struct Changed {
    pub(crate) before: KekId,
    pub(crate) kek: KekId,
    /// Names of the new key objects.
    pub(crate) objects: Vec<String>,
}

pub(crate) async fn change(
    house: &Arc<House>,
    actor: Actor,
    source: &KekSource,
    halves: Halves,
) -> Result<Changed> {
    house.ledger.catch_up().await?;
    insist_on_level(house)?;
    insist_on_absolute(source)?;
    let old = house.kek()?;
    let vaults = house.ledger.query().vaults()?;
    vaults.iter().try_for_each(|row| insist_on_halves(house, row, &halves))?;
    let (wanted, entropy) = (source.clone(), house.entropy.clone());
    let make = move || load_or_make_kek(&wanted, entropy.as_ref());
    let new = house.tasks.run_blocking("kek", make).await?;
    if new.id == old.id {
        let message = format!("the keys are wrapped under the KEK of `{source}` already");
        return Err(Error::new(Code::ResourceConflict, message).next("name another one"));
    }
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
    let command = command(house, (&old, &new), source, wrapped)?;
    put_recovery_key(house, &new, &command).await?;
    follow::insist_on_writable(&house.config)?;
    house.ledger.propose(actor, command).await?;
    let (before, kek) = (old.id, new.id);
    tracing::info!(%before, %kek, "the KEK was changed");
    // Everything is under it now, whatever becomes of this member's file: `status` says that.
    follow::take(house)?;
    if let Err(error) = follow::write_down(house) {
        tracing::warn!(%error, "the KEK in use is not written down");
    }
    Ok(Changed { before, kek, objects })
}

fn insist_on_level(house: &House) -> Result<()> {
    if house.ledger.query().level()? >= KEYS {
        return Ok(());
    }
    Err(Error::new(Code::LevelLow, "some member does not know how to change its KEK"))
}

/// Each member looks for it by itself, whatever directory it runs in.
fn insist_on_absolute(source: &KekSource) -> Result<()> {
    match source {
        KekSource::File(path) | KekSource::PassphraseFile(path) if !path.is_absolute() => {
            let message = format!("`{source}` is not where every coordinator looks");
            Err(Error::new(Code::UsageMalformed, message).next("name a path that begins with /"))
        }
        _ => Ok(()),
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
    source: String,
    derivation: Vec<u8>,
    id: [u8; 16],
) -> Result<()> {
    /// A passphrase takes much memory: whoever asks often waits.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
    let _turn = ONE_AT_A_TIME.lock().await;
    let look = move || {
        let source: KekSource = source.parse()?;
        let found = load(&source, &derivation)?;
        if *found.id.as_bytes() == id {
            return Ok(());
        }
        Err(Error::new(Code::KeyWrong, format!("`{source}` holds another KEK here")))
    };
    house.tasks.run_blocking("kek", look).await
}

pub(super) fn load(source: &KekSource, derivation: &[u8]) -> Result<Kek> {
    let derivation: Option<Argon> = match derivation.is_empty() {
        true => None,
        false => Some(record::from_bytes("derivation", derivation)?),
    };
    source.load(&environment, derivation.as_ref())
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

/// Whoever has the new KEK and a location alone opens the ledger's log there.
async fn put_recovery_key(house: &House, new: &Kek, command: &RewrapKeys) -> Result<()> {
    let derivation = command.kek_derivation.as_ref().map(|bytes| &bytes[..]);
    let wrapped = &command.recovery_key_wrapped;
    let object = ClusterKeyObject::new(house.cluster, new.id, wrapped, derivation);
    let name = ObjectName::cluster_key(new.id.as_bytes());
    let vault = ship::catalog_vault(house)?;
    let bytes = Bytes::from(object.to_bytes());
    let name_in_store = name.as_str().parse()?;
    for (_, store) in house.places.required(&vault).await? {
        if store.head(&name_in_store).await?.is_some() {
            // An attempt that was cut short left it, or the KEK was in use before: it opens.
            let held = store.get(&name_in_store, holdfast_common::limits::KEY_OBJECT_BYTES_MAX);
            ClusterKeyObject::from_bytes(&held.await?)?.open(new)?;
            continue;
        }
        store.put_new(&name_in_store, bytes.clone()).await?;
    }
    Ok(())
}
