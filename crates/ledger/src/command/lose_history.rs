//! Notes that an agent was told of a history that this ledger does not hold: after a recovery, how
//! much may be missing.

use super::{Apply, Outcome};
use crate::{
    Actor,
    row::{LostHistoryRow, Position},
};
use holdfast_common::{AgentId, Code, Error, Result};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct LoseHistory {
    #[n(0)]
    pub agent: AgentId,
    #[n(1)]
    pub told: Position,
}

impl LoseHistory {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        if *apply.actor != Actor::Agent(self.agent) {
            return Err(Error::new(Code::AuthDenied, "an agent says this of itself"));
        }
        apply.agent(&self.agent)?;
        let known = apply.tables.row::<LostHistoryRow>(self.agent.as_bytes())?;
        if known.is_some_and(|known| known.told == self.told) {
            return Ok(Outcome::Unchanged);
        }
        let (agent, told) = (self.agent, self.told);
        apply.tables.put(&LostHistoryRow { agent, told, noticed: apply.time })?;
        Ok(Outcome::Done)
    }
}
