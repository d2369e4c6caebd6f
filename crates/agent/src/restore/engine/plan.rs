//! The plan: entries in manifest order, each put where it belongs or handed to the transfer.
//!
//! Directories, links and special files are made at once; files get a writer, and want those of
//! their chunks that do not lie there already. Hard links come next, when their first paths are in
//! place or known not to be. What the point does not have is removed last, and only when nothing
//! was refused.

use super::super::place::{ExistingFile, Meeting, Target};
use super::super::point::PointReader;
use super::delete::{Hand, Sweep};
use super::file::{FileJob, Outcome, read_again};
use super::links::Links;
use super::run::Run;
use super::transfer::{Transfer, with_transfer};
use super::{Progress, RestoreReport, RestoreRequest};
use crate::flow::Halt;
use holdfast_common::{Code, Error, Result};
use holdfast_seal::manifest::entry::{Content, Entry, EntryKind};
use holdfast_seal::manifest::path;
use std::cmp::Ordering;
use std::sync::Arc;

pub(super) fn restore(
    halt: &Arc<Halt>,
    reader: &PointReader,
    request: &RestoreRequest,
    (target, progress): (Target, &Progress),
) -> Result<RestoreReport> {
    let sweep = request.delete.then(|| Sweep::plan(reader)).transpose()?;
    let mut links = Links::into(&target);
    let run = Run::new(reader, progress, Some(target), request.verify, Arc::clone(halt));
    with_transfer(&run, |transfer| {
        for_each(reader, &request.paths, &run, |entry| place(&run, transfer, &mut links, entry))
    })?;
    if links.any_orphans() {
        with_transfer(&run, |transfer| {
            links.adopt(&run, |entry, outcome| file(&run, transfer, entry, outcome))
        })?;
    }
    if links.any() {
        links.place(&run, &request.paths, |entry, first| link(&run, entry, first))?;
    }
    if let Some(sweep) = sweep {
        sweep_last(&run, &sweep, &request.paths)?;
    }
    let notes = match &run.target {
        Some(target) => target.finish()?,
        None => Default::default(),
    };
    Ok(RestoreReport { notes, ..run.into_report() })
}

/// Only after everything was restored, and is on the disk, may anything go.
fn sweep_last(run: &Run<'_>, sweep: &Sweep, paths: &[Vec<u8>]) -> Result<()> {
    let (refused, failed) = {
        let report = run.report();
        (report.reasons.first(), report.failure().is_some())
    };
    match refused {
        None => {
            run.target.as_ref().map_or(Ok(()), Target::sync)?;
            sweep.perform(run, paths, Hand::Remove)
        }
        Some(_) if failed => Ok(()),
        Some(code) => sweep.perform(run, paths, Hand::Leave(code)),
    }
}

/// Every selected entry in order, with the directories that lead to it.
pub(super) fn for_each(
    reader: &PointReader,
    paths: &[Vec<u8>],
    run: &Run<'_>,
    mut each: impl FnMut(Entry) -> Result<()>,
) -> Result<()> {
    let manifest = reader.manifest();
    if paths.is_empty() {
        for entry in manifest.entries()? {
            run.halt.check()?;
            each(entry?)?;
        }
        return Ok(());
    }
    let mut last_above: Vec<u8> = Vec::new();
    for top in selected(paths) {
        let mut entries = manifest.subtree(&top)?.peekable();
        if entries.peek().is_none() {
            return Err(not_in_point(&top));
        }
        for above in above(&top).filter(|above| !is_on_the_way(above, &last_above)) {
            if let Some(entry) = manifest.get(above)? {
                each(entry)?;
            }
        }
        for entry in entries {
            run.halt.check()?;
            each(entry?)?;
        }
        last_above = top;
    }
    Ok(())
}

/// In order, without those that lie beneath another.
fn selected(paths: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut paths: Vec<Vec<u8>> = paths
        .iter()
        .map(|path| match path.strip_suffix(b"/") {
            Some(rest) if !rest.is_empty() => rest.to_vec(),
            _ => path.clone(),
        })
        .collect();
    paths.sort_by(|a, b| path::order(a, b));
    paths.dedup_by(|later, earlier| later == earlier || path::is_below(earlier, later));
    paths
}

fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(|(at, _)| &path[..at])
}

fn is_on_the_way(above: &[u8], path: &[u8]) -> bool {
    path::is_below(above, path) || above.cmp(path) == Ordering::Equal
}

fn place(
    run: &Run<'_>,
    transfer: &mut Transfer<'_, '_>,
    links: &mut Links,
    entry: Entry,
) -> Result<()> {
    let Some(target) = &run.target else { return Ok(()) };
    if let Some(group) = entry.hardlink_group
        && !links.is_first(group, &entry)
    {
        return Ok(());
    }
    let placed = match entry.kind {
        EntryKind::Directory => target.make_directory(&entry),
        EntryKind::Symlink => target.place_symlink(&entry),
        EntryKind::File => {
            let outcome = links.outcome(&entry);
            return file(run, transfer, entry, outcome);
        }
        _ => target.place_special(&entry),
    };
    match placed {
        Ok(()) => run.placed(),
        Err(error) if is_there(run, &entry, &error)? => run.placed(),
        Err(error) => {
            links.outcome(&entry).failed(error.code);
            run.skip(&entry.path, error.code);
            if error.code == Code::DiskFull {
                return Err(error);
            }
        }
    }
    Ok(())
}

fn link(run: &Run<'_>, entry: &Entry, first: &[u8]) -> Result<()> {
    let Some(target) = &run.target else { return Ok(()) };
    match target.place_hardlink(entry, first) {
        Err(error) if error.code == Code::FileExists => match target.meet_link(entry, first) {
            Ok(Meeting::Same) => Ok(()),
            _ => Err(error),
        },
        placed => placed,
    }
}

/// Whether what refused the entry is the entry itself, which is then in place.
fn is_there(run: &Run<'_>, entry: &Entry, refusal: &Error) -> Result<bool> {
    let Some(target) = &run.target else { return Ok(false) };
    if refusal.code != Code::FileExists {
        return Ok(false);
    }
    match target.meet(entry) {
        Ok(Meeting::File(existing)) => is_the_file(run, entry, &existing),
        Ok(meeting) => Ok(matches!(meeting, Meeting::Same)),
        Err(_) => Ok(false),
    }
}

fn file(
    run: &Run<'_>,
    transfer: &mut Transfer<'_, '_>,
    entry: Entry,
    outcome: Outcome,
) -> Result<()> {
    let Some(target) = &run.target else { return Ok(()) };
    let refused = |error: Error| {
        outcome.failed(error.code);
        run.skip(&entry.path, error.code);
        if error.code == Code::DiskFull { Err(error) } else { Ok(()) }
    };
    let existing = target.overwrites().then(|| target.existing(&entry));
    let existing = match existing.transpose() {
        Ok(existing) => existing.flatten(),
        Err(error) => return refused(error),
    };
    let existing = match existing {
        Some(existing) if is_all_there(run, &entry, &existing)? => {
            match target.keep(&entry, existing) {
                Ok(true) => return kept(run, &entry, &outcome),
                Ok(false) => None,
                Err(error) => return refused(error),
            }
        }
        existing => existing,
    };
    let seat = run.files.enter(1, &run.halt)?;
    let writer = match target.create_file(&entry) {
        Ok(writer) => writer,
        Err(error) if is_there(run, &entry, &error)? => {
            drop(seat);
            return kept(run, &entry, &outcome);
        }
        Err(error) => return refused(error),
    };
    let job = Arc::new(FileJob::new(entry, Some(writer), outcome, seat));
    let wanted = want_all(run, transfer, &job, existing.as_ref());
    if let Err(error) = wanted {
        // A damaged list names no chunk that could be trusted to be the file's.
        run.halt.check()?;
        job.fail(error);
    }
    job.settle(run);
    Ok(())
}

fn kept(run: &Run<'_>, entry: &Entry, outcome: &Outcome) -> Result<()> {
    run.report().bytes_reused += entry.content_bytes();
    run.progress.bytes.fetch_add(entry.content_bytes(), std::sync::atomic::Ordering::Relaxed);
    let checked = if run.verify { read_again(run, entry) } else { Ok(()) };
    match checked {
        Ok(()) => run.placed(),
        Err(error) => {
            outcome.failed(error.code);
            run.skip(&entry.path, error.code);
        }
    }
    Ok(())
}

/// Wants every chunk that does not lie at its place already.
pub(in crate::restore) fn want_all(
    run: &Run<'_>,
    transfer: &mut Transfer<'_, '_>,
    job: &Arc<FileJob>,
    existing: Option<&ExistingFile>,
) -> Result<()> {
    let Some(content) = &job.entry.content else { return Ok(()) };
    let mut offset = 0;
    let mut buffer = Vec::new();
    for chunk in run.reader.manifest().chunks(content) {
        let chunk = chunk?;
        let there = existing.is_some_and(|existing| {
            buffer.resize(chunk.bytes(), 0);
            existing.read_stream(offset, &mut buffer)
                && run.reader.ids().data_id(&buffer) == chunk.id
        });
        if there {
            job.write(offset, &buffer);
            run.report().bytes_reused += chunk.bytes() as u64;
        } else {
            transfer.want(job, offset, chunk)?;
        }
        offset += u64::from(chunk.length);
    }
    Ok(())
}

/// Whether a file is the entry's, and of nobody else's.
pub(super) fn is_the_file(run: &Run<'_>, entry: &Entry, existing: &ExistingFile) -> Result<bool> {
    let may_stay = || existing.may_stay(entry.size, entry.hardlink_group.is_some());
    Ok(is_all_there(run, entry, existing)? && may_stay())
}

/// Whether every chunk lies at its place, so that nothing needs to be written.
fn is_all_there(run: &Run<'_>, entry: &Entry, existing: &ExistingFile) -> Result<bool> {
    let Some(content) = &entry.content else { return Ok(entry.size == 0) };
    if existing.status().size != entry.size {
        return Ok(false);
    }
    all_match(run, content, existing)
}

fn all_match(run: &Run<'_>, content: &Content, existing: &ExistingFile) -> Result<bool> {
    let mut offset = 0;
    let mut buffer = Vec::new();
    for chunk in run.reader.manifest().chunks(content) {
        run.halt.check()?;
        // A damaged list is met again where its file can be named.
        let Ok(chunk) = chunk else { return Ok(false) };
        buffer.resize(chunk.bytes(), 0);
        let there = existing.read_stream(offset, &mut buffer);
        if !there || run.reader.ids().data_id(&buffer) != chunk.id {
            return Ok(false);
        }
        offset += u64::from(chunk.length);
    }
    Ok(true)
}

pub(super) fn not_in_point(path: &[u8]) -> Error {
    let path = String::from_utf8_lossy(path).escape_debug().to_string();
    Error::new(Code::FileMissing, format!("the point has no `{path}`"))
        .next("list what it has with `holdfast ls`")
}
