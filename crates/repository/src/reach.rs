//! A point's reach: the set of chunk numbers it needs, as a compressed bitmap (format §10).
//!
//! Coordinators compute it, collection relies on it, and it says nothing about content. The same
//! set always becomes the same bytes, however it was put together, because an object may be
//! written twice and must then be the same. Bytes from a location are checked against their hash
//! before they are parsed; a bitmap that is hostile all the same is refused, never a panic.

use crate::{
    defect::{Defect, Form},
    fields::{Fields, index},
    number::ChunkNumber,
};
use core::fmt;
use holdfast_common::{Code, Error, PointId, Result, VaultId, limits};
use roaring::{RoaringBitmap, RoaringTreemap};

#[derive(Clone, Default, PartialEq)]
pub struct Reach(RoaringTreemap);

impl Reach {
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the number was not there before.
    pub fn insert(&mut self, number: ChunkNumber) -> bool {
        self.0.insert(number.as_u64())
    }

    /// The numbers of a whole pack: `count` of them from its base on.
    pub fn insert_range(&mut self, base: ChunkNumber, count: u32) -> Result<()> {
        if index(count) > limits::PACK_SLOTS_MAX {
            return Err(Error::new(Code::LimitExceeded, format!("no pack has {count} slots")));
        }
        let Some(further) = count.checked_sub(1) else { return Ok(()) };
        let last = base.plus(u64::from(further))?;
        self.0.insert_range(base.as_u64()..=last.as_u64());
        Ok(())
    }

    pub fn contains(&self, number: ChunkNumber) -> bool {
        self.0.contains(number.as_u64())
    }

    /// Whether it needs any of a pack's numbers: `count` of them from its base on.
    pub fn meets(&self, base: ChunkNumber, count: u32) -> bool {
        self.count(base, count) > 0
    }

    /// Whether it needs a number of any of these runs: the first of each, and how many.
    pub fn meets_any(&self, runs: impl IntoIterator<Item = (u64, u32)>) -> bool {
        runs.into_iter().any(|(first, count)| self.meets(ChunkNumber::from_u64(first), count))
    }

    /// How many of a pack's numbers it needs.
    pub fn count(&self, base: ChunkNumber, count: u32) -> u64 {
        let base = base.as_u64();
        self.0.range_cardinality(base..base.saturating_add(u64::from(count)))
    }

    /// Those of `count` numbers from `base` on that it needs. Ascending.
    pub fn within(&self, base: ChunkNumber, count: u32) -> impl Iterator<Item = ChunkNumber> + '_ {
        let end = base.as_u64().saturating_add(u64::from(count));
        let mut numbers = self.0.iter();
        numbers.advance_to(base.as_u64());
        numbers.take_while(move |number| *number < end).map(ChunkNumber::from_u64)
    }

    /// Whether both reach any number.
    pub fn overlaps(&self, other: &Self) -> bool {
        !self.0.is_disjoint(&other.0)
    }

    /// Takes in everything the other reaches.
    pub fn union(&mut self, other: &Self) {
        self.0 |= &other.0;
    }

    /// Takes out everything the other reaches.
    pub fn subtract(&mut self, other: &Self) {
        self.0 -= &other.0;
    }

    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    pub fn len(&self) -> u64 {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ascending.
    pub fn iter(&self) -> impl Iterator<Item = ChunkNumber> + '_ {
        self.0.iter().map(ChunkNumber::from_u64)
    }

    /// The bytes of the object `reach/<point id>`.
    pub fn to_object(&self, vault: &VaultId, point: &PointId) -> Result<Vec<u8>> {
        let set = self.canonical();
        let length = set.serialized_size();
        if HEADER_BYTES + length > limits::REACH_BYTES_MAX {
            let message = format!("a reach of {length} bytes is too large");
            return Err(Error::new(Code::LimitExceeded, message));
        }
        let mut object = Vec::with_capacity(HEADER_BYTES + length);
        object.extend_from_slice(MAGIC);
        object.extend_from_slice(&[1, 0, 0, 0]);
        object.extend_from_slice(vault.as_bytes());
        object.extend_from_slice(point.as_bytes());
        object.extend_from_slice(&[0; 32]);
        if let Err(error) = set.serialize_into(&mut object) {
            unreachable!("writing to memory failed: {error}");
        }
        let hash = blake3::hash(&object[HEADER_BYTES..]);
        object[HASH_AT..HEADER_BYTES].copy_from_slice(hash.as_bytes());
        Ok(object)
    }

    /// The one form that every equal set has. Compressing alone leaves a container as it happens to
    /// be where a run and an array are equally long; undoing runs first settles it. Part by part,
    /// so that what is undone is bounded.
    fn canonical(&self) -> RoaringTreemap {
        let parts = self.0.bitmaps().map(|(key, part)| {
            let mut part = part.clone();
            part.remove_run_compression();
            part.optimize();
            (key, part)
        });
        RoaringTreemap::from_bitmaps(parts.filter(|(_, part)| !part.is_empty()))
    }

    pub fn from_object(bytes: &[u8], vault: &VaultId, point: &PointId) -> Result<Self> {
        Self::parse(bytes, vault, point).map_err(|defect| defect.told_of(&FORM))
    }

    pub(crate) fn parse(bytes: &[u8], vault: &VaultId, point: &PointId) -> Result<Self, Defect> {
        if bytes.len() > limits::REACH_BYTES_MAX {
            return Err(Defect::malformed(format!("it has {} bytes", bytes.len())));
        }
        let mut fields = Fields::new(bytes);
        fields.opening(MAGIC)?;
        let found = VaultId::from_bytes(fields.array()?);
        if found != *vault {
            return Err(Defect::Foreign(found));
        }
        let found = PointId::from_bytes(fields.array()?);
        if found != *point {
            return Err(Defect::malformed(format!("it is the reach of the point {found}")));
        }
        let hash = fields.array::<32>()?;
        if blake3::hash(fields.rest()) != hash {
            return Err(Defect::HashMismatch);
        }
        bitmap(fields.rest()).map(Self)
    }
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reach({} numbers)", self.len())
    }
}

/// The 64-bit portable form: a count, then as many 32-bit bitmaps, each after its upper half. Read
/// part by part here, because the whole-map reader lets keys repeat and bytes trail.
fn bitmap(bytes: &[u8]) -> Result<RoaringTreemap, Defect> {
    let mut fields = Fields::new(bytes);
    let count = fields.u64()?;
    let mut rest = fields.rest();
    let mut last = None;
    let mut parts = Vec::new();
    for _ in 0..count {
        let mut fields = Fields::new(rest);
        let key = fields.u32()?;
        if last.replace(key).is_some_and(|before| before >= key) {
            return Err(Defect::malformed("its bitmap is not in order"));
        }
        rest = fields.rest();
        let part = RoaringBitmap::deserialize_from(&mut rest)
            .map_err(|error| Defect::malformed(error.to_string()))?;
        if part.is_empty() {
            return Err(Defect::malformed("a part of its bitmap is empty"));
        }
        parts.push((key, part));
    }
    if !rest.is_empty() {
        return Err(Defect::malformed("bytes follow its bitmap"));
    }
    Ok(RoaringTreemap::from_bitmaps(parts))
}

pub(crate) const FORM: Form =
    Form { noun: "reach object", damaged: Code::ObjectDamaged, foreign: Code::VaultForeign };

const MAGIC: &[u8; 4] = b"HFRE";
const HASH_AT: usize = 4 + 1 + 3 + 16 + 16;
const HEADER_BYTES: usize = HASH_AT + 32;
