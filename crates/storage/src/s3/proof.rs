//! What a bucket really enforces. Servers exist that answer 200 to a condition, a hash or a lock
//! that they then ignore; so each is tried where it must fail, before anything relies on it.
//!
//! ```text
//!   create-only   eight writers at once, some rounds: of each round one wins, and nobody later
//!   check         bytes with the hash of others must be refused: by the signature, MD5, SHA-256
//!   lock          a version that is locked for seconds must outlive its delete, and say so
//! ```
//!
//! Whatever is written for it lies below `tmp/`, where no object can be, and is deleted again.

use super::{S3Store, refusal::refused};
use crate::{
    layers::Operation,
    store::{Locking, Probe},
};
use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{
            BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
        },
    },
    operation::put_object::builders::PutObjectFluentBuilder,
    primitives::{DateTime, DateTimeFormat},
    types::{BucketVersioningStatus, ObjectLockEnabled, ObjectLockMode},
};
use aws_smithy_runtime_api::box_error::BoxError;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures::future::join_all;
use holdfast_common::{Entropy, Result, SystemEntropy, Timestamp};
use md5::Md5;
use sha2::{Digest, Sha256};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

const RACE_ROUNDS: usize = 4;
const RACE_WRITERS: usize = 8;
const LOCK_SECS: i64 = 3;
const TRIED: &[u8] = b"what is tried here";
const OTHER: &[u8] = b"what is not sent";

/// What is relied on when objects are put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Proof {
    pub(super) create_only: bool,
    /// The cheapest one that the server looks at.
    pub(super) check: Option<Check>,
}

/// How bytes that were changed on their way are found out by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// SHA-256, as part of what is signed in any case.
    Signature,
    Md5,
    Sha256,
}

impl Check {
    const ALL: [Self; 3] = [Self::Signature, Self::Md5, Self::Sha256];

    /// Says with the put which bytes it has; for [`Check::Signature`] the client does.
    pub(super) fn attach(
        self,
        put: PutObjectFluentBuilder,
        bytes: &[u8],
    ) -> PutObjectFluentBuilder {
        match self {
            Self::Signature => put,
            Self::Md5 => put.content_md5(BASE64_STANDARD.encode(Md5::digest(bytes))),
            Self::Sha256 => put.checksum_sha256(BASE64_STANDARD.encode(Sha256::digest(bytes))),
        }
    }
}

/// Signs as if [`OTHER`] were sent.
#[derive(Debug)]
struct SignOther;

impl Intercept for SignOther {
    fn name(&self) -> &'static str {
        "SignOther"
    }

    fn modify_before_signing(
        &self,
        _context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let hash = hex::encode(Sha256::digest(OTHER));
        config.interceptor_state().store_put(PayloadSigningOverride::Precomputed(hash));
        Ok(())
    }
}

/// Keeps the date of an answer, in seconds.
#[derive(Clone, Debug, Default)]
struct DateOf(Arc<Mutex<Option<i64>>>);

impl Intercept for DateOf {
    fn name(&self) -> &'static str {
        "DateOf"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let date = date.and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date.map(|date| date.secs());
        Ok(())
    }
}

impl S3Store {
    /// What puts rely on.
    pub(super) async fn prove(&self) -> Result<Proof> {
        let create_only = self.writes_once().await?;
        for check in Check::ALL {
            if self.looks_at(check).await? {
                return Ok(Proof { create_only, check: Some(check) });
            }
        }
        Ok(Proof { create_only, check: None })
    }

    fn scratch(&self) -> String {
        let random: [u8; 8] = (&SystemEntropy as &dyn Entropy).array();
        self.place().key(&format!("tmp/probe-{}", hex::encode(random)))
    }

    async fn forget(&self, key: &str) -> Result<()> {
        let bucket = &self.place().container;
        let delete = self.client().await.delete_object().bucket(bucket).key(key);
        delete.send().await.map(drop).map_err(|error| refused("deleting what was tried", &error))
    }

    /// Of several writers of a name one wins, and nobody after it.
    async fn writes_once(&self) -> Result<bool> {
        let mut is_kept = true;
        for _ in 0..RACE_ROUNDS {
            let key = self.scratch();
            let write = async |writer: usize| {
                let put = self.put(&key, Bytes::from(format!("writer {writer}"))).await;
                put.if_none_match("*").send().await
            };
            let outcomes = join_all((0..RACE_WRITERS).map(&write)).await;
            let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            let failed = outcomes.into_iter().filter_map(|outcome| outcome.err());
            let other = failed.map(|error| refused("writing", &error)).find(|error| {
                // Who lost is told so by a conflict, which the server may ask to try again.
                error.code != holdfast_common::Code::LocationRequestRefused && !error.is_retryable()
            });
            if let (0, Some(error)) = (won, other) {
                return Err(error);
            }
            let late = write(RACE_WRITERS).await;
            is_kept &= won <= 1 && late.is_err();
            self.forget(&key).await?;
        }
        Ok(is_kept)
    }

    /// Bytes that are sent with the hash of others are refused.
    async fn looks_at(&self, check: Check) -> Result<bool> {
        let key = self.scratch();
        let put = check.attach(self.put(&key, Bytes::from_static(TRIED)).await, OTHER);
        let outcome = match check {
            Check::Signature => put.customize().interceptor(SignOther).send().await,
            Check::Md5 | Check::Sha256 => put.send().await,
        };
        match outcome {
            Ok(_) => self.forget(&key).await.map(|()| false),
            Err(error) if super::refusal::status(&error).is_some_and(|s| s < 500) => Ok(true),
            Err(error) => Err(refused("writing", &error)),
        }
    }

    /// All that can be seen of the bucket, for people.
    pub(super) async fn look(&self) -> Result<Probe> {
        let mut probe = Probe::default();
        let key = self.scratch();
        let bucket = &self.place().container;
        let client = self.client().await;
        let put = self.put(&key, Bytes::from_static(TRIED)).await;
        let put = async { put.send().await.map_err(|error| refused("writing", &error)) };
        if probe.note(Operation::Put, Box::pin(put)).await?.is_none() {
            probe.write_refused = probe.refused.pop().map(|(_, error)| error);
            return Ok(probe);
        }
        probe.now = self.now().await;
        let get = client.get_object().bucket(bucket).key(&key);
        let get = async { get.send().await.map_err(|error| refused("reading", &error)) };
        probe.note(Operation::Get, Box::pin(get)).await?;
        probe.note(Operation::List, Box::pin(self.keys("tmp/", None, 1))).await?;
        if probe.note(Operation::Delete, Box::pin(self.forget(&key))).await?.is_none() {
            // What is tried further could not be taken away again.
            return Ok(probe);
        }
        let proof = self.prove().await?;
        (probe.create_only, probe.checked) = (proof.create_only, Some(proof.check.is_some()));
        probe.versioned = self.is_versioned().await.ok();
        if let Some(now) = probe.now {
            probe.locking = self.locking(now).await?;
        }
        Ok(probe)
    }

    /// What time it is there, by the head of an answer.
    async fn now(&self) -> Option<Timestamp> {
        let (bucket, date) = (&self.place().container, DateOf::default());
        let head = self.client().await.head_bucket().bucket(bucket);
        // Any answer has a date, a refusal too.
        drop(head.customize().interceptor(date.clone()).send().await);
        let seconds = date.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(Timestamp::from_nanos(seconds.saturating_mul(1_000_000_000)))
    }

    async fn is_versioned(&self) -> Result<bool> {
        let bucket = &self.place().container;
        let asked = self.client().await.get_bucket_versioning().bucket(bucket).send().await;
        let found = asked.map_err(|error| refused("asking for versions", &error))?;
        Ok(found.status == Some(BucketVersioningStatus::Enabled))
    }

    /// What becomes of a version that is locked.
    async fn locking(&self, now: Timestamp) -> Result<Locking> {
        let bucket = &self.place().container;
        let client = self.client().await;
        let asked = client.get_object_lock_configuration().bucket(bucket).send().await;
        let configured = asked.ok().and_then(|found| found.object_lock_configuration);
        let is_on = configured.and_then(|found| found.object_lock_enabled);
        if is_on != Some(ObjectLockEnabled::Enabled) {
            return Ok(Locking::Off);
        }
        let key = self.scratch();
        let until = now.as_nanos() / 1_000_000_000 + LOCK_SECS;
        let put = Check::Md5.attach(self.put(&key, Bytes::from_static(TRIED)).await, TRIED);
        let put = put
            .object_lock_mode(ObjectLockMode::Compliance)
            .object_lock_retain_until_date(DateTime::from_secs(until))
            .send()
            .await
            .map_err(|error| refused("writing a locked object", &error))?;
        let Some(version) = put.version_id else { return Ok(Locking::Ignored) };
        let asked = client.get_object_retention().bucket(bucket).key(&key).version_id(&version);
        let kept = asked.send().await.ok().and_then(|found| found.retention);
        let kept = kept.and_then(|kept| kept.retain_until_date);
        let delete = || client.delete_object().bucket(bucket).key(&key).version_id(&version);
        let is_refused = delete().send().await.is_err();
        if is_refused {
            tokio::time::sleep(Duration::from_secs(LOCK_SECS.unsigned_abs() + 1)).await;
            delete().send().await.map_err(|error| refused("deleting a version", &error))?;
        }
        let is_kept = is_refused && kept.is_some_and(|kept| kept.secs() >= until);
        Ok(if is_kept { Locking::Enforced } else { Locking::Ignored })
    }
}
