//! What the services of one coordinator share.

use crate::{
    catalog::{self, Catalog},
    custody::{Custodian, VaultCustody},
    hub::Hub,
    ingest::Sessions,
    places::Places,
    raft::Ledger,
    reading::Reads,
    ship::Shipping,
};
use holdfast_common::{Clock, ClusterId, Code, Entropy, Error, Name, Result, VaultId, limits};
use holdfast_ledger::row::VaultRow;
use holdfast_runtime::pki::CertificateAuthority;
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::Semaphore;

pub(crate) struct House {
    pub(crate) cluster: ClusterId,
    pub(crate) node_id: u64,
    pub(crate) name: Name,
    pub(crate) region: Name,
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
    /// Bytes of packs and frames that may be in memory at once, in KiB.
    pub(crate) budget: Semaphore,
    pub(crate) endpoint: String,
    pub(crate) index: PathBuf,
    pub(crate) shipped_hint: PathBuf,
    pub(crate) catalogs: Mutex<HashMap<VaultId, Arc<Catalog>>>,
    pub(crate) close_agent: Box<dyn Fn(holdfast_common::AgentId) + Send + Sync>,
}

impl House {
    /// A vault with its keys and its index.
    pub(crate) fn vault(&self, id: &VaultId) -> Result<Vault> {
        let row = self.ledger.query().vault(id)?;
        let custody = self.custodian.vault(&row)?;
        let mut catalogs = self.catalogs.lock().unwrap_or_else(PoisonError::into_inner);
        let catalog = match catalogs.get(id) {
            Some(catalog) => catalog.clone(),
            None => {
                let catalog = Arc::new(Catalog::open(*id, &self.index)?);
                catalogs.insert(*id, catalog.clone());
                catalog
            }
        };
        Ok(Vault { row, custody, catalog })
    }

    /// Brings the indexes of all vaults up to the ledger.
    pub(crate) async fn load_catalogs(&self) -> Result<()> {
        for row in self.ledger.query().vaults()? {
            let vault = self.vault(&row.id)?;
            let loaded =
                catalog::load(&vault.catalog, &row, &vault.custody, &self.ledger, &self.places)
                    .await?;
            if loaded > 0 {
                tracing::info!(vault = %row.name, packs = loaded, "index rebuilt from footers");
            }
        }
        Ok(())
    }

    /// Takes a share of the byte budget; waits for it when others hold it.
    pub(crate) async fn reserve(&self, bytes: usize) -> Result<tokio::sync::SemaphorePermit<'_>> {
        let kib = u32::try_from(bytes.div_ceil(limits::KIB)).unwrap_or(u32::MAX);
        self.budget
            .acquire_many(kib.min(BUDGET_KIB))
            .await
            .map_err(|_| Error::new(Code::ClusterUnreachable, "this coordinator is shutting down"))
    }
}

/// Four packs of two agents, or as much in frames going out.
pub(crate) const BUDGET_KIB: u32 = 128 << 10;

pub(crate) struct Vault {
    pub(crate) row: VaultRow,
    pub(crate) custody: Arc<VaultCustody>,
    pub(crate) catalog: Arc<Catalog>,
}
