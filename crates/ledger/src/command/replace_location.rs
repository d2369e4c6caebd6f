//! A location lies elsewhere from now on: a copied bucket, a disk that is mounted at another place.
//!
//! Vaults may require it. Whoever proposes it has seen that the new place holds each vault's own
//! object; the ledger sees to it that no other location lies there.

use super::{
    Apply, Outcome, conflict,
    put_location::insist_on_own_place,
    use_location::{Place, lacks_something, location},
};
use crate::{
    level::WHOLE_ONES,
    row::{LocationRow, VaultRow},
    tables::{Row, Table},
};
use holdfast_common::{Name, Result, limits, record};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct ReplaceLocation {
    #[n(0)]
    pub location: Name,
    #[n(1)]
    pub url: String,
    /// The place that is left could not be read: nobody looks for anything there.
    #[n(2)]
    pub left_is_gone: Option<bool>,
}

impl ReplaceLocation {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let old = location(apply.tables, &self.location)?;
        if old.url == self.url {
            return Ok(Outcome::Unchanged);
        }
        insist_on_own_place(apply, &self.location, &self.url)?;
        if self.left_is_gone != Some(true) {
            insist_on_one_left(apply, &self.location, &old.url)?;
        }
        let (revision, url) = (old.revision + 1, self.url.clone());
        let left = (self.left_is_gone != Some(true)).then(|| old.url.clone());
        apply.tables.put(&LocationRow { revision, url, ..old })?;
        lacks_something(apply, &self.location, Place::Moved(left))?;
        Ok(Outcome::Done)
    }
}

/// Only one place is remembered that may have what nobody else has.
fn insist_on_one_left(apply: &Apply<'_, '_>, location: &Name, url: &str) -> Result<()> {
    if apply.level()? < WHOLE_ONES {
        return Ok(());
    }
    for (_, value) in apply.tables.scan(Table::Vault, &[], limits::LIST_PAGE_ROWS)? {
        let vault: VaultRow = record::from_bytes(VaultRow::WHAT, &value)?;
        if let Some(left) = apply.left_before(&vault.id, location)? {
            let message = format!("{url} is still brought what lies in {left} alone");
            return Err(conflict(message).next(format!(
                "wait until `holdfast location list` names `{location}` among the copies no more; \
                 if {left} is gone for good: holdfast location rebuild {location}"
            )));
        }
    }
    Ok(())
}

/// A location lost what it held, and is filled again where it is.
///
/// Whoever proposes it has put each vault's own object there again, and looks for nothing where it
/// lay before.
#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct RebuildLocation {
    #[n(0)]
    pub location: Name,
}

impl RebuildLocation {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let old = location(apply.tables, &self.location)?;
        apply.tables.put(&LocationRow { revision: old.revision + 1, ..old })?;
        lacks_something(apply, &self.location, Place::Empty)?;
        Ok(Outcome::Done)
    }
}
