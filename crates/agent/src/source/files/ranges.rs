//! Where a file has data, and where it has holes.
//!
//! The filesystem is asked with SEEK_DATA and SEEK_HOLE; one that knows no holes says that all is
//! data. A file with very many holes must still fit its manifest entry: then holes below a growing
//! size are read as the zeros they are, until no more than `limits::SPARSE_RANGES_MAX` ranges are
//! left. Nothing is lost by that but the smallest holes.

use holdfast_common::limits;
use holdfast_seal::manifest::entry::Range;
use rustix::fd::BorrowedFd;
use rustix::fs::{SeekFrom, seek};
use rustix::io::{Errno, Result};

const HOLE_BYTES_MIN: u64 = 4096;

/// The data ranges below `size`; `None` when there is no hole.
pub(super) fn data_ranges(file: BorrowedFd<'_>, size: u64) -> Result<Option<Vec<Range>>> {
    let mut ranges = Collected::default();
    let mut at = 0;
    while at < size {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::NOTSUP) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        if start >= size {
            break;
        }
        let end = seek(file, SeekFrom::Hole(start))?.min(size);
        if end <= start {
            // The file shrank under our hands; the reader will notice.
            break;
        }
        ranges.push(Range { offset: start, length: end - start }, limits::SPARSE_RANGES_MAX);
        at = end;
    }
    let all = [Range { offset: 0, length: size }];
    Ok((size > 0 && ranges.list != all).then_some(ranges.list))
}

struct Collected {
    list: Vec<Range>,
    hole_min: u64,
}

impl Default for Collected {
    fn default() -> Self {
        Self { list: Vec::new(), hole_min: 1 }
    }
}

impl Collected {
    fn push(&mut self, range: Range, ranges_max: usize) {
        join(&mut self.list, range, self.hole_min);
        while self.list.len() > ranges_max {
            self.hole_min = (self.hole_min * 2).max(HOLE_BYTES_MIN);
            let finer = std::mem::take(&mut self.list);
            for range in finer {
                join(&mut self.list, range, self.hole_min);
            }
        }
    }
}

/// Adds a range behind the others, closing the hole before it when it is too small.
fn join(list: &mut Vec<Range>, range: Range, hole_min: u64) {
    match list.last_mut() {
        Some(last) if range.offset - (last.offset + last.length) < hole_min => {
            last.length = range.offset + range.length - last.offset;
        }
        _ => list.push(range),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranges_stay_few_and_cover_all_data(
            steps in prop::collection::vec((1u64..1_000_000, 1u64..100_000), 0..200),
            ranges_max in 1usize..20,
        ) {
            let mut collected = Collected::default();
            let (mut at, mut given) = (0, Vec::new());
            for (hole, length) in steps {
                let range = Range { offset: at + hole, length };
                at = range.offset + length;
                given.push(range);
                collected.push(range, ranges_max);
                prop_assert!(collected.list.len() <= ranges_max);
            }
            for range in &given {
                prop_assert!(collected.list.iter().any(|wide| wide.offset <= range.offset
                    && range.offset + range.length <= wide.offset + wide.length));
            }
            let ordered = collected.list.windows(2)
                .all(|pair| pair[0].offset + pair[0].length < pair[1].offset);
            prop_assert!(ordered, "{:?}", collected.list);
            prop_assert_eq!(collected.list.first().map(|r| r.offset),
                given.first().map(|r| r.offset), "nothing is added in front");
        }
    }
}
