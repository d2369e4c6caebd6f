//! An Ed25519 private key that signs certificates and requests.
//!
//! The key lives in the crypto library's own memory, which is wiped when freed; PKCS#8 bytes that
//! pass through here are wiped as well. There is no way to print one, and none to copy one.

use crate::identity::refused;
use core::fmt;
use holdfast_common::{Code, Entropy, Error, Result, Secret};
use rcgen::{PKCS_ED25519, SignatureAlgorithm};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use rustls::{SignatureScheme, crypto::aws_lc_rs::sign::any_eddsa_type, sign};
use std::sync::Arc;
use zeroize::{Zeroize, Zeroizing};

/// What stands before the 32 bytes of an Ed25519 key in PKCS#8, version 1 (RFC 8410 §7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

pub struct IdentityKey {
    signing: Arc<dyn sign::SigningKey>,
    public: [u8; 32],
}

impl IdentityKey {
    /// A new key, and its PKCS#8 form for whoever has to keep it.
    pub fn generate(entropy: &dyn Entropy) -> Result<(Self, Zeroizing<Vec<u8>>)> {
        let seed = Secret::<32>::random(entropy);
        let mut pkcs8 = Zeroizing::new(Vec::with_capacity(PKCS8_PREFIX.len() + 32));
        pkcs8.extend_from_slice(&PKCS8_PREFIX);
        pkcs8.extend_from_slice(seed.expose());
        Ok((Self::from_pkcs8(&pkcs8)?, pkcs8))
    }

    pub fn from_pkcs8(der: &[u8]) -> Result<Self> {
        let unreadable = || Error::new(Code::ConfigMalformed, "the key is not an Ed25519 key");
        let signing = any_eddsa_type(&PrivatePkcs8KeyDer::from(der)).map_err(|_| unreadable())?;
        // An Ed25519 SubjectPublicKeyInfo ends with the 32 bytes of the key.
        let public = signing
            .public_key()
            .and_then(|info| info.last_chunk::<32>().copied())
            .ok_or_else(unreadable)?;
        Ok(Self { signing, public })
    }

    pub fn from_pem(pem: &str) -> Result<Self> {
        let mut der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| {
            Error::new(Code::ConfigMalformed, "the key is not a PKCS#8 key in PEM form")
        })?;
        let key = Self::from_pkcs8(der.secret_pkcs8_der());
        der.zeroize();
        key
    }

    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    /// A request for a certificate: proof that this key is at hand. It names nobody.
    pub fn request(&self) -> Result<Vec<u8>> {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let request = params
            .serialize_request(self)
            .map_err(|error| refused("a request could not be made").cause(error))?;
        Ok(request.der().to_vec())
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityKey(…)")
    }
}

impl rcgen::PublicKeyData for IdentityKey {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl rcgen::SigningKey for IdentityKey {
    fn sign(&self, message: &[u8]) -> core::result::Result<Vec<u8>, rcgen::Error> {
        self.signing
            .choose_scheme(&[SignatureScheme::ED25519])
            .and_then(|signer| signer.sign(message).ok())
            .ok_or(rcgen::Error::RemoteKeyError)
    }
}

/// A PKCS#8 key as PEM text, wiped when dropped.
pub fn key_pem(pkcs8: &[u8]) -> Zeroizing<String> {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    Zeroizing::new(pem::encode_config(&pem::Pem::new("PRIVATE KEY", pkcs8), config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::SystemEntropy;

    /// The key pair of RFC 8032 §7.1, test 1.
    const SEED: [u8; 32] = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c,
        0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae,
        0x7f, 0x60,
    ];
    const PUBLIC: [u8; 32] = [
        0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07,
        0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07,
        0x51, 0x1a,
    ];

    struct Fixed;

    impl Entropy for Fixed {
        fn fill(&self, out: &mut [u8]) {
            out.copy_from_slice(&SEED);
        }
    }

    #[test]
    fn a_key_is_made_from_the_given_chance_and_read_back() {
        let (key, pkcs8) = IdentityKey::generate(&Fixed).unwrap();
        assert_eq!(key.public(), PUBLIC);
        assert_eq!(IdentityKey::from_pkcs8(&pkcs8).unwrap().public(), PUBLIC);
        assert_eq!(IdentityKey::from_pem(&key_pem(&pkcs8)).unwrap().public(), PUBLIC);
    }

    #[test]
    fn both_versions_of_pkcs8_are_read() {
        let mut second = vec![0x30, 0x51, 2, 1, 1];
        second.extend_from_slice(&PKCS8_PREFIX[5..]);
        second.extend_from_slice(&SEED);
        second.extend_from_slice(&[0x81, 0x21, 0]);
        second.extend_from_slice(&PUBLIC);
        assert_eq!(IdentityKey::from_pkcs8(&second).unwrap().public(), PUBLIC);
        *second.last_mut().unwrap() ^= 1;
        assert!(IdentityKey::from_pkcs8(&second).map_or(true, |key| key.public() == PUBLIC));
    }

    #[test]
    fn what_is_not_an_ed25519_key_is_refused_and_never_quoted() {
        let p256 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        assert_eq!(
            IdentityKey::from_pkcs8(&p256.serialize_der()).unwrap_err().code,
            Code::ConfigMalformed
        );
        let error = IdentityKey::from_pem("hunter2").unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"));
    }

    #[test]
    fn two_keys_differ() {
        let one = IdentityKey::generate(&SystemEntropy).unwrap().0;
        assert_ne!(one.public(), IdentityKey::generate(&SystemEntropy).unwrap().0.public());
    }
}
