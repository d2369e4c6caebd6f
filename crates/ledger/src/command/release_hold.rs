//! Releases a hold: what it was about goes by the rules again.

use super::{Apply, Outcome};
use crate::tables::Table;
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
}

impl ReleaseHold {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_operator()?;
        if apply.tables.raw(Table::Hold, self.hold.as_bytes())?.is_none() {
            return Err(Error::new(Code::HoldMissing, format!("there is no hold {}", self.hold)));
        }
        apply.tables.remove(Table::Hold, self.hold.as_bytes());
        Ok(Outcome::Done)
    }
}
