//! The members: shown, placed, removed; and who of them leads.

use crate::{
    house::House,
    raft::{LAG_MAX, SILENCE_MAX, is_ready},
};
use futures::future::join_all;
use holdfast_common::{Code, Error, Result};
use holdfast_ledger::{
    Actor,
    command::{PlaceMember, RemoveMember},
    level::LEVEL_FIRST,
    row::{Duty, MemberRole, MemberRow},
};
use holdfast_wire::{parse, v1};
use std::{collections::BTreeMap, time::Duration};

/// How long a change of the leader may take until it is told as one that did not happen.
const TRANSFER_PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);

/// The live members as the leader sees them, and as they answer themselves; and what the others
/// say is the matter with them.
pub(super) async fn members(house: &House) -> Result<(Vec<v1::MemberStatus>, Vec<v1::Alarm>)> {
    let rows = house.ledger.query().members()?;
    let live: Vec<&MemberRow> = rows.iter().filter(|row| row.is_live()).collect();
    let seen = overview(house).await.ok();
    let answers = join_all(live.iter().map(|row| ask(house, row.id))).await;
    let alarms = answers.iter().flatten().flat_map(|answer| answer.alarms.clone()).collect();
    let answers = answers.into_iter().map(|answer| {
        answer.map(|answer| (answer.applied, answer.level_max.max(LEVEL_FIRST))).unzip()
    });
    let views: BTreeMap<u64, &v1::PeerView> =
        seen.iter().flat_map(|seen| &seen.members).map(|view| (view.id, view)).collect();
    let (last, leader) = (seen.as_ref().map(|seen| seen.last), house.ledger.current_leader());
    let status = |(row, (applied, level_max)): (&&MemberRow, (Option<u64>, Option<u32>))| {
        let view = views.get(&row.id).copied();
        let matched = view.and_then(|view| view.matched);
        v1::MemberStatus {
            id: row.id,
            name: row.name.to_string(),
            region: row.region.to_string(),
            role: if view.is_some_and(|view| view.voter) { "voter" } else { "learner" }.to_owned(),
            state: match applied {
                _ if seen.is_some() && view.is_none() => "joining",
                None => "silent",
                // It speaks to us, and whoever leads has not heard of it yet.
                Some(_) if view.is_some_and(is_silent) => "silent",
                Some(_) if leader == Some(row.id) => "leader",
                Some(_) => "follower",
            }
            .to_owned(),
            applied: applied.or(matched).unwrap_or(0),
            replicated: matched,
            lag: last.zip(matched).map(|(last, matched)| last.saturating_sub(matched)),
            last_contact_ms: view.and_then(|view| view.silent_ms),
            address: row.address.clone(),
            wanted: row.role.to_string(),
            duty: duty(row.duty).to_owned(),
            level_max,
        }
    };
    Ok((live.iter().zip(answers).map(status).collect(), alarms))
}

fn is_silent(view: &v1::PeerView) -> bool {
    view.silent_ms.is_none_or(|silent| u128::from(silent) > SILENCE_MAX.as_millis())
}

fn duty(duty: Duty) -> &'static str {
    match duty {
        Duty::Data => "data",
        Duty::Witness => "witness",
    }
}

/// How a member is; nothing from one that does not answer.
async fn ask(house: &House, member: u64) -> Option<v1::HelloResponse> {
    if member == house.node_id {
        let (applied, level_max) = (house.ledger.state().applied, house.ledger.level_max());
        return Some(v1::HelloResponse { applied, level_max, ..Default::default() });
    }
    house.ledger.peers().hello(member, "").await.ok()
}

pub(crate) async fn overview(house: &House) -> Result<v1::OverviewResponse> {
    match house.ledger.current_leader() {
        Some(leader) if leader == house.node_id => house.ledger.overview(),
        Some(leader) => house.ledger.peers().overview(leader).await,
        None => Err(Error::new(Code::ClusterLeaderless, "nobody leads at the moment")),
    }
}

pub(super) async fn place(
    house: &House,
    actor: Actor,
    request: v1::PlaceMemberRequest,
) -> Result<v1::PlaceMemberResponse> {
    house.ledger.catch_up().await?;
    let row = find(house, &request.member)?;
    let role = if request.voter { MemberRole::Voter } else { MemberRole::Learner };
    if request.voter && row.role != role {
        let seen = overview(house).await?;
        let view = seen.members.iter().find(|view| view.id == row.id).ok_or_else(|| {
            let message = format!("`{}` has not been heard of yet", row.name);
            Error::new(Code::MemberLagging, message)
                .next("start it, and wait until `holdfast cluster status` shows it as a follower")
        })?;
        is_ready(view, seen.last)?;
    }
    house.ledger.propose(actor, PlaceMember { member: row.id, role }).await?;
    Ok(v1::PlaceMemberResponse {})
}

pub(super) async fn remove(
    house: &House,
    actor: Actor,
    request: v1::RemoveMemberRequest,
) -> Result<v1::RemoveMemberResponse> {
    house.ledger.catch_up().await?;
    let row = find(house, &request.member)?;
    house.ledger.propose(actor, RemoveMember { member: row.id }).await?;
    Ok(v1::RemoveMemberResponse {})
}

pub(crate) async fn transfer(
    house: &House,
    request: v1::TransferLeaderRequest,
) -> Result<v1::TransferLeaderResponse> {
    house.ledger.catch_up().await?;
    let seen = overview(house).await?;
    let leader = house.ledger.current_leader();
    let to = match &*request.member {
        "" => next_leader(house, &seen)?,
        named => find(house, named)?.id,
    };
    let row = house.ledger.query().member(to)?;
    if row.duty == Duty::Witness {
        let message = format!("`{}` is a witness: it leads only when nobody else can", row.name);
        return Err(Error::new(Code::ResourceConflict, message)
            .next("name a member with data, or none: `holdfast cluster transfer`"));
    }
    let view = seen.members.iter().find(|view| view.id == to);
    match view {
        Some(view) if view.voter => is_ready(view, seen.last)?,
        _ => {
            let message = format!("`{}` is not a voter", row.name);
            return Err(Error::new(Code::ResourceConflict, message)
                .next(format!("holdfast cluster promote {}", row.name)));
        }
    }
    if leader != Some(to) {
        house.ledger.transfer(to).await?;
        let changed = async {
            while house.ledger.current_leader() != Some(to) {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(TRANSFER_PATIENCE, changed).await.map_err(|_| {
            Error::new(Code::ClusterBusy, format!("`{}` did not take over in time", row.name))
        })?;
    }
    Ok(v1::TransferLeaderResponse { leader: row.name.to_string() })
}

/// The other voter with data that has most of the log.
pub(crate) fn next_leader(house: &House, seen: &v1::OverviewResponse) -> Result<u64> {
    let leader = house.ledger.current_leader();
    let rows = house.ledger.query().members()?;
    let has_data = |id| rows.iter().any(|row| row.id == id && row.duty == Duty::Data);
    let others = seen.members.iter().filter(|view| view.voter && Some(view.id) != leader);
    let others = others.filter(|view| has_data(view.id));
    let ready = others.filter(|view| is_ready(view, seen.last).is_ok());
    ready.max_by_key(|view| view.matched).map(|view| view.id).ok_or_else(|| {
        let message = format!("no other voter with data is within {LAG_MAX} entries of the leader");
        Error::new(Code::MemberLagging, message)
    })
}

/// By name, or by number.
fn find(house: &House, text: &str) -> Result<MemberRow> {
    match text.parse() {
        Ok(id) => house.ledger.query().member(id),
        Err(_) => house.ledger.query().member_named(&parse::name(text)?),
    }
}
