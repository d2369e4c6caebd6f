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
        let chosen = choose(&state.fresh);
        for (chunk, places) in &state.fresh {
            for place in places.iter().filter(|place| chosen.contains(&place.pack)) {
                builder.push(*chunk, place)?;
            }
        }
        let table = builder.build();
        let object = table.to_object(custody)?;
        let file = SegmentFile::write(&self.vault, &self.directory, &table)?;
        // From here on nothing fails: what was fresh is in the file.
        state.files.push(file);
        for places in state.fresh.values_mut() {
            places.retain(|place| !chosen.contains(&place.pack));
        }
        state.fresh.retain(|_, places| !places.is_empty());
        state.fresh_rows = state.fresh.values().map(Vec::len).sum();
        if state.files.len() > FILES_MAX {
            self.merge(&mut state, entropy);
        }
        Ok(Some(Settled { id, rows: table.header().rows, object }))
    }

    /// Makes few files of many; when it fails, many stay.
    fn merge(&self, state: &mut State, entropy: &dyn Entropy) {
        let merged = files::merge(&self.vault, &self.directory, &state.files, entropy);
        let done = merged.and_then(|mut merged| {
            state.files.retain(|file| !merged.replaces(file));
            state.files.append(&mut merged.files);
            merged.remove_replaced()
        });
        if let Err(error) = done {
            tracing::warn!(%error, "index files could not be merged");
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whole packs, as many as one segment holds: a file that names a pack has all of its rows.
fn choose(fresh: &HashMap<ChunkId, Vec<ChunkLocation>>) -> HashSet<PackId> {
    let mut rows: HashMap<PackId, usize> = HashMap::new();
    for place in fresh.values().flatten() {
        *rows.entry(place.pack).or_default() += 1;
    }
    let mut left = limits::SEGMENT_ROWS_MAX;
    let mut chosen = HashSet::new();
    for (pack, rows) in rows {
        if rows <= left {
            left -= rows;
            chosen.insert(pack);
        }
    }
    chosen
}
