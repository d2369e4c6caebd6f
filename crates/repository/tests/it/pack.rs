//! Packs: what was built is what is seen, and what was damaged is refused under the right code.

use crate::clear::{
    Blind, Clear, INDEX_KEY_VERSION, OTHER_VAULT, VAULT, chunk, flipped, small_pack,
};
use bytes::Bytes;
use holdfast_common::{ChunkKind, Code, PackId, limits};
use holdfast_repository::{
    ChunkNumber, Footer, FooterSealer, Home, Pack, PackBuilder, PackView, Slot, Taken,
    pack::{HeaderRead, footer_range, read_header},
};
use proptest::{collection::vec, prelude::*, sample::Index};

#[derive(Clone, Debug)]
struct Plan {
    kind: ChunkKind,
    capsules: Vec<Vec<u8>>,
    frames: Vec<(Index, Vec<u8>)>,
    taken: Vec<(Index, u64)>,
}

fn plans() -> impl Strategy<Value = Plan> {
    let kinds = prop_oneof![Just(ChunkKind::Data), Just(ChunkKind::Page)];
    let capsules = vec(vec(any::<u8>(), 1..120), 1..6);
    let frames = vec((any::<Index>(), vec(any::<u8>(), 33..300)), 1..40);
    let taken = vec((any::<Index>(), any::<u64>()), 0..10);
    (kinds, capsules, frames, taken).prop_map(|(kind, capsules, frames, taken)| Plan {
        kind,
        capsules,
        frames,
        taken,
    })
}

fn build(plan: &Plan) -> Pack {
    let mut builder = PackBuilder::new(VAULT, plan.kind);
    let positions: Vec<u16> =
        plan.capsules.iter().map(|capsule| builder.add_capsule(capsule).unwrap()).collect();
    for (seed, (capsule, frame)) in plan.frames.iter().enumerate() {
        let slot = builder.push(chunk(seed as u64), *capsule.get(&positions), frame).unwrap();
        assert_eq!(slot.as_index(), seed);
    }
    for (slot, number) in &plan.taken {
        let slot = Slot::try_from(slot.index(plan.frames.len())).unwrap();
        builder.take_number(slot, ChunkNumber::from_u64(*number)).unwrap();
    }
    let promised = builder.object_bytes();
    let pack = builder.finish(&Clear).unwrap();
    assert_eq!(pack.bytes.len(), promised, "the size was known before");
    pack
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_built_is_what_is_seen(plan in plans()) {
        let pack = build(&plan);
        let view = PackView::parse(&VAULT, pack.bytes.clone()).unwrap();
        view.verify(&pack.id).unwrap();
        prop_assert_eq!(*blake3::hash(&pack.bytes).as_bytes(), *view.id().as_bytes());
        prop_assert_eq!(view.kind(), plan.kind);
        let footer = view.open_footer(&Clear).unwrap();
        prop_assert_eq!(&footer.rows, &pack.rows);
        for (row, (capsule, frame)) in footer.rows.iter().zip(&plan.frames) {
            prop_assert_eq!(&view.frame(row).unwrap(), frame);
            let sealed_with = capsule.get(&plan.capsules);
            prop_assert_eq!(&view.capsules()[usize::from(row.capsule)], sealed_with);
        }
        let mut taken: Vec<Taken> = plan.taken.iter().map(|(slot, number)| Taken {
            slot: Slot::try_from(slot.index(plan.frames.len())).unwrap(),
            number: ChunkNumber::from_u64(*number),
        }).collect();
        taken.sort();
        taken.dedup();
        prop_assert_eq!(footer.taken, taken);
    }

    #[test]
    fn ranges_find_the_same_header_and_footer(plan in plans(), mut have in 0usize..100) {
        let pack = build(&plan);
        let header = loop {
            let prefix = pack.bytes.slice(..have.min(pack.bytes.len()));
            match read_header(&VAULT, &prefix).unwrap() {
                HeaderRead::Complete(header) => break header,
                HeaderRead::More { bytes } => {
                    prop_assert!(bytes > std::mem::replace(&mut have, bytes));
                }
            }
        };
        let view = PackView::parse(&VAULT, pack.bytes.clone()).unwrap();
        prop_assert_eq!(&header.capsules, view.capsules());
        let length = pack.bytes.len();
        let range = footer_range(&pack.bytes[length - 8..], length as u64).unwrap();
        let field = &pack.bytes[range.start as usize..range.end as usize];
        let footer = Footer::open(field, view.digest(), view.span(), &Clear).unwrap();
        prop_assert_eq!(footer, view.open_footer(&Clear).unwrap());
        prop_assert_eq!(view.span().start, header.frames_start);
    }
}

#[test]
fn equal_capsules_are_stored_once() {
    let mut builder = PackBuilder::new(VAULT, ChunkKind::Page);
    assert_eq!(builder.add_capsule(b"one").unwrap(), 0);
    assert_eq!(builder.add_capsule(b"two").unwrap(), 1);
    assert_eq!(builder.add_capsule(b"one").unwrap(), 0);
    builder.push(chunk(1), 1, &[0; 33]).unwrap();
    assert_eq!(builder.add_capsule(b"two").unwrap(), 1, "a known one may be named at any time");
    assert_eq!(builder.add_capsule(b"three").unwrap_err().code, Code::InternalBug);
    let pack = builder.finish(&Clear).unwrap();
    assert_eq!(PackView::parse(&VAULT, pack.bytes).unwrap().capsules(), [&b"one"[..], b"two"]);
}

#[test]
fn the_builder_refuses_what_a_reader_would_refuse() {
    let mut builder = PackBuilder::new(VAULT, ChunkKind::Data);
    assert_eq!(builder.push(chunk(1), 0, &[0; 33]).unwrap_err().code, Code::InternalBug);
    assert_eq!(builder.add_capsule(&[]).unwrap_err().code, Code::LimitExceeded);
    let long = vec![0; limits::CAPSULE_BYTES_MAX + 1];
    assert_eq!(builder.add_capsule(&long).unwrap_err().code, Code::LimitExceeded);
    builder.add_capsule(&[1]).unwrap();
    assert_eq!(builder.push(chunk(1), 1, &[0; 33]).unwrap_err().code, Code::InternalBug);
    assert_eq!(builder.push(chunk(1), 0, &[0; 32]).unwrap_err().code, Code::LimitExceeded);
    let long = vec![0; limits::FRAME_BYTES_MAX + 1];
    assert_eq!(builder.push(chunk(1), 0, &long).unwrap_err().code, Code::LimitExceeded);
    builder.push(chunk(1), 0, &[0; 33]).unwrap();
    assert_eq!(builder.push(chunk(1), 0, &[0; 33]).unwrap_err().code, Code::InternalBug);
    let number = ChunkNumber::from_u64(1);
    let slot = Slot::new(1);
    assert_eq!(builder.take_number(slot, number).unwrap_err().code, Code::InternalBug);
    assert_eq!(builder.len(), 1, "nothing refused was taken");
    let empty = PackBuilder::new(VAULT, ChunkKind::Data);
    assert_eq!(empty.finish(&Clear).unwrap_err().code, Code::InternalBug);
}

#[test]
fn a_full_pack_takes_nothing_more_and_can_still_be_finished() {
    let mut builder = PackBuilder::new(VAULT, ChunkKind::Data);
    builder.add_capsule(&[1; 100]).unwrap();
    let frame = vec![0; limits::FRAME_BYTES_MAX];
    let mut seed = 0;
    while builder.fits(frame.len()) {
        builder.push(chunk(seed), 0, &frame).unwrap();
        seed += 1;
    }
    assert_eq!(seed, 3, "three frames of 4 MiB and their overheads go into 16 MiB");
    assert_eq!(builder.push(chunk(9), 0, &frame).unwrap_err().code, Code::LimitExceeded);
    let row_bytes = 44;
    let room = limits::PACK_BYTES_MAX - builder.object_bytes() - row_bytes;
    assert!(builder.fits(room) && !builder.fits(room + 1));
    builder.push(chunk(9), 0, &frame[..room]).unwrap();
    assert_eq!(builder.object_bytes(), limits::PACK_BYTES_MAX);
    let number = ChunkNumber::from_u64(1);
    let error = builder.take_number(Slot::new(0), number).unwrap_err();
    assert_eq!(error.code, Code::LimitExceeded, "no room for a number either");
    let pack = builder.finish(&Clear).unwrap();
    assert_eq!(pack.bytes.len(), limits::PACK_BYTES_MAX);
    let view = PackView::parse(&VAULT, pack.bytes).unwrap();
    assert_eq!(view.open_footer(&Clear).unwrap().rows.len(), 4);
}

#[test]
fn a_pack_for_a_point_stops_at_the_size_it_was_given() {
    let bytes_max = limits::INLINE_PACK_BYTES_MAX;
    let mut builder = PackBuilder::with_bytes_max(VAULT, ChunkKind::Page, bytes_max);
    builder.add_capsule(&[1; 100]).unwrap();
    assert!(!builder.fits(bytes_max));
    builder.push(chunk(1), 0, &vec![0; bytes_max / 2]).unwrap();
    assert!(!builder.fits(bytes_max / 2));
    assert!(builder.finish(&Clear).unwrap().bytes.len() <= bytes_max);
}

#[test]
fn a_sealer_that_lies_about_its_length_or_fails_stops_the_pack() {
    let mut builder = PackBuilder::new(VAULT, ChunkKind::Data);
    builder.add_capsule(&[1]).unwrap();
    builder.push(chunk(1), 0, &[0; 33]).unwrap();
    let short = |_: &[u8; 32], plaintext: &[u8]| Ok((1, plaintext.to_vec()));
    assert_eq!(builder.finish(&short).unwrap_err().code, Code::InternalBug);
}

#[test]
fn every_flipped_byte_is_found_by_the_hash_and_named_where_it_can_be() {
    let pack = small_pack();
    for at in 0..pack.bytes.len() {
        match PackView::parse(&VAULT, flipped(&pack.bytes, at)) {
            Ok(view) => {
                assert_eq!(view.verify(&pack.id).unwrap_err().code, Code::PackDamaged, "byte {at}");
                assert_eq!(view.open_footer(&Clear).unwrap_err().code, Code::KeyWrong, "byte {at}");
            }
            Err(error) => {
                let expected = match at {
                    4 => Code::VersionUnknown,
                    8..24 => Code::PackForeign,
                    _ => Code::PackDamaged,
                };
                assert_eq!(error.code, expected, "byte {at}: {error}");
            }
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    let pack = small_pack();
    for end in 0..pack.bytes.len() {
        let error = PackView::parse(&VAULT, pack.bytes.slice(..end)).unwrap_err();
        assert_eq!(error.code, Code::PackDamaged, "cut at {end}");
    }
}

#[test]
fn a_pack_of_another_vault_or_under_another_name_is_refused() {
    let pack = small_pack();
    let error = PackView::parse(&OTHER_VAULT, pack.bytes.clone()).unwrap_err();
    assert_eq!(error.code, Code::PackForeign);
    let view = PackView::parse(&VAULT, pack.bytes).unwrap();
    let other = PackId::from_bytes([0; 32]);
    assert_eq!(view.verify(&other).unwrap_err().code, Code::PackDamaged);
}

#[test]
fn an_oversized_pack_is_refused_before_it_is_read() {
    let bytes = Bytes::from(vec![0; limits::PACK_BYTES_MAX + 1]);
    assert_eq!(PackView::parse(&VAULT, bytes).unwrap_err().code, Code::PackDamaged);
}

#[test]
fn frames_outside_the_frames_are_refused() {
    let view = PackView::parse(&VAULT, small_pack().bytes).unwrap();
    let span = view.span();
    assert!(view.frame_at(span.start, span.end - span.start).is_ok());
    for (offset, length) in [(span.start - 1, 4), (span.start, span.end), (u32::MAX, 2), (0, 0)] {
        assert_eq!(view.frame_at(offset, length).unwrap_err().code, Code::PackDamaged);
    }
}

/// Replaces the sealed footer's plaintext, as an agent with the public index key can.
fn with_footer(pack: &Pack, change: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let length = pack.bytes.len();
    let range = footer_range(&pack.bytes, length as u64).unwrap();
    let (start, end) = (range.start as usize, range.end as usize);
    let mut plaintext = pack.bytes[start + 36..end - 16].to_vec();
    change(&mut plaintext);
    let digest = *blake3::hash(&pack.bytes[..start]).as_bytes();
    let (version, sealed) = Clear.seal_footer(&digest, &plaintext).unwrap();
    let length = (4 + sealed.len()) as u32;
    let version = version.to_le_bytes();
    [&pack.bytes[..start], &version, &sealed, &length.to_le_bytes(), b"HFPE"].concat().into()
}

#[test]
fn a_footer_that_lies_is_refused_though_it_opens() {
    let pack = small_pack();
    let row = |n: usize| 4 + n * 44;
    let set = |at: usize, bytes: &'static [u8]| {
        move |plain: &mut Vec<u8>| plain[at..at + bytes.len()].copy_from_slice(bytes)
    };
    let refused = |what: &str, bytes: Bytes| {
        let view = PackView::parse(&VAULT, bytes).unwrap();
        let error = view.open_footer(&Clear).unwrap_err();
        assert_eq!(error.code, Code::PackDamaged, "{what}: {error}");
        error.cause.unwrap_or(error.message)
    };
    let unchanged = PackView::parse(&VAULT, with_footer(&pack, |_| {})).unwrap();
    assert!(unchanged.open_footer(&Clear).is_ok(), "the change is what is refused");

    refused("rows claimed", with_footer(&pack, set(0, &[0xff; 4])));
    refused("rows claimed within the limit", with_footer(&pack, set(0, &[0, 0, 1, 0])));
    refused(
        "a row left out",
        with_footer(&pack, |plain| {
            plain[0] = 2;
            plain.drain(row(2)..row(3));
        }),
    );
    refused("an offset moved", with_footer(&pack, set(row(1) + 32, &[1, 0, 0, 0])));
    refused("a frame too short", with_footer(&pack, set(row(0) + 36, &[32, 0, 0, 0])));
    refused("a frame too long", with_footer(&pack, set(row(2) + 36, &[51, 0, 0, 0])));
    refused("a frame without end", with_footer(&pack, set(row(2) + 36, &[0xff; 4])));
    refused("a capsule that is not there", with_footer(&pack, set(row(0) + 40, &[2, 0])));
    refused("flags", with_footer(&pack, set(row(0) + 42, &[1, 0])));
    refused(
        "one chunk twice",
        with_footer(&pack, |plain| {
            plain.copy_within(row(0)..row(0) + 32, row(1));
        }),
    );
    refused(
        "rows swapped",
        with_footer(&pack, |plain| {
            let first = plain[row(0)..row(1)].to_vec();
            plain.copy_within(row(1)..row(2), row(0));
            plain[row(1)..row(2)].copy_from_slice(&first);
        }),
    );
    refused("numbers claimed", with_footer(&pack, set(row(3), &[0xff; 4])));
    refused("trailing bytes", with_footer(&pack, |plain| plain.push(0)));
    refused(
        "a slot that is not there",
        with_footer(&pack, |plain| {
            plain[row(3)] = 1;
            plain.extend_from_slice(&[3, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        }),
    );
    refused(
        "a slot beyond all slots",
        with_footer(&pack, |plain| {
            plain[row(3)] = 1;
            plain.extend_from_slice(&[0, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        }),
    );
    refused(
        "numbers twice",
        with_footer(&pack, |plain| {
            plain[row(3)] = 2;
            plain.extend_from_slice(&[0; 24]);
        }),
    );
    for length in 0..row(3) + 4 {
        let why = with_footer(&pack, |plain| plain.truncate(length));
        refused("cut", why);
    }
}

#[test]
fn a_footer_length_that_lies_is_refused() {
    let pack = small_pack();
    let length = pack.bytes.len();
    for claim in [0, 51, length as u32, u32::MAX] {
        let tail = [&claim.to_le_bytes()[..], b"HFPE"].concat();
        let bytes = [&pack.bytes[..length - 8], &tail].concat();
        let error = PackView::parse(&VAULT, bytes.into()).unwrap_err();
        assert_eq!(error.code, Code::PackDamaged, "{claim}");
        assert!(footer_range(&tail, length as u64).is_err() || claim < 400, "{claim}");
    }
    assert!(footer_range(b"HFPE", 4).is_err());
    assert!(footer_range(&pack.bytes[length - 8..], 20).is_err(), "longer than the object");
    assert!(footer_range(&pack.bytes[length - 8..], u64::MAX).is_err());
}

#[test]
fn a_footer_names_the_index_key_it_was_sealed_to() {
    let view = PackView::parse(&VAULT, small_pack().bytes).unwrap();
    let opener = |version: u32, _: &[u8; 32], _: &[u8]| {
        assert_eq!(version, INDEX_KEY_VERSION);
        Err(holdfast_common::Error::new(Code::KekUnavailable, "not today"))
    };
    let error = view.open_footer(&opener).unwrap_err();
    assert_eq!(error.code, Code::KekUnavailable, "what the opener says is passed on");
    assert!(view.open_footer(&Blind).is_ok());
}

#[test]
fn a_footer_tells_where_each_chunk_lies() {
    let pack = small_pack();
    let footer = PackView::parse(&VAULT, pack.bytes).unwrap().open_footer(&Clear).unwrap();
    let base = ChunkNumber::new(1, 100).unwrap();
    let located: Vec<_> = footer.locations(pack.id, Home::Pack, base).collect();
    assert_eq!(located.len(), 3);
    let (id, location) = located[2];
    assert_eq!((id, location.length, location.slot), (chunk(3), 50, Slot::new(2)));
    assert_eq!(location.number().unwrap(), ChunkNumber::new(1, 102).unwrap());
}

#[test]
fn capsules_outside_their_bounds_are_refused() {
    let pack = small_pack();
    let (count, length) = (6, 24);
    for (at, value, why) in [
        (count, 0, "it has 0 capsules"),
        (count, limits::PACK_CAPSULES_MAX as u16 + 1, "it has 4097 capsules"),
        (length, 0, "a capsule has 0 bytes"),
        (length, limits::CAPSULE_BYTES_MAX as u16 + 1, "a capsule has 4097 bytes"),
    ] {
        let mut bytes = [&pack.bytes[..], &[0; 8192]].concat();
        bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
        let error = PackView::parse(&VAULT, bytes.into()).unwrap_err();
        assert_eq!((error.code, error.cause.as_deref()), (Code::PackDamaged, Some(why)));
    }
}

#[test]
fn a_header_that_is_never_complete_is_asked_for_no_further_than_a_pack_reaches() {
    let mut header = [&b"HFPK\x01\x01\xff\x0f"[..], VAULT.as_bytes()].concat();
    let asked = read_header(&VAULT, &Bytes::from(header.clone())).unwrap();
    assert_eq!(asked, HeaderRead::More { bytes: 512 });
    while header.len() < limits::PACK_BYTES_MAX {
        header.extend_from_slice(&4096u16.to_le_bytes());
        header.extend_from_slice(&[7; 4096]);
    }
    header.truncate(limits::PACK_BYTES_MAX);
    let error = read_header(&VAULT, &Bytes::from(header)).unwrap_err();
    assert_eq!(error.code, Code::PackDamaged);
}
