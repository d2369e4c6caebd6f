//! Opening directories by name beneath an open one, and finding the way back up.
//!
//! A walk through a deep tree cannot keep every directory open. It closes those far above it and,
//! on its way back, reopens them through `..`, accepting only the very inode that it left: a
//! directory that was moved meanwhile is never mistaken for the one that stood there.

use super::status::Status;
use holdfast_seal::manifest::entry::{EntryKind, Inode};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, Result};

/// Opens a directory for listing, never through a symbolic link.
pub(crate) fn open_directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Only the owner and root may leave the access time alone.
    match openat(parent, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => openat(parent, name, flags, Mode::empty()),
        other => other,
    }
}

/// Opens a directory only to go through it: that needs no permission to list it.
pub(crate) fn pass_directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Insists that what was opened is the inode that was seen before.
pub(crate) fn same_directory(fd: OwnedFd, seen: Inode) -> Result<OwnedFd> {
    let now = Status::of_open(&fd)?;
    if now.kind == EntryKind::Directory && now.inode == seen { Ok(fd) } else { Err(Errno::STALE) }
}

/// The directory above `child`, if it is still the one that was left.
pub(crate) fn parent_of(child: impl AsFd, seen: Inode) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    same_directory(openat(child, c"..", flags, Mode::empty())?, seen)
}

/// The directory at an absolute path, part by part, if it is still the one that was left.
pub(crate) fn from_the_root(path: &[u8], seen: Inode) -> Result<OwnedFd> {
    same_directory(at_path(path)?, seen)
}

/// The directory that lies at an absolute path now, never through a symbolic link.
pub(crate) fn at_path(path: &[u8]) -> Result<OwnedFd> {
    let mut at = pass_directory(rustix::fs::CWD, b"/")?;
    for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
        at = pass_directory(at.as_fd(), part)?;
    }
    Ok(at)
}
