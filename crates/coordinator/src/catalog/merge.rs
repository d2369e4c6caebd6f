//! Few files of many: those of about one size become one of the next size.
//!
//! A row is so written again once per size, however large the vault is, and the number of files
//! grows with the logarithm of it. Old files go only when what replaces them is durable; a reader
//! that still looks at one keeps it until it is done.

use super::{
    Catalog,
    file::{IndexFile, io},
};
use holdfast_common::{Entropy, Result, SegmentId};
use holdfast_repository::segment::SegmentRows;
use std::{
    fs,
    sync::{Arc, TryLockError},
};

/// So many files of one size become one.
const FILES_PER_SIZE_MAX: usize = 8;
/// Files of so few rows are all of one size.
const SMALL_ROWS: usize = 1 << 15;

impl Catalog {
    pub(crate) fn is_merge_due(&self) -> bool {
        !choose(&self.files()).is_empty()
    }

    /// Merges while there is something to merge. Blocks; one at a time, and nobody waits for it.
    pub(crate) fn merge(
        &self,
        entropy: &dyn Entropy,
        is_stopping: &dyn Fn() -> bool,
    ) -> Result<()> {
        let _one = match self.merging.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        loop {
            let chosen = choose(&self.files());
            if chosen.is_empty() {
                return Ok(());
            }
            let inputs = chosen.iter().map(|file| file.rows()).collect::<Result<_>>()?;
            let segments = chosen.iter().flat_map(|file| file.segments()).collect();
            let merged = self.write_file(inputs, segments, entropy, is_stopping)?;
            tracing::debug!(files = chosen.len(), rows = merged.len(), "index files merged");
            let stays =
                |file: &Arc<IndexFile>| !chosen.iter().any(|chosen| Arc::ptr_eq(file, chosen));
            self.swap_files(vec![merged], stays);
            chosen.iter().try_for_each(|file| file.remove())?;
        }
    }

    pub(super) fn write_file(
        &self,
        inputs: Vec<SegmentRows<'_>>,
        segments: Vec<SegmentId>,
        entropy: &dyn Entropy,
        is_stopping: &dyn Fn() -> bool,
    ) -> Result<IndexFile> {
        fs::create_dir_all(&self.directory).map_err(io("the index directory cannot be made"))?;
        IndexFile::write(&self.vault, &self.directory, inputs, segments, entropy, is_stopping)
    }
}

/// The files of the smallest size that has too many, and all that are smaller.
fn choose(files: &[Arc<IndexFile>]) -> Vec<Arc<IndexFile>> {
    let size = |file: &Arc<IndexFile>| (file.len() / SMALL_ROWS).max(1).ilog2().div_ceil(3);
    let crowded = |size_of: &u32| {
        files.iter().filter(|file| size(file) == *size_of).count() >= FILES_PER_SIZE_MAX
    };
    let Some(largest) = files.iter().map(size).filter(crowded).min() else { return Vec::new() };
    let chosen: Vec<_> = files.iter().filter(|file| size(file) <= largest).cloned().collect();
    let rows: usize = chosen.iter().map(|file| file.len()).sum();
    // What would not fit one table stays in several.
    if u32::try_from(rows).is_ok() { chosen } else { Vec::new() }
}
