//! How what was made gets its name: complete, by one rename, over nothing that nobody allowed.

use super::Overwrite;
use super::attributes::Handle;
use super::inside::{InsidePath, escaped};
use super::target::{Core, failed, full, taken};
use crate::source::files::Status;
use holdfast_common::Result;
use holdfast_seal::manifest::entry::{Entry, EntryKind};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, linkat, openat, renameat, renameat_with, unlinkat,
};
use rustix::io::Errno;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Leftovers of a crashed process with our number may take as many names.
const TEMPORARY_ATTEMPTS_MAX: usize = 10_000;

/// A name that goes away again unless it was renamed.
#[derive(Debug)]
pub(super) struct Temporary {
    directory: Arc<OwnedFd>,
    name: Vec<u8>,
    gone: AtomicBool,
}

impl Temporary {
    /// It was renamed. Only for what has no other name: a rename onto another link of the same
    /// inode succeeds and leaves both.
    pub(super) fn forget(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.gone.load(Ordering::Relaxed) {
            return;
        }
        // A link may be gone by its rename already.
        let _ = unlinkat(&self.directory, &self.name, AtFlags::empty());
    }
}

impl Core {
    /// Renames what is complete to the name it was made for.
    pub(super) fn install(&self, temporary: &Temporary, name: &[u8], path: &[u8]) -> Result<()> {
        let (directory, from) = (temporary.directory.as_fd(), &temporary.name[..]);
        let renamed = match self.options().overwrite {
            Overwrite::Force => match renameat(directory, from, directory, name) {
                Err(Errno::ISDIR) => {
                    self.make_way(directory, name, path)?;
                    renameat(directory, from, directory, name)
                }
                other => other,
            },
            Overwrite::Protect => {
                match renameat_with(directory, from, directory, name, RenameFlags::NOREPLACE) {
                    // Not every filesystem can; a second link never replaces anything either.
                    Err(Errno::INVAL | Errno::NOSYS) => {
                        linkat(directory, from, directory, name, AtFlags::empty())
                            .and_then(|()| unlinkat(directory, from, AtFlags::empty()))
                    }
                    other => other,
                }
            }
        };
        renamed.map_err(|errno| match errno {
            Errno::EXIST => taken(path),
            other => failed("name", path, other),
        })
    }

    /// The directory and name for an entry that is no directory, with nothing in its way.
    pub(super) fn place_of<'a>(&self, entry: &'a Entry) -> Result<(Arc<OwnedFd>, &'a [u8])> {
        let Some((above, name)) = InsidePath::parse(&entry.path)?.split() else {
            return Err(escaped(&entry.path));
        };
        let directory = self.beneath.directory_or_new(above)?;
        self.make_way(directory.as_fd(), name, &entry.path)?;
        Ok((directory, name))
    }

    /// Refuses what must not be overwritten, and removes an empty directory that may be. Everything
    /// else is replaced by the rename.
    pub(super) fn make_way(
        &self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
    ) -> Result<()> {
        let there = match Status::of(directory, name) {
            Ok(there) => there,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(failed("look at", path, errno)),
        };
        if self.options().overwrite == Overwrite::Protect {
            return Err(taken(path));
        }
        if there.kind == EntryKind::Directory {
            self.beneath.forget(InsidePath::parse(path)?);
            return match unlinkat(directory, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(_) => Err(full(path)),
            };
        }
        Ok(())
    }

    /// Makes something under a name that nothing else has.
    pub(super) fn temporary<T>(
        &self,
        directory: &Arc<OwnedFd>,
        path: &[u8],
        make: impl Fn(&[u8]) -> rustix::io::Result<T>,
    ) -> Result<(Temporary, T)> {
        let process = std::process::id();
        for _ in 0..TEMPORARY_ATTEMPTS_MAX {
            let number = self.temporaries.fetch_add(1, Ordering::Relaxed);
            let name = format!(".holdfast-{process}-{number}").into_bytes();
            match make(&name) {
                Ok(made) => {
                    let (directory, gone) = (directory.clone(), AtomicBool::new(false));
                    return Ok((Temporary { directory, name, gone }, made));
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed("make", path, errno)),
            }
        }
        Err(failed("find a temporary name for", path, Errno::EXIST))
    }

    /// Attributes and name for what cannot be opened: links, FIFOs, sockets, devices.
    pub(super) fn finish_held(
        &self,
        entry: &Entry,
        temporary: &Temporary,
        name: &[u8],
    ) -> Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = openat(&temporary.directory, &temporary.name, flags, Mode::empty())
            .map_err(|errno| failed("hold", &entry.path, errno))?;
        let is_ours = Status::of_open(&held).is_ok_and(|status| status.kind == entry.kind);
        if !is_ours {
            return Err(failed("hold", &entry.path, Errno::STALE));
        }
        self.attributes(entry).apply(Handle::Held(held.as_fd()), &entry.path, self.notes());
        self.install(temporary, name, &entry.path)?;
        temporary.forget();
        Ok(())
    }
}
