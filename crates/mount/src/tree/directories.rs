//! What is in a directory, one entry after the other, however large it is: a page of entries at a
//! time is read and kept, and whoever goes back begins at a mark.

use super::{Answer, Refused, Tree, entries, join};
use crate::{
    handles::{Child, Handle, OpenDirectory, Page},
    lock,
    nodes::Place,
};
use holdfast_common::{PointId, limits};
use holdfast_seal::manifest::entry::EntryKind;
use std::sync::Arc;

impl Tree {
    pub(crate) fn open_directory(&self, number: u64) -> Answer<u64> {
        let node = self.node(number)?;
        if node.attributes.kind != EntryKind::Directory {
            return Err(Refused::NotADirectory);
        }
        let is_ours = !matches!(node.place, Place::Entry { .. });
        let calendar = is_ours.then(|| self.shelf.calendar());
        let rows = Page { marks: vec![(0, None)], ..Page::default() };
        let directory = OpenDirectory { node, calendar, rows: rows.into() };
        self.handles.open(Handle::Directory(Arc::new(directory))).ok_or(Refused::Crowded)
    }

    pub(crate) fn directory(&self, handle: u64) -> Answer<Arc<OpenDirectory>> {
        self.handles.directory(handle).ok_or(Refused::Missing)
    }

    pub(crate) fn close(&self, handle: u64) {
        self.handles.close(handle);
    }

    /// The entry at a place of a directory; `None` behind the last one.
    pub(crate) fn child(&self, directory: &OpenDirectory, at: u64) -> Answer<Option<Child>> {
        match (&directory.node.place, &directory.calendar) {
            (Place::Entry { point, path, .. }, _) => self.entry_at(directory, point, path, at),
            (place, Some(calendar)) => Ok(self.shelf.child(&self.options, calendar, place, at)),
            _ => Ok(None),
        }
    }

    fn entry_at(
        &self,
        directory: &OpenDirectory,
        point: &PointId,
        dir: &[u8],
        at: u64,
    ) -> Answer<Option<Child>> {
        let mut page = lock(&directory.rows);
        loop {
            let end = page.first + page.rows.len() as u64;
            if (page.first..end).contains(&at) {
                return Ok(page.rows.get((at - page.first) as usize).cloned());
            }
            if at >= end && page.is_last {
                return Ok(None);
            }
            let goes_on = at >= end && !page.rows.is_empty();
            let (first, after) = if goes_on {
                let last = page.rows.last().map(|child| join(dir, &child.name));
                (end, last)
            } else {
                page.marks.iter().rfind(|(place, _)| *place <= at).cloned().unwrap_or((0, None))
            };
            let (rows, is_last) = self.read_page(point, dir, after.as_deref())?;
            if rows.is_empty() {
                return Ok(None);
            }
            if page.marks.last().is_none_or(|(last, _)| last + MARK_EVERY <= first) {
                page.marks.push((first, after));
            }
            (page.first, page.rows, page.is_last) = (first, rows, is_last);
        }
    }

    /// Some entries, bounded by how many they are and what they take; whether they are the last.
    fn read_page(
        &self,
        point: &PointId,
        dir: &[u8],
        after: Option<&[u8]>,
    ) -> Answer<(Vec<Child>, bool)> {
        let held = self.hold(point, dir)?;
        let manifest = held.point.manifest();
        let (mut rows, mut bytes) = (Vec::new(), 0);
        let names = manifest.names(dir, after);
        let names = names.map_err(|error| self.unreadable(point, dir, error))?;
        for name in names {
            let name = name.map_err(|error| self.unreadable(point, dir, error))?;
            let path = name.path.as_slice().into();
            let node = entries::node(&self.options, &held, path, name.entry);
            let node = node.map_err(|error| self.unreadable(point, &name.path, error))?;
            let last = name.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            let child = Child { name: last.to_vec(), node };
            bytes += child.weight();
            rows.push(child);
            if rows.len() >= limits::MOUNT_DIRECTORY_ROWS || bytes >= limits::MOUNT_DIRECTORY_BYTES
            {
                return Ok((rows, false));
            }
        }
        Ok((rows, true))
    }
}

const MARK_EVERY: u64 = 1024;
