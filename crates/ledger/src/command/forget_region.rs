//! A region that was given up does not come back: its members are removed, and nobody waits for
//! its locations any more. The locations themselves stay declared, and what lies there stays. What
//! stood in for them is required for good, and is looked through once more where what its vault
//! required was all lost: nothing is forgotten there before it is known what went with the region.

use super::{Apply, Outcome, conflict};
use crate::{
    level::TAKEN,
    row::{CopyRow, EpochRow, MemberRow, MemberState, Taken, copies::copy_key, epoch::Suspended},
};
use holdfast_common::{Code, Error, Name, Result};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct ForgetRegion {
    #[n(0)]
    pub epoch: u64,
    #[n(1)]
    pub region: Name,
    #[n(2)]
    pub reason: Option<String>,
}

impl ForgetRegion {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_operator()?;
        let epoch = apply.epoch_in_force(self.epoch)?;
        if epoch.regions.contains(&self.region) {
            return Err(conflict(format!("`{}` holds epoch {}", self.region, self.epoch)));
        }
        let members = apply.superseded(&self.region)?;
        let gone = apply.suspended_in(&epoch, &self.region)?;
        if members.is_empty() && gone.is_empty() {
            let message = format!("nothing of `{}` was given up", self.region);
            return Err(Error::new(Code::RegionMissing, message));
        }
        for member in members {
            apply.tables.put(&MemberRow { state: MemberState::Removed, ..member })?;
        }
        if apply.level()? >= TAKEN {
            for part in gone.iter().filter(|part| part.alone == Some(true)) {
                look_through(apply, &epoch, part)?;
            }
        }
        let suspended = apply.suspended_beside(&epoch, &self.region)?;
        let is_awaited = |taken: &&Taken| suspended.iter().any(|part| part.vault == taken.vault);
        let taken = epoch.taken().iter().filter(is_awaited).cloned().collect();
        apply.tables.put(&EpochRow { suspended, ..epoch }.with_taken(taken))?;
        apply.upset_rules()?;
        Ok(Outcome::Done)
    }

    pub(super) fn subject(&self) -> String {
        match &self.reason {
            Some(reason) => format!("{}: {reason}", self.region),
            None => self.region.to_string(),
        }
    }
}

/// What was declared in place of one that stood in has what that had. What it has not, nobody
/// judged.
fn look_through(apply: &mut Apply<'_, '_>, epoch: &EpochRow, part: &Suspended) -> Result<()> {
    let vault = apply.vault(&part.vault)?;
    for location in &vault.required {
        let taken = Taken { vault: vault.id, location: location.clone() };
        let copies = apply.tables.row::<CopyRow>(&copy_key(&vault.id, location))?;
        if epoch.taken().contains(&taken) || copies.is_some_and(|row| row.taken.is_some()) {
            continue;
        }
        apply.open_copies(&vault, location)?;
        apply.note_taken(&vault.id, location, epoch.number, Some(true))?;
    }
    Ok(())
}
