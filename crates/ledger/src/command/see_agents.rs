//! Which agents came to a member, stayed or went, in one command for many.
//!
//! Members tell it late and side by side, so an agent that went counts only where it was last: it
//! may have come to another member meanwhile.

use super::{Apply, Outcome};
use crate::row::{AgentRow, AgentState, SeatRow};
use holdfast_common::{AgentId, Code, Error, Result, limits};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct SeeAgents {
    #[n(0)]
    pub member: u64,
    /// Those that came, and those that are still there.
    #[n(1)]
    pub attached: Vec<AgentId>,
    /// Those that went; who is in both lists went and came back.
    #[n(2)]
    pub left: Vec<AgentId>,
    /// Those of the attached ones that know the order to verify.
    #[n(3)]
    pub verifiers: Option<Vec<AgentId>>,
}

impl SeeAgents {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_system()?;
        let verifiers = self.verifiers.as_ref().map_or(0, Vec::len);
        let told = self.attached.len() + self.left.len();
        if told > limits::AGENTS_SEEN_MAX || verifiers > self.attached.len() {
            return Err(Error::new(Code::LimitExceeded, "too many agents are told of at once")
                .next(format!("tell of at most {} at a time", limits::AGENTS_SEEN_MAX)));
        }
        let member = apply.live_member(self.member)?.id;
        let mut outcome = Outcome::Unchanged;
        for agent in &self.left {
            let seat = apply.tables.row::<SeatRow>(agent.as_bytes())?;
            if seat.is_some_and(|seat| seat.member == Some(member)) {
                let gone = SeatRow::new(*agent, None, apply.time);
                apply.tables.put(&gone)?;
                outcome = Outcome::Done;
            }
        }
        for agent in &self.attached {
            // One that was revoked meanwhile is no reason to forget the others.
            let row = apply.tables.row::<AgentRow>(agent.as_bytes())?;
            if row.is_some_and(|row| row.state == AgentState::Enrolled) {
                let verifies = self.verifiers.iter().flatten().any(|one| one == agent);
                let seat = SeatRow::new(*agent, Some(member), apply.time);
                apply.tables.put(&SeatRow { verifies: verifies.then_some(true), ..seat })?;
                outcome = Outcome::Done;
            }
        }
        Ok(outcome)
    }

    pub(super) fn subject(&self) -> String {
        format!("{}: {} there, {} gone", self.member, self.attached.len(), self.left.len())
    }
}
