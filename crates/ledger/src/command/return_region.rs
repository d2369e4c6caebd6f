//! A region that was given up comes back into the epoch that was claimed without it.
//!
//! ```text
//!   begin:   its members follow again, its locations are required again for whatever is stored
//!            from now on, and stay marked: they lack what was stored meanwhile
//!   filled:  they have that too; nothing is suspended any more, and what stood in for them
//!            follows again
//! ```
//!
//! Who has taken a member's name meanwhile keeps it: that member stays superseded.

use super::{Apply, Outcome, conflict};
use crate::{
    row::{
        CopyRow, EpochRow, LocationRow, MemberRole, MemberRow, MemberState, Taken,
        copies::copy_key, epoch::Suspended,
    },
    tables::Table,
};
use holdfast_common::{Code, Error, Name, Result, VaultId, limits};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct ReturnRegion {
    #[n(0)]
    pub epoch: u64,
    #[n(1)]
    pub region: Name,
    /// Its locations have everything again.
    #[n(2)]
    pub filled: bool,
}

impl ReturnRegion {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_operator()?;
        let epoch = apply.epoch_in_force(self.epoch)?;
        match (self.filled, epoch.regions.contains(&self.region)) {
            (false, true) => Ok(Outcome::Unchanged),
            (false, false) => self.begin(apply, epoch),
            (true, true) => self.end(apply, epoch),
            (true, false) => Err(conflict("a region comes back before its locations are filled")),
        }
    }

    pub(super) fn subject(&self) -> String {
        let whole = if self.filled { "whole again" } else { "back" };
        format!("{} is {whole} in epoch {}", self.region, self.epoch)
    }

    fn begin(&self, apply: &mut Apply<'_, '_>, mut epoch: EpochRow) -> Result<Outcome> {
        let members = apply.superseded(&self.region)?;
        let locations = apply.suspended_in(&epoch, &self.region)?;
        if members.is_empty() && locations.is_empty() {
            let message = format!("nothing of `{}` was given up", self.region);
            return Err(Error::new(Code::RegionMissing, message));
        }
        for member in members {
            revive(apply, member)?;
        }
        if apply.live_members()?.len() > limits::MEMBERS_MAX {
            return Err(conflict("the cluster would have too many members"));
        }
        for Suspended { vault, locations, .. } in locations {
            let row = apply.vault(&vault)?;
            let mut required = row.required.clone();
            required.extend(locations.into_iter().filter(|name| !row.required.contains(name)));
            apply.tables.put(&row.requiring(required))?;
        }
        epoch.regions.push(self.region.clone());
        apply.tables.put(&epoch)?;
        apply.upset_rules()?;
        Ok(Outcome::Done)
    }

    fn end(&self, apply: &mut Apply<'_, '_>, epoch: EpochRow) -> Result<Outcome> {
        let whole = apply.suspended_in(&epoch, &self.region)?;
        if whole.is_empty() {
            return Ok(Outcome::Unchanged);
        }
        for part in &whole {
            insist_on_looked_through(apply, &part.vault)?;
        }
        let suspended = apply.suspended_beside(&epoch, &self.region)?;
        let is_over = |taken: &Taken| whole.iter().any(|part| part.vault == taken.vault);
        let (over, taken): (Vec<_>, Vec<_>) =
            epoch.taken().iter().cloned().partition(|taken| is_over(taken));
        for taken in over {
            follow_again(apply, &taken)?;
        }
        apply.tables.put(&EpochRow { suspended, ..epoch }.with_taken(taken))?;
        apply.upset_rules()?;
        Ok(Outcome::Done)
    }
}

/// While it is not known what stood in has lost, some of that may lie nowhere: it was relied on
/// there, and is not in what comes back.
fn insist_on_looked_through(apply: &Apply<'_, '_>, vault: &VaultId) -> Result<()> {
    for location in apply.vault(vault)?.required {
        let copies = apply.tables.row::<CopyRow>(&copy_key(vault, &location))?;
        if copies.is_some_and(|row| row.unseen_before().is_some()) {
            let message = format!("`{location}` stood in, and was not looked through since");
            return Err(Error::new(Code::LocationBehind, message));
        }
    }
    Ok(())
}

/// It stood in for what is whole now. What it lacks, it is brought like any that follows.
fn follow_again(apply: &mut Apply<'_, '_>, Taken { vault, location }: &Taken) -> Result<()> {
    let row = apply.vault(vault)?;
    let others = row.required.iter().filter(|name| *name != location);
    let required: Vec<Name> = others.cloned().collect();
    if required.is_empty() || required.len() == row.required.len() {
        return Ok(());
    }
    apply.open_copies_behind(&row, location)?;
    let mut beside = row.beside.clone().unwrap_or_default();
    beside.following.push(location.clone());
    apply.tables.put(&row.requiring(required).with_beside(beside))
}

/// It follows, and is to vote again if it did.
fn revive(apply: &mut Apply<'_, '_>, member: MemberRow) -> Result<()> {
    let name = member.name.as_str().as_bytes();
    if apply.tables.raw(Table::MemberName, name)?.is_some() {
        return Ok(());
    }
    apply.tables.put_raw(Table::MemberName, name, member.id.to_be_bytes().to_vec())?;
    let role = match member.role {
        MemberRole::Learner => MemberRole::Learner,
        MemberRole::Voter | MemberRole::Candidate => MemberRole::Candidate,
    };
    apply.tables.put(&MemberRow { state: MemberState::Joined, role, ..member })
}

impl Apply<'_, '_> {
    /// The newest epoch, which whoever proposes must mean.
    pub(super) fn epoch_in_force(&self, meant: u64) -> Result<EpochRow> {
        match self.epoch()? {
            Some(row) if row.number == meant => Ok(row),
            _ => Err(Error::new(Code::EpochSuperseded, format!("epoch {meant} is not in force"))),
        }
    }

    /// Whoever declares what a vault requires has chosen what stays required.
    pub(super) fn keep_as_declared(&mut self, vault: &VaultId) -> Result<()> {
        let Some(epoch) = self.epoch()?.filter(|epoch| epoch.has_taken_for(vault)) else {
            return Ok(());
        };
        let taken = epoch.taken().iter().filter(|taken| taken.vault != *vault).cloned();
        let taken = taken.collect();
        self.tables.put(&epoch.with_taken(taken))
    }

    /// Members of a region whose epoch is over.
    pub(super) fn superseded(&mut self, region: &Name) -> Result<Vec<MemberRow>> {
        let mut found = Vec::new();
        self.tables.rewrite(|row: MemberRow| {
            if row.state == MemberState::Superseded && row.region == *region {
                found.push(row);
            }
            None
        })?;
        Ok(found)
    }

    /// Of what is suspended, the part that lies in a region.
    pub(super) fn suspended_in(&self, epoch: &EpochRow, region: &Name) -> Result<Vec<Suspended>> {
        self.suspended_where(epoch, |at| at == Some(region))
    }

    /// And the part that does not.
    pub(super) fn suspended_beside(
        &self,
        epoch: &EpochRow,
        region: &Name,
    ) -> Result<Vec<Suspended>> {
        self.suspended_where(epoch, |at| at != Some(region))
    }

    fn suspended_where(
        &self,
        epoch: &EpochRow,
        wanted: impl Fn(Option<&Name>) -> bool,
    ) -> Result<Vec<Suspended>> {
        let mut found = Vec::new();
        for Suspended { vault, locations, alone } in &epoch.suspended {
            let mut chosen = Vec::new();
            for name in locations {
                let row = self.tables.row::<LocationRow>(name.as_str().as_bytes())?;
                if wanted(row.as_ref().map(|row| &row.region)) {
                    chosen.push(name.clone());
                }
            }
            if !chosen.is_empty() {
                found.push(Suspended { vault: *vault, locations: chosen, alone: *alone });
            }
        }
        Ok(found)
    }
}
