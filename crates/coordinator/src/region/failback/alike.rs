//! What two sides have of one thing, compared as it was declared: what each ledger stamps by
//! itself, and what a region being away does to it, makes no difference.

use holdfast_common::{Name, Result};
use holdfast_ledger::{
    Query,
    row::{LocationRow, PolicyRow},
};

/// Without what the ledger of each side stamps.
pub(super) fn unstamped(policy: PolicyRow) -> PolicyRow {
    PolicyRow { revision: 0, retained_since: None, ..policy }
}

pub(super) fn location(here: &Query<'_>, name: &Name) -> Result<Option<LocationRow>> {
    here.row(name.as_str().as_bytes())
}

/// As it is declared: whether it is in use is said by itself.
pub(super) fn unrevised(location: &LocationRow) -> LocationRow {
    LocationRow { revision: 0, disabled: None, ..location.clone() }
}
