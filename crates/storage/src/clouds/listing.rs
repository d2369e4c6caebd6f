//! Pages of names, in byte order.
//!
//! Both clouds list in byte order and can begin behind a name; the emulator of one cannot, and
//! begins at the beginning. So what comes is looked at: rows up to `after` are left out, and a page
//! of which nothing is left is followed by the next one. A server may give such pages for ever: one
//! that was there before ends the listing with an error.

use super::{CloudStore, meta, refusal::refused, witness::Sieve};
use crate::{
    ObjectName, ObjectPrefix,
    store::{ObjectMeta, ObjectStore},
};
use holdfast_common::{Code, Error, Result, limits};
use object_store::{
    Extensions,
    list::{PaginatedListOptions, PaginatedListResult},
};

/// The marks of the pages of one listing. One of them is kept, and another one after twice as many
/// pages: whatever goes in a circle comes by it.
#[derive(Default)]
struct Marks {
    kept: Option<String>,
    seen: u64,
}

impl Marks {
    fn insist_on_new(&mut self, mark: Option<&str>) -> Result<()> {
        if mark == self.kept.as_deref() {
            let message = "the server lists what was listed before";
            return Err(Error::new(Code::LocationRequestRefused, message));
        }
        self.seen += 1;
        if self.seen.is_power_of_two() {
            self.kept = mark.map(str::to_owned);
        }
        Ok(())
    }
}

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
        let (mut rows, mut token, mut marks) = (Vec::new(), None, Marks::default());
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
            marks.insist_on_new(token.as_deref())?;
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
