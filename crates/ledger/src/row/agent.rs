//! An enrolled host. The identity key never changes; certificates come and go.

use super::row;
use holdfast_common::{AgentId, Name, Timestamp};
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum AgentState {
    #[n(0)]
    Enrolled,
    #[n(1)]
    Revoked,
}

/// What an agent is for, when it is not there to back up its host. Its token says so, and nothing
/// changes it.
#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum AgentDuty {
    /// It opens points that others made, and does nothing else.
    #[n(1)]
    Verifier,
}

impl AgentDuty {
    pub fn name(self) -> &'static str {
        match self {
            Self::Verifier => "verifier",
        }
    }
}

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct AgentRow {
    #[n(0)]
    pub id: AgentId,
    #[n(1)]
    pub name: Name,
    #[n(2)]
    pub labels: BTreeMap<String, String>,
    #[cbor(n(3), with = "minicbor::bytes")]
    pub identity_public: [u8; 32],
    #[n(4)]
    pub state: AgentState,
    #[n(5)]
    pub serial: u64,
    #[n(6)]
    pub not_after: Timestamp,
    #[n(7)]
    pub enrolled: Timestamp,
    /// How often it came back with an expired certificate.
    #[n(8)]
    pub returns: u64,
    #[n(9)]
    pub duty: Option<AgentDuty>,
}

impl AgentRow {
    pub fn is_verifier(&self) -> bool {
        self.duty == Some(AgentDuty::Verifier)
    }
}

row!(AgentRow, Agent, "agent", |row| row.id.as_bytes());
