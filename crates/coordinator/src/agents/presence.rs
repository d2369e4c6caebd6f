//! Which agents are attached to this member, told to the ledger: a reconciler.
//!
//! ```text
//!   hub (attached here) ─┐
//!                        ├─→ difference ─→ SeeAgents, a batch at a time
//!   seats (applied)     ─┘
//! ```
//!
//! Other members see by the seats where an agent is; the leader sees who went away. A heartbeat is
//! not told each time: a seat is refreshed now and then, and only while its agent works on a run.
//! Agents that were revoked elsewhere lose their line here; and all do while this member is cut off
//! from whoever leads, since no order would reach them here.

use crate::house::House;
use holdfast_common::{AgentId, Code, Result, Timestamp, limits};
use holdfast_ledger::{
    Actor,
    command::SeeAgents,
    level::VERIFIERS,
    row::{AgentState, RunState, SeatRow},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Agents come in crowds after a member was lost: they are told together.
const LINGER: Duration = Duration::from_millis(100);
const TICK: Duration = Duration::from_secs(1);
/// How old the seat of a working agent may become.
pub(crate) const REFRESH: Duration = Duration::from_secs(20);

pub(crate) async fn tell(house: Arc<House>, shutdown: CancellationToken) -> Result<()> {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = house.hub.changed() => tokio::time::sleep(LINGER).await,
            () = tokio::time::sleep(TICK) => {}
        }
        if house.hub.is_anybody_attached()
            && let Err(error) = house.ledger.catch_up().await
            && error.code == Code::ClusterLeaderless
        {
            tracing::warn!(%error, "cut off from the cluster: agents are to try other members");
            house.hub.drop_all();
            continue;
        }
        if let Err(error) = look(&house).await {
            tracing::debug!(%error, "the seats of agents are not told; trying again");
        }
    }
}

async fn look(house: &House) -> Result<()> {
    let query = house.ledger.query();
    if !query.member(house.node_id).is_ok_and(|member| member.is_live()) {
        return Ok(());
    }
    let mut here = Vec::new();
    for (agent, since) in house.hub.attached() {
        let seat = query.seat(&agent)?;
        // One that is newer than what is applied here has no row yet.
        let Ok(row) = query.agent(&agent) else { continue };
        let is_elsewhere = house.hub.is_seated_elsewhere(&agent);
        match lot(row.state, is_elsewhere, moved(seat.as_ref(), house.node_id, since)) {
            Lot::Revoked => {
                house.hub.drop_agent(&agent);
                (house.close_agent)(agent);
            }
            Lot::MovedOn => house.hub.drop_agent(&agent),
            Lot::Unseated => {}
            Lot::Seated => here.push((agent, seat)),
        }
    }
    let seated = query.seats_of(house.node_id).map(|seat| seat.map(|seat| seat.agent));
    let seated = seated.collect::<Result<BTreeSet<_>>>()?;
    let working = query
        .open_runs()?
        .into_iter()
        .filter(|run| run.state == RunState::Running)
        .filter_map(|run| run.agent)
        .collect();
    let level = query.level()?;
    let able = |agent: &AgentId| level >= VERIFIERS && is_able(house, agent);
    let came = news(&here, house.node_id, &working, house.ledger.now(), able);
    let left: Vec<_> =
        seated.into_iter().filter(|agent| !here.iter().any(|(one, _)| one == agent)).collect();
    for (attached, left) in batches(&came, &left) {
        let verifiers: Vec<_> = attached.iter().filter(|agent| able(agent)).copied().collect();
        let verifiers = (!verifiers.is_empty()).then_some(verifiers);
        let seen = SeeAgents { member: house.node_id, attached, left, verifiers };
        house.ledger.propose(Actor::System, seen).await?;
    }
    Ok(())
}

/// What becomes of an agent that has a line here.
#[derive(Debug, PartialEq)]
enum Lot {
    /// It came to another member after it came here, and only its line here did not notice.
    MovedOn,
    Revoked,
    Seated,
    /// Its other process has the seat, at another member.
    Unseated,
}

/// Whoever was revoked has no line anywhere, wherever its seat is.
fn lot(state: AgentState, is_elsewhere: bool, has_moved: bool) -> Lot {
    match state {
        AgentState::Revoked => Lot::Revoked,
        _ if is_elsewhere => Lot::Unseated,
        _ if has_moved => Lot::MovedOn,
        _ => Lot::Seated,
    }
}

/// Whether an agent that came here at `since` has come to another member after that.
fn moved(seat: Option<&SeatRow>, here: u64, since: Timestamp) -> bool {
    seat.is_some_and(|seat| seat.member.is_some_and(|member| member != here) && seat.seen > since)
}

/// A verifier that knows how to.
fn is_able(house: &House, agent: &AgentId) -> bool {
    let row = house.ledger.query().agent(agent);
    row.is_ok_and(|row| row.is_verifier()) && house.hub.verifies(agent)
}

/// Those that came here, those whose seat here is old while they work, and those that can do more
/// or less than is known.
fn news(
    here: &[(AgentId, Option<SeatRow>)],
    member: u64,
    working: &BTreeSet<AgentId>,
    now: Timestamp,
    able: impl Fn(&AgentId) -> bool,
) -> Vec<AgentId> {
    let is_news = |(agent, seat): &&(AgentId, Option<SeatRow>)| match seat {
        Some(seat) if seat.member == Some(member) => {
            let is_due = working.contains(agent) && now.since(seat.seen) >= REFRESH;
            is_due || seat.verifies.unwrap_or(false) != able(agent)
        }
        _ => true,
    };
    here.iter().filter(is_news).map(|(agent, _)| *agent).collect()
}

fn batches(came: &[AgentId], left: &[AgentId]) -> Vec<(Vec<AgentId>, Vec<AgentId>)> {
    let size = limits::AGENTS_SEEN_MAX;
    let came = came.chunks(size).map(|part| (part.to_vec(), Vec::new()));
    let left = left.chunks(size).map(|part| (Vec::new(), part.to_vec()));
    came.chain(left).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(number: u8) -> AgentId {
        AgentId::from_bytes([number; 16])
    }

    const START: Timestamp = Timestamp::from_nanos(1_000_000_000_000);

    fn seat(number: u8, member: Option<u64>, seen: Timestamp) -> SeatRow {
        SeatRow::new(agent(number), member, seen)
    }

    #[test]
    fn only_what_is_news_is_told() {
        let here = [
            (agent(1), None),
            (agent(2), Some(seat(2, Some(1), START))),
            (agent(3), Some(seat(3, Some(1), START))),
            (agent(4), Some(seat(4, Some(2), START))),
            (agent(5), Some(seat(5, None, START))),
        ];
        let working = [agent(2)].into();
        let came = |now| news(&here, 1, &working, now, |_| false);
        assert_eq!(came(START), [1, 4, 5].map(agent), "2 and 3 are known to be here");
        assert_eq!(came(START.plus(REFRESH)), [1, 2, 4, 5].map(agent), "3 has nothing to do");
    }

    #[test]
    fn what_a_verifier_can_do_is_told_when_it_is_another_thing_than_before() {
        let able = SeatRow { verifies: Some(true), ..seat(2, Some(1), START) };
        let here = [(agent(1), Some(seat(1, Some(1), START))), (agent(2), Some(able))];
        let came = |able: &dyn Fn(&AgentId) -> bool| news(&here, 1, &[].into(), START, able);
        assert_eq!(came(&|one| *one == agent(2)), []);
        assert_eq!(came(&|_| true), [agent(1)], "it came back newer");
        assert_eq!(came(&|_| false), [agent(2)], "it came back older");
    }

    #[test]
    fn who_came_to_another_member_later_is_not_claimed_back() {
        let later = START.plus(TICK);
        assert!(moved(Some(&seat(1, Some(2), later)), 1, START));
        assert!(!moved(Some(&seat(1, Some(2), START)), 1, later), "it came here after that");
        assert!(!moved(Some(&seat(1, Some(1), later)), 1, START));
        assert!(!moved(Some(&seat(1, None, later)), 1, START));
        assert!(!moved(None, 1, START));
    }

    #[test]
    fn a_revoked_agent_loses_its_line_wherever_its_seat_is() {
        for (is_elsewhere, has_moved) in [(false, false), (false, true), (true, true)] {
            assert_eq!(lot(AgentState::Revoked, is_elsewhere, has_moved), Lot::Revoked);
        }
        let enrolled = |is_elsewhere, has_moved| lot(AgentState::Enrolled, is_elsewhere, has_moved);
        assert_eq!(enrolled(true, true), Lot::Unseated, "its line is one of two that live");
        assert_eq!(enrolled(false, true), Lot::MovedOn);
        assert_eq!(enrolled(false, false), Lot::Seated);
    }

    #[test]
    fn many_are_told_in_parts() {
        let many: Vec<_> =
            (0..=255u8).map(agent).cycle().take(limits::AGENTS_SEEN_MAX + 1).collect();
        let parts = batches(&many, &many[..1]);
        let sizes: Vec<_> = parts.iter().map(|(came, left)| (came.len(), left.len())).collect();
        assert_eq!(sizes, [(limits::AGENTS_SEEN_MAX, 0), (1, 0), (0, 1)]);
    }
}
