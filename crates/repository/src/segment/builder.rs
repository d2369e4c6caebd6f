//! Collecting rows in any order and making a sorted table of them.

use super::{
    SegmentHeader, SegmentTable,
    location::{ChunkLocation, Home, PackPlace},
};
use holdfast_common::{ChunkId, Code, Error, Result, SegmentId, VaultId, limits};
use std::collections::BTreeMap;

/// At most `SEGMENT_ROWS_MAX` rows; whoever has more opens another.
#[derive(Debug)]
pub struct SegmentBuilder {
    vault: VaultId,
    segment: SegmentId,
    /// In table order, each with the position it was given when it was first seen.
    places: BTreeMap<PackPlace, u32>,
    rows: Vec<Row>,
}

/// Ordered as in the table once `place` is a position in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) chunk: ChunkId,
    pub(super) place: u32,
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) slot: u16,
    pub(super) capsule: u16,
}

impl SegmentBuilder {
    pub fn new(vault: VaultId, segment: SegmentId) -> Self {
        Self { vault, segment, places: BTreeMap::new(), rows: Vec::new() }
    }

    pub fn push(&mut self, chunk: ChunkId, location: &ChunkLocation) -> Result<()> {
        if self.is_full() {
            let rows = limits::SEGMENT_ROWS_MAX;
            return Err(Error::new(Code::LimitExceeded, format!("a segment has {rows} rows"))
                .next("open another segment"));
        }
        location.number()?;
        let next = self.places.len() as u32;
        let place = *self.places.entry(PackPlace::from(location)).or_insert(next);
        self.rows.push(Row::new(chunk, place, location));
        Ok(())
    }

    /// Rows so far, duplicates included.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.rows.len() >= limits::SEGMENT_ROWS_MAX
    }

    /// Sorts, drops exact duplicates, and lays the table out.
    pub fn build(mut self) -> SegmentTable {
        let mut position = vec![0; self.places.len()];
        for (at, seen) in (0u32..).zip(self.places.values()) {
            position[*seen as usize] = at;
        }
        for row in &mut self.rows {
            row.place = position[row.place as usize];
        }
        self.rows.sort_unstable();
        self.rows.dedup();
        let header = SegmentHeader {
            vault: self.vault,
            segment: self.segment,
            packs: self.places.len() as u32,
            rows: self.rows.len() as u32,
        };
        let mut plaintext = Vec::with_capacity(header.plain_bytes());
        self.places.keys().for_each(|place| write_place(&mut plaintext, place));
        self.rows.iter().for_each(|row| write_row(&mut plaintext, row));
        SegmentTable::of_sorted(header, plaintext)
    }
}

impl Row {
    pub(super) fn new(chunk: ChunkId, place: u32, location: &ChunkLocation) -> Self {
        let ChunkLocation { offset, length, slot, capsule, .. } = *location;
        Self { chunk, place, offset, length, slot: slot.as_u16(), capsule }
    }
}

pub(super) fn write_place(out: &mut Vec<u8>, place: &PackPlace) {
    out.extend_from_slice(place.pack.as_bytes());
    out.extend_from_slice(&place.base.as_u64().to_le_bytes());
    let (home, point) = match &place.home {
        Home::Pack => (0, &[0; 16]),
        Home::Point(point) => (1, point.as_bytes()),
    };
    out.extend_from_slice(&[home, 0, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(point);
}

pub(super) fn write_row(out: &mut Vec<u8>, row: &Row) {
    out.extend_from_slice(row.chunk.as_bytes());
    out.extend_from_slice(&row.place.to_le_bytes());
    out.extend_from_slice(&row.offset.to_le_bytes());
    out.extend_from_slice(&row.length.to_le_bytes());
    out.extend_from_slice(&row.slot.to_le_bytes());
    out.extend_from_slice(&row.capsule.to_le_bytes());
}
