//! Who an agent is: an Ed25519 key, the one of its certificate, which signs every point.
//!
//! Three things are signed with it and none can pass for another: points begin with "holdfast
//! point v1", proofs with "holdfast proof v1" and a context, and what TLS and X.509 sign begins
//! with neither. Verification is strict: no weak key, no second form of a signature.

use core::fmt;
use ed25519_dalek::{
    Signature, Signer, SigningKey, VerifyingKey,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes, spki::der::pem::LineEnding},
};
use holdfast_common::{Code, Entropy, Error, Result, Secret};
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

pub const SIGNATURE_BYTES: usize = 64;

pub struct IdentityKey(SigningKey);

impl IdentityKey {
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self(SigningKey::from_bytes(Secret::random(entropy).expose()))
    }

    /// Reads PKCS#8, version 1 or 2; a public half that is not this key's is refused.
    pub fn from_pkcs8_pem(pem: &str) -> Result<Self> {
        SigningKey::from_pkcs8_pem(pem).map(Self).map_err(|error| {
            Error::new(Code::KeyWrong, "the identity key cannot be read")
                .cause(error)
                .next("it is an Ed25519 key in PKCS#8 PEM; enrol again if it is lost")
        })
    }

    /// PKCS#8 version 1: the form that every TLS library reads.
    pub fn to_pkcs8_pem(&self) -> Zeroizing<String> {
        let pair = KeypairBytes { secret_key: self.0.to_bytes(), public_key: None };
        match pair.to_pkcs8_pem(LineEnding::LF) {
            Ok(pem) => pem,
            Err(error) => unreachable!("32 bytes have a PEM form: {error}"),
        }
    }

    pub fn public(&self) -> IdentityPublicKey {
        IdentityPublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs the record of a point.
    pub fn sign_point(&self, record: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(&point_message(record)).to_bytes()
    }

    /// Signs anything else, under the name of what it is for.
    pub fn sign(&self, context: &str, bytes: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(&proof_message(context, bytes)).to_bytes()
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityKey(of {})", self.public())
    }
}

/// What the enrolment list knows of an agent.
#[derive(Clone, Copy, Decode, Encode, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cbor(transparent)]
pub struct IdentityPublicKey(#[cbor(n(0), with = "minicbor::bytes")] [u8; 32]);

impl IdentityPublicKey {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub fn from_slice(bytes: &[u8]) -> Result<Self> {
        bytes.try_into().map(Self).map_err(|_| {
            let message = format!("{} bytes given where an identity has 32", bytes.len());
            Error::new(Code::RecordMalformed, message)
        })
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub fn verify_point(&self, record: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> Result<()> {
        self.verify_message(&point_message(record), signature).map_err(|error| {
            Error::new(
                Code::PointSignatureWrong,
                format!("the point was not signed by identity {self}"),
            )
            .cause(error)
        })
    }

    pub fn verify(
        &self,
        context: &str,
        bytes: &[u8],
        signature: &[u8; SIGNATURE_BYTES],
    ) -> Result<()> {
        self.verify_message(&proof_message(context, bytes), signature).map_err(|error| {
            Error::new(Code::AuthDenied, format!("identity {self} did not sign this {context}"))
                .cause(error)
                .next("use the identity key that was enrolled")
        })
    }

    fn verify_message(
        &self,
        message: &[u8],
        signature: &[u8; SIGNATURE_BYTES],
    ) -> Result<(), ed25519_dalek::SignatureError> {
        let key = VerifyingKey::from_bytes(&self.0)?;
        key.verify_strict(message, &Signature::from_bytes(signature))
    }
}

impl fmt::Display for IdentityPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for IdentityPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "identity:{self}")
    }
}

fn point_message(record: &[u8]) -> Vec<u8> {
    [POINT_CONTEXT, record].concat()
}

/// The context's length stands before it: no context is the beginning of another.
fn proof_message(context: &str, bytes: &[u8]) -> Vec<u8> {
    let length = (context.len() as u64).to_le_bytes();
    [PROOF_CONTEXT, &length, context.as_bytes(), bytes].concat()
}

const POINT_CONTEXT: &[u8] = b"holdfast point v1";
const PROOF_CONTEXT: &[u8] = b"holdfast proof v1";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::Seeded;
    use proptest::prelude::*;

    fn key() -> IdentityKey {
        IdentityKey::generate(&Seeded::new(1))
    }

    #[test]
    fn a_points_signature_is_plain_ed25519_over_context_and_record() {
        let signature = key().sign_point(b"record");
        let dalek = VerifyingKey::from_bytes(key().public().as_bytes()).unwrap();
        let message = b"holdfast point v1record";
        dalek.verify_strict(message, &Signature::from_bytes(&signature)).unwrap();
        key().public().verify_point(b"record", &signature).unwrap();
    }

    #[test]
    fn another_record_another_key_and_any_flipped_bit_are_refused() {
        let signature = key().sign_point(b"record");
        let other = IdentityKey::generate(&Seeded::new(2)).public();
        let code = |result: Result<()>| result.unwrap_err().code;
        assert_eq!(code(other.verify_point(b"record", &signature)), Code::PointSignatureWrong);
        let altered = key().public().verify_point(b"recorc", &signature);
        assert_eq!(code(altered), Code::PointSignatureWrong);
        for bit in 0..512 {
            let mut bad = signature;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(key().public().verify_point(b"record", &bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_weak_public_key_vouches_for_nothing() {
        // The neutral element verifies an all-but-zero signature unless verification is strict.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        let weak = IdentityPublicKey::from_bytes(neutral);
        assert!(weak.verify_point(b"record", &signature).is_err());
    }

    #[test]
    fn a_signature_with_s_beyond_the_order_is_refused() {
        // s + L, the second form of the same signature.
        const ORDER: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9,
            0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut signature = key().sign_point(b"record");
        let mut carry = 0u16;
        for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(order) + carry;
            *byte = (sum & 0xff) as u8;
            carry = sum >> 8;
        }
        assert_eq!(carry, 0);
        assert!(key().public().verify_point(b"record", &signature).is_err());
    }

    #[test]
    fn a_proof_is_bound_to_its_context_and_is_never_a_point() {
        let proof = key().sign("renew", b"bytes");
        key().public().verify("renew", b"bytes", &proof).unwrap();
        let refused = key().public().verify("rene", b"wbytes", &proof).unwrap_err();
        assert_eq!(refused.code, Code::AuthDenied);
        assert!(key().public().verify("join", b"bytes", &proof).is_err());
        assert!(key().public().verify_point(b"bytes", &proof).is_err());
        let point = key().sign_point(b"bytes");
        assert!(key().public().verify("", b"bytes", &point).is_err());
    }

    #[test]
    fn the_pem_form_is_pkcs8_version_1_and_returns_the_same_key() {
        let pem = key().to_pkcs8_pem();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"), "a PKCS#8 label");
        let again = IdentityKey::from_pkcs8_pem(&pem).unwrap();
        assert_eq!(again.public(), key().public());
        assert_eq!(again.sign_point(b"x"), key().sign_point(b"x"));
    }

    #[test]
    fn the_pem_form_is_what_certificates_are_made_with() {
        let pair = rcgen::KeyPair::from_pem(&key().to_pkcs8_pem()).unwrap();
        assert_eq!(pair.algorithm(), &rcgen::PKCS_ED25519);
        assert_eq!(rcgen::PublicKeyData::der_bytes(&pair), key().public().as_bytes());
        let made = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let read = IdentityKey::from_pkcs8_pem(&made.serialize_pem()).unwrap();
        assert_eq!(rcgen::PublicKeyData::der_bytes(&made), read.public().as_bytes());
    }

    #[test]
    fn what_is_no_ed25519_key_is_refused() {
        let p256 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        for bad in ["", "garbage", &p256.serialize_pem(), &key().to_pkcs8_pem()[..60]] {
            let error = IdentityKey::from_pkcs8_pem(bad).unwrap_err();
            assert_eq!(error.code, Code::KeyWrong);
        }
        assert!(IdentityPublicKey::from_slice(&[0; 31]).is_err());
    }

    #[test]
    fn only_the_public_half_is_printed() {
        assert_eq!(format!("{:?}", key()), format!("IdentityKey(of {})", key().public()));
    }

    proptest! {
        #[test]
        fn arbitrary_keys_and_signatures_never_verify_and_never_panic(
            public: [u8; 32], halves: [[u8; 32]; 2], record: Vec<u8>,
        ) {
            let signature: [u8; 64] = halves.concat().try_into().unwrap();
            let public = IdentityPublicKey::from_bytes(public);
            prop_assert!(public.verify_point(&record, &signature).is_err());
        }
    }
}
