//! Chance that can be had again: splitmix64 from a seed that every failure names.

use holdfast_common::Entropy;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub struct Dice(AtomicU64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    pub fn word(&self) -> u64 {
        let state = self.0.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA);
        let word = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&self, bound: usize) -> usize {
        (self.word() % bound as u64) as usize
    }

    pub fn one_of<T: Copy>(&self, those: &[T]) -> T {
        those[self.below(those.len())]
    }
}

impl Entropy for Dice {
    fn fill(&self, out: &mut [u8]) {
        for piece in out.chunks_mut(8) {
            piece.copy_from_slice(&self.word().to_le_bytes()[..piece.len()]);
        }
    }
}

const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;
