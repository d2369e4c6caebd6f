//! Restores as runs: from what an operator asks, to the order that an agent gets, to the end that
//! is told.
//!
//! Authorising one is writing its row: the row names one point, one doer and one target, and
//! [`crate::reading`] gives chunks for nothing else. Paths go through here sealed. A vault whose
//! data only operators can open is refused at once, before anybody's host is touched.

use crate::{agents::dispatch::source_to_wire, house::House, keys::custody::insist_on_custody};
use bytes::Bytes;
use holdfast_common::{AgentId, Code, Error, PointId, Result, RunId};
use holdfast_ledger::{
    Actor,
    command::EndRestore,
    envelope::Refusal,
    row::{PointRow, RestoreCounts, RestoreOptions, RestoreRow, RunRow, RunState, SourceSpec},
};
use holdfast_wire::v1;
use minicbor::bytes::ByteVec;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The row of a restore that was asked for.
pub(crate) fn run(
    house: &House,
    id: RunId,
    agent: Option<AgentId>,
    point: &PointId,
    spec: v1::RestoreSpec,
) -> Result<RunRow> {
    let point = house.ledger.query().point(point)?;
    let vault = house.ledger.query().vault(&point.vault)?;
    insist_on_custody(&vault)?;
    let options = options(&spec, agent.is_some());
    let paths = (!spec.sealed_paths.is_empty()).then(|| spec.sealed_paths.to_vec().into());
    let restore = RestoreRow {
        point: point.id,
        target: target(&spec)?,
        options,
        paths,
        safety_point: None,
        counts: RestoreCounts::default(),
        report: None,
    };
    let run = RunRow::restore(id, agent, vault.id, source_of(house, &point)?, restore);
    // On its own host a point's policy is also the one of what is saved before.
    let policy = point.policy.filter(|_| agent == Some(point.agent));
    Ok(RunRow { policy, ..run })
}

fn options(spec: &v1::RestoreSpec, by_agent: bool) -> RestoreOptions {
    let options = RestoreOptions {
        in_place: spec.in_place,
        force: spec.force,
        delete: spec.delete,
        dry_run: spec.dry_run,
        verify: spec.verify,
        numeric_ids: spec.numeric_ids,
        safety: false,
    };
    let safety = by_agent && spec.safety_point && options.may_overwrite();
    RestoreOptions { safety, ..options }
}

fn target(spec: &v1::RestoreSpec) -> Result<ByteVec> {
    match spec.target.first() {
        _ if spec.in_place => Ok(b"/".to_vec().into()),
        Some(b'/') => Ok(spec.target.to_vec().into()),
        _ => Err(Error::new(Code::UsageMalformed, "a restore goes below an absolute directory")),
    }
}

/// What the point was made of. A safety point was made below the target of its restore.
fn source_of(house: &House, point: &PointRow) -> Result<SourceSpec> {
    let made = house.ledger.query().run(&point.run)?;
    Ok(match &made.restore {
        Some(restore) => safety_source(made.source, restore),
        None => made.source,
    })
}

fn safety_source(source: SourceSpec, restore: &RestoreRow) -> SourceSpec {
    let SourceSpec::Files { paths, exclude, one_file_system, .. } = source;
    // Patterns speak of where things were; and where something could be removed, what they exclude
    // was saved too. What an include list leaves out always was.
    let applied = *restore.target == *b"/" && !restore.options.delete;
    let exclude = if applied { exclude } else { Vec::new() };
    let target = Path::new(std::ffi::OsStr::from_bytes(&restore.target));
    let below = |path: &[u8]| {
        let relative = path.strip_prefix(b"/").unwrap_or(path);
        target.join(std::ffi::OsStr::from_bytes(relative)).as_os_str().as_bytes().to_vec().into()
    };
    let paths = paths.iter().map(|path| below(path)).collect();
    SourceSpec::Files { paths, exclude, one_file_system, include: None }
}

pub(crate) fn order(run: &RunRow, restore: &RestoreRow) -> v1::StartRestore {
    let RestoreOptions { in_place, force, delete, dry_run, .. } = restore.options;
    let RestoreOptions { verify, numeric_ids, safety, .. } = restore.options;
    let paths = restore.paths.as_ref().map(|paths| paths.to_vec());
    v1::StartRestore {
        run_id: Bytes::copy_from_slice(run.id.as_bytes()),
        point_id: Bytes::copy_from_slice(restore.point.as_bytes()),
        spec: Some(v1::RestoreSpec {
            target: restore.target.to_vec().into(),
            in_place,
            force,
            delete,
            dry_run,
            verify,
            numeric_ids,
            safety_point: safety,
            sealed_paths: paths.unwrap_or_default().into(),
        }),
        source: Some(source_to_wire(&run.source)),
        policy: run.policy.as_ref().map(ToString::to_string),
    }
}

/// Writes down how a restore ended, as whoever did it tells.
pub(crate) async fn end(
    house: &House,
    actor: Actor,
    run: RunId,
    restored: v1::Restored,
    error: Option<Error>,
) -> Result<()> {
    let (state, error) = match &error {
        Some(error) => {
            let (state, error) = told_end(error, "whoever restored");
            (state, Some(error))
        }
        None if restored.skipped > 0 => (RunState::Partial, None),
        None => (RunState::Done, None),
    };
    let report =
        (!restored.sealed_report.is_empty()).then(|| restored.sealed_report.to_vec().into());
    let counts = RestoreCounts {
        entries: restored.entries,
        bytes_written: restored.bytes_written,
        bytes_reused: restored.bytes_reused,
        removed: restored.removed,
        verified: restored.verified,
        skipped: restored.skipped,
    };
    let command = EndRestore { run, state, counts, report, error };
    match house.ledger.propose(actor.clone(), command.clone()).await {
        // An end without its report is still an end; a run without an end is waited for.
        Err(refused) if refused.code == Code::LimitExceeded && command.report.is_some() => {
            let command = EndRestore { report: None, ..command };
            house.ledger.propose(actor, command).await.map(drop)
        }
        told => told.map(drop),
    }
}

/// The state that an error leads to, and what the ledger keeps of it: a cause may quote a path, so
/// the code and our own words for it are all.
pub(crate) fn told_end(error: &Error, who: &str) -> (RunState, Refusal) {
    let state = match error.code {
        Code::RunCancelled => RunState::Cancelled,
        Code::RunInterrupted | Code::ClusterUnreachable | Code::LeaseExpired => {
            RunState::Interrupted
        }
        _ => RunState::Failed,
    };
    // A cause that is a code alone may be kept as well.
    let why = error.cause.as_deref().and_then(Code::from_name);
    let why = why.map(|code| format!(", because of {code}")).unwrap_or_default();
    let refusal = Refusal {
        code: error.code.name().to_owned(),
        message: format!("{who} ended the run: {}{why}", error.code),
        next: Some(error.code.advice().to_owned()),
    };
    (state, refusal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::PointId;

    fn undone(target: &str, delete: bool) -> (Vec<String>, Vec<String>) {
        let restore = RestoreRow {
            point: PointId::from_bytes([1; 16]),
            target: target.as_bytes().to_vec().into(),
            options: RestoreOptions { delete, ..RestoreOptions::default() },
            paths: None,
            safety_point: None,
            counts: RestoreCounts::default(),
            report: None,
        };
        let paths = vec![b"/srv".to_vec().into()];
        let exclude = vec!["*.tmp".to_owned()];
        let include = Some(vec!["*.dcm".to_owned()]);
        let source = SourceSpec::Files { paths, exclude, one_file_system: true, include };
        let SourceSpec::Files { paths, exclude, one_file_system, include } =
            safety_source(source, &restore);
        assert_eq!((one_file_system, include), (true, None));
        let paths = paths.iter().map(|path| String::from_utf8_lossy(path).into_owned());
        (paths.collect(), exclude)
    }

    #[test]
    fn a_safety_point_is_made_where_something_may_be_overwritten_or_removed() {
        let asked = v1::RestoreSpec { in_place: true, safety_point: true, ..Default::default() };
        let made = |spec: v1::RestoreSpec, by_agent| options(&spec, by_agent).safety;
        assert!(!made(asked.clone(), true), "in place alone protects what is there");
        let forced = v1::RestoreSpec { force: true, ..asked.clone() };
        assert!(made(forced.clone(), true) && !made(forced.clone(), false));
        assert!(made(v1::RestoreSpec { delete: true, ..asked }, true));
        assert!(!made(v1::RestoreSpec { dry_run: true, ..forced.clone() }, true));
        assert!(!made(v1::RestoreSpec { safety_point: false, ..forced }, true));
    }

    #[test]
    fn a_safety_point_is_put_back_over_all_that_it_may_hold() {
        let (paths, exclude) = undone("/", false);
        assert_eq!((&*paths[0], &*exclude), ("/srv", &["*.tmp".to_owned()][..]));
        let (_, exclude) = undone("/", true);
        assert!(exclude.is_empty(), "what was excluded could be removed, so it was saved");
        let (paths, exclude) = undone("/to", false);
        assert_eq!((&*paths[0], &*exclude), ("/to/srv", &[][..]));
    }
}
