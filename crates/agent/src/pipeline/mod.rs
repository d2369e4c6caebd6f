//! The backup of one run, as stages with bounded queues between them.
//!
//! ```text
//!            ┌ cache of the last run
//!   walk ────┴─▶ jobs ─▶ cut ×2 ──chunks──▶ offer ─▶ seal ×2 ─▶ pack ─▶ put ×4 ─▶ cluster
//!    │                    │  └──known ids──▶  │ ▲                 ▲
//!    │ tickets            │ entries           │ └──── pages ──────│──────┐
//!    └──────▶ order ◀─────┴────────◀──────────┘                   │      │
//!               └──▶ manifest (in the walk's order) ─▶ pages ─────┘──────┘
//!                        └─▶ record, signed ─▶ Finish
//! ```
//!
//! Every stage is a thread that blocks on its queues; calls on the network are waited for from
//! those threads. Bytes in flight pass two gates (see [`budget`]). The first error halts all
//! stages and is the run's. A file goes back to `jobs` when the cluster wants a chunk of it that
//! was only known by id. Nothing leaves the host unsealed, and no entry is in a point whose chunks
//! were not stored, or said to be held, before `Finish`.

mod bandwidth;
pub mod budget;
mod cut;
mod finish;
mod manifest;
mod offer;
mod order;
mod pack;
mod pins;
pub mod progress;
mod put;
mod run;
mod seal;
mod seen;
mod session;
mod skipped;
mod stages;
mod unsettled;
mod walk;

pub use budget::Memory;
pub use pins::VaultPins;
pub use progress::{Counts, Progress};
pub use skipped::parse_skipped;

use crate::cache::CacheStore;
use crate::flow::{Halt, lock};
use crate::line::{Line, Told};
use crate::restore;
use crate::source::files::FilesOptions;
use holdfast_common::{AgentId, Clock, Code, Entropy, Error, Name, PointId, Result, RunId};
use holdfast_keyring::IdentityKey;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock};
use tokio::runtime::Handle;

/// What a run works with on its host.
pub struct Host {
    pub agent: AgentId,
    pub identity: IdentityKey,
    pub cache: CacheStore,
    pub pins: VaultPins,
    pub line: Arc<Line>,
    pub told: Told,
    pub memory: Arc<Memory>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    /// Where calls on the network are driven.
    pub handle: Handle,
}

/// What is asked of a run.
#[derive(Clone, Debug)]
pub struct BackupRequest {
    pub run: RunId,
    /// Absent for a backup of paths.
    pub policy: Option<Name>,
    pub purpose: Purpose,
    pub files: FilesOptions,
    /// zstd level; 0 means 3.
    pub level: i32,
    /// 0 means no limit.
    pub bytes_per_second_max: u64,
    /// Trust no cache.
    pub full: bool,
    pub checkpoints: Checkpoints,
}

/// What the point is made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// To be restored one day.
    #[default]
    Backup,
    /// To undo the restore of this point, which is about to begin.
    Safety(PointId),
}

/// When a restorable checkpoint is made on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoints {
    pub interval: std::time::Duration,
    pub bytes_new: u64,
}

impl Checkpoints {
    pub const NEVER: Self = Self { interval: std::time::Duration::MAX, bytes_new: u64::MAX };
}

impl Default for Checkpoints {
    fn default() -> Self {
        Self { interval: std::time::Duration::from_secs(300), bytes_new: 1 << 30 }
    }
}

/// Watches a run and stops it.
#[derive(Clone, Default)]
pub struct RunControl {
    state: Arc<Mutex<ControlState>>,
    pub progress: Arc<Progress>,
    /// How far a restore is, once it has begun.
    restoring: Arc<OnceLock<Arc<restore::Progress>>>,
}

#[derive(Default)]
struct ControlState {
    /// Why the run must end, and must not be tried again.
    stopped: Option<Error>,
    halt: Arc<Halt>,
}

/// A committed backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    pub point: PointId,
    pub counts: Counts,
}

impl RunControl {
    /// Ends the run because somebody asked for it.
    pub fn cancel(&self) {
        self.stop(Error::new(Code::RunCancelled, "the run was cancelled"));
    }

    /// Ends the run because this process does.
    pub fn interrupt(&self) {
        self.stop(Error::new(Code::RunInterrupted, "the agent was stopped during the run"));
    }

    /// From here on the run restores.
    pub(crate) fn restoring(&self, progress: &Arc<restore::Progress>) {
        self.restoring.get_or_init(|| Arc::clone(progress));
    }

    /// One look at how far the run is.
    pub fn look(&self) -> Counts {
        match self.restoring.get() {
            Some(progress) => Counts {
                entries: progress.entries.load(Relaxed),
                bytes_read: progress.bytes.load(Relaxed),
                ..Counts::default()
            },
            None => self.progress.look(),
        }
    }

    fn stop(&self, error: Error) {
        let mut state = lock(&self.state);
        state.stopped.get_or_insert(error.clone());
        state.halt.fail(error);
    }

    /// The halt of a new attempt; `Err` when the run was stopped.
    pub(crate) fn begin(&self) -> Result<Arc<Halt>> {
        let mut state = lock(&self.state);
        if let Some(error) = &state.stopped {
            return Err(error.clone());
        }
        state.halt = Halt::new();
        self.progress.reset();
        Ok(Arc::clone(&state.halt))
    }
}

impl BackupRequest {
    /// What the source is called in the point's record; the ledger calls it the same.
    pub fn source(&self) -> String {
        if let Purpose::Safety(point) = self.purpose {
            return format!("safety:{point}");
        }
        let paths: Vec<_> = self.files.paths.iter().map(|path| path.to_string_lossy()).collect();
        format!("files:{}", paths.join(","))
    }
}

/// Runs a backup to its committed point. Blocks; must not be called on a thread of the runtime.
///
/// A coordinator that took over, or started again, does not know the session: then the run begins
/// again under its own name. What was stored is known by then, so little is sent twice.
pub fn back_up(host: &Host, request: &BackupRequest, control: &RunControl) -> Result<Backup> {
    let mut attempt = 1;
    loop {
        let halt = control.begin()?;
        match stages::back_up(host, request, &halt, &control.progress) {
            Err(error) if error.code == Code::SessionMissing && attempt < ATTEMPTS_MAX => {
                tracing::warn!(run = %request.run, attempt, "the session was lost; again");
                attempt += 1;
            }
            ended => return ended,
        }
    }
}

/// How often a run begins: each time a coordinator was lost with the session.
const ATTEMPTS_MAX: u32 = 8;
