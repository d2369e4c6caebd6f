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
use futures::future::join_all;
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
/// Members that do not even answer for so long are not waited for any longer.
const SILENCE: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(200);

/// Who leads then, and who votes.
pub(super) async fn hand_back(house: &House, order: &Order) -> Result<(Option<Name>, Vec<Name>)> {
    let begun = Instant::now();
    let mut heard = begun;
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
        let absent = absent(house, order).await?;
        if absent.is_empty() {
            heard = Instant::now();
        } else if heard.elapsed() > SILENCE {
            return Err(too_few(order, &absent));
        }
        if begun.elapsed() > PATIENCE {
            let message = format!("the members of `{}` have not caught up", order.region);
            return Err(Error::new(Code::MemberLagging, message)
                .next("see `holdfast cluster status`, start them, and type it again"));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Of those who voted there, the ones that do not answer, where the others are not enough.
async fn absent(house: &House, order: &Order) -> Result<Vec<Name>> {
    let rows = house.ledger.query().members()?;
    let wanted: Vec<&MemberRow> = rows.iter().filter(|row| is_wanted(row, order)).collect();
    let ask = |row: &MemberRow| {
        let (id, name) = (row.id, row.name.clone());
        async move {
            let answers = id == house.node_id || house.ledger.peers().hello(id, "").await.is_ok();
            (!answers).then_some(name)
        }
    };
    let asked = join_all(wanted.iter().map(|row| ask(row))).await;
    let absent: Vec<Name> = asked.into_iter().flatten().collect();
    let is_enough = 2 * (wanted.len() - absent.len()) > wanted.len();
    Ok(if is_enough { Vec::new() } else { absent })
}

fn too_few(order: &Order, absent: &[Name]) -> Error {
    let names: Vec<String> = absent.iter().map(|name| format!("`{name}`")).collect();
    let message = format!(
        "`{}` has everything and cannot lead: {} of it do not answer",
        order.region,
        names.join(", ")
    );
    Error::new(Code::MemberLagging, message).next(
        "start them, or take out who is gone for good: `holdfast cluster remove NAME`; then type \
         it again",
    )
}

fn is_wanted(row: &MemberRow, order: &Order) -> bool {
    row.is_live() && row.region == order.region && row.role != MemberRole::Learner
}

/// The next thing to do; who leads and votes when there is none.
async fn step(house: &House, order: &Order) -> Result<Option<(Option<Name>, Vec<Name>)>> {
    house.ledger.catch_up().await?;
    let seen = overview(house).await?;
    let rows = house.ledger.query().members()?;
    let live = || rows.iter().filter(|row| row.is_live());
    let others: Vec<&MemberRow> = live().filter(|row| row.region != order.region).collect();
    let wanted: Vec<&MemberRow> = live().filter(|row| is_wanted(row, order)).collect();
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
