//! The end of a restore, told by whoever did it: how it ended and what is in place now.
//!
//! A restore that was done when somebody asked for its end was done. One that had skipped entries
//! is partial. The report is sealed; the ledger keeps counts and codes in the clear and no name.

use super::{Apply, Outcome};
use crate::{
    Actor,
    envelope::Refusal,
    row::{RestoreCounts, RestoreRow, RunRow, RunState},
};
use holdfast_common::{Code, Error, Result, RunId, limits};
use minicbor::{Decode, Encode, bytes::ByteVec};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct EndRestore {
    #[n(0)]
    pub run: RunId,
    #[n(1)]
    pub state: RunState,
    #[n(2)]
    pub counts: RestoreCounts,
    #[n(3)]
    pub report: Option<ByteVec>,
    #[n(4)]
    pub error: Option<Refusal>,
}

impl EndRestore {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let run = apply.run(&self.run)?;
        let is_own = match (apply.actor, run.agent) {
            (Actor::Agent(actor), Some(agent)) => *actor == agent,
            (Actor::Operator(_), None) => true,
            _ => false,
        };
        let Some(restore) = run.restore.clone().filter(|_| is_own) else {
            return Err(Error::new(Code::AuthDenied, "this is no restore of whoever ends it"));
        };
        if run.state.is_end() {
            return Ok(Outcome::Unchanged);
        }
        let report = self.report.as_ref();
        if report.is_some_and(|report| report.len() > limits::RESTORE_REPORT_BYTES_MAX) {
            return Err(Error::new(Code::LimitExceeded, "the report of a restore is too long"));
        }
        let state = match self.state {
            RunState::Queued | RunState::Running => {
                return Err(Error::new(Code::UsageMalformed, "a run does not end like this"));
            }
            RunState::Done | RunState::Partial => self.state,
            _ if run.cancelled => RunState::Cancelled,
            state => state,
        };
        apply.end_sessions_of(&run.id, None)?;
        let (counts, report) = (self.counts.clone(), self.report.clone());
        let restore = Some(RestoreRow { counts, report, ..restore });
        let (ended, error) = (Some(apply.time), self.error.clone());
        apply.put_run(&RunRow { state, ended, error, restore, ..run })?;
        Ok(Outcome::Done)
    }
}
