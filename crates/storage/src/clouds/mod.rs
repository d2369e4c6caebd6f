//! A location in a container of Azure or a bucket of Google: the key is the prefix and the object's
//! name.
//!
//! ```text
//!   put ─→ proof: what does this container enforce?  (asked once)
//!       ─→ one put that must find the name free
//!            ├─ taken: read it: the same bytes are success, others a conflict
//!            └─ done: the answer says the hash of what came: ours, or the object is damaged
//!                     the answer says no hash: read back
//! ```
//!
//! No hash goes out with a put: the one that comes back was made of what came. That is stronger
//! than a server's promise to compare, for it is looked at each time. Requests are signed and sent
//! by a library for both clouds; what it does not tell is told by a [`witness`].

pub(crate) mod azure;
mod client;
pub(crate) mod gcs;
mod listing;
mod proof;
mod refusal;
mod witness;

use crate::{
    ObjectName, ObjectPrefix,
    blocking::blocking,
    place::Place,
    refusal::{check_object, check_range, check_whole, missing},
    remote::{self, Absence},
    store::{Keeps, ObjectMeta, ObjectStore, Pending, Probe, Receipt},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::{Bytes, BytesMut};
use client::Cloud;
use core::{fmt, ops::Range};
use futures::StreamExt;
use holdfast_common::{Code, Error, Result, Timestamp};
use md5::{Digest, Md5};
use object_store::{GetOptions, GetRange, GetResult, ObjectStoreExt, PutMode, path::Path};
use refusal::{Taken, absence, is_taken, may_be_past_end, refused, unidentified};
use std::sync::Arc;
use tokio::sync::OnceCell;
use witness::Echo;

pub struct CloudStore {
    scheme: &'static str,
    place: Place,
    connect: fn(&Place) -> Result<Arc<dyn Cloud>>,
    cloud: OnceCell<Arc<dyn Cloud>>,
    keeps: OnceCell<Keeps>,
}

impl CloudStore {
    /// In a container of Azure. Nothing is asked yet: one that cannot be reached says so at its
    /// first call.
    pub fn azure(text: &str) -> Result<Self> {
        Self::of("azure", azure::parse(text), azure::connect)
    }

    /// In a bucket of Google, likewise.
    pub fn gcs(text: &str) -> Result<Self> {
        Self::of("gcs", gcs::parse(text), gcs::connect)
    }

    fn of(
        scheme: &'static str,
        place: Result<Place, String>,
        connect: fn(&Place) -> Result<Arc<dyn Cloud>>,
    ) -> Result<Self> {
        let place = place.map_err(|why| Error::new(Code::UsageMalformed, why))?;
        Ok(Self { scheme, place, connect, cloud: OnceCell::new(), keeps: OnceCell::new() })
    }

    /// The client, with credentials at hand.
    async fn cloud(&self) -> Result<&dyn Cloud> {
        let cloud = self.cloud.get_or_try_init(|| self.connected()).await?;
        cloud.identify().await.map_err(|error| unidentified(&error))?;
        Ok(cloud.as_ref())
    }

    /// Keys are read from files, which may hang.
    async fn connected(&self) -> Result<Arc<dyn Cloud>> {
        let (connect, place) = (self.connect, self.place.clone());
        blocking(move || connect(&place)).await
    }

    fn path(&self, name: &ObjectName) -> Path {
        Path::from(self.place.key(name.as_str()))
    }

    async fn proven(&self) -> Result<Keeps> {
        self.keeps.get_or_try_init(|| self.prove()).await.copied()
    }

    /// Puts bytes under a key, and hears their hash; none if the key was taken.
    async fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<Option<Heard>> {
        let put = self.cloud().await?.put_opts(&Path::from(key), bytes.into(), mode.into()).await;
        match put {
            Ok(done) => Ok(Some(Heard(done.extensions.get::<Echo>().cloned()))),
            Err(error) => match is_taken(&error) {
                Taken::Yes => Ok(None),
                Taken::Perhaps if self.lies(key).await? => Ok(None),
                Taken::Perhaps | Taken::No => Err(refused(&format!("writing {key}"), &error)),
            },
        }
    }

    /// Whether something lies under the key.
    async fn lies(&self, key: &str) -> Result<bool> {
        match self.cloud().await?.head(&Path::from(key)).await {
            Ok(_) => Ok(true),
            Err(error) if self.is_absent(&error).await? => Ok(false),
            Err(error) => Err(refused(&format!("looking at {key}"), &error)),
        }
    }

    /// The error of a read: absent, or refused.
    async fn unread(&self, name: &ObjectName, error: &object_store::Error) -> Error {
        match self.is_absent(error).await {
            Ok(true) => missing(name),
            Ok(false) => refused(&format!("reading {name}"), error),
            Err(other) => other,
        }
    }

    /// An object is absent from a container that is there, and can be listed.
    async fn is_absent(&self, error: &object_store::Error) -> Result<bool> {
        match absence(error) {
            Absence::No => Ok(false),
            Absence::Perhaps => self.keys("", None, 1, None).await.map(|_| true),
            Absence::Sure => Ok(true),
        }
    }

    /// What came is what was sent: by the hash that was heard, or by reading it.
    async fn check(&self, receipt: &Receipt, bytes: &Bytes, heard: &Heard) -> Result<()> {
        match heard.is_of(bytes) {
            Some(true) => Ok(()),
            Some(false) => Err(remote::changed(receipt)),
            None => remote::confirm(self, receipt).await,
        }
    }
}

/// What the server says it took.
struct Heard(Option<Echo>);

impl Heard {
    fn is_of(&self, bytes: &[u8]) -> Option<bool> {
        let Echo(hash) = self.0.as_ref()?;
        Some(*hash == BASE64_STANDARD.encode(Md5::digest(bytes)))
    }
}

/// An option, if there, has the form that it must have.
fn option_is(
    place: &Place,
    name: &str,
    has_form: impl Fn(&str) -> bool,
    form: &str,
) -> Result<(), String> {
    match place.option(name) {
        Some(value) if !has_form(value) => Err(format!("{name} is {form}")),
        _ => Ok(()),
    }
}

/// All of a body, which must be as long as was said.
async fn whole(name: &ObjectName, found: GetResult, length: usize) -> Result<Bytes> {
    let torn = |cause: &dyn fmt::Display| {
        Error::new(Code::LocationIoFailed, format!("object {name} ended early")).cause(cause)
    };
    let (mut body, mut bytes) = (found.into_stream(), BytesMut::with_capacity(length));
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

fn meta(name: ObjectName, found: &object_store::ObjectMeta) -> ObjectMeta {
    ObjectMeta { name, length: found.size, modified: time_of(found) }
}

/// To the second: a listing may know more than a head does.
fn time_of(found: &object_store::ObjectMeta) -> Timestamp {
    let seconds = found.last_modified.timestamp();
    Timestamp::from_nanos(seconds.saturating_mul(1_000_000_000))
}

impl ObjectStore for CloudStore {
    fn put_new<'a>(&'a self, name: &'a ObjectName, bytes: Bytes) -> Pending<'a, Receipt> {
        Box::pin(async move {
            check_object(name, bytes.len())?;
            let receipt = Receipt::of(name, &bytes);
            if !self.proven().await?.create_only && self.head(name).await?.is_some() {
                return remote::compare(self, receipt).await;
            }
            let key = self.place.key(name.as_str());
            match self.put(&key, bytes.clone(), PutMode::Create).await? {
                Some(heard) => self.check(&receipt, &bytes, &heard).await.map(|()| receipt),
                None => remote::compare(self, receipt).await,
            }
        })
    }

    fn replace<'a>(&'a self, name: &'a ObjectName, bytes: Bytes) -> Pending<'a, ()> {
        Box::pin(async move {
            check_object(name, bytes.len())?;
            let put = self.cloud().await?.put(&self.path(name), bytes.clone().into()).await;
            let done = put.map_err(|error| refused(&format!("replacing {name}"), &error))?;
            let heard = Heard(done.extensions.get::<Echo>().cloned());
            self.check(&Receipt::of(name, &bytes), &bytes, &heard).await
        })
    }

    fn get<'a>(&'a self, name: &'a ObjectName, bytes_max: usize) -> Pending<'a, Bytes> {
        Box::pin(async move {
            let found = match self.cloud().await?.get(&self.path(name)).await {
                Ok(found) => found,
                Err(error) => return Err(self.unread(name, &error).await),
            };
            let length = check_whole(name, found.meta.size, bytes_max)?;
            whole(name, found, length).await
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
            let part = Some(GetRange::Bounded(range.clone()));
            let asked = GetOptions { range: part, ..GetOptions::default() };
            let found = match self.cloud().await?.get_opts(&self.path(name), asked).await {
                Ok(found) => found,
                Err(error) if may_be_past_end(&error) => {
                    let meta = self.head(name).await?.ok_or_else(|| missing(name))?;
                    check_range(name, &range, meta.length)?;
                    return Err(refused(&format!("reading {name}"), &error));
                }
                Err(error) => return Err(self.unread(name, &error).await),
            };
            check_range(name, &range, found.meta.size)?;
            whole(name, found, wanted).await
        })
    }

    fn head<'a>(&'a self, name: &'a ObjectName) -> Pending<'a, Option<ObjectMeta>> {
        Box::pin(async move {
            match self.cloud().await?.head(&self.path(name)).await {
                Ok(found) => Ok(Some(meta(name.clone(), &found))),
                Err(error) if self.is_absent(&error).await? => Ok(None),
                Err(error) => Err(refused(&format!("looking at {name}"), &error)),
            }
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a ObjectPrefix,
        after: Option<&'a ObjectName>,
        limit: usize,
    ) -> Pending<'a, Vec<ObjectMeta>> {
        Box::pin(self.page(prefix, after, limit))
    }

    fn delete<'a>(&'a self, name: &'a ObjectName) -> Pending<'a, bool> {
        Box::pin(async move {
            match self.cloud().await?.delete(&self.path(name)).await {
                Ok(()) => Ok(true),
                Err(error) if self.is_absent(&error).await? => Ok(false),
                Err(error) => Err(refused(&format!("deleting {name}"), &error)),
            }
        })
    }

    fn keeps(&self) -> Pending<'_, Keeps> {
        Box::pin(self.proven())
    }

    fn probe(&self) -> Pending<'_, Probe> {
        Box::pin(self.look())
    }
}

impl fmt::Debug for CloudStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloudStore({}:{})", self.scheme, self.place)
    }
}
