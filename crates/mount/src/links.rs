//! Hard links of a point: how many names each inode has, and which of them carries the content.
//!
//! The manifest is read through once, when the first hard link is met. Of groups beyond the bound
//! the first name is looked for again each time, and two names are told: enough for whoever copies
//! to look at the inode's number.

use crate::{nodes, point::Point};
use holdfast_common::Result;
use holdfast_seal::manifest::entry::{Entry, LinkIdentity};
use std::collections::HashMap;

#[derive(Debug, Default)]
pub(crate) struct Links {
    groups: HashMap<u64, Group>,
}

#[derive(Debug)]
struct Group {
    /// Of the first name. Others that differ are no names of it.
    inode: LinkIdentity,
    names: u32,
    /// Of data, holes left out.
    bytes: u64,
    first: Box<[u8]>,
}

impl Links {
    pub(crate) fn of(point: &dyn Point, bytes_max: usize) -> Result<Self> {
        let mut groups: HashMap<u64, Group> = HashMap::new();
        let mut room = bytes_max;
        for entry in point.manifest().entries()? {
            let entry = entry?;
            let Some(nodes::Group { number, inode }) = nodes::Group::of(&entry) else { continue };
            if let Some(known) = groups.get_mut(&number) {
                if known.inode == inode {
                    known.names = known.names.saturating_add(1);
                }
                continue;
            }
            let weight = size_of::<(u64, Group)>() * 2 + entry.path.len();
            // A later name does not become the first of a group that found no room.
            if weight > room || entry.content.is_none() && entry.size > 0 {
                continue;
            }
            room -= weight;
            let bytes = entry.content_bytes();
            let first = entry.path.as_slice().into();
            groups.insert(number, Group { inode, names: 1, bytes, first });
        }
        Ok(Self { groups })
    }

    pub(crate) fn names(&self, of: nodes::Group) -> u32 {
        self.groups
            .get(&of.number)
            .map_or(NAMES_UNKNOWN, |group| if group.inode == of.inode { group.names } else { 1 })
    }

    pub(crate) fn bytes(&self, of: nodes::Group) -> Option<u64> {
        let group = self.groups.get(&of.number).filter(|group| group.inode == of.inode);
        group.map(|group| group.bytes)
    }

    /// The entry that carries the content of a group, be it of another file than all of its names.
    pub(crate) fn carrier(&self, point: &dyn Point, group: u64) -> Result<Option<Entry>> {
        let manifest = point.manifest();
        if let Some(group) = self.groups.get(&group) {
            return manifest.get(&group.first);
        }
        for entry in manifest.entries()? {
            let entry = entry?;
            if entry.hardlink_group == Some(group) && entry.content.is_some() {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }
}

/// A group is only made of what had several.
const NAMES_UNKNOWN: u32 = 2;
