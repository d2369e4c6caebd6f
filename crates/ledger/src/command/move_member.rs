//! Records that a member is reached elsewhere from now on.

use super::{Apply, Outcome};
use crate::row::{MemberRow, member::check_address};
use holdfast_common::Result;
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct MoveMember {
    #[n(0)]
    pub member: u64,
    #[n(1)]
    pub address: String,
}

impl MoveMember {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_system()?;
        check_address(&self.address)?;
        let member = apply.live_member(self.member)?;
        if member.address == self.address {
            return Ok(Outcome::Unchanged);
        }
        apply.tables.put(&MemberRow { address: self.address.clone(), ..member })?;
        Ok(Outcome::Done)
    }
}
