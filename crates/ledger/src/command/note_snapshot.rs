//! Notes that a snapshot of the ledger lies whole in every catalog location.

use super::{Apply, Outcome};
use crate::{
    row::recovery::{SHIPPED_SNAPSHOT_KEY, ShippedSnapshot},
    tables::Table,
};
use holdfast_common::{Result, record};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct NoteSnapshot {
    /// The last entry that it holds.
    #[n(0)]
    pub index: u64,
}

impl NoteSnapshot {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_system()?;
        let row = ShippedSnapshot { index: self.index, when: apply.time };
        apply.tables.put_raw(Table::Meta, SHIPPED_SNAPSHOT_KEY, record::to_bytes(&row))?;
        Ok(Outcome::Done)
    }
}
