//! The line of entries, put together from extents that may overlap, be missing, or be of a side
//! that was superseded. Pure: names and entries in, what to do with them out.
//!
//! ```text
//!   extents in the order of their beginnings:  [1..5] [4..9] [8..9] [10..30]     of epoch 1
//!                                                               [12..14]         of epoch 2
//!   the line:                                   1 … 5 6 … 9 10 11 12 13 14
//! ```
//!
//! Each entry is taken once; the same index twice must be the same bytes. Where a later epoch
//! begins, what an earlier one said from there on counts no more.

use holdfast_common::{Code, Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Where extents begin, by what their names say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beginnings(BTreeSet<(u64, u64)>);

impl Beginnings {
    pub(crate) fn add(&mut self, epoch: u64, from: u64) {
        self.0.insert((epoch, from));
    }

    /// Where entries of an epoch end to count: a later one begins there.
    pub(crate) fn end_of(&self, epoch: u64) -> u64 {
        let later = self.0.iter().filter(|(other, _)| *other > epoch);
        later.map(|(_, from)| *from).min().unwrap_or(u64::MAX)
    }

    /// The extents that may hold an entry from `next` on, in the order in which to read them.
    pub(crate) fn from(&self, next: u64, entries_max: u64) -> Vec<(u64, u64)> {
        let counts = |(epoch, from): &&(u64, u64)| {
            *from < self.end_of(*epoch) && from.saturating_add(entries_max) > next
        };
        let mut wanted: Vec<(u64, u64)> = self.0.iter().filter(counts).copied().collect();
        wanted.sort_unstable_by_key(|(epoch, from)| (*from, *epoch));
        wanted
    }
}

/// Entries in order, each once.
#[derive(Debug)]
pub(crate) struct Line {
    next: u64,
    /// What was said of entries that another extent may say something of, too.
    said: BTreeMap<u64, [u8; 32]>,
}

/// Which of some entries are new.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    New(Vec<(u64, Vec<u8>)>),
    /// The first entry that is missing before these.
    Gap(u64),
}

impl Line {
    pub(crate) fn from(next: u64) -> Self {
        Self { next, said: BTreeMap::new() }
    }

    /// The first entry that nothing was said of yet.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Takes the entries of one extent that count before `end`. Extents come in the order of their
    /// first entries.
    pub(crate) fn take(&mut self, entries: Vec<(u64, Vec<u8>)>, end: u64) -> Result<Taken> {
        let Some(first) = entries.first().map(|(index, _)| *index) else {
            return Ok(Taken::New(Vec::new()));
        };
        if first > self.next {
            return Ok(Taken::Gap(self.next));
        }
        self.said = self.said.split_off(&first);
        let mut new = Vec::new();
        for (index, bytes) in entries.into_iter().take_while(|(index, _)| *index < end) {
            let hash = *blake3::hash(&bytes).as_bytes();
            match self.said.get(&index) {
                Some(said) if *said != hash => return Err(torn(index)),
                Some(_) => {}
                // From before the snapshot: nothing to compare with.
                None if index < self.next => {}
                None => {
                    self.said.insert(index, hash);
                    self.next = index + 1;
                    new.push((index, bytes));
                }
            }
        }
        Ok(Taken::New(new))
    }
}

fn torn(index: u64) -> Error {
    let message =
        format!("the locations tell two histories: entry {index} is there with two texts");
    Error::new(Code::LogDamaged, message)
        .next("name only locations of one side with --from; ask which of them is right")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entries(range: std::ops::RangeInclusive<u64>) -> Vec<(u64, Vec<u8>)> {
        range.map(|index| (index, index.to_le_bytes().to_vec())).collect()
    }

    fn taken(line: &mut Line, range: std::ops::RangeInclusive<u64>) -> Vec<u64> {
        match line.take(entries(range), u64::MAX).unwrap() {
            Taken::New(new) => new.into_iter().map(|(index, _)| index).collect(),
            Taken::Gap(at) => panic!("a gap at {at}"),
        }
    }

    #[test]
    fn what_overlaps_is_taken_once() {
        let mut line = Line::from(1);
        assert_eq!(taken(&mut line, 1..=5), [1, 2, 3, 4, 5]);
        assert_eq!(taken(&mut line, 1..=3), [0; 0]);
        assert_eq!(taken(&mut line, 4..=7), [6, 7]);
        assert_eq!(taken(&mut line, 8..=8), [8]);
        assert_eq!(line.take(entries(10..=11), u64::MAX).unwrap(), Taken::Gap(9));
    }

    #[test]
    fn one_entry_with_two_texts_is_no_history() {
        let mut line = Line::from(1);
        taken(&mut line, 1..=5);
        let mut other = entries(4..=6);
        other[1].1.push(0);
        let error = line.take(other, u64::MAX).unwrap_err();
        assert_eq!(error.code, Code::LogDamaged);
        assert!(error.message.contains("entry 5"), "{error}");
    }

    #[test]
    fn a_snapshot_stands_for_what_is_before_it() {
        let mut line = Line::from(4);
        assert_eq!(taken(&mut line, 1..=5), [4, 5]);
    }

    #[test]
    fn a_later_epoch_ends_an_earlier_one_where_it_begins() {
        let mut beginnings = Beginnings::default();
        for (epoch, from) in [(1, 1), (1, 10), (1, 20), (2, 12), (2, 15)] {
            beginnings.add(epoch, from);
        }
        assert_eq!((beginnings.end_of(1), beginnings.end_of(2)), (12, u64::MAX));
        assert_eq!(beginnings.from(1, 256), [(1, 1), (1, 10), (2, 12), (2, 15)]);
        let mut line = Line::from(10);
        let Taken::New(new) = line.take(entries(10..=19), 12).unwrap() else { panic!() };
        assert_eq!(new.len(), 2);
        let other: Vec<_> = (12..=16).map(|index| (index, vec![9])).collect();
        assert_eq!(line.take(other.clone(), u64::MAX).unwrap(), Taken::New(other));
    }

    #[test]
    fn what_ends_before_the_snapshot_is_not_read() {
        let mut beginnings = Beginnings::default();
        for from in [1, 257, 300, 600] {
            beginnings.add(1, from);
        }
        assert_eq!(beginnings.from(600, 256), [(1, 600)]);
        assert_eq!(beginnings.from(555, 256), [(1, 300), (1, 600)]);
    }

    proptest! {
        /// However the log was cut, twice over, the line is the log.
        #[test]
        fn any_cuts_give_the_log_again(
            cuts in proptest::collection::vec((0u64..80, 1u64..30), 0..40),
            skipped in 1u64..60,
        ) {
            let mut extents: Vec<(u64, u64)> =
                cuts.into_iter().map(|(at, length)| (at + 1, (at + length).min(80))).collect();
            // One row of cuts without a gap beneath them all.
            extents.extend((0..8).map(|at| (at * 10 + 1, at * 10 + 10)));
            extents.sort_unstable();
            let mut line = Line::from(skipped);
            let mut all = Vec::new();
            for (from, to) in extents {
                match line.take(entries(from..=to), u64::MAX).unwrap() {
                    Taken::New(new) => all.extend(new),
                    Taken::Gap(at) => prop_assert!(from > at),
                }
            }
            prop_assert_eq!(all, entries(skipped..=80));
        }
    }
}
