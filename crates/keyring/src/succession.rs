//! How a vault's key vouches for the one that comes after it (§5).
//!
//! An agent has pinned the public key of a version, and has nothing else by which to judge a newer
//! one. So whoever rotates signs the new public key with the old private key: XEdDSA, which is an
//! Ed25519 signature by the same scalar, and needs no other key than the pair itself. In operator
//! custody no coordinator can make one. Signatures are deterministic; nothing else of the pair is
//! ever used to sign.

use crate::{VaultPrivateKey, VaultPublicKey, derive::derive, identity::SIGNATURE_BYTES};
use curve25519_dalek::{
    EdwardsPoint, MontgomeryPoint, Scalar, edwards::CompressedEdwardsY, scalar::clamp_integer,
};
use ed25519_dalek::{
    Signature, VerifyingKey,
    hazmat::{ExpandedSecretKey, raw_sign},
};
use holdfast_common::{Code, Error, Result};
use minicbor::{Decode, Encode};
use sha2::Sha512;
use zeroize::Zeroizing;

/// What a key object says of the version before its own.
#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct Succession {
    /// The version whose key signed.
    #[n(0)]
    pub before: u32,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub signature: [u8; SIGNATURE_BYTES],
}

impl Succession {
    /// The older key vouches for the newer one.
    pub fn sign(before: &VaultPrivateKey, next: &VaultPublicKey) -> Result<Self> {
        let message = message(&before.public(), next)?;
        let signer = Signer::of(before);
        let signature = raw_sign::<Sha512>(&signer.secret, &message, &signer.public).to_bytes();
        Ok(Self { before: before.public().version, signature })
    }

    /// Whether `before` vouches for `next`.
    pub fn verify(&self, before: &VaultPublicKey, next: &VaultPublicKey) -> Result<()> {
        let refused = |cause: String| {
            let (vault, version) = (next.vault, next.version);
            let message =
                format!("version {version} of the key of vault {vault} is not vouched for");
            Error::new(Code::KeyVaultChanged, message).cause(cause)
        };
        if self.before != before.version {
            let (named, given) = (self.before, before.version);
            return Err(refused(format!("it names version {named}, not {given}, as its own")));
        }
        let point = MontgomeryPoint(before.key).to_edwards(0);
        let point = point.ok_or_else(|| refused("the older key is no point".to_owned()))?;
        let key = VerifyingKey::from_bytes(&point.compress().0)
            .map_err(|error| refused(error.to_string()))?;
        let signature = Signature::from_bytes(&self.signature);
        key.verify_strict(&message(before, next)?, &signature)
            .map_err(|error| refused(error.to_string()))
    }
}

/// The pair as a signer: the scalar whose point has an even sign, which the public key stands for.
/// Wiped when dropped.
struct Signer {
    secret: ExpandedSecretKey,
    public: VerifyingKey,
}

impl Signer {
    fn of(private: &VaultPrivateKey) -> Self {
        let bytes = Zeroizing::new(clamp_integer(*private.secret().expose()));
        let mut scalar = Zeroizing::new(Scalar::from_bytes_mod_order(*bytes));
        let mut point = EdwardsPoint::mul_base(&scalar);
        if is_odd(&point.compress()) {
            *scalar = -*scalar;
            point = -point;
        }
        let public = match VerifyingKey::from_bytes(&point.compress().0) {
            Ok(public) => public,
            Err(error) => unreachable!("a multiple of the base is a point: {error}"),
        };
        let prefix = derive(NONCE_CONTEXT, &[private.secret().expose()]);
        let secret = ExpandedSecretKey { scalar: *scalar, hash_prefix: *prefix.expose() };
        Self { secret, public }
    }
}

fn is_odd(point: &CompressedEdwardsY) -> bool {
    point.0[31] & 0x80 != 0
}

/// Both keys with their versions: what is vouched for under one name counts under no other.
fn message(before: &VaultPublicKey, next: &VaultPublicKey) -> Result<Vec<u8>> {
    if before.vault != next.vault || before.version >= next.version {
        let message = format!(
            "version {} of vault {} is not what comes after version {} of vault {}",
            next.version, next.vault, before.version, before.vault
        );
        return Err(Error::new(Code::KeyVaultChanged, message));
    }
    Ok([
        CONTEXT,
        next.vault.as_bytes(),
        &before.version.to_le_bytes(),
        &before.key,
        &next.version.to_le_bytes(),
        &next.key,
    ]
    .concat())
}

const CONTEXT: &[u8] = b"holdfast key succession v1";
const NONCE_CONTEXT: &str = "holdfast 2026 key succession nonce v1";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::Seeded;
    use holdfast_common::VaultId;
    use proptest::prelude::*;

    const VAULT: VaultId = VaultId::from_bytes([1; 16]);

    fn key(version: u32, seed: u64) -> VaultPrivateKey {
        VaultPrivateKey::generate(VAULT, version, &Seeded::new(seed))
    }

    #[test]
    fn the_older_key_vouches_for_the_newer_one_and_for_nothing_else() {
        let (old, new) = (key(1, 1), key(3, 2).public());
        let made = Succession::sign(&old, &new).unwrap();
        made.verify(&old.public(), &new).unwrap();
        let others = [
            VaultPublicKey { version: 2, ..new },
            VaultPublicKey { key: key(3, 9).public().key, ..new },
            VaultPublicKey { vault: VaultId::from_bytes([2; 16]), ..new },
            VaultPublicKey { version: 1, ..new },
        ];
        for other in others {
            let refused = made.verify(&old.public(), &other).unwrap_err();
            assert_eq!(refused.code, Code::KeyVaultChanged);
        }
        for signer in [key(1, 3).public(), key(2, 1).public()] {
            assert!(made.verify(&signer, &new).is_err());
        }
        assert!(Succession { before: 2, ..made }.verify(&old.public(), &new).is_err());
    }

    #[test]
    fn an_older_version_or_the_same_is_never_vouched_for() {
        for version in [1, 2] {
            assert!(Succession::sign(&key(2, 1), &key(version, 2).public()).is_err());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Half of all keys need their sign turned.
        #[test]
        fn every_pair_can_sign_and_a_flipped_bit_is_refused(seed: u64, bit in 0_usize..512) {
            let (old, new) = (key(1, seed), key(2, seed ^ 1).public());
            let made = Succession::sign(&old, &new).unwrap();
            prop_assert!(made.verify(&old.public(), &new).is_ok());
            prop_assert_eq!(made, Succession::sign(&old, &new).unwrap());
            let mut bad = made;
            bad.signature[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(bad.verify(&old.public(), &new).is_err());
        }

        #[test]
        fn any_bytes_are_refused_and_never_panic(key: [u8; 32], before: u32, first: [u8; 32]) {
            let next = VaultPublicKey { vault: VAULT, version: 9, key: [5; 32] };
            let old = VaultPublicKey { vault: VAULT, version: before % 9, key };
            let mut signature = [0; SIGNATURE_BYTES];
            signature[..32].copy_from_slice(&first);
            let made = Succession { before: before % 9, signature };
            prop_assert!(made.verify(&old, &next).is_err());
        }
    }
}
