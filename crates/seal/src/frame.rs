//! A chunk on its way out and back: `PlainChunk → SealedChunk → frame → plaintext`.
//!
//! The frame is format §6: `nonce ‖ AES-256-GCM(codec ‖ plain length ‖ payload) ‖ tag` under the
//! chunk's own key, bound to the vault, the kind and the id. What opens is authentic, no longer
//! than a chunk may be, and hashes to the id that was asked for, or it is an error: an agent that
//! sealed other bytes under somebody's id is found out here. A [`Sealer`] or [`Opener`] belongs to
//! one thread; the keys are shared.

use crate::compress::{Codec, Compressor, Decompressor};
use aes_gcm::{
    Aes256Gcm, KeyInit, Nonce, Tag,
    aead::{AeadInOut, inout::InOutBuf},
};
use bytes::Bytes;
use core::fmt;
use holdfast_common::{ChunkId, ChunkKind, Code, Entropy, Error, Result, VaultId, limits};
use holdfast_keyring::{chunk_key::ChunkKey, chunk_key::DataKey, id_key::IdKey};
use std::sync::Arc;

/// A chunk as it was cut, with its name.
#[derive(Clone, PartialEq, Eq)]
pub struct PlainChunk {
    pub kind: ChunkKind,
    pub id: ChunkId,
    pub bytes: Bytes,
}

impl PlainChunk {
    /// Names the bytes.
    pub fn new(ids: &IdKey, kind: ChunkKind, bytes: Bytes) -> Self {
        Self { kind, id: ids.id(kind, &bytes), bytes }
    }
}

impl fmt::Debug for PlainChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlainChunk({:?} {:?}, {} bytes)", self.kind, self.id, self.bytes.len())
    }
}

/// A chunk that may leave the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedChunk {
    pub kind: ChunkKind,
    pub id: ChunkId,
    pub plain_length: u32,
    pub frame: Vec<u8>,
}

/// Seals chunks of one session.
pub struct Sealer {
    vault: VaultId,
    key: Arc<DataKey>,
    compressor: Compressor,
}

impl Sealer {
    pub fn new(vault: VaultId, key: Arc<DataKey>, level: i32) -> Result<Self> {
        Ok(Self { vault, key, compressor: Compressor::new(level)? })
    }

    /// `entropy` gives the nonce. The chunk's id is taken at its word: who opens recomputes it.
    pub fn seal(&mut self, chunk: &PlainChunk, entropy: &dyn Entropy) -> Result<SealedChunk> {
        let (codec, payload) = self.compressor.compress(&chunk.bytes)?;
        let plain_length = chunk.bytes.len() as u32; // compress refused what is over the limit
        let nonce: [u8; NONCE] = entropy.array();
        let mut frame = Vec::with_capacity(payload.len() + limits::FRAME_OVERHEAD_BYTES);
        frame.extend_from_slice(&nonce);
        frame.push(codec as u8);
        frame.extend_from_slice(&plain_length.to_le_bytes());
        frame.extend_from_slice(payload);
        let key = self.key.chunk_key(chunk.kind, &chunk.id);
        let tag = cipher(&key)
            .encrypt_inout_detached(
                &Nonce::from(nonce),
                &binding(&self.vault, chunk.kind, &chunk.id),
                (&mut frame[NONCE..]).into(),
            )
            .map_err(|_| Error::new(Code::InternalBug, "a chunk could not be encrypted"))?;
        frame.extend_from_slice(&tag);
        Ok(SealedChunk { kind: chunk.kind, id: chunk.id, plain_length, frame })
    }
}

/// Opens frames of one vault.
pub struct Opener {
    vault: VaultId,
    decompressor: Decompressor,
    scratch: Vec<u8>,
    room: Vec<u8>,
}

impl Opener {
    pub fn new(vault: VaultId) -> Result<Self> {
        Ok(Self {
            vault,
            decompressor: Decompressor::new()?,
            scratch: Vec::new(),
            room: Vec::new(),
        })
    }

    /// The plaintext of the chunk `id`, or [`Code::ChunkDamaged`].
    pub fn open(
        &mut self,
        kind: ChunkKind,
        id: &ChunkId,
        key: &ChunkKey,
        ids: &IdKey,
        frame: &[u8],
    ) -> Result<Vec<u8>> {
        self.open_here(kind, id, key, ids, frame).map(<[u8]>::to_vec)
    }

    /// The same without a copy of its own: it lies here until the next chunk is opened.
    pub fn open_here(
        &mut self,
        kind: ChunkKind,
        id: &ChunkId,
        key: &ChunkKey,
        ids: &IdKey,
        frame: &[u8],
    ) -> Result<&[u8]> {
        let plain = self.open_payload(kind, id, key, frame).map_err(|error| named(id, error))?;
        if ids.id(kind, plain) == *id {
            Ok(plain)
        } else {
            Err(named(id, damaged("its content is not what its id says")))
        }
    }

    /// Opens what was just sealed, as a sampled proof that this host computes correctly.
    pub fn verify_sealed(
        &mut self,
        sealed: &SealedChunk,
        key: &DataKey,
        ids: &IdKey,
    ) -> Result<()> {
        let chunk_key = key.chunk_key(sealed.kind, &sealed.id);
        let plain = self.open_here(sealed.kind, &sealed.id, &chunk_key, ids, &sealed.frame)?;
        if plain.len() == sealed.plain_length as usize {
            Ok(())
        } else {
            Err(named(&sealed.id, damaged("its length is not what was said")))
        }
    }

    fn open_payload(
        &mut self,
        kind: ChunkKind,
        id: &ChunkId,
        key: &ChunkKey,
        frame: &[u8],
    ) -> Result<&[u8]> {
        if frame.len() > limits::FRAME_BYTES_MAX {
            return Err(damaged("it is longer than frames may be"));
        }
        let (nonce, sealed) = frame.split_first_chunk::<NONCE>().ok_or_else(short)?;
        let (sealed, tag) = sealed.split_last_chunk::<TAG>().ok_or_else(short)?;
        if self.scratch.len() < sealed.len() {
            self.scratch.resize(sealed.len(), 0);
        }
        let opened = &mut self.scratch[..sealed.len()];
        let here = InOutBuf::new(sealed, opened).map_err(|_| short())?;
        cipher(key)
            .decrypt_inout_detached(
                &Nonce::from(*nonce),
                &binding(&self.vault, kind, id),
                here,
                &Tag::from(*tag),
            )
            .map_err(|_| damaged("its bytes are not those that were sealed"))?;
        let (codec, rest) = opened.split_first().ok_or_else(short)?;
        let (length, payload) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let length = u32::from_le_bytes(*length) as usize;
        self.decompressor.decompress(Codec::try_from(*codec)?, payload, length, &mut self.room)
    }
}

/// Opens a single frame; who opens many keeps an [`Opener`].
pub fn open(
    vault: VaultId,
    kind: ChunkKind,
    id: &ChunkId,
    key: &ChunkKey,
    ids: &IdKey,
    frame: &[u8],
) -> Result<Vec<u8>> {
    Opener::new(vault)?.open(kind, id, key, ids, frame)
}

fn cipher(key: &ChunkKey) -> Aes256Gcm {
    Aes256Gcm::new(key.expose().into())
}

/// What the frame is bound to, besides its key.
fn binding(vault: &VaultId, kind: ChunkKind, id: &ChunkId) -> [u8; 52] {
    let mut out = [0; 52];
    out[..3].copy_from_slice(b"hf1");
    out[3..19].copy_from_slice(vault.as_bytes());
    out[19] = kind as u8;
    out[20..].copy_from_slice(id.as_bytes());
    out
}

fn damaged(why: &str) -> Error {
    Error::new(Code::ChunkDamaged, "a frame cannot be opened").cause(why)
}

fn short() -> Error {
    damaged("it is too short")
}

/// Says which chunk it was; the reason stays.
fn named(id: &ChunkId, mut error: Error) -> Error {
    error.message = format!("chunk {} cannot be opened", shown(id));
    error
}

/// Enough of an id to find the chunk by, and too little to ask for it.
pub(crate) fn shown(id: &ChunkId) -> String {
    id.as_bytes()[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

const NONCE: usize = 12;
const TAG: usize = 16;
const _: () = assert!(NONCE + TAG + 5 == limits::FRAME_OVERHEAD_BYTES);
