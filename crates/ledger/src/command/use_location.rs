//! Takes a location out of use, and puts it to use again; what lies there stays as it is.
//!
//! A disabled location is neither written nor read, whatever requires it: the coordinators go by
//! this row. One that is as wished already is not changed: the command may be repeated.
//!
//! Where members stand in several regions, one that a vault requires stays in use: a region that
//! was cut off sees there that another one leads, and one that was lost is given up there.

use super::{Apply, Outcome, conflict, put_location::is_required};
use crate::{
    level::{COPIES, WHOLE_ONES},
    row::{LocationRow, VaultRow},
    tables::{Row, Table, Tables},
};
use holdfast_common::{Code, Error, Name, Result, Timestamp, limits, record};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct DisableLocation {
    #[n(0)]
    pub location: Name,
}

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct EnableLocation {
    #[n(0)]
    pub location: Name,
}

impl DisableLocation {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        if apply.stands_in_regions()? && is_required(apply, &self.location)? {
            let message = format!("regions see each other's epochs in `{}`", self.location);
            return Err(conflict(message).next("have the vaults require another location first"));
        }
        let since = Some(apply.time);
        put_to_use(apply, &self.location, since)
    }
}

impl EnableLocation {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let outcome = put_to_use(apply, &self.location, None)?;
        if outcome == Outcome::Done {
            lacks_something(apply, &self.location, Place::Same)?;
        }
        Ok(outcome)
    }
}

impl Apply<'_, '_> {
    /// Whether members stand in more than one region.
    pub(super) fn stands_in_regions(&self) -> Result<bool> {
        let members = self.live_members()?;
        Ok(members.iter().any(|member| member.region != members[0].region))
    }
}

/// What a location stands on when it comes into use.
pub(super) enum Place {
    Same,
    /// Another one; and where what it had may still be, if that could be read.
    Moved(Option<String>),
    /// What it had is gone.
    Empty,
    /// Some of what it had is gone; where it lay before is looked at still.
    Older,
}

/// What vaults stored while a location was away is not there; what is being stored is put again.
pub(super) fn lacks_something(
    apply: &mut Apply<'_, '_>,
    location: &Name,
    place: Place,
) -> Result<()> {
    if apply.level()? < COPIES {
        return Ok(());
    }
    for (_, value) in apply.tables.scan(Table::Vault, &[], limits::LIST_PAGE_ROWS)? {
        let vault: VaultRow = record::from_bytes(VaultRow::WHAT, &value)?;
        if !vault.holding().any(|held| held == location) {
            continue;
        }
        match &place {
            Place::Same => apply.open_copies(&vault, location)?,
            Place::Moved(None) if apply.level()? >= WHOLE_ONES => {
                let left = apply.left_before(&vault.id, location)?;
                apply.open_copies_anew(&vault, location, left)?;
            }
            Place::Moved(left) => apply.open_copies_anew(&vault, location, left.clone())?,
            Place::Empty => apply.open_copies_anew(&vault, location, None)?,
            Place::Older => {
                let before = apply.left_before(&vault.id, location)?;
                apply.open_copies_anew(&vault, location, before)?;
            }
        }
        if vault.required.contains(location) {
            apply.tables.put(&vault.placed_anew())?;
        }
    }
    Ok(())
}

fn put_to_use(
    apply: &mut Apply<'_, '_>,
    name: &Name,
    disabled: Option<Timestamp>,
) -> Result<Outcome> {
    let old = location(apply.tables, name)?;
    if old.disabled.is_some() == disabled.is_some() {
        return Ok(Outcome::Unchanged);
    }
    apply.tables.put(&LocationRow { revision: old.revision + 1, disabled, ..old })?;
    Ok(Outcome::Done)
}

pub(super) fn location(tables: &Tables<'_>, name: &Name) -> Result<LocationRow> {
    let found = tables.row::<LocationRow>(name.as_str().as_bytes())?;
    let missing = || Error::new(Code::LocationMissing, format!("there is no location `{name}`"));
    found.ok_or_else(missing)
}
