//! Writing one file: under no name of its own, in any order, and then all at once.
//!
//! Bytes are given by their offset in the content stream and may come from several threads. Holes
//! stay holes. [`FileWriter::finish`] refuses while bytes are missing; a writer that is dropped
//! instead leaves nothing behind.

use super::Durability;
use super::attributes::{Attributes, Handle};
use super::inside::shown;
use super::layout::Layout;
use super::nameless::Standing;
use super::target::Core;
use holdfast_common::{Code, Error, Result};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{fsync, ftruncate};
use rustix::io::{Errno, pwrite};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
            self.write_all(at, piece)?;
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
        if self.layout.end() < self.size {
            ftruncate(&self.file, self.size)
                .map_err(|errno| self.failed("make room for", errno))?;
        }
        self.attributes.apply(Handle::Open(self.file.as_fd()), &self.path, self.core.notes());
        if self.core.options().durability == Durability::EveryFile {
            fsync(&self.file).map_err(|errno| self.failed("sync", errno))?;
        }
        self.core.give_name(&self.standing, &self.file, (&self.name, &self.path))
    }

    fn write_all(&self, mut offset: u64, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            match pwrite(&self.file, bytes, offset) {
                Ok(0) => return Err(self.failed("write", Errno::IO)),
                Ok(length) => {
                    bytes = &bytes[length..];
                    offset += length as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.failed("write", errno)),
            }
        }
        Ok(())
    }

    fn failed(&self, verb: &str, errno: Errno) -> Error {
        Error::io(format!("cannot {verb} `{}`", shown(&self.path)), &errno.into())
    }
}
