//! A region that was given up does not come back: its members are removed, and nobody waits for
//! its locations any more. The locations themselves stay declared, and what lies there stays. What
//! stood in for them is required for good.

use super::{Apply, Outcome, conflict};
use crate::row::{EpochRow, MemberRow, MemberState, Taken};
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
        if members.is_empty() && apply.suspended_in(&epoch, &self.region)?.is_empty() {
            let message = format!("nothing of `{}` was given up", self.region);
            return Err(Error::new(Code::RegionMissing, message));
        }
        for member in members {
            apply.tables.put(&MemberRow { state: MemberState::Removed, ..member })?;
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
