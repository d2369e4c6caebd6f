//! What lay in a bucket at a moment: `?at=2026-11-20T08:00:00Z`, where it keeps versions.
//!
//! Whoever has the coordinators' keys can put delete markers and other bytes over every object; the
//! versions below stay, and those that are locked stay against everybody. A location that is opened
//! at a moment before that is read as if none of it had happened. It can only be read.

use super::{S3Store, length_of, refusal::refused};
use crate::{ObjectName, ObjectPrefix, refusal::missing, store::ObjectMeta};
use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::primitives::DateTime;
use holdfast_common::{Code, Error, Result, Timestamp, limits};
use std::collections::{BTreeMap, VecDeque};

const NANOS: i64 = 1_000_000_000;

/// The newest that a name had at the moment.
#[derive(Clone, Debug)]
struct Entry {
    when: Timestamp,
    /// None: it had been deleted.
    version: Option<(String, u64)>,
}

/// Where a listing goes on.
#[derive(Default)]
struct Mark {
    key: Option<String>,
    version: Option<String>,
}

impl S3Store {
    /// What was there at a moment cannot be changed any more.
    pub(super) fn insist_on_now(&self) -> Result<()> {
        match self.options.at {
            None => Ok(()),
            Some(at) => {
                let message = format!("the location is read as it was at {at}");
                Err(Error::new(Code::LocationReadOnly, message))
            }
        }
    }

    /// The version to read, where the location is read as it was once.
    pub(super) async fn version(&self, name: &ObjectName) -> Result<Option<String>> {
        if self.options.at.is_none() {
            return Ok(None);
        }
        let found = self.then(name).await?.ok_or_else(|| missing(name))?;
        Ok(Some(found.0))
    }

    pub(super) async fn meta_then(&self, name: &ObjectName) -> Result<Option<ObjectMeta>> {
        let found = self.then(name).await?;
        Ok(found.map(|(_, meta)| meta))
    }

    async fn then(&self, name: &ObjectName) -> Result<Option<(String, ObjectMeta)>> {
        let key = self.place().key(name.as_str());
        let (mut mark, mut entries) = (Mark::default(), BTreeMap::new());
        loop {
            let page = self.versions(&key, &mark).await?;
            self.note(&page, &mut entries);
            match next(&page, &mark)? {
                // What begins with this key comes after it.
                Some(next) if next.key.as_deref().is_none_or(|at| at <= key.as_str()) => {
                    mark = next
                }
                _ => break,
            }
        }
        let entry = entries.remove(&key);
        Ok(entry.and_then(|entry| {
            let (version, length) = entry.version?;
            Some((version, ObjectMeta { name: name.clone(), length, modified: entry.when }))
        }))
    }

    pub(super) async fn list_then(
        &self,
        prefix: &ObjectPrefix,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> Result<Vec<ObjectMeta>> {
        let limit = limit.clamp(1, limits::LIST_PAGE_ROWS);
        let below = self.place().key(prefix.as_str());
        let key = after.map(|name| self.place().key(name.as_str()));
        let (mut mark, mut entries) = (Mark { key, version: None }, BTreeMap::new());
        let mut found = VecDeque::new();
        loop {
            let page = self.versions(&below, &mark).await?;
            self.note(&page, &mut entries);
            let next = next(&page, &mark)?;
            // Older versions of the last key may follow still.
            let open = next.as_ref().and_then(|next| next.key.clone());
            let rest = open.map_or_else(BTreeMap::new, |open| entries.split_off(&open));
            for (key, Entry { when, version }) in std::mem::replace(&mut entries, rest) {
                let name = self.place().name(&key).filter(|name| after.is_none_or(|a| name > a));
                if let (Some(name), Some((_, length))) = (name, version) {
                    found.push_back(ObjectMeta { name, length, modified: when });
                }
            }
            match next {
                Some(next) if found.len() < limit => mark = next,
                _ => break,
            }
        }
        found.truncate(limit);
        Ok(found.into())
    }

    async fn versions(&self, prefix: &str, mark: &Mark) -> Result<ListObjectVersionsOutput> {
        let list = self
            .client()
            .await
            .list_object_versions()
            .bucket(&self.place().container)
            .prefix(prefix)
            .set_key_marker(mark.key.clone())
            .set_version_id_marker(mark.version.clone())
            .max_keys(i32::try_from(limits::LIST_PAGE_ROWS).unwrap_or(i32::MAX));
        list.send().await.map_err(|error| refused("listing versions", &error))
    }

    /// Of each key the newest entry that is no newer than the moment.
    fn note(&self, page: &ListObjectVersionsOutput, entries: &mut BTreeMap<String, Entry>) {
        let versions = page.versions().iter().filter_map(|version| {
            let length = length_of(version.size).ok()?;
            let id = version.version_id.clone()?;
            let when = end_of(version.last_modified?);
            Some((version.key.clone()?, Entry { when, version: Some((id, length)) }))
        });
        let markers = page.delete_markers().iter().filter_map(|marker| {
            let when = end_of(marker.last_modified?);
            Some((marker.key.clone()?, Entry { when, version: None }))
        });
        for (key, entry) in versions.chain(markers) {
            if self.options.at.is_some_and(|at| entry.when > at) {
                continue;
            }
            let known = entries.entry(key).or_insert_with(|| entry.clone());
            // Of what came in one second, what was there counts: it may be the one that is locked.
            let is_newer = entry.when > known.when;
            if is_newer || entry.when == known.when && known.version.is_none() {
                *known = entry;
            }
        }
    }
}

/// A server that tells seconds may mean any moment of one: what may have come later did.
fn end_of(said: DateTime) -> Timestamp {
    let nanos = match said.subsec_nanos() {
        0 => NANOS - 1,
        nanos => i64::from(nanos),
    };
    Timestamp::from_nanos(said.secs().saturating_mul(NANOS).saturating_add(nanos))
}

/// Where the next page begins; a server that stands still is not listened to.
fn next(page: &ListObjectVersionsOutput, mark: &Mark) -> Result<Option<Mark>> {
    if !page.is_truncated().unwrap_or(false) {
        return Ok(None);
    }
    let next =
        Mark { key: page.next_key_marker.clone(), version: page.next_version_id_marker.clone() };
    if next.key.is_none() || next.key == mark.key && next.version == mark.version {
        let message = "the server lists what was listed before";
        return Err(Error::new(Code::LocationRequestRefused, message));
    }
    Ok(Some(next))
}
