//! What a round would find, without making one; and what earlier rounds gave up that lies there
//! still.

use super::{
    choice::{Chosen, choose, room},
    marking::{judge, mark_all, plan, writing},
};
use crate::house::{House, Vault};
use holdfast_common::{Result, Timestamp, VaultId};
use holdfast_ledger::{Query, row::PackHome};
use holdfast_repository::collect::{Amount, Tally};
use std::sync::Arc;

/// As of now: what is backed up meanwhile may need some of it after all.
pub(crate) struct Preview {
    pub(crate) points: u64,
    pub(crate) tally: Tally,
    /// What a round would pack anew.
    pub(crate) repacked: Amount,
    pub(crate) waiting: Waiting,
}

/// Packs that were doomed and whose objects are not seen gone from everywhere. What lies in the
/// object of a point goes with that, and is not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) packs: u64,
    pub(crate) bytes: u64,
    /// When the first of them may go.
    pub(crate) from: Option<Timestamp>,
    /// When all of them may.
    pub(crate) until: Option<Timestamp>,
}

/// `told` hears how many points were read.
pub(crate) async fn preview(
    house: &Arc<House>,
    vault: &Vault,
    told: &(dyn Fn(u64) + Send + Sync),
) -> Result<Preview> {
    let insist = |points| {
        told(points);
        house.ledger.peers().insist_on_epoch()
    };
    let mark = mark_all(house, vault, &insist).await?;
    let points = mark.points();
    let (at, id, room) = (house.clone(), vault.row.id, room(house, vault).await);
    let look = move || {
        let (query, mut plan, mut after) = (at.ledger.query(), plan(mark), None);
        let writing = writing(query)?;
        let Chosen { amount, .. } = choose(query, (&id, u64::MAX), plan.mark(), &writing, room)?;
        loop {
            let page = query.packs(&id, after.as_ref())?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            judge(query, &mut plan, &writing, &page)?;
        }
        Ok((*plan.tally(), amount, waiting(query, &id)?))
    };
    let (tally, repacked, waiting) = house.tasks.run_blocking("packs", look).await?;
    Ok(Preview { points, tally, repacked, waiting })
}

pub(crate) fn waiting(query: Query<'_>, vault: &VaultId) -> Result<Waiting> {
    let mut waiting = Waiting::default();
    for pack in query.doomed_packs(vault, None) {
        let pack = pack?;
        if pack.home != PackHome::Object {
            continue;
        }
        let goes = pack.doomed.unwrap_or(Timestamp::ZERO).plus(super::DELAY);
        waiting.packs += 1;
        waiting.bytes += u64::from(pack.length);
        waiting.from = Some(waiting.from.map_or(goes, |from| from.min(goes)));
        waiting.until = waiting.until.max(Some(goes));
    }
    Ok(waiting)
}
