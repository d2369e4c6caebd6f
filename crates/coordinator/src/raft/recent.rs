//! The newest entries of the log in memory: all that is not in the database yet, and of what is as
//! much as a bound allows. Followers and the machine read what was appended a moment ago.
//!
//! They are the end of the log, without a gap: a range that begins here is answered from here.

use super::types::{Entry, LogId};
use openraft::entry::RaftEntry;
use std::{
    collections::BTreeMap,
    ops::{Bound, RangeBounds},
    sync::Arc,
};

/// An entry, and its stored form.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) entry: Entry,
    pub(super) bytes: Arc<[u8]>,
}

pub(super) struct Recent {
    rows: BTreeMap<u64, (Row, IsStored)>,
    bytes: usize,
    bytes_max: usize,
}

type IsStored = bool;

impl Recent {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { rows: BTreeMap::new(), bytes: 0, bytes_max }
    }

    pub(super) fn append(&mut self, rows: &[Row]) {
        for row in rows {
            self.bytes += weight(row);
            let before = self.rows.insert(row.entry.index(), (row.clone(), false));
            self.bytes -= before.map_or(0, |(row, _)| weight(&row));
        }
    }

    pub(super) fn truncate(&mut self, from: u64) {
        let gone = self.rows.split_off(&from);
        self.bytes -= gone.values().map(|(row, _)| weight(row)).sum::<usize>();
    }

    pub(super) fn purge(&mut self, upto: u64) {
        while self.rows.first_key_value().is_some_and(|(index, _)| *index <= upto) {
            self.pop();
        }
    }

    /// These are in the database now, unless they were appended again since. What is beyond the
    /// bound goes, the oldest first.
    pub(super) fn stored(&mut self, rows: &[Row]) {
        for row in rows {
            if let Some((now, is_stored)) = self.rows.get_mut(&row.entry.index()) {
                *is_stored |= Arc::ptr_eq(&now.bytes, &row.bytes);
            }
        }
        while self.bytes > self.bytes_max
            && self.rows.first_key_value().is_some_and(|(_, (_, is_stored))| *is_stored)
        {
            self.pop();
        }
    }

    pub(super) fn last(&self) -> Option<LogId> {
        self.rows.last_key_value().map(|(_, (row, _))| row.entry.log_id)
    }

    /// All entries of a range, if it begins here.
    pub(super) fn range(&self, range: &impl RangeBounds<u64>) -> Option<Vec<Entry>> {
        let rows = self.all_from(first_of(range), range.end_bound().cloned())?;
        Some(rows.into_iter().map(|(row, _)| row.entry.clone()).collect())
    }

    /// Entries as they are in the database, as far as they are there, if they begin here.
    pub(super) fn stored_forms(&self, from: u64, to: u64) -> Option<Vec<(u64, Vec<u8>)>> {
        let rows = self.all_from(from, Bound::Included(to))?;
        let stored = rows.into_iter().take_while(|(_, is_stored)| *is_stored);
        Some(stored.map(|(row, _)| (row.entry.index(), row.bytes.to_vec())).collect())
    }

    /// What is here of a range, wherever it begins.
    pub(super) fn part(&self, range: impl RangeBounds<u64>) -> Vec<Entry> {
        self.rows.range(range).map(|(_, (row, _))| row.entry.clone()).collect()
    }

    fn all_from(&self, from: u64, end: Bound<u64>) -> Option<Vec<&(Row, IsStored)>> {
        let (first, _) = self.rows.first_key_value()?;
        if from < *first {
            return None;
        }
        let rows: Vec<_> = self.rows.range((Bound::Included(from), end)).collect();
        let is_whole = rows.iter().zip(from..).all(|((index, _), wanted)| **index == wanted);
        is_whole.then(|| rows.into_iter().map(|(_, row)| row).collect())
    }

    fn pop(&mut self) {
        if let Some((_, (row, _))) = self.rows.pop_first() {
            self.bytes -= weight(&row);
        }
    }
}

fn first_of(range: &impl RangeBounds<u64>) -> u64 {
    match range.start_bound() {
        Bound::Included(first) => *first,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    }
}

/// The stored form, and the payload in the entry beside it.
fn weight(row: &Row) -> usize {
    2 * row.bytes.len() + ROW_BYTES
}

/// What a row takes beside its bytes.
const ROW_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use openraft::{EntryPayload, impls::leader_id_adv::LeaderId};

    const BYTES: usize = 1000;

    fn rows(indexes: std::ops::Range<u64>, term: u64) -> Vec<Row> {
        let row = |index| {
            let leader_id = LeaderId { term, node_id: 1 };
            let log_id = LogId { leader_id, index };
            Row { entry: Entry { log_id, payload: EntryPayload::Blank }, bytes: [0; BYTES].into() }
        };
        indexes.map(row).collect()
    }

    fn found(recent: &Recent, range: std::ops::Range<u64>) -> Option<Vec<u64>> {
        let entries = recent.range(&range)?;
        Some(entries.iter().map(RaftEntry::index).collect())
    }

    #[test]
    fn what_is_stored_goes_at_the_bound_the_oldest_first_and_what_is_not_stays() {
        let mut recent = Recent::new(5 * (2 * BYTES + ROW_BYTES));
        let first = rows(1..9, 1);
        recent.append(&first);
        assert_eq!(found(&recent, 1..20), Some((1..9).collect()), "not stored yet");
        recent.stored(&first[1..]);
        assert_eq!(found(&recent, 1..3), Some(vec![1, 2]), "the first is not");
        recent.stored(&first[..1]);
        assert_eq!(found(&recent, 3..9), None);
        assert_eq!(found(&recent, 4..9), Some((4..9).collect()));
        assert_eq!(found(&recent, 9..12), Some(vec![]));
        recent.purge(6);
        assert_eq!((found(&recent, 6..9), found(&recent, 7..9)), (None, Some(vec![7, 8])));
    }

    #[test]
    fn an_entry_that_was_appended_again_is_the_new_one_and_not_stored() {
        let mut recent = Recent::new(usize::MAX);
        let (first, second) = (rows(1..5, 1), rows(3..6, 2));
        recent.append(&first);
        recent.truncate(3);
        assert_eq!(recent.last(), Some(first[1].entry.log_id));
        recent.append(&second);
        recent.stored(&first);
        let stored = recent.stored_forms(1, 9).unwrap();
        assert_eq!(stored.iter().map(|row| row.0).collect::<Vec<_>>(), [1, 2]);
        recent.stored(&second);
        assert_eq!(recent.stored_forms(1, 4).unwrap().len(), 4);
        assert_eq!(recent.last(), Some(second[2].entry.log_id));
    }

    #[test]
    fn a_gap_is_not_answered() {
        let mut recent = Recent::new(usize::MAX);
        assert_eq!(found(&recent, 0..1), None);
        recent.append(&rows(1..3, 1));
        recent.append(&rows(5..7, 1));
        assert_eq!(found(&recent, 1..7), None);
        assert_eq!(found(&recent, 5..7), Some(vec![5, 6]));
        assert_eq!(recent.part(0..6).len(), 3);
    }
}
