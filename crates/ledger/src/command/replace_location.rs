//! A location lies elsewhere from now on: a copied bucket, a disk that is mounted at another place.
//!
//! Vaults may require it. Whoever proposes it has seen that the new place holds each vault's own
//! object; the ledger sees to it that no other location lies there.

use super::{
    Apply, Outcome,
    put_location::insist_on_own_place,
    use_location::{Place, lacks_something, location},
};
use crate::row::LocationRow;
use holdfast_common::{Name, Result};
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
        let (revision, url) = (old.revision + 1, self.url.clone());
        let left = (self.left_is_gone != Some(true)).then(|| old.url.clone());
        apply.tables.put(&LocationRow { revision, url, ..old })?;
        lacks_something(apply, &self.location, Place::Anew(left))?;
        Ok(Outcome::Done)
    }
}

/// A location lost what it held, and is filled again where it is.
///
/// Whoever proposes it has put each vault's own object there again.
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
        lacks_something(apply, &self.location, Place::Anew(None))?;
        Ok(Outcome::Done)
    }
}
