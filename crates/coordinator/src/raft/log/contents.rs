//! What the log holds, and where: entries by their index, notes by their name.
//!
//! It is made of records in the order in which they were written, when the log is opened and while
//! it is written alike: what a start finds is what the process before it saw.

use super::form::Record;
use std::{
    collections::BTreeMap,
    ops::{Bound, RangeBounds},
};

/// Where an entry lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) volume: u64,
    pub(super) at: u32,
    pub(super) length: u32,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    entries: BTreeMap<u64, Place>,
    notes: BTreeMap<String, Vec<u8>>,
}

impl Contents {
    /// Takes a record whose last field begins at `at` of `volume`.
    pub(super) fn take(&mut self, record: Record<'_>, volume: u64, at: usize) {
        match record {
            Record::Entry(index, bytes) => {
                // A volume is far smaller than these reach.
                let at = u32::try_from(at).unwrap_or(u32::MAX);
                let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                self.entries.insert(index, Place { volume, at, length });
            }
            Record::Note(name, bytes) => {
                self.notes.insert(name.to_owned(), bytes.to_vec());
            }
            Record::Truncate(from) => drop(self.entries.split_off(&from)),
            Record::Remove(upto) => match upto.checked_add(1) {
                Some(first) => self.entries = self.entries.split_off(&first),
                None => self.entries.clear(),
            },
        }
    }

    pub(super) fn note(&self, name: &str) -> Option<&[u8]> {
        self.notes.get(name).map(Vec::as_slice)
    }

    pub(super) fn notes(&self) -> impl Iterator<Item = Record<'_>> {
        self.notes.iter().map(|(name, bytes)| Record::Note(name, bytes))
    }

    pub(super) fn last(&self) -> Option<u64> {
        self.entries.last_key_value().map(|(index, _)| *index)
    }

    pub(super) fn holds(&self, index: u64) -> bool {
        self.entries.contains_key(&index)
    }

    pub(super) fn places(&self, range: impl RangeBounds<u64>) -> Vec<(u64, Place)> {
        // A map refuses what is upside down.
        let is_upside_down = match (range.start_bound(), range.end_bound()) {
            (Bound::Included(from), Bound::Included(to)) => from > to,
            (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to))
            | (Bound::Excluded(from), Bound::Included(to)) => from >= to,
            _ => false,
        };
        if is_upside_down {
            return Vec::new();
        }
        self.entries.range(range).map(|(index, place)| (*index, *place)).collect()
    }

    /// The oldest volume that something in here lies in.
    pub(super) fn oldest_volume(&self) -> Option<u64> {
        self.entries.values().map(|place| place.volume).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_word_on_an_index_or_a_name_counts() {
        let mut contents = Contents::default();
        for index in 1..=9 {
            contents.take(Record::Entry(index, b"old"), 1, 100);
        }
        contents.take(Record::Truncate(6), 2, 0);
        contents.take(Record::Entry(6, b"newer"), 3, 200);
        contents.take(Record::Remove(2), 3, 0);
        contents.take(Record::Note("vote", b"a"), 3, 0);
        contents.take(Record::Note("vote", b"b"), 3, 0);
        let found: Vec<u64> = contents.places(..).into_iter().map(|(index, _)| index).collect();
        assert_eq!(found, [3, 4, 5, 6]);
        let newer = Place { volume: 3, at: 200, length: 5 };
        assert_eq!(contents.places(6..), [(6, newer)]);
        assert_eq!(contents.places(5..5), []);
        let (from, to) = (6, 5);
        assert_eq!(contents.places(from..=to), []);
        assert_eq!(contents.places(6..=6), [(6, newer)]);
        assert_eq!((contents.last(), contents.note("vote")), (Some(6), Some(&b"b"[..])));
        assert!(contents.holds(3) && !contents.holds(2));
        assert_eq!(contents.oldest_volume(), Some(1));
        contents.take(Record::Remove(5), 3, 0);
        assert_eq!(contents.oldest_volume(), Some(3));
        contents.take(Record::Remove(u64::MAX), 3, 0);
        assert_eq!((contents.last(), contents.oldest_volume()), (None, None));
    }
}
