//! Keeps a lease for another full length.

use super::{Apply, Outcome};
use crate::row::SessionRow;
use holdfast_common::{Result, SessionId, limits};
use minicbor::{Decode, Encode};
use std::time::Duration;

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct RenewSession {
    #[n(0)]
    pub session: SessionId,
}

impl RenewSession {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let session = apply.session_of_actor(&self.session)?;
        let lease_until = apply.time.plus(Duration::from_secs(limits::SESSION_LEASE_SECS));
        apply.tables.put(&SessionRow { lease_until, ..session })?;
        Ok(Outcome::Done)
    }
}
