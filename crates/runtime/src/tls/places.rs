//! Who may stand where room is short: so many in all, and so many of one kind.
//!
//! A place that may be taken over is safe for a while only: when all are taken, the oldest that is
//! no longer safe is told to leave, and whoever came gets it. So somebody who holds places and
//! does nothing with them keeps out nobody for long. Of all places, one is taken from whoever has
//! most; beyond its own bound, a key takes only from itself.

use core::hash::Hash;
use core::time::Duration;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

#[derive(Clone, Debug)]
pub(super) struct Places<K: Key>(Arc<Table<K>>);

pub(super) trait Key: Clone + Eq + Hash + Send + Sync + core::fmt::Debug + 'static {}

impl<K: Clone + Eq + Hash + Send + Sync + core::fmt::Debug + 'static> Key for K {}

impl<K: Key> Places<K> {
    /// Places that are kept for as long as their holders like.
    pub(super) fn kept(max: usize) -> Self {
        Self::new(max, None)
    }

    /// Places that may be taken over once they were held for so long.
    pub(super) fn passing(max: usize, safe_for: Duration) -> Self {
        Self::new(max, Some(safe_for))
    }

    fn new(max: usize, safe_for: Option<Duration>) -> Self {
        Self(Arc::new(Table { max, safe_for, rows: Mutex::default() }))
    }

    /// A place for `key`, which may have `each` of them; `None` when there is none to be had.
    pub(super) fn take(&self, key: &K, each: usize) -> Option<Place> {
        let mut rows = self.0.lock();
        let crowded = if rows.count(key) >= each {
            Some(key.clone())
        } else if rows.taken.len() >= self.0.max {
            rows.most()
        } else {
            None
        };
        if let Some(crowded) = crowded {
            rows.displace(&crowded, self.0.safe_for?)?;
        }
        let id = rows.next;
        rows.next += 1;
        let leave = CancellationToken::new();
        let row = Row { key: key.clone(), since: Instant::now(), leave: leave.clone() };
        rows.taken.insert(id, row);
        drop(rows);
        let table = Arc::clone(&self.0);
        Some(Place { leave, _seat: Box::new(Seat { table, id }) })
    }
}

/// Given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    /// Cancelled when the place was given to somebody else.
    pub(super) leave: CancellationToken,
    _seat: Box<dyn Held>,
}

/// Where somebody comes from. A network of version 6 gives each host a whole range.
pub(super) fn origin(remote: SocketAddr) -> IpAddr {
    match remote.ip().to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// Only held, whatever its key.
trait Held: Send + Sync + core::fmt::Debug {}

#[derive(Debug)]
struct Table<K: Key> {
    max: usize,
    safe_for: Option<Duration>,
    rows: Mutex<Rows<K>>,
}

#[derive(Debug)]
struct Rows<K> {
    next: u64,
    /// By age: the first is the oldest.
    taken: BTreeMap<u64, Row<K>>,
}

#[derive(Debug)]
struct Row<K> {
    key: K,
    since: Instant,
    leave: CancellationToken,
}

impl<K> Default for Rows<K> {
    fn default() -> Self {
        Self { next: 0, taken: BTreeMap::new() }
    }
}

impl<K: Key> Rows<K> {
    fn count(&self, key: &K) -> usize {
        self.taken.values().filter(|row| row.key == *key).count()
    }

    fn most(&self) -> Option<K> {
        let mut counts: HashMap<&K, usize> = HashMap::new();
        self.taken.values().for_each(|row| *counts.entry(&row.key).or_default() += 1);
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(key, _)| key.clone())
    }

    fn displace(&mut self, key: &K, safe_for: Duration) -> Option<()> {
        let (id, oldest) = self.taken.iter().find(|(_, row)| row.key == *key)?;
        if oldest.since.elapsed() < safe_for {
            return None;
        }
        oldest.leave.cancel();
        let id = *id;
        self.taken.remove(&id);
        Some(())
    }
}

impl<K: Key> Table<K> {
    fn lock(&self) -> MutexGuard<'_, Rows<K>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Seat<K: Key> {
    table: Arc<Table<K>>,
    id: u64,
}

impl<K: Key> Held for Seat<K> {}

impl<K: Key> Drop for Seat<K> {
    fn drop(&mut self) {
        self.table.lock().taken.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAFE: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_kept_place_is_nobody_elses_until_it_is_given_back() {
        let places = Places::kept(3);
        let first = places.take(&'a', 2).unwrap();
        let second = places.take(&'a', 2).unwrap();
        tokio::time::advance(100 * SAFE).await;
        assert!(places.take(&'a', 2).is_none(), "its own bound");
        let _other = places.take(&'b', 2).unwrap();
        assert!(places.take(&'c', 2).is_none(), "the bound of all");
        drop(first);
        let _third = places.take(&'c', 2).unwrap();
        assert!(!second.leave.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_passing_place_is_safe_for_a_while_and_then_goes_to_the_next() {
        let places = Places::passing(8, SAFE);
        let first = places.take(&'a', 2).unwrap();
        let second = places.take(&'a', 2).unwrap();
        assert!(places.take(&'a', 2).is_none(), "both are safe");
        tokio::time::advance(SAFE).await;
        let third = places.take(&'a', 2).unwrap();
        assert!(first.leave.is_cancelled(), "the oldest leaves");
        assert!(!second.leave.is_cancelled() && !third.leave.is_cancelled());
        drop(first);
        drop(second);
        let _fourth = places.take(&'a', 2).unwrap();
        assert!(places.take(&'a', 2).is_none(), "leaving twice frees one place");
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_are_taken_whoever_has_most_gives() {
        let places = Places::passing(3, SAFE);
        let single = places.take(&'b', 3).unwrap();
        let greedy = [places.take(&'a', 3).unwrap(), places.take(&'a', 3).unwrap()];
        tokio::time::advance(SAFE).await;
        let _newcomer = places.take(&'c', 3).unwrap();
        assert!(greedy[0].leave.is_cancelled() && !single.leave.is_cancelled());
    }

    #[test]
    fn a_range_of_version_six_is_one_origin() {
        let of = |text: &str| origin(SocketAddr::new(text.parse().unwrap(), 1));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
