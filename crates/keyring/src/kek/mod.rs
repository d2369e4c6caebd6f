//! The key that wraps all others, and where it comes from.
//!
//! A [`Kek`] is 32 bytes that live in a provider: a file, a variable, a passphrase. Its id follows
//! from the key itself, so that a wrong one is named before anything is tried with it. Providers
//! that never show a key of theirs (PKCS#11, a cloud's KMS, transit) seal the KEK under it: then it
//! lies sealed beside what it wraps, and `holdfast-kek` asks them to open it.

mod argon;
mod derivation;
mod query;
mod remote;
mod source;

pub use argon::Argon;
pub use derivation::{Derivation, KekBinding, Provider, SealedKek};
pub use remote::{AwsKmsKey, Pkcs11Key, RemoteKek, SecretPlace, TransitKey};
pub use source::KekSource;

use crate::{aead, derive::derive};
use core::fmt;
use holdfast_common::{Entropy, Result, Secret};
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

/// The first half of a hash of the key: says which KEK is meant, and nothing about it.
#[derive(Clone, Copy, Decode, Encode, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cbor(transparent)]
pub struct KekId(#[cbor(n(0), with = "minicbor::bytes")] [u8; 16]);

impl KekId {
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    fn of(key: &Secret<32>) -> Self {
        let hash = derive(ID_CONTEXT, &[key.expose()]);
        match hash.expose().first_chunk() {
            Some(half) => Self(*half),
            None => unreachable!("16 bytes are fewer than 32"),
        }
    }
}

impl fmt::Display for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kek:{self}")
    }
}

#[derive(Debug)]
pub struct Kek {
    pub id: KekId,
    key: Secret<32>,
    /// What it takes beside the provider to have it again; kept in every key object.
    pub derivation: Option<Derivation>,
}

impl Kek {
    pub fn from_secret(key: Secret<32>) -> Self {
        Self { id: KekId::of(&key), key, derivation: None }
    }

    pub fn from_passphrase(passphrase: &[u8], derivation: &Argon) -> Result<Self> {
        let kek = Self::from_secret(derivation.derive(passphrase)?);
        Ok(kek.with(Derivation::Passphrase(*derivation)))
    }

    /// A new KEK for a provider to seal.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self::from_secret(Secret::random(entropy))
    }

    /// The same key, had in this way.
    #[must_use]
    pub fn with(self, derivation: Derivation) -> Self {
        Self { derivation: Some(derivation), ..self }
    }

    /// The key itself, for the provider that is to seal it and for nobody else.
    pub fn expose_to_provider(&self) -> &Secret<32> {
        &self.key
    }

    /// Wraps a secret of the cluster (the CA key, the recovery key) for the disk of a coordinator.
    /// The purpose must be given again to open it.
    pub fn seal(&self, purpose: &str, secret: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
        aead::seal(self.key.expose(), &secret_context(purpose), secret, entropy)
    }

    pub fn open(&self, purpose: &str, field: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        aead::open_wiped(self.key.expose(), &secret_context(purpose), field)
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        self.key.expose()
    }
}

fn secret_context(purpose: &str) -> Vec<u8> {
    [SECRET_CONTEXT, purpose.as_bytes()].concat()
}

const ID_CONTEXT: &str = "holdfast 2026 kek id v1";
const SECRET_CONTEXT: &[u8] = b"holdfast secret v1";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::Seeded;
    use holdfast_common::Code;

    fn kek(byte: u8) -> Kek {
        Kek::from_secret(Secret::take(&mut [byte; 32]))
    }

    #[test]
    fn the_id_is_half_a_hash_of_the_key() {
        let expected = blake3::derive_key("holdfast 2026 kek id v1", &[1; 32]);
        assert_eq!(kek(1).id.as_bytes(), &expected[..16]);
        assert_eq!(kek(1).id.to_string().len(), 32);
        assert_ne!(kek(1).id, kek(2).id);
    }

    #[test]
    fn a_wrapped_secret_opens_for_its_purpose_only() {
        let field = kek(1).seal("ca key", b"secret", &Seeded::new(1));
        assert_eq!(&**kek(1).open("ca key", &field).unwrap(), b"secret");
        assert_eq!(kek(1).open("recovery key", &field).unwrap_err().code, Code::KeyWrong);
        assert_eq!(kek(2).open("ca key", &field).unwrap_err().code, Code::KeyWrong);
    }

    #[test]
    fn a_kek_shows_its_id_and_not_its_key() {
        let shown = format!("{:?}", kek(0xab));
        assert!(shown.contains(&kek(0xab).id.to_string()), "{shown}");
        assert!(!shown.contains("abab") && !shown.contains("171"), "{shown}");
    }
}
