//! What already lies where an entry belongs, looked at and not touched.
//!
//! Without leave to overwrite, an entry that is all there is not in the way, and everything else
//! is. The same look tells a dry run what a restore would write, replace or be refused, so it asks
//! here and nowhere else. Content is left to whoever can hash it.

use super::attributes::Handle;
use super::existing::ExistingFile;
use super::inside::{InsidePath, escaped};
use super::target::{Target, failed, full, taken};
use super::{Overwrite, TargetOptions, root};
use crate::source::files::{Names, Status, open_directory};
use holdfast_common::{Code, Result};
use holdfast_seal::manifest::entry::{Entry, EntryKind};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, accessat, openat, readlinkat};
use rustix::io::Errno;
use std::path::Path;
use std::sync::Arc;

/// What an entry meets at its path.
#[derive(Debug)]
pub enum Meeting {
    /// A file to compare the content with; without leave to overwrite, it has all else already.
    File(ExistingFile),
    /// Nothing, or something that it may take the place of.
    Free,
    /// What the entry says, which stays.
    Same,
}

/// What lies at an entry's name, and in which directory.
struct There<'e> {
    directory: Arc<OwnedFd>,
    name: &'e [u8],
    status: Status,
}

impl Target {
    /// Opens the directory to look at; `None` where there is none. Nothing is made.
    pub fn look(
        directory: &Path,
        options: TargetOptions,
        insist: Option<root::Insist<'_>>,
    ) -> Result<Option<Self>> {
        Ok(root::look(directory, insist)?.map(|root| Self::of(root, options)))
    }

    /// Whether it is `/` itself, whatever it was called.
    pub fn is_root(&self) -> Result<bool> {
        let root = Status::of(CWD, b"/").map_err(|errno| failed("look at", b"/", errno))?;
        Ok(self.status()?.inode == root.inode)
    }

    /// What lies where the entry belongs; an error is what a restore would be refused with.
    pub fn meet(&self, entry: &Entry) -> Result<Meeting> {
        if InsidePath::parse(&entry.path)?.is_target() {
            return Ok(Meeting::Same);
        }
        let Some(there) = self.there(entry)? else { return Ok(Meeting::Free) };
        let is_file = entry.kind == EntryKind::File && there.status.kind == EntryKind::File;
        if entry.kind == EntryKind::Directory && there.status.kind == EntryKind::Directory {
            return Ok(Meeting::Same);
        }
        if self.0.options().overwrite == Overwrite::Protect {
            if there.status.kind != entry.kind || !self.is_like(entry, &there)? {
                return Err(taken(&entry.path));
            }
            return match self.existing(entry)? {
                Some(existing) if is_file => Ok(Meeting::File(existing)),
                None if is_file => Err(taken(&entry.path)),
                _ => Ok(Meeting::Same),
            };
        }
        self.insist_on_replacing(entry, &there)?;
        let existing = if is_file { self.existing(entry)? } else { None };
        Ok(existing.map_or(Meeting::Free, Meeting::File))
    }

    /// The same for another name of what lies at `first`.
    pub fn meet_link(&self, entry: &Entry, first: &[u8]) -> Result<Meeting> {
        let Some(there) = self.there(entry)? else { return Ok(Meeting::Free) };
        let Some((above, first_name)) = InsidePath::parse(first)?.split() else {
            return Err(escaped(first));
        };
        let of_first = self
            .0
            .beneath
            .directory(above)
            .ok()
            .and_then(|above| Status::of(above.as_fd(), first_name).ok());
        if of_first.is_some_and(|first| first.inode == there.status.inode) {
            return Ok(Meeting::Same);
        }
        self.insist_on_replacing(entry, &there)?;
        Ok(Meeting::Free)
    }

    /// Whether this process may make something where the entry belongs, as far as can be told.
    pub fn insist_on_room(&self, entry: &Entry) -> Result<()> {
        let Some((above, _)) = InsidePath::parse(&entry.path)?.split() else { return Ok(()) };
        let Ok(directory) = self.0.beneath.directory(above) else { return Ok(()) };
        let wanted = Access::WRITE_OK | Access::EXEC_OK;
        accessat(&directory, c".", wanted, AtFlags::EACCESS)
            .map_err(|errno| failed("make", &entry.path, errno))
    }

    fn there<'e>(&self, entry: &'e Entry) -> Result<Option<There<'e>>> {
        let Some((above, name)) = InsidePath::parse(&entry.path)?.split() else {
            return Err(escaped(&entry.path));
        };
        let directory = match self.0.beneath.directory(above) {
            Ok(directory) => directory,
            Err(error) if error.code == Code::FileMissing => return Ok(None),
            Err(error) => return Err(error),
        };
        match Status::of(directory.as_fd(), name) {
            Ok(status) => Ok(Some(There { directory, name, status })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failed("look at", &entry.path, errno)),
        }
    }

    fn insist_on_replacing(&self, entry: &Entry, there: &There<'_>) -> Result<()> {
        if self.0.options().overwrite == Overwrite::Protect {
            return Err(taken(&entry.path));
        }
        if there.status.kind != EntryKind::Directory {
            return Ok(());
        }
        let names = open_directory(there.directory.as_fd(), there.name).map(Names::read);
        match names {
            Ok((names, None)) if names.is_empty() => Ok(()),
            _ => Err(full(&entry.path)),
        }
    }

    /// Whether everything but content is as the entry says.
    fn is_like(&self, entry: &Entry, there: &There<'_>) -> Result<bool> {
        let There { directory, name, status } = there;
        let same_size = entry.kind != EntryKind::File || status.size == entry.size;
        let same_device = entry.device.is_none_or(|device| device == status.device);
        if !same_size || !same_device || status.mtime_ns != entry.mtime_ns {
            return Ok(false);
        }
        if let Some(leads) = &entry.link_target {
            let target = readlinkat(directory, *name, Vec::new());
            let target = target.map_err(|errno| failed("look at", &entry.path, errno))?;
            if target.as_bytes() != leads.as_slice() {
                return Ok(false);
            }
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = openat(directory, *name, flags, Mode::empty())
            .map_err(|errno| failed("look at", &entry.path, errno))?;
        let is_it = Status::of_open(&held).is_ok_and(|held| held.same_content(status));
        Ok(is_it && self.0.attributes(entry).lie_on(Handle::Held(held.as_fd()), status))
    }
}
