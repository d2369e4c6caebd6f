//! Rows that are in memory only: of packs that were stored a moment ago or whose footer was read.
//!
//! Bounded by whoever adds: when so many are here that settling is due, nothing is added before
//! they are in a file.

use holdfast_common::{ChunkId, Entropy, PackId, Result, SegmentId, VaultId, limits};
use holdfast_repository::segment::{ChunkLocation, SegmentBuilder, SegmentTable};
use std::collections::{HashMap, HashSet};

#[derive(Debug, Default)]
pub(super) struct Fresh {
    places: HashMap<ChunkId, Vec<ChunkLocation>>,
    /// With how many rows each.
    packs: HashMap<PackId, usize>,
    rows: usize,
}

impl Fresh {
    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn knows(&self, pack: &PackId) -> bool {
        self.packs.contains_key(pack)
    }

    pub(super) fn add(
        &mut self,
        pack: PackId,
        rows: impl Iterator<Item = (ChunkId, ChunkLocation)>,
    ) {
        let before = self.rows;
        for (chunk, location) in rows {
            self.places
                .entry(chunk)
                .and_modify(|places| places.push(location))
                .or_insert_with(|| vec![location]);
            self.rows += 1;
        }
        self.packs.insert(pack, self.rows - before);
    }

    /// Forgets packs with their rows.
    pub(super) fn forget(&mut self, goes: impl Fn(&PackId) -> bool) {
        let gone: HashSet<PackId> = self.packs.keys().filter(|pack| goes(pack)).copied().collect();
        if gone.is_empty() {
            return;
        }
        self.packs.retain(|pack, _| !gone.contains(pack));
        self.places.retain(|_, places| {
            places.retain(|place| !gone.contains(&place.pack));
            !places.is_empty()
        });
        self.rows = self.packs.values().sum();
    }

    pub(super) fn find(&self, chunk: &ChunkId, found: &mut Vec<ChunkLocation>) {
        found.extend(self.places.get(chunk).into_iter().flatten());
    }

    pub(super) fn chunks_in(&self, pack: &PackId, found: &mut Vec<ChunkId>) {
        if self.knows(pack) {
            let lies_here = |places: &[ChunkLocation]| places.iter().any(|p| p.pack == *pack);
            let here = self.places.iter().filter(|(_, places)| lies_here(places));
            found.extend(here.map(|(chunk, _)| *chunk));
        }
    }

    /// Sorted tables of everything, with whole packs in each.
    pub(super) fn tables(
        &self,
        vault: &VaultId,
        entropy: &dyn Entropy,
    ) -> Result<Vec<SegmentTable>> {
        let (groups, count) = self.groups();
        (0..count)
            .map(|group| {
                let mut builder = SegmentBuilder::new(*vault, SegmentId::random(entropy));
                for (chunk, places) in &self.places {
                    for place in places.iter().filter(|p| groups.get(&p.pack) == Some(&group)) {
                        builder.push(*chunk, place)?;
                    }
                }
                Ok(builder.build())
            })
            .collect()
    }

    /// Which segment each pack goes into, and how many segments that makes.
    fn groups(&self) -> (HashMap<PackId, usize>, usize) {
        let mut room: Vec<usize> = Vec::new();
        let mut groups = HashMap::with_capacity(self.packs.len());
        for (pack, rows) in &self.packs {
            let group = room.iter().position(|room| rows <= room).unwrap_or_else(|| {
                room.push(limits::SEGMENT_ROWS_MAX);
                room.len() - 1
            });
            room[group] -= rows;
            groups.insert(*pack, group);
        }
        (groups, room.len())
    }
}

const _: () = assert!(limits::PACK_SLOTS_MAX <= limits::SEGMENT_ROWS_MAX);
