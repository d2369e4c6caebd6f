//! `holdfast ls POINT [PATH]`: the entries of a point, with everything below, in path order; or
//! what its backup could not take.

use crate::{
    demand::Demand,
    ending::Ending,
    offline::points::Proof,
    opening::{Opened, PointArguments},
    output::{
        figures::{self, json_time},
        path,
    },
    walk,
};
use holdfast_common::{Code, Error, Result};
use holdfast_seal::manifest::entry::{Entry, EntryKind};
use serde_json::{Map, Value};
use std::{ffi::OsString, os::unix::ffi::OsStringExt};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    point: PointArguments,
    /// Only this entry and what is below it
    path: Option<OsString>,
    /// List what the backup skipped instead, and why
    #[arg(long, conflicts_with = "path")]
    skipped: bool,
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    let opened = arguments.point.open("list", demand).await?;
    let top = arguments.path.map(|path| trimmed(path.into_vec()));
    let (point, signature) = (opened.id(), opened.proof.map(Proof::word));
    let more = [("point".to_owned(), point.into()), ("signature".to_owned(), signature.into())];
    let more = Map::from_iter(more);
    if arguments.skipped {
        let produce = move |rows: &mut walk::Rows<(Vec<u8>, Code)>| {
            opened.reader.skipped()?.into_iter().try_for_each(|row| rows.push(row))
        };
        walk::answer(demand.output, "skipped", more, produce, path::skipped, skipped).await?;
        return Ok(Ending::Done);
    }
    let produce = move |rows: &mut walk::Rows<Entry>| entries(&opened, top.as_deref(), rows);
    walk::answer(demand.output, "entries", more, produce, fields, line).await?;
    Ok(Ending::Done)
}

fn entries(opened: &Opened, top: Option<&[u8]>, rows: &mut walk::Rows<Entry>) -> Result<()> {
    let manifest = opened.manifest();
    let mut found = match top {
        Some(top) if top != b"/" => manifest.subtree(top)?,
        _ => manifest.entries()?,
    }
    .peekable();
    if let (Some(top), None) = (top, found.peek()) {
        return Err(missing(top));
    }
    found.try_for_each(|entry| rows.push(entry?))
}

fn skipped((skipped, code): &(Vec<u8>, Code)) -> String {
    format!("{} {}", code.name(), path::text(skipped))
}

pub fn missing(wanted: &[u8]) -> Error {
    Error::new(Code::FileMissing, format!("the point has no `{}`", path::text(wanted)))
        .next("list what it has with `holdfast ls POINT`")
}

/// `/a/` means `/a`.
pub fn trimmed(mut path: Vec<u8>) -> Vec<u8> {
    while path.len() > 1 && path.ends_with(b"/") {
        path.pop();
    }
    path
}

pub fn fields(entry: &Entry) -> Value {
    let mut object = path::json(&entry.path);
    object.insert("kind".into(), word(entry.kind).into());
    object.insert("mode".into(), entry.mode.into());
    object.insert("uid".into(), entry.uid.into());
    object.insert("gid".into(), entry.gid.into());
    object.insert("user".into(), entry.user.clone().into());
    object.insert("group".into(), entry.group.clone().into());
    object.insert("size".into(), entry.size.into());
    object.insert("mtime".into(), json_time(Some(entry.mtime_ns)));
    let target = entry.link_target.as_ref();
    let target = target.map(|target| String::from_utf8_lossy(target).into_owned());
    object.insert("link_target".into(), target.into());
    object.insert("hardlink_group".into(), entry.hardlink_group.into());
    Value::Object(object)
}

pub fn line(entry: &Entry) -> String {
    let target = entry.link_target.as_ref().map(|target| format!(" -> {}", path::text(target)));
    format!(
        "{}{:04o} {:>5} {:>5} {:>11} {} {}{}",
        letter(entry.kind),
        entry.mode,
        entry.uid,
        entry.gid,
        figures::size(entry.size),
        figures::time_if_any(entry.modified_ns()),
        path::text(&entry.path),
        target.unwrap_or_default(),
    )
}

const fn word(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::BlockDevice => "block_device",
        EntryKind::CharDevice => "char_device",
        EntryKind::Directory => "directory",
        EntryKind::Fifo => "fifo",
        EntryKind::File => "file",
        EntryKind::Socket => "socket",
        EntryKind::Symlink => "symlink",
    }
}

const fn letter(kind: EntryKind) -> char {
    match kind {
        EntryKind::BlockDevice => 'b',
        EntryKind::CharDevice => 'c',
        EntryKind::Directory => 'd',
        EntryKind::Fifo => 'p',
        EntryKind::File => '-',
        EntryKind::Socket => 's',
        EntryKind::Symlink => 'l',
    }
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast ls latest
  holdfast ls latest --policy nightly /srv/images
  holdfast ls 1f0c2a9b --skipped
  holdfast ls 1f0c2a9b --from-location local:/srv/vault --bundle bundle.hfbd";
