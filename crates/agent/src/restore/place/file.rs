//! Writing one file: under no name of its own, in any order, and then all at once.
//!
//! Bytes are given by their offset in the content stream and may come from several threads. Holes
//! stay holes. [`FileWriter::finish`] refuses while bytes are missing; a writer that is dropped
//! instead leaves nothing behind.

use super::Durability;
use super::attributes::{Attributes, Handle};
use super::inside::shown;
use super::layout::Layout;
use super::nameless::{Naming, Standing, write_all};
use super::notes::Notes;
use super::target::Core;
use holdfast_common::{Code, Error, Result};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{fsync, ftruncate};
use rustix::io::Errno;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Debug)]
pub struct FileWriter {
    pub(super) core: Arc<Core>,
    pub(super) file: OwnedFd,
    pub(super) standing: Standing,
    pub(super) name: Vec<u8>,
    pub(super) path: Vec<u8>,
    pub(super) size: u64,
    pub(super) layout: Layout,
    pub(super) attributes: Attributes,
    pub(super) written: AtomicU64,
}

impl FileWriter {
    /// How many bytes the content stream has.
    pub fn stream_length(&self) -> u64 {
        self.layout.length()
    }

    /// Writes bytes of the content stream. Each byte of it is to be written once.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let places = self.layout.places(offset, bytes.len() as u64).ok_or_else(|| {
            let message =
                format!("the content of `{}` is longer than its entry", shown(&self.path));
            Error::new(Code::ManifestDamaged, message)
        })?;
        let mut rest = bytes;
        for (at, length) in places {
            // The pieces add up to the slice, so each fits into memory.
            let (piece, after) = rest.split_at(usize::try_from(length).unwrap_or(rest.len()));
            write_all(&self.file, at, piece).map_err(|errno| self.failed("write", errno))?;
            rest = after;
        }
        self.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Sets the attributes and gives the file its name.
    pub fn finish(self) -> Result<()> {
        let written = self.written.load(Ordering::Relaxed);
        if written != self.layout.length() {
            return Err(Error::new(
                Code::InternalBug,
                format!(
                    "`{}` has {} bytes of content, but {written} were written",
                    shown(&self.path),
                    self.layout.length(),
                ),
            ));
        }
        self.complete(&self.file, self.core.notes())?;
        let place = (&self.name[..], &self.path[..]);
        let refused = match self.core.give_name(&self.standing, &self.file, place)? {
            Naming::Given => return Ok(()),
            Naming::Refused(directory) => directory,
        };
        let copied = self.core.copy_under_a_name(&self.file, &self.layout, refused, &self.path);
        let (temporary, copy) = copied?;
        // What could not be set is noted already.
        self.complete(&copy, &Mutex::default())?;
        self.core.give_last_name(&temporary, &self.name, &self.path)
    }

    /// All that a file is beside its bytes and its name.
    fn complete(&self, file: &OwnedFd, notes: &Mutex<Notes>) -> Result<()> {
        if self.layout.end() < self.size {
            ftruncate(file, self.size).map_err(|errno| self.failed("make room for", errno))?;
        }
        self.attributes.apply(Handle::Open(file.as_fd()), &self.path, notes);
        if self.core.options().durability == Durability::EveryFile {
            fsync(file).map_err(|errno| self.failed("sync", errno))?;
        }
        Ok(())
    }

    fn failed(&self, verb: &str, errno: Errno) -> Error {
        Error::io(format!("cannot {verb} `{}`", shown(&self.path)), &errno.into())
    }
}
