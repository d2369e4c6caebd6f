//! Made-up numbers that are the same on every machine: xoshiro256++ from a seed.
//!
//! Every file of the data set has its own stream, named by seed, kind and number, so that one
//! file's bytes never depend on another's or on the order of writing. Whole numbers only: floating
//! point from a mathematics library may differ in its last bit between machines.

pub struct Chance([u64; 4]);

impl Chance {
    /// The stream of one thing: `(7, "text", 3)` is always the same.
    pub fn new(seed: u64, what: &str, number: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes()).update(&number.to_le_bytes()).update(what.as_bytes());
        let mut state = [0; 4];
        for (word, bytes) in state.iter_mut().zip(hasher.finalize().as_bytes().chunks_exact(8)) {
            *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        Self(state)
    }

    pub fn number(&mut self) -> u64 {
        let [a, b, c, d] = self.0;
        let out = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.0 = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        out
    }

    /// Below `bound`, which is not zero; the slight bias does not matter here.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.number()) * u128::from(bound)) >> 64) as u64
    }

    /// At least `low`, below `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low)
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// Every order of magnitude equally likely: a binary one first, then a place within it.
    pub fn spread(&mut self, low: u64, high: u64) -> u64 {
        let orders = u64::from((high / low).ilog2());
        let start = low << self.below(orders + 1);
        self.between(start, (start * 2).min(high).max(start + 1))
    }

    /// A rank below `count`, small ones often: about 1/rank, as with words.
    pub fn rank(&mut self, count: u64) -> u64 {
        (self.spread(1, count + 1) - 1).min(count - 1)
    }

    pub fn fill(&mut self, out: &mut [u8]) {
        for part in out.chunks_mut(8) {
            let bytes = self.number().to_le_bytes();
            part.copy_from_slice(&bytes[..part.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ_by_every_part_of_their_name() {
        let first = |seed, what, number| Chance::new(seed, what, number).number();
        assert_eq!(first(1, "text", 0), first(1, "text", 0));
        assert_ne!(first(1, "text", 0), first(2, "text", 0));
        assert_ne!(first(1, "text", 0), first(1, "text", 1));
        assert_ne!(first(1, "text", 0), first(1, "images", 0));
    }

    #[test]
    fn what_is_drawn_stays_within_its_bounds() {
        let mut chance = Chance::new(1, "bounds", 0);
        for _ in 0..10_000 {
            assert!(chance.below(3) < 3);
            assert!((5..9).contains(&chance.between(5, 9)));
            assert!((200..40_960).contains(&chance.spread(200, 40_960)));
            assert!(chance.rank(1000) < 1000);
        }
    }

    #[test]
    fn small_ranks_are_drawn_far_more_often_than_large_ones() {
        let mut chance = Chance::new(1, "ranks", 0);
        let small = (0..10_000).filter(|_| chance.rank(4096) < 64).count();
        assert!((3000..7000).contains(&small), "{small}");
    }
}
