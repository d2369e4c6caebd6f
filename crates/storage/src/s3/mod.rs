//! A location in a bucket: the key is the prefix and the object's name.
//!
//! ```text
//!   put ─→ proof: what does this bucket enforce?  (asked once)
//!       ─→ PutObject, If-None-Match: *, the hash of the bytes in the signature
//!            ├─ 412: read it: the same bytes are success, others a conflict
//!            └─ 200: read back, unless the bucket was seen to refuse what does not match its hash
//! ```
//!
//! Every object goes in one request: S3 takes 5 GiB in one, ours have far less, and the condition
//! holds for single puts on servers that forget it for the end of a multipart upload. What a
//! server does not enforce is not relied on: see `proof`.

mod client;
mod identity;
mod leftovers;
mod locks;
mod options;
mod past;
mod proof;
mod refusal;

use crate::{
    ObjectName, ObjectPrefix,
    endpoint::{Endpoint, partition},
    place::Place,
    refusal::{check_object, check_range, check_whole, missing},
    remote::{Absence, compare, confirm},
    store::{Keeps, Locking, ObjectMeta, ObjectStore, Pending, Probe, Receipt},
};
use aws_credential_types::Credentials;
use aws_sdk_s3::{
    Client,
    config::http::HttpResponse,
    error::SdkError,
    operation::{get_object::GetObjectOutput, put_object::builders::PutObjectFluentBuilder},
    primitives::{ByteStream, DateTime},
};
use bytes::{Bytes, BytesMut};
use core::{fmt, ops::Range};
use holdfast_common::{Code, Error, Lock, Result, Timestamp, limits};
use locks::{lock_of, mode_of, seconds};
use options::Options;
use proof::{Check, Proof};
use refusal::{Taken, absence, is_taken, refused};
use tokio::sync::OnceCell;

pub struct S3Store {
    options: Options,
    client: OnceCell<Client>,
    proof: OnceCell<Proof>,
    locks: OnceCell<Locking>,
    locks_briefly: OnceCell<bool>,
}

/// The one text of a place, from `BUCKET/PREFIX?option=value`. Why it is none, if so.
pub(crate) fn settle(text: &str) -> Result<String, String> {
    Options::parse(text).map(|options| options.place.to_string())
}

/// What two locations must not share: the server, the bucket, and the prefix.
pub(crate) fn ground(text: &str) -> Option<crate::Ground> {
    let options = Options::parse(text).ok()?;
    let server = match options.endpoint.as_deref().map(Endpoint::of) {
        None => partition(options.region.as_deref().unwrap_or_default()).to_owned(),
        // Google's buckets can be spoken to as if they were Amazon's.
        Some(there) => match there.amazon().or(there.google()) {
            Some(cloud) => cloud.to_owned(),
            None => there.server(),
        },
    };
    Some(crate::Ground::in_container(&server, &options.place))
}

impl S3Store {
    /// Nothing is asked yet: a bucket that cannot be reached says so at its first call.
    pub fn open(text: &str) -> Result<Self> {
        let options = Options::parse(text).map_err(|why| Error::new(Code::UsageMalformed, why))?;
        let (client, proof, locks, locks_briefly) = Default::default();
        Ok(Self { options, client, proof, locks, locks_briefly })
    }

    /// With these keys instead of what is found where the process runs.
    #[must_use]
    pub fn with_keys(mut self, key: &str, secret: &str) -> Self {
        self.options.keys = Some(Credentials::new(key, secret, None, None, "given"));
        self
    }

    async fn client(&self) -> &Client {
        self.client.get_or_init(|| client::connect(&self.options)).await
    }

    fn place(&self) -> &Place {
        &self.options.place
    }

    async fn proof(&self) -> Result<Proof> {
        self.proof.get_or_try_init(|| self.prove()).await.copied()
    }

    /// A put of these bytes, with all that the location's URL says of objects.
    async fn put(&self, key: &str, bytes: Bytes) -> PutObjectFluentBuilder {
        let Options { storage_class, encryption, kms_key, .. } = &self.options;
        self.client()
            .await
            .put_object()
            .bucket(&self.place().container)
            .key(key)
            .content_length(i64::try_from(bytes.len()).unwrap_or(i64::MAX))
            .body(ByteStream::from(bytes))
            .set_storage_class(storage_class.clone())
            .set_server_side_encryption(encryption.clone())
            .set_ssekms_key_id(kms_key.clone())
    }

    /// The same with the hash that this location was seen to look at.
    async fn put_checked(&self, key: &str, bytes: &Bytes) -> Result<PutObjectFluentBuilder> {
        let put = self.put(key, bytes.clone()).await;
        let proof = self.proof().await?;
        Ok(match proof.check {
            Some(check @ (Check::Md5 | Check::Sha256)) => check.attach(put, bytes),
            Some(Check::Signature) | None if proof.may_lock => Check::Md5.attach(put, bytes),
            Some(Check::Signature) | None => put,
        })
    }

    /// Whether the name was free and is now these bytes.
    async fn put_free(&self, name: &ObjectName, bytes: &Bytes) -> Result<bool> {
        let key = self.place().key(name.as_str());
        if !self.proof().await?.create_only && self.head(name).await?.is_some() {
            return Ok(false);
        }
        let put = self.put_checked(&key, bytes).await?.if_none_match("*");
        match put.send().await {
            Ok(_) => Ok(true),
            Err(error) => match is_taken(&error) {
                Taken::Yes => Ok(false),
                // Whoever won may fail still: only what lies there says how it ended.
                Taken::Soon if self.head(name).await?.is_some() => Ok(false),
                Taken::Soon | Taken::No => Err(refused(&format!("writing {name}"), &error)),
            },
        }
    }

    async fn is_checked(&self) -> Result<bool> {
        Ok(self.proof().await?.check.is_some())
    }

    /// The error of a read: absent, or refused.
    async fn unread<E>(&self, name: &ObjectName, error: &SdkError<E, HttpResponse>) -> Error
    where
        E: aws_sdk_s3::error::ProvideErrorMetadata + core::error::Error + 'static,
    {
        match self.is_absent(absence(error)).await {
            Ok(true) => missing(name),
            Ok(false) => refused(&format!("reading {name}"), error),
            Err(other) => other,
        }
    }

    /// An object is absent from a bucket that is there, and can be listed.
    async fn is_absent(&self, absence: Absence) -> Result<bool> {
        match absence {
            Absence::No => Ok(false),
            Absence::Perhaps => self.keys("", None, 1).await.map(|_| true),
            Absence::Sure => Ok(true),
        }
    }

    /// A page of keys below `prefix` and after `after`, and whether more follow.
    async fn keys(
        &self,
        prefix: &str,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<aws_sdk_s3::types::Object>, bool)> {
        let list = self
            .client()
            .await
            .list_objects_v2()
            .bucket(&self.place().container)
            .prefix(self.place().key(prefix))
            .set_start_after(after)
            .max_keys(i32::try_from(limit).unwrap_or(i32::MAX));
        let page = list.send().await.map_err(|error| refused("listing", &error))?;
        let more = page.is_truncated().unwrap_or(false);
        Ok((page.contents.unwrap_or_default(), more))
    }
}

/// All of a body, which must be as long as was said.
async fn whole(what: &str, output: GetObjectOutput, length: usize) -> Result<Bytes> {
    let torn = |cause: &dyn fmt::Display| {
        Error::new(Code::LocationIoFailed, format!("{what} ended early")).cause(cause)
    };
    let (mut body, mut bytes) = (output.body, BytesMut::with_capacity(length));
    while let Some(part) = body.next().await {
        let part = part.map_err(|error| torn(&error))?;
        if bytes.len() + part.len() > length {
            return Err(torn(&"more bytes came than were said"));
        }
        bytes.extend_from_slice(&part);
    }
    if bytes.len() != length {
        return Err(torn(&format!("{} of {length} bytes came", bytes.len())));
    }
    Ok(bytes.freeze())
}

fn length_of(said: Option<i64>) -> Result<u64> {
    said.and_then(|length| u64::try_from(length).ok()).ok_or_else(|| {
        Error::new(Code::LocationIoFailed, "the server does not say how long an object is")
    })
}

/// To the second: a listing may know more than a head does.
fn time_of(said: Option<&DateTime>) -> Timestamp {
    let seconds = said.map_or(0, DateTime::secs);
    Timestamp::from_nanos(seconds.saturating_mul(1_000_000_000))
}

impl ObjectStore for S3Store {
    fn put_new<'a>(&'a self, name: &'a ObjectName, bytes: Bytes) -> Pending<'a, Receipt> {
        Box::pin(async move {
            check_object(name, bytes.len())?;
            self.insist_on_now()?;
            let receipt = Receipt::of(name, &bytes);
            if Box::pin(self.put_free(name, &bytes)).await? {
                if !self.is_checked().await? {
                    confirm(self, &receipt).await?;
                }
                return Ok(receipt);
            }
            // What an earlier try of the same call stored, or somebody else.
            compare(self, receipt).await
        })
    }

    fn replace<'a>(&'a self, name: &'a ObjectName, bytes: Bytes) -> Pending<'a, ()> {
        Box::pin(async move {
            check_object(name, bytes.len())?;
            self.insist_on_now()?;
            let mut put = self.put_checked(&self.place().key(name.as_str()), &bytes).await?;
            let held = self.looked_at(name).await?.as_ref().and_then(lock_of);
            // What takes the place of a locked version is locked as long.
            if let Some(held) = held {
                put = put
                    .object_lock_mode(mode_of(held.class))
                    .object_lock_retain_until_date(DateTime::from_secs(seconds(held.until)));
            }
            put.send().await.map_err(|error| refused(&format!("replacing {name}"), &error))?;
            if self.is_checked().await? {
                return Ok(());
            }
            confirm(self, &Receipt::of(name, &bytes)).await
        })
    }

    fn get<'a>(&'a self, name: &'a ObjectName, bytes_max: usize) -> Pending<'a, Bytes> {
        Box::pin(async move {
            let (bucket, key) = (&self.place().container, self.place().key(name.as_str()));
            let get = self.client().await.get_object().bucket(bucket).key(key);
            let output = match get.set_version_id(self.version(name).await?).send().await {
                Ok(output) => output,
                Err(error) => return Err(self.unread(name, &error).await),
            };
            let length = check_whole(name, length_of(output.content_length)?, bytes_max)?;
            whole(&format!("object {name}"), output, length).await
        })
    }

    fn get_range<'a>(&'a self, name: &'a ObjectName, range: Range<u64>) -> Pending<'a, Bytes> {
        Box::pin(async move {
            // What is wrong with the range itself is wrong for any object.
            let wanted = check_range(name, &range, u64::MAX)?;
            if wanted == 0 {
                let meta = self.head(name).await?.ok_or_else(|| missing(name))?;
                return check_range(name, &range, meta.length).map(|_| Bytes::new());
            }
            let (bucket, key) = (&self.place().container, self.place().key(name.as_str()));
            let asked = format!("bytes={}-{}", range.start, range.end - 1);
            let get = self.client().await.get_object().bucket(bucket).key(key).range(asked);
            let output = match get.set_version_id(self.version(name).await?).send().await {
                Ok(output) => output,
                Err(error) if refusal::status(&error) == Some(416) => {
                    let meta = self.head(name).await?.ok_or_else(|| missing(name))?;
                    check_range(name, &range, meta.length)?;
                    return Err(refused(&format!("reading {name}"), &error));
                }
                Err(error) => return Err(self.unread(name, &error).await),
            };
            let got = length_of(output.content_length)?;
            if output.content_range.is_none() {
                // Some servers send all of an older version, whatever is asked for.
                let length = check_whole(name, got, limits::PACK_BYTES_MAX)?;
                check_range(name, &range, got)?;
                let all = whole(&format!("object {name}"), output, length).await?;
                let from =
                    usize::try_from(range.start).unwrap_or(all.len()).min(all.len() - wanted);
                return Ok(all.slice(from..from + wanted));
            }
            check_range(name, &range, range.start.saturating_add(got))?;
            whole(&format!("object {name}"), output, wanted).await
        })
    }

    fn head<'a>(&'a self, name: &'a ObjectName) -> Pending<'a, Option<ObjectMeta>> {
        Box::pin(async move {
            if self.options.at.is_some() {
                return self.meta_then(name).await;
            }
            let found = self.looked_at(name).await?;
            found.map(|found| Self::meta_of(name, &found)).transpose()
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a ObjectPrefix,
        after: Option<&'a ObjectName>,
        limit: usize,
    ) -> Pending<'a, Vec<ObjectMeta>> {
        Box::pin(async move {
            if self.options.at.is_some() {
                return self.list_then(prefix, after, limit).await;
            }
            let limit = limit.clamp(1, limits::LIST_PAGE_ROWS);
            let mut after = after.map(|name| self.place().key(name.as_str()));
            loop {
                let asked = after.take();
                let (objects, more) = self.keys(prefix.as_str(), asked.clone(), limit).await?;
                let last = objects.last().and_then(|object| object.key.clone());
                if asked.is_some() && last.is_some() && last <= asked {
                    let message = "the server lists what was listed before";
                    return Err(Error::new(Code::LocationRequestRefused, message));
                }
                after = last;
                let found: Vec<ObjectMeta> = objects
                    .iter()
                    .filter_map(|object| {
                        Some(ObjectMeta {
                            name: self.place().name(object.key()?)?,
                            length: length_of(object.size).ok()?,
                            modified: time_of(object.last_modified.as_ref()),
                        })
                    })
                    .collect();
                // A page of keys that are no objects is not the end.
                if !found.is_empty() || !more || after.is_none() {
                    return Ok(found);
                }
            }
        })
    }

    fn delete<'a>(&'a self, name: &'a ObjectName) -> Pending<'a, bool> {
        Box::pin(async move {
            self.insist_on_now()?;
            let Some(found) = self.looked_at(name).await? else { return Ok(false) };
            // A marker over it would free nothing, and hide it from whoever restores.
            if let Some(held) = lock_of(&found) {
                self.insist_on_ended(name, held).await?;
            }
            let (bucket, key) = (&self.place().container, self.place().key(name.as_str()));
            let delete = self.client().await.delete_object().bucket(bucket).key(key);
            delete.send().await.map_err(|error| refused(&format!("deleting {name}"), &error))?;
            Ok(true)
        })
    }

    fn keeps(&self) -> Pending<'_, Keeps> {
        Box::pin(async move {
            let Proof { create_only, check, .. } = self.proof().await?;
            Ok(Keeps { create_only, checked: check.is_some() })
        })
    }

    fn locking(&self) -> Pending<'_, Locking> {
        Box::pin(self.is_locking())
    }

    fn lock<'a>(&'a self, name: &'a ObjectName, lock: Lock) -> Pending<'a, Lock> {
        Box::pin(self.lock_version(name, lock))
    }

    fn probe(&self) -> Pending<'_, Probe> {
        Box::pin(self.look())
    }
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3Store({})", self.options.place)
    }
}
