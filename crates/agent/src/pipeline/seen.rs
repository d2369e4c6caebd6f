//! Chunks that this run need not offer again: what was sent on with its bytes, and what the cluster
//! said it holds.
//!
//! An id is put in when its bytes are on their way, so that of two equal chunks one travels. It
//! must never be put in for an id that was only asked about: if the answer is "send it", somebody
//! has to. The set is bounded by forgetting its older half; to forget costs an offer, never a byte.

use crate::flow::lock;
use holdfast_common::ChunkId;
use std::collections::HashSet;
use std::sync::Mutex;

pub(super) struct Seen {
    generations: Mutex<Generations>,
    half: usize,
}

#[derive(Default)]
struct Generations {
    young: HashSet<ChunkId>,
    old: HashSet<ChunkId>,
}

impl Seen {
    pub(super) fn new(ids_max: usize) -> Self {
        Self { generations: Mutex::default(), half: (ids_max / 2).max(1) }
    }

    pub(super) fn contains(&self, id: &ChunkId) -> bool {
        let generations = lock(&self.generations);
        generations.young.contains(id) || generations.old.contains(id)
    }

    /// Whether the id was not there before.
    pub(super) fn insert(&self, id: ChunkId) -> bool {
        let mut generations = lock(&self.generations);
        if generations.old.contains(&id) || !generations.young.insert(id) {
            return false;
        }
        if generations.young.len() >= self.half {
            generations.old = std::mem::take(&mut generations.young);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> ChunkId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        ChunkId::from_bytes(bytes)
    }

    #[test]
    fn of_two_equal_ids_one_is_new() {
        let seen = Seen::new(16);
        assert!(seen.insert(id(1)));
        assert!(!seen.insert(id(1)));
        assert!(seen.contains(&id(1)) && !seen.contains(&id(2)));
    }

    #[test]
    fn the_set_stays_bounded_and_forgets_the_oldest() {
        let seen = Seen::new(16);
        for number in 0..1000 {
            assert!(seen.insert(id(number)));
            let generations = lock(&seen.generations);
            assert!(generations.young.len() + generations.old.len() <= 16);
        }
        assert!(seen.contains(&id(999)) && !seen.contains(&id(0)));
    }
}
