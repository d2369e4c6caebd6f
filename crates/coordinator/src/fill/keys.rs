//! The keys that open what a vault has, put where they are missing or are not those.
//!
//! The ledger has their bytes, so no location has to be asked for them. Where another pair of keys
//! of this vault lies under the name, something may be sealed to that one too: it is put aside,
//! under a name of its own, before the ledger's take the name. Nobody reads what lies aside but
//! people.

use super::{filling::Filling, object::went_away, sealed::are_other_keys};
use crate::{places::show, verify::problem_of};
use bytes::Bytes;
use holdfast_common::{Code, Error, Result, limits};
use holdfast_keyring::KeyObject;
use holdfast_ledger::{Query, row::VaultRow};
use holdfast_repository::layout;
use holdfast_storage::ObjectName;

/// The ledger's own, put under a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Put {
    /// Something else lay there.
    pub(super) is_instead: bool,
    /// Where that lies now, if it was keys.
    pub(super) aside: Option<ObjectName>,
}

/// Names of the objects that open all versions of a vault's keys, in their order.
pub(crate) fn names_of_keys(query: Query<'_>, vault: &VaultRow) -> Result<Vec<layout::ObjectName>> {
    let older = query.key_versions(&vault.id)?;
    let all = older.iter().map(|row| &row.key_object[..]).chain([&vault.key_object[..]]);
    let mut names = all.map(name_of).collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

fn name_of(bytes: &[u8]) -> Result<layout::ObjectName> {
    let keys = KeyObject::from_bytes(bytes)?;
    layout::ObjectName::keys(keys.version(), keys.kek_version())
}

/// Where keys lie that are not those of their name, which nobody else has: by their hash.
fn aside(name: &ObjectName, bytes: &[u8]) -> Result<ObjectName> {
    format!("aside/{name}/{}", blake3::hash(bytes).to_hex()).parse()
}

impl Filling<'_> {
    /// The keys that open what the vault has: what is sealed to them is worth nothing without.
    pub(super) async fn keys(&self) -> Result<Vec<(layout::ObjectName, Put)>> {
        show(self.vault, self.to).await?;
        let mut all = Vec::new();
        for bytes in self.ledger.objects(self.vault) {
            let name = name_of(bytes)?;
            all.extend(self.put_known(&name, bytes).await?.map(|put| (name, put)));
        }
        Ok(all)
    }

    /// Puts the ledger's own where something else lies; none where these lie already.
    pub(super) async fn put_known(
        &self,
        name: &layout::ObjectName,
        bytes: &[u8],
    ) -> Result<Option<Put>> {
        let version = KeyObject::from_bytes(bytes)?.version();
        let (name, store) = (name.as_str().parse()?, &self.to.1);
        let there = self.there(&name).await?;
        if there.as_ref().is_some_and(|there| there[..] == *bytes) {
            return Ok(None);
        }
        let mut aside = None;
        if let Some(there) = there.as_ref().filter(|it| are_other_keys(self.vault, it, bytes)) {
            aside = Some(self.put_aside(&name, there.clone()).await?);
        }
        (self.insist)()?;
        // Asked right before it would be put: it may have been destroyed meanwhile.
        if self.is_destroyed(version)? {
            return Ok(None);
        }
        let bytes = Bytes::copy_from_slice(bytes);
        match there {
            Some(_) => store.replace(&name, bytes).await?,
            None => store.put_new(&name, bytes).await.map(drop)?,
        }
        Ok(Some(Put { is_instead: there.is_some(), aside }))
    }

    /// What lies under a name; nothing in it where that is no key.
    async fn there(&self, name: &ObjectName) -> Result<Option<Bytes>> {
        let error = match self.to.1.get(name, limits::KEY_OBJECT_BYTES_MAX).await {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(error) => error,
        };
        let problem = problem_of(self.vault, self.to, &error).await;
        match problem.map_err(|error| went_away(self.to, error))? {
            "missing" => Ok(None),
            _ => Ok(Some(Bytes::new())),
        }
    }

    /// It is seen to lie there before anything takes its name.
    async fn put_aside(&self, name: &ObjectName, bytes: Bytes) -> Result<ObjectName> {
        let (aside, store) = (aside(name, &bytes)?, &self.to.1);
        (self.insist)()?;
        match store.put_new(&aside, bytes.clone()).await {
            // The name says what must lie there.
            Err(error) if error.code == Code::ObjectConflict => {
                store.replace(&aside, bytes.clone()).await?;
            }
            put => put.map(drop)?,
        }
        if store.get(&aside, limits::KEY_OBJECT_BYTES_MAX).await? != bytes {
            let message = format!("`{}` gives back another {aside}", self.to.0);
            return Err(Error::new(Code::ObjectDamaged, message));
        }
        tracing::warn!(object = %name, location = %self.to.0, %aside, "other keys, put aside");
        Ok(aside)
    }
}
