//! Where the key object of a version lies, and which KEKs open each copy of it.
//!
//! Objects are never overwritten, so every change of the KEK has left one more beside the others.
//! What is looked at is what lies there, not what the ledger relies on. The locations of the oldest
//! vault have the log and snapshots beside: what was wrapped at any time is in those too.

use crate::{house::House, places::Place, shipped::ship::catalog_vault};
use holdfast_common::{Error, Name, Result, limits};
use holdfast_keyring::{KekId, KeyObject};
use holdfast_ledger::row::VaultRow;
use holdfast_repository::layout::ObjectName;

pub(crate) struct KeyCopies {
    pub(crate) copies: Vec<KeyCopy>,
    /// Locations with the log and snapshots, in which the ledger's copy of the key object is.
    pub(crate) catalog: Vec<Name>,
}

/// One key object in one location; or why it is not known what is there.
pub(crate) struct KeyCopy {
    pub(crate) location: Name,
    pub(crate) object: Option<String>,
    pub(crate) kek: Option<KekId>,
    pub(crate) operator_kek: Option<KekId>,
    pub(crate) problem: Option<String>,
}

/// In every location that the vault declares, disabled ones too.
pub(crate) async fn copies_of(house: &House, vault: &VaultRow, version: u32) -> Result<KeyCopies> {
    let mut copies = Vec::new();
    for name in vault.holding() {
        let listed = match house.places.location(name).await {
            Ok(store) => listed(&(name.clone(), store), version).await,
            Err(error) => Err(error),
        };
        match listed {
            Ok(found) => copies.extend(found),
            Err(error) => copies.push(unknown(name, None, &error)),
        }
    }
    let catalog = catalog_vault(house).map(|vault| vault.holding().cloned().collect());
    Ok(KeyCopies { copies, catalog: catalog.unwrap_or_default() })
}

async fn listed((location, store): &Place, version: u32) -> Result<Vec<KeyCopy>> {
    let first = ObjectName::keys(version, 1)?.into_string();
    let folder = first.rsplit_once('/').map_or("keys", |(folder, _)| folder);
    let prefix = format!("{folder}/").parse()?;
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(&prefix, after.as_ref(), limits::LIST_PAGE_ROWS).await?;
        let Some(last) = page.last() else { return Ok(found) };
        after = Some(last.name.clone());
        for meta in &page {
            let name = meta.name.as_str().to_owned();
            let read = store.get(&meta.name, limits::KEY_OBJECT_BYTES_MAX).await;
            found.push(match read.and_then(|bytes| KeyObject::from_bytes(&bytes)) {
                Ok(object) => KeyCopy {
                    location: location.clone(),
                    object: Some(name),
                    kek: Some(object.kek()),
                    operator_kek: object.operator_kek(),
                    problem: None,
                },
                Err(error) => unknown(location, Some(name), &error),
            });
        }
    }
}

fn unknown(location: &Name, object: Option<String>, error: &Error) -> KeyCopy {
    let problem = Some(error.to_string());
    KeyCopy { location: location.clone(), object, kek: None, operator_kek: None, problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::VAULT;
    use bytes::Bytes;
    use holdfast_common::{Secret, SystemClock, SystemEntropy};
    use holdfast_keyring::{Kek, VaultKeys};
    use holdfast_storage::{MemoryStore, ObjectStore};
    use std::sync::Arc;

    #[tokio::test]
    async fn every_copy_of_a_version_is_found_with_its_kek_and_no_other() {
        let store: Arc<dyn ObjectStore> =
            Arc::new(MemoryStore::new(Arc::new(SystemClock::start())));
        let put = async |version, kek_version, bytes: Bytes| {
            let name = ObjectName::keys(version, kek_version).unwrap();
            store.put_new(&name.as_str().parse().unwrap(), bytes).await.unwrap();
        };
        let mut keys = VaultKeys::generate(VAULT, &SystemEntropy);
        keys.rotate(11, &SystemEntropy).unwrap();
        let keks = [1, 2].map(|_| Kek::from_secret(Secret::random(&SystemEntropy)));
        for (kek, kek_version) in keks.iter().zip(1..) {
            for version in [1, 11] {
                let object =
                    KeyObject::wrap(&keys, version, kek, kek_version, None, &SystemEntropy);
                put(version, kek_version, object.unwrap().to_bytes().into()).await;
            }
        }
        put(1, 3, Bytes::from_static(b"junk")).await;
        let place = ("here".parse().unwrap(), store.clone());
        let found = listed(&place, 1).await.unwrap();
        let told: Vec<_> = found.iter().map(|copy| copy.kek).collect();
        assert_eq!(told, [Some(keks[0].id), Some(keks[1].id), None]);
        assert!(found[2].problem.is_some() && found[2].object.is_some());
        assert_eq!(listed(&place, 11).await.unwrap().len(), 2);
    }
}
