//! Says where the next chunk ends.
//!
//! The caller keeps one buffer, reads into it, asks for a cut, takes that many bytes off its front
//! and asks again. A cut depends on the bytes since the last cut and on nothing else: not on how
//! much more the buffer holds, not on how the bytes came into it. To keep that promise the chunker
//! answers only when it can see a whole maximum chunk, or the end of the content.

use super::{ChunkParameters, GearTable, Profile};
use fastcdc::v2020::{self, Normalization};

#[derive(Clone, Debug)]
pub struct Chunker {
    parameters: ChunkParameters,
    gear: GearTable,
    strict: u64,
    loose: u64,
}

impl Chunker {
    pub fn new(parameters: &ChunkParameters, gear: &GearTable) -> Self {
        let (strict, loose) = v2020::select_masks(parameters.average(), Normalization::Level1);
        Self { parameters: *parameters, gear: gear.clone(), strict, loose }
    }

    pub fn parameters(&self) -> &ChunkParameters {
        &self.parameters
    }

    /// How many bytes of the front of `buffer` are the next chunk. `None` when that cannot be known
    /// before more is read, and when nothing is left; never with a buffer of [`Self::window`]
    /// bytes. `at_end` says that the content ends with the buffer.
    pub fn next_cut(&self, profile: Profile, buffer: &[u8], at_end: bool) -> Option<usize> {
        let window = self.window(profile);
        if buffer.is_empty() || (buffer.len() < window && !at_end) {
            return None;
        }
        let seen = &buffer[..buffer.len().min(window)];
        match profile {
            Profile::Whole | Profile::Fixed => Some(seen.len()),
            Profile::ContentDefined => Some(self.content_cut(seen)),
        }
    }

    /// The most bytes a chunk of this profile has, and so what the caller's buffer must hold. A
    /// file that grows after it was found small enough to be one chunk is cut at the maximum.
    pub fn window(&self, profile: Profile) -> usize {
        match profile {
            Profile::Fixed => self.parameters.fixed(),
            Profile::Whole | Profile::ContentDefined => self.parameters.max(),
        }
    }

    fn content_cut(&self, seen: &[u8]) -> usize {
        let (_, cut) = v2020::cut_gear(
            seen,
            self.parameters.min(),
            self.parameters.average(),
            self.parameters.max(),
            self.strict,
            self.loose,
            self.strict << 1,
            self.loose << 1,
            self.gear.plain(),
            self.gear.shifted(),
        );
        cut
    }
}
