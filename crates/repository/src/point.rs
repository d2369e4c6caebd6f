//! A point's object: its record, the agent's signature over it, and what a small run made
//! (format §11).
//!
//! The record's bytes are kept exactly as they came, because the signature is over them and not
//! over what we understood. This module checks that the object is whole and is the one asked for;
//! **whose** it is only the signature says, and the caller, who knows the enrolled identities,
//! must check it before it trusts [`PointObject::record`].

use crate::{
    defect::{Defect, Form},
    fields::{Fields, index},
    vault_object::record_version,
};
use bytes::Bytes;
use core::fmt;
use holdfast_common::{
    AgentId, ChunkId, Code, Error, Name, PackId, PointId, Result, RunId, Timestamp, VaultId,
    limits, record,
};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct PointRecord {
    #[n(0)]
    pub format: FormatOne,
    #[n(1)]
    pub point: PointId,
    #[n(2)]
    pub vault: VaultId,
    #[n(3)]
    pub agent: AgentId,
    #[n(4)]
    pub run: RunId,
    /// Absent when a path was backed up without a policy.
    #[n(5)]
    pub policy: Option<Name>,
    #[n(6)]
    pub source: String,
    #[n(7)]
    pub started: Timestamp,
    #[n(8)]
    pub ended: Timestamp,
    /// Id of the root page.
    #[n(9)]
    pub root: ChunkId,
    /// 1 when the root is a lone leaf.
    #[n(10)]
    pub height: u8,
    #[n(11)]
    pub entries: u64,
    #[n(12)]
    pub bytes: u64,
    /// The point of this source before it; absent for the first.
    #[n(13)]
    pub previous: Option<PointId>,
    #[n(14)]
    pub state: PointState,
    #[n(15)]
    pub chunk_profile: ChunkProfileOne,
    #[n(16)]
    pub id_key_scope: IdKeyScope,
    #[n(17)]
    pub skipped: u64,
    /// Ids of the packs that lie in the object itself, in their order there.
    #[n(18)]
    pub inline_packs: Vec<PackId>,
    /// The page that lists what was skipped; absent when nothing was.
    #[n(19)]
    pub skipped_page: Option<ChunkId>,
}

/// Format version 1, as a field that can hold nothing else.
#[derive(Clone, Copy, Debug, Decode, Default, Encode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum FormatOne {
    #[default]
    #[n(1)]
    One,
}

/// Chunk profile version 1, as a field that can hold nothing else.
#[derive(Clone, Copy, Debug, Decode, Default, Encode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum ChunkProfileOne {
    #[default]
    #[n(1)]
    One,
}

/// Which id-key the chunk ids were made with.
#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq, Hash)]
#[cbor(index_only)]
pub enum IdKeyScope {
    #[n(1)]
    Agent,
    #[n(2)]
    Vault,
}

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq, Hash)]
#[cbor(index_only)]
pub enum PointState {
    #[n(2)]
    Checkpoint,
    #[n(1)]
    Complete,
    /// Some of what was asked for could not be read.
    #[n(3)]
    Partial,
    /// Made by a restore of what it was about to overwrite: never the newest of a source.
    #[n(4)]
    Safety,
}

impl PointRecord {
    pub fn to_bytes(&self) -> Vec<u8> {
        record::to_bytes(self)
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::parse(bytes).map_err(|defect| defect.told_of(&FORM))
    }

    fn parse(bytes: &[u8]) -> Result<Self, Defect> {
        record_version("point", bytes)?;
        let record: Self = record::from_bytes("point", bytes).map_err(Defect::Refused)?;
        if record.height == 0 || record.inline_packs.len() > INLINE_PACKS_MAX {
            return Err(Defect::malformed("its root has no height, or it has too many packs"));
        }
        Ok(record)
    }
}

/// What an agent signs and a restore checks: the point's name for signatures, then its record.
pub fn signed_message(record_bytes: &[u8]) -> Vec<u8> {
    [SIGNATURE_CONTEXT, record_bytes].concat()
}

#[derive(Clone, PartialEq, Eq)]
pub struct PointObject {
    record_bytes: Bytes,
    record: PointRecord,
    signature: [u8; 64],
    inline: Vec<Bytes>,
}

impl PointObject {
    /// Puts a signed point together. The inline packs must be those that the record names.
    pub fn new(record_bytes: Bytes, signature: [u8; 64], inline: Vec<Bytes>) -> Result<Self> {
        let record = PointRecord::from_bytes(&record_bytes)?;
        check_inline(&record, &inline).map_err(|defect| defect.told_of(&FORM))?;
        let inline_bytes = inline.iter().map(Bytes::len).sum::<usize>();
        if inline_bytes > limits::INLINE_PACK_BYTES_MAX {
            let message = format!("inline packs of {inline_bytes} bytes are too large");
            return Err(Error::new(Code::LimitExceeded, message));
        }
        Ok(Self { record_bytes, record, signature, inline })
    }

    /// Parses the object that was fetched as `point` of `vault`.
    pub fn parse(vault: &VaultId, point: &PointId, bytes: &Bytes) -> Result<Self> {
        Self::parse_bytes(vault, point, bytes).map_err(|defect| defect.told_of(&FORM))
    }

    pub(crate) fn parse_bytes(
        vault: &VaultId,
        point: &PointId,
        bytes: &Bytes,
    ) -> Result<Self, Defect> {
        if bytes.len() > limits::POINT_OBJECT_BYTES_MAX {
            return Err(Defect::malformed(format!("it has {} bytes", bytes.len())));
        }
        let mut fields = Fields::new(bytes);
        fields.opening(MAGIC)?;
        let record_bytes = sized(bytes, &mut fields, limits::RECORD_BYTES_MAX)?;
        let signature = fields.array()?;
        let inline = inline_packs(bytes, &mut fields)?;
        let record = PointRecord::parse(&record_bytes)?;
        if record.vault != *vault {
            return Err(Defect::Foreign(record.vault));
        }
        if record.point != *point {
            return Err(Defect::malformed(format!("it holds the point {}", record.point)));
        }
        check_inline(&record, &inline)?;
        Ok(Self { record_bytes, record, signature, inline })
    }

    /// The bytes of the object `points/<point id>`.
    pub fn to_object(&self) -> Vec<u8> {
        let inline_bytes: usize = self.inline.iter().map(|pack| 4 + pack.len()).sum();
        let mut object =
            Vec::with_capacity(OPENING_BYTES + self.record_bytes.len() + 64 + 1 + inline_bytes);
        object.extend_from_slice(MAGIC);
        object.extend_from_slice(&[1, 0, 0, 0]);
        write_sized(&mut object, &self.record_bytes);
        object.extend_from_slice(&self.signature);
        if !self.inline.is_empty() {
            object.push(self.inline.len() as u8);
            self.inline.iter().for_each(|pack| write_sized(&mut object, pack));
        }
        object
    }

    /// Nobody's word until the signature was checked.
    pub fn record(&self) -> &PointRecord {
        &self.record
    }

    /// Exactly what was signed, behind the context of [`signed_message`].
    pub fn record_bytes(&self) -> &Bytes {
        &self.record_bytes
    }

    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// Whole packs; their hashes are those that the record names.
    pub fn inline(&self) -> &[Bytes] {
        &self.inline
    }
}

impl fmt::Debug for PointObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PointObject({:?}, {} inline packs)", self.record.point, self.inline.len())
    }
}

fn write_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn sized(bytes: &Bytes, fields: &mut Fields<'_>, max: usize) -> Result<Bytes, Defect> {
    let length = index(fields.u32()?);
    if length > max {
        return Err(Defect::malformed(format!("a part claims {length} bytes")));
    }
    let start = fields.consumed();
    fields.take(length)?;
    Ok(bytes.slice(start..start + length))
}

/// Nothing at all, or a count and as many packs. One form for each: a count of zero is refused.
fn inline_packs(bytes: &Bytes, fields: &mut Fields<'_>) -> Result<Vec<Bytes>, Defect> {
    if fields.rest().is_empty() {
        return Ok(Vec::new());
    }
    let count = usize::from(fields.u8()?);
    if !(1..=INLINE_PACKS_MAX).contains(&count) {
        return Err(Defect::malformed(format!("it claims {count} inline packs")));
    }
    let packs = (0..count)
        .map(|_| sized(bytes, fields, limits::INLINE_PACK_BYTES_MAX))
        .collect::<Result<Vec<_>, _>>()?;
    if !fields.rest().is_empty() {
        return Err(Defect::malformed("bytes follow its inline packs"));
    }
    Ok(packs)
}

fn check_inline(record: &PointRecord, inline: &[Bytes]) -> Result<(), Defect> {
    if record.inline_packs.len() != inline.len() {
        let (named, here) = (record.inline_packs.len(), inline.len());
        return Err(Defect::malformed(format!("it names {named} inline packs and holds {here}")));
    }
    let mut pairs = record.inline_packs.iter().zip(inline);
    if pairs.all(|(id, pack)| *blake3::hash(pack).as_bytes() == *id.as_bytes()) {
        return Ok(());
    }
    Err(Defect::HashMismatch)
}

pub(crate) const FORM: Form =
    Form { noun: "point object", damaged: Code::ObjectDamaged, foreign: Code::VaultForeign };

pub const SIGNATURE_CONTEXT: &[u8] = b"holdfast point v1";
pub const INLINE_PACKS_MAX: usize = 2;
const MAGIC: &[u8; 4] = b"HFPT";
const OPENING_BYTES: usize = 4 + 1 + 3 + 4;
