//! The first command of a new epoch: a region has taken the lead without the others.
//!
//! Members of the other regions are superseded, what learned in the region becomes a candidate, and
//! no vault requires a location of the others any more. Everything is one entry of the log, so that
//! no member ever sees half of it.

use super::{Apply, Outcome, conflict};
use crate::{
    row::{
        EpochRow, LocationRow, MemberRole, MemberRow, MemberState, SeatRow, VaultRow,
        copies::copy_key,
        epoch::{FIRST_EPOCH, Suspended},
    },
    tables::{Row, Table},
};
use holdfast_common::{Code, Error, Name, Result, limits, record};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct ClaimEpoch {
    #[n(0)]
    pub epoch: u64,
    #[n(1)]
    pub regions: Vec<Name>,
    /// The member that claimed it, which leads.
    #[n(2)]
    pub member: u64,
    #[n(3)]
    pub base: u64,
    #[n(4)]
    pub operator: String,
    #[n(5)]
    pub reason: Option<String>,
}

impl ClaimEpoch {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_system()?;
        let newest = apply.epoch()?;
        let number = newest.as_ref().map_or(FIRST_EPOCH, |row| row.number);
        if newest.is_some_and(|row| row.number == self.epoch && row.member == self.member) {
            return Ok(Outcome::Unchanged);
        }
        if self.epoch <= number || self.epoch > limits::EPOCH_MAX {
            let message = format!("epoch {} cannot follow epoch {number}", self.epoch);
            return Err(Error::new(Code::EpochSuperseded, message));
        }
        if !self.regions.contains(&apply.live_member(self.member)?.region) {
            return Err(conflict("an epoch is claimed by a member of its own regions"));
        }
        for member in apply.live_members()? {
            self.place(apply, member)?;
        }
        let suspended = self.suspend_locations(apply)?;
        apply.end_rounds()?;
        apply.tables.put(&EpochRow {
            number: self.epoch,
            regions: self.regions.clone(),
            member: self.member,
            base: self.base,
            since: apply.time,
            operator: self.operator.clone(),
            reason: self.reason.clone(),
            suspended,
        })?;
        Ok(Outcome::Done)
    }

    pub(super) fn subject(&self) -> String {
        let regions: Vec<&str> = self.regions.iter().map(Name::as_str).collect();
        format!("{} for {} by {}", self.epoch, regions.join(", "), self.operator)
    }

    fn place(&self, apply: &mut Apply<'_, '_>, member: MemberRow) -> Result<()> {
        if !self.regions.contains(&member.region) {
            let was_there = |seat: &SeatRow| seat.member == Some(member.id);
            let leave = |seat| was_there(&seat).then_some(SeatRow { member: None, ..seat });
            apply.tables.rewrite(leave)?;
            apply.tables.remove(Table::MemberName, member.name.as_str().as_bytes());
            return apply.tables.put(&MemberRow { state: MemberState::Superseded, ..member });
        }
        let role = match member.role {
            _ if member.id == self.member => MemberRole::Voter,
            MemberRole::Learner => MemberRole::Candidate,
            role => role,
        };
        apply.tables.put(&MemberRow { role, ..member })
    }

    /// A vault that has no location in the regions keeps what it requires: it takes nothing until
    /// one of them is back, and never forgets where its points lie.
    fn suspend_locations(&self, apply: &mut Apply<'_, '_>) -> Result<Vec<Suspended>> {
        let mut suspended = Vec::new();
        for (_, value) in apply.tables.scan(Table::Vault, &[], limits::LIST_PAGE_ROWS)? {
            let vault: VaultRow = record::from_bytes(VaultRow::WHAT, &value)?;
            let (mut here, mut locations) = (Vec::new(), Vec::new());
            for name in &vault.required {
                let location = apply.tables.row::<LocationRow>(name.as_str().as_bytes())?;
                let is_here = location.is_some_and(|row| self.regions.contains(&row.region));
                if is_here { &mut here } else { &mut locations }.push(name.clone());
            }
            if here.is_empty() || locations.is_empty() {
                continue;
            }
            for name in &locations {
                // What it lacks, it is brought when its region comes back.
                apply.tables.remove(Table::Copy, &copy_key(&vault.id, name));
                apply.forget_checks(&vault.id, name)?;
            }
            suspended.push(Suspended { vault: vault.id, locations });
            apply.tables.put(&vault.requiring(here))?;
        }
        Ok(suspended)
    }
}

impl Apply<'_, '_> {
    /// The newest epoch that was claimed; none in the first one.
    pub fn epoch(&self) -> Result<Option<EpochRow>> {
        let newest = self.tables.scan(Table::Epoch, &[], 1)?.into_iter().next();
        newest.map(|(_, value)| record::from_bytes(EpochRow::WHAT, &value)).transpose()
    }
}
