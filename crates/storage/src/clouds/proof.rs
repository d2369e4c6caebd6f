//! What a container is seen to do, before anything relies on it.
//!
//! ```text
//!   create-only   writers race for a name: of each round one wins, and nobody later
//!   checked       the answer to a put says the hash of what was sent
//! ```
//!
//! Whatever is written for it lies below `tmp/`, where no object can be, and is deleted again.
//! Versions and locks are not asked for: the library has no call for them.

use super::{
    CloudStore,
    refusal::{absence, refused},
    time_of,
};
use crate::{
    layers::Operation,
    remote::{Absence, Trial, scratch, writes_once},
    store::{Keeps, Pending, Probe},
};
use bytes::Bytes;
use holdfast_common::{Code, Error, Result, Timestamp};
use object_store::{ObjectStoreExt, PutMode, path::Path};

const TRIED: &[u8] = b"what is tried here";

impl Trial for CloudStore {
    fn create<'a>(&'a self, key: &'a str, bytes: Bytes) -> Pending<'a, bool> {
        Box::pin(async move { Ok(self.put(key, bytes, PutMode::Create).await?.is_some()) })
    }

    fn forget<'a>(&'a self, key: &'a str) -> Pending<'a, ()> {
        Box::pin(async move {
            match self.cloud().await?.delete(&Path::from(key)).await {
                Ok(()) => Ok(()),
                Err(error) if absence(&error) != Absence::No => Ok(()),
                Err(error) => Err(refused("deleting what was tried", &error)),
            }
        })
    }
}

impl CloudStore {
    /// What puts rely on.
    pub(super) async fn prove(&self) -> Result<Keeps> {
        let create_only = writes_once(self, &self.place).await?;
        let key = scratch(&self.place);
        let heard = self.put(&key, Bytes::from_static(TRIED), PutMode::Create).await?;
        self.forget(&key).await?;
        let checked = heard.and_then(|heard| heard.is_of(TRIED)) == Some(true);
        Ok(Keeps { create_only, checked })
    }

    /// When what was tried was written; it must read as it was.
    async fn tried(&self, key: &str) -> Result<Timestamp> {
        let got = self.cloud().await?.get(&Path::from(key)).await;
        let found = got.map_err(|error| refused("reading what was tried", &error))?;
        let written = time_of(&found.meta);
        let bytes = found.bytes().await.map_err(|error| refused("reading", &error))?;
        if bytes == TRIED {
            return Ok(written);
        }
        Err(Error::new(Code::ObjectDamaged, "what was tried reads as other bytes"))
    }

    /// All that can be seen of the container, for people.
    pub(super) async fn look(&self) -> Result<Probe> {
        let mut probe = Probe::default();
        let key = scratch(&self.place);
        let put = self.put(&key, Bytes::from_static(TRIED), PutMode::Create);
        if probe.note(Operation::Put, Box::pin(put)).await?.is_none() {
            probe.write_refused = probe.refused.pop().map(|(_, error)| error);
            return Ok(probe);
        }
        // What was written just now was written at the time that it is there.
        probe.now = probe.note(Operation::Get, Box::pin(self.tried(&key))).await?;
        probe.note(Operation::List, Box::pin(self.keys("tmp/", None, 1, None))).await?;
        if probe.note(Operation::Delete, self.forget(&key)).await?.is_none() {
            // What is tried further could not be taken away again.
            return Ok(probe);
        }
        let keeps = self.prove().await?;
        (probe.create_only, probe.checked) = (keeps.create_only, Some(keeps.checked));
        Ok(probe)
    }
}
