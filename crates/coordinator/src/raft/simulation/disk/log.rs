//! A log in memory that knows what was synced: one writer, groups, in order, as the real one.
//!
//! A crash keeps what was synced, and of the rest nothing, a part or all: a part ends anywhere, in
//! the middle of an append too. A vote and a truncation are acknowledged when they are synced.

use super::Place;
use crate::{
    raft::{
        simulation::{
            events::{Event, Written},
            world::Lie,
        },
        types::{
            Entry, LogId, StoredLogId, StoredVote, Types, Vote, entry_from_bytes, entry_to_bytes,
        },
    },
    store::Overlay,
};
use holdfast_ledger::StateKv;
use openraft::{
    AsyncRuntime, OptionalSend,
    entry::RaftEntry,
    storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage},
};
use std::{
    collections::BTreeMap,
    fmt::Debug,
    io,
    ops::RangeBounds,
    sync::{Arc, Mutex, MutexGuard, Weak},
};
use tokio::sync::oneshot;

/// What a log holds.
#[derive(Clone, Default)]
pub(in super::super) struct Image {
    entries: BTreeMap<u64, Arc<[u8]>>,
    pub(in super::super) vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
}

#[derive(Clone)]
enum Change {
    Append(Vec<(u64, Arc<[u8]>)>),
    Committed(LogId),
    Purge(LogId),
    Truncate(u64),
    Vote(Vote),
}

enum Done {
    Appended(IOFlushed<Types>),
    Told(oneshot::Sender<()>),
    Unheard,
}

#[derive(Default)]
struct State {
    kept: Image,
    view: Image,
    writing: Vec<Change>,
    waiting: Vec<(Change, Done)>,
    is_busy: bool,
}

#[derive(Clone)]
pub(in super::super) struct SimulatedLog {
    place: Place,
    state: Arc<Mutex<State>>,
    tables: Arc<Mutex<Weak<Overlay>>>,
}

impl SimulatedLog {
    pub(super) fn new(place: Place, image: Image) -> Self {
        let state = State { kept: image.clone(), view: image, ..State::default() };
        Self { place, state: Arc::new(Mutex::new(state)), tables: Arc::default() }
    }

    /// Purging needs the tables to be durable first.
    pub(super) fn attach(&self, tables: &Arc<Overlay>) {
        *self.tables.lock().unwrap() = Arc::downgrade(tables);
    }

    pub(super) fn crash(&self) -> Image {
        let state = self.lock();
        let waiting = state.waiting.iter().map(|(change, _)| change);
        let unsynced: Vec<&Change> = state.writing.iter().chain(waiting).collect();
        let mut dice = self.place.world.dice();
        let kept = match dice.below(3) {
            0 => 0,
            1 => unsynced.len(),
            _ => usize::try_from(dice.below(unsynced.len() as u64 + 1)).unwrap(),
        };
        let mut image = state.kept.clone();
        unsynced[..kept].iter().for_each(|change| image.take(change));
        if let Some(Change::Append(rows)) = unsynced.get(kept) {
            let torn = usize::try_from(dice.below(rows.len() as u64 + 1)).unwrap();
            image.take(&Change::Append(rows[..torn].to_vec()));
        }
        image
    }

    fn submit(&self, change: Change, done: Done) -> io::Result<()> {
        self.place.fuse.burn(&self.place.world, self.place.member)?;
        let lie = self.place.world.lie;
        let mut state = self.lock();
        state.view.take(&change);
        let done = match done {
            Done::Appended(flushed) if lie == Some(Lie::EarlyAck) => {
                flushed.io_completed(Ok(()));
                Done::Unheard
            }
            done => done,
        };
        state.waiting.push((change, done));
        if !std::mem::replace(&mut state.is_busy, true) {
            let log = self.clone();
            let _the_life_owns_it = super::super::runtime::Runtime::spawn(log.sync());
        }
        Ok(())
    }

    /// Writes what waits, a group at a time, until nothing does.
    async fn sync(self) {
        loop {
            let done = {
                let mut state = self.lock();
                let (writing, done) = std::mem::take(&mut state.waiting).into_iter().unzip();
                state.writing = writing;
                let done: Vec<Done> = done;
                state.is_busy = !done.is_empty();
                done
            };
            if done.is_empty() {
                return;
            }
            let span = {
                let mut dice = self.place.world.dice();
                if dice.is(self.place.world.slow_percent) {
                    dice.millis(30, 400)
                } else {
                    dice.millis(0, 12)
                }
            };
            tokio::time::sleep(span).await;
            {
                let mut state = self.lock();
                for change in std::mem::take(&mut state.writing) {
                    let is_forgotten = matches!(change, Change::Vote(_))
                        && self.place.world.lie == Some(Lie::ForgottenVote);
                    if !is_forgotten {
                        state.kept.take(&change);
                    }
                }
            }
            for done in done {
                match done {
                    Done::Appended(flushed) => flushed.io_completed(Ok(())),
                    Done::Told(told) => drop(told.send(())),
                    Done::Unheard => {}
                }
            }
        }
    }

    async fn finish(&self, change: Change) -> io::Result<()> {
        let (told, done) = oneshot::channel();
        self.submit(change, Done::Told(told))?;
        done.await.map_err(io::Error::other)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Image {
    fn take(&mut self, change: &Change) {
        match change {
            Change::Append(rows) => self.entries.extend(rows.iter().cloned()),
            Change::Committed(id) => self.committed = Some(*id),
            Change::Purge(upto) => {
                self.entries = self.entries.split_off(&(upto.index + 1));
                self.purged = Some(*upto);
            }
            Change::Truncate(from) => drop(self.entries.split_off(from)),
            Change::Vote(vote) => self.vote = Some(*vote),
        }
    }
}

/// Which entry these bytes are, and a hash of them.
pub(in super::super) fn written(bytes: &[u8]) -> Written {
    let entry = entry_from_bytes(bytes).unwrap();
    let hash = blake3::hash(bytes);
    let hash = u64::from_le_bytes(*hash.as_bytes().first_chunk::<8>().unwrap());
    (StoredLogId::from(&entry.log_id).parts(), hash)
}

impl RaftLogReader<Types> for SimulatedLog {
    async fn try_get_log_entries<R>(&mut self, range: R) -> Result<Vec<Entry>, io::Error>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let state = self.lock();
        let entries = state.view.entries.range(range);
        entries.map(|(_, bytes)| entry_from_bytes(bytes).map_err(io::Error::other)).collect()
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.lock().view.vote)
    }
}

impl RaftLogStorage<Types> for SimulatedLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let state = self.lock();
        let last_purged_log_id = state.view.purged;
        let last = state.view.entries.last_key_value().map(|(_, bytes)| entry_from_bytes(bytes));
        let last = last.transpose().map_err(io::Error::other)?.map(|entry| entry.log_id);
        Ok(LogState { last_purged_log_id, last_log_id: last.or(last_purged_log_id) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.finish(Change::Vote(*vote)).await?;
        let ballot = StoredVote::from(vote).parts();
        self.place.world.tell(Event::Voted { member: self.place.member, ballot });
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let Some(id) = committed else { return Ok(()) };
        self.submit(Change::Committed(id), Done::Unheard)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.lock().view.committed)
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let rows: Vec<(u64, Arc<[u8]>)> = entries
            .into_iter()
            .map(|entry| (entry.index(), Arc::from(entry_to_bytes(&entry))))
            .collect();
        let entries = rows.iter().map(|(_, bytes)| written(bytes)).collect();
        self.place.world.tell(Event::Appended { member: self.place.member, entries });
        self.submit(Change::Append(rows), Done::Appended(flushed))
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        self.finish(Change::Truncate(last.map_or(0, |id| id.index + 1))).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let tables = self.tables.lock().unwrap().upgrade();
        let Some(tables) = tables else { return Err(io::Error::other("the tables are gone")) };
        tables.flush().map_err(io::Error::other)?;
        self.finish(Change::Purge(upto)).await
    }
}
