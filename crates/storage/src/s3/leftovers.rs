//! What is left of what was tried: as little as a bucket lets go.
//!
//! ```text
//!   a bucket that locks by default ─→ what is tried has a lock of seconds of its own, where it may
//!   a later test ─→ versions and marks of `tmp/probe-*` that are older than a day ─→ deleted
//! ```
//!
//! Whoever tries deletes what it tried; this is for whoever was killed before, and for what was
//! locked at that moment. Time is the server's. Nothing here keeps a test from going on.

use super::{S3Store, proof::TRIED, refusal::refused, time_of};
use crate::remote::{TRIED_BELOW, scratch};
use aws_sdk_s3::{primitives::DateTime, types::ObjectLockMode};
use bytes::Bytes;
use holdfast_common::Timestamp;
use std::time::Duration;

/// Whoever tries is done long before.
const STALE: Duration = Duration::from_secs(24 * 3600);
/// Long enough for a server to take it for a day that is still to come.
const BRIEF_SECS: i64 = 10;

impl S3Store {
    /// Until when what is tried is to be locked, where it would be locked for longer otherwise.
    pub(super) async fn brief_lock(&self) -> Option<DateTime> {
        match self.locks_briefly.get_or_init(|| self.may_lock_briefly()).await {
            true => self.brief().await,
            false => None,
        }
    }

    async fn brief(&self) -> Option<DateTime> {
        let now = self.now().await?;
        Some(DateTime::from_secs(now.as_nanos() / 1_000_000_000 + BRIEF_SECS))
    }

    /// Whether the bucket locks by default, and lets this identity say for how long.
    async fn may_lock_briefly(&self) -> bool {
        let bucket = &self.place().container;
        let client = self.client().await;
        let asked = client.get_object_lock_configuration().bucket(bucket).send().await;
        let configured = asked.ok().and_then(|found| found.object_lock_configuration);
        if configured.and_then(|found| found.rule?.default_retention).is_none() {
            return false;
        }
        let Some(until) = self.brief().await else { return false };
        let key = scratch(self.place());
        let put = self.put_hashed(&key, Bytes::from_static(TRIED)).await;
        let put = put.object_lock_mode(ObjectLockMode::Governance);
        match put.object_lock_retain_until_date(until).send().await {
            Ok(_) => {
                let deleted = client.delete_object().bucket(bucket).key(&key).send().await;
                deleted.is_ok()
            }
            Err(_) => false,
        }
    }

    /// Deletes what others tried a day ago, up to a page of it.
    pub(super) async fn sweep(&self, now: Timestamp) {
        let (bucket, below) = (&self.place().container, self.place().key(TRIED_BELOW));
        let client = self.client().await;
        let listed = client.list_object_versions().bucket(bucket).prefix(&below).send().await;
        let before = now.minus(STALE);
        let mut stale = Vec::new();
        match listed {
            Ok(found) => {
                let versions = found.versions.unwrap_or_default().into_iter();
                let marks = found.delete_markers.unwrap_or_default().into_iter();
                let versions = versions.map(|it| (it.key, it.version_id, it.last_modified));
                let marks = marks.map(|it| (it.key, it.version_id, it.last_modified));
                stale.extend(versions.chain(marks));
            }
            // One that keeps no versions may not know the question.
            Err(_) => {
                let keys = self.keys(TRIED_BELOW, None, 1000).await;
                let keys = keys.map(|(keys, _)| keys).unwrap_or_default().into_iter();
                stale.extend(keys.map(|it| (it.key, None, it.last_modified)));
            }
        }
        for (key, version, when) in stale {
            let Some(key) = key.filter(|_| when.is_some()) else { continue };
            if time_of(when.as_ref()) >= before {
                continue;
            }
            let delete = client.delete_object().bucket(bucket).key(&key);
            if let Err(error) = delete.set_version_id(version).send().await {
                let error = refused("sweeping what was tried", &error);
                tracing::debug!(%error, "what was tried a day ago stays");
            }
        }
    }
}
