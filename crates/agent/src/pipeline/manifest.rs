//! Where entries come together: in the walk's order they become the manifest's pages, the next
//! run's cache and, now and then, a checkpoint. Runs on the thread that started the run.

use super::Checkpoints;
use super::finish::{self, Table};
use super::progress::{Progress, add};
use super::run::{Done, Job, Linked, Run};
use crate::cache::{CacheWriter, Remembered};
use crate::flow::Popped;
use crate::source::Skipped;
use crate::source::files::{Found, LinkRole, Status};
use bytes::Bytes;
use holdfast_common::{ChunkKind, Code, PointId, Result};
use holdfast_repository::point::PointState;
use holdfast_seal::manifest::entry::EntryKind;
use holdfast_seal::{ManifestBuilder, PlainChunk};
use std::collections::HashSet;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::Duration;

pub(super) struct Manifest<'r, 'h> {
    run: &'r Run<'h>,
    builder: ManifestBuilder<'r>,
    cache: Option<CacheWriter>,
    /// Groups of hard links that have no first path: it was lost, or is something else by now.
    lost: HashSet<u64>,
    checkpoint: Mark,
}

/// How far the run was when a checkpoint was made last.
#[derive(Clone, Copy)]
struct Mark {
    at: Duration,
    bytes_new: u64,
    /// Entries that were done, and chunks that were found to be new or known.
    work: u64,
}

impl Mark {
    /// Whether it is time for the next one. While a read hangs and nothing comes, each would be
    /// what the one before it was.
    fn is_due(&self, now: &Self, due: Checkpoints) -> bool {
        let is_time = now.at.saturating_sub(self.at) >= due.interval && now.work != self.work;
        is_time || now.bytes_new - self.bytes_new >= due.bytes_new
    }
}

impl<'r, 'h> Manifest<'r, 'h> {
    pub(super) fn new(run: &'r Run<'h>, cache: Option<CacheWriter>) -> Self {
        let builder = ManifestBuilder::new(&run.session.ids);
        let checkpoint = Mark { at: run.host.clock.elapsed(), bytes_new: 0, work: 0 };
        Self { run, builder, cache, lost: HashSet::new(), checkpoint }
    }

    /// Takes everything that the walk found, until the last of it is done.
    pub(super) fn gather(&mut self) -> Result<()> {
        loop {
            match self.run.order.take() {
                Popped::Item(done) => self.take_in(done)?,
                // A very large file lets nothing through for hours, and more and more is stored.
                Popped::Empty => {}
                Popped::Closed => return self.run.halt.check(),
            }
            if self.is_checkpoint_due() {
                self.checkpoint()?;
                // Its own pages are chunks too, and nothing that came.
                self.checkpoint = self.mark();
            }
        }
    }

    fn take_in(&mut self, done: Done) -> Result<()> {
        match done {
            Done::Saved(remembered, role) => {
                if let LinkRole::Former(group) = role {
                    self.lost.insert(group);
                }
                self.add(*remembered)
            }
            Done::Linked(linked) => self.link(*linked),
            Done::Lost(LinkRole::First(group) | LinkRole::Former(group)) => {
                self.lost.insert(group);
                Ok(())
            }
            Done::Lost(_) => Ok(()),
        }
    }

    /// Closes the manifest; its last pages are on their way.
    pub(super) fn close(self) -> Result<(Table, Option<CacheWriter>)> {
        let table = close(self.run, self.builder)?;
        Ok((table, self.cache))
    }

    /// A link to what the first path of its group was when it was saved. If it was lost, or has
    /// become something else, this path is the first.
    fn link(&mut self, linked: Linked) -> Result<()> {
        let Linked { entry, group, status } = linked;
        if self.lost.contains(&group) && entry.kind == EntryKind::File {
            return self.read(&entry.path, group, &status);
        }
        self.lost.remove(&group);
        self.add(Remembered { entry, rows: None })
    }

    /// Sends the path back to be read, and its ticket is the oldest again.
    fn read(&mut self, path: &[u8], group: u64, before: &Status) -> Result<()> {
        let run = self.run;
        let found = match Found::at(path) {
            Ok(found) if is_file_of(found.status, before.inode.device) => found,
            other => {
                let changed = Skipped::new(path, Code::FileChanged);
                run.skip(other.err().unwrap_or(changed));
                return Ok(());
            }
        };
        let role = if found.status.same_link(before) {
            self.lost.remove(&group);
            LinkRole::First(group)
        } else {
            add(&run.progress.links_parted, u64::from(found.status.same_inode(before)));
            LinkRole::Alone
        };
        let ticket = run.order.reopen();
        run.jobs.return_to_front(Job { ticket, found, role, remembered: None, told: true });
        Ok(())
    }

    fn add(&mut self, remembered: Remembered) -> Result<()> {
        add(&self.run.progress.entries, 1);
        if remembered.entry.content.is_some() {
            self.remember(&remembered);
        }
        self.builder.push(remembered.entry, &mut |page| self.run.send(page))
    }

    /// A cache that cannot be written costs the next run a full read, and this one nothing.
    fn remember(&mut self, remembered: &Remembered) {
        if let Some(cache) = &mut self.cache
            && let Err(error) = cache.push(remembered)
        {
            tracing::warn!(%error, "the next backup will read everything");
            self.cache = None;
        }
    }

    fn is_checkpoint_due(&self) -> bool {
        self.checkpoint.is_due(&self.mark(), self.run.request.checkpoints)
    }

    fn mark(&self) -> Mark {
        let Progress { entries, bytes_new, chunks_new, chunks_reused, .. } = &*self.run.progress;
        let work = [entries, chunks_new, chunks_reused].map(|counter| counter.load(Relaxed));
        let at = self.run.host.clock.elapsed();
        Mark { at, bytes_new: bytes_new.load(Relaxed), work: work.iter().sum() }
    }

    /// Everything so far becomes a point of its own. Of a file that is still being read it has no
    /// entry; but what was stored of it counts as needed, as all that the session has reached does.
    /// One that fails is only a checkpoint missed.
    fn checkpoint(&mut self) -> Result<()> {
        let run = self.run;
        let table = close(run, self.builder.clone())?;
        run.flush.store(true, Release);
        let stored = run.unsettled.barrier(&run.halt);
        run.flush.store(false, Release);
        stored?;
        let point = PointId::random(&*run.host.entropy);
        let record = finish::record(run, &table, point, PointState::Checkpoint, &[])?;
        let request = finish::request(run, &record, Vec::new());
        match run.halt.wait_for(&run.host.handle, run.ingest.checkpoint(request)) {
            Ok(_) => tracing::info!(run = %run.request.run, "checkpoint committed"),
            Err(error) => {
                run.halt.check()?;
                tracing::warn!(%error, "a checkpoint was not committed; the run goes on");
            }
        }
        Ok(())
    }
}

fn is_file_of(status: Status, device: u64) -> bool {
    status.kind == EntryKind::File && status.inode.device == device
}

fn close(run: &Run<'_>, builder: ManifestBuilder<'_>) -> Result<Table> {
    let root = builder.finish(&mut |page| run.send(page))?;
    let skipped_page = match run.skipped.page() {
        Some(page) => {
            let chunk = PlainChunk::new(&run.session.ids, ChunkKind::Page, Bytes::from(page));
            let id = chunk.id;
            run.send(chunk)?;
            Some(id)
        }
        None => None,
    };
    Ok(Table { root, skipped: run.skipped.count(), skipped_page })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_checkpoint_is_made_while_nothing_comes() {
        let due = Checkpoints { interval: Duration::from_secs(300), bytes_new: 1000 };
        let mark = |secs, bytes_new, work| Mark { at: Duration::from_secs(secs), bytes_new, work };
        let last = mark(100, 500, 7);
        assert!(!last.is_due(&mark(1000, 500, 7), due), "a read hangs");
        assert!(last.is_due(&mark(400, 500, 8), due), "a known chunk of a large file, say");
        assert!(!last.is_due(&mark(399, 500, 8), due));
        assert!(last.is_due(&mark(100, 1500, 7), due), "there is much to keep");
        assert!(!last.is_due(&mark(2000, 5000, 8), Checkpoints::NEVER));
    }
}
