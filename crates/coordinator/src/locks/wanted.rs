//! Objects that are to be locked, and for whose sake: what is not there in a location is asked for
//! again for as long as that needs it.
//!
//! ```text
//!   not there ─┬─ needed still            ─→ nothing more is claimed until it is locked
//!              ├─ of a point that is lost ─→ put by: locked when the point is whole again
//!              └─ needed by nobody        ─→ dropped
//! ```
//!
//! The record of a point is needed beyond the point itself, by packs that lie in it.

use holdfast_common::{PackId, PointId, Result, VaultId};
use holdfast_ledger::{
    Query,
    row::{PackHome, PackRow, PackState, PointRow},
};
use holdfast_repository::layout::{Object, ObjectName};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: ObjectName,
    by: By,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// Keys, segments, what a vault has one of.
    Vault,
    /// A point's reach and record, while it is kept and whole.
    Point(PointId),
    /// Where a pack lies, in an object of its own or in that of a point.
    Pack(PackId),
}

/// What was not there, judged.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Absent {
    pub(super) needed: Vec<Wanted>,
    /// Of points that are lost.
    pub(super) put_by: Vec<Wanted>,
}

impl Wanted {
    pub(super) fn of_vault(name: ObjectName) -> Self {
        Self { name, by: By::Vault }
    }

    /// What was stored since: packs, and segments.
    pub(super) fn stored(name: ObjectName) -> Self {
        let by = match name.object() {
            Object::Pack(id) => By::Pack(id),
            _ => By::Vault,
        };
        Self { name, by }
    }

    /// Reach and record.
    pub(super) fn of_point(id: &PointId) -> [Self; 2] {
        [ObjectName::reach(id), ObjectName::point(id)].map(|name| Self { name, by: By::Point(*id) })
    }

    /// Where a pack lies; in the object of a point that is kept it is locked with that.
    pub(super) fn by_pack(query: Query<'_>, pack: &PackRow) -> Result<Option<Self>> {
        if pack.state != PackState::Stored {
            return Ok(None);
        }
        let name = match pack.home {
            PackHome::Object => ObjectName::pack(&pack.id),
            PackHome::Point(home, _) if is_kept(query, &home)? => return Ok(None),
            PackHome::Point(home, _) => ObjectName::point(&home),
        };
        Ok(Some(Self { name, by: By::Pack(pack.id) }))
    }

    fn is_needed(&self, query: Query<'_>, vault: &VaultId) -> Result<bool> {
        match self.by {
            By::Vault => Ok(true),
            By::Point(id) => is_kept(query, &id),
            By::Pack(id) => {
                let row = query.pack(vault, &id)?;
                Ok(row.is_some_and(|row| row.state == PackState::Stored))
            }
        }
    }
}

impl Absent {
    /// Judges what is not there. Packs that lie in points that are not kept are left out: whoever
    /// looks at all packs names these himself, with [`Wanted::by_pack`].
    pub(super) fn judge(query: Query<'_>, vault: &VaultId, all: Vec<Wanted>) -> Result<Self> {
        let mut absent = Self::default();
        for wanted in all {
            if wanted.is_needed(query, vault)? {
                absent.needed.push(wanted);
            } else if let By::Point(id) = wanted.by
                && query.row::<PointRow>(id.as_bytes())?.is_some()
            {
                absent.put_by.push(wanted);
            }
        }
        Ok(absent)
    }

    /// The same, and the packs that lie in such points are looked for among all.
    pub(super) async fn judge_homes(
        query: Query<'_>,
        vault: &VaultId,
        all: Vec<Wanted>,
    ) -> Result<Self> {
        let mut homes: BTreeMap<PointId, PackId> = BTreeMap::new();
        let mut asked = Vec::new();
        for wanted in &all {
            if let (By::Point(_), Object::Point(id)) = (wanted.by, wanted.name.object())
                && !is_kept(query, &id)?
            {
                asked.push(id);
            }
        }
        let mut after = None;
        while !asked.is_empty() {
            let page = query.packs(vault, after.as_ref())?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            for pack in page.iter().filter(|pack| pack.state == PackState::Stored) {
                if let PackHome::Point(home, _) = pack.home {
                    homes.insert(home, pack.id);
                }
            }
            homes.retain(|home, _| asked.contains(home));
            tokio::task::yield_now().await;
        }
        let mut absent = Self::judge(query, vault, all)?;
        let lies_in = |(home, pack): (PointId, PackId)| Wanted {
            name: ObjectName::point(&home),
            by: By::Pack(pack),
        };
        absent.needed.extend(homes.into_iter().map(lies_in));
        Ok(absent)
    }
}

/// A point that is there and whole.
fn is_kept(query: Query<'_>, id: &PointId) -> Result<bool> {
    let row = query.row::<PointRow>(id.as_bytes())?;
    Ok(row.is_some_and(|row| row.lost.is_none()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{self, Crowd, VAULT, forgotten, moment};

    fn id(number: u64) -> PointId {
        PointId::from_bytes(crowd::id(number))
    }

    fn pack(number: u8, home: PackHome, state: PackState) -> PackRow {
        PackRow { vault: VAULT, home, state, ..crowd::pack([number; 32]) }
    }

    fn judged(crowd: Crowd, all: Vec<Wanted>) -> Absent {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        crowd.ask(|query| runtime.block_on(Absent::judge_homes(query, &VAULT, all)).unwrap())
    }

    fn names(wanted: &[Wanted]) -> Vec<&str> {
        wanted.iter().map(|wanted| wanted.name.as_str()).collect()
    }

    #[test]
    fn what_others_rest_on_is_awaited_though_its_point_was_forgotten() {
        let mut crowd = Crowd::default();
        crowd.put(&forgotten(1));
        crowd.put(&forgotten(2));
        crowd.put(&pack(1, PackHome::Point(id(1), 0), PackState::Stored));
        let all = [id(1), id(2)].iter().flat_map(Wanted::of_point).collect();
        let absent = judged(crowd, all);
        assert_eq!(names(&absent.needed), [ObjectName::point(&id(1)).as_str()]);
        assert_eq!(absent.put_by, []);
    }

    #[test]
    fn what_is_awaited_for_a_pack_is_dropped_when_the_pack_is_lost() {
        let home = PackHome::Point(id(1), 0);
        let mut crowd = Crowd::default();
        crowd.put(&forgotten(1));
        crowd.put(&pack(1, home, PackState::Lost));
        let all = vec![Wanted { name: ObjectName::point(&id(1)), by: By::Pack(pack_id(1)) }];
        assert_eq!(judged(crowd, all), Absent::default());
    }

    #[test]
    fn what_a_lost_point_lacks_is_put_by_and_its_record_is_needed_by_packs_in_it() {
        let mut crowd = Crowd::default();
        crowd.point(1, |row| row.lost = Some(moment(9)));
        let row = pack(1, PackHome::Point(id(1), 0), PackState::Stored);
        crowd.put(&row);
        let by_pack = Wanted { name: ObjectName::point(&id(1)), by: By::Pack(row.id) };
        let own = Wanted::of_point(&id(1));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        crowd.ask(|query| {
            assert_eq!(Wanted::by_pack(query, &row).unwrap(), Some(by_pack.clone()));
            let all = own.to_vec();
            let absent = runtime.block_on(Absent::judge_homes(query, &VAULT, all)).unwrap();
            assert_eq!(absent, Absent { needed: vec![by_pack], put_by: own.to_vec() });
        });
    }

    #[test]
    fn what_a_kept_point_lacks_is_needed_and_its_packs_are_locked_with_it() {
        let mut crowd = Crowd::default();
        crowd.point(1, |_| ());
        let row = pack(1, PackHome::Point(id(1), 0), PackState::Stored);
        crowd.put(&row);
        let own = Wanted::of_point(&id(1)).to_vec();
        let absent = crowd.ask(|query| {
            assert_eq!(Wanted::by_pack(query, &row).unwrap(), None);
            Absent::judge(query, &VAULT, own.clone()).unwrap()
        });
        assert_eq!(absent, Absent { needed: own, put_by: Vec::new() });
    }

    fn pack_id(number: u8) -> PackId {
        PackId::from_bytes([number; 32])
    }
}
