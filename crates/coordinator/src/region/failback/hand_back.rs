//! Votes and the lead go back to the region that came back.
//!
//! Its members have followed anew by then. The lead goes over when more than half of those who
//! voted there have everything again; the others of the cluster follow without a vote after it, as
//! they did before the region was lost.

use super::Order;
use crate::{
    api::{overview, transfer},
    house::House,
    raft::is_ready,
};
use holdfast_common::{Code, Error, Name, Result};
use holdfast_ledger::{
    command::PlaceMember,
    row::{Duty, MemberRole, MemberRow},
};
use holdfast_wire::v1::{OverviewResponse, TransferLeaderRequest};
use std::time::Duration;
use tokio::time::Instant;

/// A large ledger takes a while to be brought over.
const PATIENCE: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(200);

/// Who leads then, and who votes.
pub(super) async fn hand_back(house: &House, order: &Order) -> Result<(Option<Name>, Vec<Name>)> {
    let begun = Instant::now();
    loop {
        match step(house, order).await {
            Ok(Some(done)) => return Ok(done),
            Ok(None) => {}
            // Between two leaders nobody answers for a moment.
            Err(error) if error.code.retry() && begun.elapsed() < PATIENCE => {
                tracing::debug!(%error, "the lead is not handed back yet");
            }
            Err(error) => return Err(error),
        }
        if begun.elapsed() > PATIENCE {
            let message = format!("the members of `{}` have not caught up", order.region);
            return Err(Error::new(Code::MemberLagging, message)
                .next("see `holdfast cluster status`, start them, and type it again"));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The next thing to do; who leads and votes when there is none.
async fn step(house: &House, order: &Order) -> Result<Option<(Option<Name>, Vec<Name>)>> {
    house.ledger.catch_up().await?;
    let seen = overview(house).await?;
    let rows = house.ledger.query().members()?;
    let (theirs, others): (Vec<&MemberRow>, Vec<&MemberRow>) =
        rows.iter().filter(|row| row.is_live()).partition(|row| row.region == order.region);
    let wanted: Vec<&MemberRow> =
        theirs.into_iter().filter(|row| row.role != MemberRole::Learner).collect();
    if wanted.is_empty() {
        // Nobody voted there, or nobody came back: the lead stays where it is.
        return Ok(Some(ended(house, &rows, &seen)));
    }
    for row in wanted.iter().filter(|row| row.role == MemberRole::Candidate) {
        if is_caught_up(&seen, row.id) {
            place(house, order, row.id, MemberRole::Voter).await?;
        }
    }
    let votes = |id| seen.members.iter().any(|view| view.id == id && view.voter);
    let back: Vec<&&MemberRow> =
        wanted.iter().filter(|row| votes(row.id) && is_caught_up(&seen, row.id)).collect();
    if 2 * back.len() <= wanted.len() {
        return Ok(None);
    }
    let leader = house.ledger.current_leader();
    if !back.iter().any(|row| Some(row.id) == leader) {
        let Some(next) = back.iter().find(|row| row.duty == Duty::Data) else { return Ok(None) };
        transfer(house, TransferLeaderRequest { member: next.name.to_string() }).await?;
        return Ok(None);
    }
    let rest = others.iter().find(|row| row.role != MemberRole::Learner);
    if let Some(row) = rest {
        place(house, order, row.id, MemberRole::Learner).await?;
        return Ok(None);
    }
    let is_settled = !others.iter().any(|row| votes(row.id));
    Ok(is_settled.then(|| ended(house, &rows, &seen)))
}

fn is_caught_up(seen: &OverviewResponse, id: u64) -> bool {
    let view = seen.members.iter().find(|view| view.id == id);
    view.is_some_and(|view| is_ready(view, seen.last).is_ok())
}

async fn place(house: &House, order: &Order, member: u64, role: MemberRole) -> Result<()> {
    house.ledger.propose(order.actor.clone(), PlaceMember { member, role }).await.map(drop)
}

fn ended(house: &House, rows: &[MemberRow], seen: &OverviewResponse) -> (Option<Name>, Vec<Name>) {
    let name = |id: u64| rows.iter().find(|row| row.id == id).map(|row| row.name.clone());
    let voters = seen.members.iter().filter(|view| view.voter);
    let voters = voters.filter_map(|view| name(view.id)).collect();
    (house.ledger.current_leader().and_then(name), voters)
}
