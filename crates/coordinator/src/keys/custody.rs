//! The coordinators' keys: what opens footers and segments, and, in coordinator custody, capsules.
//!
//! Keys are unwrapped once at the start and live in memory, wiped when dropped. Nothing here opens
//! a chunk: the custodian derives the key of one chunk and hands it on, sealed to its reader.

use holdfast_common::{
    CapsuleId, ChunkId, ChunkKind, Code, Entropy, Error, Result, SegmentId, VaultId,
};
use holdfast_keyring::{Capsule, ChunkKey, DataKey, IdKey, Kek, KeyObject, VaultKeys, aead};
use holdfast_ledger::row::{Sharing, VaultRow};
use holdfast_repository::{
    pack::FooterOpener,
    segment::{SegmentOpener, SegmentSealer},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Opened capsules that are kept; one session has one.
const DATA_KEYS_KEPT: usize = 1024;

pub(crate) struct Custodian {
    kek: Kek,
    vaults: Mutex<HashMap<VaultId, Arc<VaultCustody>>>,
    entropy: Arc<dyn Entropy>,
}

/// The keys of one vault.
pub(crate) struct VaultCustody {
    pub(crate) keys: VaultKeys,
    entropy: Arc<dyn Entropy>,
    opened: Mutex<HashMap<CapsuleId, Arc<DataKey>>>,
}

impl Custodian {
    pub(crate) fn new(kek: Kek, entropy: Arc<dyn Entropy>) -> Self {
        Self { kek, vaults: Mutex::default(), entropy }
    }

    pub(crate) fn kek(&self) -> &Kek {
        &self.kek
    }

    /// The keys of a vault, unwrapped on first use.
    pub(crate) fn vault(&self, row: &VaultRow) -> Result<Arc<VaultCustody>> {
        let mut vaults = self.vaults.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(custody) = vaults.get(&row.id) {
            return Ok(custody.clone());
        }
        let object = KeyObject::from_bytes(&row.key_object)?;
        object.insist_on_vault(&row.id)?;
        let keys = object.unwrap_coordinator(&self.kek)?;
        let custody = Arc::new(VaultCustody::new(keys, self.entropy.clone()));
        vaults.insert(row.id, custody.clone());
        Ok(custody)
    }
}

/// The id-key that an agent uses in a vault, and the number by which records name its scope.
pub(crate) fn id_key(
    custody: &VaultCustody,
    vault: &VaultRow,
    agent: &holdfast_common::AgentId,
) -> (IdKey, u8) {
    match vault.sharing {
        Sharing::Agent => (custody.keys.id().for_agent(agent), 1),
        Sharing::Vault => (custody.keys.id().shared(), 2),
    }
}

impl VaultCustody {
    pub(crate) fn new(keys: VaultKeys, entropy: Arc<dyn Entropy>) -> Self {
        Self { keys, entropy, opened: Mutex::default() }
    }

    /// The key of one chunk that was sealed in the session of this capsule.
    pub(crate) fn chunk_key(
        &self,
        capsule: &[u8],
        kind: ChunkKind,
        id: &ChunkId,
    ) -> Result<ChunkKey> {
        let capsule = Capsule::from_bytes(capsule)?;
        Ok(self.data_key(&capsule)?.chunk_key(kind, id))
    }

    fn data_key(&self, capsule: &Capsule) -> Result<Arc<DataKey>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = opened.get(&capsule.id()) {
            return Ok(key.clone());
        }
        let key = Arc::new(self.keys.open(capsule)?);
        if opened.len() >= DATA_KEYS_KEPT {
            opened.clear();
        }
        opened.insert(capsule.id(), key.clone());
        Ok(key)
    }
}

impl FooterOpener for VaultCustody {
    fn open_footer(&self, version: u32, digest: &[u8; 32], sealed: &[u8]) -> Result<Vec<u8>> {
        self.keys.index_private(version)?.open_footer(digest, sealed)
    }
}

impl SegmentSealer for VaultCustody {
    fn seal_segment(&self, segment: &SegmentId, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>> {
        let key = self.keys.coordinator().segment_key(segment);
        Ok(aead::seal(key.expose(), aad, plaintext, self.entropy.as_ref()))
    }
}

impl SegmentOpener for VaultCustody {
    fn open_segment(&self, segment: &SegmentId, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
        let key = self.keys.coordinator().segment_key(segment);
        aead::open(key.expose(), aad, sealed)
    }
}

/// Refuses what only an operator's key can do.
pub(crate) fn insist_on_custody(vault: &VaultRow) -> Result<()> {
    match vault.custody {
        holdfast_ledger::row::Custody::Coordinator => Ok(()),
        holdfast_ledger::row::Custody::Operator => Err(Error::new(
            Code::KeyCustodyRefused,
            format!("coordinators hold no key that opens the vault `{}`", vault.name),
        )),
    }
}
