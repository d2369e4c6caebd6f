//! What the ledger needs while it runs: snapshots when they are due, and somebody who notices when
//! it has stopped.
//!
//! Snapshots are asked for here and not by openraft, which takes one that cannot be written for the
//! end of the member: on a disk without room for it the log simply grows until there is some.

use super::{Ledger, snapshot, types::Types};
use holdfast_common::{Code, Error, Result};
use openraft::{async_runtime::WatchReceiver, error::Fatal};
use std::{fs::File, time::Duration};
use tokio_util::sync::CancellationToken;

/// How long a disk may be full before the reserve is given up.
const ROOM_LOOK: Duration = Duration::from_millis(200);
/// How long a snapshot of a large ledger may take.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(600);

impl Ledger {
    /// Runs until `shutdown`; an error says that the ledger has stopped for good.
    pub(crate) async fn keep(self, shutdown: CancellationToken) -> Result<()> {
        let mut applied = self.applied();
        let mut asked = 0;
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                error = self.failure() => return Err(error),
                // Whatever stopped applying stopped the ledger.
                changed = applied.changed() => if changed.is_err() {
                    return Err(self.failure().await);
                },
                () = tokio::time::sleep(ROOM_LOOK) => {}
            }
            self.room.yield_reserve();
            let (now, newest) = (*applied.borrow_and_update(), self.newest_snapshot());
            if now.saturating_sub(newest.max(asked)) >= self.snapshot_every
                && self.room.fits(self.tables_bytes())
            {
                asked = now;
                if let Err(error) = self.raft.trigger().snapshot().await {
                    tracing::warn!(%error, "a snapshot could not be asked for");
                }
            }
        }
    }

    /// Ends when the ledger has stopped for good, which a failed write does to it.
    async fn failure(&self) -> Error {
        let mut metrics = self.raft.metrics();
        loop {
            if let Err(fatal) = &metrics.borrow_watched().running_state {
                return self.stopped(fatal);
            }
            if metrics.changed().await.is_err() {
                return self.stopped(&Fatal::Stopped);
            }
        }
    }

    pub(super) fn stopped(&self, fatal: &Fatal<Types>) -> Error {
        if let Some(unknown) = self.knowledge.met() {
            return unknown;
        }
        match self.room.shortage() {
            Some(full) => Error::new(full.code, "the ledger has stopped: its disk is full")
                .cause(fatal)
                .next("free space on the coordinator's disk and start the coordinator again"),
            None => Error::new(Code::FileIoFailed, "the ledger has stopped").cause(fatal),
        }
    }

    /// A snapshot that holds everything up to `since` at least, as an open file that nobody takes
    /// away: the newest there is, or one that is made now where that is older.
    pub(crate) async fn snapshot_of_now(&self, since: u64) -> Result<(u64, File)> {
        let now = *self.applied().borrow();
        // One that is being made anyway is as good as a new one.
        let wanted = since.max(now.saturating_sub(self.snapshot_every / 2));
        if self.newest_snapshot() < wanted {
            if !self.room.fits(self.tables_bytes()) {
                return Err(Error::new(Code::DiskFull, "there is no room for a snapshot"));
            }
            let asked = self.raft.trigger().snapshot().await;
            asked.map_err(|fatal| self.stopped(&fatal))?;
            let made = |now: &openraft::RaftMetrics<Types>| {
                now.snapshot.as_ref().is_some_and(|id| id.index >= wanted)
            };
            let wait = self.raft.wait(Some(SNAPSHOT_WAIT)).metrics(made, "a snapshot").await;
            wait.map_err(|error| Error::new(Code::ClusterBusy, "no snapshot yet").cause(error))?;
        }
        let directory = self.snapshots();
        let open = move || -> Result<(u64, File)> {
            let Some((head, path)) = snapshot::newest(&directory)? else {
                return Err(Error::new(Code::LogDamaged, "there is no snapshot"));
            };
            let index = head.applied.map_or(0, |id| id.parts().2);
            let file = File::open(path);
            file.map(|file| (index, file))
                .map_err(|error| Error::io("a snapshot cannot be read", &error))
        };
        let opened = tokio::task::spawn_blocking(open).await;
        opened.map_err(|error| Error::new(Code::InternalBug, "a snapshot").cause(error))?
    }

    fn newest_snapshot(&self) -> u64 {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.snapshot.as_ref().map_or(0, |id| id.index)
    }

    /// At least what a snapshot takes: its rows are those of the tables.
    fn tables_bytes(&self) -> u64 {
        std::fs::metadata(&*self.tables_file).map_or(0, |file| file.len())
    }
}
