//! A pack as collection sees it: where its bytes lie, and under which numbers its frames are known.
//!
//! ```text
//!   own numbers     base ────────────── base + slots      one for each slot, in order
//!   taken numbers   runs: number, slot, count             what repacked frames answer to besides
//! ```
//!
//! A slot is live when any of its numbers is needed.

use super::Mark;
use crate::{
    fields::index,
    number::{ChunkNumber, Slot},
};

#[derive(Clone, Copy, Debug)]
pub struct PackSpan<'a> {
    pub base: ChunkNumber,
    pub slots: u32,
    pub length: u32,
    pub place: Place,
    pub taken: &'a [TakenRun],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Announced, or whole nowhere: there is nothing to copy it from.
    Nowhere,
    /// An object of its own.
    Object,
    /// Inside the object of a point that stays for its own sake.
    Point,
    /// Inside the object of a point that was forgotten, which stays for this alone.
    ForgottenPoint,
}

/// Numbers in a row that frames in a row took over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenRun {
    pub number: ChunkNumber,
    pub slot: Slot,
    pub count: u32,
}

impl PackSpan<'_> {
    /// How many of its slots the marked points need.
    pub fn live_slots(&self, mark: &Mark) -> u32 {
        let own = mark.needed().count(self.base, self.slots);
        if self.taken.is_empty() || own == u64::from(self.slots) {
            return u32::try_from(own).unwrap_or(self.slots);
        }
        let mut live = SlotSet::of(self.slots);
        for number in mark.needed().within(self.base, self.slots) {
            live.insert(number.as_u64() - self.base.as_u64());
        }
        for run in self.taken {
            for number in mark.needed().within(run.number, run.count) {
                live.insert(run.slot.as_index() as u64 + number.as_u64() - run.number.as_u64());
            }
        }
        live.len
    }
}

impl PackSpan<'_> {
    /// In how many runs the numbers lie that the marked points need of it.
    pub fn live_runs(&self, mark: &Mark) -> usize {
        let own = TakenRun { number: self.base, slot: Slot::new(0), count: self.slots };
        let mut runs = 0;
        for run in std::iter::once(&own).chain(self.taken) {
            let mut next = None;
            for number in mark.needed().within(run.number, run.count) {
                runs += usize::from(next != Some(number.as_u64()));
                next = Some(number.as_u64() + 1);
            }
        }
        runs
    }
}

/// Slots of one pack, at most 8 KiB.
struct SlotSet {
    words: Vec<u64>,
    slots: u64,
    len: u32,
}

impl SlotSet {
    fn of(slots: u32) -> Self {
        Self { words: vec![0; index(slots).div_ceil(64)], slots: u64::from(slots), len: 0 }
    }

    /// A run that goes beyond the pack says nothing of it.
    fn insert(&mut self, slot: u64) {
        if slot >= self.slots {
            return;
        }
        let (word, bit) = ((slot / 64) as usize, 1 << (slot % 64));
        if self.words[word] & bit == 0 {
            self.words[word] |= bit;
            self.len += 1;
        }
    }
}
