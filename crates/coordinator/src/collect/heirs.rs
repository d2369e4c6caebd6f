//! What was packed anew goes from a location only when the pack lies there that took it over, and
//! not a moment before: a location that follows has what is required elsewhere a while later.
//!
//! ```text
//!   a pack that is to go ─→ into another ─→ into another … ─→ one that lives: is it there?
//!                                                          └─→ one that nobody needs: it may go
//! ```

use crate::places::Place;
use futures::{StreamExt, TryStreamExt, stream};
use holdfast_common::{Code, Error, PackId, Result, VaultId};
use holdfast_ledger::{Query, row::PackState};
use holdfast_repository::layout::ObjectName;
use std::collections::{BTreeMap, BTreeSet};

/// So many objects are looked for at once.
const LOOKS: usize = 8;

/// Of each object that is to go, the packs that took over what is in it.
#[derive(Debug, Default)]
pub(super) struct Heirs(BTreeMap<ObjectName, BTreeSet<PackId>>);

impl Heirs {
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// An object with these packs in it is to go.
    pub(super) fn note(
        &mut self,
        (query, vault): (Query<'_>, &VaultId),
        name: &ObjectName,
        packs: &[PackId],
    ) -> Result<()> {
        for pack in packs {
            if let Some(heir) = heir(query, vault, pack)? {
                self.0.entry(name.clone()).or_default().insert(heir);
            }
        }
        Ok(())
    }

    /// Those that may go from a location, and why others may not yet.
    pub(super) async fn let_go(
        &self,
        (location, store): &Place,
        mut names: Vec<ObjectName>,
    ) -> Result<(Vec<ObjectName>, Option<Error>)> {
        let heirs: BTreeSet<PackId> =
            names.iter().filter_map(|name| self.0.get(name)).flatten().copied().collect();
        let look = |heir: PackId| async move {
            let name = ObjectName::pack(&heir).as_str().parse()?;
            Ok::<_, Error>(store.head(&name).await?.is_none().then_some(heir))
        };
        let looks = stream::iter(heirs).map(look).buffer_unordered(LOOKS);
        let lacking: BTreeSet<PackId> =
            looks.try_filter_map(async |heir| Ok(heir)).try_collect().await?;
        let Some(first) = lacking.first() else { return Ok((names, None)) };
        names.retain(|name| self.0.get(name).is_none_or(|heirs| heirs.is_disjoint(&lacking)));
        let message = format!(
            "`{location}` lacks {} packs that took over what others had, first {first}",
            lacking.len()
        );
        Ok((names, Some(Error::new(Code::LocationBehind, message))))
    }
}

/// The living pack that has the numbers of one that goes; none where nobody needs them any more.
pub(super) fn heir(query: Query<'_>, vault: &VaultId, pack: &PackId) -> Result<Option<PackId>> {
    match query.pack(vault, pack)? {
        Some(row) => heir_behind(query, vault, row.into),
        None => Ok(None),
    }
}

/// The same of a pack that went into another one. Those between may be gone from everywhere.
pub(super) fn heir_behind(
    query: Query<'_>,
    vault: &VaultId,
    into: Option<PackId>,
) -> Result<Option<PackId>> {
    let mut next = into;
    while let Some(id) = next {
        next = match query.pack(vault, &id)? {
            Some(row) if row.state != PackState::Doomed => return Ok(Some(id)),
            Some(row) => row.into,
            // It may have gone since it was looked for.
            None => query.gone_pack(vault, &id)?.and_then(|row| row.into),
        };
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{Crowd, VAULT, pack};
    use bytes::Bytes;
    use holdfast_common::{SystemClock, Timestamp};
    use holdfast_ledger::row::{GoneRow, PackRow};
    use holdfast_storage::{MemoryStore, ObjectStore};
    use std::sync::Arc;

    fn named(number: u8) -> PackId {
        PackId::from_bytes([number; 32])
    }

    fn row(number: u8, state: PackState, into: Option<u8>) -> PackRow {
        PackRow { state, into: into.map(named), vault: VAULT, ..pack([number; 32]) }
    }

    fn crowd() -> Crowd {
        let mut crowd = Crowd::default();
        crowd.put(&row(1, PackState::Doomed, Some(2)));
        crowd.put(&row(2, PackState::Doomed, Some(3)));
        crowd.put(&row(3, PackState::Stored, None));
        crowd.put(&row(4, PackState::Doomed, Some(5)));
        crowd.put(&row(5, PackState::Doomed, None));
        crowd.put(&row(6, PackState::Doomed, Some(7)));
        let gone = |pack, into: Option<u8>| {
            let (when, into) = (Timestamp::ZERO, into.map(named));
            GoneRow { vault: VAULT, pack: named(pack), when, into }
        };
        crowd.put(&gone(7, None));
        crowd.put(&row(10, PackState::Doomed, Some(11)));
        crowd.put(&gone(11, Some(3)));
        crowd.put(&row(8, PackState::Doomed, Some(9)));
        crowd.put(&row(9, PackState::Lost, None));
        crowd
    }

    #[test]
    fn the_heir_of_a_pack_is_the_one_that_lives() {
        crowd().ask(|query| {
            let of = |pack| heir(query, &VAULT, &named(pack)).unwrap();
            assert_eq!((of(1), of(2)), (Some(named(3)), Some(named(3))));
            assert_eq!((of(4), of(5)), (None, None), "nobody needs it any more");
            assert_eq!(of(6), None, "nobody needed what went into it");
            assert_eq!(of(10), Some(named(3)), "behind one that was seen gone from everywhere");
            assert_eq!(of(8), Some(named(9)), "what was lost is waited for");
        });
    }

    #[tokio::test]
    async fn what_was_packed_anew_stays_where_the_new_pack_is_not() {
        let mut heirs = Heirs::default();
        let name = |number| ObjectName::pack(&named(number));
        crowd().ask(|query| {
            for number in [1, 4] {
                heirs.note((query, &VAULT), &name(number), &[named(number)]).unwrap();
            }
        });
        let store: Arc<dyn ObjectStore> =
            Arc::new(MemoryStore::new(Arc::new(SystemClock::start())));
        let place = ("far".parse().unwrap(), store.clone());
        let both = vec![name(1), name(4)];
        let (may, why) = heirs.let_go(&place, both.clone()).await.unwrap();
        assert_eq!((may, why.unwrap().code), (vec![name(4)], Code::LocationBehind));
        let there = name(3).as_str().parse().unwrap();
        store.put_new(&there, Bytes::from_static(b"it")).await.unwrap();
        let (may, why) = heirs.let_go(&place, both.clone()).await.unwrap();
        assert_eq!((may, why.is_none()), (both, true));
    }
}
