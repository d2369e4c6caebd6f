//! Entries of a manifest as nodes: everything that a point knows of a path.

use super::{Answer, Options, Refused, Tree, join};
use crate::{
    held::HeldPoint,
    nodes::{Attributes, Group, Node, Place},
};
use holdfast_common::{PointId, Result, Timestamp};
use holdfast_seal::manifest::entry::{Entry, EntryKind};
use std::sync::Arc;

impl Tree {
    /// The entry under a name of a directory of a point.
    pub(super) fn entry(
        &self,
        directory: &Node,
        point: PointId,
        dir: &[u8],
        name: &[u8],
    ) -> Answer<Node> {
        if directory.attributes.kind != EntryKind::Directory {
            return Err(Refused::NotADirectory);
        }
        let path = join(dir, name);
        let held = self.hold(&point, &path)?;
        let found = find(&held, &path).and_then(|found| {
            found.map(|entry| node(&self.options, &held, path.as_slice().into(), entry)).transpose()
        });
        match found {
            Ok(found) => found.ok_or(Refused::Missing),
            Err(error) => Err(self.unreadable(&point, &path, error)),
        }
    }
}

/// What is at a path; a directory that has no entry is there when something below it has one.
fn find(held: &HeldPoint, path: &[u8]) -> Result<Option<Option<Entry>>> {
    let manifest = held.point.manifest();
    if let Some(entry) = manifest.get(path)? {
        return Ok(Some(Some(entry)));
    }
    let below = manifest.subtree(path)?.next().transpose()?;
    Ok(below.map(|_| None))
}

/// The node of an entry, or of a directory that has none.
pub(super) fn node(
    options: &Options,
    held: &HeldPoint,
    path: Arc<[u8]>,
    entry: Option<Entry>,
) -> Result<Node> {
    let group = entry.as_ref().and_then(Group::of);
    let attributes = match &entry {
        Some(entry) => attributes(options, held, entry)?,
        None => directory(options),
    };
    Ok(Node { place: Place::Entry { point: held.id, path, group }, attributes })
}

fn attributes(options: &Options, held: &HeldPoint, entry: &Entry) -> Result<Attributes> {
    let own = entry.content_bytes();
    let (names, bytes) = match Group::of(entry) {
        Some(group) => {
            let links = held.links()?;
            let bytes = if entry.content.is_some() { Some(own) } else { links.bytes(group) };
            (links.names(group), bytes.unwrap_or(entry.size))
        }
        None => (1, own),
    };
    let size = match entry.kind {
        EntryKind::File => entry.size,
        EntryKind::Symlink => entry.link_target.as_ref().map_or(0, |target| target.len() as u64),
        _ => 0,
    };
    let (modified, changed) = match entry.modified_ns() {
        Some(modified) => (modified, entry.ctime_ns),
        None => (options.since.as_nanos(), options.since.as_nanos()),
    };
    Ok(Attributes {
        kind: entry.kind,
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        size,
        bytes: if entry.kind == EntryKind::File { bytes } else { 0 },
        mtime_ns: modified,
        ctime_ns: changed,
        names,
        device: entry.device,
        has_xattrs: entry.xattrs.as_ref().is_some_and(|xattrs| !xattrs.is_empty()),
    })
}

/// A directory that is in no point.
pub(super) fn directory(options: &Options) -> Attributes {
    made(options, EntryKind::Directory, 0o555, options.since, 0)
}

/// The top of a point among others, as of the time of the point: it is not opened for that.
pub(super) fn top(options: &Options, time: Timestamp) -> Attributes {
    made(options, EntryKind::Directory, 0o555, time, 0)
}

pub(super) fn pointer(options: &Options, time: Timestamp, target: &str) -> Attributes {
    made(options, EntryKind::Symlink, 0o777, time, target.len() as u64)
}

fn made(options: &Options, kind: EntryKind, mode: u32, time: Timestamp, size: u64) -> Attributes {
    let (uid, gid) = options.owner;
    Attributes {
        kind,
        mode,
        uid,
        gid,
        size,
        bytes: 0,
        mtime_ns: time.as_nanos(),
        ctime_ns: time.as_nanos(),
        names: 1,
        device: None,
        has_xattrs: false,
    }
}
