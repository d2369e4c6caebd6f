//! What a member has on its disk: a log, tables, snapshots. What was not synced is not there.
//!
//! ```text
//!   write ─→ view (what the member sees) ─ sync, after a while ─→ kept (what a crash leaves)
//!   fuse  ─→ after so many writes the disk is gone in the middle of things, and the member with it
//! ```

mod log;
mod tables;

use super::{events::Event, world::World};
use crate::store::Overlay;
pub(super) use log::{Image, SimulatedLog, written};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
pub(super) use tables::{SimulatedTables, applied, digest};

pub(super) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

const LAYER_BYTES: [usize; 4] = [1, 2_000, 20_000, 1_000_000];

/// What a crash left.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) log: Image,
    pub(super) rows: Rows,
}

/// How much longer a disk works; shared by the log and the tables on it.
#[derive(Default)]
pub(super) struct Fuse(Mutex<Option<u64>>);

impl Fuse {
    pub(super) fn light(&self, writes: u64) {
        *self.0.lock().unwrap() = Some(writes);
    }

    /// It lasts from now on, unless it has ended already.
    pub(super) fn spare(&self, world: &World, member: u64) {
        if !world.doomed.lock().unwrap().contains(&member) {
            *self.0.lock().unwrap() = None;
        }
    }

    /// Whether the disk still takes a write.
    fn burn(&self, world: &World, member: u64) -> std::io::Result<()> {
        let mut left = self.0.lock().unwrap();
        match left.as_mut() {
            None => return Ok(()),
            Some(0) => {}
            Some(more) => {
                *more -= 1;
                return Ok(());
            }
        }
        if world.doomed.lock().unwrap().insert(member) {
            world.tell(Event::Weather { what: format!("the disk of {member} is gone") });
        }
        Err(std::io::Error::other("the disk is gone"))
    }
}

/// The disk of a member that runs.
pub(super) struct Mounted {
    pub(super) fuse: Arc<Fuse>,
    pub(super) log: SimulatedLog,
    pub(super) tables: Arc<SimulatedTables>,
    /// What is above them, in memory.
    pub(super) overlay: Arc<Overlay>,
}

impl Mounted {
    pub(super) fn new(world: &Arc<World>, member: u64, disk: Disk) -> Self {
        // Some write every row to the disk at once, and some hold all in memory.
        let settle_at = world.dice().pick(&LAYER_BYTES).unwrap();
        let fuse = Arc::new(Fuse::default());
        let place = Place { world: world.clone(), member, fuse: fuse.clone() };
        let log = SimulatedLog::new(place.clone(), disk.log);
        let tables = Arc::new(SimulatedTables::new(place, disk.rows));
        let overlay = Overlay::without_settler(tables.clone(), settle_at);
        log.attach(&overlay);
        Self { fuse, log, tables, overlay }
    }

    /// What is left if the power goes now.
    pub(super) fn crash(&self) -> Disk {
        Disk { log: self.log.crash(), rows: self.tables.crash() }
    }
}

/// Whose disk it is.
#[derive(Clone)]
struct Place {
    world: Arc<World>,
    member: u64,
    fuse: Arc<Fuse>,
}
