//! The chunk list of one file, as it grows.
//!
//! Up to 4,096 chunks stay in the entry. One more, and the list moves to pages of 4,096, each named
//! in the entry. Only the page being filled is in memory, so that the pipeline may cut a disk of
//! any size; what is known of full pages is 50 bytes each.

use super::entry::{ChunkRef, Content, ListRef, Profile, Range};
use super::page::Page;
use crate::frame::PlainChunk;
use crate::manifest::PageSink;
use holdfast_common::{ChunkKind, ContentHash, Result, limits};
use holdfast_keyring::id_key::IdKey;

#[derive(Debug, Default)]
pub struct ChunkList {
    open: Vec<ChunkRef>,
    pages: Vec<ListRef>,
}

/// A finished list: in the entry, or in pages of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChunkTable {
    Inline(Vec<ChunkRef>),
    Pages(Vec<ListRef>),
}

impl ChunkList {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, chunk: ChunkRef, ids: &IdKey, sink: &mut PageSink) -> Result<()> {
        if self.open.len() == limits::ENTRY_CHUNKS_INLINE_MAX {
            self.close(ids, sink)?;
        }
        self.open.push(chunk);
        Ok(())
    }

    pub fn finish(mut self, ids: &IdKey, sink: &mut PageSink) -> Result<ChunkTable> {
        if self.pages.is_empty() {
            return Ok(ChunkTable::Inline(self.open));
        }
        self.close(ids, sink)?;
        Ok(ChunkTable::Pages(self.pages))
    }

    fn close(&mut self, ids: &IdKey, sink: &mut PageSink) -> Result<()> {
        let chunks = core::mem::take(&mut self.open);
        let count = chunks.len() as u32; // at most ENTRY_CHUNKS_INLINE_MAX
        let bytes = chunks.iter().map(|chunk| u64::from(chunk.length)).sum();
        let page = Page::ChunkList(chunks).to_bytes();
        let chunk = PlainChunk::new(ids, ChunkKind::Page, page.into());
        self.pages.push(ListRef { page: chunk.id, chunks: count, bytes });
        sink(chunk)
    }
}

impl ChunkTable {
    pub fn into_content(
        self,
        profile: Profile,
        hash: ContentHash,
        ranges: Option<Vec<Range>>,
    ) -> Content {
        let (chunks, lists) = match self {
            Self::Inline(chunks) => (Some(chunks), None),
            Self::Pages(lists) => (None, Some(lists)),
        };
        Content { profile, hash, chunks, lists, ranges }
    }
}
