//! Files, links and extended attributes: what is read from an entry, and the chunks behind it.

use super::{Answer, Refused, Tree};
use crate::{
    handles::{Handle, OpenFile},
    held::HeldPoint,
    layout::Layout,
    nodes::{Node, Place},
};
use holdfast_common::{Code, Error, PointId, Result};
use holdfast_seal::manifest::entry::{Content, Entry, EntryKind, Xattr};
use std::sync::Arc;

/// What is looked for in a file with holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seek {
    Data,
    Hole,
}

impl Tree {
    pub(crate) fn open_file(&self, number: u64) -> Answer<u64> {
        let node = self.node(number)?;
        let (Place::Entry { point, path, .. }, EntryKind::File) =
            (&node.place, node.attributes.kind)
        else {
            return Err(Refused::NotReadable);
        };
        let held = self.hold(point, path)?;
        let opened = layout(&held, path).map_err(|error| self.unreadable(point, path, error))?;
        let file = OpenFile::new(*point, Arc::clone(path), opened);
        self.handles.open(Handle::File(Arc::new(file))).ok_or(Refused::Crowded)
    }

    /// Up to `length` bytes from `offset` on; fewer only at the end of the file.
    pub(crate) fn read(&self, handle: u64, offset: u64, length: usize) -> Answer<Vec<u8>> {
        let file = self.handles.file(handle).ok_or(Refused::Missing)?;
        let held = self.hold(&file.point, &file.path)?;
        let read = self.read_from(&held, &file, offset, length);
        read.map_err(|error| self.unreadable(&file.point, &file.path, error))
    }

    fn read_from(
        &self,
        held: &HeldPoint,
        file: &OpenFile,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>> {
        let left = file.layout.size().saturating_sub(offset);
        let length = usize::try_from(left).map_or(length, |left| left.min(length));
        let mut out = vec![0; length];
        let mut list =
            |number, start, row: &_| file.list(held.point.manifest(), (number, start), row);
        let parts = file.layout.parts(offset, length, &mut list)?;
        if let Some(next) = file.note(offset..offset + length as u64) {
            let chunks = file.layout.after(next.start, next.end - next.start, &mut list);
            let _no_place = self.ahead.fetch(Arc::clone(&held.point), chunks.unwrap_or_default());
        }
        self.cache.read(&*held.point, &parts, &mut out)?;
        Ok(out)
    }

    /// Where the next data or the next hole of a file is.
    pub(crate) fn seek(&self, handle: u64, offset: u64, what: Seek) -> Answer<Option<u64>> {
        let file = self.handles.file(handle).ok_or(Refused::Missing)?;
        Ok(match what {
            Seek::Data => file.layout.data_from(offset),
            Seek::Hole => file.layout.hole_from(offset),
        })
    }

    pub(crate) fn read_link(&self, number: u64) -> Answer<Vec<u8>> {
        let node = self.node(number)?;
        match &node.place {
            Place::Pointer { target, .. } => Ok(target.as_bytes().to_vec()),
            Place::Entry { point, path, .. } => {
                let entry = self.again(point, path)?;
                entry.link_target.map(Into::into).ok_or(Refused::NotReadable)
            }
            _ => Err(Refused::NotReadable),
        }
    }

    /// All extended attributes of a node.
    pub(crate) fn xattrs(&self, node: &Node) -> Answer<Vec<Xattr>> {
        match &node.place {
            Place::Entry { point, path, .. } if node.attributes.has_xattrs => {
                Ok(self.again(point, path)?.xattrs.unwrap_or_default())
            }
            _ => Ok(Vec::new()),
        }
    }

    pub(crate) fn xattr(&self, number: u64, name: &[u8]) -> Answer<Vec<u8>> {
        let xattrs = self.xattrs(&self.node(number)?)?;
        let found = xattrs.into_iter().find(|xattr| xattr.name.as_slice() == name);
        found.map(|xattr| xattr.value.into()).ok_or(Refused::NoAttribute)
    }

    /// The entry of a path that was seen before.
    fn again(&self, point: &PointId, path: &[u8]) -> Answer<Entry> {
        let held = self.hold(point, path)?;
        let found = held.point.manifest().get(path).and_then(|entry| entry.ok_or_else(gone));
        found.map_err(|error| self.unreadable(point, path, error))
    }
}

fn layout(held: &HeldPoint, path: &[u8]) -> Result<Layout> {
    let entry = held.point.manifest().get(path)?.ok_or_else(gone)?;
    Layout::new(entry.size, content(held, &entry)?.as_ref())
}

/// All names of a hard link have the content of the first one, since they are one inode; what was
/// another file when it was saved has none, as in a restore.
fn content(held: &HeldPoint, entry: &Entry) -> Result<Option<Content>> {
    let Some(group) = entry.hardlink_group else { return Ok(entry.content.clone()) };
    match held.links()?.carrier(&*held.point, group)? {
        Some(carrier) if carrier.link_identity() == entry.link_identity() => Ok(carrier.content),
        Some(_) => Err(Error::new(
            Code::FileChanged,
            "another name of the file was saved when it was another file",
        )),
        None if entry.size == 0 => Ok(None),
        None => {
            Err(Error::new(Code::ManifestDamaged, "no other name of a hard link has its content"))
        }
    }
}

fn gone() -> Error {
    Error::new(Code::ManifestDamaged, "the manifest does not hold an entry that it held")
}
