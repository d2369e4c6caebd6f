//! One scan over rows on disk and the changes above them.

use super::layers::Change;
use holdfast_common::Result;
use holdfast_ledger::{StateKv, kv::KeyValue};
use std::collections::BTreeMap;

/// Scans `below` as `changes` make it. They are asked first: what leaves a layer is below by then.
pub(super) fn scan_merged(
    below: &dyn StateKv,
    changes: impl Fn(Option<&[u8]>, usize) -> BTreeMap<Vec<u8>, Change>,
    (prefix, after): (&[u8], Option<&[u8]>),
    limit: usize,
) -> Result<Vec<KeyValue>> {
    let (mut rows, mut page, mut after) = (Vec::new(), limit, after.map(<[u8]>::to_vec));
    while rows.len() < limit {
        let mut merged = changes(after.as_deref(), page);
        let stored = below.scan(prefix, after.as_deref(), page)?;
        // A page that is full says nothing of what follows it.
        let changed_upto = merged.last_key_value().filter(|_| merged.len() >= page);
        let stored_upto = stored.last().filter(|_| stored.len() >= page);
        let known_upto = match (changed_upto, stored_upto) {
            (Some((one, _)), Some((other, _))) => Some(one.min(other).clone()),
            (one, other) => one.map(|row| row.0).or(other.map(|row| &row.0)).cloned(),
        };
        for (key, value) in stored {
            merged.entry(key).or_insert(Some(value));
        }
        let is_known = |key: &Vec<u8>| known_upto.as_ref().is_none_or(|upto| key <= upto);
        let known = merged.into_iter().take_while(|(key, _)| is_known(key));
        let left = limit - rows.len();
        rows.extend(known.filter_map(|(key, change)| Some((key, change?))).take(left));
        match known_upto {
            Some(upto) => after = Some(upto),
            None => break,
        }
        // Rows that were deleted in memory hide as many below: the next page is for the rest.
        page = page.saturating_mul(2);
    }
    Ok(rows)
}
