//! Chance for tests: the extendable output of BLAKE3 under a seed, so that goldens hold still.

use holdfast_common::Entropy;
use std::sync::Mutex;

pub(crate) struct Seeded(Mutex<blake3::OutputReader>);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        let hasher = blake3::Hasher::new_derive_key("holdfast test entropy");
        Self(Mutex::new(hasher.clone().update(&seed.to_le_bytes()).finalize_xof()))
    }
}

impl Entropy for Seeded {
    fn fill(&self, out: &mut [u8]) {
        self.0.lock().unwrap().fill(out);
    }
}
