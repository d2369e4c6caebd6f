//! The leader's care for the cluster itself: who belongs to it, who leads, where everybody is.
//!
//! Reconcilers, safe to run at any moment: rows say what is wanted, and one step at a time brings
//! the membership there. A new leader takes office by a command, from which leases run anew. Every
//! member tells the others where it is until the membership says so too.

use crate::{
    api,
    house::House,
    raft::{electable, is_ready, next_step},
};
use holdfast_common::{Code, Error, Result};
use holdfast_ledger::{
    Actor,
    command::{MoveMember, PlaceMember, TakeOffice},
    row::{MemberRole, MemberRow},
};
use holdfast_runtime::tasks::{OnError, Tasks};
use holdfast_wire::v1::PeerView;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

const TICK: Duration = Duration::from_millis(500);
const REMOVAL_LOOK: Duration = Duration::from_secs(5);

pub(crate) async fn keep(house: Arc<House>, shutdown: CancellationToken) -> Result<()> {
    let mut applied = house.ledger.applied();
    let mut told = house.endpoints();
    loop {
        let endpoints = house.endpoints();
        if endpoints != told {
            house.tell_operator();
            house.hub.tell_all(&api::welcome(&house));
            told = endpoints;
        }
        if let Err(error) = look(&house).await {
            tracing::debug!(%error, "the membership is not as it should be; trying again");
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            changed = applied.changed() => if changed.is_err() { return Ok(()) },
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// Ends with an error when this member was removed. One that was away meanwhile hears of it from
/// the others, which serve it no more: it would wait for its old leader for ever. All are asked:
/// who was removed together keeps company.
pub(crate) async fn heed_removal(house: Arc<House>, shutdown: CancellationToken) -> Result<()> {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(REMOVAL_LOOK) => {}
        }
        let rows = house.ledger.query().members()?;
        let others = rows.iter().filter(|row| row.id != house.node_id && row.is_live());
        // One that was brought nothing yet knows those that were there before.
        let others = others.map(|row| row.id).chain(house.first_peers.keys().copied());
        for member in others.collect::<BTreeSet<u64>>() {
            if let Err(error) = house.ledger.peers().hello(member, "").await
                && ends(error.code)
            {
                return Err(error);
            }
        }
    }
}

async fn look(house: &House) -> Result<()> {
    let rows = house.ledger.query().members()?;
    for row in rows.iter().filter(|row| row.id != house.node_id) {
        house.ledger.peers().list(row.id, &row.address);
    }
    match rows.iter().find(|row| row.id == house.node_id) {
        Some(own) if !own.is_live() => {
            return Err(Error::new(Code::MemberRemoved, "this member was removed"));
        }
        Some(own) if own.address != house.endpoint => tell_address(house, &rows).await?,
        // Nothing of the ledger came yet: those who were there at the joining know whom to tell.
        None => introduce(house).await,
        Some(_) => {}
    }
    if !house.ledger.leads() {
        return Ok(());
    }
    take_office(house).await?;
    if house.is_witness() {
        return hand_over(house).await;
    }
    leave_to_who_has_room(house).await?;
    let standing = house.ledger.standing()?;
    if let Some(step) = next_step(&rows, &standing) {
        tracing::info!(?step, "the membership changes");
        return house.ledger.take_step(step).await;
    }
    for member in electable(&rows, &standing) {
        let place = PlaceMember { member, role: MemberRole::Voter };
        house.ledger.propose(Actor::System, place).await?;
    }
    Ok(())
}

/// What another member says to one that belongs to nobody any more.
fn ends(code: Code) -> bool {
    matches!(code, Code::MemberForeign | Code::MemberRemoved)
}

/// A witness leads for as long as nobody else can, and not longer.
async fn hand_over(house: &House) -> Result<()> {
    let next = api::next_leader(house, &house.ledger.overview()?)?;
    tracing::info!(to = next, "a witness hands over to a member with data");
    house.ledger.hand_over(next).await
}

/// Says where this member is: to everybody, since a leader may not be found before, and for good.
async fn tell_address(house: &House, rows: &[MemberRow]) -> Result<()> {
    for row in rows.iter().filter(|row| row.id != house.node_id && row.is_live()) {
        if let Err(error) = house.ledger.peers().hello(row.id, &house.endpoint).await {
            tracing::debug!(%error, member = row.id, "not told where this member is");
        }
    }
    if house.ledger.current_leader().is_none() {
        return Ok(());
    }
    let moved = MoveMember { member: house.node_id, address: house.endpoint.clone() };
    house.ledger.propose(Actor::System, moved).await.map(drop)
}

async fn introduce(house: &House) {
    for member in house.first_peers.keys() {
        if let Err(error) = house.ledger.peers().hello(*member, &house.endpoint).await {
            tracing::debug!(%error, member, "not introduced");
        }
    }
}

/// A member says where it is. When the rows say something else, it is written down for it: it may
/// not have found the leader yet.
pub(crate) fn moved(house: &Arc<House>, tasks: &Tasks, member: u64, address: String) {
    let listed = house.ledger.query().member(member);
    house.ledger.peers().learn(member, &address);
    // A witness speaks for nobody else.
    if !house.is_witness() && listed.is_ok_and(|row| row.is_live() && row.address != address) {
        let house = house.clone();
        tasks.spawn("member moved", OnError::Log, async move {
            let moved = MoveMember { member, address };
            house.ledger.propose(Actor::System, moved).await.map(drop)
        });
    }
}

/// A leader whose disk is full refuses whatever begins. One that has room would not.
async fn leave_to_who_has_room(house: &House) -> Result<()> {
    let Some(full) = house.ledger.shortage().filter(|_| !house.ledger.is_alone()) else {
        return Ok(());
    };
    let seen = house.ledger.overview()?;
    let ready = |view: &&PeerView| view.voter && is_ready(view, seen.last).is_ok();
    for view in seen.members.iter().filter(|view| view.id != house.node_id).filter(ready) {
        let answer = house.ledger.peers().hello(view.id, "").await;
        if answer.is_ok_and(|told| told.alarms.iter().all(|alarm| alarm.code != full.code.name())) {
            tracing::warn!(error = %full, to = view.id, "handing over to a member with room");
            return house.ledger.transfer(view.id).await;
        }
    }
    Ok(())
}

async fn take_office(house: &House) -> Result<()> {
    let state = house.ledger.state();
    // A ledger that does not know its members, older than they are, has no office.
    if house.ledger.query().member(house.node_id).is_err() {
        return Ok(());
    }
    let office = house.ledger.query().office()?;
    if office.is_some_and(|office| office.term >= state.term) {
        return Ok(());
    }
    let take = TakeOffice { member: house.node_id, term: state.term };
    house.ledger.propose(Actor::System, take).await.map(drop)
}
