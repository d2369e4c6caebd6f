//! Remembers a join token by its hash.

use super::{Apply, Outcome, conflict};
use crate::{
    Actor,
    level::OPERATORS,
    row::{TokenKind, TokenRow},
    tables::Row,
};
use holdfast_common::{Code, Error, Result};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct CreateToken {
    #[n(0)]
    pub token: TokenRow,
}

impl CreateToken {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        if apply.tables.row::<TokenRow>(&self.token.key())?.is_some() {
            return Err(conflict("this token exists already"));
        }
        if self.token.duty.is_some() && self.token.kind() != TokenKind::Agent {
            return Err(Error::new(Code::UsageMalformed, "only an agent can be a verifier"));
        }
        let made_by = match apply.actor {
            Actor::Operator(name) if apply.level()? >= OPERATORS => Some(name.clone()),
            _ => None,
        };
        let token = self.token.clone();
        let unused = TokenRow { used_by: None, used_by_member: None, made_by, ..token };
        apply.tables.put(&unused)?;
        Ok(Outcome::Done)
    }
}
