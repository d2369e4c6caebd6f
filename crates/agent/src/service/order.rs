//! Orders, parsed at the door.

use crate::pipeline::{BackupRequest, Checkpoints};
use crate::source::files::FilesOptions;
use holdfast_common::{Code, Error, Result};
use holdfast_wire::{parse, v1};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

pub(super) fn backup(order: v1::StartBackup) -> Result<BackupRequest> {
    let source = order.source.and_then(|source| source.source);
    let Some(v1::source_spec::Source::Files(files)) = source else {
        return Err(Error::new(Code::ResourceMalformed, "this agent knows no source of this kind")
            .next("use a newer holdfast on this host"));
    };
    let options = order.options.unwrap_or_default();
    Ok(BackupRequest {
        run: parse::run_id(&order.run_id)?,
        policy: parse::name_if_any(order.policy.as_deref())?,
        files: FilesOptions {
            paths: files.paths.iter().map(|path| path_of(path)).collect(),
            exclude: files.exclude,
            include: Vec::new(),
            one_file_system: files.one_file_system,
        },
        level: options.level,
        bytes_per_second_max: options.bytes_per_second_max,
        full: options.full,
        checkpoints: Checkpoints::default(),
    })
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}
