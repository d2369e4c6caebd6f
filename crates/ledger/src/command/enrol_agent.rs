//! Trades a token for an identity: the token is spent and the agent exists, or neither.

use super::{Apply, Outcome, conflict};
use crate::{
    row::{AgentRow, AgentState, TokenKind, TokenRow},
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
        let token = usable_token(apply, &self.token_hash, TokenKind::Agent)?;
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
            duty: token.duty,
        })?;
        Ok(Outcome::Done)
    }
}

/// A token of the wanted kind that nobody has used and that has not expired.
pub(super) fn usable_token(
    apply: &Apply<'_, '_>,
    hash: &[u8; 32],
    wanted: TokenKind,
) -> Result<TokenRow> {
    let Some(token) = apply.tables.row::<TokenRow>(hash)? else {
        return Err(Error::new(Code::TokenRefused, "this token is not known"));
    };
    if token.kind() != wanted {
        return Err(token_of_other_kind(token.kind(), wanted));
    }
    if token.used_by.is_some() || token.used_by_member.is_some() {
        return Err(Error::new(Code::TokenUsed, "this token was used before"));
    }
    if token.expires < apply.time {
        let message = format!("this token expired at {}", token.expires);
        return Err(Error::new(Code::TokenExpired, message));
    }
    Ok(token)
}

fn token_of_other_kind(found: TokenKind, wanted: TokenKind) -> Error {
    let (message, next) = match wanted {
        TokenKind::Coordinator if found == TokenKind::Witness => (
            "this token is for a witness, and admits no member that holds data",
            "join with --witness, or make another with `holdfast cluster token`",
        ),
        TokenKind::Witness => (
            "this token is not for a witness, and admits none",
            "make one for a witness with `holdfast cluster token --witness`",
        ),
        TokenKind::Agent => (
            "this token is for `holdfast cluster join`, and enrols no agent",
            "make one for an agent with `holdfast agent token`",
        ),
        TokenKind::Coordinator => (
            "this token is for an agent to enrol with, and admits no coordinator",
            "make one for a coordinator with `holdfast cluster token`",
        ),
    };
    Error::new(Code::TokenRefused, message).next(next)
}
