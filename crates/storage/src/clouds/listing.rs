//! Pages of names, in byte order.
//!
//! Both clouds list in byte order and can begin behind a name; the emulator of one cannot, and
//! begins at the beginning. So what comes is looked at: rows up to `after` are left out, and a page
//! of which nothing is left is followed by the next one.

use super::{CloudStore, meta, refusal::refused, witness::Sieve};
use crate::{
    ObjectName, ObjectPrefix,
    store::{ObjectMeta, ObjectStore},
};
use holdfast_common::{Result, limits};
use object_store::{
    Extensions,
    list::{PaginatedListOptions, PaginatedListResult},
};

impl CloudStore {
    pub(super) async fn page(
        &self,
        prefix: &ObjectPrefix,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> Result<Vec<ObjectMeta>> {
        let limit = limit.clamp(1, limits::LIST_PAGE_ROWS);
        let is_within = after.is_some_and(|after| prefix.begins(after));
        if !is_within && after.is_some_and(|after| after.as_str() > prefix.as_str()) {
            return Ok(Vec::new());
        }
        let (mut rows, mut token) = (Vec::new(), None);
        if !is_within && let Ok(name) = prefix.as_str().parse() {
            // The client leaves out a name that is all of the prefix.
            rows.extend(self.head(&name).await?);
        }
        let start = after.filter(|_| is_within);
        loop {
            let page = self.keys(prefix.as_str(), start, limit, token.take()).await?;
            let found = page.result.objects.iter().filter_map(|object| {
                Some(meta(self.place.name(object.location.as_ref())?, object))
            });
            rows.extend(
                found.filter(|row| row.name.as_str() != prefix.as_str() && Some(&row.name) > after),
            );
            token = page.page_token;
            if !rows.is_empty() || token.is_none() {
                rows.truncate(limit);
                return Ok(rows);
            }
        }
    }

    /// A page of keys below `prefix`, and where the next one begins. Only keys of objects are left
    /// in it.
    pub(super) async fn keys(
        &self,
        prefix: &str,
        start: Option<&ObjectName>,
        limit: usize,
        page_token: Option<String>,
    ) -> Result<PaginatedListResult> {
        let mut extensions = Extensions::new();
        extensions.insert(Sieve(self.place.clone()));
        let options = PaginatedListOptions {
            offset: start.map(|name| self.place.key(name.as_str())),
            max_keys: Some(limit),
            page_token,
            extensions,
            ..PaginatedListOptions::default()
        };
        let prefix = self.place.key(prefix);
        let list = self.cloud().await?.list_paginated(Some(&prefix), options);
        list.await.map_err(|error| refused("listing", &error))
    }
}
