//! Orders, parsed at the door.

use crate::pipeline::{BackupRequest, Checkpoints, Purpose};
use crate::restore::{RestoreOrder, RestoreRequest, Restored, VerifyOrder};
use crate::source::files::FilesOptions;
use holdfast_common::{Code, Error, Result};
use holdfast_wire::{parse, v1};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

pub(super) fn backup(order: v1::StartBackup) -> Result<BackupRequest> {
    let options = order.options.unwrap_or_default();
    Ok(BackupRequest {
        run: parse::run_id(&order.run_id)?,
        policy: parse::name_if_any(order.policy.as_deref())?,
        purpose: Purpose::Backup,
        files: files(order.source)?,
        level: options.level,
        bytes_per_second_max: options.bytes_per_second_max,
        full: options.full,
        checkpoints: Checkpoints::default(),
    })
}

pub(super) fn restore(order: v1::StartRestore) -> Result<RestoreOrder> {
    let spec = parse::required("what to restore", order.spec)?;
    let target = path_of(&spec.target);
    if !target.is_absolute() {
        return Err(Error::new(Code::UsageMalformed, "the target is no absolute directory"));
    }
    let safety = spec.safety_point.then(|| files(order.source)).transpose()?;
    Ok(RestoreOrder {
        run: parse::run_id(&order.run_id)?,
        point: parse::point_id(&order.point_id)?,
        request: RestoreRequest {
            target,
            paths: Vec::new(),
            in_place: spec.in_place,
            delete: spec.delete,
            force: spec.force,
            dry_run: spec.dry_run,
            verify: spec.verify,
            numeric_ids: spec.numeric_ids,
        },
        sealed_paths: spec.sealed_paths.to_vec(),
        safety,
        policy: parse::name_if_any(order.policy.as_deref())?,
    })
}

pub(super) fn verify(order: &v1::StartVerify) -> Result<VerifyOrder> {
    let (run, point) = (parse::run_id(&order.run_id)?, parse::point_id(&order.point_id)?);
    Ok(VerifyOrder { run, point })
}

/// What is told of a restore's end; which safety point was made the ledger knows.
pub(super) fn restored(told: &Restored) -> v1::Restored {
    v1::Restored {
        entries: told.report.entries,
        bytes_written: told.report.bytes_written,
        bytes_reused: told.report.bytes_reused,
        removed: told.report.removed,
        verified: told.report.verified,
        skipped: told.report.reasons.count(),
        sealed_report: bytes::Bytes::copy_from_slice(&told.sealed_report),
        safety_point: None,
    }
}

fn files(source: Option<v1::SourceSpec>) -> Result<FilesOptions> {
    let Some(v1::source_spec::Source::Files(files)) = source.and_then(|source| source.source)
    else {
        return Err(Error::new(Code::ResourceMalformed, "this agent knows no source of this kind")
            .next("use a newer holdfast on this host"));
    };
    Ok(FilesOptions {
        paths: files.paths.iter().map(|path| path_of(path)).collect(),
        exclude: files.exclude,
        include: files.include,
        one_file_system: files.one_file_system,
        links_only: false,
    })
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}
