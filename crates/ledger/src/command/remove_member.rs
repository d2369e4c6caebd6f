//! Takes a member out of the cluster for good. Its id is spent, its name is free, its agents are
//! away until another member has them.

use super::{Apply, Outcome};
use crate::{
    row::{MemberRow, MemberState, SeatRow},
    tables::Table,
};
use holdfast_common::Result;
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct RemoveMember {
    #[n(0)]
    pub member: u64,
}

impl RemoveMember {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_operator()?;
        let member = apply.known_member(self.member)?;
        if !member.is_live() {
            return Ok(Outcome::Unchanged);
        }
        apply.insist_on_voter_beside(&member)?;
        let is_there = |seat: &SeatRow| seat.member == Some(member.id);
        apply.tables.rewrite(|seat| is_there(&seat).then_some(SeatRow { member: None, ..seat }))?;
        apply.tables.remove(Table::MemberName, member.name.as_str().as_bytes());
        apply.tables.put(&MemberRow { state: MemberState::Removed, ..member })?;
        Ok(Outcome::Done)
    }
}
