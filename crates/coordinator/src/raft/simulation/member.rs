//! A member of a simulated cluster: the product's ledger, machine and settings on a simulated disk,
//! network and clock. It starts, and it crashes; it never stops in order.

use super::{
    disk::{Disk, Mounted, applied},
    events::Event,
    network::Lines,
    runtime::Life,
    world::World,
};
use crate::{
    raft::{
        Ledger, LedgerTime, LogStore, Machine, Node, Peers, Raft, Room, config, snapshot,
        types::StoredVote,
    },
    store::DirectoryLock,
};
use holdfast_common::{Clock, ClusterId, Code, Error, Result, Timestamp};
use holdfast_ledger::{MemoryKv, Query, StateKv};
use openraft::{ServerState, async_runtime::WatchReceiver};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const MORNING: Timestamp = Timestamp::from_nanos(1_800_000_000_000_000_000);
/// Few, so that whoever was away for a while needs one.
const SNAPSHOT_EVERY: u64 = 60;
const DAY_S: u64 = 86_400;

/// A member that runs.
pub(super) struct Living {
    pub(super) id: u64,
    pub(super) ledger: Ledger,
    fan: Arc<Fan>,
    pub(super) life: Life,
    pub(super) disk: Mounted,
}

impl Living {
    /// Starts a member on what is left of its disk, or on an empty one.
    pub(super) async fn start(world: &Arc<World>, id: u64) {
        let mut disk = world.disks.lock().unwrap().remove(&id).unwrap_or_default();
        let started = match repair(world, id, &mut disk) {
            Ok(()) => Self::open(world, id, disk).await,
            Err(error) => Err(error),
        };
        match started {
            Ok(living) => {
                let keeping = living.handle().keep(CancellationToken::new());
                living.life.spawn(watch_over(world.clone(), living.ledger.clone()));
                living.life.spawn(keeping);
                world.living.lock().unwrap().insert(id, Arc::new(living));
            }
            Err(error) => world.tell(Event::Strange { member: id, what: error.to_string() }),
        }
    }

    async fn open(world: &Arc<World>, id: u64, disk: Disk) -> Result<Self> {
        let (directory, life) = (directory(world, id), Life::default());
        let vote = disk.log.vote.as_ref().map(|vote| StoredVote::from(vote).parts());
        let disk = Mounted::new(world, id, disk);
        world.tell(Event::Started { member: id, vote, upto: applied(disk.tables.as_ref()) });
        let tables = disk.overlay.clone();
        let (sender, applying) = watch::channel(0);
        let newest = Query::over(tables.as_ref()).audit_newest_time()?;
        let clock: Arc<dyn Clock> = Arc::new(Wrong { world: world.clone(), id });
        let time = Arc::new(LedgerTime::new(clock, newest, directory.join("time")));
        let snapshots = directory.join("snapshots");
        let machine = Machine::new(tables.clone(), snapshots.clone(), (id, time.clone()), sender);
        let ear = machine.ear();
        machine.stand_in_for(disk.log.clone()).await?;
        let lines = Lines { world: world.clone(), from: id };
        let raft = life.lead(Raft::new(
            id,
            Arc::new(config(SNAPSHOT_EVERY)?),
            lines,
            disk.log.clone(),
            machine,
        ));
        let raft = raft.await.map_err(|error| {
            Error::new(Code::LogDamaged, "the ledger cannot start").cause(error)
        })?;
        let ledger = Ledger {
            me: id,
            raft,
            peers: Peers::new(ClusterId::from_bytes([1; 16]), id, Default::default()),
            snapshots: Arc::from(snapshots),
            tables,
            tables_file: Arc::from(directory.join("tables")),
            log: nobodys_log(),
            time,
            room: Arc::new(Room::open(&directory, 0)),
            entropy: world.clone(),
            applied: applying,
            ear,
            snapshot_every: SNAPSHOT_EVERY,
            knowledge: Arc::default(),
            silence: Arc::default(),
        };
        let fan = Arc::<Fan>::default();
        life.spawn(Turning(fan.clone()).turn(ledger.applied.clone()));
        Ok(Self { id, ledger, fan, life, disk })
    }

    /// A handle on the ledger, for one who waits. tokio wakes many who wait for one value in an
    /// order of its own; so everybody has a value of his own.
    pub(super) fn handle(&self) -> Ledger {
        let (sender, applied) = watch::channel(*self.ledger.applied.borrow());
        self.fan.0.lock().unwrap().push(sender);
        Ledger { applied, ..self.ledger.clone() }
    }

    /// As if the power went: nothing of the member runs on, and its disk is what it is.
    pub(super) fn crash(world: &Arc<World>, id: u64) {
        let living = world.living.lock().unwrap().remove(&id);
        let Some(living) = living else { return };
        living.life.end();
        let disk = living.disk.crash();
        world.disks.lock().unwrap().insert(id, disk);
        world.tell(Event::Crashed { member: id });
    }
}

/// Hands what was applied on, in the order in which the others came.
#[derive(Default)]
struct Fan(Mutex<Vec<watch::Sender<u64>>>);

/// Ends with the life it belongs to, and then those who wait are told.
struct Turning(Arc<Fan>);

impl Turning {
    async fn turn(self, mut applied: watch::Receiver<u64>) {
        while applied.changed().await.is_ok() {
            let now = *applied.borrow_and_update();
            self.0.0.lock().unwrap().retain(|other| other.send(now).is_ok());
        }
    }
}

impl Drop for Turning {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().clear();
    }
}

pub(super) fn node(id: u64) -> Node {
    Node {
        id,
        name: format!("n{id}").parse().unwrap(),
        region: "here".parse().unwrap(),
        address: format!("n{id}:1"),
        snapshot_every: SNAPSHOT_EVERY,
        duty: holdfast_ledger::row::Duty::Data,
        level_max: holdfast_ledger::LEVEL,
    }
}

fn directory(world: &World, id: u64) -> PathBuf {
    let directory = world.root.join(id.to_string());
    std::fs::create_dir_all(directory.join("snapshots")).unwrap();
    directory
}

/// What `open_tables` does to tables in which a snapshot is only half.
fn repair(world: &World, id: u64, disk: &mut Disk) -> Result<()> {
    let tables = MemoryKv::default();
    let changes = std::mem::take(&mut disk.rows).into_iter().map(|(k, v)| (k, Some(v))).collect();
    tables.write(holdfast_ledger::Batch { changes })?;
    let tables = if snapshot::is_half_installed(&tables)? { MemoryKv::default() } else { tables };
    if tables.scan(&[], None, 1)?.is_empty()
        && let Some((_, path)) = snapshot::newest(&directory(world, id).join("snapshots"))?
    {
        snapshot::install(&path, &tables)?;
    }
    disk.rows = tables.scan(&[], None, usize::MAX)?.into_iter().collect();
    Ok(())
}

/// Tells when this member leads, and when it has stopped by itself.
async fn watch_over(world: Arc<World>, ledger: Ledger) {
    let member = ledger.me;
    let mut metrics = ledger.raft.metrics();
    let mut told = None;
    loop {
        {
            let now = metrics.borrow_watched();
            let ballot = StoredVote::from(&now.vote).parts();
            if now.state == ServerState::Leader && told.replace(ballot) != Some(ballot) {
                world.tell(Event::Led { member, ballot });
            }
            if let Err(fatal) = &now.running_state {
                if !world.doomed.lock().unwrap().contains(&member) {
                    let what = format!("stopped by itself: {fatal}");
                    world.tell(Event::Strange { member, what });
                }
                return;
            }
        }
        if metrics.changed().await.is_err() {
            // A crash would have ended this task too.
            let what = "its core is gone".to_owned();
            return world.tell(Event::Strange { member, what });
        }
    }
}

/// The log that `Ledger` ships from. Nothing is shipped here, and nothing is written to it.
fn nobodys_log() -> LogStore {
    static LOG: OnceLock<LogStore> = OnceLock::new();
    let open = || {
        let directory = tempfile::tempdir().unwrap();
        let lock = DirectoryLock::take(directory.path()).unwrap();
        LogStore::open(directory.path(), Arc::new(MemoryKv::default()), lock).unwrap()
    };
    LOG.get_or_init(open).clone()
}

/// A clock that is off by up to a day, by the member's number.
struct Wrong {
    world: Arc<World>,
    id: u64,
}

impl Clock for Wrong {
    fn now(&self) -> Timestamp {
        let off = Duration::from_secs(self.id * DAY_S / 8);
        let now = MORNING.plus(self.world.elapsed());
        if self.id.is_multiple_of(2) { now.plus(off) } else { now.minus(off) }
    }

    fn elapsed(&self) -> Duration {
        self.world.elapsed()
    }
}
