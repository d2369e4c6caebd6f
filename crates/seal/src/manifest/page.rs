//! The bytes of a page: `version ‖ type ‖ CBOR sequence`.
//!
//! Parsing checks what a page can be asked alone: its bounds, that every row is possible and that
//! rows ascend strictly. What the page above promised about it is the walker's to compare. Readers
//! see pages only after they were opened and found authentic, yet nothing here trusts them.

use super::entry::{ChunkRef, Entry, check_chunks};
use super::path;
use core::cmp::Ordering;
use holdfast_common::{ChunkId, limits};
use minicbor::{Decode, Decoder, Encode, bytes::ByteVec};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PageType {
    Leaf = 1,
    Branch = 2,
    ChunkList = 3,
}

/// What a branch says of the page below it.
#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
pub struct Row {
    #[n(0)]
    pub first: ByteVec,
    #[n(1)]
    pub page: ChunkId,
    #[n(2)]
    pub entries: u64,
    #[n(3)]
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    Leaf(Vec<Entry>),
    Branch(Vec<Row>),
    ChunkList(Vec<ChunkRef>),
}

impl Page {
    /// Reads a page, or says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > limits::PAGE_BYTES_MAX {
            return Err("it is longer than pages may be".into());
        }
        match bytes {
            [VERSION, 1, rows @ ..] => {
                let entries: Vec<Entry> = sequence(rows)?;
                entries.iter().try_for_each(Entry::check)?;
                ascending(entries.iter().map(|entry| &entry.path))?;
                Ok(Self::Leaf(entries))
            }
            [VERSION, 2, rows @ ..] => {
                let rows: Vec<Row> = sequence(rows)?;
                rows.iter().try_for_each(Row::check)?;
                ascending(rows.iter().map(|row| &row.first))?;
                non_empty(&rows)?;
                Ok(Self::Branch(rows))
            }
            [VERSION, 3, rows @ ..] => {
                let chunks: Vec<ChunkRef> = sequence(rows)?;
                check_chunks(&chunks)?;
                non_empty(&chunks)?;
                Ok(Self::ChunkList(chunks))
            }
            [VERSION, ..] => Err("no such type of page".into()),
            _ => Err("it is no page of version 1".into()),
        }
    }

    /// The bytes of a whole page. The builder writes row by row and need not gather them first.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Leaf(entries) => write(PageType::Leaf, entries),
            Self::Branch(rows) => write(PageType::Branch, rows),
            Self::ChunkList(chunks) => write(PageType::ChunkList, chunks),
        }
    }
}

impl Row {
    fn check(&self) -> Result<(), &'static str> {
        path::check(&self.first)?;
        if self.entries == 0 { Err("a row stands for no entry") } else { Ok(()) }
    }
}

/// The two bytes that a page begins with.
pub(super) fn header(kind: PageType) -> [u8; 2] {
    [VERSION, kind as u8]
}

/// Appends a row's bytes.
pub(super) fn append<T: Encode<()>>(row: &T, out: &mut Vec<u8>) {
    match minicbor::encode(row, out) {
        Ok(()) => {}
        Err(error) => unreachable!("encoding to memory failed: {error}"),
    }
}

fn write<T: Encode<()>>(kind: PageType, rows: &[T]) -> Vec<u8> {
    let mut out = header(kind).to_vec();
    rows.iter().for_each(|row| append(row, &mut out));
    out
}

fn sequence<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<Vec<T>, String> {
    let mut decoder = Decoder::new(bytes);
    let mut rows = Vec::new();
    while decoder.position() < bytes.len() {
        rows.push(decoder.decode().map_err(|error| error.to_string())?);
    }
    Ok(rows)
}

fn ascending<'r>(mut paths: impl Iterator<Item = &'r ByteVec>) -> Result<(), &'static str> {
    let Some(mut last) = paths.next() else { return Ok(()) };
    for path in paths {
        if path::order(last, path) != Ordering::Less {
            return Err("its paths do not ascend");
        }
        last = path;
    }
    Ok(())
}

fn non_empty<T>(rows: &[T]) -> Result<(), &'static str> {
    if rows.is_empty() { Err("it has no rows") } else { Ok(()) }
}

const VERSION: u8 = 1;
