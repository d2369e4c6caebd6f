//! What would be lost with a version of a vault's keys. Nothing is changed.
//!
//! ```text
//!   rows of packs, at one moment ─→ needs ─→ the points whose reach meets them
//!                                        └─→ points of which it cannot be said
//! ```
//!
//! While a version is not closed this is no promise: the next backup may rely on it. Once it is,
//! nothing is added to it, and what is told here only shrinks. While a snapshot takes the place of
//! the tables nothing is told: what is missing from half of them is not what nobody needs.

use super::needs::Needs;
use crate::house::{House, Vault};
use futures::{StreamExt, stream};
use holdfast_common::{Code, Error, PackId, Result, Timestamp, VaultId, limits};
use holdfast_ledger::row::{HoldRow, KeyVersionRow, PointRow};
use holdfast_repository::Reach;
use std::{collections::BTreeMap, future::Future, sync::Arc};

/// So many reaches are read at once.
const READS: usize = 4;

/// What nothing opens any more when a version is gone.
#[derive(Debug)]
pub(crate) struct Loss {
    /// Up to which entry the log was applied when the packs were looked at.
    pub(crate) at: u64,
    pub(crate) version: u32,
    /// Since when nothing new comes to rely on it; none: it may at any moment.
    pub(crate) closed: Option<Timestamp>,
    /// Packs that do not open whole without it, and how long they are.
    pub(crate) packs: u64,
    pub(crate) bytes: u64,
    /// Packs of which nobody knows to which versions they are sealed, and the first few of them.
    pub(crate) packs_unknown: u64,
    pub(crate) unknown: Vec<PackId>,
    /// Points that cannot be restored whole without it; newest first.
    pub(crate) points: Vec<PointRow>,
    /// Points that may be such: what they need cannot be read, or is not known.
    pub(crate) points_unsure: Vec<PointRow>,
    /// What people hold of all these points.
    pub(crate) holds: Vec<HoldRow>,
}

/// Of a version that another one followed.
pub(crate) async fn what_is_lost(house: &Arc<House>, vault: &Vault, version: u32) -> Result<Loss> {
    house.ledger.catch_up().await?;
    in_one_ledger(|| house.ledger.replaced(), count(house, vault, version)).await
}

/// What is found when no snapshot took the place of the tables meanwhile.
async fn in_one_ledger<T>(
    replaced: impl Fn() -> Option<u64>,
    look: impl Future<Output = Result<T>>,
) -> Result<T> {
    let before = replaced();
    let found = look.await;
    if before.is_some() && replaced() == before {
        return found;
    }
    let message = "the ledger of this member is brought anew";
    Err(Error::new(Code::ClusterBusy, message).next("try again in a moment"))
}

async fn count(house: &Arc<House>, vault: &Vault, version: u32) -> Result<Loss> {
    let (id, at) = (vault.row.id, house.ledger.state().applied);
    let needs = Arc::new(needs(house, &id).await?);
    let row = house.ledger.query().key_version(&id, version)?;
    if let Some(gone) = house.ledger.query().destroyed_key(&id, version)? {
        return Err(gone.refusal(&vault.row.name));
    }
    if row.is_none() && version != vault.row.key_version {
        let message = format!("the vault `{}` has no version {version}", vault.row.name);
        return Err(Error::new(Code::KeyVersionMissing, message));
    }
    let (mut points, mut points_unsure) = (Vec::new(), Vec::new());
    let of_version = needs.of_version(version);
    let mut found = |point: PointRow, reach: Option<Reach>| match reach {
        Some(reach) if of_version.is_met_by(&reach) => points.push(point),
        Some(reach) if !needs.unknown.is_met_by(&reach) => {}
        _ => points_unsure.push(point),
    };
    each_reach(house, vault, &mut found).await?;
    points.sort_by_key(|point| core::cmp::Reverse(point.committed));
    let lost = || points.iter().chain(&points_unsure);
    let now = house.ledger.now();
    let mut holds = house.ledger.query().holds()?;
    holds.retain(|hold| hold.is_in_force(now) && lost().any(|point| hold.what.is_of(point)));
    let (packs, bytes) = (of_version.packs, of_version.bytes);
    let (packs_unknown, unknown) = (needs.unknown.packs, needs.unknown.first.clone());
    let closed = row.and_then(|row: KeyVersionRow| row.closed);
    Ok(Loss {
        at,
        version,
        closed,
        packs,
        bytes,
        packs_unknown,
        unknown,
        points,
        points_unsure,
        holds,
    })
}

pub(crate) async fn needs(house: &Arc<House>, vault: &VaultId) -> Result<Needs> {
    let (ledger, id) = (house.ledger.clone(), *vault);
    house.tasks.run_blocking("keys", move || Needs::of(ledger.query(), &id)).await
}

/// How many points need each version, and of how many that cannot be said.
pub(crate) async fn points_by_version(
    house: &Arc<House>,
    vault: &Vault,
    needs: &Needs,
) -> Result<(BTreeMap<u32, u64>, u64)> {
    let (mut counts, mut unsure) = (BTreeMap::<u32, u64>::new(), 0);
    let mut found = |_, reach: Option<Reach>| match reach {
        Some(reach) => {
            unsure += u64::from(needs.unknown.is_met_by(&reach));
            for version in needs.versions_of(&reach) {
                *counts.entry(version).or_default() += 1;
            }
        }
        None => unsure += 1,
    };
    each_reach(house, vault, &mut found).await?;
    Ok((counts, unsure))
}

/// Every point of a vault with what it needs; none where that cannot be read.
async fn each_reach(
    house: &House,
    vault: &Vault,
    found: &mut (dyn FnMut(PointRow, Option<Reach>) + Send),
) -> Result<()> {
    let mut after = None;
    loop {
        let page = house.ledger.query().points_behind(after.as_ref(), limits::LIST_PAGE_ROWS)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id);
        let its = page.into_iter().filter(|point| point.vault == vault.row.id);
        let read = |point: PointRow| async move {
            let read = house.read_reach(vault, &point).await;
            (point, read)
        };
        let mut reads = stream::iter(its).map(read).buffered(READS);
        while let Some((point, read)) = reads.next().await {
            // Forgotten meanwhile: nobody needs what it needed.
            let query = house.ledger.query();
            if read.is_err() && query.row::<PointRow>(point.id.as_bytes())?.is_none() {
                continue;
            }
            let unread = |error: &Error| tracing::info!(%error, point = %point.id, "not read");
            let reach = read.inspect_err(unread).ok();
            found(point, reach);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    #[tokio::test]
    async fn what_is_counted_while_a_snapshot_takes_the_place_of_the_tables_is_not_told() {
        let count = AtomicU64::new(1);
        let replaced = || Some(count.load(Relaxed)).filter(|count| *count != 3);
        assert_eq!(in_one_ledger(replaced, async { Ok(7) }).await, Ok(7));
        let refused = Error::new(Code::KeyVersionMissing, "there is none");
        let said = in_one_ledger::<u8>(replaced, async { Err(refused.clone()) }).await;
        assert_eq!(said, Err(refused));
        // Done meanwhile, and under way still; then from its middle on.
        for _ in 0..3 {
            let look = async {
                count.fetch_add(1, Relaxed);
                Ok(0)
            };
            let error = in_one_ledger(replaced, look).await.unwrap_err();
            assert_eq!(error.code, Code::ClusterBusy);
        }
    }
}
