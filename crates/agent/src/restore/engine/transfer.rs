//! Fetching and opening: batches of wanted chunks in, plaintext into files.
//!
//! Several batches are fetched at once and frames are opened on all cores. A chunk that several
//! places of a batch want is fetched once. What a source does not tell counts as missing.

use super::file::FileJob;
use super::run::Run;
use crate::flow::{HaltOnPanic, Permit, Queue};
use crate::restore::source::FetchedFrame;
use holdfast_common::limits::{self, MIB};
use holdfast_common::{ChunkId, ChunkKind, Code, Error, Result};
use holdfast_seal::Opener;
use holdfast_seal::manifest::entry::ChunkRef;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// One place where a chunk belongs.
pub(in crate::restore) struct Want {
    file: Arc<FileJob>,
    offset: u64,
    chunk: ChunkRef,
    _permit: Permit,
}

struct Opening {
    id: ChunkId,
    /// What was wrong with one copy may be right in another.
    fetched: Result<FetchedFrame>,
    wants: Vec<Want>,
}

/// Collects what is wanted, and sends it off when it is worth a call.
pub(in crate::restore) struct Transfer<'t, 'a> {
    run: &'t Run<'a>,
    batches: &'t Queue<Vec<Want>>,
    wants: Vec<Want>,
    bytes: usize,
    files: usize,
}

impl Transfer<'_, '_> {
    /// Wants a chunk at this offset of the file's stream. Waits while too much is in flight.
    pub(in crate::restore) fn want(
        &mut self,
        file: &Arc<FileJob>,
        offset: u64,
        chunk: ChunkRef,
    ) -> Result<()> {
        let permit = self.run.bytes.enter(2 * chunk.bytes(), &self.run.halt)?;
        file.expect();
        if self.wants.last().is_none_or(|last| !Arc::ptr_eq(&last.file, file)) {
            self.files += 1;
        }
        self.bytes += chunk.bytes();
        self.wants.push(Want { file: Arc::clone(file), offset, chunk, _permit: permit });
        let full = self.wants.len() >= BATCH_CHUNKS_MAX
            || self.bytes >= BATCH_BYTES_MAX
            || self.files >= BATCH_FILES_MAX;
        if full { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<()> {
        (self.bytes, self.files) = (0, 0);
        let wants = std::mem::take(&mut self.wants);
        if wants.is_empty() { Ok(()) } else { self.batches.push(wants) }
    }
}

/// Runs `plan` with fetching and opening beside it, and returns when all is written.
pub(in crate::restore) fn with_transfer<'a>(
    run: &Run<'a>,
    plan: impl FnOnce(&mut Transfer<'_, 'a>) -> Result<()>,
) -> Result<()> {
    let batches = Queue::new(1, &run.halt);
    let openings = Queue::new(limits::FETCH_CHUNKS_MAX, &run.halt);
    let openers = std::thread::available_parallelism().map_or(2, |cores| cores.get().min(16));
    std::thread::scope(|scope| {
        let _panics = HaltOnPanic(&run.halt);
        let fetchers: Vec<_> = (0..FETCHERS)
            .map(|_| scope.spawn(|| run.halt.guard(|| fetch(run, &batches, &openings))))
            .collect();
        let (much, told) = sync_channel(1);
        scope.spawn(move || sync_early(run, &told));
        for _ in 0..openers {
            let (much, openings) = (much.clone(), &openings);
            scope.spawn(move || run.halt.guard(|| open(run, openings, &much)));
        }
        drop(much);
        let mut transfer =
            Transfer { run, batches: &batches, wants: Vec::new(), bytes: 0, files: 0 };
        run.halt.guard(|| {
            plan(&mut transfer)?;
            transfer.send()
        });
        batches.close();
        fetchers.into_iter().for_each(|fetcher| drop(fetcher.join()));
        openings.close();
    });
    run.halt.check()
}

fn fetch(run: &Run<'_>, batches: &Queue<Vec<Want>>, openings: &Queue<Opening>) -> Result<()> {
    while let Some(wants) = batches.pop() {
        let mut ids = Vec::new();
        let mut places: HashMap<ChunkId, Vec<Want>> = HashMap::new();
        for want in wants {
            let id = want.chunk.id;
            places.entry(id).or_insert_with(|| {
                ids.push(id);
                Vec::new()
            });
            if let Some(wants) = places.get_mut(&id) {
                wants.push(want);
            }
        }
        let mut pushed = Ok(());
        run.reader.source().fetch(ChunkKind::Data, &ids, &mut |position, fetched| {
            let Some((id, wants)) = ids.get(position).and_then(|id| places.remove_entry(id)) else {
                return;
            };
            if pushed.is_ok() {
                pushed = openings.push(Opening { id, fetched, wants });
            }
        })?;
        pushed?;
        for (id, wants) in places {
            fail(run, wants, &Error::new(Code::ChunkMissing, format!("chunk {id} is missing")));
        }
    }
    Ok(())
}

/// The disk is busy while chunks still come, and not only at the end.
fn sync_early(run: &Run<'_>, told: &Receiver<()>) {
    let Some(target) = &run.target else { return };
    told.iter().for_each(|()| target.sync_early());
}

fn open(run: &Run<'_>, openings: &Queue<Opening>, much: &SyncSender<()>) -> Result<()> {
    let mut opener = Opener::new(run.reader.record().vault)?;
    let mut unsynced = 0;
    while let Some(Opening { id, fetched, wants }) = openings.pop() {
        let ids = run.reader.ids();
        let opened = match &fetched {
            Ok(FetchedFrame { frame, key }) => {
                opener.open_here(ChunkKind::Data, &id, key, ids, frame)
            }
            Err(error) => Err(error.clone()),
        };
        unsynced += match opened {
            Ok(plain) => write(run, &id, plain, wants),
            Err(error) => match run.reader.open_another(&mut opener, ChunkKind::Data, &id, error) {
                Ok(plain) => write(run, &id, &plain, wants),
                Err(error) => fail(run, wants, &error),
            },
        };
        if unsynced >= SYNC_EVERY_BYTES {
            unsynced = 0;
            // One that is at it already has not seen this: the next one will.
            let _at_it = much.try_send(());
        }
    }
    Ok(())
}

/// Says how much was written.
fn write(run: &Run<'_>, id: &ChunkId, plain: &[u8], wants: Vec<Want>) -> usize {
    let written = plain.len() * wants.len();
    run.report().bytes_written += written as u64;
    for want in wants {
        run.progress.bytes.fetch_add(plain.len() as u64, Relaxed);
        if plain.len() == want.chunk.bytes() {
            want.file.write(want.offset, plain);
        } else {
            want.file.fail(length_wrong(id));
        }
        want.file.settle(run);
    }
    written
}

/// Nothing was written.
fn fail(run: &Run<'_>, wants: Vec<Want>, error: &Error) -> usize {
    for want in wants {
        want.file.fail(error.clone());
        want.file.settle(run);
    }
    0
}

fn length_wrong(id: &ChunkId) -> Error {
    Error::new(Code::ManifestDamaged, format!("chunk {id} has another length than its entry says"))
}

const FETCHERS: usize = 3;
/// What each opener writes before it asks for an early sync.
const SYNC_EVERY_BYTES: usize = 128 * MIB;
const BATCH_CHUNKS_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 8 * MIB;
const BATCH_FILES_MAX: usize = 96;
const _: () = assert!(BATCH_CHUNKS_MAX <= limits::FETCH_CHUNKS_MAX);
const _: () = assert!(BATCH_FILES_MAX * (FETCHERS + 2) <= super::run::FILES_OPEN_MAX);
