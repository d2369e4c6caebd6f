//! A disk that forgets: what a directory may look like after the power went.
//!
//! ```text
//!   write, set length ─→ pending of the file ──────── fsync of the file ──────→ durable bytes
//!   create, rename, remove ─→ pending names ──── fsync of that directory ────→ durable names
//!                                    power cut: of what is pending, a `Loss` decides
//! ```
//!
//! It is stricter than any one file system: a synced file whose name was not synced is not there,
//! and `sync_file_range`, which asks nothing of the disk's own cache, counts for nothing.

use super::{Dice, record::Event};
use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path},
};

/// What happens to writes that nobody synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// All of them are gone.
    Everything,
    /// None is lost: what the process itself saw.
    Nothing,
    /// Each is there or not.
    Some,
    /// Of each, some pieces of this many bytes are there.
    Torn(usize),
    /// The first few are there.
    Tail,
}

/// Which syncs the disk obeys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syncs {
    All,
    /// `fdatasync` is a lie. Both engines' promises to us rest on it.
    NotOfData,
}

type NodeId = usize;
const ROOT: NodeId = 0;

#[derive(Clone)]
enum Node {
    Directory { live: BTreeMap<String, NodeId>, durable: BTreeMap<String, NodeId> },
    File { durable: Vec<u8>, pending: Vec<Change> },
}

#[derive(Clone)]
enum Change {
    SetLength(usize),
    Write(usize, Vec<u8>),
}

/// A name that appears in a directory (`Some`) or goes from it (`None`).
type Naming = (NodeId, String, Option<NodeId>);

#[derive(Clone)]
pub(super) struct Disk {
    nodes: Vec<Node>,
    /// One entry per call, in order; a rename is one entry that names twice.
    namings: Vec<Vec<Naming>>,
    descriptors: BTreeMap<i32, NodeId>,
}

impl Disk {
    /// A disk that holds what `directory` holds now, all of it durable.
    pub(super) fn holding(directory: &Path) -> Self {
        let mut disk =
            Self { nodes: Vec::new(), namings: Vec::new(), descriptors: BTreeMap::new() };
        disk.load(directory);
        disk
    }

    fn load(&mut self, path: &Path) -> NodeId {
        let id = self.nodes.len();
        if path.is_file() {
            let durable = fs::read(path).unwrap();
            self.nodes.push(Node::File { durable, pending: Vec::new() });
            return id;
        }
        self.nodes.push(Node::Directory { live: BTreeMap::new(), durable: BTreeMap::new() });
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            names.insert(name, self.load(&entry.path()));
        }
        self.nodes[id] = Node::Directory { live: names.clone(), durable: names };
        id
    }

    pub(super) fn happen(&mut self, event: &Event, syncs: Syncs) {
        match event {
            Event::Acknowledge(_) => {}
            Event::Close { fd } => {
                self.descriptors.remove(fd);
            }
            Event::Duplicate { fd, copy } => {
                self.descriptors.insert(*copy, self.descriptors[fd]);
            }
            Event::Make { path } => {
                let made = Node::Directory { live: BTreeMap::new(), durable: BTreeMap::new() };
                self.create(path, made);
            }
            Event::Open { fd, path, create, empty } => self.open(*fd, path, *create, *empty),
            Event::Remove { path } => {
                let (parent, name) = self.place(path);
                self.name(vec![(parent, name, None)]);
            }
            Event::Rename { from, to } => {
                let node = self.find(from).expect("a renamed path is known");
                let ((old, old_name), (new, new_name)) = (self.place(from), self.place(to));
                self.name(vec![(old, old_name, None), (new, new_name, Some(node))]);
            }
            Event::SetLength { fd, length } => self.change(*fd, Change::SetLength(*length)),
            Event::Sync { data_only: true, .. } if syncs == Syncs::NotOfData => {}
            Event::Sync { fd, .. } => self.sync(self.descriptors[fd]),
            Event::Write { fd, offset, bytes } => {
                self.change(*fd, Change::Write(*offset, bytes.clone()));
            }
        }
    }

    /// The process ends, and nothing is lost by that: what is pending stays so.
    pub(super) fn killed(mut self) -> Self {
        self.descriptors.clear();
        self
    }

    /// Writes to `target` what is left when the power goes now.
    pub(super) fn cut(&self, loss: Loss, dice: &mut Dice, target: &Path) {
        let mut names: Vec<BTreeMap<String, NodeId>> = self
            .nodes
            .iter()
            .map(|node| match node {
                Node::Directory { durable, .. } => durable.clone(),
                Node::File { .. } => BTreeMap::new(),
            })
            .collect();
        // Names go through a journal: of those that were not synced, the first few survive.
        let kept = match loss {
            Loss::Everything => 0,
            Loss::Nothing => self.namings.len(),
            Loss::Some | Loss::Tail | Loss::Torn(_) => dice.below(self.namings.len() + 1),
        };
        for (directory, name, node) in self.namings[..kept].iter().flatten() {
            set(&mut names[*directory], name, *node);
        }
        self.put(ROOT, &names, (loss, dice), target);
    }

    fn put(
        &self,
        id: NodeId,
        names: &[BTreeMap<String, NodeId>],
        (loss, dice): (Loss, &mut Dice),
        target: &Path,
    ) {
        match &self.nodes[id] {
            Node::Directory { .. } => {
                fs::create_dir_all(target).unwrap();
                for (name, child) in &names[id] {
                    self.put(*child, names, (loss, dice), &target.join(name));
                }
            }
            Node::File { durable, pending } => {
                let mut bytes = durable.clone();
                for change in survivors(pending, loss, dice) {
                    apply(&mut bytes, &change);
                }
                fs::write(target, bytes).unwrap();
            }
        }
    }

    fn open(&mut self, fd: i32, path: &Path, create: bool, empty: bool) {
        let node = match self.find(path) {
            Some(node) => node,
            None if create => {
                self.create(path, Node::File { durable: Vec::new(), pending: Vec::new() })
            }
            None => panic!("{} was opened and never made", path.display()),
        };
        self.descriptors.insert(fd, node);
        if empty {
            self.change(fd, Change::SetLength(0));
        }
    }

    fn create(&mut self, path: &Path, node: Node) -> NodeId {
        let (parent, name) = self.place(path);
        let id = self.nodes.len();
        self.nodes.push(node);
        self.name(vec![(parent, name, Some(id))]);
        id
    }

    fn name(&mut self, naming: Vec<Naming>) {
        for (directory, name, node) in &naming {
            if let Node::Directory { live, .. } = &mut self.nodes[*directory] {
                set(live, name, *node);
            }
        }
        self.namings.push(naming);
    }

    fn change(&mut self, fd: i32, change: Change) {
        match &mut self.nodes[self.descriptors[&fd]] {
            Node::File { pending, .. } => pending.push(change),
            Node::Directory { .. } => panic!("a write to a directory"),
        }
    }

    fn sync(&mut self, id: NodeId) {
        if let Node::File { durable, pending } = &mut self.nodes[id] {
            pending.drain(..).for_each(|change| apply(durable, &change));
            return;
        }
        let (synced, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.namings)
            .into_iter()
            .partition(|naming| naming.iter().any(|(within, ..)| *within == id));
        self.namings = waiting;
        for (directory, name, node) in synced.into_iter().flatten() {
            if let Node::Directory { durable, .. } = &mut self.nodes[directory] {
                set(durable, &name, node);
            }
        }
    }

    fn find(&self, path: &Path) -> Option<NodeId> {
        path.components().try_fold(ROOT, |at, component| match (&self.nodes[at], component) {
            (Node::Directory { live, .. }, Component::Normal(name)) => {
                live.get(name.to_str()?).copied()
            }
            _ => None,
        })
    }

    fn place(&self, path: &Path) -> (NodeId, String) {
        let parent = self.find(path.parent().unwrap()).expect("the directory of a path is known");
        (parent, path.file_name().unwrap().to_str().unwrap().to_owned())
    }
}

fn set(names: &mut BTreeMap<String, NodeId>, name: &str, node: Option<NodeId>) {
    match node {
        Some(node) => names.insert(name.to_owned(), node),
        None => names.remove(name),
    };
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::SetLength(length) => bytes.resize(*length, 0),
        Change::Write(offset, written) => {
            let end = offset + written.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[*offset..end].copy_from_slice(written);
        }
    }
}

fn survivors(pending: &[Change], loss: Loss, dice: &mut Dice) -> Vec<Change> {
    match loss {
        Loss::Everything => Vec::new(),
        Loss::Nothing => pending.to_vec(),
        Loss::Some => pending.iter().filter(|_| dice.below(2) == 0).cloned().collect(),
        Loss::Tail => pending[..dice.below(pending.len() + 1)].to_vec(),
        Loss::Torn(piece) => pending.iter().flat_map(|change| torn(change, piece, dice)).collect(),
    }
}

fn torn(change: &Change, piece: usize, dice: &mut Dice) -> Vec<Change> {
    let Change::Write(offset, bytes) = change else { return vec![change.clone()] };
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let end = bytes.len().min(at + piece - (offset + at) % piece);
        if dice.below(2) == 0 {
            pieces.push(Change::Write(offset + at, bytes[at..end].to_vec()));
        }
        at = end;
    }
    pieces
}
