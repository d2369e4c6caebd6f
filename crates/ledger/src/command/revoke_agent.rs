//! Takes an agent's rights away for good. Its points stay; its name becomes free,
//! and it has no seat any more.

use super::{Apply, Outcome};
use crate::{
    row::{AgentRow, AgentState},
    tables::Table,
};
use holdfast_common::{AgentId, Result};
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
        Ok(Outcome::Done)
    }
}
