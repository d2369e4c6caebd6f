//! Makes a vault, or changes what may change of one: nothing that its keys or ids rest on.

use super::{Apply, Outcome, conflict};
use crate::{
    row::{LocationRow, VaultRow},
    tables::Table,
};
use holdfast_common::{Code, Error, Name, Result};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct PutVault {
    /// Id, keys and creation time count only when the vault is new.
    #[n(0)]
    pub vault: VaultRow,
}

impl PutVault {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        let name = self.vault.name.as_str().as_bytes();
        require_locations(apply, &self.vault.required)?;
        let Some(id) = apply.tables.raw(Table::VaultName, name)? else {
            let id = self.vault.id.as_bytes().to_vec();
            apply.tables.put_raw(Table::VaultName, name, id)?;
            apply.tables.put(&VaultRow { revision: 1, ..self.vault.clone() })?;
            return Ok(Outcome::Done);
        };
        let old = apply.vault(&holdfast_common::VaultId::from_slice(&id)?)?;
        if (old.custody, old.sharing) != (self.vault.custody, self.vault.sharing) {
            return Err(conflict(format!(
                "custody and sharing of the vault `{}` were chosen when it was made",
                old.name
            ))
            .next("make a vault of another name"));
        }
        if old.required == self.vault.required {
            return Ok(Outcome::Unchanged);
        }
        let added = self.vault.required.iter().find(|name| !old.required.contains(name));
        if let Some(name) = added {
            return Err(conflict(format!(
                "`{name}` cannot become required: it lacks the vault's keys and what it holds"
            ))
            .next("make another vault that requires it"));
        }
        apply.tables.put(&old.requiring(self.vault.required.clone()))?;
        Ok(Outcome::Done)
    }
}

pub(super) fn require_locations(apply: &Apply<'_, '_>, names: &[Name]) -> Result<()> {
    if names.is_empty() {
        return Err(Error::new(Code::ResourceMalformed, "at least one location is required"));
    }
    for name in names {
        if apply.tables.row::<LocationRow>(name.as_str().as_bytes())?.is_none() {
            return Err(Error::new(
                Code::LocationMissing,
                format!("there is no location `{name}`"),
            ));
        }
    }
    Ok(())
}
