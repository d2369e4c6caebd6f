//! Opens a read session over one point: it stays readable until the session ends. Audited.
//!
//! An agent reads for a run only: exactly the point of a restore or a verification that was given
//! to it, for as long as that run lasts. An operator may read any point, and names a run when a
//! restore of his own begins with it.

use super::{Apply, Outcome};
use crate::{
    Actor,
    row::{RunRow, RunState, SessionKind, SessionRow, VerifyRow},
};
use holdfast_common::{Code, Error, PointId, Result, RunId, SessionId, limits};
use minicbor::{Decode, Encode};
use std::time::Duration;

/// A verifier that begins anew for ever would hold its point for ever.
pub const VERIFY_SESSIONS_MAX: u32 = 16;

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct BeginRead {
    #[n(0)]
    pub session: SessionId,
    #[n(1)]
    pub point: PointId,
    #[n(2)]
    pub purpose: String,
    #[n(3)]
    pub run: Option<RunId>,
}

impl BeginRead {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let run = self.granting_run(apply)?;
        let point = apply.point(&self.point)?;
        if let Some(run) = &run {
            // What a lost coordinator left behind ends here: a run reads in one session.
            apply.end_sessions_of(&run.id, Some(SessionKind::Read))?;
        }
        apply.tables.put(&SessionRow {
            id: self.session,
            kind: SessionKind::Read,
            vault: point.vault,
            run: self.run,
            agent: run.as_ref().and_then(|run| run.agent),
            begun: apply.index,
            lease_until: apply.time.plus(Duration::from_secs(limits::SESSION_LEASE_SECS)),
            point: self.point,
            previous: None,
        })?;
        if let Some(run) = run {
            let started = run.started.or(Some(apply.time));
            let verify = run.verify.clone().map(VerifyRow::read_again);
            apply.put_run(&RunRow { state: RunState::Running, started, verify, ..run })?;
        }
        Ok(Outcome::At(apply.index))
    }

    /// What the audit log says was read, what for, and for which run.
    pub(super) fn subject(&self) -> String {
        match &self.run {
            Some(run) => format!("{} ({} of run {run})", self.point, self.purpose),
            None => format!("{} ({})", self.point, self.purpose),
        }
    }

    /// The run that grants this reading to whoever asks, where one is needed.
    fn granting_run(&self, apply: &Apply<'_, '_>) -> Result<Option<RunRow>> {
        let denied = |message: &str| Err(Error::new(Code::AuthDenied, message));
        let Some(run) = &self.run else {
            return match apply.actor {
                Actor::Agent(_) => denied("an agent reads only what a restore grants to it"),
                _ => Ok(None),
            };
        };
        let run = apply.run(run)?;
        let is_own = match (apply.actor, run.agent) {
            (Actor::Agent(actor), Some(agent)) => *actor == agent,
            (Actor::Operator(_), None) => true,
            _ => false,
        };
        if !is_own {
            return denied("the run belongs to somebody else");
        }
        if let Some(agent) = &run.agent {
            apply.agent(agent)?;
        }
        if run.granted() != Some(self.point) {
            return denied("the run grants no reading of this point");
        }
        if run.state.is_end() || run.cancelled {
            return Err(Error::new(Code::RunCancelled, format!("run {} has ended", run.id)));
        }
        if run.verify.as_ref().is_some_and(|verify| verify.sessions >= VERIFY_SESSIONS_MAX) {
            let message = format!("run {} was begun too often", run.id);
            return Err(Error::new(Code::RunInterrupted, message).next("verify the point again"));
        }
        Ok(Some(run))
    }
}
