//! What a coordinator reads from its disk and from a location, beside the ledger's own records.

use crate::{Refused, examples::CLUSTER, parsers::ledger};
use holdfast_coordinator::door;
use holdfast_ledger::StateKv;
use minicbor::{Encoder, bytes::ByteVec};
use std::path::Path;

const FILE: &str = "/etc/holdfast/coordinator.toml";
const EXTENT_HEADER_BYTES: usize = 48;
const ROWS_MAX: usize = 1 << 20;

pub fn coordinator_toml(bytes: &[u8]) -> Result<(), Refused> {
    let again = door::config(core::str::from_utf8(bytes)?, Path::new(FILE))?;
    assert_eq!(door::config(&again, Path::new(FILE)).expect("it was just written"), again);
    Ok(())
}

pub fn log_entry(bytes: &[u8]) -> Result<(), Refused> {
    let again = door::log_entry(bytes)?;
    assert_eq!(door::log_entry(&again).expect("it was just written"), again);
    Ok(())
}

pub fn log_extent(bytes: &[u8]) -> Result<(), Refused> {
    let to = door::log_extent(bytes, &CLUSTER)?;
    assert_eq!(to.to_le_bytes(), bytes[EXTENT_HEADER_BYTES - 8..EXTENT_HEADER_BYTES]);
    Ok(())
}

/// Entries from 7 on, however many there are; or those that are the last a number can name.
pub fn extent_entries(bytes: &[u8]) -> Result<(), Refused> {
    let (from, to) = match *bytes.first().ok_or(Refused)? {
        0 => (u64::MAX - 1, u64::MAX),
        count => (7, 6 + u64::from(count)),
    };
    let count = door::extent_entries(&bytes[1..], from, to)?;
    assert_eq!(count as u64, to - from + 1);
    Ok(())
}

pub fn snapshot_part(bytes: &[u8]) -> Result<(), Refused> {
    let (part, parts) = door::snapshot_part(bytes)?;
    assert!(part < parts && bytes.len() >= EXTENT_HEADER_BYTES);
    Ok(())
}

/// A snapshot without the hash at its end, which whoever writes one can make.
pub fn snapshot(bytes: &[u8]) -> Result<(), Refused> {
    let rows = door::snapshot(bytes)?.scan(&[], None, ROWS_MAX)?;
    assert!(rows.len() <= bytes.len() / 8);
    Ok(())
}

pub fn configs() -> Vec<Vec<u8>> {
    let text = format!(
        "cluster_id = \"{CLUSTER}\"\nnode_id = 1\nname = \"one\"\nregion = \"eu\"\n\
         listen = \"127.0.0.1:0\"\nkek = \"file:/kek\"\ndata = \"data\"\n"
    );
    vec![text.into_bytes()]
}

/// `id = 0: term, node, index`, then a command, the members, or neither.
pub fn log_entries() -> Vec<Vec<u8>> {
    let id = |e: &mut Encoder<Vec<u8>>| {
        e.u8(0).and_then(|e| e.map(3)).unwrap();
        for (number, value) in [(0, 3u64), (1, 1), (2, 7)] {
            e.u8(number).and_then(|e| e.u64(value)).unwrap();
        }
    };
    let mut blank = Encoder::new(Vec::new());
    id(blank.map(1).unwrap());
    let mut normal = Encoder::new(Vec::new());
    id(normal.map(2).unwrap());
    normal.u8(1).and_then(|e| e.encode(ByteVec::from(ledger::envelopes().remove(0)))).unwrap();
    let mut members = Encoder::new(Vec::new());
    id(members.map(2).unwrap());
    members.u8(2).and_then(|e| e.map(2)).unwrap();
    members.u8(1).and_then(|e| e.encode([[1u64]])).unwrap();
    members.u8(2).and_then(|e| e.map(1)?.u64(1)?.map(3)).unwrap();
    for (number, text) in [(0, "one"), (1, "eu"), (2, "127.0.0.1:1")] {
        members.u8(number).and_then(|e| e.str(text)).unwrap();
    }
    [blank, normal, members].map(Encoder::into_writer).to_vec()
}

pub fn log_extents() -> Vec<Vec<u8>> {
    let numbers = [1u64, 5, 9].map(u64::to_le_bytes).concat();
    vec![[b"HFLG\x01\0\0\0", &CLUSTER.as_bytes()[..], &numbers, &[0; 60]].concat()]
}

/// A count, and as many entries from 7 on.
pub fn extents_opened() -> Vec<Vec<u8>> {
    let [blank, normal, _] = &log_entries()[..] else { return Vec::new() };
    [blank, normal].map(|entry| [&[1], &entry[..]].concat()).to_vec()
}

pub fn snapshot_parts() -> Vec<Vec<u8>> {
    let numbers = [1u64, 300].map(u64::to_le_bytes).concat();
    let parts = [1u32, 3].map(u32::to_le_bytes).concat();
    vec![[b"HFLS\x01\0\0\0", &CLUSTER.as_bytes()[..], &numbers, &parts, &[0; 60]].concat()]
}

pub fn snapshots() -> Vec<Vec<u8>> {
    // A head that knows no entry and no member: both fields are there, one is empty.
    let head = [0xa1, 0x01, 0xa2, 0x01, 0x80, 0x02, 0xa0];
    let mut out = b"HFSN\x01\0\0\0".to_vec();
    for piece in [&head[..], b"key-1", b"value", b"key-2", b"", b""] {
        out.extend_from_slice(&(piece.len() as u32).to_le_bytes());
        out.extend_from_slice(piece);
    }
    vec![out]
}
