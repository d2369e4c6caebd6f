//! Hearing of a newer epoch in time: from the locations and from the other members.
//!
//! [`look`] runs before a member serves anybody or ships anything: one that comes back after its
//! region was given up finds the claim, or a member of the new side, first. [`keep`] goes on asking
//! everybody it ever knew: a side that was cut off fences itself at the first contact.

use super::{Claim, Epoch, Standing, promote::go_on};
use crate::{house::House, places::Place};
use futures::future::join_all;
use holdfast_common::{Code, Error, Result, limits};
use holdfast_ledger::{
    Actor,
    command::ClaimEpoch,
    row::{MemberState, epoch::FIRST_EPOCH},
};
use holdfast_repository::layout;
use holdfast_storage::ObjectPrefix;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

const TICK: Duration = Duration::from_secs(1);
/// A location that hangs does not keep a member from starting.
pub(super) const LOCATION_PATIENCE: Duration = Duration::from_secs(5);

/// Everything that can be known of epochs now.
pub(crate) async fn look(house: &House) {
    let (claims, ()) = tokio::join!(claims(house), ask_around(house, false));
    let known = house.ledger.peers().standing().epoch.number;
    let newest = claims.iter().max_by_key(|claim| (claim.epoch.number, claim.epoch.member));
    let is_own = |claim: &&Claim| claim.epoch.member == house.node_id;
    if let Some(claim) = newest.filter(is_own).filter(|claim| claim.epoch.number > known) {
        // Claimed, and killed before it came to anything: it goes on.
        if let Err(error) = go_on(house, claim).await {
            tracing::error!(%error, next = error.advice(), "the claimed epoch does not begin");
        }
        return;
    }
    for claim in claims {
        if let Err(error) = house.meet_claim(&claim) {
            tracing::warn!(%error, "a claimed epoch was met");
        }
    }
}

pub(crate) async fn keep(house: Arc<House>, shutdown: CancellationToken) -> Result<()> {
    loop {
        if let Err(error) = claim_in_ledger(&house).await {
            tracing::debug!(%error, "the epoch is not in the ledger yet");
        }
        if let Err(error) = house.follow_returns() {
            tracing::debug!(%error, "a region that came back is not known here yet");
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = ask_around(&house, true) => {}
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// Ends when a ledger that is brought anew knows of its epoch, from which on its member may stand
/// for election: before, it could be the only voter of a time long past, and elect itself.
pub(crate) async fn stand_again(house: Arc<House>, shutdown: CancellationToken) -> Result<()> {
    let mut applied = house.ledger.applied();
    while house.ledger.peers().standing().is_anew() {
        let reached = house.ledger.query().epoch()?.map_or(FIRST_EPOCH, |row| row.number);
        let turn = house.ledger.peers().turn();
        let standing = house.ledger.peers().standing();
        if reached >= standing.epoch.number {
            let standing = Standing { anew: None, ..standing };
            standing.save(&house.data)?;
            house.ledger.peers().stand_at(standing);
            house.ledger.stand_again(house.is_witness());
            return Ok(());
        }
        drop(turn);
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            changed = applied.changed() => if changed.is_err() { return Ok(()) },
        }
    }
    Ok(())
}

/// Everybody's epoch, of those who answer. Members that were superseded are asked too: they hear
/// from us what they are.
async fn ask_around(house: &House, is_serving: bool) {
    let rows = house.ledger.query().members().unwrap_or_default();
    let others = rows
        .iter()
        .filter(|row| row.id != house.node_id && row.state != MemberState::Removed)
        .map(|row| row.id);
    let others: BTreeSet<u64> = others.chain(house.first_peers.keys().copied()).collect();
    let ask = |member: u64| async move {
        house.ledger.peers().hello(member, "").await.ok().map(|answer| (member, answer))
    };
    for (member, answer) in join_all(others.into_iter().map(ask)).await.into_iter().flatten() {
        // Before it serves it cannot know whether anybody leads it.
        if !is_serving && answer.epoch.as_ref().is_none_or(|told| told.member == 0) {
            continue;
        }
        if let Err(error) = house.meet(member, answer.epoch.as_ref()).await {
            tracing::debug!(%error, member, "of another epoch");
        }
    }
}

/// The first command of a new epoch, from the member that took the lead for it.
async fn claim_in_ledger(house: &House) -> Result<()> {
    let Some(claim) = house.ledger.peers().standing().claim else { return Ok(()) };
    let known = house.ledger.query().epoch()?.map_or(FIRST_EPOCH, |row| row.number);
    if known >= claim.epoch.number || !house.ledger.leads() {
        return Ok(());
    }
    let command = ClaimEpoch {
        epoch: claim.epoch.number,
        regions: claim.epoch.regions,
        member: claim.epoch.member,
        base: claim.base,
        operator: claim.operator,
        reason: claim.reason,
        taken: claim.taken,
    };
    house.ledger.propose(Actor::System, command).await.map(drop)
}

impl House {
    /// What the ledger says of regions that came back to the epoch, this member goes by.
    pub(super) fn follow_returns(&self) -> Result<()> {
        let _turn = self.ledger.peers().turn();
        let standing = self.ledger.peers().standing();
        let Some(row) = self.ledger.query().epoch()? else { return Ok(()) };
        let is_ours = (row.number, row.member) == (standing.epoch.number, standing.epoch.member);
        if is_ours && standing.belongs && row.regions.len() > standing.epoch.regions.len() {
            return self.adopt(&Epoch { regions: row.regions, ..standing.epoch }, None);
        }
        Ok(())
    }
}

/// Nobody has claimed an epoch after this one in these locations, a moment ago. Whoever ships the
/// log looks before and after it puts an extent: a side that was given up and reaches one of them
/// ends there, before it reports anything as committed. Whatever becomes of this member by a claim
/// it finds, and be it of the new epoch, what it was about is over.
pub(crate) async fn insist_unclaimed(house: &House, places: &[Place], epoch: u64) -> Result<()> {
    for place in places {
        if let Some(ended) = end_of(house, place, epoch).await? {
            return Err(ended);
        }
    }
    insist_current(house, epoch)
}

/// Why this side goes on no more, by what lies in a place and by what it heard. That the place
/// could not be asked is another matter.
pub(crate) async fn end_of(house: &House, place: &Place, epoch: u64) -> Result<Option<Error>> {
    if may_be_claimed(place, epoch).await?
        && let Some(claim) = newest_claim(house, place).await?
        && claim.epoch.number > epoch
    {
        let met = house.meet_claim(&claim).and_then(|()| house.ledger.peers().insist_on_epoch());
        return Ok(Some(met.err().unwrap_or_else(|| is_over(epoch))));
    }
    Ok(insist_current(house, epoch).err())
}

/// Whether something lies there that may be a claim of any later epoch: numbers may be left out.
async fn may_be_claimed(place: &Place, epoch: u64) -> Result<bool> {
    let (prefix, own) = ("epochs/".parse::<ObjectPrefix>()?, layout::ObjectName::epoch(epoch));
    Ok(!place.1.list(&prefix, Some(&own.as_str().parse()?), 1).await?.is_empty())
}

/// No newer epoch than this one was heard of by this member.
pub(super) fn insist_current(house: &House, epoch: u64) -> Result<()> {
    house.ledger.peers().insist_on_epoch()?;
    match house.ledger.peers().standing().epoch.number > epoch {
        true => Err(is_over(epoch)),
        false => Ok(()),
    }
}

fn is_over(epoch: u64) -> Error {
    Error::new(Code::ClusterBusy, format!("epoch {epoch} is over; this member goes by a newer one"))
}

/// What is claimed in the locations that can be read; of each, the newest.
pub(super) async fn claims(house: &House) -> Vec<Claim> {
    let mut names = BTreeSet::new();
    for row in house.ledger.query().locations().unwrap_or_default() {
        names.insert(row.name);
    }
    let read = names.into_iter().map(|name| async move {
        let newest = async {
            let store = house.places.location(&name).await?;
            newest_claim(house, &(name.clone(), store)).await
        };
        match tokio::time::timeout(LOCATION_PATIENCE, newest).await {
            Ok(Ok(claim)) => claim,
            Ok(Err(error)) => {
                tracing::debug!(%error, location = %name, "its epochs cannot be read");
                None
            }
            Err(_) => None,
        }
    });
    join_all(read).await.into_iter().flatten().collect()
}

/// What cannot be opened was not written by a member, and says nothing.
pub(super) async fn newest_claim(house: &House, (name, store): &Place) -> Result<Option<Claim>> {
    let key = house.keys()?.recovery.epoch_key();
    let prefix: ObjectPrefix = "epochs/".parse()?;
    let (mut newest, mut after) = (None, None);
    loop {
        let page = store.list(&prefix, after.as_ref(), limits::LIST_PAGE_ROWS).await?;
        let Some(last) = page.last() else { return Ok(newest) };
        after = Some(last.name.clone());
        for object in page.into_iter().map(|meta| meta.name) {
            let is_epoch = matches!(
                layout::ObjectName::parse(object.as_str()),
                Ok(layout::Object::Epoch(number)) if number <= limits::EPOCH_MAX
            );
            if !is_epoch {
                continue;
            }
            let bytes = store.get(&object, limits::RECORD_BYTES_MAX).await?;
            match Claim::open(&bytes, &house.cluster, &key) {
                Ok(claim) => newest = Some(claim),
                Err(error) => {
                    tracing::error!(%error, %object, location = %name, "not a claimed epoch");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use holdfast_common::SystemClock;
    use holdfast_storage::{MemoryStore, ObjectStore};

    #[tokio::test]
    async fn a_claim_is_seen_whichever_numbers_lie_between() {
        for (claimed, is_seen) in [(1, false), (2, false), (3, true), (9, true), (400, true)] {
            let store = MemoryStore::new(Arc::new(SystemClock::start()));
            for number in [2, claimed] {
                let name = layout::ObjectName::epoch(number).as_str().parse().unwrap();
                store.replace(&name, Bytes::from_static(b"it")).await.unwrap();
            }
            let place = ("main".parse().unwrap(), Arc::new(store) as Arc<dyn ObjectStore>);
            assert_eq!(may_be_claimed(&place, 2).await.unwrap(), is_seen, "{claimed}");
        }
    }
}
