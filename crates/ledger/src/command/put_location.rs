//! Declares a location, or changes one. A location in use keeps its URL.

use super::{Apply, Outcome, conflict};
use crate::{
    row::{LocationRow, VaultRow},
    tables::{Row, Table},
};
use holdfast_common::{Name, Result, limits, record};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct PutLocation {
    #[n(0)]
    pub location: LocationRow,
}

impl PutLocation {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let old = apply.tables.row::<LocationRow>(&self.location.key())?;
        self.insist_on_own_place(apply)?;
        if let Some(old) = &old {
            let same = LocationRow { revision: old.revision, ..self.location.clone() };
            if same == *old {
                return Ok(Outcome::Unchanged);
            }
            if old.url != self.location.url && is_used(apply, &old.name)? {
                return Err(conflict(format!("the location `{}` is used by a vault", old.name))
                    .next("add another location under a new name"));
            }
        }
        let revision = old.map_or(1, |old| old.revision + 1);
        apply.tables.put(&LocationRow { revision, ..self.location.clone() })?;
        Ok(Outcome::Done)
    }
}

impl PutLocation {
    /// Two names for one place would count one copy twice.
    fn insist_on_own_place(&self, apply: &Apply<'_, '_>) -> Result<()> {
        for (_, value) in apply.tables.scan(Table::Location, &[], limits::LIST_PAGE_ROWS)? {
            let other: LocationRow = record::from_bytes(LocationRow::WHAT, &value)?;
            if other.url == self.location.url && other.name != self.location.name {
                return Err(conflict(format!("the location `{}` lies there already", other.name)));
            }
        }
        Ok(())
    }
}

pub(super) fn is_used(apply: &Apply<'_, '_>, name: &Name) -> Result<bool> {
    for (_, value) in apply.tables.scan(Table::Vault, &[], limits::LIST_PAGE_ROWS)? {
        let vault: VaultRow = record::from_bytes(VaultRow::WHAT, &value)?;
        if vault.required.contains(name) {
            return Ok(true);
        }
    }
    Ok(false)
}
