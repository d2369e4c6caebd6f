//! The footer of a pack: a row per frame, and the chunk numbers that repacked frames took over.
//!
//! It is sealed to the coordinators' index key; whoever can seal or open lends a [`FooterSealer`]
//! or [`FooterOpener`]. An opened footer is believed only after [`Footer::open`] has checked that
//! its rows cover the frames exactly and in order, that no chunk appears twice, and that nothing
//! points outside: the agent that sealed it may be hostile.

use super::{FOOTER_OVERHEAD_BYTES, FORM, TAIL_BYTES, TAIL_MAGIC};
use crate::{
    defect::Defect,
    fields::{Fields, index},
    number::{ChunkNumber, Slot},
    segment::{ChunkLocation, Home},
};
use core::ops::Range;
use holdfast_common::{ChunkId, PackId, Result, limits};
use std::collections::HashSet;

/// Seals a footer's plaintext, bound to `digest`: the hash of everything before the footer.
pub trait FooterSealer {
    /// The index key version, and `encapsulated key ‖ ciphertext`.
    fn seal_footer(&self, digest: &[u8; 32], plaintext: &[u8]) -> Result<(u32, Vec<u8>)>;
}

/// Opens what a [`FooterSealer`] sealed to the index key of that version.
pub trait FooterOpener {
    fn open_footer(&self, version: u32, digest: &[u8; 32], sealed: &[u8]) -> Result<Vec<u8>>;
}

impl<F: Fn(&[u8; 32], &[u8]) -> Result<(u32, Vec<u8>)>> FooterSealer for F {
    fn seal_footer(&self, digest: &[u8; 32], plaintext: &[u8]) -> Result<(u32, Vec<u8>)> {
        self(digest, plaintext)
    }
}

impl<F: Fn(u32, &[u8; 32], &[u8]) -> Result<Vec<u8>>> FooterOpener for F {
    fn open_footer(&self, version: u32, digest: &[u8; 32], sealed: &[u8]) -> Result<Vec<u8>> {
        self(version, digest, sealed)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// In slot order.
    pub rows: Vec<FooterRow>,
    /// Ascending, each pair once. A slot may have taken over several numbers.
    pub taken: Vec<Taken>,
}

/// One frame: which chunk, where in the object, opened with which capsule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FooterRow {
    pub id: ChunkId,
    pub offset: u32,
    pub length: u32,
    pub capsule: u16,
}

/// A number that the frame in this slot answers to besides its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Taken {
    pub slot: Slot,
    pub number: ChunkNumber,
}

/// What a footer must cover: from the header's end to the footer's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameSpan {
    pub start: u32,
    pub end: u32,
    /// How many capsules the header holds.
    pub capsules: usize,
}

impl Footer {
    /// Opens the footer field (`index key version ‖ encapsulated key ‖ ciphertext`), wherever its
    /// bytes came from. What the opener refuses is passed on as the opener tells it.
    pub fn open(
        field: &[u8],
        digest: &[u8; 32],
        span: FrameSpan,
        opener: &dyn FooterOpener,
    ) -> Result<Self> {
        Self::open_field(field, digest, span, opener).map_err(|defect| defect.told_of(&FORM))
    }

    pub(super) fn open_field(
        field: &[u8],
        digest: &[u8; 32],
        span: FrameSpan,
        opener: &dyn FooterOpener,
    ) -> Result<Self, Defect> {
        let mut fields = Fields::new(field);
        let version = fields.u32()?;
        let plaintext =
            opener.open_footer(version, digest, fields.rest()).map_err(Defect::Refused)?;
        Self::parse(&plaintext, span)
    }

    /// Where each chunk lies, once it is known where the pack lies.
    pub fn locations(
        &self,
        pack: PackId,
        home: Home,
        base: ChunkNumber,
    ) -> impl Iterator<Item = (ChunkId, ChunkLocation)> {
        let slots = (0..=u16::MAX).map(Slot::new);
        self.rows.iter().zip(slots).map(move |(row, slot)| {
            let FooterRow { id, offset, length, capsule } = *row;
            (id, ChunkLocation { pack, home, base, offset, length, slot, capsule })
        })
    }

    /// The same under numbers that frames in a row took over from others: as if the pack had begun
    /// so far before the first of them.
    pub fn taken_locations(
        &self,
        pack: PackId,
        home: Home,
        (number, first, count): (ChunkNumber, Slot, u32),
    ) -> impl Iterator<Item = (ChunkId, ChunkLocation)> {
        let base = ChunkNumber::from_u64(number.as_u64().wrapping_sub(u64::from(first.as_u16())));
        let rows = self.locations(pack, home, base).skip(first.as_index());
        rows.take(count as usize)
    }

    fn parse(plaintext: &[u8], span: FrameSpan) -> Result<Self, Defect> {
        let mut fields = Fields::new(plaintext);
        let count = bounded_count(&mut fields, ROW_BYTES, limits::PACK_SLOTS_MAX)?;
        let mut rows = Vec::with_capacity(count);
        for _ in 0..count {
            rows.push(row(&mut fields)?);
        }
        let count = bounded_count(&mut fields, TAKEN_BYTES, limits::PACK_BYTES_MAX)?;
        let mut taken = Vec::with_capacity(count);
        for _ in 0..count {
            taken.push(taken_number(&mut fields)?);
        }
        if !fields.rest().is_empty() {
            return Err(Defect::malformed("bytes follow the footer's tables"));
        }
        let footer = Self { rows, taken };
        footer.check(span)?;
        Ok(footer)
    }

    fn check(&self, span: FrameSpan) -> Result<(), Defect> {
        let mut at = span.start;
        let mut seen = HashSet::with_capacity(self.rows.len());
        for row in &self.rows {
            if row.offset != at {
                return Err(Defect::malformed("the rows do not follow the frames"));
            }
            if !(limits::FRAME_OVERHEAD_BYTES..=limits::FRAME_BYTES_MAX)
                .contains(&index(row.length))
            {
                return Err(Defect::malformed(format!("a frame has {} bytes", row.length)));
            }
            if usize::from(row.capsule) >= span.capsules {
                return Err(Defect::malformed(format!("there is no capsule {}", row.capsule)));
            }
            if !seen.insert(row.id) {
                return Err(Defect::malformed("a chunk appears twice"));
            }
            at = at
                .checked_add(row.length)
                .filter(|end| *end <= span.end)
                .ok_or_else(|| Defect::malformed("the rows reach past the frames"))?;
        }
        if at != span.end {
            return Err(Defect::malformed("the rows do not cover the frames"));
        }
        let taken_by_frames = self.taken.iter().all(|t| t.slot.as_index() < self.rows.len());
        let ascending = self.taken.is_sorted_by(|a, b| a < b);
        if !taken_by_frames || !ascending {
            return Err(Defect::malformed("the numbers taken over are not in order"));
        }
        Ok(())
    }
}

/// The plaintext of a footer, as it is sealed.
pub(super) fn render(rows: &[FooterRow], taken: &[Taken]) -> Vec<u8> {
    let mut out = Vec::with_capacity(plain_bytes(rows.len(), taken.len()));
    out.extend_from_slice(&(rows.len() as u32).to_le_bytes());
    for row in rows {
        out.extend_from_slice(row.id.as_bytes());
        out.extend_from_slice(&row.offset.to_le_bytes());
        out.extend_from_slice(&row.length.to_le_bytes());
        out.extend_from_slice(&row.capsule.to_le_bytes());
        out.extend_from_slice(&[0, 0]);
    }
    out.extend_from_slice(&(taken.len() as u32).to_le_bytes());
    for Taken { slot, number } in taken {
        out.extend_from_slice(&slot.as_u32().to_le_bytes());
        out.extend_from_slice(&number.as_u64().to_le_bytes());
    }
    out
}

/// Bytes of the footer field of a pack of so many rows.
pub(super) fn field_bytes(rows: usize, taken: usize) -> usize {
    FOOTER_OVERHEAD_BYTES + plain_bytes(rows, taken)
}

/// The version of the index key that a footer field is sealed to.
pub fn footer_version(field: &[u8]) -> Result<u32> {
    Fields::new(field).u32().map_err(|defect| defect.told_of(&FORM))
}

/// Where the footer field lies in an object of `object_bytes`, read from the object's last bytes
/// (eight are enough). For readers that fetch ranges.
pub fn footer_range(tail: &[u8], object_bytes: u64) -> Result<Range<u64>> {
    range_from_tail(tail, object_bytes).map_err(|defect| defect.told_of(&FORM))
}

pub(super) fn range_from_tail(tail: &[u8], object_bytes: u64) -> Result<Range<u64>, Defect> {
    let tail = tail.last_chunk::<TAIL_BYTES>().ok_or(Defect::Truncated)?;
    let mut fields = Fields::new(tail);
    let length = u64::from(fields.u32()?);
    if fields.rest() != TAIL_MAGIC {
        return Err(Defect::Truncated);
    }
    if object_bytes > limits::PACK_BYTES_MAX as u64 {
        return Err(Defect::malformed(format!("it has {object_bytes} bytes")));
    }
    let end = object_bytes.saturating_sub(TAIL_BYTES as u64);
    let start = end.checked_sub(length).filter(|_| length >= FOOTER_OVERHEAD_BYTES as u64);
    start
        .map(|start| start..end)
        .ok_or_else(|| Defect::malformed(format!("its footer claims {length} bytes")))
}

fn plain_bytes(rows: usize, taken: usize) -> usize {
    4 + rows * ROW_BYTES + 4 + taken * TAKEN_BYTES
}

/// A count that its limit and the bytes behind it both allow.
fn bounded_count(fields: &mut Fields<'_>, width: usize, max: usize) -> Result<usize, Defect> {
    let count = index(fields.u32()?);
    if count > max {
        return Err(Defect::malformed(format!("it claims {count} rows")));
    }
    if count.saturating_mul(width) > fields.rest().len() {
        return Err(Defect::malformed("its footer is shorter than its rows"));
    }
    Ok(count)
}

fn row(fields: &mut Fields<'_>) -> Result<FooterRow, Defect> {
    let row = FooterRow {
        id: ChunkId::from_bytes(fields.array()?),
        offset: fields.u32()?,
        length: fields.u32()?,
        capsule: fields.u16()?,
    };
    match fields.u16()? {
        0 => Ok(row),
        flags => Err(Defect::malformed(format!("version 1 knows no flags {flags:#06x}"))),
    }
}

fn taken_number(fields: &mut Fields<'_>) -> Result<Taken, Defect> {
    let slot = u16::try_from(fields.u32()?)
        .map_err(|_| Defect::malformed("a number is taken over by no slot"))?;
    Ok(Taken { slot: Slot::new(slot), number: ChunkNumber::from_u64(fields.u64()?) })
}

const ROW_BYTES: usize = 32 + 4 + 4 + 2 + 2;
const TAKEN_BYTES: usize = 4 + 8;
