//! Takes a location out of use, and puts it to use again; what lies there stays as it is.
//!
//! A disabled location is neither written nor read, whatever requires it: the coordinators go by
//! this row. One that is as wished already is not changed: the command may be repeated.

use super::{Apply, Outcome};
use crate::{row::LocationRow, tables::Tables};
use holdfast_common::{Code, Error, Name, Result, Timestamp};
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
        let since = Some(apply.time);
        put_to_use(apply, &self.location, since)
    }
}

impl EnableLocation {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        put_to_use(apply, &self.location, None)
    }
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
