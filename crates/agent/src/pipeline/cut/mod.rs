//! The second stage: what a path is, and what its content is cut into. Several threads.
//!
//! A file that the cache knows, and that did not change, contributes its chunks by id; one in 64 of
//! those is read all the same, against rot that no time stamp shows. Everything else is read once
//! from beginning to end: cut, named and hashed on the way, and never held as a whole. A file that
//! moved while it was read is read again, at most `limits::READ_ATTEMPTS_MAX` times, and then saved
//! as it was read, flagged and reported. A path that leads to something else than the walk found
//! leaves its group of hard links, whatever it is now: a group's content is its own inode's.

mod buffer;
mod content;

use super::offer::{Known, Offered};
use super::progress::add;
use super::run::{Job, Run};
use crate::cache::{ROWS_MAX, Remembered};
use crate::source::Skipped;
use crate::source::files::{
    ContentReader, Described, LinkRole, ReadOutcome, Stability, describe, unchanged,
};
use buffer::CutBuffer;
use content::Content;
use holdfast_common::{ChunkId, Code, Result, limits};
use holdfast_seal::manifest::entry::{Entry, EntryKind, FLAG_CHANGED_WHILE_READ};

pub(super) fn cut(run: &Run<'_>) -> Result<()> {
    let mut buffer = CutBuffer::new();
    while let Some(job) = run.jobs.pop() {
        take(run, job, &mut buffer)?;
    }
    Ok(())
}

fn take(run: &Run<'_>, mut job: Job, buffer: &mut CutBuffer) -> Result<()> {
    let entry = match described(run, &mut job) {
        Ok(entry) => entry,
        Err(skipped) => {
            run.lose(job.ticket, job.role, skipped);
            return Ok(());
        }
    };
    if let LinkRole::Later(group) = job.role {
        run.link(job, entry, group);
        return Ok(());
    }
    if entry.kind != EntryKind::File {
        run.save(job.ticket, Box::new(Remembered { entry, rows: None }), job.role);
        return Ok(());
    }
    match job.remembered.take() {
        Some(remembered) if is_known(run, &remembered, &entry) => {
            let Remembered { entry: before, rows } = *remembered;
            let remembered = Remembered { entry: Entry { content: before.content, ..entry }, rows };
            offer_known(run, job, remembered)
        }
        _ => read(run, job, entry, buffer),
    }
}

/// The target of a symbolic link is read by its path: if the link was replaced meanwhile, it is the
/// new one's.
fn described(run: &Run<'_>, job: &mut Job) -> Result<Entry, Skipped> {
    for _ in 1..ATTEMPTS {
        let entry = describe_once(run, job)?;
        if entry.kind != EntryKind::Symlink || job.role == LinkRole::Alone {
            return Ok(entry);
        }
        let before = job.found.status;
        look_at(run, job)?;
        if job.found.status.same_link(&before) {
            return Ok(entry);
        }
    }
    describe_once(run, job)
}

fn describe_once(run: &Run<'_>, job: &mut Job) -> Result<Entry, Skipped> {
    let Described { mut entry, lost } = describe(&job.found, &run.owners)?;
    if let Some(code) = lost
        && !std::mem::replace(&mut job.told, true)
    {
        run.skip(Skipped::new(&job.found.path, code));
    }
    entry.hardlink_group = job.role.group();
    Ok(entry)
}

fn is_known(run: &Run<'_>, remembered: &Remembered, now: &Entry) -> bool {
    let before = &remembered.entry;
    let listed =
        before.content.as_ref().is_none_or(|c| c.lists.is_none()) || remembered.rows.is_some();
    !run.request.full
        && listed
        && unchanged(before, now, run.remembered_at)
        && !is_reread(run, &now.path)
}

/// One unchanged file in 64, others in every run.
fn is_reread(run: &Run<'_>, path: &[u8]) -> bool {
    let mut hasher = blake3::Hasher::new();
    hasher.update(run.request.run.as_bytes()).update(path);
    hasher.finalize().as_bytes()[0].is_multiple_of(REREAD_ONE_IN)
}

fn offer_known(run: &Run<'_>, job: Job, remembered: Remembered) -> Result<()> {
    let content = remembered.entry.content.as_ref();
    let rows = remembered.rows.as_ref().or(content.and_then(|content| content.chunks.as_ref()));
    let ids: Vec<_> = rows.into_iter().flatten().map(|chunk| chunk.id).collect();
    let lists = content.and_then(|content| content.lists.as_ref());
    let pages: Vec<_> = lists.into_iter().flatten().map(|list| list.page).collect();
    if ids.is_empty() {
        run.save(job.ticket, Box::new(remembered), job.role);
        return Ok(());
    }
    let charge = (ids.len() + pages.len()) * 2 * ChunkId::LEN;
    let permit = run.host.memory.in_flight.enter(charge, &run.halt)?;
    let known = Known { job, remembered: Box::new(remembered), ids, pages, _permit: permit };
    run.data.push(Offered::Known(Box::new(known)))
}

fn read(run: &Run<'_>, mut job: Job, mut entry: Entry, buffer: &mut CutBuffer) -> Result<()> {
    for attempt in 1.. {
        let (content, outcome) = match read_once(run, &job, buffer)? {
            Ok(read) => read,
            Err(skipped) if skipped.code == Code::FileChanged && attempt < ATTEMPTS => {
                if let Err(skipped) = look_again(run, &mut job, &mut entry) {
                    run.lose(job.ticket, job.role, skipped);
                    return Ok(());
                }
                continue;
            }
            Err(skipped) => {
                run.lose(job.ticket, job.role, skipped);
                return Ok(());
            }
        };
        let moved = outcome.stability == Stability::Changed;
        if moved && attempt < ATTEMPTS && look_again(run, &mut job, &mut entry).is_ok() {
            continue;
        }
        if moved {
            job.role = job.role.left();
            entry.hardlink_group = None;
            entry.flags = Some(FLAG_CHANGED_WHILE_READ);
            run.skip(Skipped::new(&job.found.path, Code::FileChanged));
        }
        entry.size = outcome.size;
        let (content, rows) = content.finish(run, outcome.ranges)?;
        entry.content = Some(content);
        let rows = rows.filter(|rows| rows.len() <= ROWS_MAX);
        run.save(job.ticket, Box::new(Remembered { entry, rows }), job.role);
        return Ok(());
    }
    Ok(())
}

/// Before another attempt.
fn look_again(run: &Run<'_>, job: &mut Job, entry: &mut Entry) -> Result<(), Skipped> {
    look_at(run, job)?;
    *entry = describe_once(run, job)?;
    Ok(())
}

/// Looks at what the path is now.
fn look_at(run: &Run<'_>, job: &mut Job) -> Result<(), Skipped> {
    let before = job.found.status;
    let now = job.found.look()?;
    if now.kind != before.kind {
        return Err(Skipped::new(&job.found.path, Code::FileChanged));
    }
    if job.role != LinkRole::Alone && !now.same_link(&before) {
        if now.same_inode(&before) {
            add(&run.progress.links_parted, 1);
        }
        job.role = job.role.left();
    }
    job.found.status = now;
    Ok(())
}

/// The outer error ends the run, the inner one this file.
fn read_once(
    run: &Run<'_>,
    job: &Job,
    buffer: &mut CutBuffer,
) -> Result<Result<(Content, ReadOutcome), Skipped>> {
    let mut reader = match ContentReader::open(&job.found) {
        Ok(reader) => reader,
        Err(skipped) => return Ok(Err(skipped)),
    };
    buffer.begin();
    let mut content = match content::begin(run, &mut reader, buffer) {
        Ok(content) => content,
        Err(skipped) => return Ok(Err(skipped)),
    };
    loop {
        run.halt.check()?;
        if let Err(skipped) = buffer.fill(&mut reader, content.window(run)) {
            return Ok(Err(skipped));
        }
        if !content.cut_next(run, buffer)? {
            return Ok(reader.finish().map(|outcome| (content, outcome)));
        }
    }
}

const ATTEMPTS: usize = limits::READ_ATTEMPTS_MAX;
const REREAD_ONE_IN: u8 = 64;
