//! One entry of a manifest: everything that brings one path back, except the bytes of its chunks.
//!
//! The numbers of the fields are part of the stored format (repository-format.md §7). Paths, names
//! and xattrs are bytes, exactly as the host had them. An entry never holds a secret in clear: it
//! lives in sealed pages only.

use super::path;
use holdfast_common::{ChunkId, ContentHash, limits};
use minicbor::{Decode, Encode, bytes::ByteVec};

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq, Hash)]
#[cbor(index_only)]
pub enum EntryKind {
    #[n(1)]
    File,
    #[n(2)]
    Directory,
    #[n(3)]
    Symlink,
    #[n(4)]
    Fifo,
    #[n(5)]
    Socket,
    #[n(6)]
    CharDevice,
    #[n(7)]
    BlockDevice,
}

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct Entry {
    #[n(0)]
    pub path: ByteVec,
    #[n(1)]
    pub kind: EntryKind,
    #[n(2)]
    pub mode: u32,
    #[n(3)]
    pub uid: u32,
    #[n(4)]
    pub gid: u32,
    #[n(5)]
    pub user: Option<String>,
    #[n(6)]
    pub group: Option<String>,
    #[n(7)]
    pub mtime_ns: i64,
    #[n(8)]
    pub ctime_ns: i64,
    #[n(9)]
    pub size: u64,
    #[n(10)]
    pub xattrs: Option<Vec<Xattr>>,
    #[n(11)]
    pub link_target: Option<ByteVec>,
    #[n(12)]
    pub device: Option<Device>,
    #[n(13)]
    pub hardlink_group: Option<u64>,
    #[n(14)]
    pub inode: Option<Inode>,
    #[n(15)]
    pub content: Option<Content>,
    #[n(16)]
    pub flags: Option<u32>,
}

/// The file was written to while it was read, and the retries did not help.
pub const FLAG_CHANGED_WHILE_READ: u32 = 1;
/// The directory only leads to a path that was asked for. When it was changed tells of its
/// neighbours and nothing of what was asked for: it has no times, and both fields are 0.
pub const FLAG_ON_THE_WAY: u32 = 1 << 1;

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    #[n(0)]
    pub name: ByteVec,
    #[n(1)]
    pub value: ByteVec,
}

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
pub struct Device {
    #[n(0)]
    pub major: u32,
    #[n(1)]
    pub minor: u32,
}

/// Where the path was on the host: a hint for change detection and for finding hard links.
#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq, Hash)]
pub struct Inode {
    #[n(0)]
    pub device: u64,
    #[n(1)]
    pub number: u64,
}

/// How a file's content was cut.
#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq, Hash)]
#[cbor(index_only)]
pub enum Profile {
    #[n(1)]
    Whole,
    #[n(2)]
    Fixed,
    #[n(3)]
    ContentDefined,
}

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct Content {
    #[n(0)]
    pub profile: Profile,
    #[n(1)]
    pub hash: ContentHash,
    #[n(2)]
    pub chunks: Option<Vec<ChunkRef>>,
    #[n(3)]
    pub lists: Option<Vec<ListRef>>,
    /// `(offset, length)` of each data range of a sparse file, ascending.
    #[n(4)]
    pub ranges: Option<Vec<Range>>,
}

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
pub struct ChunkRef {
    #[n(0)]
    pub id: ChunkId,
    #[n(1)]
    pub length: u32,
}

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
pub struct ListRef {
    #[n(0)]
    pub page: ChunkId,
    #[n(1)]
    pub chunks: u32,
    #[n(2)]
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
pub struct Range {
    #[n(0)]
    pub offset: u64,
    #[n(1)]
    pub length: u64,
}

/// By [`Entry::link_identity`].
#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq, Hash)]
pub struct LinkIdentity {
    #[n(0)]
    pub kind: EntryKind,
    #[n(1)]
    pub size: u64,
    #[n(2)]
    pub mtime_ns: i64,
}

impl Entry {
    /// Length of the entry's content stream: what its chunks hold together, holes left out. Zero
    /// without content and where no sum exists; [`Entry::check`] refuses the latter.
    pub fn content_bytes(&self) -> u64 {
        self.content.as_ref().and_then(Content::bytes).unwrap_or(0)
    }

    /// When it was last modified, where that tells anything of it.
    pub fn modified_ns(&self) -> Option<i64> {
        let is_on_the_way = self.flags.unwrap_or(0) & FLAG_ON_THE_WAY != 0;
        (!is_on_the_way).then_some(self.mtime_ns)
    }

    /// What all names of one inode say alike. Where two of a hard-link group differ in it, the one
    /// was not what the other is when it was saved, and its bytes are somebody else's.
    pub fn link_identity(&self) -> LinkIdentity {
        LinkIdentity { kind: self.kind, size: self.size, mtime_ns: self.mtime_ns }
    }

    /// Whether a manifest may hold this entry; the builder and every reader ask.
    pub fn check(&self) -> Result<(), &'static str> {
        path::check(&self.path)?;
        if self.mode > 0o7777 {
            return Err("the mode has more than 12 bits");
        }
        self.content.as_ref().map_or(Ok(()), Content::check)
    }
}

impl Content {
    /// Length of the content stream; `None` when the sum is no length.
    pub fn bytes(&self) -> Option<u64> {
        let chunks = self.chunks.iter().flatten().map(|chunk| u64::from(chunk.length));
        let lists = self.lists.iter().flatten().map(|list| list.bytes);
        chunks.chain(lists).try_fold(0u64, u64::checked_add)
    }

    fn check(&self) -> Result<(), &'static str> {
        match (&self.chunks, &self.lists) {
            (Some(chunks), None) => check_chunks(chunks)?,
            (None, Some(lists)) if lists.iter().all(ListRef::is_bounded) => {}
            (None, Some(_)) => return Err("a list page has a length that none can have"),
            _ => return Err("the content has two chunk lists, or none"),
        }
        if self.bytes().is_none() {
            return Err("the content is longer than any file");
        }
        let mut end = 0u64;
        for range in self.ranges.iter().flatten() {
            match range.offset.checked_add(range.length) {
                Some(next) if range.offset >= end => end = next,
                _ => return Err("the data ranges do not ascend"),
            }
        }
        Ok(())
    }
}

/// Whether these rows may stand in an entry or in one list page.
pub(super) fn check_chunks(chunks: &[ChunkRef]) -> Result<(), &'static str> {
    let is_length = |chunk: &ChunkRef| (1..=limits::CHUNK_BYTES_MAX).contains(&chunk.bytes());
    if chunks.len() > limits::ENTRY_CHUNKS_INLINE_MAX {
        Err("the chunk list is too long")
    } else if !chunks.iter().all(is_length) {
        Err("a chunk has a length that none can have")
    } else {
        Ok(())
    }
}

impl ChunkRef {
    pub fn bytes(&self) -> usize {
        self.length as usize
    }
}

impl ListRef {
    fn is_bounded(&self) -> bool {
        let chunks = u64::from(self.chunks);
        (1..=limits::ENTRY_CHUNKS_INLINE_MAX as u64).contains(&chunks)
            && (chunks..=chunks * limits::CHUNK_BYTES_MAX as u64).contains(&self.bytes)
    }
}
