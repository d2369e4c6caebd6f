//! Points: the exact signed bytes survive, and what is not the point asked for is refused.

use crate::clear::{Clear, OTHER_VAULT, VAULT, chunk, flipped, small_pack};
use bytes::Bytes;
use holdfast_common::{
    AgentId, ChunkKind, Code, PackId, PointId, Result, RunId, Timestamp, limits,
};
use holdfast_repository::{
    IdKeyScope, PackBuilder, PointObject, PointRecord, PointState,
    point::{ChunkProfileOne, FormatOne, signed_message},
};
use proptest::{collection::vec, prelude::*};

pub(crate) const POINT: PointId = PointId::from_bytes([0x99; 16]);

pub(crate) fn record(inline: &[Bytes]) -> PointRecord {
    let hash = |pack: &Bytes| PackId::from_bytes(blake3::hash(pack).into());
    PointRecord {
        format: FormatOne::One,
        point: POINT,
        vault: VAULT,
        agent: AgentId::from_bytes([1; 16]),
        run: RunId::from_bytes([2; 16]),
        policy: Some("nightly".parse().unwrap()),
        source: "files /srv".to_owned(),
        started: Timestamp::from_nanos(1_795_255_200_000_000_000),
        ended: Timestamp::from_nanos(1_795_255_260_000_000_000),
        root: chunk(7),
        height: 2,
        entries: 1_000,
        bytes: 123_456_789_012,
        previous: Some(PointId::from_bytes([3; 16])),
        state: PointState::Complete,
        chunk_profile: ChunkProfileOne::One,
        id_key_scope: IdKeyScope::Agent,
        skipped: 0,
        inline_packs: inline.iter().map(hash).collect(),
        skipped_page: None,
    }
}

pub(crate) fn page_pack() -> Bytes {
    let mut builder = PackBuilder::new(VAULT, ChunkKind::Page);
    builder.add_capsule(&[0xc1; 20]).unwrap();
    builder.push(chunk(7), 0, &[0xf7; 33]).unwrap();
    builder.finish(&Clear).unwrap().bytes
}

pub(crate) fn object(inline: Vec<Bytes>) -> PointObject {
    let record_bytes = record(&inline).to_bytes().into();
    PointObject::new(record_bytes, [0x5e; 64], inline).unwrap()
}

fn parse(bytes: &[u8]) -> Result<PointObject> {
    PointObject::parse(&VAULT, &POINT, &Bytes::copy_from_slice(bytes))
}

fn states() -> impl Strategy<Value = PointState> {
    prop_oneof![
        Just(PointState::Checkpoint),
        Just(PointState::Complete),
        Just(PointState::Partial),
        Just(PointState::Safety),
    ]
}

#[test]
fn the_states_of_a_point_keep_their_numbers() {
    let states =
        [PointState::Complete, PointState::Checkpoint, PointState::Partial, PointState::Safety];
    let numbers: Vec<u8> = (1..=4).collect();
    assert_eq!(states.map(|state| holdfast_common::record::to_bytes(&state)).concat(), numbers);
}

proptest! {
    #[test]
    fn a_point_is_read_back_as_it_was_signed(
        state in states(),
        source in ".{0,60}",
        (with_policy, first, vault_scope) in any::<(bool, bool, bool)>(),
        (height, entries, bytes, skipped) in (1..=255u8, any::<u64>(), any::<u64>(), any::<u64>()),
        signature in vec(any::<u8>(), 64),
        packs in vec(vec(any::<u8>(), 0..300), 0..=2),
    ) {
        let packs: Vec<Bytes> = packs.into_iter().map(Bytes::from).collect();
        let plain = record(&packs);
        let record = PointRecord {
            policy: plain.policy.clone().filter(|_| with_policy),
            source,
            height,
            entries,
            bytes,
            previous: plain.previous.filter(|_| !first),
            state,
            id_key_scope: if vault_scope { IdKeyScope::Vault } else { IdKeyScope::Agent },
            skipped,
            ..plain
        };
        let record_bytes = Bytes::from(record.to_bytes());
        let signature: [u8; 64] = signature.try_into().unwrap();
        let object = PointObject::new(record_bytes.clone(), signature, packs.clone()).unwrap();
        let back = parse(&object.to_object()).unwrap();
        prop_assert_eq!(back.record(), &record);
        prop_assert_eq!(back.record_bytes(), &record_bytes);
        prop_assert_eq!(back.signature(), &signature);
        prop_assert_eq!(back.inline(), &packs[..]);
    }
}

#[test]
fn the_message_that_is_signed_names_its_purpose() {
    assert_eq!(signed_message(b"record"), b"holdfast point v1record");
}

#[test]
fn a_record_with_fields_of_the_future_keeps_the_bytes_that_were_signed() {
    let mut bytes = record(&[]).to_bytes();
    assert_eq!(bytes[0], 0xb3, "a map of nineteen");
    bytes[0] = 0xb4;
    // Field 32, a text.
    bytes.extend_from_slice(&[0x18, 0x20, 0x61, b'x']);
    let object = PointObject::new(bytes.clone().into(), [0; 64], Vec::new()).unwrap();
    let back = parse(&object.to_object()).unwrap();
    assert_eq!(back.record_bytes(), &bytes);
    assert_eq!(back.record(), &record(&[]));
}

#[test]
fn every_flipped_byte_outside_record_and_signature_is_refused() {
    let inline = vec![page_pack()];
    let whole = object(inline.clone()).to_object();
    let record_bytes = record(&inline).to_bytes();
    let signature = 12 + record_bytes.len()..12 + record_bytes.len() + 64;
    for at in 0..whole.len() {
        let outcome = parse(&flipped(&whole, at));
        match at {
            4 => assert_eq!(outcome.unwrap_err().code, Code::VersionUnknown),
            // The record and its signature are for the signature's check; what parses has the
            // flipped bytes, so that the check fails.
            12.. if at < signature.end => {
                if let Ok(object) = outcome {
                    let untouched = object.record_bytes() == &record_bytes[..]
                        && object.signature() == &[0x5e; 64];
                    assert!(!untouched, "byte {at}");
                }
            }
            _ => assert_eq!(outcome.unwrap_err().code, Code::ObjectDamaged, "byte {at}"),
        }
    }
}

#[test]
fn every_truncation_of_a_point_is_refused() {
    let whole = object(vec![page_pack(), small_pack().bytes]).to_object();
    for end in 0..whole.len() {
        assert_eq!(parse(&whole[..end]).unwrap_err().code, Code::ObjectDamaged, "cut at {end}");
    }
    let trailed = [whole.as_slice(), &[0]].concat();
    assert_eq!(parse(&trailed).unwrap_err().code, Code::ObjectDamaged);
}

#[test]
fn another_vaults_or_another_point_is_refused() {
    let bytes = Bytes::from(object(Vec::new()).to_object());
    let error = PointObject::parse(&OTHER_VAULT, &POINT, &bytes).unwrap_err();
    assert_eq!(error.code, Code::VaultForeign);
    let other = PointId::from_bytes([1; 16]);
    let error = PointObject::parse(&VAULT, &other, &bytes).unwrap_err();
    assert_eq!(error.code, Code::ObjectDamaged);
}

#[test]
fn inline_packs_must_be_those_that_were_signed() {
    let packs = vec![page_pack(), small_pack().bytes];
    let record_bytes = Bytes::from(record(&packs).to_bytes());
    let refused = |inline: Vec<Bytes>| {
        PointObject::new(record_bytes.clone(), [0; 64], inline).unwrap_err().code
    };
    assert_eq!(refused(Vec::new()), Code::ObjectDamaged);
    assert_eq!(refused(vec![packs[0].clone()]), Code::ObjectDamaged);
    assert_eq!(refused(vec![packs[1].clone(), packs[0].clone()]), Code::ObjectDamaged);
    assert!(PointObject::new(record_bytes, [0; 64], packs).is_ok());
}

#[test]
fn too_much_inline_is_refused() {
    let pack = |length: usize| Bytes::from(vec![7; length]);
    let new =
        |inline: Vec<Bytes>| PointObject::new(record(&inline).to_bytes().into(), [0; 64], inline);
    let half = limits::INLINE_PACK_BYTES_MAX / 2;
    assert!(new(vec![pack(half), pack(half)]).is_ok());
    assert_eq!(new(vec![pack(half), pack(half + 1)]).unwrap_err().code, Code::LimitExceeded);
    let three = vec![pack(1), pack(2), pack(3)];
    assert_eq!(new(three).unwrap_err().code, Code::ObjectDamaged);
}

#[test]
fn counts_and_lengths_that_lie_are_refused() {
    let whole = object(Vec::new()).to_object();
    for count in [0, 3, 255] {
        let bytes = [whole.as_slice(), &[count]].concat();
        assert_eq!(parse(&bytes).unwrap_err().code, Code::ObjectDamaged, "{count} packs");
    }
    let mut bytes = whole.clone();
    bytes[8..12].fill(0xff);
    assert_eq!(parse(&bytes).unwrap_err().code, Code::ObjectDamaged);
    let bytes = [whole.as_slice(), &[1], &[0xff; 4]].concat();
    assert_eq!(parse(&bytes).unwrap_err().code, Code::ObjectDamaged);
    let huge = vec![0; limits::POINT_OBJECT_BYTES_MAX + 1];
    assert_eq!(parse(&huge).unwrap_err().code, Code::ObjectDamaged);
}

#[test]
fn records_of_later_versions_and_states_are_refused() {
    let bytes = record(&[]).to_bytes();
    assert_eq!(bytes[1..3], [0x00, 0x01], "the version comes first");
    let mut later = bytes.clone();
    later[2] = 2;
    assert_eq!(PointRecord::from_bytes(&later).unwrap_err().code, Code::VersionUnknown);
    let flat = PointRecord { height: 0, ..record(&[]) };
    assert_eq!(PointRecord::from_bytes(&flat.to_bytes()).unwrap_err().code, Code::ObjectDamaged);
    let state = bytes.windows(2).rposition(|pair| pair == [0x0e, 0x01]).unwrap();
    let mut strange = bytes;
    strange[state + 1] = 5;
    assert_eq!(PointRecord::from_bytes(&strange).unwrap_err().code, Code::RecordMalformed);
}
