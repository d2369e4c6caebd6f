//! What `Begin` said, parsed once: the session's names, keys and sizes.
//!
//! No message type goes further in than this. The data key is drawn here and dies with the run;
//! from then on nothing on this host opens what the run sealed. It is sealed to the key that this
//! host has pinned for the vault, and to no other that a coordinator may name.

use super::pins::VaultPins;
use holdfast_common::{Code, Entropy, Error, PointId, Result, Secret, SessionId, VaultId, limits};
use holdfast_keyring::{
    Capsule, ChunkingKey, DataKey, IdKey, IndexPublicKey, Succession, VaultPublicKey,
};
use holdfast_repository::point::IdKeyScope;
use holdfast_seal::{ChunkParameters, Chunker, GearTable};
use holdfast_wire::{parse, v1};
use std::sync::Arc;
use std::time::Duration;

pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) lease: Duration,
    pub(super) vault: VaultId,
    pub(super) point: PointId,
    pub(super) previous: Option<PointId>,
    pub(super) scope: IdKeyScope,
    pub(super) ids: IdKey,
    pub(super) chunker: Chunker,
    pub(super) index: IndexPublicKey,
    pub(super) data_key: Arc<DataKey>,
    pub(super) capsule: Capsule,
    /// Names everything that decides ids and cuts: a cache made under others is of no use.
    pub(super) cutting: [u8; 32],
}

impl Session {
    pub(super) fn parse(
        message: v1::BeginResponse,
        pins: &VaultPins,
        entropy: &dyn Entropy,
    ) -> Result<Self> {
        let vault = parse::vault_id(&message.vault_id)?;
        let public = VaultPublicKey {
            vault,
            version: message.vault_key_version,
            key: parse::array("the vault's public key", &message.vault_public)?,
        };
        let index = IndexPublicKey {
            vault,
            version: message.index_key_version,
            key: parse::array("the index public key", &message.index_public)?,
        };
        let parameters = parse::required("chunk parameters", message.chunks)?;
        let cutting = cutting(&vault, &message.id_key, &message.chunking_key, &parameters);
        let chunking = ChunkingKey::from_secret(secret("the chunking key", &message.chunking_key)?);
        let gear = GearTable::new(chunking.gear_table());
        pins.insist(&public, &successions(&message.successions, vault)?)?;
        let (data_key, capsule) = public.encapsulate(entropy)?;
        Ok(Self {
            id: parse::session_id(&message.session_id)?,
            lease: Duration::from_millis(message.lease_ms),
            vault,
            point: parse::point_id(&message.point_id)?,
            previous: message.previous_point.as_deref().map(parse::point_id).transpose()?,
            scope: scope(message.id_scope)?,
            ids: IdKey::from_secret(secret("the id-key", &message.id_key)?),
            chunker: Chunker::new(&sizes(&parameters)?, &gear),
            index,
            data_key: Arc::new(data_key),
            capsule,
            cutting,
        })
    }
}

/// How each version of the key is said to have followed another.
fn successions(
    told: &[v1::KeySuccession],
    vault: VaultId,
) -> Result<Vec<(Succession, VaultPublicKey)>> {
    if told.len() > limits::KEY_VERSIONS_MAX {
        let message = format!("{} versions of one vault's key", told.len());
        return Err(Error::new(Code::LimitExceeded, message));
    }
    let parsed = told.iter().map(|made| {
        let key = parse::array("the vault's public key", &made.vault_public)?;
        let signature = parse::array("the older key's signature", &made.signature)?;
        let public = VaultPublicKey { vault, version: made.version, key };
        Ok((Succession { before: made.before, signature }, public))
    });
    parsed.collect()
}

fn sizes(chunks: &v1::ChunkParameters) -> Result<ChunkParameters> {
    let [min, average, max, fixed] =
        [chunks.min, chunks.average, chunks.max, chunks.fixed].map(|size| size as usize);
    ChunkParameters::new(min, average, max, fixed)
}

fn secret(what: &str, bytes: &[u8]) -> Result<Secret<32>> {
    let mut bytes = parse::array::<32>(what, bytes)?;
    Ok(Secret::take(&mut bytes))
}

fn scope(number: u32) -> Result<IdKeyScope> {
    match number {
        1 => Ok(IdKeyScope::Agent),
        2 => Ok(IdKeyScope::Vault),
        other => Err(Error::new(Code::UsageMalformed, format!("{other} is no scope of ids"))),
    }
}

fn cutting(vault: &VaultId, ids: &[u8], cuts: &[u8], sizes: &v1::ChunkParameters) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("holdfast 2026 agent cache cutting v1");
    hasher.update(vault.as_bytes()).update(ids).update(cuts);
    for size in [sizes.min, sizes.average, sizes.max, sizes.fixed] {
        hasher.update(&size.to_le_bytes());
    }
    hasher.finalize().into()
}
