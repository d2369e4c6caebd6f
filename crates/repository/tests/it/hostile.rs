//! Arbitrary and mutated bytes through every parser: no panic, no allocation beyond the input's
//! own order of size (lying counts are checked one by one in each object's own tests).

use crate::{
    check,
    clear::{Blind, Clear, VAULT, small_pack},
    point, segment,
};
use bytes::Bytes;
use holdfast_common::{ChunkKind, SegmentId};
use holdfast_repository::{
    ChunkNumber, Openers, PackView, PointObject, Reach, SegmentBuilder, SegmentTable, VaultObject,
    check_object,
    pack::{FrameSpan, footer_range, read_header},
};
use proptest::{collection::vec, prelude::*, sample::Index};

const OPENINGS: &[&[u8; 8]] =
    &[b"HFPK\x01\x01\x01\0", b"HFIX\x01\0\0\0", b"HFRE\x01\0\0\0", b"HFPT\x01\0\0\0"];

fn parse_everything(bytes: &Bytes) {
    let _ = read_header(&VAULT, bytes);
    let _ = footer_range(bytes, bytes.len() as u64);
    let footer = PackView::parse(&VAULT, bytes.clone())
        .and_then(|view| Ok((view.open_footer(&Blind)?, view)));
    if let Ok((footer, view)) = footer {
        footer.rows.iter().for_each(|row| drop(view.frame(row).unwrap()));
    }
    let _ = SegmentTable::parse(&VAULT, &segment::SEGMENT, bytes, &Blind);
    let _ = Reach::from_object(bytes, &VAULT, &point::POINT);
    let _ = PointObject::parse(&VAULT, &point::POINT, bytes);
    let _ = VaultObject::from_bytes(bytes);
    for name in check::names() {
        let openers = Openers { footer: Some(&Blind), segment: Some(&Blind) };
        let _ = check_object(&VAULT, &name, bytes, openers);
    }
}

fn valid_objects() -> Vec<Vec<u8>> {
    let mut builder = SegmentBuilder::new(VAULT, segment::SEGMENT);
    builder.push(crate::clear::chunk(1), &segment::build_location()).unwrap();
    let mut reach = Reach::new();
    reach.insert_range(ChunkNumber::from_u64(70_000), 5_000).unwrap();
    vec![
        small_pack().bytes.to_vec(),
        builder.build().to_object(&Clear).unwrap(),
        reach.to_object(&VAULT, &point::POINT).unwrap(),
        point::object(vec![point::page_pack()]).to_object(),
        check::vault_object().to_bytes(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        parse_everything(&bytes.into());
    }

    #[test]
    fn arbitrary_bytes_behind_a_right_opening_never_panic(
        magic in prop::sample::select(OPENINGS),
        bytes in vec(prop_oneof![Just(0u8), Just(1), Just(0xff), any::<u8>()], 0..400),
    ) {
        parse_everything(&[&magic[..], &bytes].concat().into());
        let with_vault = [&magic[..], VAULT.as_bytes(), &bytes].concat();
        parse_everything(&with_vault.clone().into());
        parse_everything(&[with_vault, b"HFPE".to_vec()].concat().into());
    }

    #[test]
    fn mutated_objects_never_panic(
        which in any::<Index>(),
        changes in vec((any::<Index>(), prop_oneof![Just(0u8), Just(0xff), any::<u8>()]), 1..12),
        cut in any::<Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut bytes = which.get(&valid_objects()).clone();
        for (at, byte) in changes {
            *at.get_mut(&mut bytes) = byte;
        }
        if is_cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        parse_everything(&bytes.into());
    }

    #[test]
    fn arbitrary_footers_never_panic(
        plain in vec(prop_oneof![Just(0u8), Just(1), any::<u8>()], 0..300),
        (start, end) in any::<(u32, u32)>(),
    ) {
        let field = [&[0; 36][..], &plain, &[0; 16]].concat();
        let span = FrameSpan { start, end, capsules: 1 };
        let _ = holdfast_repository::Footer::open(&field, &[0; 32], span, &Blind);
    }
}

#[test]
fn the_valid_objects_are_valid_so_that_mutating_them_means_something() {
    let objects = valid_objects();
    assert_eq!(objects.len(), 5);
    assert_eq!(PackView::parse(&VAULT, objects[0].clone().into()).unwrap().kind(), ChunkKind::Data);
    let id: SegmentId = segment::SEGMENT;
    assert!(SegmentTable::parse(&VAULT, &id, &objects[1], &Blind).is_ok());
    assert!(Reach::from_object(&objects[2], &VAULT, &point::POINT).is_ok());
    assert!(PointObject::parse(&VAULT, &point::POINT, &objects[3].clone().into()).is_ok());
    assert!(VaultObject::from_bytes(&objects[4]).is_ok());
}
