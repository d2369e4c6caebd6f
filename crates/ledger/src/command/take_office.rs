//! A newly elected leader's first command: who leads now, and full leases for everybody.
//!
//! While nobody led, nobody could renew a lease. So that no session ends for that, each lasts at
//! least one full length from here.

use super::{Apply, Outcome};
use crate::row::{OfficeRow, SessionRow, office::OFFICE_KEY};
use holdfast_common::{Result, limits};
use minicbor::{Decode, Encode};
use std::time::Duration;

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct TakeOffice {
    #[n(0)]
    pub member: u64,
    #[n(1)]
    pub term: u64,
}

impl TakeOffice {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_system()?;
        // A member that should go may still be elected before it is gone, and says so too.
        let member = apply.known_member(self.member)?.id;
        if apply.tables.row::<OfficeRow>(OFFICE_KEY)?.is_some_and(|old| old.term >= self.term) {
            return Ok(Outcome::Unchanged);
        }
        apply.tables.put(&OfficeRow { member, term: self.term, since: apply.time })?;
        let full = apply.time.plus(Duration::from_secs(limits::SESSION_LEASE_SECS));
        apply.tables.rewrite(|session: SessionRow| {
            let lease_until = session.lease_until.max(full);
            Some(SessionRow { lease_until, ..session })
        })?;
        Ok(Outcome::Done)
    }
}
