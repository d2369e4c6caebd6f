//! Opens the write session of a run: the agent may offer and put until the lease ends.

use super::{Apply, Outcome};
use crate::{
    Actor,
    row::{PointRow, RunKind, RunRow, RunState, SessionKind, SessionRow},
    tables::Table,
};
use holdfast_common::{AgentId, Code, Error, Name, PointId, Result, RunId, SessionId, limits};
use minicbor::{Decode, Encode};
use std::time::Duration;

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct BeginSession {
    #[n(0)]
    pub session: SessionId,
    #[n(1)]
    pub run: RunId,
    #[n(2)]
    pub point: PointId,
}

impl BeginSession {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let run = apply.run(&self.run)?;
        let Some(agent) = run.agent.filter(|agent| *apply.actor == Actor::Agent(*agent)) else {
            return Err(Error::new(Code::AuthDenied, "the run belongs to another agent"));
        };
        apply.agent(&agent)?;
        if run.commits_nothing() {
            return Err(Error::new(Code::RunCancelled, format!("run {} has ended", run.id)));
        }
        if !may_write(&run) {
            return Err(Error::new(Code::AuthDenied, "this run makes no point"));
        }
        // What an interrupted attempt left behind ends here: a run writes in one session.
        apply.end_sessions_of(&run.id, Some(SessionKind::Write))?;
        apply.tables.put(&SessionRow {
            id: self.session,
            kind: SessionKind::Write,
            vault: run.vault,
            run: Some(run.id),
            agent: Some(agent),
            begun: apply.index,
            lease_until: apply.time.plus(Duration::from_secs(limits::SESSION_LEASE_SECS)),
            point: self.point,
            previous: previous_point(apply, &run, &agent)?,
        })?;
        let started = run.started.or(Some(apply.time));
        apply.put_run(&RunRow { state: RunState::Running, started, ..run })?;
        Ok(Outcome::At(apply.index))
    }
}

/// A backup writes its point; a restore that was asked for one writes one safety point.
fn may_write(run: &RunRow) -> bool {
    match &run.restore {
        Some(restore) => restore.options.safety && restore.safety_point.is_none(),
        None => run.kind == RunKind::Backup,
    }
}

/// The newest committed point of the same source; a safety point goes on from none.
pub(super) fn previous_point(
    apply: &Apply<'_, '_>,
    run: &RunRow,
    agent: &AgentId,
) -> Result<Option<PointId>> {
    if run.kind == RunKind::Restore {
        return Ok(None);
    }
    let key = source_key(run, agent);
    let id = apply.tables.raw(Table::Meta, &key)?;
    id.map(|id| PointId::from_slice(&id)).transpose()
}

/// Where the newest point of a source is remembered, with the source behind it.
pub(crate) const NEWEST_POINT: &[u8] = b"newest:";

fn source_key(run: &RunRow, agent: &AgentId) -> Vec<u8> {
    match &run.policy {
        Some(policy) => policy_key(policy, agent),
        None => key_of(&run.source.describe(), agent),
    }
}

/// The same for what an agent makes under a policy.
pub(super) fn policy_key(policy: &Name, agent: &AgentId) -> Vec<u8> {
    key_of(&format!("policy:{policy}"), agent)
}

/// The same of a point that came about so.
pub(super) fn source_key_of(point: &PointRow) -> Vec<u8> {
    match &point.policy {
        Some(policy) => policy_key(policy, &point.agent),
        None => key_of(&point.source, &point.agent),
    }
}

fn key_of(what: &str, agent: &AgentId) -> Vec<u8> {
    let hash = blake3::hash(what.as_bytes());
    [NEWEST_POINT, agent.as_bytes(), &hash.as_bytes()[..16]].concat()
}

pub(super) fn remember_newest(apply: &mut Apply<'_, '_>, run: &RunRow, p: &PointRow) -> Result<()> {
    apply.tables.put_raw(Table::Meta, &source_key(run, &p.agent), p.id.as_bytes().to_vec())
}
