//! AES-256-GCM for small things: the one place where a nonce is drawn and a tag is checked.
//!
//! A *field* is `nonce ‖ ciphertext ‖ tag`. Nonces are random and never counted: a host that wakes
//! from a memory snapshot must not repeat one. `open` tells a wrong key from a damaged field as
//! little as GCM does; who knows what was opened maps the refusal to a code of its own.

use aes_gcm::{Aes256Gcm, Key, KeyInit, Nonce, Tag, aead::AeadInOut};
use holdfast_common::{Code, Entropy, Error, Result};
use zeroize::{Zeroize, Zeroizing};

pub const NONCE_BYTES: usize = 12;
pub const TAG_BYTES: usize = 16;
/// What a field is longer than its plaintext.
pub const FIELD_OVERHEAD_BYTES: usize = NONCE_BYTES + TAG_BYTES;

pub fn seal(key: &[u8; 32], aad: &[u8], plaintext: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
    let mut field = Vec::with_capacity(plaintext.len() + FIELD_OVERHEAD_BYTES);
    field.resize(NONCE_BYTES, 0);
    field.extend_from_slice(plaintext);
    seal_in_place(key, aad, &mut field, entropy);
    field
}

/// Seals what follows the first [`NONCE_BYTES`] of the buffer, writes the nonce there and appends
/// the tag. A buffer with [`TAG_BYTES`] to spare is not moved.
pub fn seal_in_place(key: &[u8; 32], aad: &[u8], buffer: &mut Vec<u8>, entropy: &dyn Entropy) {
    assert!(buffer.len() >= NONCE_BYTES, "no room was left for the nonce");
    let nonce: [u8; NONCE_BYTES] = entropy.array();
    let (head, body) = buffer.split_at_mut(NONCE_BYTES);
    head.copy_from_slice(&nonce);
    match cipher(key).encrypt_inout_detached(&Nonce::from(nonce), aad, body.into()) {
        Ok(tag) => buffer.extend_from_slice(&tag),
        Err(_) => unreachable!("no plaintext here reaches the 64 GiB that GCM allows"),
    }
}

pub fn open(key: &[u8; 32], aad: &[u8], field: &[u8]) -> Result<Vec<u8>> {
    let mut copy = field.to_vec();
    let length = open_in_place(key, aad, &mut copy)?.len();
    copy.copy_within(NONCE_BYTES..NONCE_BYTES + length, 0);
    copy[length..].zeroize();
    copy.truncate(length);
    Ok(copy)
}

/// Opens a field where it lies; the plaintext is the part that is returned.
pub fn open_in_place<'f>(key: &[u8; 32], aad: &[u8], field: &'f mut [u8]) -> Result<&'f mut [u8]> {
    let (head, rest) = field.split_first_chunk_mut::<NONCE_BYTES>().ok_or_else(too_short)?;
    let (body, tag) = rest.split_last_chunk_mut::<TAG_BYTES>().ok_or_else(too_short)?;
    cipher(key)
        .decrypt_inout_detached(&Nonce::from(*head), aad, (&mut *body).into(), &Tag::from(*tag))
        .map_err(|_| refused())?;
    Ok(body)
}

/// Opens a field whose plaintext is a secret, and leaves no copy of it behind.
pub(crate) fn open_wiped(key: &[u8; 32], aad: &[u8], field: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    open(key, aad, field).map(Zeroizing::new)
}

fn cipher(key: &[u8; 32]) -> Aes256Gcm {
    Aes256Gcm::new(<&Key<Aes256Gcm>>::from(key))
}

fn too_short() -> Error {
    Error::new(Code::KeyWrong, "the sealed bytes are too short to hold a nonce and a tag")
}

fn refused() -> Error {
    Error::new(Code::KeyWrong, "the sealed bytes do not open")
        .cause("sealed with another key, for another place, or damaged")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::Seeded;
    use proptest::prelude::*;

    const KEY: [u8; 32] = [7; 32];

    #[test]
    fn a_field_is_nonce_then_ciphertext_then_tag() {
        let field = seal(&KEY, b"aad", b"plain", &Seeded::new(1));
        assert_eq!(field.len(), 5 + FIELD_OVERHEAD_BYTES);
        let nonce: [u8; 12] = (&Seeded::new(1) as &dyn Entropy).array();
        assert_eq!(field[..12], nonce);
        assert_eq!(open(&KEY, b"aad", &field).unwrap(), b"plain");
    }

    #[test]
    fn two_fields_of_one_plaintext_share_no_nonce() {
        let entropy = Seeded::new(1);
        let a = seal(&KEY, b"", b"plain", &entropy);
        assert_ne!(a[..12], seal(&KEY, b"", b"plain", &entropy)[..12]);
    }

    #[test]
    fn the_known_vector_of_gcm_opens() {
        // Test case 14 of the GCM specification: zero key, zero nonce, 16 zero bytes.
        let field = hex::decode(
            "000000000000000000000000\
             cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919",
        )
        .unwrap();
        assert_eq!(open(&[0; 32], b"", &field).unwrap(), [0; 16]);
    }

    #[test]
    fn another_key_or_other_additional_data_is_refused() {
        let field = seal(&KEY, b"aad", b"plain", &Seeded::new(1));
        assert_eq!(open(&[8; 32], b"aad", &field).unwrap_err().code, Code::KeyWrong);
        assert_eq!(open(&KEY, b"aae", &field).unwrap_err().code, Code::KeyWrong);
        assert_eq!(open(&KEY, b"", &field).unwrap_err().code, Code::KeyWrong);
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_refused() {
        let field = seal(&KEY, b"aad", b"plain", &Seeded::new(1));
        for bit in 0..field.len() * 8 {
            let mut bad = field.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&KEY, b"aad", &bad).unwrap_err().code, Code::KeyWrong, "bit {bit}");
        }
        for length in 0..field.len() {
            assert!(open(&KEY, b"aad", &field[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn in_place_and_copying_forms_agree() {
        let mut buffer = vec![0; NONCE_BYTES];
        buffer.extend_from_slice(b"plain");
        seal_in_place(&KEY, b"aad", &mut buffer, &Seeded::new(3));
        assert_eq!(buffer, seal(&KEY, b"aad", b"plain", &Seeded::new(3)));
        assert_eq!(open_in_place(&KEY, b"aad", &mut buffer).unwrap(), b"plain");
    }

    proptest! {
        #[test]
        fn any_plaintext_returns(
            key: [u8; 32], aad: Vec<u8>, plaintext: Vec<u8>, seed: u64,
        ) {
            let field = seal(&key, &aad, &plaintext, &Seeded::new(seed));
            prop_assert_eq!(open(&key, &aad, &field).unwrap(), plaintext);
        }

        #[test]
        fn arbitrary_bytes_never_open_and_never_panic(key: [u8; 32], field: Vec<u8>) {
            prop_assert!(open(&key, b"", &field).is_err());
        }
    }
}
