//! Opened chunks in memory, up to a bound, and each fetched once however many want it.
//!
//! Room is taken before a chunk is fetched, so that what is on its way counts too. A reader copies
//! what it needs at once and holds nothing while it waits: for room, or for a chunk that somebody
//! else is fetching. What failed is not kept; whoever waited for it hears the same error, unless it
//! was fetched for another point: what is wrong with that one need not be with his, and he asks
//! once himself.
//!
//! Chunks are named by a keyed hash of what they hold, which was checked when they were opened: one
//! that two points share is the same in both.

use crate::{layout::Part, lock, point::Point};
use core::time::Duration;
use holdfast_common::{ChunkId, Code, Error, Result, limits};
use holdfast_seal::manifest::entry::ChunkRef;
use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

type Bytes = Arc<Vec<u8>>;

pub(crate) struct Cache {
    bytes_max: usize,
    state: Mutex<State>,
    room: Condvar,
}

#[derive(Default)]
struct State {
    chunks: HashMap<ChunkId, Slot>,
    /// What is here, by when it was last used.
    used: BTreeMap<u64, ChunkId>,
    uses: u64,
    /// Of what is here and what is on its way.
    bytes: usize,
}

enum Slot {
    Coming(Arc<Flight>),
    Here { bytes: Bytes, used: u64 },
}

/// A chunk on its way, and who waits for it.
struct Flight {
    /// Which point it is fetched for, by where that is in memory.
    of: usize,
    landed: Mutex<Option<Result<Bytes>>>,
    heard: Condvar,
}

/// What one look at the cache gave.
#[derive(Default)]
struct Round {
    here: Vec<(usize, Bytes)>,
    mine: Vec<(usize, Arc<Flight>)>,
    others: Vec<(usize, Arc<Flight>)>,
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let bytes_max = bytes_max.max(limits::MOUNT_CACHE_BYTES_MIN);
        Self { bytes_max, state: Mutex::default(), room: Condvar::new() }
    }

    /// Puts the parts of chunks into their places.
    pub(crate) fn read(&self, point: &dyn Point, parts: &[Part], out: &mut [u8]) -> Result<()> {
        let wanted: Vec<ChunkRef> = parts.iter().map(|part| part.chunk).collect();
        self.fetch(point, &wanted, &mut |at, bytes| {
            let Part { from, length, to, .. } = parts[at];
            out[to..to + length].copy_from_slice(&bytes[from..from + length]);
        })
    }

    /// Gives every chunk once, in any order, or the first error that was met.
    pub(crate) fn fetch(
        &self,
        point: &dyn Point,
        wanted: &[ChunkRef],
        each: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<()> {
        let mut left: VecDeque<usize> = (0..wanted.len()).collect();
        let mut own: HashSet<usize> = HashSet::new();
        let mut give = |at: usize, bytes: &Bytes| {
            let chunk: &ChunkRef = &wanted[at];
            if bytes.len() != chunk.bytes() {
                return Err(length_wrong(&chunk.id));
            }
            each(at, bytes);
            Ok(())
        };
        while !left.is_empty() {
            let round = self.look(point, wanted, &mut left);
            let given = round.here.into_iter().try_for_each(|(at, bytes)| give(at, &bytes));
            // Whatever was wrong with those: what room was taken for has to land.
            let fetched = self.bring(point, wanted, round.mine, &mut give);
            given.and(fetched)?;
            for (at, flight) in round.others {
                match flight.wait() {
                    Err(_) if flight.of != address(point) && own.insert(at) => left.push_back(at),
                    landed => give(at, &landed?)?,
                }
            }
        }
        Ok(())
    }

    /// Takes what is here, joins who waits for what is coming, and takes room for some of the rest.
    fn look(&self, point: &dyn Point, wanted: &[ChunkRef], left: &mut VecDeque<usize>) -> Round {
        let mut state = lock(&self.state);
        let mut round = Round::default();
        let mut asked = 0;
        while let Some(at) = left.front().copied() {
            let ChunkRef { id, length } = wanted[at];
            match state.find(&id) {
                Some(Found::Here(bytes)) => round.here.push((at, bytes)),
                Some(Found::Coming(flight)) => round.others.push((at, flight)),
                None => {
                    let length = length as usize;
                    let full = round.mine.len() >= limits::FETCH_CHUNKS_MAX
                        || asked > 0 && asked + length > limits::MOUNT_FETCH_BYTES;
                    if full {
                        break;
                    }
                    if !state.make_room(length, self.bytes_max) {
                        let waits = round.here.is_empty() && asked == 0 && round.others.is_empty();
                        if waits {
                            state = self.wait_for_room(state);
                            continue;
                        }
                        break;
                    }
                    asked += length;
                    let flight = Arc::new(Flight::of(point));
                    state.chunks.insert(id, Slot::Coming(Arc::clone(&flight)));
                    round.mine.push((at, flight));
                }
            }
            left.pop_front();
        }
        round
    }

    /// Fetches what room was taken for, and lets go of all of it, whatever happens.
    fn bring(
        &self,
        point: &dyn Point,
        wanted: &[ChunkRef],
        mine: Vec<(usize, Arc<Flight>)>,
        give: &mut dyn FnMut(usize, &Bytes) -> Result<()>,
    ) -> Result<()> {
        if mine.is_empty() {
            return Ok(());
        }
        let asked: Vec<ChunkRef> = mine.iter().map(|(at, _)| wanted[*at]).collect();
        let mut landing = Landing { cache: self, wanted, mine, first: Ok(()), whole: None };
        let answered = point.open(&asked, &mut |position, opened| {
            let Some((at, flight)) = landing.mine.get(position).cloned() else { return };
            let landed = landing.land(&wanted[at], &flight, opened);
            let given = landed.and_then(|bytes| give(at, &bytes));
            if landing.first.is_ok() {
                landing.first = given;
            }
        });
        landing.whole = answered.err();
        landing.end()
    }

    fn wait_for_room<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        // Who copies out of a chunk says nothing when it is done.
        let waited = self.room.wait_timeout(state, LOOK_AGAIN);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Flights that must land: with a chunk, with an error, or because the one that flew gave up.
struct Landing<'a> {
    cache: &'a Cache,
    wanted: &'a [ChunkRef],
    mine: Vec<(usize, Arc<Flight>)>,
    first: Result<()>,
    /// Why none of the rest came.
    whole: Option<Error>,
}

impl Landing<'_> {
    fn land(&self, chunk: &ChunkRef, flight: &Flight, opened: Result<Vec<u8>>) -> Result<Bytes> {
        let opened = opened.and_then(|bytes| match bytes.len() == chunk.bytes() {
            true => Ok(Arc::new(bytes)),
            false => Err(length_wrong(&chunk.id)),
        });
        let mut state = lock(&self.cache.state);
        if lock(&flight.landed).is_some() {
            return opened;
        }
        match &opened {
            Ok(bytes) => state.keep(chunk.id, Arc::clone(bytes)),
            Err(_) => state.drop_coming(chunk),
        }
        drop(state);
        flight.land(opened.clone());
        self.cache.room.notify_all();
        opened
    }

    fn end(mut self) -> Result<()> {
        self.let_go();
        let first = core::mem::replace(&mut self.first, Ok(()));
        first.and(self.whole.take().map_or(Ok(()), Err))
    }

    fn let_go(&mut self) {
        for (at, flight) in core::mem::take(&mut self.mine) {
            let chunk = &self.wanted[at];
            let is_open = lock(&flight.landed).is_none();
            if is_open {
                let missing = || {
                    Error::new(Code::ChunkMissing, format!("chunk {} was not answered", chunk.id))
                };
                let why = self.whole.clone().unwrap_or_else(missing);
                let landed = self.land(chunk, &flight, Err(why)).map(drop);
                if self.first.is_ok() {
                    self.first = landed;
                }
            }
        }
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl Flight {
    fn of(point: &dyn Point) -> Self {
        let (landed, heard) = Default::default();
        Self { of: address(point), landed, heard }
    }

    fn land(&self, with: Result<Bytes>) {
        lock(&self.landed).get_or_insert(with);
        self.heard.notify_all();
    }

    fn wait(&self) -> Result<Bytes> {
        let mut landed = lock(&self.landed);
        loop {
            if let Some(landed) = &*landed {
                return landed.clone();
            }
            landed = self.heard.wait(landed).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Points that are in use at one time differ in it.
fn address(point: &dyn Point) -> usize {
    core::ptr::from_ref(point).addr()
}

enum Found {
    Here(Bytes),
    Coming(Arc<Flight>),
}

impl State {
    fn find(&mut self, id: &ChunkId) -> Option<Found> {
        match self.chunks.get_mut(id)? {
            Slot::Coming(flight) => Some(Found::Coming(Arc::clone(flight))),
            Slot::Here { bytes, used } => {
                self.used.remove(used);
                self.uses += 1;
                *used = self.uses;
                self.used.insert(self.uses, *id);
                Some(Found::Here(Arc::clone(bytes)))
            }
        }
    }

    /// Takes room, and with it throws out what was used longest ago and nobody is copying from.
    fn make_room(&mut self, bytes: usize, bytes_max: usize) -> bool {
        while self.bytes + weight(bytes) > bytes_max {
            let free = self.used.iter().find(|(_, id)| match self.chunks.get(id) {
                Some(Slot::Here { bytes, .. }) => Arc::strong_count(bytes) == 1,
                _ => false,
            });
            let Some((used, id)) = free.map(|(used, id)| (*used, *id)) else { return false };
            self.used.remove(&used);
            if let Some(Slot::Here { bytes, .. }) = self.chunks.remove(&id) {
                self.bytes -= weight(bytes.len());
            }
        }
        self.bytes += weight(bytes);
        true
    }

    fn keep(&mut self, id: ChunkId, bytes: Bytes) {
        self.uses += 1;
        self.used.insert(self.uses, id);
        self.chunks.insert(id, Slot::Here { bytes, used: self.uses });
    }

    fn drop_coming(&mut self, chunk: &ChunkRef) {
        self.chunks.remove(&chunk.id);
        self.bytes -= weight(chunk.bytes());
    }
}

/// A chunk with what it takes to keep it.
const fn weight(bytes: usize) -> usize {
    bytes + ROW_BYTES
}

fn length_wrong(id: &ChunkId) -> Error {
    Error::new(Code::ManifestDamaged, format!("chunk {id} has another length than its entry says"))
}

const ROW_BYTES: usize = 256;
const LOOK_AGAIN: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests;
