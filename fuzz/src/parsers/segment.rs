//! Index segments: the object, its header, and tables that rotted under a map.

use crate::{
    Refused,
    examples::{Blind, SEGMENT, VAULT, unhex},
};
use holdfast_common::SegmentId;
use holdfast_repository::{SegmentHeader, SegmentRow, SegmentRows, SegmentTable, segment::merge};

const OBJECT: &str = include_str!("../../../crates/repository/tests/golden/segment-1.hex");
const PLAIN: &str = include_str!("../../../crates/repository/tests/golden/segment-plain-1.hex");

/// What parses renders to the same bytes, and every row is found by its chunk.
pub fn segment(bytes: &[u8]) -> Result<(), Refused> {
    let table = SegmentTable::parse(&VAULT, &SEGMENT, bytes, &Blind)?;
    let sealed = &bytes[SegmentHeader::BYTES..];
    let sealer = |_: &SegmentId, _: &[u8], plaintext: &[u8]| {
        Ok([&sealed[..12], plaintext, &sealed[sealed.len() - 16..]].concat())
    };
    assert!(table.to_object(&sealer).expect("it was read") == bytes, "one spelling");
    found_as_they_stand(&table.rows());
    Ok(())
}

pub fn segment_header(bytes: &[u8]) -> Result<(), Refused> {
    let header = SegmentHeader::parse(&VAULT, bytes)?;
    assert_eq!(header.to_bytes()[..], bytes[..SegmentHeader::BYTES]);
    Ok(())
}

/// How many packs, then both tables: nothing was checked, as in a mapped file that rots.
pub fn segment_rows(bytes: &[u8]) -> Result<(), Refused> {
    let (packs, plaintext) = bytes.split_first().ok_or(Refused)?;
    let (packs, row_bytes) = (u32::from(*packs), 48);
    let rows = plaintext.len().checked_sub(packs as usize * 64).ok_or(Refused)? / row_bytes;
    let header = SegmentHeader { vault: VAULT, segment: SEGMENT, packs, rows: rows as u32 };
    let rows = SegmentRows::new(&header, plaintext)?;
    for row in rows.iter().flatten() {
        rows.lookup(&row.chunk).for_each(drop);
        rows.contains(&row.chunk);
    }
    merge([rows, rows]).take(2 * rows.len() + 1).for_each(drop);
    rows.check()?;
    found_as_they_stand(&rows);
    Ok(())
}

fn found_as_they_stand(rows: &SegmentRows<'_>) {
    let all: Vec<SegmentRow> = rows.iter().map(|row| row.expect("checked")).collect();
    for row in &all {
        let found = rows.lookup(&row.chunk).any(|at| at.expect("checked") == row.location);
        assert!(found && rows.contains(&row.chunk));
    }
    let merged: Vec<SegmentRow> = merge([*rows, *rows]).map(|row| row.expect("checked")).collect();
    assert!(merged == all, "merged with itself, a segment is itself");
}

pub fn segments() -> Vec<Vec<u8>> {
    vec![unhex(OBJECT)]
}

pub fn segment_tables() -> Vec<Vec<u8>> {
    let header = SegmentHeader::parse(&VAULT, &unhex(OBJECT)).unwrap();
    vec![[vec![header.packs as u8], unhex(PLAIN)].concat()]
}
