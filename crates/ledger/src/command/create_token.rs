//! Remembers a join token by its hash.

use super::{Apply, Outcome, conflict};
use crate::{
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
        let unused = TokenRow { used_by: None, used_by_member: None, ..self.token.clone() };
        apply.tables.put(&unused)?;
        Ok(Outcome::Done)
    }
}
