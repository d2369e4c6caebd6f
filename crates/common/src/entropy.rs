//! Chance, injected: the system's in a process, a seeded one in a test.

/// A source of random bytes. Cryptographic wherever it makes a key, a nonce or an id.
pub trait Entropy: Send + Sync {
    fn fill(&self, out: &mut [u8]);
}

impl dyn Entropy + '_ {
    pub fn array<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }

    /// A number below `bound`; zero when `bound` is zero.
    pub fn below(&self, bound: u64) -> u64 {
        u64::from_le_bytes(self.array()).checked_rem(bound).unwrap_or(0)
    }
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::expect_used, reason = "a host without randomness must not make a key")]
    fn fill(&self, out: &mut [u8]) {
        getrandom::fill(out).expect("the operating system has no randomness to give");
    }
}
