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
            apply.hold_all_of(self.agent)?;
        }
        Ok(Outcome::Done)
    }
}

impl Apply<'_, '_> {
    /// Holds all points of agents that were revoked before anybody held anything.
    pub(super) fn hold_all_of_revoked(&mut self) -> Result<()> {
        let mut revoked = Vec::new();
        self.tables.look(&[], |agent: AgentRow| {
            if agent.state == AgentState::Revoked {
                revoked.push(agent.id);
            }
        })?;
        revoked.into_iter().try_for_each(|agent| self.hold_all_of(agent))
    }

    /// Since when they were not its own is for people to find out: until then all of them stay.
    fn hold_all_of(&mut self, agent: AgentId) -> Result<()> {
        self.tables.put(&HoldRow {
            id: HoldId::from_bytes(*agent.as_bytes()),
            what: Held::Agent(agent),
            reason: "the agent was revoked".to_owned(),
            by: self.actor.clone(),
            since: self.time,
            until: None,
            released: None,
        })
    }
}
