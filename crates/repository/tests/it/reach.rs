//! Reach: a set like any other, the same bytes for the same set, and hostile bitmaps refused.

use crate::clear::{OTHER_VAULT, VAULT, flipped};
use holdfast_common::{Code, PointId};
use holdfast_repository::{ChunkNumber, Reach};
use proptest::{collection::vec, prelude::*};
use std::collections::BTreeSet;

const POINT: PointId = PointId::from_bytes([0x99; 16]);

/// Runs of numbers in a few places, some far apart, some across a 2^16 or 2^32 border.
fn runs() -> impl Strategy<Value = Vec<(u64, u32)>> {
    let starts = prop_oneof![
        0..5_000u64,
        65_000..66_000u64,
        (1u64 << 32) - 2_000..(1 << 32) + 10,
        (3u64 << 40)..(3 << 40) + 300_000,
    ];
    let counts = prop_oneof![0..4u32, 0..3_000u32, Just(1 << 16)];
    vec((starts, counts), 0..12)
}

fn reach_of(runs: &[(u64, u32)]) -> Reach {
    let mut reach = Reach::new();
    for (start, count) in runs {
        reach.insert_range(ChunkNumber::from_u64(*start), *count).unwrap();
    }
    reach
}

fn set_of(runs: &[(u64, u32)]) -> BTreeSet<u64> {
    runs.iter().flat_map(|(start, count)| *start..*start + u64::from(*count)).collect()
}

fn parse(bytes: &[u8]) -> holdfast_common::Result<Reach> {
    Reach::from_object(bytes, &VAULT, &POINT)
}

/// A whole object around any bitmap, with a right hash: what a hostile store can write.
pub(crate) fn object_around(bitmap: &[u8]) -> Vec<u8> {
    let opening = [&b"HFRE\x01\0\0\0"[..], VAULT.as_bytes(), POINT.as_bytes()].concat();
    [&opening[..], blake3::hash(bitmap).as_bytes(), bitmap].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_reach_is_a_set(ours in runs(), theirs in runs()) {
        let (reach, set) = (reach_of(&ours), set_of(&ours));
        prop_assert_eq!(reach.len(), set.len() as u64);
        prop_assert!(reach.iter().map(ChunkNumber::as_u64).eq(set.iter().copied()));
        let (other, other_set) = (reach_of(&theirs), set_of(&theirs));
        prop_assert_eq!(reach.is_subset(&other), set.is_subset(&other_set));
        let mut both = reach.clone();
        both.union(&other);
        prop_assert!(reach.is_subset(&both) && other.is_subset(&both));
        prop_assert_eq!(both.len(), set.union(&other_set).count() as u64);
    }

    #[test]
    fn the_same_set_is_the_same_bytes_however_it_was_made(runs in runs()) {
        let mut by_number = Reach::new();
        set_of(&runs).into_iter().rev().for_each(|n| {
            by_number.insert(ChunkNumber::from_u64(n));
        });
        prop_assert!(by_number == reach_of(&runs));
        let object = reach_of(&runs).to_object(&VAULT, &POINT).unwrap();
        prop_assert_eq!(&by_number.to_object(&VAULT, &POINT).unwrap(), &object);
        let back = parse(&object).unwrap();
        prop_assert_eq!(back.to_object(&VAULT, &POINT).unwrap(), object);
        prop_assert!(back == reach_of(&runs));
    }

    #[test]
    fn hostile_bitmaps_are_refused_or_usable_but_never_a_panic(
        runs in runs(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bitmap = reach_of(&runs).to_object(&VAULT, &POINT).unwrap().split_off(72);
        for (at, byte) in changes {
            // The front is where the structure is.
            let near = at.index(bitmap.len().min(64));
            bitmap[near] = byte;
        }
        if let Ok(mut reach) = parse(&object_around(&bitmap)) {
            let _ = (reach.len(), reach.iter().take(1000).count());
            reach.insert(ChunkNumber::from_u64(7));
            prop_assert!(reach.contains(ChunkNumber::from_u64(7)));
            let mut both = reach_of(&runs);
            both.union(&reach);
            prop_assert!(reach.is_subset(&both));
            let again = both.to_object(&VAULT, &POINT).unwrap();
            prop_assert!(parse(&again).unwrap() == both);
        }
    }

    #[test]
    fn arbitrary_bitmaps_never_panic(bitmap in vec(any::<u8>(), 0..200)) {
        let _ = parse(&object_around(&bitmap));
    }
}

#[test]
fn a_range_is_a_pack_at_most_and_stays_in_its_epoch() {
    let mut reach = Reach::new();
    let base = ChunkNumber::new(1, 0).unwrap();
    assert_eq!(reach.insert_range(base, (1 << 16) + 1).unwrap_err().code, Code::LimitExceeded);
    let last = ChunkNumber::new(1, (1 << 40) - 1).unwrap();
    assert_eq!(reach.insert_range(last, 2).unwrap_err().code, Code::LimitExceeded);
    reach.insert_range(last, 0).unwrap();
    assert!(reach.is_empty(), "nothing refused was inserted");
    reach.insert_range(last, 1).unwrap();
    assert!(reach.contains(last) && reach.len() == 1);
    assert!(!reach.insert(last) && reach.insert(base));
}

#[test]
fn every_flipped_byte_and_truncation_of_a_reach_is_refused() {
    let object = reach_of(&[(5, 3), (1 << 40, 100)]).to_object(&VAULT, &POINT).unwrap();
    for at in 0..object.len() {
        let expected = match at {
            4 => Code::VersionUnknown,
            8..24 => Code::VaultForeign,
            _ => Code::ObjectDamaged,
        };
        assert_eq!(parse(&flipped(&object, at)).unwrap_err().code, expected, "byte {at}");
    }
    for end in 0..object.len() {
        assert_eq!(parse(&object[..end]).unwrap_err().code, Code::ObjectDamaged, "cut at {end}");
    }
    let error = Reach::from_object(&object, &OTHER_VAULT, &POINT).unwrap_err();
    assert_eq!(error.code, Code::VaultForeign);
    let other = PointId::from_bytes([1; 16]);
    let error = Reach::from_object(&object, &VAULT, &other).unwrap_err();
    assert_eq!(error.code, Code::ObjectDamaged, "another point's reach is not this one's");
}

#[test]
fn bitmaps_that_lie_are_refused_under_a_right_hash() {
    let part = |key: u32, value: u16| {
        let body =
            [&12346u32.to_le_bytes()[..], &1u32.to_le_bytes(), &[0; 4], &16u32.to_le_bytes()];
        [&key.to_le_bytes()[..], &body.concat(), &value.to_le_bytes()].concat()
    };
    let map = |count: u64, parts: &[Vec<u8>]| {
        object_around(&[&count.to_le_bytes()[..], &parts.concat()].concat())
    };
    assert_eq!(parse(&map(2, &[part(1, 5), part(2, 5)])).unwrap().len(), 2);
    let empty_part = [&3u32.to_le_bytes()[..], &12346u32.to_le_bytes(), &[0; 4]].concat();
    for (why, object) in [
        ("more parts claimed than there are", map(u64::MAX, &[part(1, 5)])),
        ("fewer parts claimed than there are", map(1, &[part(1, 5), part(2, 5)])),
        ("a key twice", map(2, &[part(1, 5), part(1, 6)])),
        ("keys descending", map(2, &[part(2, 5), part(1, 5)])),
        ("an empty part", map(1, &[empty_part])),
        ("no count", object_around(&[0; 7])),
        (
            "containers claimed",
            object_around(
                &[&1u64.to_le_bytes()[..], &[0; 4], &12346u32.to_le_bytes(), &[0xff; 4]].concat(),
            ),
        ),
        (
            "runs claimed",
            object_around(
                &[&1u64.to_le_bytes()[..], &[0; 4], &0xffff_303bu32.to_le_bytes(), &[0xff; 9]]
                    .concat(),
            ),
        ),
    ] {
        assert_eq!(parse(&object).unwrap_err().code, Code::ObjectDamaged, "{why}");
    }
}
