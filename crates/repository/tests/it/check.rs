//! What a scrub finds, with and without keys.

use crate::{
    clear::{Blind, Clear, OTHER_VAULT, VAULT, chunk, flipped, small_pack},
    point, segment,
};
use bytes::Bytes;
use holdfast_common::{Code, PackId, Timestamp};
use holdfast_repository::{
    ChunkNumber, ChunkParameters, Finding, ObjectName, Openers, Reach, SegmentBuilder, VaultObject,
    check_object,
};

const KEYLESS: Openers<'static> = Openers { footer: None, segment: None };
const OPEN: Openers<'static> = Openers { footer: Some(&Clear), segment: Some(&Clear) };

pub(crate) fn vault_object() -> VaultObject {
    let created = Timestamp::from_nanos(1_795_255_200_000_000_000);
    VaultObject { id: VAULT, created, chunks: ChunkParameters::default() }
}

pub(crate) fn names() -> Vec<ObjectName> {
    sound_objects().into_iter().map(|(name, _)| name).collect()
}

/// One of each object that is checked.
fn sound_objects() -> Vec<(ObjectName, Bytes)> {
    let pack = small_pack();
    let mut builder = SegmentBuilder::new(VAULT, segment::SEGMENT);
    builder.push(chunk(1), &segment::build_location()).unwrap();
    let mut reach = Reach::new();
    reach.insert(ChunkNumber::from_u64(7));
    vec![
        (ObjectName::pack(&pack.id), pack.bytes),
        (
            ObjectName::point(&point::POINT),
            point::object(vec![point::page_pack()]).to_object().into(),
        ),
        (ObjectName::reach(&point::POINT), reach.to_object(&VAULT, &point::POINT).unwrap().into()),
        (ObjectName::segment(&segment::SEGMENT), builder.build().to_object(&Clear).unwrap().into()),
        (ObjectName::vault(), vault_object().to_bytes().into()),
    ]
}

#[test]
fn sound_objects_are_found_sound_with_and_without_keys() {
    for (name, bytes) in sound_objects() {
        assert_eq!(check_object(&VAULT, &name, &bytes, KEYLESS), Finding::Sound, "{name}");
        assert_eq!(check_object(&VAULT, &name, &bytes, OPEN), Finding::Sound, "{name}");
    }
}

#[test]
fn objects_of_another_vault_are_found_foreign() {
    for (name, bytes) in sound_objects() {
        let finding = check_object(&OTHER_VAULT, &name, &bytes, OPEN);
        assert_eq!(finding, Finding::Foreign(VAULT), "{name}");
    }
}

#[test]
fn no_truncated_object_is_found_sound() {
    for (name, bytes) in sound_objects() {
        for end in 0..bytes.len() {
            let finding = check_object(&VAULT, &name, &bytes.slice(..end), KEYLESS);
            assert_ne!(finding, Finding::Sound, "{name} cut at {end}");
        }
    }
}

#[test]
fn a_pack_that_lost_its_end_is_found_truncated_and_a_flipped_one_mismatched() {
    let pack = small_pack();
    let name = ObjectName::pack(&pack.id);
    let cut = pack.bytes.slice(..pack.bytes.len() - 1);
    assert_eq!(check_object(&VAULT, &name, &cut, KEYLESS), Finding::Truncated);
    for at in 0..pack.bytes.len() - 4 {
        let finding = check_object(&VAULT, &name, &flipped(&pack.bytes, at), KEYLESS);
        // A capsule or footer that claims another length may point past the end.
        assert!(matches!(finding, Finding::HashMismatch | Finding::Truncated), "byte {at}");
    }
}

#[test]
fn a_pack_under_a_right_hash_that_is_no_pack_is_unreadable() {
    let bytes = Bytes::from_static(b"hello, I am long enough to be something else entirely");
    let name = ObjectName::pack(&PackId::from_bytes(blake3::hash(&bytes).into()));
    match check_object(&VAULT, &name, &bytes, KEYLESS) {
        Finding::Unreadable(error) => assert_eq!(error.code, Code::PackDamaged),
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn only_a_key_finds_a_segment_whose_sealed_bytes_were_flipped() {
    let objects = sound_objects();
    let (name, bytes) = &objects[3];
    let flipped = flipped(bytes, bytes.len() - 1);
    assert_eq!(check_object(&VAULT, name, &flipped, KEYLESS), Finding::Sound);
    match check_object(&VAULT, name, &flipped, OPEN) {
        Finding::Unreadable(error) => assert_eq!(error.code, Code::KeyWrong),
        other => unreachable!("{other:?}"),
    }
    let cut = bytes.slice(..bytes.len() - 1);
    assert_eq!(check_object(&VAULT, name, &cut, KEYLESS), Finding::Truncated);
}

#[test]
fn a_footer_sealed_to_another_key_is_found_only_with_the_key() {
    let sealed_otherwise =
        |_: &[u8; 32], plaintext: &[u8]| Ok((1, [&[0; 32], plaintext, &[0; 16]].concat()));
    let mut builder =
        holdfast_repository::PackBuilder::new(VAULT, holdfast_common::ChunkKind::Data);
    builder.add_capsule(&[1]).unwrap();
    builder.push(chunk(1), 0, &[0; 33]).unwrap();
    let pack = builder.finish(&sealed_otherwise).unwrap();
    let name = ObjectName::pack(&pack.id);
    assert_eq!(check_object(&VAULT, &name, &pack.bytes, KEYLESS), Finding::Sound);
    let finding = check_object(&VAULT, &name, &pack.bytes, OPEN);
    assert!(matches!(finding, Finding::Unreadable(_)), "{finding:?}");
    let blind = Openers { footer: Some(&Blind), segment: None };
    assert_eq!(check_object(&VAULT, &name, &pack.bytes, blind), Finding::Sound);
}

#[test]
fn inline_packs_are_checked_like_packs() {
    let junk = Bytes::from_static(b"no pack at all");
    let object = point::object(vec![junk]).to_object().into();
    let name = ObjectName::point(&point::POINT);
    let finding = check_object(&VAULT, &name, &object, KEYLESS);
    assert!(matches!(finding, Finding::Unreadable(_)), "{finding:?}");
}

#[test]
fn objects_that_are_not_ours_to_judge_are_left_alone() {
    let junk = Bytes::from_static(b"junk");
    for name in ["keys/00000001/00000001", "journals/x", "cluster/snapshot/7"] {
        let name = name.parse().unwrap();
        assert_eq!(check_object(&VAULT, &name, &junk, OPEN), Finding::Unknown, "{name}");
    }
}
