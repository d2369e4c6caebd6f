//! Releases a hold: what it was about goes by the rules again.
//!
//! Its row stays for some time and says so: what goes by itself goes only when people had the time
//! to look.

use super::{Apply, Outcome, add_hold::check_reason, conflict};
use crate::row::{Held, HoldRow};
use holdfast_common::{Code, Error, HoldId, Result};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct ReleaseHold {
    #[n(0)]
    pub hold: HoldId,
    /// Why, for the audit log's readers.
    #[n(1)]
    pub reason: Option<String>,
    /// What it was about, for the same.
    #[n(2)]
    pub what: Held,
}

impl ReleaseHold {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_operator()?;
        check_reason(self.reason.as_deref().unwrap_or_default())?;
        let found = apply.tables.row::<HoldRow>(self.hold.as_bytes())?;
        let Some(hold) = found.filter(|hold| hold.is_in_force(apply.time)) else {
            let message = format!("there is no hold {} in force", self.hold);
            return Err(Error::new(Code::HoldMissing, message));
        };
        if hold.what != self.what {
            return Err(conflict(format!("the hold {} is on {}", self.hold, hold.what)));
        }
        apply.tables.put(&HoldRow { released: Some(apply.time), ..hold })?;
        Ok(Outcome::Done)
    }

    pub(super) fn subject(&self) -> String {
        let reason = self.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("{} on {}{reason}", self.hold, self.what)
    }
}
