//! Hard links: which paths are one inode, and which of them carries the content.
//!
//! The first path of an inode with several links carries it, later ones only the group's number.
//! A path joins a group only while it is what the first path was: the number of an inode that went
//! away is soon another's. An inode is forgotten once all its links were seen, so the table holds
//! only those with links still ahead, or outside of what is backed up; it is bounded, and beyond
//! the bound a link is stored as a file of its own, with its content, and counted.

use super::status::Status;
use holdfast_common::limits;
use holdfast_seal::manifest::entry::{EntryKind, Inode};
use std::collections::HashMap;
use std::collections::hash_map;
use std::hash::BuildHasher;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkRole {
    /// The only path of its inode, as far as the manifest is concerned.
    Alone,
    /// Carries the content of this group.
    First(u64),
    /// Was to carry this group's content, and is something else by now: a file of its own.
    Former(u64),
    /// Has its content from the first of this group.
    Later(u64),
}

impl LinkRole {
    pub fn group(self) -> Option<u64> {
        match self {
            Self::Alone | Self::Former(_) => None,
            Self::First(group) | Self::Later(group) => Some(group),
        }
    }

    /// What the path is once it leads to something else than the walk found.
    pub fn left(self) -> Self {
        match self {
            Self::Alone | Self::Later(_) => Self::Alone,
            Self::First(group) | Self::Former(group) => Self::Former(group),
        }
    }
}

#[derive(Debug)]
pub struct LinkGroups {
    open: HashMap<Inode, Group>,
    open_max: usize,
    last: u32,
    separated: u64,
}

/// Small, since there may be many: what its inode was is kept as a digest.
#[derive(Debug)]
struct Group {
    what: u64,
    number: u32,
    links_left: u32,
}

impl Default for LinkGroups {
    fn default() -> Self {
        Self::with_room_for(limits::LINKS_OPEN_MAX)
    }
}

impl LinkGroups {
    /// What an open inode takes in memory.
    pub const ROW_BYTES: usize = size_of::<(Inode, Group)>();

    fn with_room_for(open_max: usize) -> Self {
        Self { open: HashMap::with_capacity(open_max), open_max, last: 0, separated: 0 }
    }

    /// The role of the next path of the walk. Must be asked once per path, in manifest order.
    pub fn role(&mut self, status: &Status) -> LinkRole {
        if status.kind == EntryKind::Directory || status.links < 2 {
            return LinkRole::Alone;
        }
        let full = self.open.len() >= self.open_max || self.last == u32::MAX;
        let what = self.open.hasher().hash_one(status.link_identity());
        let links_left = status.links - 1;
        match self.open.entry(status.inode) {
            hash_map::Entry::Occupied(mut seen) if seen.get().what != what => {
                if self.last == u32::MAX {
                    seen.remove();
                    return LinkRole::Alone;
                }
                self.last += 1;
                seen.insert(Group { what, number: self.last, links_left });
                LinkRole::First(self.last.into())
            }
            hash_map::Entry::Occupied(mut seen) => {
                let number = seen.get().number.into();
                seen.get_mut().links_left -= 1;
                if seen.get().links_left == 0 {
                    seen.remove();
                }
                LinkRole::Later(number)
            }
            hash_map::Entry::Vacant(_) if full => {
                self.separated += 1;
                LinkRole::Alone
            }
            hash_map::Entry::Vacant(free) => {
                self.last += 1;
                free.insert(Group { what, number: self.last, links_left });
                LinkRole::First(self.last.into())
            }
        }
    }

    /// Links that were stored as files of their own because the table was full.
    pub fn separated(&self) -> u64 {
        self.separated
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_seal::manifest::entry::Device;

    fn status(number: u64, links: u32) -> Status {
        Status {
            kind: EntryKind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            links,
            size: 0,
            mtime_ns: 0,
            ctime_ns: 0,
            birth_ns: Some(0),
            inode: Inode { device: 1, number },
            device: Device { major: 0, minor: 0 },
            mount_root: false,
        }
    }

    #[test]
    fn an_inode_is_forgotten_once_all_its_links_were_seen() {
        let mut groups = LinkGroups::default();
        assert_eq!(groups.role(&status(7, 3)), LinkRole::First(1));
        assert_eq!(groups.role(&status(8, 2)), LinkRole::First(2));
        assert_eq!(groups.role(&status(7, 3)), LinkRole::Later(1));
        assert_eq!(groups.role(&status(7, 3)), LinkRole::Later(1));
        assert_eq!(groups.open.len(), 1, "only inode 8 has a link ahead");
        assert_eq!(groups.role(&status(7, 2)), LinkRole::First(3), "a reused inode is another");
        assert_eq!(groups.role(&status(9, 1)), LinkRole::Alone);
    }

    #[test]
    fn another_inode_of_the_same_number_begins_a_group_of_its_own() {
        let old = status(7, 3);
        let unborn = Status { birth_ns: None, ..old };
        for (before, now) in [
            (old, Status { birth_ns: Some(1), ..old }),
            (old, Status { size: 1, ..old }),
            (old, Status { mtime_ns: 1, ..old }),
            (old, Status { kind: EntryKind::Fifo, ..old }),
            (unborn, Status { ctime_ns: 1, ..unborn }),
        ] {
            let mut groups = LinkGroups::default();
            assert_eq!(groups.role(&before), LinkRole::First(1));
            assert_eq!(groups.role(&now), LinkRole::First(2), "{now:?}");
            assert_eq!(groups.role(&now), LinkRole::Later(2));
        }
    }

    #[test]
    fn a_link_that_comes_or_goes_meanwhile_does_not_part_the_others() {
        let mut groups = LinkGroups::default();
        assert_eq!(groups.role(&status(7, 3)), LinkRole::First(1));
        let moved = Status { ctime_ns: 9, links: 2, ..status(7, 3) };
        assert_eq!(groups.role(&moved), LinkRole::Later(1));
    }

    #[test]
    fn a_full_table_separates_links_instead_of_growing() {
        let mut groups = LinkGroups::with_room_for(1);
        assert_eq!(groups.role(&status(7, 2)), LinkRole::First(1));
        assert_eq!(groups.role(&status(8, 2)), LinkRole::Alone);
        assert_eq!(groups.role(&status(7, 2)), LinkRole::Later(1), "known ones go on");
        assert_eq!(groups.separated(), 1);
    }
}
