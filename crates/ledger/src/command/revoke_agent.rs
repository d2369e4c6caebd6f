//! Takes an agent's rights away for good. Its points stay, and are held until somebody releases
//! them; its name becomes free, and it has no seat any more.

use super::{Apply, Outcome};
use crate::{
    level::RETENTION,
    row::{AgentRow, AgentState, Held, HoldRow},
    tables::Table,
};
use holdfast_common::{AgentId, HoldId, Result};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct RevokeAgent {
    #[n(0)]
    pub agent: AgentId,
}

impl RevokeAgent {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let agent = apply.agent(&self.agent)?;
        apply.tables.remove(Table::AgentName, agent.name.as_str().as_bytes());
        apply.tables.put(&AgentRow { state: AgentState::Revoked, ..agent })?;
        apply.tables.remove(Table::Seat, self.agent.as_bytes());
        if apply.level()? >= RETENTION {
            self.hold_points(apply)?;
        }
        Ok(Outcome::Done)
    }

    /// Since when they were not its own is for people to find out: until then all of them stay.
    fn hold_points(&self, apply: &mut Apply<'_, '_>) -> Result<()> {
        apply.tables.put(&HoldRow {
            id: HoldId::from_bytes(*self.agent.as_bytes()),
            what: Held::Agent(self.agent),
            reason: "the agent was revoked".to_owned(),
            by: apply.actor.clone(),
            since: apply.time,
            until: None,
        })
    }
}
