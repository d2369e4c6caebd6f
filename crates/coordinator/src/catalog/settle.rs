//! Fresh rows on their way out of memory: into a file of our own, and into every location.
//!
//! ```text
//!   fresh ─→ frozen ─→ a segment on our disk ─→ a file of our own: out of memory
//!                        └─→ every location ─→ the ledger ─→ gone from our disk
//! ```
//!
//! Rows may leave memory while a location is away, and the process may end at any step: a segment
//! stays on our disk, to the byte, until the ledger has it, so no row is in our files only. To ship
//! it once more changes nothing. Lost with our whole directory it is made again from footers.

use super::{
    Catalog,
    file::{self, io},
    fresh::Fresh,
};
use crate::keys::custody::VaultCustody;
use bytes::Bytes;
use futures::future::BoxFuture;
use holdfast_common::{Entropy, Result, SegmentId};
use holdfast_ledger::row::SegmentRow;
use holdfast_repository::segment::SegmentTable;
use holdfast_runtime::tasks::Tasks;
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, MutexGuard, PoisonError},
};

/// The beginning of the name of a segment that is not in the ledger yet.
const UNSHIPPED: &str = "unshipped-";

/// Where segments go: into every location, then into the ledger. The same one may come again.
pub(crate) trait Outlet: Send + Sync {
    fn ship(&self, segment: SegmentRow, object: Bytes) -> BoxFuture<'_, Result<()>>;
}

impl Catalog {
    /// All that is fresh into files, and all segments out, those that failed before first. An error
    /// leaves the rest for the next time. One at a time; who comes meanwhile waits.
    pub(crate) async fn settle(
        self: &Arc<Self>,
        custody: &Arc<VaultCustody>,
        entropy: &Arc<dyn Entropy>,
        tasks: &Tasks,
        outlet: &dyn Outlet,
    ) -> Result<()> {
        let _one = self.settling.lock().await;
        let (catalog, sealer, entropy) = (self.clone(), custody.clone(), entropy.clone());
        let write = move || catalog.write_fresh(&sealer, entropy.as_ref());
        tasks.run_blocking("settle", write).await?;
        let unshipped = self.unshipped().clone();
        for id in unshipped {
            let (catalog, opener) = (self.clone(), custody.clone());
            let read = move || catalog.read_unshipped(&id, &opener);
            if let Some((segment, object)) = tasks.run_blocking("settle", read).await? {
                outlet.ship(segment, object).await?;
            }
            let catalog = self.clone();
            tasks.run_blocking("settle", move || catalog.forget_unshipped(&id)).await?;
        }
        Ok(())
    }

    pub(crate) fn is_shipped(&self) -> bool {
        self.unshipped().is_empty()
    }

    /// Turns what is fresh into files and unshipped segments. Readers go on: what is being written
    /// is found in memory until it is found in the file.
    pub(super) fn write_fresh(&self, custody: &VaultCustody, entropy: &dyn Entropy) -> Result<()> {
        // What could not be written the last time goes first, alone; then what came since.
        while let Some((rows, is_last)) = self.freeze() {
            self.write_frozen(&rows, custody, entropy)?;
            if is_last {
                break;
            }
        }
        Ok(())
    }

    fn write_frozen(
        &self,
        rows: &Fresh,
        custody: &VaultCustody,
        entropy: &dyn Entropy,
    ) -> Result<()> {
        let (mut files, mut segments) = (Vec::new(), Vec::new());
        let mut write = || {
            for table in rows.tables(&self.vault, entropy)? {
                let id = table.header().segment;
                segments.push(id);
                self.write_unshipped(&id, &table.to_object(custody)?)?;
                files.push(self.write_file(vec![table.rows()], vec![id], entropy, &|| false)?);
            }
            Ok(())
        };
        if let Err(error) = write() {
            // The rows stay in memory and are written under other names the next time.
            for file in &files {
                let _stays_until_a_merge = file.remove();
            }
            for id in &segments {
                let _goes_out_for_nothing = fs::remove_file(self.path_of_unshipped(id));
            }
            return Err(error);
        }
        // From here on nothing fails: what was fresh is in the files.
        self.unshipped().extend(segments);
        let mut state = self.write();
        state.settling = None;
        state.swap_files(files, |_| true);
        Ok(())
    }

    /// What is to be written next, and whether that is all.
    pub(super) fn freeze(&self) -> Option<(Arc<Fresh>, bool)> {
        let mut state = self.write();
        let is_left_over = state.settling.is_some();
        if !is_left_over && !state.fresh.is_empty() {
            state.settling = Some(Arc::new(std::mem::take(&mut state.fresh)));
        }
        state.settling.clone().map(|rows| (rows, !is_left_over))
    }

    fn write_unshipped(&self, id: &SegmentId, object: &[u8]) -> Result<()> {
        fs::create_dir_all(&self.directory).map_err(io("the index directory cannot be made"))?;
        let part = self.directory.join(format!("{}{id}", file::PART));
        let written = File::create(&part).and_then(|mut file| {
            file.write_all(object)?;
            file.sync_data()
        });
        let renamed = written.and_then(|()| fs::rename(&part, self.path_of_unshipped(id)));
        if let Err(error) = renamed {
            // What cannot be removed either goes at the next start.
            let _ = fs::remove_file(&part);
            return Err(io("a segment cannot be written")(error));
        }
        crate::store::sync_directory(&self.directory)
    }

    /// None when there is nothing to ship: what is damaged here is in the footers still.
    fn read_unshipped(
        &self,
        id: &SegmentId,
        custody: &VaultCustody,
    ) -> Result<Option<(SegmentRow, Bytes)>> {
        let object = match fs::read(self.path_of_unshipped(id)) {
            Ok(object) => object,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io("a segment cannot be read")(error)),
        };
        let table = match SegmentTable::parse(&self.vault, id, &object, custody) {
            Ok(table) => table,
            Err(error) => {
                tracing::error!(%error, segment = %id, "a segment is in no location and damaged");
                return Ok(None);
            }
        };
        let segment = SegmentRow {
            id: *id,
            vault: self.vault,
            rows: table.header().rows,
            length: object.len() as u64,
            hash: *blake3::hash(&object).as_bytes(),
        };
        Ok(Some((segment, object.into())))
    }

    fn forget_unshipped(&self, id: &SegmentId) -> Result<()> {
        match fs::remove_file(self.path_of_unshipped(id)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io("a segment that was shipped stays")(error));
            }
            _ => self.unshipped().retain(|unshipped| unshipped != id),
        }
        tracing::debug!(segment = %id, "index segment settled");
        Ok(())
    }

    /// Takes up what an earlier process left, when that is what the path names.
    pub(super) fn find_unshipped(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(id) = name.and_then(|name| name.strip_prefix(UNSHIPPED)) else { return false };
        if let Ok(id) = id.parse() {
            let mut unshipped = self.unshipped();
            if !unshipped.contains(&id) {
                unshipped.push(id);
            }
        }
        true
    }

    fn path_of_unshipped(&self, id: &SegmentId) -> PathBuf {
        self.directory.join(format!("{UNSHIPPED}{id}"))
    }

    fn unshipped(&self) -> MutexGuard<'_, Vec<SegmentId>> {
        self.unshipped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
