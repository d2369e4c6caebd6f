//! Answering from the plaintext of a segment, wherever its bytes lie: in memory or in a mapped
//! file.
//!
//! Nothing is copied and nothing is allocated. Chunk ids are keyed hashes and so nearly uniform:
//! a look-up guesses by interpolation for a few steps, which in a mapped file saves page faults,
//! and then halves, so that ids chosen by a hostile agent cost no more than a binary search.
//! The bytes of a file may rot: every access is checked, and a row that points outside its tables
//! is an error, not an absence.

use super::{
    FORM, PACK_BYTES, ROW_BYTES, SegmentHeader,
    location::{ChunkLocation, Home, PackPlace, SegmentRow},
};
use crate::{
    defect::Defect,
    fields::{Fields, index},
    number::{ChunkNumber, Slot},
};
use holdfast_common::{ChunkId, PackId, PointId, Result};

#[derive(Clone, Copy, Debug)]
pub struct SegmentRows<'a> {
    packs: &'a [[u8; PACK_BYTES]],
    rows: &'a [[u8; ROW_BYTES]],
}

impl<'a> SegmentRows<'a> {
    /// Only the length is checked: [`SegmentRows::check`] reads everything, once, where that pays.
    pub fn new(header: &SegmentHeader, plaintext: &'a [u8]) -> Result<Self> {
        Self::split(header, plaintext).map_err(|defect| defect.told_of(&FORM))
    }

    pub(super) fn split(header: &SegmentHeader, plaintext: &'a [u8]) -> Result<Self, Defect> {
        if plaintext.len() != header.plain_bytes() {
            let (have, want) = (plaintext.len(), header.plain_bytes());
            return Err(Defect::malformed(format!("its tables have {have} bytes, not {want}")));
        }
        let (packs, rows) = plaintext.split_at(index(header.packs) * PACK_BYTES);
        Ok(Self { packs: packs.as_chunks().0, rows: rows.as_chunks().0 })
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Every place the chunk lies, in pack order; empty when it is not here.
    pub fn lookup(&self, chunk: &ChunkId) -> Lookup<'a> {
        Lookup { rows: *self, chunk: *chunk, at: self.lower_bound(chunk) }
    }

    pub fn contains(&self, chunk: &ChunkId) -> bool {
        self.rows.get(self.lower_bound(chunk)).is_some_and(|row| chunk_of(row) == chunk.as_bytes())
    }

    /// The row at this position, if there are so many.
    pub fn row(&self, position: usize) -> Option<Result<SegmentRow>> {
        let row = self.rows.get(position)?;
        Some(self.decode(row).map_err(|defect| defect.told_of(&FORM)))
    }

    /// All rows in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<SegmentRow>> + 'a {
        let rows = *self;
        (0..rows.len()).map_while(move |position| rows.row(position))
    }

    /// Whether rows point into this pack.
    pub fn names(&self, pack: &PackId) -> bool {
        !self.positions_of(pack).is_empty()
    }

    /// The chunks that lie in a pack, in order. Reads all rows.
    pub fn chunks_in(&self, pack: &PackId) -> impl Iterator<Item = ChunkId> + 'a {
        let (rows, positions) = (self.rows, self.positions_of(pack));
        let rows = if positions.is_empty() { &[] } else { rows };
        rows.iter()
            .filter(move |row| positions.contains(&place_of(row)))
            .map(|row| ChunkId::from_bytes(*chunk_of(row)))
    }

    /// The place of the pack at this position, if there are so many.
    pub(super) fn place(&self, position: usize) -> Option<Result<PackPlace>> {
        let place = decode_place(self.packs.get(position)?);
        Some(place.map_err(|defect| defect.told_of(&FORM)))
    }

    fn positions_of(&self, pack: &PackId) -> core::ops::Range<usize> {
        let wanted = pack.as_bytes();
        let start = self.packs.partition_point(|place| pack_of(place) < wanted);
        let same = self.packs[start..].iter().take_while(|place| pack_of(place) == wanted);
        start..start + same.count()
    }

    /// Reads both tables through: sorted, nothing twice, nothing pointing outside.
    pub fn check(&self) -> Result<()> {
        self.check_tables().map_err(|defect| defect.told_of(&FORM))
    }

    pub(super) fn check_tables(&self) -> Result<(), Defect> {
        let mut last = None;
        for bytes in self.packs {
            let place = decode_place(bytes)?;
            if last.replace(place).is_some_and(|before| before >= place) {
                return Err(Defect::malformed("its packs are not in order"));
            }
        }
        let mut last = None;
        for bytes in self.rows {
            let row = self.decode(bytes)?;
            row.location.number().map_err(Defect::Refused)?;
            if last.replace(row).is_some_and(|before| before >= row) {
                return Err(Defect::malformed("its rows are not in order"));
            }
        }
        Ok(())
    }

    fn decode(&self, bytes: &[u8; ROW_BYTES]) -> Result<SegmentRow, Defect> {
        let mut fields = Fields::new(bytes);
        let chunk = ChunkId::from_bytes(fields.array()?);
        let place = fields.u32()?;
        let place = self.packs.get(index(place)).ok_or_else(|| {
            Defect::malformed(format!("a row names pack {place} of {}", self.packs.len()))
        })?;
        let PackPlace { pack, home, base } = decode_place(place)?;
        let (offset, length) = (fields.u32()?, fields.u32()?);
        let (slot, capsule) = (Slot::new(fields.u16()?), fields.u16()?);
        let location = ChunkLocation { pack, home, base, offset, length, slot, capsule };
        Ok(SegmentRow { chunk, location })
    }

    /// Position of the first row whose chunk is not less than `chunk`.
    fn lower_bound(&self, chunk: &ChunkId) -> usize {
        let wanted = chunk.as_bytes();
        let target = prefix(wanted);
        let (mut low, mut high) = (0, self.rows.len());
        let (mut low_key, mut high_key) = (0, u64::MAX);
        for _ in 0..GUESSES_MAX {
            if high - low <= GUESS_ROWS_MIN {
                break;
            }
            let at = low + guess(high - low, target, low_key, high_key);
            let found = chunk_of(&self.rows[at]);
            if found < wanted {
                (low, low_key) = (at + 1, prefix(found));
            } else {
                (high, high_key) = (at, prefix(found));
            }
        }
        low + self.rows[low..high].partition_point(|row| chunk_of(row) < wanted)
    }
}

/// The rows of one chunk. See [`SegmentRows::lookup`].
#[derive(Clone, Debug)]
pub struct Lookup<'a> {
    rows: SegmentRows<'a>,
    chunk: ChunkId,
    at: usize,
}

impl Iterator for Lookup<'_> {
    type Item = Result<ChunkLocation>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.rows.rows.get(self.at)?;
        if chunk_of(bytes) != self.chunk.as_bytes() {
            return None;
        }
        let row = self.rows.row(self.at)?;
        self.at += 1;
        Some(row.map(|row| row.location))
    }
}

fn chunk_of(row: &[u8; ROW_BYTES]) -> &[u8; 32] {
    const { assert!(ChunkId::LEN == 32 && ROW_BYTES > 32) };
    match row.first_chunk() {
        Some(chunk) => chunk,
        None => unreachable!("a row is longer than the id it begins with"),
    }
}

fn pack_of(place: &[u8; PACK_BYTES]) -> &[u8; 32] {
    const { assert!(PackId::LEN == 32 && PACK_BYTES > 32) };
    match place.first_chunk() {
        Some(pack) => pack,
        None => unreachable!("a pack's place is longer than the id it begins with"),
    }
}

/// The position of the pack that a row points into, whether there is one or not.
fn place_of(row: &[u8; ROW_BYTES]) -> usize {
    let place = row[32..].first_chunk().map_or(u32::MAX, |bytes| u32::from_le_bytes(*bytes));
    index(place)
}

fn prefix(id: &[u8; 32]) -> u64 {
    id.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// Where among `span` rows between two keys the target should lie if keys are uniform; less than
/// `span` whatever the keys are.
fn guess(span: usize, target: u64, low_key: u64, high_key: u64) -> usize {
    let width = u128::from(high_key.saturating_sub(low_key)) + 1;
    let into = u128::from(target.clamp(low_key, high_key.max(low_key)) - low_key);
    (into * span as u128 / width).min(span as u128 - 1) as usize
}

fn decode_place(bytes: &[u8; PACK_BYTES]) -> Result<PackPlace, Defect> {
    let mut fields = Fields::new(bytes);
    let pack = PackId::from_bytes(fields.array()?);
    let base = ChunkNumber::from_u64(fields.u64()?);
    let (kind, zeros, point) = (fields.u8()?, fields.array::<7>()?, fields.array::<16>()?);
    let home = match (kind, zeros, point) {
        (0, [0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) => Home::Pack,
        (1, [0, 0, 0, 0, 0, 0, 0], point) => Home::Point(PointId::from_bytes(point)),
        _ => return Err(Defect::malformed("a pack has no home that version 1 knows")),
    };
    Ok(PackPlace { pack, home, base })
}

const GUESSES_MAX: usize = 8;
/// So few rows lie on two memory pages: halving is as good.
const GUESS_ROWS_MIN: usize = 64;
