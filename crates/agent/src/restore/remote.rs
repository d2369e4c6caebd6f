//! A restore that somebody ordered from this agent: the point is read under the run that grants it,
//! what is in the way is saved first, and the end is told with names sealed.
//!
//! ```text
//!   order ─▶ allowed here? ─▶ read session of the run ─▶ safety point ─▶ engine ─▶ end
//!              (Targets)        (signature, paths)        (pipeline)
//! ```
//!
//! Without its safety point, where one was asked for, nothing is touched.

use super::engine::{self, Progress, RestoreReport, RestoreRequest};
use super::online::open_online;
use super::point::PointReader;
use super::sealed::{open_paths, seal_report};
use super::targets::Targets;
use crate::pipeline::{BackupRequest, Checkpoints, Host, Purpose, RunControl, back_up};
use crate::source::files::FilesOptions;
use holdfast_common::{Code, Error, Name, PointId, Result, RunId};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
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
    if let Some(source) = &order.safety {
        save_first(host, &reader, order, (source, &request), control)?;
    }
    let halt = control.begin()?;
    let progress = Arc::new(Progress::default());
    control.restoring(&progress);
    restored.report = engine::restore_under(&halt, &reader, &request, &progress)?;
    restored.sealed_report = seal_report(&reader, &order.run, &restored.report, &*host.entropy);
    restored.report.failure().map_or(Ok(()), Err)
}

/// Makes a point of everything that lies where the restore goes.
fn save_first(
    host: &Host,
    reader: &PointReader,
    order: &RestoreOrder,
    (source, request): (&FilesOptions, &RestoreRequest),
    control: &RunControl,
) -> Result<()> {
    let files = in_the_way(source, request);
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

/// The paths of this host that the restore may change, as far as they exist. More is saved than is
/// overwritten: what lies beneath a wanted directory, whether the point has it or not.
fn in_the_way(source: &FilesOptions, request: &RestoreRequest) -> FilesOptions {
    let wanted: Vec<&[u8]> = match request.paths.is_empty() {
        true => source.paths.iter().map(|path| path.as_os_str().as_bytes()).collect(),
        false => request.paths.iter().map(Vec::as_slice).collect(),
    };
    let below = |path: &&[u8]| {
        let relative = path.strip_prefix(b"/").unwrap_or(path);
        request.directory().join(OsStr::from_bytes(relative))
    };
    let paths: Vec<PathBuf> =
        wanted.iter().map(below).filter(|path| path.symlink_metadata().is_ok()).collect();
    // What the backup left out was not in the point and is not touched, unless it is removed. The
    // patterns speak of where things were.
    let same = request.directory() == Path::new("/") && !request.delete;
    let exclude = if same { source.exclude.clone() } else { Vec::new() };
    FilesOptions { paths, exclude, include: Vec::new(), one_file_system: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_way_is_what_exists_below_the_target() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(scratch.path().join("srv/a")).unwrap();
        let source = FilesOptions {
            paths: vec!["/srv".into(), "/etc".into()],
            exclude: vec!["*.tmp".into()],
            ..FilesOptions::default()
        };
        let whole = RestoreRequest { target: scratch.path().into(), ..RestoreRequest::default() };
        let found = in_the_way(&source, &whole);
        assert_eq!(found.paths, [scratch.path().join("srv")]);
        assert!(found.exclude.is_empty(), "patterns of another place say nothing here");
        let part =
            RestoreRequest { paths: vec![b"/srv/a".to_vec(), b"/srv/b".to_vec()], ..whole.clone() };
        assert_eq!(in_the_way(&source, &part).paths, [scratch.path().join("srv/a")]);
    }

    #[test]
    fn what_was_left_out_is_saved_where_it_may_be_removed() {
        let source = FilesOptions {
            paths: vec!["/tmp".into()],
            exclude: vec!["*.tmp".into()],
            ..FilesOptions::default()
        };
        let in_place = RestoreRequest { in_place: true, ..RestoreRequest::default() };
        assert_eq!(in_the_way(&source, &in_place).exclude, ["*.tmp"]);
        let deleting = RestoreRequest { delete: true, ..in_place };
        assert!(in_the_way(&source, &deleting).exclude.is_empty());
    }
}
