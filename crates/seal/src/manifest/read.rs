//! Reads a manifest: one path, one directory, a subtree, everything, the chunks of a file.
//!
//! A reader is a root and a source of pages, and costs nothing to make. Every operation opens only
//! the pages on its way and holds one per level. Iterators end after their first error: what comes
//! behind a damaged page cannot be trusted to be in order.

use super::entry::{ChunkRef, Content, Entry, ListRef};
use super::page::Page;
use super::walk::{Node, Place, Walker};
use super::{PageSource, Root, damaged, path};
use core::slice;
use holdfast_common::{ChunkId, Result};
use std::vec::IntoIter;

#[derive(Clone, Copy)]
pub struct ManifestReader<'s> {
    source: &'s dyn PageSource,
    root: Root,
}

impl<'s> ManifestReader<'s> {
    pub fn new(source: &'s dyn PageSource, root: Root) -> Self {
        Self { source, root }
    }

    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The entry of exactly this path.
    pub fn get(&self, path: &[u8]) -> Result<Option<Entry>> {
        let mut walker = self.walker()?;
        walker.seek(&Place::Before(path))?;
        match walker.entry()? {
            Some(entry) if entry.path.as_slice() == path => Ok(walker.step()),
            _ => Ok(None),
        }
    }

    /// The entries right in `dir`, in order. Subtrees below them are stepped over, not read.
    pub fn list(&self, dir: &[u8]) -> Result<Children<'s>> {
        Ok(Children(self.names(dir, None)?))
    }

    /// What is in `dir`, in order, with what has no entry of its own and something below it; from
    /// the one after the path `after` on, which need not be there any more.
    pub fn names(&self, dir: &[u8], after: Option<&[u8]>) -> Result<Names<'s>> {
        let mut walker = self.walker()?;
        match after {
            Some(after) => walker.seek(&Place::AfterSubtree(after))?,
            None => walker.seek(&Place::Before(dir))?,
        }
        Ok(Names { walker: Some(walker), dir: dir.to_vec(), last: None })
    }

    /// All entries in order.
    pub fn entries(&self) -> Result<Entries<'s>> {
        Ok(Entries { walker: Some(self.walker()?), subtree: None })
    }

    /// All entries in order, from this path on (it need not exist).
    pub fn entries_from(&self, path: &[u8]) -> Result<Entries<'s>> {
        let mut walker = self.walker()?;
        walker.seek(&Place::Before(path))?;
        Ok(Entries { walker: Some(walker), subtree: None })
    }

    /// The entry of `top`, if there is one, and all entries below it, in order.
    pub fn subtree(&self, top: &[u8]) -> Result<Entries<'s>> {
        let entries = self.entries_from(top)?;
        Ok(Entries { subtree: Some(top.to_vec()), ..entries })
    }

    /// The chunks of a file in order, whether they stand in the entry or in pages of their own.
    pub fn chunks<'c>(&self, content: &'c Content) -> Chunks<'c>
    where
        's: 'c,
    {
        Chunks {
            source: self.source,
            inline: content.chunks.as_deref().unwrap_or_default().iter(),
            lists: content.lists.as_deref().unwrap_or_default().iter(),
            open: Vec::new().into_iter(),
        }
    }

    /// The chunks that one page of a list holds, which must be what its entry counts.
    pub fn chunk_list(&self, list: &ListRef) -> Result<Vec<ChunkRef>> {
        load(self.source, list)
    }

    /// Every page, level by level from the root down and in order within each, so that a restore
    /// can fetch ahead. A level's rows are in the pages before it; pages of chunk lists are named
    /// in the leaves and not among these.
    pub fn pages(&self) -> Result<Pages<'s>> {
        Ok(Pages { reader: *self, height: self.root.height, walker: Some(self.walker()?) })
    }

    pub(super) fn walker(&self) -> Result<Walker<'s>> {
        Walker::new(self.source, &self.root)
    }
}

/// Entries in order; see [`ManifestReader::entries`].
pub struct Entries<'s> {
    walker: Option<Walker<'s>>,
    subtree: Option<Vec<u8>>,
}

impl Entries<'_> {
    fn advance(&mut self) -> Result<Option<Entry>> {
        let Some(walker) = &mut self.walker else { return Ok(None) };
        let is_inside = |path: &[u8]| match &self.subtree {
            Some(top) => path == top.as_slice() || path::is_below(top, path),
            None => true,
        };
        match walker.entry()? {
            Some(entry) if is_inside(&entry.path) => Ok(walker.step()),
            _ => Ok(None),
        }
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.walker = None;
        }
        next
    }
}

/// A directory's own entries; see [`ManifestReader::list`].
pub struct Children<'s>(Names<'s>);

impl Iterator for Children<'_> {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.find_map(|name| name.map(|name| name.entry).transpose())
    }
}

/// One thing in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub path: Vec<u8>,
    /// Absent of a directory that was not backed up itself, only what is in it.
    pub entry: Option<Entry>,
}

/// What is in a directory; see [`ManifestReader::names`].
pub struct Names<'s> {
    walker: Option<Walker<'s>>,
    dir: Vec<u8>,
    last: Option<Vec<u8>>,
}

impl Names<'_> {
    fn advance(&mut self) -> Result<Option<Name>> {
        let Some(walker) = &mut self.walker else { return Ok(None) };
        if let Some(last) = self.last.take() {
            walker.seek(&Place::AfterSubtree(&last))?;
        }
        while let Some(entry) = walker.entry()? {
            if entry.path.as_slice() == self.dir.as_slice() {
                walker.step();
                continue;
            }
            if !path::is_below(&self.dir, &entry.path) {
                break;
            }
            let path = path::child(&self.dir, &entry.path).to_vec();
            let is_there = path == entry.path.as_slice();
            let entry = if is_there { walker.step() } else { None };
            self.last = Some(path.clone());
            return Ok(Some(Name { path, entry }));
        }
        Ok(None)
    }
}

impl Iterator for Names<'_> {
    type Item = Result<Name>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.walker = None;
        }
        next
    }
}

/// The chunks of one file; see [`ManifestReader::chunks`].
pub struct Chunks<'c> {
    source: &'c dyn PageSource,
    inline: slice::Iter<'c, ChunkRef>,
    lists: slice::Iter<'c, ListRef>,
    open: IntoIter<ChunkRef>,
}

fn load(source: &dyn PageSource, list: &ListRef) -> Result<Vec<ChunkRef>> {
    let bytes = source.page(&list.page)?;
    let page = Page::parse(&bytes).map_err(|why| damaged(&list.page, &why))?;
    let Page::ChunkList(chunks) = page else {
        return Err(damaged(&list.page, "it is no chunk list"));
    };
    let length: u64 = chunks.iter().map(|chunk| u64::from(chunk.length)).sum();
    if chunks.len() as u64 != u64::from(list.chunks) || length != list.bytes {
        return Err(damaged(&list.page, "it does not hold what its entry counts"));
    }
    Ok(chunks)
}

impl Iterator for Chunks<'_> {
    type Item = Result<ChunkRef>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(chunk) = self.inline.next().copied().or_else(|| self.open.next()) {
            return Some(Ok(chunk));
        }
        let list = self.lists.next()?;
        match load(self.source, list) {
            Ok(chunks) => {
                self.open = chunks.into_iter();
                self.open.next().map(Ok)
            }
            Err(error) => {
                self.lists = [].iter();
                Some(Err(error))
            }
        }
    }
}

/// A page and its height above the entries: 1 for a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRef {
    pub id: ChunkId,
    pub height: u32,
}

/// Pages level by level; see [`ManifestReader::pages`].
pub struct Pages<'s> {
    reader: ManifestReader<'s>,
    height: u32,
    walker: Option<Walker<'s>>,
}

impl Pages<'_> {
    fn advance(&mut self) -> Result<Option<PageRef>> {
        while let Some(walker) = &mut self.walker {
            match walker.node() {
                Some(Node::Page { height, row }) if height == self.height => {
                    let page = PageRef { id: row.page, height };
                    walker.step();
                    return Ok(Some(page));
                }
                Some(Node::Page { .. }) => walker.enter()?,
                _ if self.height > 1 => {
                    self.height -= 1;
                    self.walker = Some(self.reader.walker()?);
                }
                _ => break,
            }
        }
        Ok(None)
    }
}

impl Iterator for Pages<'_> {
    type Item = Result<PageRef>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.walker = None;
        }
        next
    }
}
