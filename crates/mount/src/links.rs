//! Hard links of a point: how many names each inode has, and which of them carries the content.
//!
//! The manifest is read through once, when the first hard link is met. Of groups beyond the bound
//! the first name is looked for again each time, and two names are told: enough for whoever copies
//! to look at the inode's number.

use crate::point::Point;
use holdfast_common::Result;
use holdfast_seal::manifest::entry::Entry;
use std::collections::HashMap;

#[derive(Debug, Default)]
pub(crate) struct Links {
    groups: HashMap<u64, Group>,
}

#[derive(Debug)]
struct Group {
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
            let Some(group) = entry.hardlink_group else { continue };
            if let Some(known) = groups.get_mut(&group) {
                known.names = known.names.saturating_add(1);
                continue;
            }
            let weight = size_of::<(u64, Group)>() * 2 + entry.path.len();
            // A later name does not become the first of a group that found no room.
            if weight > room || entry.content.is_none() && entry.size > 0 {
                continue;
            }
            room -= weight;
            let bytes = entry.content_bytes();
            groups.insert(group, Group { names: 1, bytes, first: entry.path.as_slice().into() });
        }
        Ok(Self { groups })
    }

    pub(crate) fn names(&self, group: u64) -> u32 {
        self.groups.get(&group).map_or(NAMES_UNKNOWN, |group| group.names)
    }

    pub(crate) fn bytes(&self, group: u64) -> Option<u64> {
        self.groups.get(&group).map(|group| group.bytes)
    }

    /// The entry that carries the content of a group.
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
