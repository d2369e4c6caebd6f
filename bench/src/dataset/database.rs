//! Table files of a database: 8 KiB pages with a header, line pointers, and tuples from the end.
//!
//! The layout is PostgreSQL's heap page: `pd_lsn, checksum, flags, lower, upper, special, size and
//! version, prune_xid`, four bytes a pointer, tuples with a 24-byte header. A tuple mixes what
//! compresses (counters, times, words, padding) and what does not (a random identifier).

use super::text::Vocabulary;
use crate::chance::Chance;

pub const PAGE: usize = 8192;

/// A page of rows that follow those of page `number - 1`.
pub fn page(words: &Vocabulary, chance: &mut Chance, number: u32) -> Vec<u8> {
    let mut page = vec![0; PAGE];
    // Some pages have had rows removed: up to a fifth is free.
    let room = HEADER + chance.below(PAGE as u64 / 5) as usize;
    let (mut lower, mut upper) = (HEADER, PAGE);
    for row in 1u16.. {
        let tuple = tuple(words, chance, number, row);
        if upper < lower + POINTER + room + tuple.len() {
            break;
        }
        upper -= tuple.len();
        page[upper..upper + tuple.len()].copy_from_slice(&tuple);
        let pointer = upper as u32 | 1 << 15 | (tuple.len() as u32) << 17;
        page[lower..lower + POINTER].copy_from_slice(&pointer.to_le_bytes());
        lower += POINTER;
    }
    let lsn = u64::from(number) * 9000 + chance.below(4000) * 8;
    page[..8].copy_from_slice(&lsn.to_le_bytes());
    put(&mut page, 8, chance.below(1 << 16) as u16);
    put(&mut page, 12, lower as u16);
    put(&mut page, 14, upper as u16);
    put(&mut page, 16, PAGE as u16);
    put(&mut page, 18, PAGE as u16 | LAYOUT);
    page
}

/// What an update of a few rows does to a page: a later position in the log, another checksum, new
/// values where the old ones were.
pub fn touch(page: &mut [u8], chance: &mut Chance) {
    let rows = (usize::from(take(page, 12)) - HEADER) / POINTER;
    for _ in 0..chance.between(1, 4).min(rows as u64) {
        let at = HEADER + chance.below(rows as u64) as usize * POINTER;
        let tuple = usize::from(take(page, at) & 0x7fff);
        chance.fill(&mut page[tuple + IDENTIFIER..tuple + IDENTIFIER + 16]);
        let status = chance.below(6) as u8;
        page[tuple + STATUS] = status;
    }
    let lsn = page[..8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let later = lsn + (1 << 36) + chance.below(1 << 20) * 8;
    page[..8].copy_from_slice(&later.to_le_bytes());
    put(page, 8, chance.below(1 << 16) as u16);
}

fn tuple(words: &Vocabulary, chance: &mut Chance, number: u32, row: u16) -> Vec<u8> {
    let mut out = Vec::with_capacity(192);
    out.extend_from_slice(&(7000 + number / 3).to_le_bytes()); // xmin
    out.extend_from_slice(&[0; 8]); // xmax, command
    out.extend_from_slice(&((number >> 16) as u16).to_le_bytes());
    out.extend_from_slice(&(number as u16).to_le_bytes());
    out.extend_from_slice(&row.to_le_bytes());
    out.extend_from_slice(&6u16.to_le_bytes()); // columns
    out.extend_from_slice(&0x0902u16.to_le_bytes());
    out.extend_from_slice(&[24, 0]);
    out.extend_from_slice(&(u64::from(number) * 64 + u64::from(row)).to_le_bytes()); // id
    let time = 820_000_000_000_000 + u64::from(number) * 60_000_000 + chance.below(60_000) * 1000;
    out.extend_from_slice(&time.to_le_bytes());
    let mut identifier = [0; 16];
    chance.fill(&mut identifier);
    out.extend_from_slice(&identifier);
    out.extend_from_slice(&(chance.rank(6) as u32).to_le_bytes()); // status
    out.extend_from_slice(&(chance.rank(10_000) as u32).to_le_bytes()); // owner
    for _ in 0..chance.between(4, 14) {
        out.extend_from_slice(words.word(chance).as_bytes());
        out.push(b' ');
    }
    out.extend_from_slice(b"{\"state\": \"stored\", \"checked\": true, \"origin\": \"");
    out.extend_from_slice(words.word(chance).as_bytes());
    out.extend_from_slice(b"\"}");
    out.resize(out.len().next_multiple_of(8), 0);
    out
}

fn put(page: &mut [u8], at: usize, value: u16) {
    page[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

fn take(page: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([page[at], page[at + 1]])
}

const HEADER: usize = 24;
const POINTER: usize = 4;
const LAYOUT: u16 = 4;
/// Where a tuple keeps its random identifier and its status.
const IDENTIFIER: usize = 24 + 16;
const STATUS: usize = IDENTIFIER + 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_where_its_rows_lie_and_they_lie_there() {
        let words = Vocabulary::new(1);
        for number in 0..200 {
            let mut page = page(&words, &mut Chance::new(1, "page", number), number as u32);
            touch(&mut page, &mut Chance::new(2, "touch", number));
            let (lower, upper) = (usize::from(take(&page, 12)), usize::from(take(&page, 14)));
            assert_eq!(page.len(), PAGE);
            assert!(HEADER < lower && lower <= upper && upper <= PAGE, "page {number}");
            assert_eq!((take(&page, 16), take(&page, 18)), (8192, 0x2004));
            for at in (HEADER..lower).step_by(POINTER) {
                let (low, high) = (take(&page, at), take(&page, at + 2));
                let (start, length) = (usize::from(low & 0x7fff), usize::from(high >> 1));
                assert!(start >= upper && start + length <= PAGE, "page {number}, row at {at}");
            }
        }
    }
}
