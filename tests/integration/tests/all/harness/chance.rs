//! Chance that can be had again, and the settings of the long runs.
//!
//! `HOLDFAST_SEED` repeats a run as far as real processes allow, `HOLDFAST_TORTURE_KILLS` makes the
//! kill loops longer. Whoever draws says so first, so that a failure shows what repeats it.

/// Numbers from a seed (splitmix64).
pub struct Chance(u64);

impl Chance {
    /// From `HOLDFAST_SEED`, or `usual`; tells how the test `test` is repeated.
    pub fn of(test: &str, usual: u64, kills: u64) -> Self {
        let seed = asked("HOLDFAST_SEED").unwrap_or(usual);
        eprintln!(
            "HOLDFAST_SEED={seed} HOLDFAST_TORTURE_KILLS={kills} \
             cargo test -p holdfast-integration {test}"
        );
        Self(seed)
    }

    /// Dice of a part of a test, from what the test's own gave.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// One of several.
    pub fn one_of<'a, T>(&mut self, several: &'a [T]) -> &'a T {
        &several[self.below(several.len() as u64) as usize]
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (word ^ (word >> 31)) % bound
    }
}

/// How often a kill loop kills: `quick`, or what the long run asks for.
pub fn kills(quick: u64) -> u64 {
    asked("HOLDFAST_TORTURE_KILLS").unwrap_or(quick)
}

/// How many agents come at once: `usual`, or what the long run asks for.
pub fn agents(usual: usize) -> usize {
    asked("HOLDFAST_TORTURE_AGENTS").map_or(usual, |count| count as usize)
}

fn asked(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}
