//! What a run has done so far: counts only, never a path.
//!
//! Stages add to the counters as they go; the service looks at them twice a second, and the last
//! look goes into the point's commit.

use holdfast_wire::v1;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[derive(Debug, Default)]
pub struct Progress {
    pub(super) entries: AtomicU64,
    pub(super) bytes_read: AtomicU64,
    pub(super) bytes_new: AtomicU64,
    pub(super) bytes_stored: AtomicU64,
    pub(super) chunks_new: AtomicU64,
    pub(super) chunks_reused: AtomicU64,
    pub(super) skipped: AtomicU64,
    pub(super) links_parted: AtomicU64,
}

/// One look at the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub entries: u64,
    /// Content read from the host.
    pub bytes_read: u64,
    /// Content that the cluster did not hold, before compression.
    pub bytes_new: u64,
    /// Packs of both kinds, as they were sent.
    pub bytes_stored: u64,
    pub chunks_new: u64,
    pub chunks_reused: u64,
    pub skipped: u64,
    /// Hard links that are saved as files of their own: there were too many to keep in mind, or one
    /// of them was written to. All content is there; a restore needs more room.
    pub links_parted: u64,
}

impl Progress {
    /// A run that begins again counts again.
    pub(super) fn reset(&self) {
        let Self { entries, bytes_read, bytes_new, bytes_stored, .. } = self;
        let Self { chunks_new, chunks_reused, skipped, links_parted, .. } = self;
        let bytes = [bytes_read, bytes_new, bytes_stored];
        let others = [entries, chunks_new, chunks_reused, skipped, links_parted];
        for counter in bytes.into_iter().chain(others) {
            counter.store(0, Relaxed);
        }
    }

    pub fn look(&self) -> Counts {
        Counts {
            entries: self.entries.load(Relaxed),
            bytes_read: self.bytes_read.load(Relaxed),
            bytes_new: self.bytes_new.load(Relaxed),
            bytes_stored: self.bytes_stored.load(Relaxed),
            chunks_new: self.chunks_new.load(Relaxed),
            chunks_reused: self.chunks_reused.load(Relaxed),
            skipped: self.skipped.load(Relaxed),
            links_parted: self.links_parted.load(Relaxed),
        }
    }
}

pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Relaxed);
}

impl From<Counts> for v1::RunCounts {
    fn from(counts: Counts) -> Self {
        let Counts { entries, bytes_read, bytes_new, bytes_stored, .. } = counts;
        let Counts { chunks_new, chunks_reused, skipped, .. } = counts;
        Self { entries, bytes_read, bytes_new, bytes_stored, chunks_new, chunks_reused, skipped }
    }
}
