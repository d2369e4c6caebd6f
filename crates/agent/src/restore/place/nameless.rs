//! A file that has no name until it is complete.
//!
//! Where the file system can, a file is made in its directory without any name, and gets the one it
//! was made for by a link: that costs a third less than a temporary name and a rename, and a killed
//! restore leaves nothing behind. A link never replaces anything; what may be replaced still goes
//! by a temporary name and a rename, so that the name always leads to the old file or to the whole
//! of the new one. Where there is no such thing, a temporary name stands in.

use super::Overwrite;
use super::target::{Core, Temporary, failed, taken};
use holdfast_common::Result;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat};
use rustix::io::Errno;
use std::sync::Arc;

/// How a file that is being written can be found.
#[derive(Debug)]
pub(super) enum Standing {
    Nameless(Arc<OwnedFd>),
    Temporary(Temporary),
}

impl Core {
    /// Opens a new file in the directory, to be written by its owner only.
    pub(super) fn new_file(
        &self,
        directory: &Arc<OwnedFd>,
        path: &[u8],
    ) -> Result<(Standing, OwnedFd)> {
        let owner_only = Mode::RUSR | Mode::WUSR;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        if self.links_open_files {
            let nameless = openat(directory, c".", flags | OFlags::TMPFILE, owner_only);
            if let Ok(file) = nameless {
                return Ok((Standing::Nameless(directory.clone()), file));
            }
            // Whatever is wrong is told of the other way, if it is wrong there too.
        }
        let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let (temporary, file) = self.temporary(directory, path, |temporary| {
            openat(directory, temporary, flags, owner_only)
        })?;
        Ok((Standing::Temporary(temporary), file))
    }

    /// Gives what is complete the name it was made for.
    pub(super) fn give_name(
        &self,
        standing: &Standing,
        file: &OwnedFd,
        (name, path): (&[u8], &[u8]),
    ) -> Result<()> {
        let directory = match standing {
            Standing::Temporary(temporary) => return self.give_last_name(temporary, name, path),
            Standing::Nameless(directory) => directory,
        };
        match link_open(file, directory, name) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) if self.options().overwrite == Overwrite::Force => {
                let link = |temporary: &[u8]| link_open(file, directory, temporary);
                let (temporary, ()) = self.temporary(directory, path, link)?;
                self.give_last_name(&temporary, name, path)
            }
            Err(Errno::EXIST) => Err(taken(path)),
            Err(errno) => Err(failed("name", path, errno)),
        }
    }

    fn give_last_name(&self, temporary: &Temporary, name: &[u8], path: &[u8]) -> Result<()> {
        self.install(temporary, name, path)?;
        temporary.forget();
        Ok(())
    }
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
