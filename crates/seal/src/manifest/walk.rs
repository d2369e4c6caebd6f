//! Walks a manifest in order, one page per level in memory, and believes nothing on the way.
//!
//! A walker stands before a node: a page not yet opened, or an entry. The caller enters the page or
//! steps over it; look-up, listing, iteration and diff are only different choices there. Entering
//! compares the page with the row that named it (type for its level, first path, counts, sums) and
//! with the row after it (no path reaches beyond), so that the order of all entries is certain.

use super::entry::Entry;
use super::page::{Page, Row};
use super::{PageSource, Root, damaged, path};
use core::cmp::Ordering;
use holdfast_common::{Result, limits};
use minicbor::bytes::ByteVec;
use std::vec::IntoIter;

pub(super) struct Walker<'s> {
    source: &'s dyn PageSource,
    stack: Vec<Level>,
}

/// The rest of an open page.
struct Level {
    rest: Rest,
    /// No path of this page reaches it.
    upper: Option<ByteVec>,
}

enum Rest {
    /// Pages of this height.
    Pages(u32, IntoIter<Row>),
    Entries(IntoIter<Entry>),
}

pub(super) enum Node<'w> {
    Page { height: u32, row: &'w Row },
    Entry(&'w Entry),
}

/// A place between entries.
pub(super) enum Place<'p> {
    Before(&'p [u8]),
    AfterSubtree(&'p [u8]),
}

impl<'s> Walker<'s> {
    /// Stands before the root page. Its first path is not known, which an empty one says.
    pub(super) fn new(source: &'s dyn PageSource, root: &Root) -> Result<Self> {
        if !(1..=limits::MANIFEST_HEIGHT_MAX).contains(&root.height) {
            return Err(damaged(&root.page, "the root has a height that no manifest has"));
        }
        let Root { page, height, entries, bytes } = *root;
        let row = Row { first: Vec::new().into(), page, entries, bytes };
        let rest = Rest::Pages(height, vec![row].into_iter());
        Ok(Self { source, stack: vec![Level { rest, upper: None }] })
    }

    /// What comes next; `None` at the end.
    pub(super) fn node(&mut self) -> Option<Node<'_>> {
        while self.stack.last().is_some_and(Level::is_done) {
            self.stack.pop();
        }
        match &self.stack.last()?.rest {
            Rest::Pages(height, rows) => {
                rows.as_slice().first().map(|row| Node::Page { height: *height, row })
            }
            Rest::Entries(entries) => entries.as_slice().first().map(Node::Entry),
        }
    }

    /// Steps over a page with all beneath it, or over an entry, and gives the entry.
    pub(super) fn step(&mut self) -> Option<Entry> {
        match &mut self.stack.last_mut()?.rest {
            Rest::Pages(_, rows) => {
                rows.next();
                None
            }
            Rest::Entries(entries) => entries.next(),
        }
    }

    /// Opens the page it stands before.
    pub(super) fn enter(&mut self) -> Result<()> {
        let Some(level) = self.stack.last_mut() else { return Ok(()) };
        let Rest::Pages(height, rows) = &mut level.rest else { return Ok(()) };
        let (height, Some(row)) = (*height, rows.next()) else { return Ok(()) };
        let upper = rows.as_slice().first().map(|next| &next.first).or(level.upper.as_ref());
        let upper = upper.cloned();
        let bytes = self.source.page(&row.page)?;
        let page = Page::parse(&bytes).map_err(|why| damaged(&row.page, &why))?;
        let rest =
            rest_of(page, height, &row, upper.as_ref()).map_err(|why| damaged(&row.page, why))?;
        self.stack.push(Level { rest, upper });
        Ok(())
    }

    /// Enters pages until it stands before an entry.
    pub(super) fn entry(&mut self) -> Result<Option<&Entry>> {
        while let Some(Node::Page { .. }) = self.node() {
            self.enter()?;
        }
        match self.node() {
            Some(Node::Entry(entry)) => Ok(Some(entry)),
            _ => Ok(None),
        }
    }

    /// Goes on to the first entry behind the place, if it is not there already.
    pub(super) fn seek(&mut self, place: &Place) -> Result<()> {
        loop {
            let behind = match self.node() {
                None => return Ok(()),
                Some(Node::Entry(entry)) => place.is_behind(&entry.path),
                Some(Node::Page { .. }) => self.upper().is_some_and(|end| place.is_past(end)),
            };
            match self.node() {
                _ if behind => drop(self.step()),
                Some(Node::Page { .. }) => self.enter()?,
                _ => return Ok(()),
            }
        }
    }

    /// What no path of the page it stands before reaches.
    fn upper(&self) -> Option<&[u8]> {
        let level = self.stack.last()?;
        let next = match &level.rest {
            Rest::Pages(_, rows) => rows.as_slice().get(1).map(|row| &row.first),
            Rest::Entries(_) => None,
        };
        next.or(level.upper.as_ref()).map(|path| path.as_slice())
    }
}

impl Level {
    fn is_done(&self) -> bool {
        match &self.rest {
            Rest::Pages(_, rows) => rows.as_slice().is_empty(),
            Rest::Entries(entries) => entries.as_slice().is_empty(),
        }
    }
}

impl Place<'_> {
    /// Whether the place is somewhere behind the entry of this path.
    fn is_behind(&self, path: &[u8]) -> bool {
        match self {
            Self::Before(place) => path::order(path, place) == Ordering::Less,
            Self::AfterSubtree(dir) => {
                path::order(path, dir) != Ordering::Greater || path::is_below(dir, path)
            }
        }
    }

    /// Whether everything before `end` is before the place too.
    fn is_past(&self, end: &[u8]) -> bool {
        self.is_behind(end) || matches!(self, Self::Before(place) if *place == end)
    }
}

/// The content of a page, once it is what its row and the one after promised.
fn rest_of(
    page: Page,
    height: u32,
    row: &Row,
    upper: Option<&ByteVec>,
) -> Result<Rest, &'static str> {
    let (first, last, entries, bytes) = match &page {
        Page::Leaf(rows) if height == 1 => (
            rows.first().map(|entry| &entry.path),
            rows.last().map(|entry| &entry.path),
            Some(rows.len() as u64),
            sum(rows.iter().map(Entry::content_bytes)),
        ),
        Page::Branch(rows) if height > 1 => (
            rows.first().map(|row| &row.first),
            rows.last().map(|row| &row.first),
            sum(rows.iter().map(|row| row.entries)),
            sum(rows.iter().map(|row| row.bytes)),
        ),
        _ => return Err("its type does not fit its height"),
    };
    if entries != Some(row.entries) || bytes != Some(row.bytes) {
        return Err("it does not hold what the page above counts");
    }
    if !row.first.is_empty() && first != Some(&row.first) {
        return Err("it begins elsewhere than the page above says");
    }
    let reaches = |last: &ByteVec, end: &ByteVec| path::order(last, end) != Ordering::Less;
    if last.zip(upper).is_some_and(|(last, end)| reaches(last, end)) {
        return Err("it reaches into the page after it");
    }
    match page {
        Page::Leaf(rows) => Ok(Rest::Entries(rows.into_iter())),
        Page::Branch(rows) => Ok(Rest::Pages(height - 1, rows.into_iter())),
        Page::ChunkList(_) => Err("its type does not fit its height"),
    }
}

fn sum(mut numbers: impl Iterator<Item = u64>) -> Option<u64> {
    numbers.try_fold(0u64, u64::checked_add)
}
