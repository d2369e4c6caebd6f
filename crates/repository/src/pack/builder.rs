//! Composing a pack: capsules first, then frames, then the footer.
//!
//! The builder allocates its buffer once, at the largest size the pack may reach, and copies each
//! frame once. It refuses what would not fit before it takes it, so that a pack that was begun can
//! always be finished: [`PackBuilder::fits`] counts the footer that the next frame needs too.

use super::{
    CAPSULES_AT, MAGIC, OPENING_BYTES, TAIL_BYTES, TAIL_MAGIC,
    footer::{self, FooterRow, FooterSealer, Taken},
};
use crate::number::{ChunkNumber, Slot};
use bytes::Bytes;
use core::fmt;
use holdfast_common::{ChunkId, ChunkKind, Code, Error, PackId, Result, VaultId, limits};
use std::collections::{BTreeSet, HashSet};

/// A finished pack, ready to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Pack {
    pub id: PackId,
    pub kind: ChunkKind,
    pub bytes: Bytes,
    /// In slot order.
    pub rows: Vec<FooterRow>,
}

pub struct PackBuilder {
    kind: ChunkKind,
    bytes_max: usize,
    buffer: Vec<u8>,
    capsules: Vec<Vec<u8>>,
    rows: Vec<FooterRow>,
    chunks: HashSet<ChunkId>,
    taken: BTreeSet<Taken>,
}

impl PackBuilder {
    pub fn new(vault: VaultId, kind: ChunkKind) -> Self {
        Self::with_bytes_max(vault, kind, limits::PACK_BYTES_MAX)
    }

    /// A pack that stops earlier than packs must, such as one that goes into a point's object.
    pub fn with_bytes_max(vault: VaultId, kind: ChunkKind, bytes_max: usize) -> Self {
        Self::in_buffer(vault, kind, bytes_max, Vec::new())
    }

    /// The same in the memory of a pack that is not needed any more.
    pub fn in_buffer(
        vault: VaultId,
        kind: ChunkKind,
        bytes_max: usize,
        mut buffer: Vec<u8>,
    ) -> Self {
        let bytes_max = bytes_max.min(limits::PACK_BYTES_MAX);
        buffer.clear();
        buffer.reserve_exact(bytes_max.max(OPENING_BYTES));
        buffer.extend_from_slice(MAGIC);
        buffer.extend_from_slice(&[1, kind as u8, 0, 0]);
        buffer.extend_from_slice(vault.as_bytes());
        Self {
            kind,
            bytes_max,
            buffer,
            capsules: Vec::new(),
            rows: Vec::new(),
            chunks: HashSet::new(),
            taken: BTreeSet::new(),
        }
    }

    /// The capsule's position in this pack; one that is already here is not stored again.
    pub fn add_capsule(&mut self, capsule: &[u8]) -> Result<u16> {
        if let Some(index) = self.capsules.iter().position(|known| known == capsule) {
            return position(index);
        }
        if !self.rows.is_empty() {
            return Err(bug("a capsule came after the first frame"));
        }
        let length = u16::try_from(capsule.len())
            .ok()
            .filter(|n| (1..=limits::CAPSULE_BYTES_MAX).contains(&usize::from(*n)))
            .ok_or_else(|| full(format!("a capsule has {} bytes", capsule.len())))?;
        if self.capsules.len() == limits::PACK_CAPSULES_MAX
            || self.object_bytes() + 2 + capsule.len() > self.bytes_max
        {
            return Err(full("the pack holds no more capsules"));
        }
        let index = position(self.capsules.len())?;
        self.buffer.extend_from_slice(&length.to_le_bytes());
        self.buffer.extend_from_slice(capsule);
        self.buffer[CAPSULES_AT..CAPSULES_AT + 2].copy_from_slice(&(index + 1).to_le_bytes());
        self.capsules.push(capsule.to_vec());
        Ok(index)
    }

    /// Appends a frame. A chunk may appear once in a pack.
    pub fn push(&mut self, id: ChunkId, capsule: u16, frame: &[u8]) -> Result<Slot> {
        if usize::from(capsule) >= self.capsules.len() {
            return Err(bug(format!("the pack has no capsule {capsule}")));
        }
        if !(limits::FRAME_OVERHEAD_BYTES..=limits::FRAME_BYTES_MAX).contains(&frame.len()) {
            return Err(full(format!("a frame has {} bytes", frame.len())));
        }
        if !self.fits(frame.len()) {
            return Err(full(format!("the pack has no room for {} bytes", frame.len())));
        }
        if !self.chunks.insert(id) {
            return Err(bug("the pack holds this chunk already"));
        }
        let slot = Slot::try_from(self.rows.len())?;
        let offset = self.buffer.len() as u32;
        self.buffer.extend_from_slice(frame);
        self.rows.push(FooterRow { id, offset, length: frame.len() as u32, capsule });
        Ok(slot)
    }

    /// The frame in this slot answers to `number` from now on, which was another pack's.
    pub fn take_number(&mut self, slot: Slot, number: ChunkNumber) -> Result<()> {
        if slot.as_index() >= self.rows.len() {
            return Err(bug(format!("the pack has no slot {}", slot.as_u16())));
        }
        if self.bytes_with(0, 0, 1) > self.bytes_max {
            return Err(full("the pack has no room for another number"));
        }
        self.taken.insert(Taken { slot, number });
        Ok(())
    }

    /// How many frames it holds.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The size of the object if it were finished now.
    pub fn object_bytes(&self) -> usize {
        self.bytes_with(0, 0, 0)
    }

    pub fn contains(&self, id: &ChunkId) -> bool {
        self.chunks.contains(id)
    }

    /// Whether a frame of this length can still be pushed.
    pub fn fits(&self, frame_length: usize) -> bool {
        self.rows.len() < limits::PACK_SLOTS_MAX
            && frame_length <= limits::FRAME_BYTES_MAX
            && self.bytes_with(frame_length, 1, 0) <= self.bytes_max
    }

    /// Seals the footer over everything before it, and names the whole.
    pub fn finish(mut self, sealer: &dyn FooterSealer) -> Result<Pack> {
        if self.rows.is_empty() {
            return Err(bug("a pack without frames was finished"));
        }
        let taken = self.taken.iter().copied().collect::<Vec<_>>();
        let plaintext = footer::render(&self.rows, &taken);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.buffer);
        let (version, sealed) = sealer.seal_footer(hasher.finalize().as_bytes(), &plaintext)?;
        if 4 + sealed.len() != footer::field_bytes(self.rows.len(), taken.len()) {
            return Err(bug(format!("a footer was sealed to {} bytes", sealed.len())));
        }
        let footer_start = self.buffer.len();
        self.buffer.extend_from_slice(&version.to_le_bytes());
        self.buffer.extend_from_slice(&sealed);
        self.buffer.extend_from_slice(&(4 + sealed.len() as u32).to_le_bytes());
        self.buffer.extend_from_slice(TAIL_MAGIC);
        debug_assert!(self.buffer.len() <= self.bytes_max);
        hasher.update(&self.buffer[footer_start..]);
        let id = PackId::from_bytes(hasher.finalize().into());
        Ok(Pack { id, kind: self.kind, bytes: self.buffer.into(), rows: self.rows })
    }

    fn bytes_with(&self, frame_bytes: usize, frames: usize, taken: usize) -> usize {
        let footer = footer::field_bytes(self.rows.len() + frames, self.taken.len() + taken);
        self.buffer.len() + frame_bytes + footer + TAIL_BYTES
    }
}

impl fmt::Debug for Pack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (frames, bytes) = (self.rows.len(), self.bytes.len());
        write!(f, "Pack({}, {:?}, {frames} frames, {bytes} bytes)", self.id, self.kind)
    }
}

impl fmt::Debug for PackBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (frames, bytes) = (self.rows.len(), self.buffer.len());
        write!(f, "PackBuilder({:?}, {frames} frames, {bytes} bytes)", self.kind)
    }
}

fn position(index: usize) -> Result<u16> {
    u16::try_from(index).map_err(|_| full("the pack holds no more capsules"))
}

fn full(message: impl Into<String>) -> Error {
    Error::new(Code::LimitExceeded, message)
}

fn bug(message: impl Into<String>) -> Error {
    Error::new(Code::InternalBug, message)
}
