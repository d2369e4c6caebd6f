//! The front of a pack: which vault, which kind, and the capsules that open its frames.
//!
//! It lies in clear. With [`read_header`] a reader that fetches only ranges learns from a prefix
//! either the header or how many bytes it must fetch to learn it.

use super::{FORM, MAGIC, OPENING_BYTES};
use crate::{defect::Defect, fields::Fields};
use bytes::Bytes;
use holdfast_common::{ChunkKind, Result, VaultId, limits};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackHeader {
    pub vault: VaultId,
    pub kind: ChunkKind,
    /// As they lie in the pack; rows name them by position.
    pub capsules: Vec<Bytes>,
    /// Where the first frame begins, from the start of the object.
    pub frames_start: u32,
}

/// What a prefix of a pack gave away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderRead {
    Complete(PackHeader),
    /// The header is longer: come back with a prefix of so many bytes. An object that has no more
    /// than the prefix is cut short.
    More {
        bytes: usize,
    },
}

/// Reads the header from the first bytes of a pack, as many as the caller has.
pub fn read_header(vault: &VaultId, prefix: &Bytes) -> Result<HeaderRead> {
    let mut fields = Fields::new(prefix);
    match parse(vault, prefix, &mut fields) {
        Ok(header) => Ok(HeaderRead::Complete(header)),
        Err(Defect::Truncated) if prefix.len() < HEADER_BYTES_MAX => {
            Ok(HeaderRead::More { bytes: next_bytes(prefix.len()) })
        }
        Err(defect) => Err(defect.told_of(&FORM)),
    }
}

pub(super) fn parse(
    vault: &VaultId,
    bytes: &Bytes,
    fields: &mut Fields<'_>,
) -> Result<PackHeader, Defect> {
    fields.magic_and_version(MAGIC)?;
    let kind =
        ChunkKind::try_from(fields.u8()?).map_err(|error| Defect::malformed(error.message))?;
    let count = usize::from(fields.u16()?);
    let found = VaultId::from_bytes(fields.array()?);
    if found != *vault {
        return Err(Defect::Foreign(found));
    }
    if !(1..=limits::PACK_CAPSULES_MAX).contains(&count) {
        return Err(Defect::malformed(format!("it has {count} capsules")));
    }
    // The count is bounded, but a lie within the bound must not cost more than the bytes given.
    let mut capsules = Vec::with_capacity(count.min(fields.rest().len() / 2));
    for _ in 0..count {
        capsules.push(capsule(bytes, fields)?);
    }
    let frames_start =
        u32::try_from(fields.consumed()).map_err(|_| Defect::malformed("the header has no end"))?;
    Ok(PackHeader { vault: found, kind, capsules, frames_start })
}

fn capsule(bytes: &Bytes, fields: &mut Fields<'_>) -> Result<Bytes, Defect> {
    let length = usize::from(fields.u16()?);
    if !(1..=limits::CAPSULE_BYTES_MAX).contains(&length) {
        return Err(Defect::malformed(format!("a capsule has {length} bytes")));
    }
    let start = fields.consumed();
    fields.take(length)?;
    Ok(bytes.slice(start..start + length))
}

/// Doubling finds the end of any header in a few round trips.
fn next_bytes(have: usize) -> usize {
    (have * 2).clamp(PREFIX_BYTES_MIN, HEADER_BYTES_MAX)
}

/// Room for the opening and a capsule or two.
const PREFIX_BYTES_MIN: usize = 512;
/// A header cannot be longer than the pack it stands in.
const HEADER_BYTES_MAX: usize = limits::PACK_BYTES_MAX;

const _: () = assert!(OPENING_BYTES < PREFIX_BYTES_MIN);
