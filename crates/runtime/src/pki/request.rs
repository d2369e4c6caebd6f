//! A public key whose holder has shown that the private half is at hand.
//!
//! Only such a key gets a certificate. Of a request nothing is kept but the key: the names and
//! uses that it asks for are not even looked at.

use super::IdentityKey;
use crate::identity::refused;
use holdfast_common::{Code, Error, Result, limits};
use rcgen::{CertificateSigningRequestParams, PKCS_ED25519, PublicKeyData, SignatureAlgorithm};
use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenKey([u8; 32]);

impl ProvenKey {
    /// From a request (PKCS#10, DER) that is signed with the key it carries.
    pub fn from_request(der: &[u8]) -> Result<Self> {
        if der.len() > limits::CERT_REQUEST_BYTES_MAX {
            let message = format!("a certificate request has {} bytes", der.len());
            return Err(Error::new(Code::LimitExceeded, message));
        }
        check_wrapping(der)?;
        let request = CertificateSigningRequestParams::from_der(&der.into())
            .map_err(|error| refused("a certificate request is not acceptable").cause(error))?;
        if request.public_key.algorithm() != &PKCS_ED25519 {
            return Err(refused("the key of a certificate request is not Ed25519"));
        }
        <[u8; 32]>::try_from(request.public_key.der_bytes())
            .map(Self)
            .map_err(|_| refused("the key of a certificate request is not Ed25519"))
    }

    /// From a key of this process, which is proof enough.
    pub fn own(key: &IdentityKey) -> Self {
        Self(key.public())
    }

    /// From an enrolled key whose holder signed a challenge that the caller has checked.
    pub fn checked_elsewhere(public: [u8; 32]) -> Self {
        Self(public)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PublicKeyData for ProvenKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

/// What follows the signed part: the algorithm, Ed25519, and the head of a signature of 64 bytes.
const SIGNATURE_HEAD: [u8; 10] = [0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x41, 0];
const SIGNATURE_BYTES: usize = 64;

/// The signature covers the request but not what wraps the two, where the parser takes other tags
/// and bytes after the end. DER has one spelling, so anything but that one is refused.
fn check_wrapping(der: &[u8]) -> Result<()> {
    let tail = SIGNATURE_HEAD.len() + SIGNATURE_BYTES;
    let head_at = der.len().checked_sub(tail);
    let ends_well = head_at.is_some_and(|at| der[at..].starts_with(&SIGNATURE_HEAD));
    let is_whole = X509CertificationRequest::from_der(der).is_ok_and(|(rest, _)| rest.is_empty());
    if der.first() == Some(&0x30) && ends_well && is_whole {
        return Ok(());
    }
    Err(refused("a certificate request is not the DER of one with an Ed25519 key"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::SystemEntropy;

    fn key() -> IdentityKey {
        IdentityKey::generate(&SystemEntropy).unwrap().0
    }

    #[test]
    fn a_request_gives_the_key_that_signed_it() {
        let key = key();
        let proven = ProvenKey::from_request(&key.request().unwrap()).unwrap();
        assert_eq!(proven.as_bytes(), &key.public());
    }

    #[test]
    fn a_request_with_any_bit_changed_or_a_byte_added_is_refused() {
        let request = key().request().unwrap();
        for bit in 0..request.len() * 8 {
            let mut tampered = request.clone();
            tampered[bit / 8] ^= 1 << (bit % 8);
            let error = ProvenKey::from_request(&tampered).expect_err(&format!("bit {bit}"));
            assert_eq!(error.code, Code::CertificateRefused);
        }
        let longer = [request.as_slice(), &[0]].concat();
        assert!(ProvenKey::from_request(&longer).is_err());
        // Even when the added bytes repeat the end that is looked for.
        let twice = [request.as_slice(), &request[request.len() - 74..]].concat();
        assert!(ProvenKey::from_request(&twice).is_err());
        assert!(ProvenKey::from_request(&request[..request.len() - 1]).is_err());
    }

    #[test]
    fn a_request_for_somebody_elses_key_is_refused() {
        let (own, other) = (key(), key());
        let mut request = own.request().unwrap();
        let at = request.windows(32).position(|w| w == own.public()).unwrap();
        request[at..at + 32].copy_from_slice(&other.public());
        assert_eq!(ProvenKey::from_request(&request).unwrap_err().code, Code::CertificateRefused);
    }

    #[test]
    fn another_algorithm_and_too_long_a_request_are_refused() {
        let p256 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let request = rcgen::CertificateParams::default().serialize_request(&p256).unwrap();
        let error = ProvenKey::from_request(request.der()).unwrap_err();
        assert_eq!(error.code, Code::CertificateRefused);
        let long = vec![0; limits::CERT_REQUEST_BYTES_MAX + 1];
        assert_eq!(ProvenKey::from_request(&long).unwrap_err().code, Code::LimitExceeded);
    }
}
