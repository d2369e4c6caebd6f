//! Declares a location, or changes one. A location in use keeps its URL; whether it is disabled is
//! said by commands of their own (`use_location`).

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
        insist_on_own_place(apply, &self.location.name, &self.location.url)?;
        if let Some(old) = &old {
            let LocationRow { revision, disabled, .. } = *old;
            if (LocationRow { revision, disabled, ..self.location.clone() }) == *old {
                return Ok(Outcome::Unchanged);
            }
            if old.url != self.location.url && is_used(apply, &old.name)? {
                return Err(conflict(format!("the location `{}` is used by a vault", old.name))
                    .next("add another location under a new name"));
            }
        }
        let revision = old.as_ref().map_or(1, |old| old.revision + 1);
        let disabled = old.and_then(|old| old.disabled);
        apply.tables.put(&LocationRow { revision, disabled, ..self.location.clone() })?;
        Ok(Outcome::Done)
    }
}

/// Two names for one place would count one copy twice.
pub(super) fn insist_on_own_place(apply: &Apply<'_, '_>, name: &Name, url: &str) -> Result<()> {
    for (_, value) in apply.tables.scan(Table::Location, &[], limits::LIST_PAGE_ROWS)? {
        let other: LocationRow = record::from_bytes(LocationRow::WHAT, &value)?;
        if other.url == url && other.name != *name {
            return Err(conflict(format!("the location `{}` lies there already", other.name)));
        }
    }
    Ok(())
}

pub(super) fn is_used(apply: &Apply<'_, '_>, name: &Name) -> Result<bool> {
    is_of_some_vault(apply, |vault| vault.holding().any(|held| held == name))
}

pub(super) fn is_required(apply: &Apply<'_, '_>, name: &Name) -> Result<bool> {
    is_of_some_vault(apply, |vault| vault.required.contains(name))
}

fn is_of_some_vault(apply: &Apply<'_, '_>, is_of: impl Fn(&VaultRow) -> bool) -> Result<bool> {
    for (_, value) in apply.tables.scan(Table::Vault, &[], limits::LIST_PAGE_ROWS)? {
        if is_of(&record::from_bytes(VaultRow::WHAT, &value)?) {
            return Ok(true);
        }
    }
    Ok(false)
}
