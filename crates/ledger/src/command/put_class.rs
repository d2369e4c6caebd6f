//! Declares a class of data, or changes one: the one place for what its policies have in common.

use super::{Apply, Outcome, put_policy::check_retention};
use crate::{row::ClassRow, tables::Row};
use holdfast_common::{Code, Error, Name, Result};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct PutClass {
    #[n(0)]
    pub class: ClassRow,
}

impl PutClass {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_operator()?;
        let class = &self.class;
        check_retention(class.retention.as_ref())?;
        let old = apply.tables.row::<ClassRow>(&class.key())?;
        let revision = old.as_ref().map_or(1, |old| old.revision + 1);
        if old.is_some_and(|old| old.retention == class.retention) {
            return Ok(Outcome::Unchanged);
        }
        let retained_since = apply.time;
        apply.tables.put(&ClassRow { revision, retained_since, ..class.clone() })?;
        Ok(Outcome::Done)
    }
}

impl Apply<'_, '_> {
    pub(super) fn class(&self, name: &Name) -> Result<ClassRow> {
        let found = self.tables.row::<ClassRow>(name.as_str().as_bytes())?;
        found.ok_or_else(|| {
            Error::new(Code::ResourceMissing, format!("there is no class `{name}`"))
                .next("declare it first; see `holdfast explain class`")
        })
    }
}
