//! Where every chunk of a vault lies: on disk, mapped, bounded in memory.
//!
//! ```text
//!   rows of new packs ─→ fresh (in memory, bounded) ─→ settle: a segment
//!                                                      ├─ sealed, into the vault's locations
//!                                                      └─ plain, into our own directory, mapped
//! ```
//!
//! A cache: the ledger's pack rows and the packs' footers are the truth. What a file of ours lacks
//! or what fails its checksum is read again from the locations. Absent is a safe answer to an
//! offer; never an input of collection.

mod files;
mod load;

pub(crate) use load::{add, load};

use crate::custody::VaultCustody;
use files::SegmentFile;
use holdfast_common::{ChunkId, Entropy, PackId, Result, SegmentId, VaultId, limits};
use holdfast_repository::segment::{ChunkLocation, SegmentBuilder};
use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

/// Files before they are merged into one.
const FILES_MAX: usize = 12;

/// The index of one vault.
pub(crate) struct Catalog {
    vault: VaultId,
    directory: PathBuf,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    fresh: HashMap<ChunkId, Vec<ChunkLocation>>,
    fresh_rows: usize,
    files: Vec<SegmentFile>,
    packs: HashSet<PackId>,
}

/// A segment that was made of fresh rows, to be put into the locations.
pub(crate) struct Settled {
    pub(crate) id: SegmentId,
    pub(crate) rows: u32,
    pub(crate) object: Vec<u8>,
}

impl Catalog {
    /// Opens what lies in `directory`; a damaged file is removed and its packs count as unknown.
    pub(crate) fn open(vault: VaultId, directory: &Path) -> Result<Self> {
        let directory = directory.join(vault.to_string());
        let files = files::open_all(&vault, &directory)?;
        let packs = files.iter().flat_map(|file| file.packs().iter().copied()).collect();
        let state = State { files, packs, ..State::default() };
        Ok(Self { vault, directory, state: RwLock::new(state) })
    }

    pub(crate) fn knows(&self, pack: &PackId) -> bool {
        self.read().packs.contains(pack)
    }

    /// Every place where a chunk lies.
    pub(crate) fn find(&self, chunk: &ChunkId) -> Result<Vec<ChunkLocation>> {
        let state = self.read();
        let mut found = state.fresh.get(chunk).cloned().unwrap_or_default();
        for file in &state.files {
            found.extend(file.find(chunk)?);
        }
        Ok(found)
    }

    /// Chunks that lie in a pack: for naming what its loss means. Reads everything.
    pub(crate) fn chunks_of(&self, pack: &PackId) -> Result<Vec<ChunkId>> {
        let state = self.read();
        let mut chunks: Vec<ChunkId> = state
            .fresh
            .iter()
            .filter(|(_, places)| places.iter().any(|place| place.pack == *pack))
            .map(|(chunk, _)| *chunk)
            .collect();
        for file in &state.files {
            file.chunks_of(pack, &mut chunks)?;
        }
        Ok(chunks)
    }

    pub(crate) fn add(&self, pack: PackId, rows: impl Iterator<Item = (ChunkId, ChunkLocation)>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if !state.packs.insert(pack) {
            return;
        }
        for (chunk, location) in rows {
            state.fresh.entry(chunk).or_default().push(location);
            state.fresh_rows += 1;
        }
    }

    pub(crate) fn is_due(&self) -> bool {
        self.read().fresh_rows >= limits::SEGMENT_ROWS_MAX / 4
    }

    /// Turns what is fresh into a segment; `None` when nothing is.
    pub(crate) fn settle(
        &self,
        custody: &VaultCustody,
        entropy: &dyn Entropy,
    ) -> Result<Option<Settled>> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.fresh.is_empty() {
            return Ok(None);
        }
        let id = SegmentId::random(entropy);
        let mut builder = SegmentBuilder::new(self.vault, id);
        let mut left = HashMap::new();
        for (chunk, places) in std::mem::take(&mut state.fresh) {
            for place in places {
                if builder.is_full() {
                    left.entry(chunk).or_insert_with(Vec::new).push(place);
                } else {
                    builder.push(chunk, &place)?;
                }
            }
        }
        state.fresh_rows = left.values().map(Vec::len).sum();
        state.fresh = left;
        let table = builder.build();
        let object = table.to_object(custody)?;
        state.files.push(SegmentFile::write(&self.vault, &self.directory, &table)?);
        if state.files.len() > FILES_MAX {
            let merged = files::merge(&self.vault, &self.directory, &mut state.files, entropy)?;
            state.files.extend(merged);
        }
        Ok(Some(Settled { id, rows: table.header().rows, object }))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}
