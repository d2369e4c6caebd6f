//! The end of a verification, told by the verifier that did it: what it opened, and what it found.
//!
//! Proof is as good as what it rests on. It counts only while the run and its read session stand,
//! from the agent that has both; whoever proposes it has compared what was read with the reach of
//! the point. Nothing damaged is proof for the point; wrong or missing bytes take away what was
//! proven before. What could not be read is neither, and ends the run by another command.

use super::{Apply, Outcome};
use crate::{
    Actor,
    envelope::Refusal,
    row::{PointRow, RunRow, RunState, SessionKind, Verified, VerifyCounts, VerifyRow},
};
use holdfast_common::{Code, Error, Result, RunId, SessionId, limits};
use minicbor::{Decode, Encode, bytes::ByteVec};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct EndVerify {
    #[n(0)]
    pub run: RunId,
    /// In which it was read.
    #[n(1)]
    pub session: SessionId,
    #[n(2)]
    pub counts: VerifyCounts,
    #[n(3)]
    pub report: Option<ByteVec>,
    /// Why the point cannot be restored whole; set where anything is damaged, and only there.
    #[n(4)]
    pub damage: Option<Refusal>,
}

impl EndVerify {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let run = apply.run(&self.run)?;
        let (Actor::Agent(agent), Some(verify)) = (apply.actor, run.verify.clone()) else {
            return Err(Error::new(Code::AuthDenied, "this is no verification by an agent"));
        };
        let agent = *agent;
        if run.agent != Some(agent) {
            return Err(Error::new(Code::AuthDenied, "the run belongs to another agent"));
        }
        apply.agent(&agent)?;
        if run.state.is_end() || run.cancelled {
            return Err(Error::new(Code::RunCancelled, format!("run {} has ended", run.id)));
        }
        self.insist_on_session(apply)?;
        self.insist_on_sense()?;
        let point = apply.point(&verify.point)?;
        let (state, verified) = match &self.damage {
            Some(_) => (RunState::Failed, None),
            None => (RunState::Done, Some(Verified { when: apply.time, agent, run: run.id })),
        };
        apply.tables.put(&PointRow { verified, ..point })?;
        apply.end_sessions_of(&run.id, None)?;
        let (counts, report) = (self.counts, self.report.clone());
        let verify = Some(VerifyRow { counts, report, ..verify });
        let (ended, error) = (Some(apply.time), self.damage.clone());
        apply.put_run(&RunRow { state, ended, error, verify, ..run })?;
        Ok(Outcome::Done)
    }

    fn insist_on_session(&self, apply: &Apply<'_, '_>) -> Result<()> {
        let session = apply.session_of_actor(&self.session)?;
        if session.kind == SessionKind::Read && session.run == Some(self.run) {
            return Ok(());
        }
        Err(Error::new(Code::AuthDenied, "the session is of another run"))
    }

    fn insist_on_sense(&self) -> Result<()> {
        if self
            .report
            .as_ref()
            .is_some_and(|report| report.len() > limits::RESTORE_REPORT_BYTES_MAX)
        {
            return Err(Error::new(
                Code::LimitExceeded,
                "the report of a verification is too long",
            ));
        }
        if self.damage.is_some() != (self.counts.damaged > 0) {
            let message = "a verification finds damage and says why, or neither";
            return Err(Error::new(Code::UsageMalformed, message));
        }
        Ok(())
    }

    /// What was found of which run's point.
    pub(super) fn subject(&self) -> String {
        match self.counts.damaged {
            0 => format!("{}: whole", self.run),
            damaged => format!("{}: {damaged} damaged", self.run),
        }
    }
}
