//! A location lacks what was put there before: it was emptied, or came back older than it was.
//!
//! From here on it counts as a place of which nothing is known, as one that is filled again does:
//! nothing is confirmed there until it was looked through, and what it lacks is brought or given
//! up. Whoever says so has seen the vault's own object there, in the location as it is now.

use super::{
    Apply, Outcome,
    use_location::{Place, lacks_something, location},
};
use crate::row::LocationRow;
use holdfast_common::{Name, Result};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct DoubtLocation {
    #[n(0)]
    pub location: Name,
    /// Of the location, as it was looked at: one that moved or was filled again is another place.
    #[n(1)]
    pub revision: u64,
    /// The object that is missed.
    #[n(2)]
    pub lacks: String,
}

impl DoubtLocation {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_system()?;
        let old = location(apply.tables, &self.location)?;
        if old.revision != self.revision || old.disabled.is_some() {
            return Ok(Outcome::Unchanged);
        }
        apply.tables.put(&LocationRow { revision: old.revision + 1, ..old })?;
        lacks_something(apply, &self.location, Place::Older)?;
        Ok(Outcome::Done)
    }

    pub(super) fn subject(&self) -> String {
        format!("{} lacks {}", self.location, self.lacks)
    }
}
