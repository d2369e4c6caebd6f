//! A restore that somebody ordered from this agent: the point is read under the run that grants it,
//! what is in the way is saved first, and the end is told with names sealed.
//!
//! ```text
//!   order ─▶ allowed here? ─▶ read session ─▶ target open ─▶ safety point ─▶ engine ─▶ end
//!              (Targets)    (signature, paths)  (Targets)     (in_the_way)
//! ```
//!
//! Without its safety point, where one was asked for, nothing is touched.

use super::engine::{self, Progress, RestoreReport, RestoreRequest};
use super::in_the_way;
use super::online::open_online;
use super::point::PointReader;
use super::sealed::{open_paths, seal_report};
use super::targets::Targets;
use crate::pipeline::{BackupRequest, Checkpoints, Host, Purpose, RunControl, back_up};
use crate::source::files::FilesOptions;
use holdfast_common::{Code, Error, Name, PointId, Result, RunId};
use std::sync::Arc;

/// What is asked of an agent.
#[derive(Clone, Debug)]
pub struct RestoreOrder {
    pub run: RunId,
    pub point: PointId,
    /// Its paths are empty: they come sealed.
    pub request: RestoreRequest,
    pub sealed_paths: Vec<u8>,
    /// Set when a safety point has to be made: what the point was made of.
    pub safety: Option<FilesOptions>,
    /// What the safety point is filed under.
    pub policy: Option<Name>,
}

/// How a restore ended, as far as it came.
#[derive(Debug, Default)]
pub struct Restored {
    pub report: RestoreReport,
    pub sealed_report: Vec<u8>,
    pub error: Option<Error>,
}

/// Restores what was ordered. Blocks; must not be called on a thread of the runtime.
pub fn restore_ordered(
    host: &Host,
    targets: &Targets,
    order: &RestoreOrder,
    control: &RunControl,
) -> Restored {
    let mut restored = Restored::default();
    if let Err(error) = perform(host, targets, order, control, &mut restored) {
        restored.error = Some(error);
    }
    restored
}

fn perform(
    host: &Host,
    targets: &Targets,
    order: &RestoreOrder,
    control: &RunControl,
    restored: &mut Restored,
) -> Result<()> {
    targets.insist_on(order.request.directory())?;
    let (line, handle) = (Arc::clone(&host.line), host.handle.clone());
    let entropy = Arc::clone(&host.entropy);
    let reader = open_online(line, handle, entropy, order.point, "restore", Some(order.run))?;
    let paths = open_paths(&reader, &order.run, &order.sealed_paths)?;
    let request = RestoreRequest { paths, ..order.request.clone() };
    engine::insist_on_paths(&reader, &request.paths)?;
    let (directory, options) = (request.directory(), request.target_options());
    let target = match request.dry_run {
        true => targets.look(directory, options)?,
        false => Some(targets.open(directory, options)?),
    };
    let safety = order.safety.as_ref().filter(|_| !request.dry_run);
    if let Some((source, target)) = safety.zip(target.as_ref()) {
        let files = in_the_way::of(&reader, source, &request, &target.real_path()?)?;
        save_first(host, &reader, order, files, control)?;
    }
    let halt = control.begin()?;
    let progress = Arc::new(Progress::default());
    control.restoring(&progress);
    restored.report = engine::restore_under(&halt, &reader, &request, (target, &progress))?;
    restored.sealed_report = seal_report(&reader, &order.run, &restored.report, &*host.entropy);
    restored.report.failure().map_or(Ok(()), Err)
}

/// Makes a point of everything that lies where the restore goes.
fn save_first(
    host: &Host,
    reader: &PointReader,
    order: &RestoreOrder,
    files: FilesOptions,
    control: &RunControl,
) -> Result<()> {
    if files.paths.is_empty() {
        return Ok(());
    }
    let backup = BackupRequest {
        run: order.run,
        policy: order.policy.clone(),
        purpose: Purpose::Safety(reader.record().point),
        files,
        level: 0,
        bytes_per_second_max: 0,
        full: false,
        checkpoints: Checkpoints::NEVER,
    };
    match back_up(host, &backup, control) {
        Ok(made) if made.counts.skipped == 0 => Ok(()),
        Ok(made) => Err(unsafe_to_go_on(Code::FileIoFailed).next(format!(
            "{} entries that may be overwritten could not be saved; stop what writes there, \
                 or restore with --no-safety-point",
            made.counts.skipped
        ))),
        Err(error) if matches!(error.code, Code::RunCancelled | Code::RunInterrupted) => Err(error),
        Err(error) => Err(unsafe_to_go_on(error.code)),
    }
}

fn unsafe_to_go_on(why: Code) -> Error {
    Error::new(Code::SafetyMissing, "no safety point could be made; nothing was restored")
        .cause(why.name())
}
