//! The locations that a recovery reads: any of them may lack an object, and of each object one
//! whole copy is enough.

use super::Blemish;
use crate::places::Place;
use bytes::Bytes;
use holdfast_common::{Code, Error, Result, VaultId, limits};
use holdfast_repository::{
    VaultObject,
    layout::{Object, ObjectName},
};
use holdfast_storage::{LocationUrl, ObjectStore, url};
use std::{collections::BTreeSet, path::Path, sync::Arc};

pub(crate) struct Source {
    pub(crate) url: String,
    pub(crate) store: Arc<dyn ObjectStore>,
}

pub(crate) struct Sources {
    pub(crate) vault: VaultId,
    all: Vec<Source>,
}

impl Sources {
    /// Opens them; all hold one vault.
    pub(crate) async fn open(urls: &[String], here: &Path) -> Result<Self> {
        let (mut all, mut found): (Vec<Source>, Option<VaultId>) = (Vec::new(), None);
        for text in urls {
            let store = url::open(&LocationUrl::resolve(text, here)?)?;
            let source = Source { url: text.clone(), store };
            let bytes = source.get(&ObjectName::vault(), limits::RECORD_BYTES_MAX).await;
            let vault =
                bytes.and_then(|bytes| VaultObject::from_bytes(&bytes)).map_err(|error| Error {
                    message: format!("`{text}`: {}", error.message),
                    ..error
                })?;
            if *found.get_or_insert(vault.id) != vault.id {
                let message = format!("`{text}` holds another vault than the other locations");
                return Err(Error::new(Code::VaultForeign, message)
                    .next("name locations of one vault of one cluster with --from"));
            }
            all.push(source);
        }
        match found {
            Some(vault) => Ok(Self { vault, all }),
            None => Err(Error::new(Code::UsageMalformed, "no location is named")
                .next("name one with --from local:PATH")),
        }
    }

    /// Locations of one vault that are open already, each with its URL.
    pub(crate) fn among(vault: VaultId, places: Vec<(String, Place)>) -> Self {
        let all = places.into_iter().map(|(url, (_, store))| Source { url, store }).collect();
        Self { vault, all }
    }

    #[cfg(test)]
    pub(super) fn of(stores: Vec<Arc<dyn ObjectStore>>) -> Self {
        let numbered = stores.into_iter().enumerate();
        let all = numbered.map(|(at, store)| Source { url: at.to_string(), store }).collect();
        Self { vault: VaultId::from_bytes([1; 16]), all }
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Source> {
        self.all.iter()
    }

    /// Every name below a prefix, in whichever location.
    pub(crate) async fn list(&self, prefix: &str) -> Result<BTreeSet<ObjectName>> {
        let (mut names, mut failed, mut was_read) = (BTreeSet::new(), None, false);
        for source in &self.all {
            match source.list(prefix).await {
                Ok(found) => {
                    was_read = true;
                    names.extend(found);
                }
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if !was_read => Err(error),
            _ => Ok(names),
        }
    }

    /// Reads an object from one location after the other until `read` makes something of it; what
    /// was wrong with the other copies is told.
    pub(crate) async fn find<T>(
        &self,
        name: &ObjectName,
        bytes_max: usize,
        blemishes: &mut Vec<Blemish>,
        mut read: impl FnMut(Bytes) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut found = None;
        for source in &self.all {
            let bytes = match source.get(name, bytes_max).await {
                Ok(bytes) => bytes,
                Err(error) if error.code == Code::ObjectMissing => continue,
                Err(error) => {
                    blemishes.push(Blemish::of(source, name, &error));
                    continue;
                }
            };
            match read(bytes) {
                Ok(value) => {
                    found = Some(value);
                    break;
                }
                Err(error) if error.code == Code::VaultForeign => return Err(error),
                Err(error) => blemishes.push(Blemish::of(source, name, &error)),
            }
        }
        Ok(found)
    }
}

impl Source {
    pub(crate) async fn get(&self, name: &ObjectName, bytes_max: usize) -> Result<Bytes> {
        self.store.get(&name.as_str().parse()?, bytes_max).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectName>> {
        let prefix = prefix.parse()?;
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.list(&prefix, after.as_ref(), limits::LIST_PAGE_ROWS).await?;
            let Some(last) = page.last() else { return Ok(names) };
            after = Some(last.name.clone());
            for meta in &page {
                names.push(meta.name.as_str().parse()?);
            }
        }
    }
}

/// What the names below `cluster/` say.
pub(crate) fn objects(names: &BTreeSet<ObjectName>) -> impl Iterator<Item = Object> + '_ {
    names.iter().map(ObjectName::object)
}
