//! A join token, of which only the hash is kept.

use super::{AgentDuty, row};
use holdfast_common::{AgentId, Name, Timestamp};
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;

/// What a token lets in.
#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum TokenKind {
    #[n(1)]
    Agent,
    #[n(2)]
    Coordinator,
    /// A member that is given no key.
    #[n(3)]
    Witness,
}

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct TokenRow {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub hash: [u8; 32],
    #[n(1)]
    pub labels: BTreeMap<String, String>,
    #[n(2)]
    pub expires: Timestamp,
    #[n(3)]
    pub used_by: Option<AgentId>,
    /// None in tokens from before there were two kinds: these are for agents.
    #[n(4)]
    pub kind: Option<TokenKind>,
    #[n(5)]
    pub used_by_member: Option<u64>,
    /// What the agent that joins with it is for; none for one that backs up its host.
    #[n(6)]
    pub duty: Option<AgentDuty>,
    /// Who made it: it ends with him unless somebody used it before.
    #[n(7)]
    pub made_by: Option<Name>,
}

impl TokenRow {
    pub fn kind(&self) -> TokenKind {
        self.kind.unwrap_or(TokenKind::Agent)
    }
}

row!(TokenRow, Token, "token", |row| row.hash);
