//! Who the members are, as commands see them while they are applied.
//!
//! Names lead to live members only, so that their list stays short however many there were. The
//! next id is kept beside the rows: it goes up with every member and never down.

use super::Apply;
use crate::{
    Actor,
    row::{MemberRow, member::no_member},
    tables::Table,
};
use holdfast_common::{Code, Error, Result, limits};

const NEXT_ID_KEY: &[u8] = b"member-next";

impl Apply<'_, '_> {
    /// A member that was not removed.
    pub fn live_member(&self, id: u64) -> Result<MemberRow> {
        let member = self.known_member(id)?;
        if member.is_live() {
            return Ok(member);
        }
        let message = format!("the member `{}` was removed from the cluster", member.name);
        Err(Error::new(Code::MemberRemoved, message))
    }

    /// A member that is or was one.
    pub fn known_member(&self, id: u64) -> Result<MemberRow> {
        self.tables.row(&id.to_be_bytes())?.ok_or_else(|| no_member(id))
    }

    pub fn live_members(&self) -> Result<Vec<MemberRow>> {
        let names = self.tables.scan(Table::MemberName, &[], limits::MEMBERS_MAX)?;
        let rows = names.iter().map(|(_, id)| self.tables.row(id));
        rows.filter_map(Result::transpose).collect()
    }

    /// The id that the next member gets; none while the cluster has no founder in its rows.
    pub(super) fn next_member(&self) -> Result<Option<u64>> {
        let id = self.tables.raw(Table::Meta, NEXT_ID_KEY)?;
        Ok(id.map(|id| u64::from_be_bytes(id.try_into().unwrap_or_default())))
    }

    /// Adds a member under its id, from which on the next one counts.
    pub(super) fn add_member(&mut self, member: &MemberRow) -> Result<()> {
        let id = member.id.to_be_bytes().to_vec();
        self.tables.put_raw(Table::MemberName, member.name.as_str().as_bytes(), id)?;
        let next = (member.id + 1).to_be_bytes().to_vec();
        self.tables.put_raw(Table::Meta, NEXT_ID_KEY, next)?;
        self.tables.put(member)
    }

    /// A cluster without a voter agrees on nothing any more, not even on a new voter; witnesses
    /// alone would agree, and keep nothing.
    pub(super) fn insist_on_voter_beside(&self, member: &MemberRow) -> Result<()> {
        let others = self.live_members()?;
        let mut others = others.iter().filter(|other| other.id != member.id && other.is_voter());
        let message = match others.next() {
            None => format!("`{}` is the last voter of the cluster", member.name),
            Some(first) if first.is_data_voter() || others.any(MemberRow::is_data_voter) => {
                return Ok(());
            }
            Some(_) => format!("beside `{}` only witnesses would vote", member.name),
        };
        Err(Error::new(Code::ClusterLastVoter, message)
            .next("promote another member first: `holdfast cluster promote NAME`"))
    }

    /// What only the cluster itself finds out.
    pub(super) fn insist_on_system(&self) -> Result<()> {
        match self.actor {
            Actor::System => Ok(()),
            _ => Err(Error::new(Code::AuthDenied, "this is for the cluster itself to say")),
        }
    }

    /// What people decide, or the cluster for them.
    pub(super) fn insist_on_operator(&self) -> Result<()> {
        match self.actor {
            Actor::System | Actor::Operator(_) => Ok(()),
            _ => Err(Error::new(Code::AuthDenied, "this is for operators to decide")),
        }
    }
}
