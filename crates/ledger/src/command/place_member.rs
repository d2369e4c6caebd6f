//! Says what a member should be: a voter, or a learner. The leader brings the cluster to it.

use super::{Apply, Outcome};
use crate::row::{MemberRole, MemberRow};
use holdfast_common::Result;
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct PlaceMember {
    #[n(0)]
    pub member: u64,
    #[n(1)]
    pub role: MemberRole,
}

impl PlaceMember {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_operator()?;
        let member = apply.live_member(self.member)?;
        if member.role == self.role {
            return Ok(Outcome::Unchanged);
        }
        if self.role != MemberRole::Voter {
            apply.insist_on_voter_beside(&member)?;
        }
        apply.tables.put(&MemberRow { role: self.role, ..member })?;
        Ok(Outcome::Done)
    }
}
