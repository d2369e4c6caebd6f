//! The third stage: which of these chunks does the cluster want? One thread for each kind.
//!
//! Ids are asked about in batches; a batch is sent when it is full or when nothing more comes for a
//! moment, so that the last chunks of a quiet run do not wait. Chunks that are wanted go on to be
//! sealed, the others are dropped. A file that was only known by its ids is done when none of them
//! is wanted, and is read when one is.

use super::progress::add;
use super::run::{Job, Run};
use super::seal::Held;
use crate::cache::Remembered;
use crate::flow::{Permit, Popped, Queue};
use holdfast_common::limits::{self, MIB};
use holdfast_common::{ChunkId, ChunkKind, Result};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

pub(super) enum Offered {
    Chunk(Held),
    Known(Box<Known>),
}

/// An unchanged file.
pub(super) struct Known {
    pub(super) job: Job,
    pub(super) remembered: Box<Remembered>,
    pub(super) ids: Vec<ChunkId>,
    /// The pages of its chunk list, where it has such.
    pub(super) pages: Vec<ChunkId>,
    pub(super) _permit: Permit,
}

/// What the ids of a batch belong to.
enum Asker {
    Chunk(Held, usize),
    /// With the positions of its ids.
    Known(Box<Known>, Vec<usize>),
}

/// Ids to ask about, each once, and who asks.
#[derive(Default)]
struct Batch {
    ids: Vec<ChunkId>,
    positions: HashMap<ChunkId, usize>,
    askers: Vec<Asker>,
    plain_bytes: usize,
}

pub(super) fn offer(run: &Run<'_>, kind: ChunkKind, queue: &Queue<Offered>) -> Result<()> {
    let mut batch = Batch::default();
    loop {
        let patience = if batch.askers.is_empty() { Duration::from_secs(60) } else { LINGER };
        match queue.pop_gathered(patience) {
            Popped::Item(Offered::Chunk(held)) => batch.add_chunk(held),
            Popped::Item(Offered::Known(known)) => add_known(run, kind, known, &mut batch)?,
            Popped::Empty => ask(run, kind, &mut batch)?,
            Popped::Closed => return ask(run, kind, &mut batch),
        }
        if batch.is_full() {
            ask(run, kind, &mut batch)?;
        }
    }
}

impl Batch {
    fn add_chunk(&mut self, held: Held) {
        let position = self.position(held.chunk.id);
        self.plain_bytes += held.chunk.bytes.len();
        self.askers.push(Asker::Chunk(held, position));
    }

    fn add_known(&mut self, known: Box<Known>) {
        let positions = known.ids.iter().map(|id| self.position(*id)).collect();
        self.askers.push(Asker::Known(known, positions));
    }

    fn position(&mut self, id: ChunkId) -> usize {
        let next = self.ids.len();
        let position = *self.positions.entry(id).or_insert(next);
        if position == next {
            self.ids.push(id);
        }
        position
    }

    fn is_full(&self) -> bool {
        self.ids.len() >= limits::OFFER_CHUNKS_MAX || self.plain_bytes >= BATCH_PLAIN_BYTES
    }
}

/// Small files share a batch; one that would not fit is asked about by itself.
fn add_known(run: &Run<'_>, kind: ChunkKind, known: Box<Known>, batch: &mut Batch) -> Result<()> {
    if !known.pages.is_empty() || known.ids.len() > limits::OFFER_CHUNKS_MAX {
        let wanted =
            any_wanted(run, ChunkKind::Page, &known.pages)? || any_wanted(run, kind, &known.ids)?;
        conclude(run, known, wanted);
        return Ok(());
    }
    if batch.ids.len() + known.ids.len() > limits::OFFER_CHUNKS_MAX {
        ask(run, kind, batch)?;
    }
    batch.add_known(known);
    Ok(())
}

fn any_wanted(run: &Run<'_>, kind: ChunkKind, ids: &[ChunkId]) -> Result<bool> {
    let distinct: BTreeSet<ChunkId> = ids.iter().copied().collect();
    let distinct: Vec<ChunkId> = distinct.into_iter().collect();
    for part in distinct.chunks(limits::OFFER_CHUNKS_MAX) {
        if !wanted(run, kind, part)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn wanted(run: &Run<'_>, kind: ChunkKind, ids: &[ChunkId]) -> Result<HashSet<usize>> {
    let answer = run.halt.wait_for(&run.host.handle, run.ingest.offer(kind, ids))?;
    Ok(answer.into_iter().collect())
}

/// Asks, and sends everybody on their way.
fn ask(run: &Run<'_>, kind: ChunkKind, batch: &mut Batch) -> Result<()> {
    let Batch { ids, askers, .. } = std::mem::take(batch);
    if askers.is_empty() {
        return Ok(());
    }
    let wanted = wanted(run, kind, &ids)?;
    for asker in askers {
        match asker {
            Asker::Chunk(held, position) if wanted.contains(&position) => go_on(run, held)?,
            Asker::Chunk(held, _) => let_go(run, &held),
            Asker::Known(known, positions) => {
                conclude(run, known, positions.iter().any(|at| wanted.contains(at)));
            }
        }
    }
    Ok(())
}

fn go_on(run: &Run<'_>, held: Held) -> Result<()> {
    if held.chunk.kind == ChunkKind::Data {
        add(&run.progress.chunks_new, 1);
        add(&run.progress.bytes_new, held.chunk.bytes.len() as u64);
    }
    run.held.push(held)
}

fn let_go(run: &Run<'_>, held: &Held) {
    if held.chunk.kind == ChunkKind::Data {
        add(&run.progress.chunks_reused, 1);
    }
}

fn conclude(run: &Run<'_>, known: Box<Known>, wanted: bool) {
    let Known { job, remembered, ids, .. } = *known;
    if wanted {
        run.jobs.return_to_front(job);
        return;
    }
    add(&run.progress.chunks_reused, ids.len() as u64);
    for id in ids {
        run.seen.insert(id);
    }
    run.save(job.ticket, remembered, job.role);
}

/// How long a batch waits for company.
const LINGER: Duration = Duration::from_millis(2);
/// Well below what may be in flight, so that the next batch fills while one is asked about.
const BATCH_PLAIN_BYTES: usize = 3 * MIB;
