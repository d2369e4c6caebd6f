//! Builds a manifest from entries that come in order, page by page, as they come.
//!
//! One page per level is open. A page ends after a path whose keyed hash has its low 9 bits zero,
//! or before a row that would make it longer than pages may be. A closed page goes to the sink and
//! leaves a row in the level above; the first level that closes but one page is the root. The same
//! entries give the same pages, whatever was built before.
//!
//! A branch never ends after its first row: a path that heads every level (`/`, mostly) would
//! otherwise end one page per level for ever, with one id-key in 512.

use super::entry::Entry;
use super::page::{self, PageType, Row};
use super::{ChunkList, Root, path};
use crate::frame::PlainChunk;
use core::{cmp::Ordering, mem};
use holdfast_common::{ChunkId, ChunkKind, Code, Error, Result, limits};
use holdfast_keyring::id_key::IdKey;

/// Takes the pages, lists before the leaves that name them, leaves before their branches.
pub type PageSink<'a> = dyn FnMut(PlainChunk) -> Result<()> + 'a;

/// A copy may be finished while the original goes on: that is how a checkpoint is made.
#[derive(Clone)]
pub struct ManifestBuilder<'k> {
    ids: &'k IdKey,
    levels: Vec<Level>,
    last_path: Vec<u8>,
    entries: u64,
    bytes: u64,
}

/// The open page of a level, and how many were closed.
#[derive(Clone, Default)]
struct Level {
    page: Vec<u8>,
    first: Vec<u8>,
    rows: usize,
    entries: u64,
    bytes: u64,
    closed: u64,
    last_closed: Option<ChunkId>,
}

/// What one row adds to its page.
struct Weight {
    entries: u64,
    bytes: u64,
}

impl<'k> ManifestBuilder<'k> {
    pub fn new(ids: &'k IdKey) -> Self {
        Self { ids, levels: Vec::new(), last_path: Vec::new(), entries: 0, bytes: 0 }
    }

    /// Adds the next entry; its path is after every earlier one in [`path::order`]. A chunk list
    /// that is too long for an entry is moved to pages of its own.
    pub fn push(&mut self, mut entry: Entry, sink: &mut PageSink) -> Result<()> {
        if path::order(&self.last_path, &entry.path) != Ordering::Less {
            return Err(refused("its path is not after the one before"));
        }
        self.split_list(&mut entry, sink)?;
        entry.check().map_err(refused)?;
        let mut row = Vec::with_capacity(512);
        page::append(&entry, &mut row);
        if row.len() > limits::ENTRY_BYTES_MAX {
            return Err(Error::new(Code::LimitExceeded, "an entry is longer than entries may be")
                .cause(format!("{} bytes", row.len())));
        }
        let weight = Weight { entries: 1, bytes: entry.content_bytes() };
        self.entries += 1;
        self.bytes = self
            .bytes
            .checked_add(weight.bytes)
            .ok_or_else(|| refused("the manifest holds more bytes than can be counted"))?;
        self.last_path.clear();
        self.last_path.extend_from_slice(&entry.path);
        self.add(0, &entry.path, &row, &weight, sink)
    }

    /// Closes what is open and names the root.
    pub fn finish(mut self, sink: &mut PageSink) -> Result<Root> {
        let (entries, bytes) = (self.entries, self.bytes);
        if self.levels.is_empty() {
            let empty = page::header(PageType::Leaf).to_vec();
            let chunk = PlainChunk::new(self.ids, ChunkKind::Page, empty.into());
            let page = chunk.id;
            sink(chunk)?;
            return Ok(Root { page, height: 1, entries, bytes });
        }
        // Closing a level gives the one above at least a row, so that it exists.
        for level in 0..limits::MANIFEST_HEIGHT_MAX {
            let at = level as usize;
            if self.levels[at].rows > 0 {
                self.close(at, sink)?;
            }
            if let Level { closed: 1, last_closed: Some(page), .. } = self.levels[at] {
                return Ok(Root { page, height: level + 1, entries, bytes });
            }
        }
        Err(too_high())
    }

    fn split_list(&self, entry: &mut Entry, sink: &mut PageSink) -> Result<()> {
        let Some(content) = &mut entry.content else { return Ok(()) };
        match &mut content.chunks {
            Some(chunks) if chunks.len() > limits::ENTRY_CHUNKS_INLINE_MAX => {
                let mut list = ChunkList::new();
                for chunk in mem::take(chunks) {
                    list.push(chunk, self.ids, sink)?;
                }
                let table = list.finish(self.ids, sink)?;
                let ranges = content.ranges.take();
                *content = table.into_content(content.profile, content.hash, ranges);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn add(
        &mut self,
        at: usize,
        path: &[u8],
        row: &[u8],
        weight: &Weight,
        sink: &mut PageSink,
    ) -> Result<()> {
        if at == self.levels.len() {
            self.levels.push(Level::default());
        }
        if self.levels[at].is_full_for(row) {
            self.close(at, sink)?;
        }
        self.levels[at].append(at, path, row, weight);
        let may_end = at == 0 || self.levels[at].rows > 1;
        if may_end && self.ids.page_cut_hash(path) & CUT_MASK == 0 {
            self.close(at, sink)?;
        }
        Ok(())
    }

    /// Sends the open page of a level off and leaves its row one level up.
    fn close(&mut self, at: usize, sink: &mut PageSink) -> Result<()> {
        if at + 1 >= limits::MANIFEST_HEIGHT_MAX as usize {
            return Err(too_high());
        }
        let level = &mut self.levels[at];
        let weight =
            Weight { entries: mem::take(&mut level.entries), bytes: mem::take(&mut level.bytes) };
        let chunk = PlainChunk::new(self.ids, ChunkKind::Page, mem::take(&mut level.page).into());
        let row = Row {
            first: mem::take(&mut level.first).into(),
            page: chunk.id,
            entries: weight.entries,
            bytes: weight.bytes,
        };
        level.rows = 0;
        level.closed += 1;
        level.last_closed = Some(chunk.id);
        sink(chunk)?;
        let mut bytes = Vec::with_capacity(256);
        page::append(&row, &mut bytes);
        self.add(at + 1, &row.first, &bytes, &weight, sink)
    }

    #[cfg(test)]
    fn open_bytes(&self) -> usize {
        self.levels.iter().map(|level| level.page.capacity() + level.first.capacity()).sum()
    }
}

impl Level {
    fn is_full_for(&self, row: &[u8]) -> bool {
        self.rows > 0 && self.page.len() + row.len() > limits::PAGE_BYTES_MAX
    }

    fn append(&mut self, at: usize, path: &[u8], row: &[u8], weight: &Weight) {
        if self.rows == 0 {
            let kind = if at == 0 { PageType::Leaf } else { PageType::Branch };
            self.page.extend_from_slice(&page::header(kind));
            self.first.extend_from_slice(path);
        }
        self.page.extend_from_slice(row);
        self.rows += 1;
        self.entries += weight.entries;
        self.bytes += weight.bytes; // the builder's own sum is checked and not smaller
    }
}

fn refused(why: &str) -> Error {
    Error::new(Code::InternalBug, "an entry was refused by the manifest").cause(why)
}

fn too_high() -> Error {
    Error::new(Code::LimitExceeded, "the manifest has more levels than manifests may have")
}

/// One path in 512 ends its page.
const CUT_MASK: u64 = (1 << 9) - 1;

#[cfg(test)]
mod tests {
    use super::super::entry::EntryKind;
    use super::*;
    use holdfast_common::Secret;

    fn entry(number: u32) -> Entry {
        Entry {
            path: format!("/data/{:03}/{number:09}.dcm", number / 1000).into_bytes().into(),
            kind: EntryKind::Fifo,
            mode: 0o644,
            uid: 1,
            gid: 1,
            user: None,
            group: None,
            mtime_ns: i64::from(number),
            ctime_ns: 0,
            size: 0,
            xattrs: None,
            link_target: None,
            device: None,
            hardlink_group: None,
            inode: None,
            content: None,
            flags: None,
        }
    }

    #[test]
    fn a_builder_holds_a_page_per_level_however_many_entries_come() {
        let ids = IdKey::from_secret(Secret::take(&mut [1; 32]));
        let mut builder = ManifestBuilder::new(&ids);
        let (mut pages, mut total, mut largest, mut open) = (0, 0, 0, 0);
        let mut sink = |page: PlainChunk| {
            pages += 1;
            total += page.bytes.len();
            largest = largest.max(page.bytes.len());
            Ok(())
        };
        for number in 0..100_000 {
            builder.push(entry(number), &mut sink).unwrap();
            open = open.max(builder.open_bytes());
        }
        let height = builder.levels.len();
        let root = builder.finish(&mut sink).unwrap();
        assert_eq!(root.entries, 100_000);
        assert!(open <= 2 * largest * height, "{open} bytes open, pages up to {largest}");
        assert!(open < total / 8, "{open} of {total} bytes were open at once");
        assert!((100..400).contains(&pages), "{pages} pages of 512 entries or so");
    }
}
