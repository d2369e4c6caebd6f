//! The end of a run without a point, and the wish for it.

use super::{Apply, Outcome, conflict};
use crate::{
    envelope::Refusal,
    row::{RunRow, RunState, SeatRow, SessionRow},
    tables::{Row, Table},
};
use holdfast_common::{Code, Error, Result, RunId, Timestamp, limits, record};
use minicbor::{Decode, Encode};

/// Ends a run as failed, interrupted or cancelled. A run that has ended stays as it ended.
#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct EndRun {
    #[n(0)]
    pub run: RunId,
    #[n(1)]
    pub state: RunState,
    #[n(2)]
    pub error: Option<Refusal>,
    /// Nothing was heard of whoever does it since then, as far as whoever says so knew.
    #[n(3)]
    pub silent_since: Option<Timestamp>,
}

impl EndRun {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let run = apply.run(&self.run)?;
        if let Some(since) = self.silent_since {
            insist_on_silence(apply, &run, since)?;
        }
        if let crate::Actor::Agent(agent) = apply.actor
            && Some(*agent) != run.agent
        {
            return Err(Error::new(Code::AuthDenied, "the run belongs to another agent"));
        }
        if run.state.is_end() {
            return Ok(Outcome::Unchanged);
        }
        let state = if run.cancelled { RunState::Cancelled } else { self.state };
        if matches!(state, RunState::Queued | RunState::Running | RunState::Done) {
            return Err(Error::new(Code::UsageMalformed, "a run does not end like this"));
        }
        apply.end_sessions_of(&run.id, None)?;
        let (ended, error) = (Some(apply.time), self.error.clone());
        apply.put_run(&RunRow { state, ended, error, ..run })?;
        Ok(Outcome::Done)
    }
}

/// What was judged by may be old news when it is agreed to: a leader that was cut off judges by
/// what it had.
fn insist_on_silence(apply: &Apply<'_, '_>, run: &RunRow, since: Timestamp) -> Result<()> {
    for (_, value) in apply.tables.scan(Table::Session, &[], limits::LIST_PAGE_ROWS)? {
        let session: SessionRow = record::from_bytes(SessionRow::WHAT, &value)?;
        if session.run == Some(run.id) && session.lease_until >= apply.time {
            return Err(conflict(format!("the lease of run {} was renewed", run.id)));
        }
    }
    let Some(agent) = &run.agent else { return Ok(()) };
    let seat = apply.tables.row::<SeatRow>(agent.as_bytes())?;
    if seat.is_some_and(|seat| seat.seen > since) {
        return Err(conflict(format!("the agent of run {} was seen since", run.id)));
    }
    Ok(())
}

/// Asks for the end of a run; the agent is told and ends it.
#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct CancelRun {
    #[n(0)]
    pub run: RunId,
}

impl CancelRun {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let run = apply.run(&self.run)?;
        if run.state.is_end() {
            return Ok(Outcome::Unchanged);
        }
        if run.state == RunState::Queued {
            let (state, ended) = (RunState::Cancelled, Some(apply.time));
            apply.put_run(&RunRow { state, ended, cancelled: true, ..run })?;
            return Ok(Outcome::Done);
        }
        apply.put_run(&RunRow { cancelled: true, ..run })?;
        Ok(Outcome::Done)
    }
}
