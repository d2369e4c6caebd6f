//! A location in a directory: the path below the root is the object's name, and `tmp/` is the only
//! thing there that is no object.
//!
//! ```text
//!   tmp/put-<random>   written whole, fsynced     ──rename, never over anything──▶  packs/ab/<id>
//!                      locked while its writer lives            then the folder is fsynced
//! ```
//!
//! A name therefore appears at once with all its bytes or not at all, whatever is killed when, and
//! an acknowledgement follows the last fsync. Only `replace` renames over what is there. The root
//! is opened once and held, so that no call lands in the empty mount point when the disk is taken
//! away. This file is the thin asynchronous shell; the blocking work is in `directory` and its
//! neighbours.

mod beneath;
mod directory;
mod listing;
mod temporary;
mod unbuffered;

use crate::blocking::blocking;
use crate::layers::Operation;
use crate::store::{Keeps, ObjectMeta, ObjectStore, Pending, Probe, Receipt};
use crate::{ObjectName, ObjectPrefix};
use bytes::Bytes;
use core::{fmt, ops::Range};
use directory::Directory;
use holdfast_common::Result;
use std::path::Path;
use std::sync::Arc;

#[derive(Clone)]
pub struct LocalStore {
    directory: Arc<Directory>,
}

impl LocalStore {
    /// Opens a directory that exists, be it read-only, and clears what dead writers left in `tmp/`.
    pub fn open(root: &Path) -> Result<Self> {
        let directory = Directory::open(root)?;
        directory.sweep();
        Ok(Self { directory: Arc::new(directory) })
    }

    /// Opens one that may be somebody else's, and clears nothing.
    pub fn visit(root: &Path) -> Result<Self> {
        Ok(Self { directory: Arc::new(Directory::open(root)?) })
    }

    /// The same, making the directory durably first if it is not there.
    pub fn create(root: &Path) -> Result<Self> {
        beneath::make_root(root)?;
        Self::visit(root)
    }

    /// All that can be seen of the directory, for people. Where there was no `tmp/`, none stays.
    async fn look(&self) -> Result<Probe> {
        let is_new = !self.blocking(Directory::has_tmp).await?;
        let probe = self.look_inside().await;
        // Where nothing can be written nothing was made, and what was tried is what counts.
        if is_new && let Err(error) = self.blocking(Directory::remove_tmp).await {
            tracing::debug!(%error, "what was made for a trial stays");
        }
        probe
    }

    async fn look_inside(&self) -> Result<Probe> {
        let free = self.blocking(Directory::free_bytes).await?;
        let mut probe = Probe { free_bytes: Some(free), ..Probe::default() };
        let write = self.blocking(Directory::prove_create_only);
        match probe.note(Operation::Put, write).await? {
            Some(create_only) => probe.create_only = create_only,
            None => {
                probe.write_refused = probe.refused.pop().map(|(_, error)| error);
                return Ok(probe);
            }
        }
        probe.note(Operation::Get, self.blocking(Directory::prove_reading)).await?;
        let (prefix, limit) = (ObjectPrefix::all(), 1);
        let list = self.blocking(move |there| listing::page(there, &prefix, None, limit));
        probe.note(Operation::List, list).await?;
        probe.note(Operation::Delete, self.blocking(Directory::prove_deleting)).await?;
        Ok(probe)
    }

    /// Runs blocking work where it holds up nobody. Work that has begun ends even when the future
    /// is dropped, which leaves an object whole or absent.
    fn blocking<'a, T: Send + 'static>(
        &self,
        work: impl FnOnce(&Directory) -> Result<T> + Send + 'static,
    ) -> Pending<'a, T> {
        let directory = Arc::clone(&self.directory);
        Box::pin(blocking(move || work(&directory)))
    }
}

impl ObjectStore for LocalStore {
    fn put_new<'a>(&'a self, name: &'a ObjectName, bytes: Bytes) -> Pending<'a, Receipt> {
        let name = name.clone();
        self.blocking(move |directory| directory.put_new(&name, &bytes))
    }

    fn replace<'a>(&'a self, name: &'a ObjectName, bytes: Bytes) -> Pending<'a, ()> {
        let name = name.clone();
        self.blocking(move |directory| directory.replace(&name, &bytes))
    }

    fn get<'a>(&'a self, name: &'a ObjectName, bytes_max: usize) -> Pending<'a, Bytes> {
        let name = name.clone();
        self.blocking(move |directory| directory.get(&name, bytes_max).map(Bytes::from))
    }

    fn get_range<'a>(&'a self, name: &'a ObjectName, range: Range<u64>) -> Pending<'a, Bytes> {
        let name = name.clone();
        self.blocking(move |directory| directory.get_range(&name, &range).map(Bytes::from))
    }

    fn head<'a>(&'a self, name: &'a ObjectName) -> Pending<'a, Option<ObjectMeta>> {
        let name = name.clone();
        self.blocking(move |directory| directory.head(&name))
    }

    fn list<'a>(
        &'a self,
        prefix: &'a ObjectPrefix,
        after: Option<&'a ObjectName>,
        limit: usize,
    ) -> Pending<'a, Vec<ObjectMeta>> {
        let (prefix, after) = (prefix.clone(), after.cloned());
        self.blocking(move |directory| listing::page(directory, &prefix, after.as_ref(), limit))
    }

    fn delete<'a>(&'a self, name: &'a ObjectName) -> Pending<'a, bool> {
        let name = name.clone();
        self.blocking(move |directory| directory.delete(&name))
    }

    fn keeps(&self) -> Pending<'_, Keeps> {
        self.blocking(|directory| {
            let create_only = directory.prove_create_only()?;
            Ok(Keeps { create_only, ..Keeps::ALL })
        })
    }

    fn probe(&self) -> Pending<'_, Probe> {
        Box::pin(self.look())
    }
}

/// The room that is left in a directory, for those who are not root.
pub(crate) fn free_bytes(root: &Path) -> Result<u64> {
    Directory::open(root)?.free_bytes()
}

impl fmt::Debug for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalStore").field("root", &self.directory.path()).finish()
    }
}
