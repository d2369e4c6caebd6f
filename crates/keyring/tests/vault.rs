//! Claims about capsules and footers: who opens them, and everything that must not.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

#[path = "../src/seeded.rs"]
mod seeded;

use holdfast_common::{ChunkId, ChunkKind, Code, Secret, SegmentId, VaultId, limits};
use holdfast_keyring::{
    Capsule, CoordinatorKey, DataKey, IndexPrivateKey, VaultPrivateKey, VaultPublicKey,
};
use proptest::prelude::*;
use seeded::Seeded;

const VAULT: VaultId = VaultId::from_bytes([1; 16]);
const OTHER: VaultId = VaultId::from_bytes([2; 16]);
const DIGEST: [u8; 32] = [9; 32];

fn private(vault: VaultId, version: u32) -> VaultPrivateKey {
    VaultPrivateKey::from_secret(vault, version, Secret::take(&mut [3; 32]))
}

fn index(vault: VaultId, version: u32) -> IndexPrivateKey {
    IndexPrivateKey::from_secret(vault, version, Secret::take(&mut [4; 32]))
}

fn same(a: &DataKey, b: &DataKey) -> bool {
    let id = ChunkId::from_bytes([7; 32]);
    let key = |data: &DataKey| *data.chunk_key(ChunkKind::Data, &id).expose();
    key(a) == key(b)
}

#[test]
fn a_capsule_opens_to_the_sessions_data_key() {
    let (data_key, capsule) = private(VAULT, 3).public().encapsulate(&Seeded::new(1)).unwrap();
    assert_eq!(capsule.vault_key_version(), 3);
    let again = Capsule::from_bytes(&capsule.to_bytes()).unwrap();
    assert_eq!(again, capsule);
    assert!(same(&private(VAULT, 3).open(&again).unwrap(), &data_key));
    assert_eq!(capsule.id().as_bytes(), blake3::hash(&capsule.to_bytes()).as_bytes());
}

#[test]
fn two_sessions_share_neither_data_key_nor_capsule() {
    let (entropy, public) = (Seeded::new(1), private(VAULT, 1).public());
    let (a, first) = public.encapsulate(&entropy).unwrap();
    let (b, second) = public.encapsulate(&entropy).unwrap();
    assert!(!same(&a, &b));
    assert_ne!(first.id(), second.id());
}

#[test]
fn another_key_vault_or_version_does_not_open_a_capsule() {
    let (_, capsule) = private(VAULT, 1).public().encapsulate(&Seeded::new(1)).unwrap();
    let stranger = VaultPrivateKey::generate(VAULT, 1, &Seeded::new(2));
    for wrong in [stranger, private(OTHER, 1), private(VAULT, 2)] {
        let error = wrong.open(&capsule).unwrap_err();
        assert_eq!(error.code, Code::KeyWrong, "{wrong:?}");
    }
}

#[test]
fn a_capsule_that_names_another_version_does_not_open_under_it() {
    let (_, capsule) = private(VAULT, 1).public().encapsulate(&Seeded::new(1)).unwrap();
    let mut bytes = capsule.to_bytes();
    assert_eq!(bytes[..5], [0xa4, 0, 1, 1, 1], "suite 1, version 1");
    bytes[4] = 2;
    let renamed = Capsule::from_bytes(&bytes).unwrap();
    assert_eq!(renamed.vault_key_version(), 2);
    assert_eq!(private(VAULT, 2).open(&renamed).unwrap_err().code, Code::KeyWrong);
}

#[test]
fn every_flipped_bit_and_truncation_of_a_capsule_is_refused() {
    let (_, capsule) = private(VAULT, 1).public().encapsulate(&Seeded::new(1)).unwrap();
    let bytes = capsule.to_bytes();
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let opened = Capsule::from_bytes(&bad).and_then(|c| private(VAULT, 1).open(&c));
        // X25519 ignores the top bit of a public key; HPKE binds the bytes themselves.
        assert!(opened.is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(Capsule::from_bytes(&bytes[..length]).is_err(), "length {length}");
    }
}

#[test]
fn a_later_suite_is_named_as_such_and_an_oversized_capsule_is_not_read() {
    let later = [&[0xa3, 0, 2, 1, 1, 2, 0x59, 4, 0x60][..], &[0; 0x460]].concat();
    assert_eq!(Capsule::from_bytes(&later).unwrap_err().code, Code::VersionUnknown);
    let large = vec![0; limits::CAPSULE_BYTES_MAX + 1];
    assert_eq!(Capsule::from_bytes(&large).unwrap_err().code, Code::LimitExceeded);
}

#[test]
fn a_capsule_with_a_field_we_do_not_know_keeps_its_bytes_and_its_id() {
    let (data_key, capsule) = private(VAULT, 1).public().encapsulate(&Seeded::new(1)).unwrap();
    let mut bytes = capsule.to_bytes();
    assert_eq!(bytes[0], 0xa4);
    bytes[0] = 0xa5;
    bytes.extend_from_slice(&[0x18, 99, 0]);
    let newer = Capsule::from_bytes(&bytes).unwrap();
    assert_eq!(newer.to_bytes(), bytes);
    assert_ne!(newer.id(), capsule.id());
    assert!(same(&private(VAULT, 1).open(&newer).unwrap(), &data_key));
}

#[test]
fn a_footer_opens_with_its_index_key_over_its_own_prefix() {
    let sealed = index(VAULT, 1).public().seal_footer(&DIGEST, b"rows", &Seeded::new(1)).unwrap();
    assert_eq!(sealed.len(), 32 + 4 + 16);
    assert_eq!(index(VAULT, 1).open_footer(&DIGEST, &sealed).unwrap(), b"rows");
}

#[test]
fn another_key_vault_version_or_prefix_does_not_open_a_footer() {
    let sealed = index(VAULT, 1).public().seal_footer(&DIGEST, b"rows", &Seeded::new(1)).unwrap();
    let stranger = IndexPrivateKey::generate(VAULT, 1, &Seeded::new(2));
    for wrong in [stranger, index(OTHER, 1), index(VAULT, 2)] {
        let error = wrong.open_footer(&DIGEST, &sealed).unwrap_err();
        assert_eq!(error.code, Code::KeyWrong, "{wrong:?}");
    }
    let moved = index(VAULT, 1).open_footer(&[8; 32], &sealed).unwrap_err();
    assert_eq!(moved.code, Code::KeyWrong);
}

#[test]
fn every_flipped_bit_and_truncation_of_a_footer_is_refused() {
    let sealed = index(VAULT, 1).public().seal_footer(&DIGEST, b"rows", &Seeded::new(1)).unwrap();
    for bit in 0..sealed.len() * 8 {
        let mut bad = sealed.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(index(VAULT, 1).open_footer(&DIGEST, &bad).is_err(), "bit {bit}");
    }
    for length in 0..sealed.len() {
        assert!(index(VAULT, 1).open_footer(&DIGEST, &sealed[..length]).is_err(), "{length}");
    }
}

#[test]
fn nothing_is_sealed_to_a_public_key_of_low_order() {
    let weak = VaultPublicKey { key: [0; 32], ..private(VAULT, 1).public() };
    assert_eq!(weak.encapsulate(&Seeded::new(1)).unwrap_err().code, Code::KeyWrong);
}

#[test]
fn a_segment_key_follows_from_the_coordinator_key_and_the_segment() {
    let key = CoordinatorKey::from_secret(Secret::take(&mut [5; 32]));
    let material = [[5u8; 32].as_slice(), &[6; 16]].concat();
    let expected = blake3::derive_key("holdfast 2026 segment key v1", &material);
    assert_eq!(key.segment_key(&SegmentId::from_bytes([6; 16])).expose(), &expected);
}

#[test]
fn no_private_half_is_printed() {
    let shown = format!("{:?} {:?}", private(VAULT, 1), index(VAULT, 1));
    assert_eq!(shown.matches("Secret<32>(…)").count(), 2, "{shown}");
    assert!(!shown.contains("3, 3, 3") && !shown.contains("4, 4, 4"), "{shown}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_capsule_and_no_footer(bytes: Vec<u8>) {
        if let Ok(capsule) = Capsule::from_bytes(&bytes) {
            prop_assert!(private(VAULT, capsule.vault_key_version()).open(&capsule).is_err());
        }
        prop_assert!(index(VAULT, 1).open_footer(&DIGEST, &bytes).is_err());
    }

    #[test]
    fn any_footer_returns(plaintext: Vec<u8>, digest: [u8; 32], seed: u64) {
        let public = index(VAULT, 1).public();
        let sealed = public.seal_footer(&digest, &plaintext, &Seeded::new(seed)).unwrap();
        prop_assert_eq!(index(VAULT, 1).open_footer(&digest, &sealed).unwrap(), plaintext);
    }
}
