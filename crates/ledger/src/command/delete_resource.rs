//! Takes a declared thing back. What others rely on stays; points are never touched by this.

use super::{Apply, Outcome, conflict, put_location::is_used};
use crate::{row::PolicyRow, tables::Table};
use holdfast_common::{Code, Error, Name, Result};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct DeleteResource {
    #[n(0)]
    pub kind: String,
    #[n(1)]
    pub name: Name,
}

impl DeleteResource {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let table = match self.kind.as_str() {
            "class" => Table::Class,
            "policy" => Table::Policy,
            "location" => Table::Location,
            "vault" => {
                return Err(conflict("a vault is not deleted while its locations hold its points"));
            }
            other => {
                return Err(Error::new(
                    Code::ResourceMalformed,
                    format!("there is no kind `{other}`"),
                ));
            }
        };
        let key = self.name.as_str().as_bytes();
        if apply.tables.raw(table, key)?.is_none() {
            return Err(Error::new(
                Code::ResourceMissing,
                format!("there is no {} `{}`", self.kind, self.name),
            ));
        }
        if table == Table::Location && is_used(apply, &self.name)? {
            return Err(conflict(format!("the location `{}` is used by a vault", self.name)));
        }
        if table == Table::Class {
            insist_on_idle(apply, &self.name)?;
        }
        apply.tables.remove(table, key);
        Ok(Outcome::Done)
    }
}

/// Without its class a policy would keep everything, or nothing that anybody wished.
fn insist_on_idle(apply: &Apply<'_, '_>, class: &Name) -> Result<()> {
    let mut user = None;
    apply.tables.look::<PolicyRow>(&[], |policy| {
        if policy.class.as_ref() == Some(class) {
            user = Some(policy.name);
        }
    })?;
    match user {
        Some(policy) => Err(conflict(format!("the policy `{policy}` is of the class `{class}`"))),
        None => Ok(()),
    }
}
