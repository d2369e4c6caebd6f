//! Chunk numbers and slots: how a chunk is counted, as against how it is named.
//!
//! A number is a region's epoch (24 bits) above a sequence (40 bits); the sequence is the base that
//! was reserved for the pack plus the chunk's [`Slot`] in it. Numbers fill a point's reach. They
//! say nothing about content. A sum that would spill from the sequence into the epoch is refused.

use core::fmt;
use holdfast_common::{Code, Error, Result, limits};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkNumber(u64);

impl ChunkNumber {
    pub fn new(epoch: u32, sequence: u64) -> Result<Self> {
        if epoch > EPOCH_MAX || sequence > SEQUENCE_MAX {
            return Err(out_of_range(format!("{epoch}·{sequence} is no chunk number")));
        }
        Ok(Self(u64::from(epoch) << SEQUENCE_BITS | sequence))
    }

    /// Every 64 bits are a number.
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    pub const fn as_u64(self) -> u64 {
        self.0
    }

    pub const fn epoch(self) -> u32 {
        (self.0 >> SEQUENCE_BITS) as u32
    }

    pub const fn sequence(self) -> u64 {
        self.0 & SEQUENCE_MAX
    }

    /// The number of the chunk in `slot` of the pack whose base this is.
    pub fn at_slot(self, slot: Slot) -> Result<Self> {
        self.plus(u64::from(slot.as_u16()))
    }

    /// Further along in the same epoch.
    pub fn plus(self, count: u64) -> Result<Self> {
        self.sequence()
            .checked_add(count)
            .filter(|sequence| *sequence <= SEQUENCE_MAX)
            .map(|sequence| Self(u64::from(self.epoch()) << SEQUENCE_BITS | sequence))
            .ok_or_else(|| out_of_range(format!("{count} numbers after {self} leave its epoch")))
    }
}

impl fmt::Display for ChunkNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}·{}", self.epoch(), self.sequence())
    }
}

impl fmt::Debug for ChunkNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "number:{self}")
    }
}

/// The position of a frame in its pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    pub const fn new(slot: u16) -> Self {
        Self(slot)
    }

    pub const fn as_u16(self) -> u16 {
        self.0
    }

    pub const fn as_u32(self) -> u32 {
        self.0 as u32
    }

    pub const fn as_index(self) -> usize {
        self.0 as usize
    }
}

impl TryFrom<usize> for Slot {
    type Error = Error;

    fn try_from(position: usize) -> Result<Self> {
        u16::try_from(position)
            .map(Self)
            .map_err(|_| Error::new(Code::LimitExceeded, format!("a pack has no slot {position}")))
    }
}

fn out_of_range(message: String) -> Error {
    Error::new(Code::LimitExceeded, message)
}

const SEQUENCE_BITS: u32 = 40;
const SEQUENCE_MAX: u64 = (1 << SEQUENCE_BITS) - 1;
const EPOCH_MAX: u32 = (1 << 24) - 1;

const _: () = assert!(limits::PACK_SLOTS_MAX == 1 << u16::BITS, "a slot is any u16");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_keeps_its_epoch_and_sequence_apart() {
        let number = ChunkNumber::new(EPOCH_MAX, SEQUENCE_MAX).unwrap();
        assert_eq!(number.as_u64(), u64::MAX);
        assert_eq!((number.epoch(), number.sequence()), (EPOCH_MAX, SEQUENCE_MAX));
        let number = ChunkNumber::new(7, 9).unwrap();
        assert_eq!(number.as_u64(), 7 << 40 | 9);
        assert_eq!(number.to_string(), "7·9");
        assert_eq!(ChunkNumber::from_u64(number.as_u64()), number);
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        assert_eq!(ChunkNumber::new(1 << 24, 0).unwrap_err().code, Code::LimitExceeded);
        assert_eq!(ChunkNumber::new(0, 1 << 40).unwrap_err().code, Code::LimitExceeded);
    }

    #[test]
    fn a_sum_never_spills_into_the_epoch() {
        let last = ChunkNumber::new(7, SEQUENCE_MAX - 1).unwrap();
        assert_eq!(last.at_slot(Slot::new(1)).unwrap().sequence(), SEQUENCE_MAX);
        assert_eq!(last.at_slot(Slot::new(2)).unwrap_err().code, Code::LimitExceeded);
        assert!(last.plus(u64::MAX).is_err());
    }
}
