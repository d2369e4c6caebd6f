//! An object that is not one yet: a file in `tmp/` on its way to its name.
//!
//! Its writer holds a lock on it, so a sweep can tell the leftovers of the dead from the work of
//! the living, on this host and for any number of processes that share the location. The file is
//! removed when it is dropped before it was published.

use super::beneath::{self, FOLDER_MODE};
use super::directory::SyncFile;
use super::unbuffered;
use crate::name::TMP;
use crate::refusal;
use holdfast_common::{Code, Entropy, Error, Result, SystemEntropy};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const MARK: &str = "put-";
const MARK_RANDOM_BYTES: usize = 16;
/// Each costs a few system calls; a sweep passes once per opening of the location.
const CREATE_ATTEMPTS_MAX: usize = 64;
const FILE_MODE: Mode = Mode::from_raw_mode(0o640);

pub(super) struct Temporary {
    /// Held for its lock.
    file: File,
    folder: OwnedFd,
    name: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Published {
    Stored,
    /// Something has the name already; nothing was changed.
    Taken,
    /// The file or the folder is gone, by another's hand or without locks: write it again.
    Swept,
}

impl Temporary {
    /// Writes the bytes and makes them durable, under a name of no meaning.
    pub(super) fn write(root: BorrowedFd<'_>, bytes: &[u8], sync: SyncFile) -> Result<Self> {
        let refused = |errno| refusal::errno("writing a temporary file in the location", errno);
        let folder = open_tmp(root).map_err(refused)?;
        let (file, name) = create_locked(&folder)?;
        let this = Self { file, folder, name };
        unbuffered::write_all(&this.file, bytes)
            .map_err(|error| refusal::io("writing a temporary file in the location", &error))?;
        sync(this.file.as_fd()).map_err(|errno| {
            refusal::errno("making a temporary file in the location durable", errno)
        })?;
        Ok(this)
    }

    /// Gives the file its name, if nothing has it. The folder is not synced here.
    pub(super) fn publish(&self, to: BorrowedFd<'_>, name: &str) -> Result<Published> {
        let flags = RenameFlags::NOREPLACE;
        let moved = match rustix::fs::renameat_with(&self.folder, &self.name, to, name, flags) {
            // Network file systems: a link is as exclusive, and the old name goes with the drop.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                rustix::fs::linkat(&self.folder, &self.name, to, name, AtFlags::empty())
            }
            moved => moved,
        };
        published(moved)
    }

    /// Gives the file its name, in place of the object that has it. A folder stays what it is.
    pub(super) fn publish_over(&self, to: BorrowedFd<'_>, name: &str) -> Result<Published> {
        published(rustix::fs::renameat(&self.folder, &self.name, to, name))
    }

    /// What was written is read back by its name.
    pub(super) fn prove_reading(&self, bytes: &[u8]) -> Result<()> {
        let refused = |errno| refusal::errno("reading a temporary file in the location", errno);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, &self.name, flags, Mode::empty());
        let (file, mut found) = (File::from(file.map_err(refused)?), Vec::new());
        let read = file.take(bytes.len() as u64 + 1).read_to_end(&mut found);
        read.map_err(|error| refusal::io("reading a temporary file in the location", &error))?;
        if found == bytes {
            return Ok(());
        }
        let message = "a temporary file in the location reads as other bytes";
        Err(Error::new(Code::LocationIoFailed, message))
    }

    /// Removes it, and says whether that worked.
    pub(super) fn remove(self) -> Result<()> {
        let refused = |errno| refusal::errno("deleting a temporary file in the location", errno);
        rustix::fs::unlinkat(&self.folder, &self.name, AtFlags::empty()).map_err(refused)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is nothing of this name, which is as it should be.
        let _ = rustix::fs::unlinkat(&self.folder, &self.name, AtFlags::empty());
    }
}

fn published(moved: rustix::io::Result<()>) -> Result<Published> {
    match moved {
        Ok(()) => Ok(Published::Stored),
        Err(Errno::EXIST | Errno::ISDIR) => Ok(Published::Taken),
        Err(Errno::NOENT) => Ok(Published::Swept),
        Err(errno) => Err(refusal::errno("giving an object its name", errno)),
    }
}

/// Two writes to one name: the second must be refused. Nothing leaves `tmp/`.
pub(super) fn prove_create_only(root: BorrowedFd<'_>, sync: SyncFile) -> Result<bool> {
    let first = Temporary::write(root, b"probe", sync)?;
    let second = Temporary::write(root, b"probe", sync)?;
    match second.publish(first.folder.as_fd(), &first.name)? {
        Published::Taken => Ok(true),
        Published::Stored => Ok(false),
        Published::Swept => {
            Err(Error::new(Code::LocationIoFailed, "a file in the location's tmp/ vanished"))
        }
    }
}

/// Removes what dead writers left; says how many files. Whatever is not ours is left alone.
pub(super) fn sweep(root: BorrowedFd<'_>) -> rustix::io::Result<usize> {
    let folder = match beneath::open_folder(root, TMP) {
        Ok(folder) => folder,
        Err(Errno::NOENT) => return Ok(0),
        Err(errno) => return Err(errno),
    };
    let mut swept = 0;
    for entry in rustix::fs::Dir::read_from(&folder)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().ok().filter(|name| is_ours(name)) else {
            continue;
        };
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::openat(&folder, name, flags, Mode::empty()) else { continue };
        let dead = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        if dead && rustix::fs::unlinkat(&folder, name, AtFlags::empty()).is_ok() {
            swept += 1;
        }
    }
    Ok(swept)
}

/// Between its making and its lock a sweep may take the file for a leftover. Once it is locked and
/// still has its name no sweep will, so the check comes before the first byte is written.
fn create_locked(folder: &OwnedFd) -> Result<(File, String)> {
    let refused = |errno| refusal::errno("making a temporary file in the location", errno);
    // Not the injected entropy: a name that lives for a moment is not worth repeating.
    let entropy: &dyn Entropy = &SystemEntropy;
    for _ in 0..CREATE_ATTEMPTS_MAX {
        let name = format!("{MARK}{}", hex::encode(entropy.array::<MARK_RANDOM_BYTES>()));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(folder, &name, flags, FILE_MODE).map_err(refused)?;
        // A file system without locks leaves it unlocked; there a sweep cannot lock it either.
        let lock = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
        let named = rustix::fs::fstat(&file).map_err(refused)?.st_nlink > 0;
        if lock != Err(Errno::WOULDBLOCK) && named {
            return Ok((File::from(file), name));
        }
    }
    let message = "temporary files in the location are swept away as fast as they are made";
    Err(Error::new(Code::LocationIoFailed, message))
}

fn is_ours(name: &str) -> bool {
    name.strip_prefix(MARK).is_some_and(|rest| {
        rest.len() == MARK_RANDOM_BYTES * 2 && rest.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

pub(super) fn has_tmp(root: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    match rustix::fs::statat(root, TMP, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Only when it is empty, or gone.
pub(super) fn remove_tmp(root: BorrowedFd<'_>) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(root, TMP, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn open_tmp(root: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    match beneath::open_folder(root, TMP) {
        Err(Errno::NOENT) => {}
        opened => return opened,
    }
    match rustix::fs::mkdirat(root, TMP, FOLDER_MODE) {
        Ok(()) | Err(Errno::EXIST) => beneath::open_folder(root, TMP),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn files(root: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(root.join(TMP)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_sweep_takes_the_leftovers_of_the_dead_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = beneath::open_root(dir.path()).unwrap();
        assert_eq!(sweep(root.as_fd()).unwrap(), 0, "no tmp/ yet");
        let living = Temporary::write(root.as_fd(), b"living", beneath::sync).unwrap();
        let dead = format!("{MARK}{}", "0".repeat(32));
        let foreign = ["notes.txt", "put-short", "put-zz"];
        for name in foreign.iter().chain([&dead.as_str()]) {
            std::fs::write(dir.path().join(TMP).join(name), b"left").unwrap();
        }
        std::fs::create_dir(dir.path().join(TMP).join(format!("{MARK}{}", "1".repeat(32))))
            .unwrap();

        assert_eq!(sweep(root.as_fd()).unwrap(), 1);
        let left = files(dir.path());
        assert!(left.contains(&living.name) && !left.contains(&dead), "{left:?}");
        assert_eq!(left.len(), 1 + foreign.len() + 1, "{left:?}");
        drop(living);
        assert_eq!(files(dir.path()).len(), foreign.len() + 1);
    }

    #[test]
    fn publishing_never_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let root = beneath::open_root(dir.path()).unwrap();
        let write = |bytes| Temporary::write(root.as_fd(), bytes, beneath::sync).unwrap();
        assert_eq!(write(b"1").publish(root.as_fd(), "a").unwrap(), Published::Stored);
        assert_eq!(write(b"2").publish(root.as_fd(), "a").unwrap(), Published::Taken);
        assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"1");
        assert!(prove_create_only(root.as_fd(), beneath::sync).unwrap());
        assert!(files(dir.path()).is_empty());
    }

    #[test]
    fn a_file_that_was_swept_away_is_told_from_a_taken_name() {
        let dir = tempfile::tempdir().unwrap();
        let root = beneath::open_root(dir.path()).unwrap();
        let temporary = Temporary::write(root.as_fd(), b"1", beneath::sync).unwrap();
        std::fs::remove_file(dir.path().join(TMP).join(&temporary.name)).unwrap();
        assert_eq!(temporary.publish(root.as_fd(), "a").unwrap(), Published::Swept);
    }
}
