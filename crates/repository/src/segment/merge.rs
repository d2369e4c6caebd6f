//! Several segments as one sorted stream, each row once.
//!
//! One row of each input is in memory, nothing more, so that a coordinator can fold any number of
//! small segments into large ones. An input that turns out not to be sorted ends the stream with
//! an error: going on would lose rows silently.

use super::{FORM, SegmentRow, SegmentRows};
use crate::defect::Defect;
use core::cmp::Reverse;
use holdfast_common::Result;
use std::collections::BinaryHeap;

/// All rows of all inputs, in order, exact duplicates dropped.
pub fn merge<'a>(inputs: impl IntoIterator<Item = SegmentRows<'a>>) -> Merge<'a> {
    let mut merge = Merge { heads: BinaryHeap::new(), failed: Ok(()), last: None };
    for rows in inputs {
        merge.advance(Cursor { rows, next: 0 }, None);
    }
    merge
}

/// See [`merge()`].
#[derive(Debug)]
pub struct Merge<'a> {
    heads: BinaryHeap<Reverse<Head<'a>>>,
    failed: Result<()>,
    last: Option<SegmentRow>,
}

#[derive(Debug)]
struct Head<'a> {
    row: SegmentRow,
    cursor: Cursor<'a>,
}

#[derive(Debug)]
struct Cursor<'a> {
    rows: SegmentRows<'a>,
    next: usize,
}

impl<'a> Merge<'a> {
    fn advance(&mut self, mut cursor: Cursor<'a>, before: Option<SegmentRow>) {
        match cursor.rows.row(cursor.next) {
            None => {}
            Some(Ok(row)) if before.is_none_or(|before| before < row) => {
                cursor.next += 1;
                self.heads.push(Reverse(Head { row, cursor }));
            }
            Some(Ok(_)) => {
                let defect = Defect::malformed("its rows are not in order");
                self.failed = Err(defect.told_of(&FORM));
            }
            Some(Err(error)) => self.failed = Err(error),
        }
    }
}

impl Iterator for Merge<'_> {
    type Item = Result<SegmentRow>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Err(error) = core::mem::replace(&mut self.failed, Ok(())) {
                self.heads.clear();
                return Some(Err(error));
            }
            let Reverse(Head { row, cursor }) = self.heads.pop()?;
            self.advance(cursor, Some(row));
            if self.last.replace(row) != Some(row) {
                return Some(Ok(row));
            }
        }
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.row == other.row
    }
}

impl Eq for Head<'_> {}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.row.cmp(&other.row)
    }
}
