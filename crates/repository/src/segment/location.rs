//! Where a chunk lies: in which pack, where that pack lies, and where in it.

use crate::number::{ChunkNumber, Slot};
use holdfast_common::{ChunkId, PackId, PointId, Result};

/// Everything needed to fetch one frame. Ordered as rows are, so that sorting rows sorts a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkLocation {
    pub pack: PackId,
    pub home: Home,
    /// The number of the pack's slot 0.
    pub base: ChunkNumber,
    /// From the start of the pack, wherever the pack lies.
    pub offset: u32,
    pub length: u32,
    pub slot: Slot,
    /// Position among the pack's capsules.
    pub capsule: u16,
}

impl ChunkLocation {
    pub fn number(&self) -> Result<ChunkNumber> {
        self.base.at_slot(self.slot)
    }
}

/// The object that holds a pack's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Home {
    /// An object of its own.
    Pack,
    /// Inline in the object of this point.
    Point(PointId),
}

/// One row of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentRow {
    pub chunk: ChunkId,
    pub location: ChunkLocation,
}

/// A row of the pack table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PackPlace {
    pub(super) pack: PackId,
    pub(super) home: Home,
    pub(super) base: ChunkNumber,
}

impl From<&ChunkLocation> for PackPlace {
    fn from(location: &ChunkLocation) -> Self {
        Self { pack: location.pack, home: location.home, base: location.base }
    }
}
