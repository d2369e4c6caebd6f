//! The ledger as a service: propose a command, wait until it is agreed and applied, read.
//!
//! ```text
//!   propose ─→ envelope (time, key, epoch) ─→ openraft ─→ log_store ─→ log (files, fsync)
//!                                                │
//!   query  ←── tables (sled) ←── machine ←───────┘ committed
//! ```
//!
//! Everything of openraft stays in this folder. A cluster of one is a real cluster with one voter.

mod generation;
mod heard;
mod knowledge;
mod log;
mod log_store;
mod machine;
mod members;
mod peers;
#[cfg(test)]
mod power_cut;
mod promotion;
mod propose;
mod rebuild;
mod receive;
mod recent;
mod room;
#[cfg(test)]
mod simulation;
mod snapshot;
#[cfg(test)]
pub(crate) mod tests;
mod time;
mod types;
mod upkeep;
mod witness;

use crate::store::{DirectoryLock, Overlay, SledKv, sync_directory};
pub(crate) use heard::{Heard, Listener};
use holdfast_common::{Clock, Code, Entropy, Error, Name, Result, Timestamp};
use holdfast_ledger::{
    Actor, Query, StateKv,
    command::{Note, NoteKind},
    row::{Duty, Position, epoch::FIRST_EPOCH},
};
use knowledge::Knowledge;
use log_store::LogStore;
use machine::Machine;
pub(crate) use members::{LAG_MAX, SILENCE_MAX, electable, is_ready, next_step};
use openraft::{Config, SnapshotPolicy, async_runtime::WatchReceiver, storage::RaftLogStorage};
pub use peers::MemberMessage;
pub(crate) use peers::{Incoming, Peers};
pub(crate) use promotion::lead_alone;
pub(crate) use rebuild::{Rebuild, Workshop};
pub(crate) use room::Room;
pub(crate) use snapshot::fill as fill_from_snapshot;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use time::LedgerTime;
pub(crate) use time::{ClockJump, LeaderTime};
use tokio::sync::watch;
use types::{Member, Proposal, Types};
pub(crate) use types::{entry_index, entry_written_anew, envelopes_from_bytes};
use witness::Silence;
#[cfg(test)]
pub(crate) use {tests::location as tests_location, types::entry_of_command};

type Raft = openraft::Raft<Types, Machine>;

const HEARTBEAT_MS: u64 = 100;
/// openraft waits for a leader's lease, as long as the end of this, before it counts: 650 to 800 ms
/// after the last heartbeat.
const ELECTION_MS: std::ops::Range<u64> = 250..400;
/// A leader that is heard and hears nobody would keep the others from electing one that hears: so
/// it falls silent for as long as that takes, and then tries for as long.
const QUORUM_LOSS_PROBE_MS: u64 = 3 * ELECTION_MS.end;
const LEADER_WAIT: Duration = Duration::from_secs(10);
/// How long the own disk may take for what a quorum has on theirs.
const STORED_WAIT: Duration = Duration::from_secs(10);
const POSITION_TRIES: usize = 8;

/// Who this member is.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) name: Name,
    pub(crate) region: Name,
    pub(crate) address: String,
    /// After how many entries it takes a snapshot.
    pub(crate) snapshot_every: u64,
    pub(crate) duty: Duty,
    /// The highest feature level that it knows.
    pub(crate) level_max: u32,
}

/// What the ledger's own state looks like from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LedgerState {
    pub(crate) leader: Option<u64>,
    pub(crate) term: u64,
    pub(crate) applied: u64,
}

#[derive(Clone)]
pub(crate) struct Ledger {
    me: u64,
    raft: Raft,
    peers: Peers,
    snapshots: Arc<Path>,
    tables: Arc<dyn StateKv>,
    tables_file: Arc<Path>,
    log: LogStore,
    time: Arc<LedgerTime>,
    room: Arc<Room>,
    entropy: Arc<dyn Entropy>,
    applied: watch::Receiver<u64>,
    ear: Arc<heard::Ear>,
    snapshot_every: u64,
    knowledge: Arc<Knowledge>,
    silence: Arc<Silence>,
}

impl Ledger {
    /// Opens the member's log and tables under `directory` and starts it.
    pub(crate) async fn open(
        directory: &Path,
        node: &Node,
        peers: Peers,
        room: Room,
        (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>),
    ) -> Result<Self> {
        let snapshots = directory.join("snapshots");
        std::fs::create_dir_all(&snapshots)
            .map_err(|error| Error::io("the ledger's directory cannot be made", &error))?;
        let lock = DirectoryLock::take(directory)?;
        let tables = Overlay::start(open_tables(&directory.join("tables"), &snapshots, &lock)?)?;
        let knowledge = Arc::new(Knowledge::up_to(node.level_max));
        knowledge.insist_on(Query::over(tables.as_ref()).level()?)?;
        let (sender, applied) = watch::channel(0);
        let newest = Query::over(tables.as_ref()).audit_newest_time()?;
        let time = Arc::new(LedgerTime::new(clock, newest, directory.join("time")));
        let snapshots_dir = Arc::from(snapshots.as_path());
        let machine = Machine::new(tables.clone(), snapshots, (node.id, time.clone()), sender)
            .knowing(knowledge.clone());
        let ear = machine.ear();
        if !LogStore::exists(directory)? && !tables.scan(&[], None, 1)?.is_empty() {
            // Whom this member voted for went with it: to start afresh could elect a second leader.
            return Err(Error::new(Code::LogDamaged, "the log is missing, and the tables are not"));
        }
        let log = LogStore::open(directory, tables.clone(), lock)?;
        // The directories above may be as new as this one.
        for made in directory.ancestors().take(3).filter(|path| !path.as_os_str().is_empty()) {
            sync_directory(made)?;
        }
        machine.stand_in_for(log.clone()).await?;
        let config = config(node.snapshot_every)?;
        let refused = |error: openraft::errors::Fatal<Types>| {
            let damaged = Error::new(Code::LogDamaged, "the ledger cannot start").cause(error);
            knowledge.met().unwrap_or(damaged)
        };
        let raft = Raft::new(node.id, Arc::new(config), peers.clone(), log.clone(), machine)
            .await
            .map_err(refused)?;
        // Before it has begun, it says of nobody that he votes.
        raft.with_raft_state(|_| ()).await.map_err(refused)?;
        // See `stand_last`.
        raft.runtime_config().elect(node.duty != Duty::Witness && !peers.standing().is_anew());
        let (room, tables_file) = (Arc::new(room), directory.join("tables/db").into());
        let (me, snapshots) = (node.id, snapshots_dir);
        Ok(Self {
            me,
            raft,
            peers,
            snapshots,
            tables,
            tables_file,
            log,
            time,
            room,
            entropy,
            applied,
            ear,
            snapshot_every: node.snapshot_every,
            knowledge,
            silence: Arc::default(),
        })
    }

    /// Makes this member the first and only voter of a new cluster, for good when this ends: a vote
    /// without the entry that makes it a member would stand still for ever.
    pub(crate) async fn found(&self, node: &Node) -> Result<()> {
        let member = Member {
            name: node.name.to_string(),
            region: node.region.to_string(),
            address: node.address.clone(),
        };
        self.raft.initialize(BTreeMap::from([(node.id, member)])).await.map_err(|error| {
            Error::new(Code::ResourceConflict, "this member is not new").cause(error)
        })?;
        let applied = self.raft.wait(Some(LEADER_WAIT));
        let applied = applied.metrics(|metrics| metrics.last_applied.is_some(), "the founding");
        let late = |error| Error::new(Code::ClusterLeaderless, "nothing is agreed").cause(error);
        applied.await.map(drop).map_err(late)
    }

    /// What it was brought anew reaches into its epoch: it may be elected, as ever.
    pub(crate) fn stand_again(&self, is_witness: bool) {
        self.raft.runtime_config().elect(!is_witness);
    }

    /// Waits until somebody leads.
    pub(crate) async fn wait_for_leader(&self) -> Result<()> {
        if self.is_alone() {
            // Nobody else can win; waiting for the time-out would only cost time.
            let _ = self.raft.trigger().elect(false).await;
        }
        self.raft
            .wait(Some(LEADER_WAIT))
            .metrics(|metrics| metrics.current_leader.is_some(), "a leader")
            .await
            .map(|_| ())
            .map_err(|error| {
                let leaderless = Error::new(Code::ClusterLeaderless, "nobody leads").cause(error);
                self.knowledge.met().unwrap_or(leaderless)
            })
    }

    /// Who leads, as far as this member knows. Of an epoch that is over nobody does.
    pub(crate) fn current_leader(&self) -> Option<u64> {
        self.peers.insist_on_epoch().ok()?;
        self.raft.metrics().borrow_watched().current_leader
    }

    /// The end of the log: its term and its index.
    pub(crate) async fn end_of_log(&self) -> Result<(u64, u64)> {
        let state = self.log.clone().get_log_state().await;
        let state = state.map_err(|error| Error::io("the log cannot be read", &error))?;
        let parts = state.last_log_id.as_ref().map(|id| types::StoredLogId::from(id).parts());
        Ok(parts.map_or((0, 0), |(term, _, index)| (term, index)))
    }

    pub(crate) fn leads(&self) -> bool {
        self.current_leader() == Some(self.me)
    }

    pub(crate) fn peers(&self) -> &Peers {
        &self.peers
    }

    fn has_stopped(&self) -> bool {
        self.raft.metrics().borrow_watched().running_state.is_err()
    }

    /// Whether this member is the only one that votes: nobody else has to be found.
    pub(crate) fn is_alone(&self) -> bool {
        self.raft.voter_ids().eq([self.me]) && !self.peers.standing().is_anew()
    }

    /// Waits a while for somebody who leads; the others may not be there yet.
    pub(crate) async fn hope_for_leader(&self) {
        if let Err(error) = self.wait_for_leader().await {
            tracing::warn!(%error, "started without a leader; waiting for the other members");
        }
    }

    /// Ends when somebody else leads, or nobody does.
    pub(crate) async fn leader_changed(&self) {
        let before = self.current_leader();
        let wait = self.raft.wait(None);
        drop(wait.metrics(|now| now.current_leader != before, "another leader").await);
    }

    pub(crate) async fn wait_until_led_by(&self, member: u64) -> Result<()> {
        let wait = self.raft.wait(None);
        let led = wait.metrics(|now| now.current_leader == Some(member), "the new leader").await;
        led.map(drop).map_err(|error| Error::new(Code::ClusterLeaderless, "no leader").cause(error))
    }

    /// What is short on the ledger's disk, if anything is.
    pub(crate) fn shortage(&self) -> Option<Error> {
        self.room.shortage()
    }

    pub(crate) fn query(&self) -> Query<'_> {
        Query::over(self.tables.as_ref())
    }

    /// How often a snapshot took the place of the tables since the start; none while one does.
    pub(crate) fn replaced(&self) -> Option<u64> {
        self.ear.replaced()
    }

    /// What was applied since the last call that an index has to know.
    pub(crate) fn take_heard(&self, listener: Listener) -> Heard {
        self.ear.take(listener)
    }

    /// Where the ledger stands: one moment's index and audit chain; none while it moves too fast.
    pub(crate) fn position(&self) -> Option<Position> {
        let query = self.query();
        for _ in 0..POSITION_TRIES {
            let before = machine::applied_in(self.tables.as_ref()).ok()??;
            let (audit, time) = (query.audit_head().ok()?, query.audit_newest_time().ok()??);
            if machine::applied_in(self.tables.as_ref()).ok()? == Some(before) {
                let epoch = self.epoch().ok()?;
                return Some(Position { epoch, index: before, audit, time });
            }
        }
        None
    }

    /// The number of the epoch that the ledger is in.
    pub(crate) fn epoch(&self) -> Result<u64> {
        Ok(self.query().epoch()?.map_or(FIRST_EPOCH, |row| row.number))
    }

    pub(crate) fn snapshot_every(&self) -> u64 {
        self.snapshot_every
    }

    /// Changes whenever something was applied.
    pub(crate) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.clone()
    }

    /// Entries of the log in their stored form, for shipping.
    pub(crate) async fn log(&self, from: u64, to: u64) -> Result<Vec<(u64, Vec<u8>)>> {
        let log = self.log.clone();
        drop(tokio::time::timeout(STORED_WAIT, log.stored_at_least(to)).await);
        tokio::task::spawn_blocking(move || log.stored(from, to))
            .await
            .map_err(|error| Error::new(Code::InternalBug, "reading the log").cause(error))?
    }

    /// Whether an entry was purged from the log because a snapshot covers it.
    pub(crate) fn is_purged(&self, index: u64) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.purged.as_ref().is_some_and(|purged| index <= purged.index)
    }

    /// Up to which entry the tables are, which may be ahead of what was told.
    pub(crate) fn applied_in_tables(&self) -> Result<u64> {
        Ok(machine::applied_in(self.tables.as_ref())?.unwrap_or(0))
    }

    /// The first entry that was not purged.
    pub(crate) fn first_of_log(&self) -> u64 {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.purged.as_ref().map_or(1, |purged| purged.index + 1)
    }

    /// Entries up to `index` may be forgotten here: they lie in the locations.
    pub(crate) fn note_shipped(&self, index: u64) {
        self.log.note_shipped(index);
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.time.now()
    }

    /// How the wall clock differs from ledger time, if it does.
    pub(crate) fn clock_jump(&self) -> Option<ClockJump> {
        self.time.jump()
    }

    /// A person says that the wall clock is right: whoever leads goes by its own from now on, and
    /// this member follows. What time it is then.
    pub(crate) async fn confirm_clock(&self, actor: Actor) -> Result<Timestamp> {
        let wall = self.time.wall();
        let note = Note { kind: NoteKind::ClockConfirmed, subject: wall.to_string() };
        self.propose(actor, note).await?;
        Ok(self.time.now())
    }

    pub(crate) fn state(&self) -> LedgerState {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        LedgerState {
            leader: metrics.current_leader.filter(|_| self.peers.insist_on_epoch().is_ok()),
            term: metrics.current_term,
            applied: *self.applied.borrow(),
        }
    }

    /// Stops the member; what was acknowledged is on disk already. The future that comes back ends
    /// when every other handle is gone too and the directory may be opened again.
    pub(crate) async fn close(self) -> impl Future<Output = ()> + Send + use<> {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "the ledger did not stop cleanly");
        }
        if let Err(error) = self.tables.flush() {
            tracing::warn!(%error, "the tables were not flushed; the log has what they lack");
        }
        self.log.release()
    }
}

fn config(snapshot_every: u64) -> Result<Config> {
    Config {
        cluster_name: "holdfast".into(),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: ELECTION_MS.start,
        election_timeout_max: ELECTION_MS.end,
        // See `upkeep`.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: snapshot_every / 5,
        enable_pre_vote: Some(true),
        quorum_loss_probe_interval: Some(QUORUM_LOSS_PROBE_MS),
        // One that led before a crash has lost what it had not synced, and others may have it: to
        // go on under the same term would give one name to two entries.
        enable_leader_restore: Some(false),
        ..Config::default()
    }
    .validate()
    .map_err(|error| Error::new(Code::InternalBug, "the raft configuration").cause(error))
}

/// Opens the tables; damaged ones are set aside and filled again from the newest snapshot, and the
/// log brings the rest.
fn open_tables(
    directory: &Path,
    snapshots: &Path,
    lock: &Arc<DirectoryLock>,
) -> Result<Arc<dyn StateKv>> {
    match whole_tables(directory, lock) {
        Ok(tables) => Ok(Arc::new(tables)),
        Err(error) if error.code == Code::LogDamaged => {
            tracing::error!(%error, "the ledger's tables are damaged; rebuilding them");
            set_aside(directory)?;
            let tables = SledKv::open(directory, Some(lock.clone()))?;
            if let Some((_, path)) = snapshot::newest(snapshots)? {
                snapshot::install(&path, &tables)?;
            }
            Ok(Arc::new(tables))
        }
        Err(error) => Err(error),
    }
}

fn whole_tables(directory: &Path, lock: &Arc<DirectoryLock>) -> Result<SledKv> {
    let tables = SledKv::open(directory, Some(lock.clone()))?;
    tables.verify()?;
    if snapshot::is_half_installed(&tables)? {
        return Err(Error::new(Code::LogDamaged, "a snapshot was only half put into the tables"));
    }
    Ok(tables)
}

fn set_aside(directory: &Path) -> Result<()> {
    let aside = PathBuf::from(format!("{}.damaged", directory.display()));
    let io = |error: std::io::Error| Error::io("damaged tables cannot be set aside", &error);
    if aside.exists() {
        std::fs::remove_dir_all(&aside).map_err(io)?;
    }
    std::fs::rename(directory, &aside).map_err(io)?;
    sync_directory(directory.parent().unwrap_or(Path::new("/")))
}
