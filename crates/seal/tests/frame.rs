//! Frames: what was sealed opens; nothing else does, and nothing else is believed.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests may")]

#[allow(dead_code, reason = "each test binary uses its part")]
mod fixture;

use aes_gcm::{Aes256Gcm, KeyInit, aead::AeadInOut};
use fixture::{Seeded, VAULT, data_key, ids, prose};
use holdfast_common::{ChunkId, ChunkKind, Code, Result, Secret, VaultId, limits};
use holdfast_keyring::{chunk_key::DataKey, id_key::IdKey};
use holdfast_seal::{Opener, PlainChunk, SealedChunk, Sealer, frame};
use proptest::prelude::*;
use std::sync::Arc;

fn sealer() -> Sealer {
    Sealer::new(VAULT, Arc::new(data_key()), 3).unwrap()
}

fn seal(kind: ChunkKind, bytes: Vec<u8>) -> SealedChunk {
    let chunk = PlainChunk::new(&ids(), kind, bytes.into());
    sealer().seal(&chunk, &Seeded::new(9)).unwrap()
}

fn open(kind: ChunkKind, id: &ChunkId, bytes: &[u8]) -> Result<Vec<u8>> {
    let key = data_key().chunk_key(kind, id);
    frame::open(VAULT, kind, id, &key, &ids(), bytes)
}

fn kinds() -> impl Strategy<Value = ChunkKind> {
    prop_oneof![Just(ChunkKind::Data), Just(ChunkKind::Page)]
}

/// A frame that is authentic and holds whatever the test wants.
fn authentic(id: &ChunkId, inside: &[u8]) -> Vec<u8> {
    let key = data_key().chunk_key(ChunkKind::Data, id);
    let bound = [b"hf1".as_slice(), VAULT.as_bytes(), &[1], id.as_bytes()].concat();
    let mut sealed = inside.to_vec();
    Aes256Gcm::new(key.expose().into())
        .encrypt_in_place(&[3; 12].into(), &bound, &mut sealed)
        .unwrap();
    [vec![3; 12], sealed].concat()
}

fn assert_damaged(result: Result<Vec<u8>>, what: &str) {
    assert_eq!(result.expect_err(what).code, Code::ChunkDamaged, "{what}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_sealed_opens(
        seed: u64, length in 0usize..300_000, compressible: bool, kind in kinds(),
    ) {
        let plain =
            if compressible { prose(seed, length) } else { Seeded::new(seed).bytes(length) };
        let sealed = seal(kind, plain.clone());
        prop_assert_eq!(sealed.plain_length as usize, length);
        prop_assert!(sealed.frame.len() <= length + limits::FRAME_OVERHEAD_BYTES);
        if compressible && length > 1000 {
            prop_assert!(sealed.frame.len() < length / 2);
        }
        prop_assert_eq!(open(kind, &sealed.id, &sealed.frame).unwrap(), plain);
    }

    #[test]
    fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let result = open(ChunkKind::Data, &ids().data_id(b"x"), &bytes);
        prop_assert_eq!(result.unwrap_err().code, Code::ChunkDamaged);
    }

    #[test]
    fn arbitrary_but_authentic_insides_are_refused(
        mut inside in prop::collection::vec(any::<u8>(), 0..200), codec in 0u8..4,
    ) {
        if let Some(first) = inside.first_mut() {
            *first = codec;
        }
        let id = ids().data_id(b"what was asked for");
        let result = open(ChunkKind::Data, &id, &authentic(&id, &inside));
        prop_assert_eq!(result.unwrap_err().code, Code::ChunkDamaged);
    }
}

#[test]
fn every_flipped_bit_and_every_truncation_is_refused() {
    let sealed = seal(ChunkKind::Data, prose(1, 300));
    for at in 0..sealed.frame.len() {
        for bit in 0..8 {
            let mut bytes = sealed.frame.clone();
            bytes[at] ^= 1 << bit;
            assert_damaged(open(ChunkKind::Data, &sealed.id, &bytes), &format!("{at}.{bit}"));
        }
        assert_damaged(open(ChunkKind::Data, &sealed.id, &sealed.frame[..at]), "truncated");
    }
    let longer = [sealed.frame.as_slice(), &[0]].concat();
    assert_damaged(open(ChunkKind::Data, &sealed.id, &longer), "extended");
    let huge = vec![0; limits::FRAME_BYTES_MAX + 1];
    assert_damaged(open(ChunkKind::Data, &sealed.id, &huge), "longer than frames may be");
}

#[test]
fn another_key_kind_vault_or_id_does_not_open_a_frame() {
    let (ids, key) = (ids(), data_key());
    let SealedChunk { id, frame: bytes, .. } = seal(ChunkKind::Data, prose(2, 1000));
    let chunk_key = key.chunk_key(ChunkKind::Data, &id);
    let open = |vault, kind, id, key| frame::open(vault, kind, id, key, &ids, &bytes);
    assert!(open(VAULT, ChunkKind::Data, &id, &chunk_key).is_ok());
    assert_damaged(open(VaultId::from_bytes([9; 16]), ChunkKind::Data, &id, &chunk_key), "vault");
    assert_damaged(open(VAULT, ChunkKind::Page, &id, &chunk_key), "kind");
    let other = ids.data_id(b"other");
    assert_damaged(open(VAULT, ChunkKind::Data, &other, &chunk_key), "id");
    let page_key = key.chunk_key(ChunkKind::Page, &id);
    assert_damaged(open(VAULT, ChunkKind::Data, &id, &page_key), "chunk key");
    let foreign = DataKey::from_secret(Secret::take(&mut [8; 32]));
    let foreign = foreign.chunk_key(ChunkKind::Data, &id);
    assert_damaged(open(VAULT, ChunkKind::Data, &id, &foreign), "data key");
}

#[test]
fn other_bytes_sealed_under_an_honest_id_are_found_out() {
    let id = ids().data_id(b"honest");
    let junk = PlainChunk { kind: ChunkKind::Data, id, bytes: b"junk".to_vec().into() };
    let sealed = sealer().seal(&junk, &Seeded::new(1)).unwrap();
    assert_damaged(open(ChunkKind::Data, &id, &sealed.frame), "junk");
    let strange = IdKey::from_secret(Secret::take(&mut [7; 32]));
    let honest = seal(ChunkKind::Data, b"honest".to_vec());
    let key = data_key().chunk_key(ChunkKind::Data, &id);
    assert!(open(ChunkKind::Data, &id, &honest.frame).is_ok());
    let result = frame::open(VAULT, ChunkKind::Data, &id, &key, &strange, &honest.frame);
    assert_damaged(result, "the id key of somebody else");
}

#[test]
fn a_declared_length_is_neither_believed_nor_exceeded() {
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
    let small = zstd::bulk::compress(b"hello", 3).unwrap();
    let max = limits::CHUNK_BYTES_MAX as u32;
    let cases: [(&str, u8, u32, &[u8]); 9] = [
        ("a bomb that declares little", 1, 100, &bomb),
        ("a bomb that declares the most", 1, max, &bomb),
        ("more than a chunk has", 1, max + 1, &small),
        ("all there is", 1, u32::MAX, &small),
        ("one too many", 1, 6, &small),
        ("one too few", 1, 4, &small),
        ("raw, too many", 0, 6, b"hello"),
        ("raw, too few", 0, 4, b"hello"),
        ("no codec", 2, 5, b"hello"),
    ];
    let id = ids().data_id(b"hello");
    let inside = |codec: u8, length: u32, payload: &[u8]| {
        [&[codec], length.to_le_bytes().as_slice(), payload].concat()
    };
    for (what, codec, length, payload) in cases {
        let bytes = authentic(&id, &inside(codec, length, payload));
        assert_damaged(open(ChunkKind::Data, &id, &bytes), what);
    }
    for (codec, payload) in [(0, b"hello".as_slice()), (1, &small)] {
        let bytes = authentic(&id, &inside(codec, 5, payload));
        assert_eq!(open(ChunkKind::Data, &id, &bytes).unwrap(), b"hello");
    }
    assert_damaged(open(ChunkKind::Data, &id, &authentic(&id, &[])), "nothing inside");
    assert_damaged(open(ChunkKind::Data, &id, &authentic(&id, &[0, 5, 0, 0])), "no length");
}

#[test]
fn a_frame_of_more_than_a_chunk_is_refused_though_all_it_says_is_true() {
    let open_zeros = |length: usize| {
        let plain = vec![0; length];
        let id = ids().data_id(&plain);
        let payload = zstd::bulk::compress(&plain, 1).unwrap();
        let declared = (length as u32).to_le_bytes();
        let bytes = authentic(&id, &[&[1], declared.as_slice(), &payload].concat());
        open(ChunkKind::Data, &id, &bytes)
    };
    assert_eq!(open_zeros(limits::CHUNK_BYTES_MAX).unwrap().len(), limits::CHUNK_BYTES_MAX);
    assert_damaged(open_zeros(limits::CHUNK_BYTES_MAX + 1), "one byte more");
}

#[test]
fn the_largest_chunk_is_sealed_and_a_longer_one_is_not() {
    let largest = Seeded::new(4).bytes(limits::CHUNK_BYTES_MAX);
    let sealed = seal(ChunkKind::Data, largest.clone());
    assert_eq!(sealed.frame.len(), limits::FRAME_BYTES_MAX);
    assert!(open(ChunkKind::Data, &sealed.id, &sealed.frame).unwrap() == largest);
    let longer = [largest, vec![0]].concat();
    let chunk = PlainChunk::new(&ids(), ChunkKind::Data, longer.into());
    let refused = sealer().seal(&chunk, &Seeded::new(1)).unwrap_err();
    assert_eq!(refused.code, Code::LimitExceeded);
}

#[test]
fn sealing_twice_gives_two_nonces() {
    let chunk = PlainChunk::new(&ids(), ChunkKind::Data, prose(3, 100).into());
    let (mut sealer, chance) = (sealer(), Seeded::new(1));
    let [a, b] = [(); 2].map(|()| sealer.seal(&chunk, &chance).unwrap());
    assert_eq!(a.id, b.id);
    assert_ne!(a.frame[..12], b.frame[..12]);
    assert_ne!(a.frame[12..], b.frame[12..]);
}

#[test]
fn a_read_back_accepts_what_was_sealed_and_nothing_else() {
    let mut opener = Opener::new(VAULT).unwrap();
    let sealed = seal(ChunkKind::Page, prose(4, 5000));
    opener.verify_sealed(&sealed, &data_key(), &ids()).unwrap();
    let mut flipped = sealed.clone();
    flipped.frame[40] ^= 1;
    let lying = SealedChunk { plain_length: 4999, ..sealed };
    for wrong in [flipped, lying] {
        let refused = opener.verify_sealed(&wrong, &data_key(), &ids()).unwrap_err();
        assert_eq!(refused.code, Code::ChunkDamaged);
    }
}

#[test]
fn threads_seal_with_one_key() {
    let key = Arc::new(data_key());
    let frames: Vec<SealedChunk> = std::thread::scope(|scope| {
        let spawn = |n: u64| {
            let mut sealer = Sealer::new(VAULT, key.clone(), 1).unwrap();
            scope.spawn(move || {
                let chunk = PlainChunk::new(&ids(), ChunkKind::Data, prose(n, 70_000).into());
                sealer.seal(&chunk, &Seeded::new(n)).unwrap()
            })
        };
        let threads: Vec<_> = (0..4).map(spawn).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (n, sealed) in frames.iter().enumerate() {
        let plain = open(ChunkKind::Data, &sealed.id, &sealed.frame).unwrap();
        assert_eq!(plain, prose(n as u64, 70_000));
    }
}

#[test]
fn a_refusal_does_not_show_the_whole_id() {
    let id = ids().data_id(b"x");
    let refused = open(ChunkKind::Data, &id, b"").unwrap_err();
    assert!(!refused.to_string().contains(&id.to_string()), "{refused}");
    assert!(refused.to_string().contains(&id.to_string()[..8]), "{refused}");
}
