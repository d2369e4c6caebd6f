//! Finds out where the chunks of a location lie: from the segments that open, and from the footers
//! of every pack that no segment names.
//!
//! Segments are read first because a footer is bound to its whole pack, so that opening one costs
//! reading the pack. Packs that a segment names and that are not there stay in the table, marked,
//! so that a missing chunk is blamed on the pack that had it.

use super::{
    Offline, get,
    index::{Index, Place, ROWS_IN_MEMORY_MAX},
    list, points,
};
use bytes::Bytes;
use holdfast_common::{ChunkId, Code, Error, PackId, Result, SegmentId, VaultId, limits};
use holdfast_keyring::{VaultKeys, aead};
use holdfast_repository::{
    ChunkLocation, Home, Object, ObjectName, PackView, PointObject, SegmentTable,
};
use std::collections::{BTreeSet, HashMap};

/// What the location holds, ready for lookups.
pub struct Gathered {
    pub index: Index,
    pub packs: Vec<PackPlace>,
    /// Objects that could not be read or opened, each with its reason.
    pub damage: Vec<(ObjectName, Error)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackPlace {
    pub id: PackId,
    pub home: Home,
    /// False when something names the pack and it is not in the location.
    pub present: bool,
}

struct Gatherer<'a> {
    offline: &'a Offline,
    numbers: HashMap<(PackId, Home), u32>,
    found: Gathered,
}

pub async fn gather(offline: &Offline) -> Result<Gathered> {
    let found =
        Gathered { index: Index::new(ROWS_IN_MEMORY_MAX), packs: Vec::new(), damage: Vec::new() };
    let mut gatherer = Gatherer { offline, numbers: HashMap::new(), found };
    let present = gatherer.present().await?;
    gatherer.read_segments(&present).await?;
    gatherer.read_footers(&present).await?;
    gatherer.read_inline_packs().await?;
    gatherer.found.index.settle();
    Ok(gatherer.found)
}

impl Gatherer<'_> {
    async fn present(&self) -> Result<BTreeSet<PackId>> {
        let names = list(&*self.offline.store, "packs/").await?;
        let pack = |name: &ObjectName| match name.object() {
            Object::Pack(id) => Some(id),
            _ => None,
        };
        Ok(names.iter().filter_map(pack).collect())
    }

    async fn read_segments(&mut self, present: &BTreeSet<PackId>) -> Result<()> {
        for name in list(&*self.offline.store, "index/").await? {
            let Object::Segment(id) = name.object() else { continue };
            match self.segment(&name, &id).await {
                Ok(table) => {
                    for row in table.rows().iter() {
                        let row = row?;
                        self.add(row.chunk, &row.location, present)?;
                    }
                }
                Err(error) => self.found.damage.push((name, error)),
            }
        }
        Ok(())
    }

    async fn segment(&self, name: &ObjectName, id: &SegmentId) -> Result<SegmentTable> {
        let bytes = get(&*self.offline.store, name, SEGMENT_BYTES_MAX).await?;
        let keys = &self.offline.keys;
        let open = |segment: &SegmentId, aad: &[u8], sealed: &[u8]| {
            aead::open(keys.coordinator().segment_key(segment).expose(), aad, sealed)
        };
        SegmentTable::parse(&self.offline.vault.id, id, &bytes, &open)
    }

    async fn read_footers(&mut self, present: &BTreeSet<PackId>) -> Result<()> {
        for id in present {
            if self.numbers.contains_key(&(*id, Home::Pack)) {
                continue;
            }
            let name = ObjectName::pack(id);
            let read = get(&*self.offline.store, &name, limits::PACK_BYTES_MAX).await;
            let rows = read.and_then(|bytes| footer(self.offline, id, bytes, Home::Pack));
            match rows {
                Ok(rows) => self.add_all(&rows, present)?,
                Err(error) => self.found.damage.push((name, error)),
            }
        }
        Ok(())
    }

    /// Those of refused points too: that a point is not proven says nothing of its chunks, which
    /// authenticate themselves and which others may use.
    async fn read_inline_packs(&mut self) -> Result<()> {
        let offline = self.offline;
        let accepted = offline.points.iter().filter(|point| point.has_inline_packs);
        let accepted = accepted.map(|point| (point.record.point, true));
        let refused = offline.refused.iter().map(|refused| (refused.id, false));
        for (id, was_whole) in accepted.chain(refused) {
            let name = ObjectName::point(&id);
            match points::object(offline, &name, &id).await {
                Ok(object) => self.add_inline_packs(&object)?,
                Err(error) if was_whole => self.found.damage.push((name, error)),
                // Said when the points were read.
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn add_inline_packs(&mut self, object: &PointObject) -> Result<()> {
        let id = object.record().point;
        let home = Home::Point(id);
        for (pack, bytes) in object.record().inline_packs.iter().zip(object.inline()) {
            if self.numbers.contains_key(&(*pack, home)) {
                continue;
            }
            match footer(self.offline, pack, bytes.clone(), home) {
                Ok(rows) => self.add_all(&rows, &BTreeSet::new())?,
                Err(error) => self.found.damage.push((ObjectName::point(&id), error)),
            }
        }
        Ok(())
    }

    fn add_all(
        &mut self,
        rows: &[(ChunkId, ChunkLocation)],
        present: &BTreeSet<PackId>,
    ) -> Result<()> {
        rows.iter().try_for_each(|(chunk, location)| self.add(*chunk, location, present))
    }

    fn add(
        &mut self,
        chunk: ChunkId,
        location: &ChunkLocation,
        present: &BTreeSet<PackId>,
    ) -> Result<()> {
        let ChunkLocation { pack: id, home, offset, length, capsule, .. } = *location;
        let packs = &mut self.found.packs;
        let pack = *self.numbers.entry((id, home)).or_insert_with(|| {
            let present = home != Home::Pack || present.contains(&id);
            packs.push(PackPlace { id, home, present });
            packs.len() as u32 - 1
        });
        self.found.index.push(chunk, Place { pack, offset, length, capsule })
    }
}

/// The rows of a pack, after its hash was found to be its name.
fn footer(
    offline: &Offline,
    id: &PackId,
    bytes: Bytes,
    home: Home,
) -> Result<Vec<(ChunkId, ChunkLocation)>> {
    let vault: &VaultId = &offline.vault.id;
    let view = PackView::parse(vault, bytes)?;
    view.verify(id)?;
    let keys: &VaultKeys = &offline.keys;
    let open = |version: u32, digest: &[u8; 32], sealed: &[u8]| {
        keys.index_private(version)?.open_footer(digest, sealed)
    };
    let footer = view.open_footer(&open)?;
    Ok(footer.locations(*id, home, NO_NUMBER).collect())
}

impl Gathered {
    /// Why a chunk cannot be given: the pack that had it, if that is known. It may as well lie in
    /// something that could not be read, and then it is not called missing.
    pub fn missing(&self, chunk: &ChunkId) -> Error {
        let lost = self.index.lookup(chunk).ok().and_then(|places| {
            places.iter().find_map(|place| self.packs.get(place.pack as usize).copied())
        });
        let unread = self.damage.iter().find(|(_, error)| is_unread(error.code));
        if let (None, Some((name, error))) = (lost, unread) {
            let message = format!("a chunk may lie in {name}, which cannot be read");
            let cause = error.cause.as_ref().unwrap_or(&error.message);
            return Error::new(error.code, message).cause(cause);
        }
        match lost {
            Some(pack) => Error::new(Code::PackMissing, format!("pack {} is missing", pack.id)),
            None => Error::new(Code::ChunkMissing, "a chunk is in no pack of the location"),
        }
        .next("restore from another location, or another point")
    }
}

/// Whether a location refused or failed to give what it has: that says nothing of the bytes.
pub const fn is_unread(code: Code) -> bool {
    matches!(code, Code::LocationIoFailed | Code::LocationRefused)
}

/// Offline nothing counts chunks.
const NO_NUMBER: holdfast_repository::ChunkNumber = holdfast_repository::ChunkNumber::from_u64(0);
/// A full segment: pack table and rows with room to spare.
const SEGMENT_BYTES_MAX: usize = limits::SEGMENT_ROWS_MAX * 128;
