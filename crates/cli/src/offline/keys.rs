//! What opens a vault when no cluster is there: the bundle, or the KEK and the key objects of the
//! location.

use super::{get, list};
use holdfast_common::{Code, Error, Result, VaultId, limits};
use holdfast_kek::Asking;
use holdfast_keyring::{
    Custody, Derivation, Enrolled, Kek, KekSource, KeyObject, VaultKeys, bundle,
};
use holdfast_repository::{Object, ObjectName};
use holdfast_storage::ObjectStore;
use std::{path::PathBuf, sync::Arc};

pub enum KeyChoice {
    /// Keys beside the bundle are the operator's, for a bundle that was made without it.
    Bundle {
        file: PathBuf,
        passphrase: String,
        operators: Vec<KekSource>,
    },
    Keks(Vec<KekSource>),
}

pub struct Opened {
    pub vault_name: String,
    pub keys: VaultKeys,
    pub enrolment: Option<Vec<Enrolled>>,
}

pub async fn open(choice: &KeyChoice, store: &dyn ObjectStore, vault: &VaultId) -> Result<Opened> {
    match choice {
        KeyChoice::Bundle { file, passphrase, operators } => {
            let contents = bundle::open(&read_bundle(file)?, passphrase.as_bytes())?;
            let held = contents.vaults.into_iter().find(|held| held.keys.vault() == *vault);
            let mut held = held.ok_or_else(|| {
                Error::new(Code::VaultForeign, format!("the bundle holds no keys of vault {vault}"))
                    .next("use the bundle of the cluster that this location belongs to")
            })?;
            if !operators.is_empty() {
                admit_operators(&mut held.keys, operators, store).await?;
            }
            Ok(Opened {
                vault_name: held.name.to_string(),
                keys: held.keys,
                enrolment: Some(contents.enrolment),
            })
        }
        KeyChoice::Keks(sources) => Ok(Opened {
            vault_name: vault.to_string(),
            keys: unwrap_all(sources, store, vault).await?,
            enrolment: None,
        }),
    }
}

pub fn read_bundle(file: &std::path::Path) -> Result<Vec<u8>> {
    let unreadable =
        |error| Error::io(format!("the bundle {} cannot be read", file.display()), &error);
    let length = std::fs::metadata(file).map_err(unreadable)?.len();
    if length > limits::BUNDLE_BYTES_MAX as u64 {
        return Err(Error::new(Code::BundleMalformed, format!("{} is no bundle", file.display()))
            .cause(format!("it has {length} bytes")));
    }
    std::fs::read(file).map_err(unreadable)
}

/// Adds the private halves that are missing, as far as an operator's key opens them in the
/// location's key objects; all of them, or it is refused.
pub async fn admit_operators(
    keys: &mut VaultKeys,
    sources: &[KekSource],
    store: &dyn ObjectStore,
) -> Result<()> {
    let mut refusal = None;
    let mut asked = asking(sources);
    for name in list(store, "keys/").await? {
        let Object::Keys { .. } = name.object() else { continue };
        refusal = admit_operator(&name, keys, &mut asked, store).await.err().or(refusal);
    }
    if keys.versions().all(|version| keys.private(version).is_ok()) {
        return Ok(());
    }
    Err(refusal.unwrap_or_else(|| {
        Error::new(Code::KeyWrong, "no key that was named opens what the bundle lacks")
            .next("name the operator's key that the vault was made with: file:operator.kek")
    }))
}

async fn admit_operator(
    name: &ObjectName,
    keys: &mut VaultKeys,
    asked: &mut [Asking<'_>],
    store: &dyn ObjectStore,
) -> Result<()> {
    let object = KeyObject::from_bytes(&get(store, name, limits::KEY_OBJECT_BYTES_MAX).await?)?;
    object.insist_on_vault(&keys.vault())?;
    if object.custody() != Custody::Operator || keys.private(object.version()).is_ok() {
        return Ok(());
    }
    for kek in load(asked, &object).await? {
        if Some(kek.id) == object.operator_kek() {
            return keys.admit(object.unwrap_operator(&kek)?);
        }
    }
    Ok(())
}

/// Every version of the vault's keys that the given KEKs open.
async fn unwrap_all(
    sources: &[KekSource],
    store: &dyn ObjectStore,
    vault: &VaultId,
) -> Result<VaultKeys> {
    let mut keys: Option<VaultKeys> = None;
    let mut refusal = None;
    let mut asked = asking(sources);
    for name in list(store, "keys/").await? {
        if !matches!(name.object(), Object::Keys { .. }) {
            continue;
        }
        match unwrap(&name, &mut asked, store, vault).await {
            Ok(found) => match &mut keys {
                Some(keys) => keys.merge(found)?,
                None => keys = Some(found),
            },
            Err(error) => refusal = Some(error),
        }
    }
    match (keys, refusal) {
        (Some(keys), _) => Ok(keys),
        (None, Some(error)) => Err(error),
        (None, None) => Err(Error::new(Code::ObjectMissing, "the location holds no key object")
            .next("open it with a bundle: --bundle FILE")),
    }
}

async fn unwrap(
    name: &ObjectName,
    asked: &mut [Asking<'_>],
    store: &dyn ObjectStore,
    vault: &VaultId,
) -> Result<VaultKeys> {
    let object = KeyObject::from_bytes(&get(store, name, limits::KEY_OBJECT_BYTES_MAX).await?)?;
    object.insist_on_vault(vault)?;
    let keks = load(asked, &object).await?;
    let kek = keks.iter().find(|kek| kek.id == object.kek()).ok_or_else(|| wrong(name))?;
    let mut keys = object.unwrap_coordinator(kek)?;
    if object.custody() == Custody::Operator {
        let operator = keks.iter().find(|kek| Some(kek.id) == object.operator_kek());
        keys.admit(object.unwrap_operator(operator.ok_or_else(|| {
            Error::new(Code::KeyCustodyRefused, "the vault is in operator custody")
                .next("name the operator's key too: --kek SOURCE --kek OPERATOR-SOURCE")
        })?)?)?;
    }
    Ok(keys)
}

/// What each source answers is kept for all objects of a location.
fn asking(sources: &[KekSource]) -> Vec<Asking<'_>> {
    sources.iter().map(|source| Asking::new(source, environment)).collect()
}

/// The KEKs of those sources that could be this object's; a provider that did not seal its KEK is
/// not asked for it.
async fn load(asked: &mut [Asking<'_>], object: &KeyObject) -> Result<Vec<Arc<Kek>>> {
    let mut keks = Vec::new();
    let mut refusal = None;
    for one in asked {
        let derivation = match (one.source(), object.derivation()) {
            // In operator custody, the operator's key beside what a provider sealed.
            (KekSource::File(_) | KekSource::Env(_), Some(Derivation::Sealed(_))) => None,
            (_, derivation) => derivation,
        };
        match one.load(derivation).await {
            Ok(kek) => keks.push(kek),
            Err(error) if error.code == Code::KeyWrong => refusal = Some(error),
            Err(error) => return Err(error),
        }
    }
    match (keks.is_empty(), refusal) {
        (true, Some(error)) => Err(error),
        _ => Ok(keks),
    }
}

fn wrong(name: &ObjectName) -> Error {
    Error::new(Code::KeyWrong, format!("{name} was wrapped with another key")).next(
        "use the key that this vault was made with, or the one that it was brought under \
             since; if it is lost, a bundle: --bundle FILE; if no bundle is left either, nobody \
             can open what was backed up, and it is gone",
    )
}

/// Where `env:NAME` looks.
#[expect(clippy::disallowed_methods, reason = "the user named the variable that holds the key")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
