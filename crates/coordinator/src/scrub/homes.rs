//! Points that were forgotten, and whose objects hold packs that others may rest on: they lie in
//! the locations as before, and are read back with the points that are kept.
//!
//! The course of a location asks for them in the order of their ids. To know them all packs of a
//! vault are walked over, so the ids are kept for as long as they last, a bounded number of them;
//! whether a point was forgotten is asked when its turn comes.

use super::course::STEPS;
use core::ops::Bound;
use holdfast_common::{PointId, Result, VaultId};
use holdfast_ledger::{
    Query,
    row::{PackHome, PackRow, PackState, PointRow},
};
use std::collections::BTreeSet;

/// Ids that are kept at once.
const IDS_MAX: usize = 1 << 16;

/// The lowest ids behind one, of points in whose objects packs lie.
#[derive(Default)]
pub(super) struct Homes(Option<Known>);

struct Known {
    behind: Option<PointId>,
    ids: BTreeSet<PointId>,
    /// There are none behind the last.
    is_all: bool,
}

impl Homes {
    /// Some points that were forgotten, behind an id and up to another, in their order; fewer than
    /// [`STEPS`] when there are no more of them.
    pub(super) async fn forgotten_behind(
        &mut self,
        query: Query<'_>,
        vault: &VaultId,
        (after, upto): (Option<PointId>, Option<PointId>),
    ) -> Result<Vec<PointRow>> {
        let (mut found, mut after) = (Vec::new(), after);
        let is_behind = |id: PointId| upto.is_some_and(|upto| id > upto);
        loop {
            let known = match self.0.take().filter(|known| known.covers(after)) {
                Some(known) => known,
                None => Known::behind(query, vault, after, IDS_MAX).await?,
            };
            let known = self.0.insert(known);
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            for id in known.ids.range((from, Bound::Unbounded)) {
                // Those that are kept are asked for once, with the page that they are in.
                if is_behind(*id) {
                    return Ok(found);
                }
                after = Some(*id);
                found.extend(query.forgotten(id)?.map(|row| row.point));
                if found.len() == STEPS {
                    return Ok(found);
                }
            }
            if known.is_all {
                return Ok(found);
            }
        }
    }
}

impl Known {
    async fn behind(
        query: Query<'_>,
        vault: &VaultId,
        behind: Option<PointId>,
        most: usize,
    ) -> Result<Self> {
        let (mut ids, mut is_all, mut after) = (BTreeSet::new(), true, None);
        loop {
            let page = query.packs(vault, after.as_ref())?;
            let Some(last) = page.last() else { return Ok(Self { behind, ids, is_all }) };
            after = Some(last.id);
            for home in page.iter().filter_map(home_of) {
                if behind.is_none_or(|behind| home > behind) {
                    ids.insert(home);
                }
                if ids.len() > most {
                    ids.pop_last();
                    is_all = false;
                }
            }
            tokio::task::yield_now().await;
        }
    }

    fn covers(&self, after: Option<PointId>) -> bool {
        after >= self.behind && (self.is_all || after.as_ref() < self.ids.last())
    }
}

/// The point in whose object a pack lies that others may rest on, or did before it was lost.
fn home_of(pack: &PackRow) -> Option<PointId> {
    match pack.home {
        PackHome::Point(home, _) if is_looked_for(pack) => Some(home),
        _ => None,
    }
}

/// What was lost is looked for until it is whole.
pub(super) fn is_looked_for(pack: &PackRow) -> bool {
    matches!(pack.state, PackState::Stored | PackState::Lost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{Crowd, VAULT, forgotten, id, pack};
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use holdfast_common::record;
    use holdfast_ledger::{Batch, MemoryKv, Row, StateKv, row::ForgottenRow, tables::full_key};

    fn point(number: u64) -> PointId {
        PointId::from_bytes(id(number))
    }

    fn within(number: u64, state: PackState) -> PackRow {
        let mut name = [0; 32];
        // Their order is another one than that of the points.
        name[..8].copy_from_slice(&(!number).to_be_bytes());
        PackRow { home: PackHome::Point(point(number), 40), state, ..pack(name) }
    }

    fn now<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    /// So many that were forgotten and are rested on, and others that are not looked at.
    fn crowd(count: u64) -> Crowd {
        let mut crowd = Crowd::default();
        for number in 1..=count {
            crowd.put(&forgotten(number));
            crowd.put(&within(number, PackState::Stored));
        }
        crowd.put(&forgotten(1001));
        crowd.put(&forgotten(1002));
        crowd.put(&within(1002, PackState::Intended));
        crowd.put(&forgotten(1003));
        crowd.put(&within(1003, PackState::Lost));
        crowd.point(1004, |_| ());
        crowd.put(&within(1004, PackState::Stored));
        crowd
    }

    #[test]
    fn those_that_others_rest_on_come_each_once_in_their_order() {
        let count = STEPS as u64 + 9;
        crowd(count).ask(|query| {
            let ask = async {
                let (mut homes, mut after, mut seen) = (Homes::default(), None, Vec::new());
                loop {
                    let way = (after, None);
                    let page = homes.forgotten_behind(query, &VAULT, way).await.unwrap();
                    seen.extend(page.iter().map(|row| row.id));
                    after = page.last().map(|row| row.id);
                    if page.len() < STEPS {
                        return seen;
                    }
                }
            };
            let seen = now(ask);
            let all: Vec<PointId> = (1..=count).chain([1003]).map(point).collect();
            assert_eq!(seen, all, "not those in whose objects nothing is, and none that is kept");
        });
    }

    /// Whoever walks over the points asks of each once, however many there are.
    #[test]
    fn points_that_are_kept_are_not_asked_for_again_with_every_page() {
        let kv = Counting::default();
        let count = 20 * STEPS as u64;
        let mut batch = Batch::default();
        let mut put = |table, key: Vec<u8>, bytes| {
            batch.changes.insert(full_key(table, &key), Some(bytes));
        };
        for number in 1..=count {
            let (row, pack) = (Crowd::row(number), within(number, PackState::Stored));
            put(PointRow::TABLE, row.key(), record::to_bytes(&row));
            put(PackRow::TABLE, pack.key(), record::to_bytes(&pack));
        }
        let (row, pack) = (forgotten(count + 1), within(count + 1, PackState::Stored));
        put(ForgottenRow::TABLE, row.key(), record::to_bytes(&row));
        put(PackRow::TABLE, pack.key(), record::to_bytes(&pack));
        kv.tables.write(batch).unwrap();
        let query = Query::over(&kv);
        let walk = async {
            let (mut homes, mut seen, mut after) = (Homes::default(), Vec::new(), None);
            loop {
                let kept = query.points_behind(after.as_ref(), STEPS).unwrap();
                let upto = kept.get(STEPS - 1).map(|last| last.id);
                let way = (after, upto);
                let page = homes.forgotten_behind(query, &VAULT, way).await.unwrap();
                assert!(page.iter().all(|row| upto.is_none_or(|upto| row.id <= upto)));
                seen.extend(page.into_iter().map(|row| row.id));
                after = upto;
                if upto.is_none() {
                    return seen;
                }
            }
        };
        assert_eq!(now(walk), [point(count + 1)]);
        let asked = kv.reads.load(Relaxed);
        assert!(asked <= count + 1, "{asked} of {count}");
    }

    /// Tables that count how often somebody asks for one row.
    #[derive(Default)]
    struct Counting {
        tables: MemoryKv,
        reads: AtomicU64,
    }

    impl StateKv for Counting {
        fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
            self.reads.fetch_add(1, Relaxed);
            self.tables.read(key)
        }

        fn scan(
            &self,
            prefix: &[u8],
            after: Option<&[u8]>,
            limit: usize,
        ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
            self.tables.scan(prefix, after, limit)
        }

        fn write(&self, batch: Batch) -> Result<()> {
            self.tables.write(batch)
        }

        fn flush(&self) -> Result<()> {
            self.tables.flush()
        }
    }

    #[test]
    fn no_more_ids_are_kept_than_there_is_room_for_and_none_is_passed_over() {
        crowd(20).ask(|query| {
            let known = now(Known::behind(query, &VAULT, Some(point(3)), 5)).unwrap();
            let kept: Vec<PointId> = known.ids.iter().copied().collect();
            assert_eq!(kept, [4, 5, 6, 7, 8].map(point));
            assert!(!known.is_all && known.covers(Some(point(7))));
            assert!(!known.covers(Some(point(8))), "what is behind it is asked for anew");
            assert!(!known.covers(Some(point(2))) && !known.covers(None));
        });
    }
}
