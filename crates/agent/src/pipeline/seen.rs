//! Chunks that this run need not offer again: what was sent on with its bytes, and what the cluster
//! said it holds.
//!
//! An id is put in when its bytes are on their way, so that of two equal chunks one travels. It
//! must never be put in for an id that was only asked about: if the answer is "send it", somebody
//! has to. The set is bounded by forgetting its older half; to forget costs an offer, never a byte.

use super::unsettled::{Token, Unsettled};
use crate::flow::lock;
use holdfast_common::ChunkId;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

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

    /// The right to send this chunk, for who comes first. The token is there before the id is: who
    /// sees the id and goes on may rely on a barrier to wait for the chunk.
    pub(super) fn claim(&self, id: ChunkId, unsettled: &Arc<Unsettled>) -> Option<Token> {
        let token = unsettled.token();
        self.insert(id).then_some(token)
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

    const LOOKS_MAX: u32 = 10_000_000;

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
    fn an_id_is_seen_only_once_a_barrier_waits_for_its_chunk() {
        let (seen, unsettled) = (Seen::new(16), Arc::new(Unsettled::default()));
        std::thread::scope(|scope| {
            let generations = lock(&seen.generations);
            let claim = scope.spawn(|| seen.claim(id(1), &unsettled));
            let waited = (0..LOOKS_MAX).any(|_| {
                std::thread::yield_now();
                !unsettled.is_settled()
            });
            assert!(!generations.young.contains(&id(1)));
            drop(generations);
            assert!(waited, "the id is about to be seen, and nothing waits for its chunk");
            let token = claim.join().unwrap();
            assert!(token.is_some() && !unsettled.is_settled());
        });
        assert!(seen.claim(id(1), &unsettled).is_none());
        assert!(unsettled.is_settled(), "who came second has nothing to wait for");
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
