//! Starts the stages, ends them in the order of the stream, and waits for every one.
//!
//! On success each stage ends because the one before it has closed its queue. On the first error,
//! on cancel and on a panic the halt ends all of them. Either way the scope does not return before
//! the last thread has.

use super::finish::{self, Table};
use super::manifest::Manifest;
use super::pack::{self, Packed};
use super::progress::add;
use super::run::Run;
use super::session::Session;
use super::{Backup, BackupRequest, Host, Progress, Purpose, budget};
use super::{cut, offer, put, seal, walk};
use crate::cache::{Basis, CacheReader, CacheWriter, SourceKey};
use crate::flow::{Halt, HaltOnPanic};
use crate::line::Ingest;
use crate::source::files::Walk;
use holdfast_common::{ChunkKind, Code, Error, PointId, Result, Timestamp, limits};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

pub(super) fn back_up(
    host: &Host,
    request: &BackupRequest,
    halt: &Arc<Halt>,
    progress: &Arc<Progress>,
) -> Result<Backup> {
    let _turn = host.memory.begin_run();
    let begun = halt.wait_for(&host.handle, Ingest::begin(&host.line, request.run))?;
    let session = Session::parse(begun, &host.pins, &*host.entropy)?;
    let files = Walk::open(&request.files)?;
    let source = source_key(request, &session);
    let cache = match request.full {
        true => None,
        false => host.cache.read(&source, &session.cutting),
    };
    let remembered_at = cache.as_ref().map_or(Timestamp::ZERO, |cache| cache.basis().read_at);
    let basis = Basis { cutting: session.cutting, read_at: host.clock.now() };
    let writer = match request.purpose {
        Purpose::Backup => host
            .cache
            .write(&source, basis, &host.entropy)
            .inspect_err(|error| tracing::warn!(%error, "the next backup will read everything"))
            .ok(),
        // No backup of these paths follows; what the policy's own remembers stays.
        Purpose::Safety(_) => None,
    };
    let run = Run::new(host, request, (halt, progress), session, remembered_at);
    let point = std::thread::scope(|scope| {
        let _panics = HaltOnPanic(&run.halt);
        let ended = conduct(scope, &run, files, cache, writer);
        if let Err(error) = &ended {
            run.halt.fail(error.clone());
        }
        ended
    });
    // What a stage said first is the reason; what the others saw of it is not.
    let point = point.map_err(|_| run.halt.error())?;
    let counts = progress.look();
    if counts.links_parted > 0 {
        let links = counts.links_parted;
        tracing::warn!(run = %request.run, links, "hard links were saved as files of their own");
    }
    Ok(Backup { point, counts })
}

fn conduct<'s>(
    scope: &'s Scope<'s, '_>,
    run: &'s Run<'s>,
    files: Walk,
    cache: Option<CacheReader>,
    writer: Option<CacheWriter>,
) -> Result<PointId> {
    let over = CancellationToken::new();
    let leased = over.clone();
    let lease = stage(scope, run, "lease", move || keep_lease(run, &leased));
    stage(scope, run, "walk", move || walk::walk(run, files, cache));
    let stages = Stages::start(scope, run);
    let written = stages.run_out(run, writer);
    over.cancel();
    join(lease);
    let (table, inline, writer) = written?;
    run.halt.check()?;
    let stored: usize = inline.iter().map(|packed| packed.pack.bytes.len()).sum();
    add(&run.progress.bytes_stored, stored as u64);
    let point = finish::finish(run, &table, &inline)?;
    if let Some(Err(error)) = writer.map(CacheWriter::keep) {
        tracing::warn!(%error, "the next backup will read more than it must");
    }
    Ok(point)
}

/// `None` when the system gave no thread: the run is halted then.
type Stage<'s, T = ()> = Option<ScopedJoinHandle<'s, T>>;

struct Stages<'s> {
    cutters: Vec<Stage<'s>>,
    offerers: Vec<Stage<'s>>,
    sealers: Vec<Stage<'s>>,
    packer: Stage<'s, Vec<Packed>>,
    putters: Vec<Stage<'s>>,
}

impl<'s> Stages<'s> {
    fn start(scope: &'s Scope<'s, '_>, run: &'s Run<'s>) -> Self {
        let workers = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let workers = workers.min(budget::WORKERS_MAX);
        Self {
            cutters: (0..workers).map(|_| stage(scope, run, "cut", || cut::cut(run))).collect(),
            offerers: vec![
                stage(scope, run, "offer", || offer::offer(run, ChunkKind::Data, &run.data)),
                stage(scope, run, "offer", || offer::offer(run, ChunkKind::Page, &run.pages)),
            ],
            sealers: (0..workers).map(|_| stage(scope, run, "seal", || seal::seal(run))).collect(),
            packer: thread(scope, run, "pack", || {
                let mut left = Vec::new();
                run.halt.guard(|| {
                    left = pack::pack(run)?;
                    Ok(())
                });
                left
            }),
            putters: (0..limits::PACKS_IN_FLIGHT_MAX)
                .map(|_| stage(scope, run, "put", || put::put(run)))
                .collect(),
        }
    }

    /// Gathers the manifest while the stages work, then lets one after the other run out.
    fn run_out(
        self,
        run: &Run<'_>,
        writer: Option<CacheWriter>,
    ) -> Result<(Table, Vec<Packed>, Option<CacheWriter>)> {
        let mut manifest = Manifest::new(run, writer);
        manifest.gather()?;
        run.jobs.close();
        self.cutters.into_iter().for_each(join);
        let (table, writer) = manifest.close()?;
        run.data.close();
        run.pages.close();
        self.offerers.into_iter().for_each(join);
        run.held.close();
        self.sealers.into_iter().for_each(join);
        run.framed.close();
        let packer = self.packer.ok_or_else(no_thread)?;
        let left = packer.join().map_err(|_| panicked())?;
        let inline = if is_small(run, &left) {
            left
        } else {
            left.into_iter().try_for_each(|packed| pack::send(run, packed))?;
            Vec::new()
        };
        run.packed.close();
        self.putters.into_iter().for_each(join);
        run.halt.check()?;
        Ok((table, inline, writer))
    }
}

/// A small run's packs travel in the point's own object.
fn is_small(run: &Run<'_>, left: &[Packed]) -> bool {
    let bytes: usize = left.iter().map(|packed| packed.pack.bytes.len()).sum();
    run.packs_sent.load(Ordering::Relaxed) == 0 && bytes <= limits::INLINE_PACK_BYTES_MAX
}

fn stage<'s>(
    scope: &'s Scope<'s, '_>,
    run: &'s Run<'s>,
    name: &str,
    body: impl FnOnce() -> Result<()> + Send + 's,
) -> Stage<'s> {
    thread(scope, run, name, move || run.halt.guard(body))
}

/// Named, so that `top -H` and a profile say where a backup's time goes.
fn thread<'s, T: Send + 's>(
    scope: &'s Scope<'s, '_>,
    run: &'s Run<'s>,
    name: &str,
    body: impl FnOnce() -> T + Send + 's,
) -> Stage<'s, T> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, body);
    spawned.map_err(|error| run.halt.fail(no_thread().cause(error))).ok()
}

fn no_thread() -> Error {
    Error::new(Code::FileIoFailed, "the system gives no more threads")
}

/// A stage's failure, and its panic too, has halted the run already.
fn join(stage: Stage<'_>) {
    drop(stage.map(ScopedJoinHandle::join));
}

fn panicked() -> Error {
    Error::new(Code::InternalBug, "a stage of the run panicked")
}

/// Renews the lease until the run is over, and hears whether it should go on at all.
fn keep_lease(run: &Run<'_>, over: &CancellationToken) -> Result<()> {
    let pause = (run.session.lease / 4).min(RENEW_INTERVAL_MAX);
    let renewals = async {
        loop {
            tokio::time::sleep(pause).await;
            if run.ingest.renew().await? {
                return Err(Error::new(Code::RunCancelled, "the run was cancelled"));
            }
        }
    };
    run.halt.wait_for(&run.host.handle, async {
        tokio::select! {
            () = over.cancelled() => Ok(()),
            ended = renewals => ended,
        }
    })
}

fn source_key(request: &BackupRequest, session: &Session) -> SourceKey {
    let policy = request.policy.as_ref().map_or("", |name| name.as_str());
    let mut parts = vec![session.vault.as_bytes().as_slice(), policy.as_bytes()];
    parts.extend(request.files.paths.iter().map(|path| path.as_os_str().as_bytes()));
    SourceKey::of(&parts)
}

const RENEW_INTERVAL_MAX: Duration = Duration::from_secs(10);
