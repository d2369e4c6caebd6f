//! The engine of a restore: many files at once, chunks in batches, nothing unopened written.
//!
//! ```text
//!   plan ── batches ──▶ fetch ×3 ── frames ──▶ open ×N ──▶ FileJob: write at offset
//!    │ entries in order, directories, links        │            └─ last chunk: into place
//!    └ chunks that lie there already: reused       └─ a chunk that does not open fails its file
//! ```
//!
//! The plan walks the manifest in order, and packs were filled in that order, so neighbouring
//! chunks are asked for together and are read together at the other end. Bytes in flight and files
//! open are bounded. A file that fails is not put in place and is named in the report; the others
//! go on. Only what concerns everything (no cluster, no disk) ends the restore.

mod delete;
mod file;
mod links;
mod plan;
mod reasons;
mod rehearse;
mod roots;
mod run;
mod transfer;

pub(super) use file::{FileJob, Outcome};
pub(super) use plan::want_all;
pub use reasons::Reasons;
pub(super) use run::Run;
pub(super) use transfer::with_transfer;

use super::place::{Notes, Overwrite, Target, TargetOptions};
use super::point::PointReader;
use crate::flow::Halt;
use holdfast_common::codes::Exit;
use holdfast_common::{Code, Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// What to bring back, where to, and how.
#[derive(Clone, Debug, Default)]
pub struct RestoreRequest {
    /// The directory to restore into; not looked at with `in_place`.
    pub target: PathBuf,
    /// Absolute paths of the point, each with everything beneath it; empty for everything.
    pub paths: Vec<Vec<u8>>,
    /// To where it was: the same as the target `/`, said in so many words.
    pub in_place: bool,
    /// Remove, beneath the paths that were backed up, what the point does not have.
    pub delete: bool,
    /// Overwrite what is there.
    pub force: bool,
    /// Look at what lies there, and only count.
    pub dry_run: bool,
    /// Read what was written again and compare it with the content's hash.
    pub verify: bool,
    /// Owners by number.
    pub numeric_ids: bool,
}

impl RestoreRequest {
    /// Where everything goes below.
    pub fn directory(&self) -> &Path {
        if self.in_place { Path::new("/") } else { &self.target }
    }

    pub(super) fn target_options(&self) -> TargetOptions {
        let overwrite = if self.force { Overwrite::Force } else { Overwrite::Protect };
        TargetOptions { overwrite, numeric_ids: self.numeric_ids, ..Default::default() }
    }
}

/// How far a restore is. Totals are the point's, whatever is selected of it.
#[derive(Debug, Default)]
pub struct Progress {
    pub entries: AtomicU64,
    pub entries_total: AtomicU64,
    pub bytes: AtomicU64,
    pub bytes_total: AtomicU64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Entries that are in place now.
    pub entries: u64,
    /// Content that was fetched and written; with `dry_run`, that would be.
    pub bytes_written: u64,
    /// Content that lay there already.
    pub bytes_reused: u64,
    /// Files that were read again and found right.
    pub verified: u64,
    /// Names that went away by `delete`; with `dry_run`, that would.
    pub removed: u64,
    /// What is not in place, and why, as far as there is room to name it.
    pub skipped: Vec<(Vec<u8>, Code)>,
    /// All of it, by its reasons.
    pub reasons: Reasons,
    /// What could not be done beside the content.
    pub notes: Notes,
}

impl RestoreReport {
    /// The error to end with: damage, a location that did not give what it has, or something in the
    /// way that nobody allowed to be overwritten. What could not be written for another reason is
    /// told as skipped.
    pub fn failure(&self) -> Option<Error> {
        self.damage()
            .map(|error| error.next("restore another point, or run `holdfast verify --all`"))
            .or_else(|| self.unread())
            .or_else(|| self.in_the_way())
    }

    /// Notes that a path is not in place.
    pub fn skip(&mut self, path: Vec<u8>, code: Code) {
        self.reasons.note(&path, code);
        if self.reasons.names(&path) {
            self.skipped.push((path, code));
        }
    }

    fn unread(&self) -> Option<Error> {
        let (first, count) = self
            .reasons
            .all(|code| matches!(code, Code::LocationIoFailed | Code::LocationRefused))?;
        let path = shown(&first.path);
        let message = format!("{count} entries could not be read from a location, first `{path}`");
        Some(Error::new(first.code, message))
    }

    fn in_the_way(&self) -> Option<Error> {
        let (first, count) = self.reasons.all(|code| code == Code::FileExists)?;
        let first = shown(&first.path);
        let message = format!("{count} entries are in the way, first `{first}`");
        let others = format!("nothing is in the way of the {} others", self.entries);
        Some(Error::new(Code::FileExists, message).cause(others))
    }

    /// What was not damaged and could not be read all the same.
    pub(super) fn not_read(&self) -> Option<Error> {
        let (first, count) = self.reasons.all(|code| code.exit() != Exit::Damage)?;
        Some(Error::new(first.code, format!("{count} entries could not be read")))
    }

    /// How many entries have wrong or missing bytes, and why the first of them.
    pub(super) fn damaged(&self) -> Option<(Code, u64)> {
        let (first, count) = self.reasons.all(|code| code.exit() == Exit::Damage)?;
        Some((first.code, count))
    }

    /// Bytes were wrong or missing: nothing wrong was written.
    pub fn damage(&self) -> Option<Error> {
        let (first, count) = self.reasons.all(|code| code.exit() == Exit::Damage)?;
        let path = shown(&first.path);
        Some(Error::new(first.code, format!("{count} entries cannot be restored, first `{path}`")))
    }
}

/// Restores what was asked for. Blocks; uses all cores.
pub fn restore(
    reader: &PointReader,
    request: &RestoreRequest,
    progress: &Progress,
) -> Result<RestoreReport> {
    let (directory, options) = (request.directory(), request.target_options());
    let target = match request.dry_run {
        true => Target::look(directory, options, None)?,
        false => Some(Target::open(directory, options)?),
    };
    restore_under(&Halt::new(), reader, request, (target, progress))
}

/// A path that the point does not have is a mistake, and nothing is restored for it.
pub fn insist_on_paths(reader: &PointReader, paths: &[Vec<u8>]) -> Result<()> {
    for path in paths {
        if reader.manifest().subtree(path)?.next().transpose()?.is_none() {
            return Err(plan::not_in_point(path));
        }
    }
    Ok(())
}

/// The same into a directory that is open (a dry run may have none), until the halt is set. What
/// was granted is kept meanwhile, and its end ends this too.
pub(super) fn restore_under(
    halt: &Arc<Halt>,
    reader: &PointReader,
    request: &RestoreRequest,
    (target, progress): (Option<Target>, &Progress),
) -> Result<RestoreReport> {
    while_kept(halt, reader, || restore_here(halt, reader, request, (target, progress)))
}

/// Does something with a point that is kept meanwhile; when what was granted ends, so does it.
pub(super) fn while_kept<T>(
    halt: &Halt,
    reader: &PointReader,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    std::thread::scope(|scope| {
        let (over, waiting) = sync_channel::<()>(0);
        scope.spawn(move || keep(halt, reader, &waiting));
        let done = work();
        drop(over);
        done
    })
}

/// Says now and then that the point is still being read, until the restore is over.
fn keep(halt: &Halt, reader: &PointReader, over: &Receiver<()>) {
    while over.recv_timeout(KEEP_INTERVAL) == Err(RecvTimeoutError::Timeout) {
        match reader.source().keep() {
            Ok(()) => {}
            Err(error) if error.is_retryable() => {
                tracing::debug!(%error, "nobody heard that the point is still being read");
            }
            Err(error) => return halt.fail(error),
        }
    }
}

fn restore_here(
    halt: &Arc<Halt>,
    reader: &PointReader,
    request: &RestoreRequest,
    (target, progress): (Option<Target>, &Progress),
) -> Result<RestoreReport> {
    progress.entries_total.store(reader.record().entries, Relaxed);
    progress.bytes_total.store(reader.record().bytes, Relaxed);
    match target {
        Some(target) if !request.dry_run => {
            insist_on_in_place(request, &target)?;
            plan::restore(halt, reader, request, (target, progress))
        }
        target => rehearse::rehearse(halt, reader, request, (target, progress)),
    }
}

/// Whoever asks for a removal in place is asked again before it begins; a name that turns out to
/// lead to `/` must not go around that.
fn insist_on_in_place(request: &RestoreRequest, target: &Target) -> Result<()> {
    if !request.delete || request.in_place || !target.is_root()? {
        return Ok(());
    }
    let message =
        format!("`{}` is `/`: to remove there is to restore in place", request.target.display());
    Err(Error::new(Code::ConfirmMissing, message).next("say --in-place, and confirm it"))
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).escape_debug().to_string()
}

const KEEP_INTERVAL: Duration = Duration::from_secs(5);
