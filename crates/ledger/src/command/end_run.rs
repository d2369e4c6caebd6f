//! The end of a run without a point, and the wish for it.

use super::{Apply, Outcome};
use crate::{
    envelope::Refusal,
    row::{RunRow, RunState},
};
use holdfast_common::{Code, Error, Result, RunId};
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
}

impl EndRun {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let run = apply.run(&self.run)?;
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
