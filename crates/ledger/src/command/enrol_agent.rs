//! Trades a token for an identity: the token is spent and the agent exists, or neither.

use super::{Apply, Outcome, conflict};
use crate::{
    row::{AgentRow, AgentState, TokenRow},
    tables::Table,
};
use holdfast_common::{AgentId, Code, Error, Name, Result, Timestamp};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct EnrolAgent {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub token_hash: [u8; 32],
    #[n(1)]
    pub agent: AgentId,
    #[n(2)]
    pub name: Name,
    #[cbor(n(3), with = "minicbor::bytes")]
    pub identity_public: [u8; 32],
    #[n(4)]
    pub serial: u64,
    #[n(5)]
    pub not_after: Timestamp,
}

impl EnrolAgent {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let token = self.usable_token(apply)?;
        let name = self.name.as_str().as_bytes();
        if apply.tables.raw(Table::AgentName, name)?.is_some() {
            return Err(conflict(format!("an agent called `{}` is already enrolled", self.name))
                .next("choose another name, or revoke the old agent first"));
        }
        apply.tables.put(&TokenRow { used_by: Some(self.agent), ..token.clone() })?;
        apply.tables.put_raw(Table::AgentName, name, self.agent.as_bytes().to_vec())?;
        apply.tables.put(&AgentRow {
            id: self.agent,
            name: self.name.clone(),
            labels: token.labels,
            identity_public: self.identity_public,
            state: AgentState::Enrolled,
            serial: self.serial,
            not_after: self.not_after,
            enrolled: apply.time,
            returns: 0,
        })?;
        Ok(Outcome::Done)
    }

    fn usable_token(&self, apply: &Apply<'_, '_>) -> Result<TokenRow> {
        let Some(token) = apply.tables.row::<TokenRow>(&self.token_hash)? else {
            return Err(Error::new(Code::TokenRefused, "this token is not known"));
        };
        if token.used_by.is_some() {
            return Err(Error::new(Code::TokenUsed, "this token was used before"));
        }
        if token.expires < apply.time {
            return Err(Error::new(
                Code::TokenExpired,
                format!("this token expired at {}", token.expires),
            ));
        }
        Ok(token)
    }
}
