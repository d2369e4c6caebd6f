//! Records a new certificate of an enrolled agent.

use super::{Apply, Outcome};
use crate::row::AgentRow;
use holdfast_common::{AgentId, Result, Timestamp};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct RenewAgent {
    #[n(0)]
    pub agent: AgentId,
    #[n(1)]
    pub serial: u64,
    #[n(2)]
    pub not_after: Timestamp,
    /// It came back with an expired certificate, by proof of its key.
    #[n(3)]
    pub returned: bool,
}

impl RenewAgent {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let agent = apply.agent(&self.agent)?;
        apply.tables.put(&AgentRow {
            serial: self.serial,
            not_after: self.not_after,
            returns: agent.returns + u64::from(self.returned),
            ..agent
        })?;
        Ok(Outcome::Done)
    }
}
