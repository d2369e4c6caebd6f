//! The 48 bytes in clear at the front of a segment; they are the additional data of its sealing.

use super::{FORM, PACK_BYTES, ROW_BYTES};
use crate::{
    defect::Defect,
    fields::{Fields, index},
};
use holdfast_common::{Result, SegmentId, VaultId, limits};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    pub vault: VaultId,
    pub segment: SegmentId,
    pub packs: u32,
    pub rows: u32,
}

impl SegmentHeader {
    pub const BYTES: usize = 4 + 1 + 3 + 16 + 16 + 4 + 4;

    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..4].copy_from_slice(MAGIC);
        out[4] = 1;
        out[8..24].copy_from_slice(self.vault.as_bytes());
        out[24..40].copy_from_slice(self.segment.as_bytes());
        out[40..44].copy_from_slice(&self.packs.to_le_bytes());
        out[44..].copy_from_slice(&self.rows.to_le_bytes());
        out
    }

    /// Reads the front of `bytes`; the counts it returns are within their limits.
    pub fn parse(vault: &VaultId, bytes: &[u8]) -> Result<Self> {
        Self::parse_fields(vault, &mut Fields::new(bytes)).map_err(|defect| defect.told_of(&FORM))
    }

    pub(super) fn parse_fields(vault: &VaultId, fields: &mut Fields<'_>) -> Result<Self, Defect> {
        fields.opening(MAGIC)?;
        let found = VaultId::from_bytes(fields.array()?);
        if found != *vault {
            return Err(Defect::Foreign(found));
        }
        let segment = SegmentId::from_bytes(fields.array()?);
        let header = Self { vault: found, segment, packs: fields.u32()?, rows: fields.u32()? };
        if index(header.rows.max(header.packs)) > limits::SEGMENT_ROWS_MAX {
            let (packs, rows) = (header.packs, header.rows);
            return Err(Defect::malformed(format!("it claims {packs} packs and {rows} rows")));
        }
        Ok(header)
    }

    /// Length of the plaintext that belongs to this header.
    pub fn plain_bytes(&self) -> usize {
        index(self.packs) * PACK_BYTES + index(self.rows) * ROW_BYTES
    }
}

const MAGIC: &[u8; 4] = b"HFIX";
