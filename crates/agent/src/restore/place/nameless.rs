//! A file that has no name until it is complete.
//!
//! Where the file system can, a file is made in its directory without any name, and gets the one it
//! was made for by a link: that costs a third less than a temporary name and a rename, and a killed
//! restore leaves nothing behind. A link never replaces anything; what may be replaced still goes
//! by a temporary name and a rename, so that the name always leads to the old file or to the whole
//! of the new one. Where there is no such thing, a temporary name stands in.
//!
//! Whoever gave a file away may not be allowed to link it any more, though renaming it would have
//! been fine. What is refused then is copied, and later files have a name from the start.

use super::Overwrite;
use super::layout::Layout;
use super::naming::Temporary;
use super::target::{Core, failed, taken};
use holdfast_common::{Error, Result};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat};
use rustix::io::{Errno, pread, pwrite};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How a file that is being written can be found.
#[derive(Debug)]
pub(super) enum Standing {
    Nameless(Arc<OwnedFd>),
    Temporary(Temporary),
}

/// What became of a name that was asked for.
#[must_use]
pub(super) enum Naming<'a> {
    Given,
    /// The file cannot be linked, whatever the name: a copy of it is to be made in the directory.
    Refused(&'a Arc<OwnedFd>),
}

impl Core {
    /// Opens a new file in the directory, to be written by its owner only.
    pub(super) fn new_file(
        &self,
        directory: &Arc<OwnedFd>,
        path: &[u8],
    ) -> Result<(Standing, OwnedFd)> {
        if self.links_open_files.load(Ordering::Relaxed) {
            let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
            let nameless = openat(directory, c".", flags, OWNER_ONLY);
            if let Ok(file) = nameless {
                return Ok((Standing::Nameless(directory.clone()), file));
            }
            // Whatever is wrong is told of the other way, if it is wrong there too.
        }
        let (temporary, file) = self.new_named_file(directory, path)?;
        Ok((Standing::Temporary(temporary), file))
    }

    /// A file of our own in the target, which goes when it is closed.
    pub(super) fn file_without_a_name(&self) -> Result<OwnedFd> {
        let root = self.beneath.root();
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        if let Ok(file) = openat(root, c".", flags | OFlags::TMPFILE, OWNER_ONLY) {
            return Ok(file);
        }
        let new = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let root = Arc::new(root.try_clone_to_owned().map_err(|e| Error::io("opening", &e))?);
        // The name goes with what is returned beside the file.
        let (_name, file) =
            self.temporary(&root, b"/", |name| openat(&root, name, new, OWNER_ONLY))?;
        Ok(file)
    }

    fn new_named_file(
        &self,
        directory: &Arc<OwnedFd>,
        path: &[u8],
    ) -> Result<(Temporary, OwnedFd)> {
        let new = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | new;
        self.temporary(directory, path, |name| openat(directory, name, flags, OWNER_ONLY))
    }

    /// Gives what is complete the name it was made for.
    pub(super) fn give_name<'a>(
        &self,
        standing: &'a Standing,
        file: &OwnedFd,
        (name, path): (&[u8], &[u8]),
    ) -> Result<Naming<'a>> {
        let directory = match standing {
            Standing::Temporary(temporary) => {
                self.give_last_name(temporary, name, path)?;
                return Ok(Naming::Given);
            }
            Standing::Nameless(directory) => directory,
        };
        match link_open(file, directory, name) {
            Ok(()) => {}
            Err(Errno::EXIST) if self.options().overwrite == Overwrite::Force => {
                let link = |temporary: &[u8]| link_open(file, directory, temporary);
                let (temporary, ()) = self.temporary(directory, path, link)?;
                self.give_last_name(&temporary, name, path)?;
            }
            Err(Errno::EXIST) => return Err(taken(path)),
            // Whatever else is wrong is told of the other way here, too.
            Err(_) => return Ok(Naming::Refused(directory)),
        }
        Ok(Naming::Given)
    }

    pub(super) fn give_last_name(
        &self,
        temporary: &Temporary,
        name: &[u8],
        path: &[u8],
    ) -> Result<()> {
        self.install(temporary, name, path)?;
        temporary.forget();
        Ok(())
    }

    /// The content of a file that may not be linked, in one that can be renamed.
    pub(super) fn copy_under_a_name(
        &self,
        file: &OwnedFd,
        layout: &Layout,
        directory: &Arc<OwnedFd>,
        path: &[u8],
    ) -> Result<(Temporary, OwnedFd)> {
        self.links_open_files.store(false, Ordering::Relaxed);
        let (temporary, copy) = self.new_named_file(directory, path)?;
        for range in layout.ranges() {
            copy_range(file, &copy, (range.offset, range.length))
                .map_err(|errno| failed("copy", path, errno))?;
        }
        Ok((temporary, copy))
    }
}

fn copy_range(
    from: &OwnedFd,
    to: &OwnedFd,
    (mut at, length): (u64, u64),
) -> rustix::io::Result<()> {
    let end = at + length;
    let mut piece = vec![0; COPY_BYTES];
    while at < end {
        let wanted = COPY_BYTES.min(usize::try_from(end - at).unwrap_or(COPY_BYTES));
        let held = match pread(from, &mut piece[..wanted], at) {
            Ok(0) => return Err(Errno::IO),
            Ok(held) => held,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        };
        write_all(to, at, &piece[..held])?;
        at += held as u64;
    }
    Ok(())
}

/// Writes all of the bytes, there.
pub(super) fn write_all(file: &OwnedFd, mut at: u64, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match pwrite(file, bytes, at) {
            Ok(0) => return Err(Errno::IO),
            Ok(length) => {
                bytes = &bytes[length..];
                at += length as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Whether this process sees its own descriptors, by which it can link what it has open.
pub(super) fn sees_descriptors() -> bool {
    std::path::Path::new(DESCRIPTORS).is_dir()
}

fn link_open(file: &OwnedFd, directory: &OwnedFd, name: &[u8]) -> rustix::io::Result<()> {
    match linkat(file, c"", directory, name, AtFlags::EMPTY_PATH) {
        // Not everybody may, on every kernel.
        Err(Errno::NOENT) => {
            let path = format!("{DESCRIPTORS}/{}", file.as_raw_fd());
            linkat(CWD, path, directory, name, AtFlags::SYMLINK_FOLLOW)
        }
        linked => linked,
    }
}

const DESCRIPTORS: &str = "/proc/self/fd";
const OWNER_ONLY: Mode = Mode::RUSR.union(Mode::WUSR);
const COPY_BYTES: usize = 64 << 10;
