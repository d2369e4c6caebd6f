//! HPKE as the format uses it: *suite 1*, base mode, single shot, X25519 with HKDF-SHA256 and
//! AES-256-GCM. Keys come and go as bytes; nothing of the library passes beyond this file.

use crate::derive::hold;
use core::convert::Infallible;
use holdfast_common::{Code, Entropy, Error, Result, Secret};
use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable,
    aead::AesGcm256,
    kdf::HkdfSha256,
    kem::X25519HkdfSha256,
    rand_core::{TryCryptoRng, TryRng},
    single_shot_open, single_shot_seal_with_rng,
};
use zeroize::Zeroizing;

pub(crate) const ENCAPSULATED_BYTES: usize = 32;
/// Number of the suite, as capsules name it.
pub(crate) const SUITE: u32 = 1;

/// A new pair: the private half and the public one.
pub(crate) fn generate(entropy: &dyn Entropy) -> (Secret<32>, [u8; 32]) {
    let (private, public) = X25519HkdfSha256::gen_keypair_with_rng(&mut Injected(entropy));
    (hold(private.to_bytes().into()), public.to_bytes().into())
}

pub(crate) fn public_of(private: &Secret<32>) -> [u8; 32] {
    X25519HkdfSha256::sk_to_pk(&private_key(private)).to_bytes().into()
}

/// Seals to a public key: the encapsulated key, and the ciphertext with its tag.
pub(crate) fn seal(
    public: &[u8; 32],
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    entropy: &dyn Entropy,
) -> Result<([u8; ENCAPSULATED_BYTES], Vec<u8>)> {
    let unusable =
        |error| Error::new(Code::KeyWrong, "nothing can be sealed to this public key").cause(error);
    let public = PublicKey::from_bytes(public).map_err(unusable)?;
    let (encapsulated, sealed) =
        single_shot_seal_with_rng::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &public,
            info,
            plaintext,
            aad,
            &mut Injected(entropy),
        )
        .map_err(unusable)?;
    Ok((encapsulated.to_bytes().into(), sealed))
}

pub(crate) fn open(
    private: &Secret<32>,
    info: &[u8],
    aad: &[u8],
    encapsulated: &[u8; ENCAPSULATED_BYTES],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>> {
    let encapsulated = EncappedKey::from_bytes(encapsulated).map_err(refused)?;
    single_shot_open::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &private_key(private),
        &encapsulated,
        info,
        sealed,
        aad,
    )
    .map(Zeroizing::new)
    .map_err(refused)
}

type PublicKey = <X25519HkdfSha256 as Kem>::PublicKey;
type PrivateKey = <X25519HkdfSha256 as Kem>::PrivateKey;
type EncappedKey = <X25519HkdfSha256 as Kem>::EncappedKey;

fn private_key(private: &Secret<32>) -> PrivateKey {
    match PrivateKey::from_bytes(private.expose()) {
        Ok(key) => key,
        Err(_) => unreachable!("any 32 bytes are an X25519 private key"),
    }
}

fn refused(error: hpke::HpkeError) -> Error {
    Error::new(Code::KeyWrong, "what was sealed to a public key does not open").cause(error)
}

/// The house's chance, in the shape that the library asks for.
struct Injected<'e>(&'e dyn Entropy);

impl TryRng for Injected<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.0.array()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.0.array()))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(out);
        Ok(())
    }
}

impl TryCryptoRng for Injected<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::Seeded;

    #[test]
    fn what_is_sealed_to_a_pair_opens_with_its_private_half_only() {
        let (private, public) = generate(&Seeded::new(1));
        assert_eq!(public_of(&private), public);
        let (enc, sealed) = seal(&public, b"info", b"aad", b"plain", &Seeded::new(2)).unwrap();
        assert_eq!(&**open(&private, b"info", b"aad", &enc, &sealed).unwrap(), b"plain");
        let (other, _) = generate(&Seeded::new(3));
        let code = |result: Result<Zeroizing<Vec<u8>>>| result.unwrap_err().code;
        assert_eq!(code(open(&other, b"info", b"aad", &enc, &sealed)), Code::KeyWrong);
        assert_eq!(code(open(&private, b"inf0", b"aad", &enc, &sealed)), Code::KeyWrong);
        assert_eq!(code(open(&private, b"info", b"aa", &enc, &sealed)), Code::KeyWrong);
    }

    #[test]
    fn a_public_key_of_low_order_is_refused() {
        let error = seal(&[0; 32], b"", b"", b"plain", &Seeded::new(2)).unwrap_err();
        assert_eq!(error.code, Code::KeyWrong);
        let (private, _) = generate(&Seeded::new(1));
        assert!(open(&private, b"", b"", &[0; 32], &[0; 48]).is_err());
    }
}
