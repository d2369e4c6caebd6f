//! Which agent verifies a point, and which verification comes to nothing.
//!
//! A verifier is chosen among those that are connected and know how, never on the source's own
//! identity; whoever has least to do comes first. What an agent knows it says when it comes, and
//! the ledger keeps it with its seat: any member can choose.

use crate::{agents::dispatch::ORPHAN_AFTER, house::House};
use holdfast_common::{AgentId, Code, Error, Result, Timestamp};
use holdfast_ledger::{
    Actor,
    command::EndRun,
    envelope::Refusal,
    row::{AgentRow, AgentState, PointRow, RunKind, RunRow, RunState, SeatRow, SessionRow},
};
use std::time::Duration;

/// How long a verification waits for its verifier to begin.
const BEGINS_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// An agent as far as it matters here.
struct Candidate {
    agent: AgentRow,
    is_there: bool,
    /// It knows the order, and no second process has its identity.
    is_able: bool,
    /// Verifications that it was given and has not ended.
    busy: usize,
}

/// Any verifier that may do it now.
pub(crate) fn any(house: &House, point: &PointRow) -> Result<AgentRow> {
    let query = house.ledger.query();
    let agents = query.agents()?.into_iter();
    let verifiers =
        agents.filter(|agent| agent.is_verifier() && agent.state == AgentState::Enrolled);
    let candidates = verifiers.map(|agent| candidate(house, agent)).collect::<Result<_>>()?;
    choose(candidates, point)
}

/// This one, if it may.
pub(crate) fn insist(house: &House, agent: AgentRow, point: &PointRow) -> Result<AgentRow> {
    if agent.id == point.agent {
        let message = format!("the agent `{}` made the point {}", agent.name, point.id);
        return Err(Error::new(Code::AgentIsSource, message));
    }
    if !agent.is_verifier() {
        let message = format!("the agent `{}` is no verifier", agent.name);
        return Err(Error::new(Code::AgentDutyOther, message));
    }
    choose(vec![candidate(house, agent)?], point)
}

fn candidate(house: &House, agent: AgentRow) -> Result<Candidate> {
    let query = house.ledger.query();
    let seat = query.seat(&agent.id)?;
    let is_here = house.hub.is_attached(&agent.id);
    let is_there = is_here || seat.is_some_and(|seat| seat.member.is_some());
    let knows = match is_here {
        true => house.hub.verifies(&agent.id),
        false => seat.is_some_and(|seat| seat.verifies == Some(true)),
    };
    let is_able = knows && !house.hub.is_in_doubt(&agent.id);
    let is_its = |run: &&RunRow| run.kind == RunKind::Verify && run.agent == Some(agent.id);
    let busy = query.open_runs()?.iter().filter(is_its).count();
    Ok(Candidate { agent, is_there, is_able, busy })
}

fn choose(mut candidates: Vec<Candidate>, point: &PointRow) -> Result<AgentRow> {
    if candidates.is_empty() {
        return Err(Error::new(Code::AgentMissing, "no verifier is enrolled")
            .next("enrol one on a host of its own: `holdfast agent token --verifier`"));
    }
    candidates.retain(|one| one.agent.id != point.agent);
    if candidates.is_empty() {
        let message = "the only verifier is the agent that made the point";
        return Err(Error::new(Code::AgentIsSource, message));
    }
    let names = |some: &[Candidate]| {
        let names: Vec<_> = some.iter().map(|one| one.agent.name.as_str()).collect();
        names.join("`, `")
    };
    let all = names(&candidates);
    candidates.retain(|one| one.is_there);
    if candidates.is_empty() {
        let message = format!("no verifier is connected: `{all}`");
        return Err(Error::new(Code::AgentOffline, message));
    }
    let there = names(&candidates);
    candidates.retain(|one| one.is_able);
    let key = |one: &Candidate| (one.busy, one.agent.name.clone());
    candidates.into_iter().min_by_key(key).map(|one| one.agent).ok_or_else(|| {
        let message = format!("the holdfast of `{there}` is too old to verify");
        Error::new(Code::AgentOutdated, message)
    })
}

/// Why a verification will come to nothing, where nothing else ends it: its verifier came back as
/// one that does not know the order, went away before it began, or reads no more.
pub(crate) fn stuck(house: &House, run: &RunRow, now: Timestamp) -> Result<Option<Error>> {
    let Some(agent) = run.agent.filter(|_| run.kind == RunKind::Verify) else { return Ok(None) };
    let query = house.ledger.query();
    let (seat, sessions) = (query.seat(&agent)?, query.sessions()?);
    Ok(why_stuck(run, &agent, seat.as_ref(), &sessions, now))
}

fn why_stuck(
    run: &RunRow,
    agent: &AgentId,
    seat: Option<&SeatRow>,
    sessions: &[SessionRow],
    now: Timestamp,
) -> Option<Error> {
    let is_there = seat.is_some_and(|seat| seat.member.is_some());
    let is_reading = || {
        let mut own = sessions.iter().filter(|session| session.run == Some(run.id));
        own.any(|session| session.lease_until >= now)
    };
    match (run.state, seat) {
        (RunState::Queued, Some(seat)) if is_there && seat.verifies != Some(true) => {
            let message = "the verifier's holdfast is too old to verify";
            Some(Error::new(Code::AgentOutdated, message))
        }
        (RunState::Queued, _) if now.since(run.created) >= BEGINS_WITHIN => {
            Some(Error::new(Code::RunInterrupted, "the verifier did not begin"))
        }
        (RunState::Queued, _) if !is_there => {
            let seen = seat.map_or(run.created, |seat| seat.seen.max(run.created));
            let is_gone = now.since(seen) >= ORPHAN_AFTER;
            let message = format!("the verifier {agent} went away before it began");
            is_gone.then(|| Error::new(Code::RunInterrupted, message))
        }
        (RunState::Running, _) if is_there && !is_reading() => {
            let began = run.started.unwrap_or(run.created);
            let is_over = now.since(began) >= ORPHAN_AFTER;
            is_over.then(|| Error::new(Code::RunInterrupted, "the verifier reads no more"))
        }
        _ => None,
    }
}

pub(crate) async fn end_stuck(house: &House, run: &RunRow, error: &Error) -> Result<()> {
    tracing::warn!(run = %run.id, %error, "a verification comes to nothing");
    let state = match error.code {
        Code::RunInterrupted => RunState::Interrupted,
        _ => RunState::Failed,
    };
    let error = Some(Refusal {
        code: error.code.name().to_owned(),
        message: error.message.clone(),
        next: Some(error.advice().to_owned()),
    });
    let command = EndRun { run: run.id, state, error, silent_since: None };
    house.ledger.propose(Actor::System, command).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{Crowd, name};
    use holdfast_common::{PointId, RunId, SessionId, VaultId};
    use holdfast_ledger::row::{AgentDuty, SessionKind, SourceSpec};
    use std::collections::BTreeMap;

    fn verifier(number: u8) -> AgentRow {
        AgentRow {
            id: AgentId::from_bytes([number; 16]),
            name: name(&format!("v-{number}")),
            labels: BTreeMap::new(),
            identity_public: [0; 32],
            state: AgentState::Enrolled,
            serial: 1,
            not_after: Timestamp::ZERO,
            enrolled: Timestamp::ZERO,
            returns: 0,
            duty: Some(AgentDuty::Verifier),
        }
    }

    fn one(number: u8, is_there: bool, is_able: bool, busy: usize) -> Candidate {
        Candidate { agent: verifier(number), is_there, is_able, busy }
    }

    /// Made by the agent 9.
    fn point() -> PointRow {
        PointRow { agent: AgentId::from_bytes([9; 16]), ..Crowd::row(1) }
    }

    #[test]
    fn whoever_is_there_and_able_verifies_and_whoever_has_least_to_do_comes_first() {
        let chosen = |all| choose(all, &point()).map(|agent| agent.id);
        let id = |number| Ok(AgentId::from_bytes([number; 16]));
        assert_eq!(chosen(vec![one(1, false, true, 0), one(2, true, true, 0)]), id(2));
        assert_eq!(chosen(vec![one(1, true, false, 0), one(2, true, true, 5)]), id(2), "too old");
        assert_eq!(chosen(vec![one(1, true, true, 1), one(2, true, true, 0)]), id(2));
        assert_eq!(chosen(vec![one(9, true, true, 0), one(2, true, true, 3)]), id(2), "its own");
    }

    #[test]
    fn nobody_is_chosen_who_cannot_and_it_is_said_why() {
        let refused = |all| choose(all, &point()).unwrap_err();
        assert_eq!(refused(vec![]).code, Code::AgentMissing);
        assert_eq!(refused(vec![one(9, true, true, 0)]).code, Code::AgentIsSource);
        assert_eq!(refused(vec![one(1, false, false, 0)]).code, Code::AgentOffline);
        let old = refused(vec![one(1, true, false, 0), one(2, false, true, 0)]);
        assert_eq!(old.code, Code::AgentOutdated);
        assert!(old.message.contains("v-1") && !old.message.contains("v-2"), "{old}");
    }

    #[test]
    fn a_verification_that_comes_to_nothing_ends() {
        let start = Timestamp::from_nanos(1_800_000_000_000_000_000);
        let (agent, id) = (AgentId::from_bytes([1; 16]), RunId::from_bytes([2; 16]));
        let (vault, point) = (VaultId::from_bytes([3; 16]), PointId::from_bytes([4; 16]));
        let (paths, exclude) = (vec![], vec![]);
        let files = SourceSpec::Files { paths, exclude, one_file_system: false, include: None };
        let queued =
            RunRow { created: start, ..RunRow::verification(id, agent, vault, files, point) };
        let running = RunRow { state: RunState::Running, started: Some(start), ..queued.clone() };
        let there = |verifies| SeatRow { verifies, ..SeatRow::new(agent, Some(1), start) };
        let away = SeatRow::new(agent, None, start);
        let session = SessionRow {
            id: SessionId::from_bytes([3; 16]),
            kind: SessionKind::Read,
            vault,
            run: Some(id),
            agent: Some(agent),
            begun: 1,
            lease_until: start.plus(Duration::from_secs(900)),
            point,
            previous: None,
        };
        let why = |run: &RunRow, seat: &SeatRow, sessions: &[SessionRow], secs| {
            let now = start.plus(Duration::from_secs(secs));
            why_stuck(run, &agent, Some(seat), sessions, now).map(|error| error.code)
        };
        let (able, old) = (there(Some(true)), there(None));
        assert_eq!(why(&queued, &able, &[], 3600), None, "it has others to do first");
        assert_eq!(why(&queued, &old, &[], 0), Some(Code::AgentOutdated));
        assert_eq!(why(&queued, &away, &[], 59), None);
        assert_eq!(why(&queued, &away, &[], 60), Some(Code::RunInterrupted));
        assert_eq!(why(&queued, &able, &[], 24 * 3600), Some(Code::RunInterrupted));
        assert_eq!(why(&running, &able, std::slice::from_ref(&session), 900), None);
        assert_eq!(why(&running, &able, &[session], 901), Some(Code::RunInterrupted));
        assert_eq!(why(&running, &able, &[], 59), None);
        assert_eq!(why(&running, &able, &[], 60), Some(Code::RunInterrupted));
    }
}
