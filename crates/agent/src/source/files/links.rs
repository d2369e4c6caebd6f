//! Hard links: which paths are one inode, and which of them carries the content.
//!
//! The first path of an inode with several links carries it, later ones only the group's number.
//! An inode is forgotten once all its links were seen, so the table holds only those with links
//! still ahead, or outside of what is backed up; it is bounded, and beyond the bound a link is
//! stored as a file of its own, with its content, and counted.

use super::status::Status;
use holdfast_common::limits;
use holdfast_seal::manifest::entry::{EntryKind, Inode};
use std::collections::HashMap;
use std::collections::hash_map;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkRole {
    /// The only path of its inode, as far as the manifest is concerned.
    Alone,
    /// Carries the content of this group.
    First(u64),
    /// Has its content from the first of this group.
    Later(u64),
}

impl LinkRole {
    pub fn group(self) -> Option<u64> {
        match self {
            Self::Alone => None,
            Self::First(group) | Self::Later(group) => Some(group),
        }
    }
}

#[derive(Debug)]
pub struct LinkGroups {
    open: HashMap<Inode, Group>,
    open_max: usize,
    last: u64,
    separated: u64,
}

#[derive(Debug)]
struct Group {
    number: u64,
    links_left: u32,
}

impl Default for LinkGroups {
    fn default() -> Self {
        Self::with_room_for(limits::LINKS_OPEN_MAX)
    }
}

impl LinkGroups {
    fn with_room_for(open_max: usize) -> Self {
        Self { open: HashMap::new(), open_max, last: 0, separated: 0 }
    }

    /// The role of the next path of the walk. Must be asked once per path, in manifest order.
    pub fn role(&mut self, status: &Status) -> LinkRole {
        if status.kind == EntryKind::Directory || status.links < 2 {
            return LinkRole::Alone;
        }
        let full = self.open.len() >= self.open_max;
        match self.open.entry(status.inode) {
            hash_map::Entry::Occupied(mut seen) => {
                let number = seen.get().number;
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
                free.insert(Group { number: self.last, links_left: status.links - 1 });
                LinkRole::First(self.last)
            }
        }
    }

    /// The first path of this inode could not be saved: the next one is the first.
    pub fn forget(&mut self, status: &Status) {
        self.open.remove(&status.inode);
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
    fn a_first_that_failed_hands_its_role_on() {
        let mut groups = LinkGroups::default();
        assert_eq!(groups.role(&status(7, 2)), LinkRole::First(1));
        groups.forget(&status(7, 2));
        assert_eq!(groups.role(&status(7, 2)), LinkRole::First(2));
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
