//! What the services of one coordinator share.

use crate::{
    api::calls::Calls,
    budget::Budget,
    catalog::Catalog,
    custody::{Custodian, VaultCustody},
    hub::Hub,
    ingest::Sessions,
    places::Places,
    raft::Ledger,
    reading::Reads,
    ship::Shipping,
};
use bytes::Bytes;
use holdfast_common::{Clock, ClusterId, Entropy, Name, Result, VaultId};
use holdfast_ledger::row::VaultRow;
use holdfast_runtime::{pki::CertificateAuthority, tasks::Tasks};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::Notify;

pub(crate) struct House {
    pub(crate) cluster: ClusterId,
    pub(crate) node_id: u64,
    pub(crate) name: Name,
    pub(crate) region: Name,
    pub(crate) trial: bool,
    /// Relative `local:` paths start here.
    pub(crate) base: PathBuf,
    pub(crate) ledger: Ledger,
    pub(crate) custodian: Custodian,
    pub(crate) places: Places,
    pub(crate) authority: CertificateAuthority,
    pub(crate) hub: Hub,
    pub(crate) sessions: Sessions,
    pub(crate) reads: Reads,
    pub(crate) shipping: Shipping,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// Bytes of packs on their way in.
    pub(crate) incoming: Budget,
    /// Bytes of frames on their way out, and of objects that are verified.
    pub(crate) outgoing: Budget,
    pub(crate) calls: Calls,
    pub(crate) endpoint: String,
    pub(crate) index: PathBuf,
    pub(crate) shipped_hint: PathBuf,
    pub(crate) catalogs: Mutex<HashMap<VaultId, Arc<Catalog>>>,
    /// There is one that nobody loads yet.
    pub(crate) catalog_made: Notify,
    pub(crate) tasks: Tasks,
    pub(crate) close_agent: Box<dyn Fn(holdfast_common::AgentId) + Send + Sync>,
}

impl House {
    /// A vault with its keys and its index, which is loaded in the background.
    pub(crate) fn vault(&self, id: &VaultId) -> Result<Vault> {
        let row = self.ledger.query().vault(id)?;
        let custody = self.custodian.vault(&row)?;
        let mut catalogs = self.catalogs.lock().unwrap_or_else(PoisonError::into_inner);
        let catalog = match catalogs.get(id) {
            Some(catalog) => catalog.clone(),
            None => {
                let catalog = Arc::new(Catalog::new(*id, &self.index));
                catalogs.insert(*id, catalog.clone());
                self.catalog_made.notify_one();
                catalog
            }
        };
        Ok(Vault { row, custody, catalog })
    }

    /// The indexes that are kept, each with the name of its vault.
    pub(crate) fn catalogs(&self) -> Vec<(Name, Arc<Catalog>)> {
        let catalogs = self.catalogs.lock().unwrap_or_else(PoisonError::into_inner);
        let named = |(id, catalog): (&VaultId, &Arc<Catalog>)| {
            Some((self.ledger.query().vault(id).ok()?.name, catalog.clone()))
        };
        catalogs.iter().filter_map(named).collect()
    }

    /// BLAKE3 of many bytes, on a thread of its own.
    pub(crate) async fn hash(&self, bytes: Bytes) -> Result<blake3::Hash> {
        self.tasks.run_blocking("hash", move || Ok(blake3::hash(&bytes))).await
    }
}

#[derive(Clone)]
pub(crate) struct Vault {
    pub(crate) row: VaultRow,
    pub(crate) custody: Arc<VaultCustody>,
    pub(crate) catalog: Arc<Catalog>,
}
