//! Where entries come together: in the walk's order they become the manifest's pages, the next
//! run's cache and, now and then, a checkpoint. Runs on the thread that started the run.

use super::finish::{self, Table};
use super::progress::add;
use super::run::{Done, Run};
use crate::cache::{CacheWriter, Remembered};
use crate::source::Skipped;
use crate::source::files::LinkRole;
use bytes::Bytes;
use holdfast_common::{ChunkKind, Code, PointId, Result};
use holdfast_repository::point::PointState;
use holdfast_seal::{ManifestBuilder, PlainChunk};
use std::collections::HashSet;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::Duration;

pub(super) struct Manifest<'r, 'h> {
    run: &'r Run<'h>,
    builder: ManifestBuilder<'r>,
    cache: Option<CacheWriter>,
    /// Groups of hard links whose first path was lost.
    lost: HashSet<u64>,
    checkpoint_at: Duration,
    checkpoint_bytes: u64,
}

impl<'r, 'h> Manifest<'r, 'h> {
    pub(super) fn new(run: &'r Run<'h>, cache: Option<CacheWriter>) -> Self {
        let builder = ManifestBuilder::new(&run.session.ids);
        let checkpoint_at = run.host.clock.elapsed();
        Self { run, builder, cache, lost: HashSet::new(), checkpoint_at, checkpoint_bytes: 0 }
    }

    /// Takes everything that the walk found, until the last of it is done.
    pub(super) fn gather(&mut self) -> Result<()> {
        while let Some(done) = self.run.order.take() {
            match done {
                Done::Saved(remembered, role) => self.add(*remembered, role)?,
                Done::Lost(LinkRole::First(group)) => {
                    self.lost.insert(group);
                }
                Done::Lost(_) => {}
            }
            if self.is_checkpoint_due() {
                self.checkpoint()?;
            }
        }
        self.run.halt.check()
    }

    /// Closes the manifest; its last pages are on their way.
    pub(super) fn close(self) -> Result<(Table, Option<CacheWriter>)> {
        let table = close(self.run, self.builder)?;
        Ok((table, self.cache))
    }

    fn add(&mut self, remembered: Remembered, role: LinkRole) -> Result<()> {
        if let LinkRole::Later(group) = role
            && self.lost.contains(&group)
        {
            self.run.skip(Skipped::new(&remembered.entry.path, Code::FileChanged));
            return Ok(());
        }
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
        let due = self.run.request.checkpoints;
        let since = self.run.host.clock.elapsed().saturating_sub(self.checkpoint_at);
        let bytes_new = self.run.progress.bytes_new.load(Relaxed);
        since >= due.interval || bytes_new - self.checkpoint_bytes >= due.bytes_new
    }

    /// Everything so far becomes a point of its own. One that fails is only a checkpoint missed.
    fn checkpoint(&mut self) -> Result<()> {
        let run = self.run;
        self.checkpoint_at = run.host.clock.elapsed();
        self.checkpoint_bytes = run.progress.bytes_new.load(Relaxed);
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
