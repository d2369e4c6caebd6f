//! The tree that is mounted: places, what is in them, and the bytes of files. Blocks.
//!
//! One point's own tree, or a shelf of all points with directories by time and by policy
//! (`shelf`). Whatever asks is answered from what is known of a node; what is not is read from the
//! point's manifest (`entries`, `directories`) or chunks (`files`).

mod directories;
mod entries;
mod files;
mod shelf;
#[cfg(test)]
mod tests;

use crate::{
    ahead::Ahead,
    cache::Cache,
    handles::Handles,
    held::{Held, HeldPoint},
    lock,
    nodes::{Node, Nodes, Oldest, Place},
    point::{Library, Unreadable},
    told::Told,
};
use core::time::Duration;
use holdfast_common::{Clock, Error, PointId, Result, Timestamp, limits};
use shelf::Shelf;
use std::sync::{Arc, Mutex};

/// What is mounted.
#[derive(Clone, Copy, Debug)]
pub enum Shown {
    /// All points of the library, by id, by time and by policy.
    All,
    /// One point's tree.
    Point(PointId),
}

/// How it is mounted.
#[derive(Clone, Debug)]
pub struct Options {
    pub shown: Shown,
    pub cache_bytes: usize,
    /// After so long without a reader a point is not held any more.
    pub idle: Duration,
    /// Whose the directories are that no point has.
    pub owner: (u32, u32),
    /// Since when they are there.
    pub since: Timestamp,
    /// Let every user of this host in, each to what the modes and owners in the point allow.
    pub allow_other: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            shown: Shown::All,
            cache_bytes: limits::MOUNT_CACHE_BYTES,
            idle: Duration::from_secs(limits::MOUNT_IDLE_SECS),
            owner: (0, 0),
            since: Timestamp::ZERO,
            allow_other: false,
        }
    }
}

/// Why something was not done, as far as whoever asked can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// As much is open, or known to the kernel, as may be.
    Crowded,
    Missing,
    NoAttribute,
    NotADirectory,
    /// Nothing of this kind has bytes, or names a target.
    NotReadable,
    /// People were told why.
    Unreadable,
}

pub(crate) use files::Seek;

pub(crate) type Answer<T> = Result<T, Refused>;

pub(crate) struct Tree {
    options: Options,
    held: Held,
    shelf: Shelf,
    nodes: Mutex<Nodes>,
    handles: Handles,
    cache: Arc<Cache>,
    ahead: Ahead,
    told: Arc<Told>,
    /// Entries and bytes of all that is shown, since to ask how large it is is no reading.
    totals: (u64, u64),
}

impl Tree {
    /// Opens the point, or asks for the list of points: what cannot be mounted is refused here.
    pub(crate) fn new(
        library: Arc<dyn Library>,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Self> {
        let told = Arc::new(Told::new(Arc::clone(&library), Arc::clone(&clock)));
        let held = Held::new(Arc::clone(&library), Arc::clone(&clock), options.idle);
        let shelf = Shelf::new(library, clock, Arc::clone(&told));
        let mut totals = (0, 0);
        let root = match options.shown {
            Shown::All => {
                shelf.look()?;
                Node { place: Place::Shelf, attributes: entries::directory(&options) }
            }
            Shown::Point(point) => {
                let held = held.get(&point)?;
                let top = held.point.manifest().get(b"/")?;
                let root = *held.point.manifest().root();
                totals = (root.entries, root.bytes);
                entries::node(&options, &held, Arc::from(*b"/"), top)?
            }
        };
        let cache = Arc::new(Cache::new(options.cache_bytes));
        let (ahead, handles) = (Ahead::new(&cache)?, Handles::default());
        let nodes = Mutex::new(Nodes::new(root));
        Ok(Self { options, held, shelf, nodes, handles, cache, ahead, told, totals })
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn node(&self, number: u64) -> Answer<Node> {
        lock(&self.nodes).get(number).cloned().ok_or(Refused::Missing)
    }

    /// What is in a directory under a name. The kernel knows it from then on.
    pub(crate) fn look_up(&self, parent: u64, name: &[u8]) -> Answer<(u64, Node)> {
        let directory = self.node(parent)?;
        let found = match &directory.place {
            Place::Entry { point, path, .. } => self.entry(&directory, *point, path, name)?,
            Place::Pointer { .. } => return Err(Refused::NotADirectory),
            place => self.shelf.find(&self.options, place, name).ok_or(Refused::Missing)?,
        };
        let number = self.tell(found.clone(), parent)?;
        Ok((number, found))
    }

    /// Notes that the kernel knows a node; the number that it knows it by.
    pub(crate) fn tell(&self, node: Node, parent: u64) -> Answer<u64> {
        lock(&self.nodes).told(node, parent).ok_or(Refused::Crowded)
    }

    /// The number of a place that the kernel need not know.
    pub(crate) fn number(&self, place: &Place) -> u64 {
        lock(&self.nodes).number(place)
    }

    pub(crate) fn forget(&self, number: u64, lookups: u64) {
        lock(&self.nodes).forget(number, lookups);
    }

    /// What the kernel should be asked to forget, when it knows too much.
    pub(crate) fn too_old(&self) -> Vec<Oldest> {
        let mut nodes = lock(&self.nodes);
        if nodes.is_crowded() { nodes.oldest(FORGET_AT_ONCE) } else { Vec::new() }
    }

    pub(crate) fn is_crowded(&self) -> bool {
        lock(&self.nodes).is_crowded()
    }

    /// Says of every point that is read that it is, and lets go of the others.
    pub(crate) fn keep(&self) {
        self.held.keep();
    }

    /// Lets go of every point; the next use opens it again.
    pub(crate) fn let_go(&self) {
        self.held.close();
    }

    /// Entries and bytes of all that is shown; of many points nobody counts them.
    pub(crate) fn totals(&self) -> (u64, u64) {
        self.totals
    }

    fn hold(&self, point: &PointId, path: &[u8]) -> Answer<HeldPoint> {
        self.held.get(point).map_err(|error| self.unreadable(point, path, error))
    }

    fn unreadable(&self, point: &PointId, path: &[u8], error: Error) -> Refused {
        self.told.tell(Unreadable { point: Some(*point), path: path.to_vec(), error });
        Refused::Unreadable
    }
}

/// `/` and `a` are `/a`; so are the others.
fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let dir = dir.strip_suffix(b"/").unwrap_or(dir);
    [dir, b"/", name].concat()
}

const FORGET_AT_ONCE: usize = 4096;
