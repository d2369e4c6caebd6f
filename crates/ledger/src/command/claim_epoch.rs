//! The first command of a new epoch: a region has taken the lead without the others.
//!
//! Members of the other regions are superseded, what learned in the region becomes a candidate, and
//! no vault requires a location of the others any more. Everything is one entry of the log, so that
//! no member ever sees half of it.
//!
//! A vault that requires nothing in the region may have a location there that follows: it is
//! required from now on, and may lack what had not been copied. Whatever was answered to a backup
//! by then was answered by what the lost locations have, so its session ends here. The same goes
//! for one that was about to come back, and was not filled yet.

use super::{Apply, Outcome, conflict};
use crate::{
    level::TAKEN,
    row::{
        CopyRow, EpochRow, LocationRow, MemberRole, MemberRow, MemberState, SeatRow, SessionKind,
        SessionRow, Taken, VaultRow,
        copies::copy_key,
        epoch::{FIRST_EPOCH, Suspended},
    },
    tables::{Row, Table},
};
use holdfast_common::{Code, Error, Name, Result, VaultId, limits, record};
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
    /// Locations that follow, and in which it is claimed as in those that are required.
    #[n(6)]
    pub taken: Option<Vec<Taken>>,
}

impl ClaimEpoch {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_system()?;
        let newest = apply.epoch()?;
        let number = newest.as_ref().map_or(FIRST_EPOCH, |row| row.number);
        let is_ours = |row: &EpochRow| row.number == self.epoch && row.member == self.member;
        if newest.as_ref().is_some_and(is_ours) {
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
        let (mut suspended, mut taken) = self.suspend_locations(apply)?;
        let mut gap = (!taken.is_empty()).then_some(self.base + 1);
        if let Some(before) = newest {
            self.carry_over(apply, &before, (&mut suspended, &mut taken))?;
            gap = gap.or(before.gap);
        }
        apply.end_rounds()?;
        let row = EpochRow {
            number: self.epoch,
            regions: self.regions.clone(),
            member: self.member,
            base: self.base,
            since: apply.time,
            operator: self.operator.clone(),
            reason: self.reason.clone(),
            suspended,
            taken: None,
            gap,
        };
        apply.tables.put(&row.with_taken(taken))?;
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

    /// A vault that has no location in the regions, and for which none is taken, keeps what it
    /// requires: it takes nothing until one is back, and never forgets where its points lie.
    fn suspend_locations(&self, apply: &mut Apply<'_, '_>) -> Result<(Vec<Suspended>, Vec<Taken>)> {
        let (mut suspended, mut all_taken) = (Vec::new(), Vec::new());
        for (_, value) in apply.tables.scan(Table::Vault, &[], limits::LIST_PAGE_ROWS)? {
            let vault: VaultRow = record::from_bytes(VaultRow::WHAT, &value)?;
            let (mut here, mut locations) = (Vec::new(), Vec::new());
            for name in &vault.required {
                let is_here = self.is_here(apply, name)?;
                if is_here { &mut here } else { &mut locations }.push(name.clone());
            }
            let taken = match here.is_empty() {
                true => self.taken_for(apply, &vault)?,
                false => None,
            };
            if here.is_empty() && taken.is_none() || locations.is_empty() {
                continue;
            }
            for name in &locations {
                // What it lacks, it is brought when its region comes back.
                apply.tables.remove(Table::Copy, &copy_key(&vault.id, name));
                apply.forget_checks(&vault.id, name)?;
            }
            let alone = taken.is_some().then_some(true);
            suspended.push(Suspended { vault: vault.id, locations, alone });
            match taken {
                None => apply.tables.put(&vault.requiring(here))?,
                Some(location) => {
                    all_taken.push(Taken { vault: vault.id, location: location.clone() });
                    self.take(apply, vault, location)?;
                }
            }
        }
        Ok((suspended, all_taken))
    }

    /// What an epoch before waited for is waited for still, and what stands in for it stands in.
    /// What was about to come back lacks what was stored meanwhile. Members of older levels forgot
    /// all of it.
    fn carry_over(
        &self,
        apply: &mut Apply<'_, '_>,
        before: &EpochRow,
        (suspended, taken): (&mut Vec<Suspended>, &mut Vec<Taken>),
    ) -> Result<()> {
        if apply.level()? < TAKEN {
            return Ok(());
        }
        for part in &before.suspended {
            let Some(vault) = apply.tables.row::<VaultRow>(part.vault.as_bytes())? else {
                continue;
            };
            self.doubt_returning(apply, part, &vault, suspended)?;
            for name in part.locations.iter().filter(|name| !vault.required.contains(name)) {
                let is_it =
                    |now: &&mut Suspended| now.vault == part.vault && now.locations.contains(name);
                if let Some(known) = suspended.iter_mut().find(is_it) {
                    known.alone = known.alone.or(part.alone);
                } else if !self.is_here(apply, name)? {
                    let (vault, alone, locations) = (part.vault, part.alone, vec![name.clone()]);
                    suspended.push(Suspended { vault, locations, alone });
                }
            }
        }
        for stands in before.taken() {
            let vault = apply.tables.row::<VaultRow>(stands.vault.as_bytes())?;
            let is_required = vault.is_some_and(|row| row.required.contains(&stands.location));
            let is_awaited = suspended.iter().any(|part| part.vault == stands.vault);
            if is_required && is_awaited && !taken.contains(stands) {
                taken.push(stands.clone());
            }
        }
        Ok(())
    }

    /// Locations that are required again, and were not seen to have what was stored without them.
    /// Where that may lie in what is lost now alone, they are like one that is taken.
    fn doubt_returning(
        &self,
        apply: &mut Apply<'_, '_>,
        part: &Suspended,
        vault: &VaultRow,
        suspended: &mut [Suspended],
    ) -> Result<()> {
        let required = &vault.required;
        let (returning, others): (Vec<&Name>, Vec<&Name>) =
            required.iter().partition(|name| part.locations.contains(name));
        let mut is_whole = false;
        for name in others {
            is_whole |= apply.is_whole(&vault.id, name)?;
        }
        let mut lost = suspended.iter_mut().filter(|now| now.vault == vault.id).peekable();
        let is_alone = !is_whole && lost.peek().is_some();
        for name in &returning {
            apply.open_copies(vault, name)?;
            if is_alone {
                apply.note_taken(&vault.id, name, self.epoch, None)?;
            }
        }
        if is_alone && !returning.is_empty() {
            lost.for_each(|now| now.alone = Some(true));
            apply.end_writes(&part.vault)?;
        }
        Ok(())
    }

    fn is_here(&self, apply: &Apply<'_, '_>, name: &Name) -> Result<bool> {
        let location = apply.tables.row::<LocationRow>(name.as_str().as_bytes())?;
        Ok(location.is_some_and(|row| self.regions.contains(&row.region)))
    }

    /// What was chosen before the end of the log was heard may follow no more.
    fn taken_for(&self, apply: &Apply<'_, '_>, vault: &VaultRow) -> Result<Option<Name>> {
        let chosen = self.taken.iter().flatten().find(|taken| taken.vault == vault.id);
        let Some(Taken { location, .. }) = chosen else { return Ok(None) };
        let is_fit = vault.following().contains(location) && self.is_here(apply, location)?;
        Ok(is_fit.then(|| location.clone()))
    }

    fn take(&self, apply: &mut Apply<'_, '_>, vault: VaultRow, location: Name) -> Result<()> {
        apply.open_copies(&vault, &location)?;
        apply.note_taken(&vault.id, &location, self.epoch, None)?;
        apply.end_writes(&vault.id)?;
        let mut beside = vault.beside.clone().unwrap_or_default();
        beside.following.retain(|name| *name != location);
        beside.returning.retain(|name| *name != location);
        apply.tables.put(&vault.requiring(vec![location]).with_beside(beside))
    }
}

impl Apply<'_, '_> {
    /// What a location lacks of a vault may lie in what is lost alone.
    pub(super) fn note_taken(
        &mut self,
        vault: &VaultId,
        location: &Name,
        epoch: u64,
        seen: Option<bool>,
    ) -> Result<()> {
        match self.tables.row::<CopyRow>(&copy_key(vault, location))? {
            Some(row) => self.tables.put(&CopyRow { taken: Some(epoch), seen, ..row }),
            None => Ok(()),
        }
    }

    /// Whoever writes into a vault begins anew, and asks anew what it has.
    fn end_writes(&mut self, vault: &VaultId) -> Result<()> {
        let mut ended = Vec::new();
        self.tables.look(&[], |row: SessionRow| {
            if row.vault == *vault && row.kind == SessionKind::Write {
                ended.push(row.id);
            }
        })?;
        for id in ended {
            self.tables.remove(Table::Session, id.as_bytes());
        }
        Ok(())
    }

    /// The newest epoch that was claimed; none in the first one.
    pub fn epoch(&self) -> Result<Option<EpochRow>> {
        let newest = self.tables.scan(Table::Epoch, &[], 1)?.into_iter().next();
        newest.map(|(_, value)| record::from_bytes(EpochRow::WHAT, &value)).transpose()
    }
}
