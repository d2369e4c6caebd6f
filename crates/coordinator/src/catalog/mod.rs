//! Where every chunk of a vault lies: on disk, mapped, bounded in memory.
//!
//! ```text
//!   rows of new packs ─→ fresh (in memory, bounded) ─→ settle ─→ a segment, into the locations
//!        and of footers                                    └───→ a file of our own, mapped
//!                                                                   │ many of about one size
//!                                                                   └─→ merge: one larger file
//! ```
//!
//! A cache: the ledger's pack rows and the packs' footers are the truth. What no file of ours holds
//! is loaded in the background (`load`) while the vault is in use: absent is a safe answer to an
//! offer, and whoever must know waits for [`Catalog::loaded`]. Never an input of collection.
//! Nothing here blocks readers for longer than a swap: files are read and written outside the lock.

mod file;
mod follow;
mod footer;
mod fresh;
mod load;
mod lost;
mod merge;
mod settle;
#[cfg(test)]
mod tests;

pub(crate) use follow::follow;
pub(crate) use footer::sealed_to_in;
pub(crate) use load::keep;
pub(crate) use settle::Outlet;

use crate::{keys::custody::VaultCustody, places::Place};
use file::IndexFile;
use fresh::Fresh;
use holdfast_common::{
    ChunkId, Code, Error, PackId, Result, SegmentId, Timestamp, VaultId, limits,
};
use holdfast_ledger::row::{PackHome, PackRow};
use holdfast_repository::{
    number::{ChunkNumber, Slot},
    pack::Footer,
    segment::{ChunkLocation, Home},
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, watch};

/// The footer of a pack, as one location has it.
pub(crate) async fn footer_in(
    row: &PackRow,
    place: &Place,
    custody: &VaultCustody,
) -> Result<Footer> {
    footer::SealedFooter::read(row, place).await?.open(row, custody)
}

/// Every number that a pack's frames answer to, with the chunk that it is of.
pub(crate) fn rows_of(
    row: &PackRow,
    footer: &Footer,
) -> impl Iterator<Item = (ChunkId, ChunkLocation)> {
    let home = match row.home {
        PackHome::Object => Home::Pack,
        PackHome::Point(point, _) => Home::Point(point),
    };
    let own = footer.locations(row.id, home, ChunkNumber::from_u64(row.base));
    // By the row: what a footer says by itself of numbers counts for nothing.
    let taken = row.taken().iter().filter_map(move |run| {
        let slot = Slot::try_from(run.slot as usize).ok()?;
        let run = (ChunkNumber::from_u64(run.number), slot, run.count);
        Some(footer.taken_locations(row.id, home, run))
    });
    own.chain(taken.flatten())
}

/// The index of one vault.
pub(crate) struct Catalog {
    vault: VaultId,
    directory: PathBuf,
    state: RwLock<State>,
    progress: watch::Sender<Progress>,
    /// Somebody waits for what could not be loaded, or there is more to load.
    hurry: Notify,
    is_kept: AtomicBool,
    /// Held from what was fresh until its segment is in the locations.
    settling: tokio::sync::Mutex<()>,
    /// Segments that are on our disk and not in the ledger yet, in their order.
    unshipped: Mutex<Vec<SegmentId>>,
    merging: Mutex<()>,
    news: Mutex<follow::News>,
    /// Up to which index of the log everything is known that was stored.
    followed: watch::Sender<u64>,
    /// News were taken and are not in the index yet.
    is_learning: watch::Sender<bool>,
    /// All rows are to be looked through.
    look: AtomicBool,
    lost: lost::Lost,
}

#[derive(Default)]
struct State {
    fresh: Fresh,
    /// What is being written to a file.
    settling: Option<Arc<Fresh>>,
    files: Files,
}

type Files = Arc<Vec<Arc<IndexFile>>>;

/// How far the index is behind the ledger.
#[derive(Clone, Debug)]
pub(crate) enum Progress {
    Loading,
    /// Some packs could not be asked; it is tried again.
    Waiting {
        packs: usize,
        since: Timestamp,
        why: Error,
    },
    /// Every pack that can be read is here.
    Loaded,
}

impl Catalog {
    /// An index that knows nothing yet.
    pub(crate) fn new(vault: VaultId, directory: &Path) -> Self {
        Self {
            vault,
            directory: directory.join(vault.to_string()),
            state: RwLock::default(),
            progress: watch::Sender::new(Progress::Loading),
            hurry: Notify::new(),
            is_kept: AtomicBool::new(false),
            settling: tokio::sync::Mutex::default(),
            unshipped: Mutex::default(),
            merging: Mutex::default(),
            news: Mutex::default(),
            followed: watch::Sender::new(0),
            is_learning: watch::Sender::new(false),
            look: AtomicBool::new(false),
            lost: lost::Lost::default(),
        }
    }

    /// Opens our own files, one after the other; a damaged one is removed and its packs count as
    /// unknown. Blocks; nothing may be settled meanwhile.
    fn open_files(&self) -> Result<()> {
        let _no_merge = self.merging.lock().unwrap_or_else(PoisonError::into_inner);
        let listed = file::io("the index cannot be listed");
        fs::create_dir_all(&self.directory)
            .map_err(file::io("the index directory cannot be made"))?;
        for entry in fs::read_dir(&self.directory).map_err(&listed)? {
            let entry = entry.map_err(&listed)?;
            let path = entry.path();
            let is_part = entry.file_name().to_string_lossy().starts_with(file::PART);
            if is_part {
                fs::remove_file(&path).map_err(file::io("a part of an index file stays"))?;
                continue;
            }
            // Some may have been settled before we came.
            let is_open = self.files().iter().any(|file| file.is_at(&path));
            if is_open || self.find_unshipped(&path) {
                continue;
            }
            match IndexFile::open(&self.vault, path.clone()) {
                Ok(file) => self.swap_files(vec![file], |_| true),
                Err(error) => {
                    tracing::warn!(%error, "an index file is made again from the locations");
                    fs::remove_file(&path).map_err(file::io("an index file stays"))?;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn knows(&self, pack: &PackId) -> bool {
        let (in_memory, files) = {
            let state = self.read();
            (state.knows_fresh(pack), state.files.clone())
        };
        in_memory || files.iter().any(|file| file.knows(pack))
    }

    /// Every place where a chunk lies, in the order of the packs.
    pub(crate) fn find(&self, chunk: &ChunkId) -> Result<Vec<ChunkLocation>> {
        let mut found = Vec::new();
        let files = {
            let state = self.read();
            state.in_memory().for_each(|fresh| fresh.find(chunk, &mut found));
            state.files.clone()
        };
        for file in files.iter() {
            file.find(chunk, &mut found)?;
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Chunks that lie in a pack: for naming what its loss means. Reads everything; blocks.
    pub(crate) fn chunks_of(&self, pack: &PackId) -> Result<Vec<ChunkId>> {
        let mut chunks = Vec::new();
        let files = {
            let state = self.read();
            state.in_memory().for_each(|fresh| fresh.chunks_in(pack, &mut chunks));
            state.files.clone()
        };
        for file in files.iter() {
            file.chunks_in(pack, &mut chunks)?;
        }
        chunks.sort_unstable();
        chunks.dedup();
        Ok(chunks)
    }

    /// Puts the rows of one stored pack into the index.
    pub(crate) fn add(&self, row: &PackRow, footer: &Footer) {
        self.add_rows(row.id, rows_of(row, footer));
    }

    fn add_rows(&self, pack: PackId, rows: impl Iterator<Item = (ChunkId, ChunkLocation)>) {
        if self.knows(&pack) {
            return;
        }
        let mut state = self.write();
        // Another may have been faster. Rows that are there twice are found once.
        if !state.knows_fresh(&pack) {
            state.fresh.add(pack, rows);
        }
    }

    pub(crate) fn is_due(&self) -> bool {
        self.read().fresh.rows() >= limits::SEGMENT_ROWS_MAX / 4
    }

    pub(crate) fn is_loaded(&self) -> bool {
        matches!(*self.progress.borrow(), Progress::Loaded)
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Waits until what is absent here was absent from the vault at an index of the log. Not for
    /// ever.
    pub(crate) async fn loaded(&self, upto: u64) -> Result<()> {
        let mut progress = self.progress.subscribe();
        if !self.is_loaded() {
            self.look_again();
        }
        let loaded = progress.wait_for(|progress| matches!(progress, Progress::Loaded));
        let in_time = tokio::time::timeout(PATIENCE, loaded).await.is_ok();
        if in_time { self.heard(upto).await } else { Err(self.loading()) }
    }

    /// There may be packs to load or segments to ship; soon, and nobody waits for it.
    pub(crate) fn look_again(&self) {
        self.look.store(true, Ordering::Relaxed);
        self.hurry.notify_one();
    }

    fn loading(&self) -> Error {
        let error = Error::new(Code::IndexLoading, "the index of the vault is still being loaded");
        match self.progress() {
            Progress::Waiting { why, .. } => error.cause(why),
            _ => error,
        }
    }

    /// True once: whoever asks first keeps this index.
    fn is_first_keeper(&self) -> bool {
        !self.is_kept.swap(true, Ordering::Relaxed)
    }

    fn files(&self) -> Files {
        self.read().files.clone()
    }

    fn swap_files(&self, new: Vec<IndexFile>, stays: impl Fn(&Arc<IndexFile>) -> bool) {
        self.write().swap_files(new, stays);
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn in_memory(&self) -> impl Iterator<Item = &Fresh> {
        std::iter::once(&self.fresh).chain(self.settling.as_deref())
    }

    fn knows_fresh(&self, pack: &PackId) -> bool {
        self.in_memory().any(|fresh| fresh.knows(pack))
    }

    fn swap_files(&mut self, new: Vec<IndexFile>, stays: impl Fn(&Arc<IndexFile>) -> bool) {
        let kept = self.files.iter().filter(|file| stays(file)).cloned();
        self.files = Arc::new(kept.chain(new.into_iter().map(Arc::new)).collect());
    }
}

/// How long a reader waits for the index to be loaded.
const PATIENCE: Duration = Duration::from_secs(limits::INDEX_WAIT_SECS);
