//! All that a simulation is made of, in one place: dice, time, network, disks, members, witnesses.
//!
//! One world, one thread: code that cannot be handed a world finds the one of its thread.

use super::{
    dice::Dice,
    disk::Disk,
    events::{Event, Trace},
    invariants::{Witnesses, Wrong},
    member::Living,
    network::Links,
};
use holdfast_common::Entropy;
use holdfast_ledger::row::{MemberRow, MemberState};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::Instant;

thread_local! {
    static HERE: RefCell<Option<Arc<World>>> = const { RefCell::new(None) };
}

/// What is broken on purpose, to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// The log acknowledges entries before they are synced.
    EarlyAck,
    /// The tables do not remember which keys were applied.
    ForgottenKeys,
    /// The log acknowledges a vote and does not keep it.
    ForgottenVote,
    /// Reads are served without asking who leads.
    LocalRead,
}

pub(super) struct World {
    pub(super) lie: Option<Lie>,
    pub(super) root: PathBuf,
    /// How often a sync takes long, on all disks of this world.
    pub(super) slow_percent: u64,
    pub(super) links: Mutex<Links>,
    pub(super) living: Mutex<BTreeMap<u64, Arc<Living>>>,
    /// The disks of members that are down.
    pub(super) disks: Mutex<BTreeMap<u64, Disk>>,
    /// Members whose disk has been cut off.
    pub(super) doomed: Mutex<BTreeSet<u64>>,
    /// Who is to belong to the cluster, and how.
    pub(super) wanted: Mutex<BTreeMap<u64, MemberRow>>,
    /// The highest number of a member; none is used twice.
    pub(super) newest: Mutex<u64>,
    pub(super) is_evening: AtomicBool,
    dice: Mutex<Dice>,
    begin: Instant,
    trace: Mutex<Trace>,
    witnesses: Mutex<Witnesses>,
    wrong: Mutex<Option<Wrong>>,
    numbers: AtomicU64,
}

impl World {
    /// Makes the world of this thread; it ends with what is returned.
    pub(super) fn create(seed: u64, lie: Option<Lie>, root: PathBuf) -> (Arc<Self>, Presence) {
        let mut dice = Dice::new(seed);
        let slow_percent = dice.pick(&[1, 1, 10, 70]).unwrap();
        let world = Arc::new(Self {
            lie,
            root,
            slow_percent,
            links: Mutex::default(),
            living: Mutex::default(),
            disks: Mutex::default(),
            doomed: Mutex::default(),
            wanted: Mutex::default(),
            newest: Mutex::default(),
            is_evening: AtomicBool::new(false),
            dice: Mutex::new(dice),
            begin: Instant::now(),
            trace: Mutex::default(),
            witnesses: Mutex::default(),
            wrong: Mutex::default(),
            numbers: AtomicU64::new(0),
        });
        HERE.set(Some(world.clone()));
        (world, Presence)
    }

    pub(super) fn here() -> Option<Arc<Self>> {
        HERE.with_borrow(Clone::clone)
    }

    pub(super) fn dice(&self) -> MutexGuard<'_, Dice> {
        self.dice.lock().unwrap()
    }

    pub(super) fn word(&self) -> u64 {
        self.dice().word()
    }

    pub(super) fn millis(&self, from: u64, to: u64) -> Duration {
        self.dice().millis(from, to)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// A number that nobody had before.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Relaxed) + 1
    }

    pub(super) fn tell(&self, event: Event) {
        self.trace.lock().unwrap().write(self.elapsed(), &event);
        let found = self.witnesses.lock().unwrap().look(&event);
        self.note(found);
    }

    /// Has every witness say its last word.
    pub(super) fn conclude(&self) {
        let found = self.witnesses.lock().unwrap().conclude();
        self.note(found);
    }

    pub(super) fn note(&self, found: Option<Wrong>) {
        let mut wrong = self.wrong.lock().unwrap();
        *wrong = wrong.take().or(found);
    }

    pub(super) fn wrong(&self) -> Option<Wrong> {
        self.wrong.lock().unwrap().clone()
    }

    pub(super) fn trace(&self) -> String {
        self.trace.lock().unwrap().hash()
    }

    pub(super) fn last_words(&self) -> String {
        self.trace.lock().unwrap().last_words()
    }

    pub(super) fn member(&self, id: u64) -> Option<Arc<Living>> {
        self.living.lock().unwrap().get(&id).cloned()
    }

    pub(super) fn members(&self) -> Vec<Arc<Living>> {
        self.living.lock().unwrap().values().cloned().collect()
    }

    /// Whether a member belongs to the cluster and is not about to leave it.
    pub(super) fn is_to_stay(&self, id: u64) -> bool {
        let wanted = self.wanted.lock().unwrap();
        wanted.get(&id).is_some_and(|row| row.state == MemberState::Joined)
    }

    /// Some member that runs.
    pub(super) fn any_member(&self) -> Option<Arc<Living>> {
        let ids: Vec<u64> = self.living.lock().unwrap().keys().copied().collect();
        let id = self.dice().pick(&ids)?;
        self.member(id)
    }
}

impl Entropy for World {
    fn fill(&self, out: &mut [u8]) {
        let mut dice = self.dice();
        for part in out.chunks_mut(8) {
            part.copy_from_slice(&dice.word().to_le_bytes()[..part.len()]);
        }
    }
}

/// As long as it is held, its thread is in the world.
pub(super) struct Presence;

impl Drop for Presence {
    fn drop(&mut self) {
        if let Some(world) = HERE.take() {
            // Members hold the world, and the world holds them.
            world.living.lock().unwrap().clear();
            world.disks.lock().unwrap().clear();
        }
    }
}
