//! From a passphrase to a key: Argon2id, version 19, its costs written beside what it protects.
//!
//! The costs are read before anything vouches for them, so they are bounded: a hostile record may
//! cost a reader some seconds and a gigabyte, not the machine. Weakening them gains an attacker
//! nothing, because another cost is another key.

use argon2::{Algorithm, Argon2, Params, Version};
use holdfast_common::{Code, Entropy, Error, Result, Secret, limits};
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct Argon {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub salt: [u8; 16],
    #[n(1)]
    pub memory_kib: u32,
    #[n(2)]
    pub passes: u32,
    #[n(3)]
    pub lanes: u32,
}

impl Argon {
    /// A new salt and the costs of the house: 256 MiB, three passes, one lane.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self { salt: entropy.array(), memory_kib: 256 * 1024, passes: 3, lanes: 1 }
    }

    /// The least that Argon2 accepts. For tests: a passphrase behind it is soon guessed.
    pub fn cheapest(entropy: &dyn Entropy) -> Self {
        Self { memory_kib: MEMORY_KIB_PER_LANE_MIN, passes: 1, ..Self::generate(entropy) }
    }

    pub fn derive(&self, passphrase: &[u8]) -> Result<Secret<32>> {
        if passphrase.is_empty() {
            return Err(Error::new(Code::KekUnavailable, "the passphrase is empty"));
        }
        let unusable = |error| {
            Error::new(Code::KekUnavailable, "no key can be derived from the passphrase")
                .cause(error)
        };
        self.check()?;
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32));
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.map_err(unusable)?);
        let mut key = Zeroizing::new([0; 32]);
        argon.hash_password_into(passphrase, &self.salt, &mut *key).map_err(unusable)?;
        Ok(Secret::take(&mut key))
    }

    /// Refuses costs that no honest writer chose.
    pub fn check(&self) -> Result<()> {
        let Self { memory_kib, passes, lanes, .. } = *self;
        let lanes_fit = (1..=limits::ARGON_LANES_MAX).contains(&lanes);
        let passes_fit = (1..=limits::ARGON_PASSES_MAX).contains(&passes);
        let memory_min = MEMORY_KIB_PER_LANE_MIN.saturating_mul(lanes);
        let memory_fits = (memory_min..=limits::ARGON_MEMORY_KIB_MAX).contains(&memory_kib);
        if lanes_fit && passes_fit && memory_fits {
            return Ok(());
        }
        let message = format!(
            "a derivation with {memory_kib} KiB, {passes} passes and {lanes} lanes is refused"
        );
        Err(Error::new(Code::LimitExceeded, message))
    }
}

const MEMORY_KIB_PER_LANE_MIN: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::Seeded;

    #[test]
    fn the_house_asks_for_256_mib_and_three_passes() {
        let argon = Argon::generate(&Seeded::new(1));
        assert_eq!((argon.memory_kib, argon.passes, argon.lanes), (262_144, 3, 1));
        assert_ne!(argon.salt, Argon::generate(&Seeded::new(2)).salt);
        argon.check().unwrap();
    }

    #[test]
    fn passphrase_salt_and_every_cost_change_the_key() {
        let base = Argon::cheapest(&Seeded::new(1));
        let key = *base.derive(b"correct horse").unwrap().expose();
        assert_eq!(&key, base.derive(b"correct horse").unwrap().expose());
        assert_ne!(&key, base.derive(b"correct horsf").unwrap().expose());
        for other in [
            Argon { salt: [0; 16], ..base },
            Argon { memory_kib: 16, ..base },
            Argon { passes: 2, ..base },
            Argon { memory_kib: 16, lanes: 2, ..base },
        ] {
            assert_ne!(&key, other.derive(b"correct horse").unwrap().expose(), "{other:?}");
        }
    }

    #[test]
    fn the_derivation_is_argon2id_version_19() {
        // Computed once with OpenSSL's ARGON2ID: pass password, iter 2, memcost 64, lanes 1.
        let argon = Argon { salt: *b"somesaltsomesalt", memory_kib: 64, passes: 2, lanes: 1 };
        let key = argon.derive(b"password").unwrap();
        assert_eq!(
            hex::encode(key.expose()),
            "1a98fba8e6394425c9bdc333a9c750aaf811df070f5fb4a5788e1cf4db5793a1"
        );
    }

    #[test]
    fn costs_beyond_the_bounds_and_an_empty_passphrase_are_refused() {
        let base = Argon::cheapest(&Seeded::new(1));
        for bad in [
            Argon { memory_kib: 7, ..base },
            Argon { memory_kib: u32::MAX, ..base },
            Argon { passes: 0, ..base },
            Argon { passes: 17, ..base },
            Argon { lanes: 0, ..base },
            Argon { lanes: 2, ..base },
            Argon { lanes: u32::MAX, ..base },
        ] {
            assert_eq!(bad.derive(b"x").unwrap_err().code, Code::LimitExceeded, "{bad:?}");
        }
        assert_eq!(base.derive(b"").unwrap_err().code, Code::KekUnavailable);
    }
}
