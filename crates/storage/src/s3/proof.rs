//! What a bucket really enforces. Servers exist that answer 200 to a condition, a hash or a lock
//! that they then ignore; so each is tried where it must fail, before anything relies on it.
//!
//! ```text
//!   create-only   eight writers at once, some rounds: of each round one wins, and nobody later
//!   check         bytes with the hash of others must be refused: by the signature, MD5, SHA-256
//!   lock          a version that is locked for seconds must outlive its delete, and say so
//! ```
//!
//! Whatever is written for it lies below `tmp/`, where no object can be, and is deleted again
//! (`leftovers`).

use super::{
    S3Store,
    refusal::{Taken, is_taken, refused},
};
use crate::{
    layers::Operation,
    remote::{Trial, scratch, writes_once},
    store::{Locking, Pending, Probe},
};
use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::{
    config::http::HttpResponse,
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{
            BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
        },
    },
    error::{ProvideErrorMetadata, SdkError},
    operation::{delete_object::DeleteObjectError, put_object::builders::PutObjectFluentBuilder},
    primitives::{DateTime, DateTimeFormat},
    types::{BucketVersioningStatus, ObjectLockEnabled, ObjectLockMode},
};
use aws_smithy_runtime_api::box_error::BoxError;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use holdfast_common::{Code, Error, Result, Timestamp};
use md5::Md5;
use sha2::{Digest, Sha256};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

const LOCK_MIN: Duration = Duration::from_secs(3);
/// Within what a trial is given.
const LOCK_MAX: Duration = Duration::from_secs(20);
pub(super) const TRIED: &[u8] = b"what is tried here";
const OTHER: &[u8] = b"what is not sent";

/// What is relied on when objects are put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Proof {
    pub(super) create_only: bool,
    /// The cheapest one that the server looks at.
    pub(super) check: Option<Check>,
    /// Objects can be locked there, and then are by a default, or may be: such a bucket demands an
    /// MD5 with each put.
    pub(super) may_lock: bool,
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

impl Trial for S3Store {
    fn create<'a>(&'a self, key: &'a str, bytes: Bytes) -> Pending<'a, bool> {
        Box::pin(async move {
            match self.put_tried(key, bytes).await.if_none_match("*").send().await {
                Ok(_) => Ok(true),
                Err(error) if is_taken(&error) == Taken::Yes => Ok(false),
                Err(error) => Err(refused("writing", &error)),
            }
        })
    }

    fn forget<'a>(&'a self, key: &'a str) -> Pending<'a, ()> {
        Box::pin(async move {
            let bucket = &self.place().container;
            let delete = self.client().await.delete_object().bucket(bucket).key(key);
            let deleted = delete.send().await;
            let deleted = deleted.map_err(|error| refused("deleting what was tried", &error))?;
            if deleted.version_id.is_some() {
                self.forget_versions(key).await;
            }
            Ok(())
        })
    }
}

impl S3Store {
    /// What puts rely on.
    pub(super) async fn prove(&self) -> Result<Proof> {
        let create_only = writes_once(self, self.place()).await?;
        let may_lock = self.may_lock().await?;
        for check in Check::ALL {
            if self.looks_at(check).await? {
                return Ok(Proof { create_only, check: Some(check), may_lock });
            }
        }
        Ok(Proof { create_only, check: None, may_lock })
    }

    /// Whether the bucket says so; or does not say, to an identity that may not ask.
    async fn may_lock(&self) -> Result<bool> {
        let bucket = &self.place().container;
        let asked = self.client().await.get_object_lock_configuration().bucket(bucket).send();
        match asked.await {
            Ok(found) => Ok(found.object_lock_configuration.is_some()),
            Err(error) => match refused("asking for locks", &error) {
                error if error.is_retryable() => Err(error),
                error => Ok(error.code == Code::LocationRefused),
            },
        }
    }

    /// A put of something small that is tried, which every bucket takes, and soon lets go.
    async fn put_tried(&self, key: &str, bytes: Bytes) -> PutObjectFluentBuilder {
        let until = self.brief_lock().await;
        let put = self.put_hashed(key, bytes).await;
        put.set_object_lock_mode(until.map(|_| ObjectLockMode::Governance))
            .set_object_lock_retain_until_date(until)
    }

    pub(super) async fn put_hashed(&self, key: &str, bytes: Bytes) -> PutObjectFluentBuilder {
        Check::Md5.attach(self.put(key, bytes.clone()).await, &bytes)
    }

    /// Bytes that are sent with the hash of others are refused for that, and with their own taken.
    async fn looks_at(&self, check: Check) -> Result<bool> {
        let key = scratch(self.place());
        let put = async |of: &[u8]| {
            check.attach(self.put_tried(&key, Bytes::from_static(TRIED)).await, of)
        };
        let wrong = put(OTHER).await;
        let outcome = match check {
            Check::Signature => wrong.customize().interceptor(SignOther).send().await,
            Check::Md5 | Check::Sha256 => wrong.send().await,
        };
        let is_refused = match outcome {
            Ok(_) => false,
            Err(error) if is_of_the_hash(error.code()) => true,
            Err(error) => {
                let error = refused("writing", &error);
                return if error.is_retryable() { Err(error) } else { Ok(false) };
            }
        };
        let right = put(TRIED).await.send().await;
        let is_taken = right.is_ok();
        self.forget(&key).await?;
        Ok(is_refused && is_taken)
    }

    /// All that can be seen of the bucket, for people.
    pub(super) async fn look(&self) -> Result<Probe> {
        let mut probe = Probe::default();
        let key = scratch(self.place());
        let bucket = &self.place().container;
        let client = self.client().await;
        let put = self.put_tried(&key, Bytes::from_static(TRIED)).await;
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
        if let Some(now) = probe.now {
            self.sweep(now).await;
        }
        let proof = self.prove().await?;
        (probe.create_only, probe.checked) = (proof.create_only, Some(proof.check.is_some()));
        probe.versioned = self.is_versioned().await.ok();
        // Who may not lock is not refused to write: its locks are not claimed.
        match self.try_locks().await {
            Ok(locking) => probe.locking = locking,
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) => probe.locking_refused = Some(error),
        }
        Ok(probe)
    }

    /// Where older versions are kept, what was tried goes for good, with the marks of its deletion.
    /// Who may not delete versions leaves them, which costs a little room.
    async fn forget_versions(&self, key: &str) {
        let bucket = &self.place().container;
        let asked = self.client().await.list_object_versions().bucket(bucket).prefix(key).send();
        let Ok(found) = asked.await else { return };
        let versions = found.versions.unwrap_or_default().into_iter();
        let marks = found.delete_markers.unwrap_or_default().into_iter();
        let versions = versions.map(|version| version.version_id);
        let versions: Vec<String> =
            versions.chain(marks.map(|mark| mark.version_id)).flatten().collect();
        for version in versions {
            if let Err(error) = self.delete_version(key, &version).await {
                let error = refused("deleting a version", &error);
                tracing::debug!(%error, "a version of what was tried stays");
            }
        }
    }

    /// What time it is there, by the head of an answer.
    pub(super) async fn now(&self) -> Option<Timestamp> {
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

    /// What becomes of a version that is locked, where locks are said to be on. What may not be
    /// tried, or does not come to an end, is not claimed.
    pub(super) async fn try_locks(&self) -> Result<Locking> {
        let bucket = &self.place().container;
        let client = self.client().await;
        let asked = client.get_object_lock_configuration().bucket(bucket).send().await;
        let configured = asked.ok().and_then(|found| found.object_lock_configuration);
        let is_on = configured.and_then(|found| found.object_lock_enabled);
        if is_on != Some(ObjectLockEnabled::Enabled) {
            return Ok(Locking::Off);
        }
        let key = scratch(self.place());
        let begun = Instant::now();
        let Some(free) = self.put_version(&key, None).await? else { return Ok(Locking::Ignored) };
        // Only who may delete a version is refused for its lock.
        self.delete_version(&key, &free).await.map_err(|error| refused("deleting", &error))?;
        let lock = lock_for(begun.elapsed());
        let Some(now) = self.now().await else { return Ok(Locking::Ignored) };
        let locked = Instant::now();
        let until = now.as_nanos() / 1_000_000_000 + i64::try_from(lock.as_secs()).unwrap_or(0);
        let Some(version) = self.put_version(&key, Some(until)).await? else {
            return Ok(Locking::Ignored);
        };
        let asked = client.get_object_retention().bucket(bucket).key(&key).version_id(&version);
        let kept = asked.send().await.ok().and_then(|found| found.retention);
        let kept = kept.and_then(|kept| kept.retain_until_date).map(|until| until.secs());
        let deleted = self.delete_version(&key, &version).await;
        let status = deleted.as_ref().err().and_then(super::refusal::status);
        if deleted.is_ok() && locked.elapsed() + Duration::from_secs(1) >= lock {
            let message = "the line is too slow: the lock had ended before it was tried";
            return Err(Error::new(Code::LocationRequestRefused, message));
        }
        if deleted.is_err() {
            tokio::time::sleep_until(locked + lock + Duration::from_secs(1)).await;
            let gone = self.delete_version(&key, &version).await;
            gone.map_err(|error| refused("deleting a version", &error))?;
        }
        let is_kept = matches!(status, Some(400 | 403)) && kept.is_some_and(|kept| kept >= until);
        Ok(if is_kept { Locking::Enforced } else { Locking::Ignored })
    }

    /// What was tried, as a version of its own; none where versions are not told.
    async fn put_version(&self, key: &str, until: Option<i64>) -> Result<Option<String>> {
        let put = self
            .put_hashed(key, Bytes::from_static(TRIED))
            .await
            .set_object_lock_mode(until.map(|_| ObjectLockMode::Compliance))
            .set_object_lock_retain_until_date(until.map(DateTime::from_secs));
        let put = put.send().await.map_err(|error| refused("writing a locked object", &error))?;
        if put.version_id.is_none() {
            self.forget(key).await?;
        }
        Ok(put.version_id)
    }

    async fn delete_version(
        &self,
        key: &str,
        version: &str,
    ) -> Result<(), SdkError<DeleteObjectError, HttpResponse>> {
        let bucket = &self.place().container;
        let delete = self.client().await.delete_object().bucket(bucket).key(key);
        delete.version_id(version).send().await.map(drop)
    }
}

/// How long a lock must last to be tried where two calls took so long: it is put, read and tried,
/// each in a call of its own.
fn lock_for(two_calls: Duration) -> Duration {
    let wanted = LOCK_MIN + two_calls * 4;
    Duration::from_secs(wanted.min(LOCK_MAX).as_secs())
}

/// The codes of a refusal because of the hash alone.
fn is_of_the_hash(code: Option<&str>) -> bool {
    matches!(
        code,
        Some(
            "XAmzContentSHA256Mismatch"
                | "BadDigest"
                | "InvalidDigest"
                | "SignatureDoesNotMatch"
                | "ChecksumMismatch"
                | "XAmzContentChecksumMismatch"
        )
    )
}
