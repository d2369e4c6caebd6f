//! What the services of one coordinator share.

use crate::{
    agents::hub::Hub,
    api::{calls::Calls, heeding::Silence},
    budget::Budget,
    catalog::Catalog,
    cluster::seed::Addresses,
    collect::{GivenUp, Stuck},
    identity::people::Parting,
    ingest::{Sessions, Shelf},
    keys::{
        custody::{Custodian, VaultCustody},
        kek::KekWatch,
        shut::Shut,
    },
    places::Places,
    raft::Ledger,
    reading::Reads,
    replicate::Figures,
    scrub::Reading,
    shipped::ship::Shipping,
};
use bytes::Bytes;
use holdfast_common::{
    AgentId, Clock, ClusterId, Code, Entropy, Error, Name, Result, Timestamp, VaultId,
};
use holdfast_keyring::ClusterRecoveryKey;
use holdfast_ledger::row::{Duty, VaultRow};
use holdfast_runtime::{
    context::Context, pki::CertificateAuthority, tasks::Tasks, tls::Connections,
};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub(crate) struct House {
    pub(crate) cluster: ClusterId,
    pub(crate) node_id: u64,
    pub(crate) name: Name,
    pub(crate) region: Name,
    pub(crate) trial: bool,
    /// How long rules that were changed, and holds that ended, are not carried out unasked.
    pub(crate) retention_settles: Duration,
    /// What this member was told.
    pub(crate) config: PathBuf,
    /// Relative `local:` paths start here.
    pub(crate) base: PathBuf,
    pub(crate) ledger: Ledger,
    /// A witness has none.
    pub(crate) keys: Option<Keys>,
    pub(crate) kek_watch: KekWatch,
    pub(crate) places: Places,
    pub(crate) hub: Arc<Hub>,
    pub(crate) sessions: Sessions,
    pub(crate) reads: Reads,
    pub(crate) shipping: Shipping,
    /// How far this member is in bringing locations what they lack, when it leads.
    pub(crate) copies: Figures,
    /// How far it is in reading locations back, when it leads.
    pub(crate) checks: Reading,
    /// What it could not delete of what was collected, when it leads.
    pub(crate) stuck: Stuck,
    pub(crate) given_up: GivenUp,
    pub(crate) shut: Shut,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// Bytes of packs on their way in.
    pub(crate) incoming: Budget,
    pub(crate) shelf: Shelf,
    /// Bytes of frames on their way out, and of objects that are verified.
    pub(crate) outgoing: Budget,
    pub(crate) calls: Calls,
    /// Where others reach this member.
    pub(crate) endpoint: String,
    /// Who was there when this member joined.
    pub(crate) first_peers: Addresses,
    /// Where this member keeps what is its own.
    pub(crate) data: PathBuf,
    /// Cancelled when everything is to start anew, with another standing.
    pub(crate) again: CancellationToken,
    pub(crate) index: PathBuf,
    pub(crate) shipped_hint: PathBuf,
    pub(crate) catalogs: Mutex<HashMap<VaultId, Arc<Catalog>>>,
    /// There is one that nobody loads yet.
    pub(crate) catalog_made: Notify,
    pub(crate) tasks: Tasks,
    pub(crate) close_agent: Box<dyn Fn(AgentId) + Send + Sync>,
    /// Those that stand at this member's door.
    pub(crate) connections: Connections,
    pub(crate) parting: Parting,
    /// Since when nobody says what was agreed.
    pub(crate) silence: Silence,
}

/// What a member can do because it has the KEK.
pub(crate) struct Keys {
    pub(crate) custodian: Custodian,
    pub(crate) authority: CertificateAuthority,
    /// Opens extents of the shipped log and claimed epochs.
    pub(crate) recovery: ClusterRecoveryKey,
}

impl House {
    pub(crate) fn keys(&self) -> Result<&Keys> {
        self.keys.as_ref().ok_or_else(|| self.is_only_a_witness())
    }

    pub(crate) fn is_witness(&self) -> bool {
        self.keys.is_none()
    }

    /// What a witness answers to whom it cannot help, and who can.
    pub(crate) fn is_only_a_witness(&self) -> Error {
        let message =
            format!("`{}` is a witness: it votes, and has no data and no keys", self.name);
        match self.endpoints() {
            none if none.is_empty() => Error::new(Code::MemberWitness, message),
            others => Error::new(Code::MemberWitness, message)
                .next(format!("call another member: {}", others.join(", "))),
        }
    }

    /// A vault with its keys and its index, which is loaded in the background.
    pub(crate) fn vault(&self, id: &VaultId) -> Result<Vault> {
        let row = self.ledger.query().vault(id)?;
        let custody = self.keys()?.custodian.vault(&row, &self.ledger)?;
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

    /// Whether an agent is attached to any member, as far as is known here.
    pub(crate) fn is_attached(&self, agent: &AgentId) -> bool {
        let elsewhere = || self.ledger.query().seat(agent).ok().flatten();
        self.hub.is_attached(agent) || elsewhere().is_some_and(|seat| seat.member.is_some())
    }

    pub(crate) fn last_seen(&self, agent: &AgentId) -> Option<Timestamp> {
        let seat = self.ledger.query().seat(agent).ok().flatten();
        self.hub.last_seen(agent).max(seat.map(|seat| seat.seen))
    }

    /// Where every live member that holds data can be reached, this one first.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        let members = self.ledger.query().members().unwrap_or_default();
        let standing = self.ledger.peers().standing();
        if !standing.belongs {
            // Whoever asks is sent to the side that leads.
            let holders = members.into_iter().filter(|row| standing.epoch.is_of(&row.region));
            let holders = holders.map(|row| row.address).filter(|address| is_dialable(address));
            return holders.collect();
        }
        let others = members.into_iter().filter(|row| {
            row.is_live()
                && row.duty == Duty::Data
                && row.id != self.node_id
                && is_dialable(&row.address)
        });
        let own = (!self.is_witness()).then(|| self.endpoint.clone());
        own.into_iter().chain(others.map(|row| row.address)).collect()
    }

    /// The operator's context beside the configuration follows the members.
    pub(crate) fn tell_operator(&self) {
        if let Err(error) = self.keep_operator_informed() {
            tracing::warn!(%error, "operator.toml does not say where the coordinators are");
        }
    }

    fn keep_operator_informed(&self) -> Result<()> {
        let path = self.base.join("operator.toml");
        if !path.exists() {
            return Ok(());
        }
        let context = Context::load(&path)?;
        let endpoints = self.endpoints();
        if !self.ledger.peers().standing().belongs {
            return Ok(());
        }
        if context.cluster != self.cluster || context.endpoints == endpoints {
            return Ok(());
        }
        Context { endpoints, ..context }.save(&path)
    }

    /// BLAKE3 of many bytes, on a thread of its own.
    pub(crate) async fn hash(&self, bytes: Bytes) -> Result<blake3::Hash> {
        self.tasks.run_blocking("hash", move || Ok(blake3::hash(&bytes))).await
    }
}

/// A member that is to choose its port when it starts is nowhere yet.
pub(crate) fn is_dialable(address: &str) -> bool {
    !address.ends_with(":0")
}

#[derive(Clone)]
pub(crate) struct Vault {
    pub(crate) row: VaultRow,
    pub(crate) custody: Arc<VaultCustody>,
    pub(crate) catalog: Arc<Catalog>,
}
