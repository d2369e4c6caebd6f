//! A table walked a page at a time, so that its length costs time and never memory.
//!
//! Whoever walks decides when it is enough: a filter that few rows pass goes on to the last row
//! instead of giving up after the first page. Nothing is held between pages but the last key, so
//! rows that are written meanwhile behind that key are not seen, and none is seen twice.

use crate::{
    kv::{KeyValue, StateKv},
    tables::{Table, full_key},
};
use holdfast_common::Result;

pub(crate) struct Pages<'a> {
    kv: &'a dyn StateKv,
    prefix: Vec<u8>,
    after: Option<Vec<u8>>,
    page: std::vec::IntoIter<KeyValue>,
    is_last: bool,
}

impl<'a> Pages<'a> {
    /// Rows whose key begins with `prefix`, after the key `after`, in the order of their keys.
    pub(crate) fn over(
        kv: &'a dyn StateKv,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
    ) -> Self {
        let after = after.map(|key| full_key(table, key));
        let page = Vec::new().into_iter();
        Self { kv, prefix: full_key(table, prefix), after, page, is_last: false }
    }

    fn turn(&mut self) -> Result<()> {
        let page = self.kv.scan(&self.prefix, self.after.as_deref(), PAGE_ROWS)?;
        self.is_last = page.len() < PAGE_ROWS;
        self.after = page.last().map(|(key, _)| key.clone());
        self.page = page.into_iter();
        Ok(())
    }
}

impl Iterator for Pages<'_> {
    type Item = Result<KeyValue>;

    /// The key without its table's byte, and the value. Ends after an error.
    fn next(&mut self) -> Option<Self::Item> {
        if self.page.len() == 0
            && !self.is_last
            && let Err(error) = self.turn()
        {
            self.is_last = true;
            return Some(Err(error));
        }
        let (key, value) = self.page.next()?;
        Some(Ok((key[1..].to_vec(), value)))
    }
}

const PAGE_ROWS: usize = 1000;
