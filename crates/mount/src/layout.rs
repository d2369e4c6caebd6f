//! Where each byte of a file is: in a hole, or at some place of some chunk. Pure.
//!
//! A file is data ranges with holes between them; the ranges end to end are its stream, and the
//! stream is cut into chunks. A layout answers for any range of the file which parts of which
//! chunks it takes, and leaves out what is zeros. Long lists of chunks lie in pages of their own,
//! which are asked for only where a range touches them.

use holdfast_common::{Code, Error, Result};
use holdfast_seal::manifest::entry::{ChunkRef, Content, ListRef};
use std::sync::Arc;

/// A chunk at its place in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) start: u64,
    pub(crate) chunk: ChunkRef,
}

pub(crate) type Rows = Arc<[Placed]>;

/// Opens a page of a list: which one it is, where its chunks begin in the stream, its row.
pub(crate) type Lists<'l> = &'l mut dyn FnMut(usize, u64, &ListRef) -> Result<Rows>;

/// A piece of a chunk, and where it goes in what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) chunk: ChunkRef,
    pub(crate) from: usize,
    pub(crate) length: usize,
    /// Where it goes, from the first byte that was asked for on.
    pub(crate) to: usize,
}

#[derive(Debug)]
pub(crate) struct Layout {
    size: u64,
    ranges: Vec<Span>,
    table: Table,
    stream: u64,
}

/// A data range of the file, and where it begins in the stream.
#[derive(Clone, Copy, Debug)]
struct Span {
    offset: u64,
    length: u64,
    stream: u64,
}

#[derive(Debug)]
enum Table {
    Here(Rows),
    Lists(Vec<(u64, ListRef)>),
}

impl Layout {
    /// A file without content is one hole.
    pub(crate) fn new(size: u64, content: Option<&Content>) -> Result<Self> {
        let Some(content) = content else {
            let table = Table::Here(Arc::new([]));
            return Ok(Self { size, ranges: Vec::new(), table, stream: 0 });
        };
        let stream = content.bytes().ok_or_else(ill_fitting)?;
        let whole = [(0, size)];
        let given = content.ranges.as_ref().map_or_else(
            || whole.to_vec(),
            |ranges| ranges.iter().map(|range| (range.offset, range.length)).collect(),
        );
        let mut ranges = Vec::with_capacity(given.len());
        let mut at = 0u64;
        for (offset, length) in given.into_iter().filter(|(_, length)| *length > 0) {
            if offset.checked_add(length).is_none_or(|end| end > size) {
                return Err(ill_fitting());
            }
            ranges.push(Span { offset, length, stream: at });
            at += length;
        }
        if at != stream {
            return Err(ill_fitting());
        }
        let table = match &content.lists {
            Some(lists) => Table::Lists(starts(lists, |list| list.bytes)),
            None => Table::Here(placed(0, content.chunks.as_deref().unwrap_or_default())),
        };
        Ok(Self { size, ranges, table, stream })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// About what it takes in memory.
    pub(crate) fn weight(&self) -> usize {
        let table = match &self.table {
            Table::Here(rows) => size_of_val(&rows[..]),
            Table::Lists(lists) => size_of_val(&lists[..]) + LIST_OPEN_BYTES,
        };
        size_of::<Self>() + size_of_val(&self.ranges[..]) + table
    }

    /// The parts of chunks that hold `length` bytes from `offset` on, in order; what is between
    /// them is zeros. Behind the end of the file there is nothing.
    pub(crate) fn parts(&self, offset: u64, length: usize, list: Lists<'_>) -> Result<Vec<Part>> {
        let end = offset.saturating_add(length as u64).min(self.size);
        let mut parts = Vec::new();
        let first = self.ranges.partition_point(|span| span.offset + span.length <= offset);
        for span in self.ranges.iter().skip(first).take_while(|span| span.offset < end) {
            let from = span.offset.max(offset);
            let to = end.min(span.offset + span.length);
            if from < to {
                let stream = span.stream + (from - span.offset);
                self.take(stream, to - from, (from - offset) as usize, list, &mut parts)?;
            }
        }
        Ok(parts)
    }

    /// The chunks that come from a place of the file on, until they hold so much.
    pub(crate) fn after(&self, offset: u64, bytes: u64, list: Lists<'_>) -> Result<Vec<ChunkRef>> {
        let next = self.ranges.iter().find(|span| span.offset + span.length > offset);
        let Some(span) = next else { return Ok(Vec::new()) };
        let from = span.stream + offset.saturating_sub(span.offset);
        let mut parts = Vec::new();
        self.take(from, bytes.min(self.stream - from), 0, list, &mut parts)?;
        Ok(parts.into_iter().map(|part| part.chunk).collect())
    }

    /// The next data or the next hole at or behind a place; the end of the file is a hole.
    pub(crate) fn data_from(&self, offset: u64) -> Option<u64> {
        let next = self.ranges.iter().find(|span| span.offset + span.length > offset)?;
        Some(next.offset.max(offset))
    }

    pub(crate) fn hole_from(&self, offset: u64) -> Option<u64> {
        if offset >= self.size {
            return None;
        }
        let mut at = offset;
        for span in &self.ranges {
            if span.offset > at {
                break;
            }
            at = at.max(span.offset + span.length);
        }
        Some(at)
    }

    /// Parts of the stream: `length` bytes from `from` on, which go to `to` and what follows.
    fn take(
        &self,
        from: u64,
        length: u64,
        to: usize,
        list: Lists<'_>,
        parts: &mut Vec<Part>,
    ) -> Result<()> {
        let end = from + length;
        match &self.table {
            Table::Here(rows) => pick(rows, (from, end), to, parts),
            Table::Lists(lists) => {
                let first = lists.partition_point(|(start, list)| start + list.bytes <= from);
                let touched = lists.iter().enumerate().skip(first);
                for (number, (start, row)) in touched.take_while(|(_, (start, _))| *start < end) {
                    let rows = list(number, *start, row)?;
                    let (low, high) = (from.max(*start), end.min(start + row.bytes));
                    pick(&rows, (low, high), to + (low - from) as usize, parts);
                }
            }
        }
        Ok(())
    }
}

fn pick(rows: &[Placed], (from, end): (u64, u64), to: usize, parts: &mut Vec<Part>) {
    let first = rows.partition_point(|row| row.start + row.chunk.bytes() as u64 <= from);
    for row in rows.iter().skip(first).take_while(|row| row.start < end) {
        let low = row.start.max(from);
        let high = end.min(row.start + row.chunk.bytes() as u64);
        parts.push(Part {
            chunk: row.chunk,
            from: (low - row.start) as usize,
            length: (high - low) as usize,
            to: to + (low - from) as usize,
        });
    }
}

pub(crate) fn placed(start: u64, chunks: &[ChunkRef]) -> Rows {
    let rows = starts(chunks, |chunk| u64::from(chunk.length));
    rows.into_iter().map(|(at, chunk)| Placed { start: start + at, chunk }).collect()
}

/// Each with where it begins. The sums are lengths: whoever made the entry was checked for that.
fn starts<T: Copy>(rows: &[T], length: impl Fn(&T) -> u64) -> Vec<(u64, T)> {
    let mut at = 0;
    let placed = rows.iter().map(|row| {
        let start = at;
        at += length(row);
        (start, *row)
    });
    placed.collect()
}

fn ill_fitting() -> Error {
    Error::new(Code::ManifestDamaged, "the chunks of a file do not fit its data ranges")
}

/// A page of a list, opened.
const LIST_OPEN_BYTES: usize = 256 << 10;
