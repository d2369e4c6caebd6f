//! Gives a read session back, or clears one whose lease ran out.

use super::{Apply, Outcome};
use crate::{row::SessionRow, tables::Table};
use holdfast_common::{Result, SessionId};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct EndSession {
    #[n(0)]
    pub session: SessionId,
}

impl EndSession {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let Some(session) = apply.tables.row::<SessionRow>(self.session.as_bytes())? else {
            return Ok(Outcome::Unchanged);
        };
        // What ran out is cleared by whoever sees it.
        if session.lease_until >= apply.time {
            apply.session_of_actor(&self.session)?;
        }
        apply.tables.remove(Table::Session, self.session.as_bytes());
        Ok(Outcome::Done)
    }
}
