//! Frozen bytes: every form of version 1, as hexadecimal text. A difference here is a change of
//! the stored format. The files are never edited for it: a new form is a new version with files of
//! its own, and these go on being read.

use crate::{
    check,
    clear::{Clear, VAULT, chunk},
    point, segment,
};
use bytes::Bytes;
use holdfast_common::{ChunkKind, PackId, PointId};
use holdfast_repository::{
    ChunkLocation, ChunkNumber, Home, Pack, PackBuilder, PackView, PointObject, Reach,
    SegmentBuilder, SegmentTable, Slot, VaultObject, pack::footer_range,
};

fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text.split_whitespace().collect::<String>()).unwrap()
}

fn assert_frozen(name: &str, bytes: &[u8], golden: &str) {
    let text = hex::encode(bytes);
    let lines: Vec<&str> =
        (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    let lines = lines.join("\n");
    assert!(unhex(golden) == bytes, "golden/{name}.hex is not what is written now:\n{lines}\n");
}

fn pack() -> Pack {
    let mut builder = PackBuilder::new(VAULT, ChunkKind::Data);
    let first = builder.add_capsule(&[0xc1; 20]).unwrap();
    let second = builder.add_capsule(&[0xc2; 7]).unwrap();
    builder.push(chunk(1), first, &[0xf1; 40]).unwrap();
    builder.push(chunk(2), second, &[0xf2; 33]).unwrap();
    builder.take_number(Slot::new(1), ChunkNumber::new(1, 0x0102_0304).unwrap()).unwrap();
    builder.finish(&Clear).unwrap()
}

fn table() -> SegmentTable {
    let location = segment::build_location();
    let inline = ChunkLocation {
        pack: PackId::from_bytes([0x22; 32]),
        home: Home::Point(PointId::from_bytes([0x99; 16])),
        slot: Slot::new(5),
        ..location
    };
    let mut builder = SegmentBuilder::new(VAULT, segment::SEGMENT);
    builder.push(chunk(1), &location).unwrap();
    builder.push(chunk(2), &location).unwrap();
    builder.push(chunk(1), &inline).unwrap();
    builder.build()
}

fn reach() -> Reach {
    let mut reach = Reach::new();
    reach.insert(ChunkNumber::from_u64(7));
    reach.insert_range(ChunkNumber::new(1, 65_500).unwrap(), 1_000).unwrap();
    reach.insert(ChunkNumber::new(2, 3 << 33).unwrap());
    reach
}

#[test]
fn packs_and_footers_of_version_1_are_frozen() {
    const GOLDEN: &str = include_str!("../golden/pack-1.hex");
    let pack = pack();
    assert_frozen("pack-1", &pack.bytes, GOLDEN);
    let range = footer_range(&pack.bytes, pack.bytes.len() as u64).unwrap();
    let plaintext = &pack.bytes[range.start as usize + 36..range.end as usize - 16];
    assert_frozen("footer-1", plaintext, include_str!("../golden/footer-1.hex"));
    let view = PackView::parse(&VAULT, unhex(GOLDEN).into()).unwrap();
    assert_eq!(view.open_footer(&Clear).unwrap().rows, pack.rows);
}

#[test]
fn segments_of_version_1_are_frozen() {
    const GOLDEN: &str = include_str!("../golden/segment-1.hex");
    let table = table();
    assert_frozen("segment-1", &table.to_object(&Clear).unwrap(), GOLDEN);
    let plain = include_str!("../golden/segment-plain-1.hex");
    assert_frozen("segment-plain-1", table.plaintext(), plain);
    let read = SegmentTable::parse(&VAULT, &segment::SEGMENT, &unhex(GOLDEN), &Clear).unwrap();
    assert_eq!(read, table);
}

#[test]
fn reaches_of_version_1_are_frozen() {
    const GOLDEN: &str = include_str!("../golden/reach-1.hex");
    assert_frozen("reach-1", &reach().to_object(&VAULT, &point::POINT).unwrap(), GOLDEN);
    assert!(Reach::from_object(&unhex(GOLDEN), &VAULT, &point::POINT).unwrap() == reach());
}

#[test]
fn points_of_version_1_are_frozen() {
    const GOLDEN: &str = include_str!("../golden/point-1.hex");
    let object = point::object(vec![point::page_pack()]);
    assert_frozen("point-1", &object.to_object(), GOLDEN);
    let bytes = Bytes::from(unhex(GOLDEN));
    assert_eq!(PointObject::parse(&VAULT, &point::POINT, &bytes).unwrap(), object);
}

#[test]
fn vault_objects_of_version_1_are_frozen() {
    const GOLDEN: &str = include_str!("../golden/vault-1.hex");
    assert_frozen("vault-1", &check::vault_object().to_bytes(), GOLDEN);
    assert_eq!(VaultObject::from_bytes(&unhex(GOLDEN)).unwrap(), check::vault_object());
}
