//! The locations of vaults, opened on first use and kept.

use crate::raft::Ledger;
use bytes::Bytes;
use holdfast_common::{Code, Entropy, Error, Name, Result};
use holdfast_ledger::row::{LocationRow, VaultRow};
use holdfast_storage::{
    ObjectStore,
    layers::retry::{Retry, RetryOptions},
    placement::put_required,
    url,
};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

pub(crate) type Place = (Name, Arc<dyn ObjectStore>);

pub(crate) struct Places {
    ledger: Ledger,
    /// Relative `local:` paths start here.
    base: PathBuf,
    /// By name and URL: a location that was changed is another one.
    open: Mutex<HashMap<(Name, String), Arc<dyn ObjectStore>>>,
    entropy: Arc<dyn Entropy>,
}

impl Places {
    pub(crate) fn new(ledger: Ledger, base: PathBuf, entropy: Arc<dyn Entropy>) -> Self {
        Self { ledger, base, open: Mutex::default(), entropy }
    }

    pub(crate) fn location(&self, name: &Name) -> Result<Arc<dyn ObjectStore>> {
        let row: LocationRow =
            self.ledger.query().row(name.as_str().as_bytes())?.ok_or_else(|| {
                Error::new(Code::LocationMissing, format!("there is no location `{name}`"))
            })?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.clone(), row.url);
        if let Some(store) = open.get(&key) {
            return Ok(store.clone());
        }
        // Opened, never made: an empty mount point is not the location.
        let store = url::open(&url::LocationUrl::resolve(&key.1, &self.base)?)?;
        let store: Arc<dyn ObjectStore> =
            Arc::new(Retry::new(store, RetryOptions::default(), self.entropy.clone()));
        open.insert(key, store.clone());
        Ok(store)
    }

    /// The locations that a vault requires, in its order.
    pub(crate) fn required(&self, vault: &VaultRow) -> Result<Vec<Place>> {
        vault.required.iter().map(|name| Ok((name.clone(), self.location(name)?))).collect()
    }

    /// Durable in every required location, or an error that names those where it is not.
    pub(crate) async fn put(&self, vault: &VaultRow, name: &str, bytes: Bytes) -> Result<()> {
        put_required(&self.required(vault)?, &name.parse()?, bytes).await.map(drop)
    }
}

/// Makes a location that was just declared, and opens it.
pub(crate) fn make(text: &str, base: &std::path::Path) -> Result<Arc<dyn ObjectStore>> {
    url::create(&url::LocationUrl::resolve(text, base)?)
}
