//! What the kernel knows, by number: each place that it has looked up and not forgotten.
//!
//! A place has the same number for as long as the mount stands, forgotten in between or not, since
//! people and programs tell hard links by it: the number is a keyed hash of the place, and the
//! names of one hard-linked inode are one place. Two places of one hash live side by side under
//! neighbouring numbers.

use holdfast_common::{PointId, limits};
use holdfast_seal::manifest::entry::{Device, Entry, EntryKind, LinkIdentity};
use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::Arc,
};

/// Something of the tree.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Points,
    ByTime,
    ByPolicy,
    Policy(Arc<str>),
    /// The directory that all of those are in.
    Shelf,
    /// A name that leads elsewhere; its directory is one of those above.
    Pointer {
        of: Arc<str>,
        target: Arc<str>,
    },
    Entry {
        point: PointId,
        path: Arc<[u8]>,
        group: Option<Group>,
    },
}

/// A hard-linked inode of a point. What names of one group do not say alike was not one inode when
/// it was saved, and is none here: the kernel keeps bytes by inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Group {
    pub(crate) number: u64,
    pub(crate) inode: LinkIdentity,
}

impl Group {
    /// Of a directory there is one name.
    pub(crate) fn of(entry: &Entry) -> Option<Self> {
        let number = entry.hardlink_group.filter(|_| entry.kind != EntryKind::Directory)?;
        Some(Self { number, inode: entry.link_identity() })
    }
}

/// What a `stat` tells of it, and what saves asking again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) kind: EntryKind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    /// Of data, holes left out.
    pub(crate) bytes: u64,
    pub(crate) mtime_ns: i64,
    pub(crate) ctime_ns: i64,
    pub(crate) names: u32,
    pub(crate) device: Option<Device>,
    pub(crate) has_xattrs: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) attributes: Attributes,
}

/// A node that the kernel may be asked to forget: by its directory and its name there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Oldest {
    pub(crate) parent: u64,
    pub(crate) name: Vec<u8>,
}

pub(crate) struct Nodes {
    hasher: RandomState,
    root: Node,
    known: HashMap<u64, Known>,
    /// In the order in which they were looked up first.
    order: BTreeMap<u64, u64>,
    next: u64,
    bytes: usize,
}

struct Known {
    node: Node,
    lookups: u64,
    parent: u64,
    order: u64,
}

impl Nodes {
    pub(crate) fn new(root: Node) -> Self {
        let hasher = RandomState::new();
        let (known, order) = Default::default();
        Self { hasher, root, known, order, next: 0, bytes: 0 }
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Node> {
        if number == ROOT { Some(&self.root) } else { Some(&self.known.get(&number)?.node) }
    }

    /// The number that a place has or would have.
    pub(crate) fn number(&self, place: &Place) -> u64 {
        if *place == self.root.place {
            return ROOT;
        }
        let mut number = self.hasher.hash_one(place) | FIRST;
        while self.known.get(&number).is_some_and(|known| known.node.place != *place) {
            number = number.wrapping_add(1) | FIRST;
        }
        number
    }

    /// Notes that the kernel was told of a node once more; `None` when there is no room for it.
    pub(crate) fn told(&mut self, node: Node, parent: u64) -> Option<u64> {
        let number = self.number(&node.place);
        if number == ROOT {
            return Some(ROOT);
        }
        if let Some(known) = self.known.get_mut(&number) {
            known.lookups += 1;
            known.node = node;
            return Some(number);
        }
        let weight = node.place.weight();
        if self.bytes + weight > limits::MOUNT_NODE_BYTES_MAX {
            return None;
        }
        self.bytes += weight;
        self.next += 1;
        let order = self.next;
        self.order.insert(order, number);
        self.known.insert(number, Known { node, lookups: 1, parent, order });
        Some(number)
    }

    pub(crate) fn forget(&mut self, number: u64, lookups: u64) {
        let Some(known) = self.known.get_mut(&number) else { return };
        known.lookups = known.lookups.saturating_sub(lookups);
        if known.lookups == 0
            && let Some(known) = self.known.remove(&number)
        {
            self.order.remove(&known.order);
            self.bytes -= known.node.place.weight();
        }
    }

    /// Whether the kernel should be asked to forget some.
    pub(crate) fn is_crowded(&self) -> bool {
        self.bytes > limits::MOUNT_NODE_BYTES_MAX / 2
    }

    /// The nodes that were looked up longest ago; each is named once, and then again only when all
    /// others were. Whoever stands in a directory that the kernel forgot cannot ask any more where
    /// he is: they are named only when there is hardly room left.
    pub(crate) fn oldest(&mut self, count: usize) -> Vec<Oldest> {
        let first: Vec<(u64, u64)> =
            self.order.iter().take(count).map(|(order, number)| (*order, *number)).collect();
        let directories_too = self.bytes > limits::MOUNT_NODE_BYTES_MAX / 4 * 3;
        let mut oldest = Vec::with_capacity(first.len());
        for (order, number) in first {
            let Some(known) = self.known.get_mut(&number) else { continue };
            self.order.remove(&order);
            self.next += 1;
            known.order = self.next;
            self.order.insert(self.next, number);
            let is_directory = known.node.attributes.kind == EntryKind::Directory;
            if let Place::Entry { path, .. } = &known.node.place
                && (directories_too || !is_directory)
            {
                let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
                oldest.push(Oldest { parent: known.parent, name });
            }
        }
        oldest
    }
}

impl Place {
    pub(crate) fn weight(&self) -> usize {
        let own = match self {
            Self::Entry { path, .. } => path.len(),
            Self::Policy(name) => name.len(),
            Self::Pointer { of, target } => of.len() + target.len(),
            _ => 0,
        };
        own + NODE_BYTES
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Points => 0,
            Self::ByTime => 1,
            Self::ByPolicy => 2,
            Self::Policy(_) => 3,
            Self::Shelf => 4,
            Self::Pointer { .. } => 5,
            Self::Entry { group: None, .. } => 6,
            Self::Entry { group: Some(_), .. } => 7,
        }
    }

    /// What tells two places of one rank apart. Of a hard link that is its group.
    fn key(&self) -> (u8, Option<&PointId>, &[u8], &[u8], Option<Group>) {
        let rank = self.rank();
        match self {
            Self::Policy(name) => (rank, None, name.as_bytes(), b"", None),
            Self::Pointer { of, target } => (rank, None, of.as_bytes(), target.as_bytes(), None),
            Self::Entry { point, path, group } => {
                let path = if group.is_some() { b"" } else { &path[..] };
                (rank, Some(point), path, b"", *group)
            }
            _ => (rank, None, b"", b"", None),
        }
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Place {}

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

pub(crate) const ROOT: u64 = 1;
/// Numbers that mean something else are below; none of ours is.
const FIRST: u64 = 1 << 8;
/// A node with its rows in both tables.
const NODE_BYTES: usize = 384;

#[cfg(test)]
mod tests {
    use super::*;

    fn node(path: &str, group: Option<u64>) -> Node {
        let point = PointId::from_bytes([1; 16]);
        let inode = LinkIdentity { kind: EntryKind::File, size: 0, mtime_ns: 0 };
        let group = group.map(|number| Group { number, inode });
        let place = Place::Entry { point, path: path.as_bytes().into(), group };
        let attributes = Attributes {
            kind: EntryKind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 0,
            bytes: 0,
            mtime_ns: 0,
            ctime_ns: 0,
            names: 1,
            device: None,
            has_xattrs: false,
        };
        Node { place, attributes }
    }

    #[test]
    fn a_number_is_the_same_after_the_kernel_forgot_it() {
        let mut nodes = Nodes::new(node("/", None));
        let number = nodes.told(node("/a", None), ROOT).unwrap();
        assert_eq!(nodes.told(node("/a", None), ROOT), Some(number));
        nodes.forget(number, 1);
        assert!(nodes.get(number).is_some(), "it was told twice");
        nodes.forget(number, 1);
        assert!(nodes.get(number).is_none() && nodes.bytes == 0 && nodes.order.is_empty());
        assert_eq!(nodes.told(node("/a", None), ROOT), Some(number));
        assert_ne!(nodes.told(node("/b", None), ROOT), Some(number));
        assert_eq!(nodes.told(node("/", None), ROOT), Some(ROOT));
    }

    #[test]
    fn the_names_of_one_inode_have_one_number() {
        let mut nodes = Nodes::new(node("/", None));
        let first = nodes.told(node("/a", Some(7)), ROOT).unwrap();
        assert_eq!(nodes.told(node("/b/c", Some(7)), ROOT), Some(first));
        assert_ne!(nodes.told(node("/d", Some(8)), ROOT), Some(first));
        nodes.forget(first, 2);
        assert!(nodes.get(first).is_none());
    }

    #[test]
    fn there_is_a_bound_and_the_oldest_are_named_before_it_is_met() {
        let mut nodes = Nodes::new(node("/", None));
        let mut told = (0..1_000_000)
            .map(|told| nodes.told(node(&format!("/{told:0200}"), None), ROOT))
            .take_while(Option::is_some);
        assert!(told.by_ref().count() < 200_000, "each takes some 600 bytes");
        drop(told);
        assert!(nodes.bytes <= limits::MOUNT_NODE_BYTES_MAX && nodes.is_crowded());
        let oldest = nodes.oldest(2);
        let named = |number| Oldest { parent: ROOT, name: format!("{number:0200}").into_bytes() };
        assert_eq!(oldest, [named(0), named(1)]);
        assert_eq!(nodes.oldest(1), [named(2)]);
    }

    #[test]
    fn directories_are_forgotten_only_when_there_is_hardly_room_left() {
        let mut nodes = Nodes::new(node("/", None));
        let mut dir = node("/dir", None);
        dir.attributes.kind = EntryKind::Directory;
        nodes.told(dir, ROOT).unwrap();
        let mut told = 0;
        let mut fill = |nodes: &mut Nodes, until: usize| {
            while nodes.bytes <= until {
                told += 1;
                nodes.told(node(&format!("/{told:0200}"), None), ROOT).unwrap();
            }
            nodes.oldest(nodes.known.len()).iter().filter(|oldest| oldest.name == b"dir").count()
        };
        assert_eq!(fill(&mut nodes, limits::MOUNT_NODE_BYTES_MAX / 2), 0);
        assert!(nodes.is_crowded());
        assert_eq!(fill(&mut nodes, limits::MOUNT_NODE_BYTES_MAX / 4 * 3), 1);
    }
}
