//! Segments: look-up and merge against naive models, and damage under the right code.

use crate::clear::{Blind, Clear, OTHER_VAULT, VAULT, chunk, flipped};
use holdfast_common::{ChunkId, Code, PackId, PointId, SegmentId, limits};
use holdfast_repository::{
    ChunkLocation, ChunkNumber, Home, SegmentBuilder, SegmentHeader, SegmentRow, SegmentRows,
    SegmentTable, Slot,
    segment::{Fold, merge},
};
use proptest::{collection::vec, prelude::*};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const SEGMENT: SegmentId = SegmentId::from_bytes([0x55; 16]);

/// Few chunks and few packs, so that rows meet; some ids nearly equal, as no hash would be.
fn rows() -> impl Strategy<Value = SegmentRow> {
    let chunks = prop_oneof![
        3 => (0..40u64).prop_map(chunk),
        1 => any::<u64>().prop_map(chunk),
        1 => (0..20u8).prop_map(|last| {
            let mut id = [0x77; 32];
            id[31] = last;
            ChunkId::from_bytes(id)
        }),
        1 => prop_oneof![Just([0; 32]), Just([0xff; 32])].prop_map(ChunkId::from_bytes),
    ];
    (chunks, 0..6u8, 0..3u32, any::<bool>()).prop_map(|(chunk, pack, at, inline)| {
        let home = match inline {
            true => Home::Point(PointId::from_bytes([pack; 16])),
            false => Home::Pack,
        };
        let location = ChunkLocation {
            pack: PackId::from_bytes([pack.wrapping_mul(91); 32]),
            home,
            base: ChunkNumber::new(1, u64::from(pack) << 16).unwrap(),
            offset: 100 + at,
            length: 50,
            slot: Slot::new(at as u16),
            capsule: 0,
        };
        SegmentRow { chunk, location }
    })
}

fn build(rows: &[SegmentRow]) -> SegmentTable {
    let mut builder = SegmentBuilder::new(VAULT, SEGMENT);
    rows.iter().for_each(|row| builder.push(row.chunk, &row.location).unwrap());
    builder.build()
}

fn parse(bytes: &[u8]) -> holdfast_common::Result<SegmentTable> {
    SegmentTable::parse(&VAULT, &SEGMENT, bytes, &Clear)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn lookup_equals_a_map(rows in vec(rows(), 0..400), strangers in vec(any::<u64>(), 8)) {
        let table = build(&rows);
        let mut map: BTreeMap<ChunkId, BTreeSet<ChunkLocation>> = BTreeMap::new();
        for row in &rows {
            map.entry(row.chunk).or_default().insert(row.location);
        }
        for (chunk, locations) in &map {
            let found: Vec<_> = table.rows().lookup(chunk).map(Result::unwrap).collect();
            prop_assert_eq!(found, locations.iter().copied().collect::<Vec<_>>());
            prop_assert!(table.rows().contains(chunk));
        }
        for stranger in strangers.into_iter().map(|seed| chunk(seed | 1 << 60)) {
            let known = map.contains_key(&stranger);
            prop_assert_eq!(table.rows().lookup(&stranger).next().is_some(), known);
            prop_assert_eq!(table.rows().contains(&stranger), known);
        }
    }

    #[test]
    fn a_sealed_segment_is_read_back_as_it_was_built(rows in vec(rows(), 0..100)) {
        let table = build(&rows);
        table.rows().check().unwrap();
        let object = table.to_object(&Clear).unwrap();
        prop_assert_eq!(parse(&object).unwrap(), table);
    }

    #[test]
    fn the_order_of_pushing_does_not_show(mut rows in vec(rows(), 0..60)) {
        let forth = build(&rows);
        rows.reverse();
        prop_assert_eq!(build(&rows), forth);
    }

    #[test]
    fn merge_equals_sorting_everything(inputs in vec(vec(rows(), 0..60), 0..6)) {
        let tables: Vec<_> = inputs.iter().map(|rows| build(rows)).collect();
        let merged: Vec<_> =
            merge(tables.iter().map(SegmentTable::rows)).map(Result::unwrap).collect();
        let naive: BTreeSet<_> = inputs.into_iter().flatten().collect();
        prop_assert_eq!(merged, naive.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn tables_that_rot_under_the_reader_never_panic(
        rows in vec(rows(), 1..80),
        rot in vec((any::<prop::sample::Index>(), any::<u8>()), 1..30),
        asked in any::<u64>(),
    ) {
        let table = build(&rows);
        let mut plain = table.plaintext().to_vec();
        for (at, byte) in rot {
            *at.get_mut(&mut plain) = byte;
        }
        let view = SegmentRows::new(table.header(), &plain).unwrap();
        view.lookup(&chunk(asked % 40)).for_each(drop);
        view.lookup(&ChunkId::from_bytes([0x77; 32])).for_each(drop);
        view.iter().for_each(drop);
        prop_assert!(merge([view, table.rows()]).count() <= 2 * rows.len() + 1);
    }
}

#[test]
fn a_large_segment_of_clustered_ids_is_still_searched_right() {
    // Everything interpolation would guess wrong: half the ids share their first eight bytes.
    let mut builder = SegmentBuilder::new(VAULT, SEGMENT);
    let location = build_location();
    let ids: Vec<ChunkId> = (0..20_000u32)
        .map(|n| {
            let mut id = [0x10; 32];
            let at = if n % 2 == 0 { 4 } else { 20 };
            id[at..at + 4].copy_from_slice(&n.wrapping_mul(2_654_435_761).to_be_bytes());
            ChunkId::from_bytes(id)
        })
        .collect();
    ids.iter().for_each(|id| builder.push(*id, &location).unwrap());
    let table = builder.build();
    table.rows().check().unwrap();
    for id in &ids {
        assert_eq!(table.rows().lookup(id).count(), 1);
    }
    assert_eq!(table.rows().lookup(&chunk(1)).count(), 0);
}

#[test]
fn a_mapped_file_of_header_and_plaintext_answers_without_the_table() {
    let row = SegmentRow { chunk: chunk(1), location: build_location() };
    let table = build(&[row]);
    let file = [&table.header().to_bytes()[..], table.plaintext()].concat();
    let header = SegmentHeader::parse(&VAULT, &file).unwrap();
    let rows = SegmentRows::new(&header, &file[SegmentHeader::BYTES..]).unwrap();
    assert_eq!(rows.lookup(&chunk(1)).next().unwrap().unwrap(), row.location);
    let cut = SegmentRows::new(&header, &file[SegmentHeader::BYTES..file.len() - 1]);
    assert_eq!(cut.unwrap_err().code, Code::SegmentDamaged);
}

#[test]
fn a_full_builder_takes_no_more_and_numbers_must_fit() {
    let mut builder = SegmentBuilder::new(VAULT, SEGMENT);
    let location = build_location();
    let spilling = ChunkLocation {
        base: ChunkNumber::from_u64((1 << 40) - 1),
        slot: Slot::new(1),
        ..location
    };
    assert_eq!(builder.push(chunk(0), &spilling).unwrap_err().code, Code::LimitExceeded);
    assert!(builder.is_empty());
    for _ in 0..limits::SEGMENT_ROWS_MAX {
        builder.push(chunk(0), &location).unwrap();
    }
    assert!(builder.is_full());
    assert_eq!(builder.push(chunk(0), &location).unwrap_err().code, Code::LimitExceeded);
    assert_eq!(builder.build().rows().len(), 1, "duplicates are dropped");
}

#[test]
fn every_flipped_byte_of_a_segment_is_refused() {
    let object = build(&[SegmentRow { chunk: chunk(1), location: build_location() }])
        .to_object(&Clear)
        .unwrap();
    for at in 0..object.len() {
        let expected = match at {
            4 => Code::VersionUnknown,
            8..24 => Code::VaultForeign,
            48.. => Code::KeyWrong,
            _ => Code::SegmentDamaged,
        };
        assert_eq!(parse(&flipped(&object, at)).unwrap_err().code, expected, "byte {at}");
    }
    for end in 0..object.len() {
        assert_eq!(parse(&object[..end]).unwrap_err().code, Code::SegmentDamaged, "cut at {end}");
    }
    let trailed = [object.as_slice(), &[0]].concat();
    assert_eq!(parse(&trailed).unwrap_err().code, Code::SegmentDamaged);
    let other = SegmentTable::parse(&OTHER_VAULT, &SEGMENT, &object, &Clear);
    assert_eq!(other.unwrap_err().code, Code::VaultForeign);
    let renamed = SegmentId::from_bytes([1; 16]);
    let renamed = SegmentTable::parse(&VAULT, &renamed, &object, &Clear);
    assert_eq!(renamed.unwrap_err().code, Code::SegmentDamaged);
}

#[test]
fn tables_that_are_not_in_order_or_point_outside_are_refused_though_they_open() {
    let other = ChunkLocation { pack: PackId::from_bytes([0x22; 32]), ..build_location() };
    let table = build(&[
        SegmentRow { chunk: chunk(1), location: build_location() },
        SegmentRow { chunk: chunk(2), location: other },
    ]);
    let object = table.to_object(&Clear).unwrap();
    let (packs, rows) = (48 + 12, 48 + 12 + 128);
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = object.clone();
        change(&mut bytes);
        let error = SegmentTable::parse(&VAULT, &SEGMENT, &bytes, &Blind).unwrap_err();
        assert_eq!(error.code, Code::SegmentDamaged, "{error}");
    };
    assert!(SegmentTable::parse(&VAULT, &SEGMENT, &object, &Blind).is_ok());
    refused(&|bytes| bytes[rows + 32] = 2);
    refused(&|bytes| bytes[rows + 32..rows + 36].fill(0xff));
    refused(&|bytes| bytes.copy_within(rows..rows + 48, rows + 48));
    refused(&|bytes| bytes[rows..rows + 32].fill(0xff));
    refused(&|bytes| bytes.copy_within(packs..packs + 64, packs + 64));
    refused(&|bytes| bytes[packs + 40] = 2);
    refused(&|bytes| bytes[packs + 41] = 1);
    refused(&|bytes| bytes[packs + 63] = 1);
}

#[test]
fn counts_that_lie_are_refused_before_anything_is_allocated() {
    let mut header = build(&[]).header().to_bytes();
    for (at, count) in [(40, u32::MAX), (44, u32::MAX), (44, limits::SEGMENT_ROWS_MAX as u32 + 1)] {
        let mut lying = header;
        lying[at..at + 4].copy_from_slice(&count.to_le_bytes());
        assert_eq!(SegmentHeader::parse(&VAULT, &lying).unwrap_err().code, Code::SegmentDamaged);
    }
    header[44..].copy_from_slice(&(limits::SEGMENT_ROWS_MAX as u32).to_le_bytes());
    assert_eq!(parse(&header).unwrap_err().code, Code::SegmentDamaged, "the rows are not there");
}

#[test]
fn a_merge_of_an_unsorted_input_ends_with_an_error() {
    let rows = [1, 2, 3].map(|n| SegmentRow { chunk: chunk(n), location: build_location() });
    let table = build(&rows);
    let mut plain = table.plaintext().to_vec();
    plain[64 + 48..64 + 80].fill(0);
    let unsorted = SegmentRows::new(table.header(), &plain).unwrap();
    let outcome: Vec<_> = merge([unsorted]).collect();
    assert_eq!(outcome.len(), 2);
    assert!(outcome[0].is_ok());
    assert_eq!(outcome[1].as_ref().unwrap_err().code, Code::SegmentDamaged);
}

/// The table that a fold writes, as a file of a coordinator's own would hold it.
fn fold(tables: &[SegmentTable]) -> (SegmentHeader, Vec<u8>) {
    let (mut bytes, mut rows_bytes) = (Vec::new(), Vec::new());
    let append = |to: &mut Vec<u8>, piece: &[u8]| {
        to.extend_from_slice(piece);
        Ok(())
    };
    let fold = Fold::of(tables.iter().map(SegmentTable::rows).collect());
    let packs = fold.packs(&mut |piece| append(&mut bytes, piece)).unwrap();
    let rows = fold.rows(&bytes, &mut |piece| append(&mut rows_bytes, piece)).unwrap();
    bytes.extend_from_slice(&rows_bytes);
    (SegmentHeader { vault: VAULT, segment: SEGMENT, packs, rows }, bytes)
}

proptest! {
    #[test]
    fn a_fold_of_segments_is_the_segment_of_all_their_rows(
        all in vec(rows(), 0..200),
        cuts in vec(0usize..4, 200),
    ) {
        let parts = (0..4).map(|part| {
            let mine = all.iter().zip(&cuts).filter(|(_, cut)| **cut == part);
            build(&mine.map(|(row, _)| *row).collect::<Vec<_>>())
        });
        let (header, plaintext) = fold(&parts.collect::<Vec<_>>());
        let whole = build(&all);
        prop_assert_eq!(header.packs, whole.header().packs);
        prop_assert_eq!(header.rows, whole.header().rows);
        prop_assert_eq!(&plaintext, whole.plaintext());
        let folded = SegmentRows::new(&header, &plaintext).unwrap();
        for row in &all {
            let pack = row.location.pack;
            let lie_in = |other: &&SegmentRow| other.location.pack == pack;
            let mut expected: Vec<_> = all.iter().filter(lie_in).map(|row| row.chunk).collect();
            expected.sort_unstable();
            expected.dedup();
            let mut found: Vec<_> = folded.chunks_in(&pack).collect();
            found.dedup();
            prop_assert_eq!(found, expected);
            prop_assert!(folded.names(&pack));
        }
        prop_assert!(!folded.names(&PackId::from_bytes([0xfe; 32])));
        prop_assert_eq!(folded.chunks_in(&PackId::from_bytes([0xfe; 32])).count(), 0);
    }
}

#[test]
fn a_fold_refuses_a_row_whose_pack_was_not_written() {
    let table = build(&[SegmentRow { chunk: chunk(1), location: build_location() }]);
    let error = Fold::of(vec![table.rows()]).rows(&[], &mut |_| Ok(())).unwrap_err();
    assert_eq!(error.code, Code::InternalBug);
}

#[test]
fn a_sealer_that_lies_about_its_length_is_noticed() {
    let short = |_: &SegmentId, _: &[u8], plaintext: &[u8]| Ok(plaintext.to_vec());
    assert_eq!(build(&[]).to_object(&short).unwrap_err().code, Code::InternalBug);
}

pub(crate) fn build_location() -> ChunkLocation {
    ChunkLocation {
        pack: PackId::from_bytes([0x11; 32]),
        home: Home::Pack,
        base: ChunkNumber::new(2, 1000).unwrap(),
        offset: 60,
        length: 40,
        slot: Slot::new(0),
        capsule: 1,
    }
}
