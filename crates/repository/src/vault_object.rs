//! The object `vault`: who this vault is and how its content is cut. Nothing in it is secret.
//!
//! Written once, when the vault is made, and read first by everyone. The parameters never change,
//! because another cut of the same bytes would share nothing with what is stored.

use crate::defect::{Defect, Form};
use holdfast_common::{Code, Error, Result, Timestamp, VaultId, limits, record};
use minicbor::{Decode, Encode};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultObject {
    pub id: VaultId,
    pub created: Timestamp,
    pub chunks: ChunkParameters,
}

impl VaultObject {
    pub fn to_bytes(&self) -> Vec<u8> {
        record::to_bytes(&VaultRecord {
            format: FORMAT_VERSION,
            id: self.id,
            created: self.created,
            chunks: self.chunks,
        })
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::parse(bytes).map_err(|defect| defect.told_of(&FORM))
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Defect> {
        record_version("vault", bytes)?;
        let record: VaultRecord = record::from_bytes("vault", bytes).map_err(Defect::Refused)?;
        record.chunks.check().map_err(Defect::Refused)?;
        Ok(Self { id: record.id, created: record.created, chunks: record.chunks })
    }
}

/// How content is cut into chunks, in bytes.
#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct ChunkParameters {
    #[n(0)]
    pub bytes_min: u32,
    #[n(1)]
    pub bytes_avg: u32,
    #[n(2)]
    pub bytes_max: u32,
    #[n(3)]
    pub fixed_bytes: u32,
    #[n(4)]
    pub algorithm: Algorithm,
}

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum Algorithm {
    /// FastCDC, normalisation 1, with the vault's own gear table.
    #[n(1)]
    FastCdc,
}

impl Default for ChunkParameters {
    fn default() -> Self {
        Self {
            bytes_min: limits::CDC_BYTES_MIN as u32,
            bytes_avg: limits::CDC_BYTES_AVG as u32,
            bytes_max: limits::CDC_BYTES_MAX as u32,
            fixed_bytes: limits::FIXED_CHUNK_BYTES as u32,
            algorithm: Algorithm::FastCdc,
        }
    }
}

impl ChunkParameters {
    /// Whether a chunker may be built from them at all.
    pub fn check(&self) -> Result<()> {
        let bound = limits::CHUNK_BYTES_MAX as u32;
        let rising = 0 < self.bytes_min
            && self.bytes_min < self.bytes_avg
            && self.bytes_avg < self.bytes_max;
        if rising && self.bytes_max <= bound && (1..=bound).contains(&self.fixed_bytes) {
            return Ok(());
        }
        let message = format!("the chunk sizes do not rise within {bound} bytes");
        Err(Error::new(Code::RecordMalformed, message))
    }
}

/// Reads a record's size and key 0 before anything else, so that a record of a later version is
/// told apart from a damaged one.
pub(crate) fn record_version(what: &'static str, bytes: &[u8]) -> Result<(), Defect> {
    if bytes.len() > limits::RECORD_BYTES_MAX {
        let message = format!("a {what} record of {} bytes is too large", bytes.len());
        return Err(Defect::Refused(Error::new(Code::RecordMalformed, message)));
    }
    let Versioned { format } = record::from_bytes(what, bytes).map_err(Defect::Refused)?;
    match format {
        FORMAT_VERSION => Ok(()),
        other => Err(Defect::VersionUnknown(u64::from(other))),
    }
}

const FORMAT_VERSION: u32 = 1;
pub(crate) const FORM: Form =
    Form { noun: "vault object", damaged: Code::RecordMalformed, foreign: Code::VaultForeign };

#[derive(Decode)]
#[cbor(map)]
struct Versioned {
    #[n(0)]
    format: u32,
}

#[derive(Decode, Encode)]
#[cbor(map)]
struct VaultRecord {
    #[n(0)]
    format: u32,
    #[n(1)]
    id: VaultId,
    #[n(2)]
    created: Timestamp,
    #[n(3)]
    chunks: ChunkParameters,
}
