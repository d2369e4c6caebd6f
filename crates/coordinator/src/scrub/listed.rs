//! Which objects that coordinators wrote by themselves must lie in a location: what the listings of
//! all locations of its vault say together, and of keys what the ledger says.
//!
//! A name that is gone from every location no listing has; of most nobody can say then that it was
//! there. The keys that are in use the ledger has itself.

use super::course::STEPS;
use crate::{
    fill::{Own, own_behind},
    places::Place,
};
use holdfast_common::{Result, limits};
use holdfast_repository::layout::ObjectName;

/// The next names that must be there, of those that are due. What only grows is brought into a
/// location that follows in the order of the names: what is behind the last is still to come.
pub(super) async fn brought(
    way: (&[Place], &Place),
    prefix: &str,
    after: Option<&ObjectName>,
    (is_due, grows): (&(dyn Fn(&Own) -> bool + Sync), bool),
) -> Result<Vec<Own>> {
    let is_there = |own: &Own| own.there.is_some();
    let (mut found, mut after): (Vec<Own>, _) = (Vec::new(), after.cloned());
    loop {
        let count = if found.is_empty() { STEPS } else { limits::LIST_PAGE_ROWS };
        let page = own_behind(way, prefix, after.as_ref(), count).await?;
        let is_last = page.len() < count;
        after = page.last().map(|last| last.name.clone());
        let due: Vec<Own> = page.into_iter().filter(is_due).collect();
        let is_brought = if found.is_empty() {
            found = due;
            found.last().is_some_and(is_there)
        } else {
            due.iter().any(is_there)
        };
        if is_brought || (!grows && !found.is_empty()) {
            return Ok(found);
        }
        if is_last {
            let last = found.iter().rposition(is_there);
            found.truncate(if grows { last.map_or(0, |last| last + 1) } else { found.len() });
            return Ok(found);
        }
    }
}

/// The names that are known too, where the listings go so far: a full page may have more behind it.
pub(super) fn with_known(
    mut listed: Vec<Own>,
    known: Vec<ObjectName>,
    after: Option<&ObjectName>,
) -> Vec<Own> {
    let upto = listed.get(STEPS - 1).map(|last| last.name.clone());
    let is_next = |name: &ObjectName| {
        after.is_none_or(|after| name > after) && upto.as_ref().is_none_or(|upto| name <= upto)
    };
    for name in known.into_iter().filter(is_next) {
        if let Err(at) = listed.binary_search_by(|own| own.name.cmp(&name)) {
            listed.insert(at, Own { name, there: None });
        }
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::SystemClock;
    use holdfast_storage::{MemoryStore, ObjectStore};
    use std::sync::Arc;

    fn keys(version: u32) -> ObjectName {
        ObjectName::keys(version, 1).unwrap()
    }

    fn there(version: u32) -> Own {
        Own { name: keys(version), there: Some(9) }
    }

    #[test]
    fn keys_that_are_in_use_are_missed_though_no_listing_has_them() {
        let gone = |version| Own { name: keys(version), there: None };
        assert_eq!(with_known(vec![], vec![keys(1), keys(2)], None), [gone(1), gone(2)]);
        assert_eq!(
            with_known(vec![there(1), there(4)], vec![keys(1), keys(3)], None),
            [there(1), gone(3), there(4)]
        );
        assert_eq!(with_known(vec![], vec![keys(1), keys(2)], Some(&keys(1))), [gone(2)]);
        assert_eq!(with_known(vec![], vec![keys(1)], Some(&keys(1))), []);
        // What is behind a full page is in the next one, or is missed there.
        let most = STEPS as u32;
        let full: Vec<Own> = (1..=most).map(there).collect();
        assert_eq!(with_known(full.clone(), vec![keys(most + 9)], None), full);
    }

    async fn place(called: &str, names: &[ObjectName]) -> Place {
        let store: Arc<dyn ObjectStore> =
            Arc::new(MemoryStore::new(Arc::new(SystemClock::start())));
        for name in names {
            let name = name.as_str().parse().unwrap();
            store.put_new(&name, "some bytes".into()).await.unwrap();
        }
        (called.parse().unwrap(), store)
    }

    /// All names of a part, from page to page.
    async fn all(others: &[Place], place: &Place, prefix: &str, grows: bool) -> Vec<ObjectName> {
        let mut names: Vec<ObjectName> = Vec::new();
        loop {
            let (way, after) = ((others, place), names.last().cloned());
            let due = (&|_: &Own| true, grows);
            let page = brought(way, prefix, after.as_ref(), (due.0, due.1)).await.unwrap();
            if page.is_empty() {
                return names;
            }
            names.extend(page.into_iter().map(|own| own.name));
        }
    }

    #[tokio::test]
    async fn a_gap_of_more_than_a_page_ends_no_part() {
        let log: Vec<ObjectName> = (1..=200).map(|from| ObjectName::log(1, from)).collect();
        let whole = [place("main", &log).await];
        let gap = place("far", &[log[0].clone(), log[149].clone()]).await;
        assert_eq!(
            all(&whole, &gap, "cluster/log/", true).await,
            log[..150],
            "the rest is to come"
        );
        assert_eq!(all(&whole, &gap, "cluster/log/", false).await, log);
        let empty = place("new", &[]).await;
        assert_eq!(all(&whole, &empty, "cluster/log/", true).await, []);
    }

    #[tokio::test]
    async fn the_newest_keys_are_missed_too() {
        let keys = [1, 2].map(|version| ObjectName::keys(version, 1).unwrap());
        let whole = [place("main", &keys).await];
        let old = place("far", &keys[..1]).await;
        assert_eq!(all(&whole, &old, "keys/", false).await, keys);
    }
}
