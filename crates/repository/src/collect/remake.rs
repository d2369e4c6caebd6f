//! A pack that takes over what is needed of others: sealed chunks as they are, with the capsules
//! that they name. No data key is needed, and none is here.
//!
//! ```text
//!   source ─→ its slots that a mark needs ─→ frames, each once ─┐
//!                          their numbers ─→ runs ───────────────┴─→ a new pack, closed when full
//! ```
//!
//! A source is taken wholly or not at all, so that it may go when its new pack is stored. Whoever
//! gives a source has compared its bytes with its name.

use super::{Mark, TakenRun};
use crate::{
    number::{ChunkNumber, Slot},
    pack::{Footer, FooterRow, FooterSealer, Pack, PackBuilder, PackView, object_bytes},
};
use bytes::Bytes;
use holdfast_common::{ChunkId, ChunkKind, Code, Error, Result, VaultId, limits};
use std::collections::HashMap;

/// A whole pack, and the numbers that its frames answer to.
pub struct Source<'a> {
    pub view: &'a PackView,
    pub footer: &'a Footer,
    pub base: ChunkNumber,
    pub taken: &'a [TakenRun],
}

/// The pack, and the numbers that it took over as its footer says them, in runs.
#[derive(Debug)]
pub struct Remade {
    pub pack: Pack,
    pub taken: Vec<TakenRun>,
}

pub struct Remake {
    vault: VaultId,
    kind: ChunkKind,
    bytes_max: usize,
    held: Held,
}

/// What is in it so far.
#[derive(Clone, Default)]
struct Held {
    capsules: Vec<Bytes>,
    capsule_bytes: usize,
    frames: Vec<Frame>,
    frame_bytes: usize,
    slots: HashMap<ChunkId, Slot>,
    runs: Vec<TakenRun>,
    numbers: usize,
}

#[derive(Clone)]
struct Frame {
    id: ChunkId,
    capsule: u16,
    bytes: Vec<u8>,
}

impl Remake {
    pub fn new(vault: VaultId, kind: ChunkKind) -> Self {
        Self::with_bytes_max(vault, kind, limits::PACK_BYTES_MAX)
    }

    pub fn with_bytes_max(vault: VaultId, kind: ChunkKind, bytes_max: usize) -> Self {
        let bytes_max = bytes_max.min(limits::PACK_BYTES_MAX);
        Self { vault, kind, bytes_max, held: Held::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.held.frames.is_empty()
    }

    /// Takes over all that a mark needs of a pack, which may be nothing; false where that does not
    /// fit, and then it has taken nothing.
    pub fn take(&mut self, source: &Source<'_>, mark: &Mark) -> Result<bool> {
        if source.view.kind() != self.kind {
            return Err(Error::new(Code::InternalBug, "packs of two kinds are not mixed"));
        }
        let before = self.held.measure();
        for (slot, number) in source.live(mark)? {
            if !self.held.fits(source, slot, number, self.bytes_max)? {
                self.held.go_back(before);
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub fn finish(self, sealer: &dyn FooterSealer) -> Result<Remade> {
        let Held { capsules, frames, runs, .. } = self.held;
        let mut builder = PackBuilder::with_bytes_max(self.vault, self.kind, self.bytes_max);
        for capsule in &capsules {
            builder.add_capsule(capsule)?;
        }
        for frame in &frames {
            builder.push(frame.id, frame.capsule, &frame.bytes)?;
        }
        for run in &runs {
            for at in 0..run.count {
                let slot = Slot::try_from(run.slot.as_index() + at as usize)?;
                builder.take_number(slot, run.number.plus(u64::from(at))?)?;
            }
        }
        Ok(Remade { pack: builder.finish(sealer)?, taken: runs })
    }
}

impl Source<'_> {
    /// The numbers that a mark needs, each with its slot, in the order of the slots.
    fn live(&self, mark: &Mark) -> Result<Vec<(Slot, ChunkNumber)>> {
        let slots = self.footer.rows.len();
        let own = TakenRun { number: self.base, slot: Slot::new(0), count: slots as u32 };
        let mut live = Vec::new();
        for run in std::iter::once(&own).chain(self.taken) {
            for number in mark.needed().within(run.number, run.count) {
                let further = number.as_u64() - run.number.as_u64();
                let slot = run.slot.as_index() + usize::try_from(further).unwrap_or(slots);
                // A number that no frame answers to is needed of nobody here.
                if slot >= slots {
                    return Err(Error::new(Code::PackDamaged, "a pack lacks a slot of its row"));
                }
                live.push((Slot::try_from(slot)?, number));
            }
        }
        live.sort_unstable();
        Ok(live)
    }
}

/// How much was held at a moment.
#[derive(Clone)]
struct Measure {
    capsules: usize,
    frames: usize,
    numbers: usize,
    runs: Vec<TakenRun>,
}

impl Held {
    fn measure(&self) -> Measure {
        let (capsules, frames) = (self.capsules.len(), self.frames.len());
        Measure { capsules, frames, numbers: self.numbers, runs: self.runs.clone() }
    }

    fn go_back(&mut self, to: Measure) {
        self.capsules.truncate(to.capsules);
        self.capsule_bytes = self.capsules.iter().map(|capsule| 2 + capsule.len()).sum();
        for frame in self.frames.drain(to.frames..) {
            self.frame_bytes -= frame.bytes.len();
            self.slots.remove(&frame.id);
        }
        (self.numbers, self.runs) = (to.numbers, to.runs);
    }

    /// Takes one number over, and its frame unless it is here.
    fn fits(
        &mut self,
        source: &Source<'_>,
        slot: Slot,
        number: ChunkNumber,
        bytes_max: usize,
    ) -> Result<bool> {
        let row = source.footer.rows[slot.as_index()];
        let slot = match self.slots.get(&row.id) {
            // An id is its writer's word: one that was seen under another frame says nothing.
            Some(slot) if !self.is_same(*slot, source, &row)? => return Ok(false),
            Some(slot) => *slot,
            None => {
                if self.frames.len() == limits::PACK_SLOTS_MAX {
                    return Ok(false);
                }
                let slot = Slot::try_from(self.frames.len())?;
                let capsule = source.view.capsules().get(usize::from(row.capsule));
                let capsule = capsule.ok_or_else(|| {
                    Error::new(Code::PackDamaged, "a frame names a capsule that its pack lacks")
                })?;
                let Some(capsule) = self.capsule(capsule)? else { return Ok(false) };
                let bytes = source.view.frame(&row)?.to_vec();
                self.frame_bytes += bytes.len();
                self.frames.push(Frame { id: row.id, capsule, bytes });
                self.slots.insert(row.id, slot);
                slot
            }
        };
        self.numbers += 1;
        // In the index a number stands as that of the pack's first slot and the slot.
        let is_behind_slot = number.sequence() >= u64::from(slot.as_u16());
        let bytes =
            object_bytes(self.capsule_bytes + self.frame_bytes, self.frames.len(), self.numbers);
        Ok(is_behind_slot && self.note(slot, number) && bytes <= bytes_max)
    }

    /// Whether a frame is held just as it is in a source.
    fn is_same(&self, slot: Slot, source: &Source<'_>, row: &FooterRow) -> Result<bool> {
        let Some(held) = self.frames.get(slot.as_index()) else { return Ok(false) };
        let capsule = self.capsules.get(usize::from(held.capsule));
        Ok(held.bytes == source.view.frame(row)?
            && capsule == source.view.capsules().get(usize::from(row.capsule)))
    }

    /// Where the capsule is, which comes in when it is not here.
    fn capsule(&mut self, capsule: &Bytes) -> Result<Option<u16>> {
        let known = self.capsules.iter().position(|known| known == capsule);
        let at = known.unwrap_or(self.capsules.len());
        if at == limits::PACK_CAPSULES_MAX {
            return Ok(None);
        }
        if known.is_none() {
            // A copy, or the whole source stays in memory for it.
            self.capsules.push(Bytes::copy_from_slice(capsule));
            self.capsule_bytes += 2 + capsule.len();
        }
        let full = |_| Error::new(Code::LimitExceeded, "a pack holds no more capsules");
        u16::try_from(at).map(Some).map_err(full)
    }

    /// Whether there is a run for it.
    fn note(&mut self, slot: Slot, number: ChunkNumber) -> bool {
        if let Some(last) = self.runs.last_mut() {
            let count = u64::from(last.count);
            let follows = last.number.as_u64() + count == number.as_u64()
                && last.slot.as_index() as u64 + count == u64::from(slot.as_u16());
            if follows {
                last.count += 1;
                return true;
            }
        }
        self.runs.push(TakenRun { number, slot, count: 1 });
        self.runs.len() <= limits::TAKEN_RUNS_MAX
    }
}
