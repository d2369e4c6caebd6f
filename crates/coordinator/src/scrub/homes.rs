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
    /// Some points that were forgotten, behind an id and in their order; fewer than
    /// [`STEPS`] when there are no more.
    pub(super) async fn forgotten_behind(
        &mut self,
        query: Query<'_>,
        vault: &VaultId,
        after: Option<PointId>,
    ) -> Result<Vec<PointRow>> {
        let (mut found, mut after) = (Vec::new(), after);
        loop {
            let known = match self.0.take().filter(|known| known.covers(after)) {
                Some(known) => known,
                None => Known::behind(query, vault, after, IDS_MAX).await?,
            };
            let known = self.0.insert(known);
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            for id in known.ids.range((from, Bound::Unbounded)) {
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
                    let page = homes.forgotten_behind(query, &VAULT, after).await.unwrap();
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
