//! What the kernel says of one inode, in our own words, taken in one call and never followed
//! through a symbolic link.
//!
//! Times are nanoseconds since 1970 and saturate at the years 1677 and 2262. Numbers of devices
//! are packed as the kernel's `makedev` does, so that they compare as one value.

use holdfast_seal::manifest::entry::{Device, EntryKind, Inode};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, FileType, Statx, StatxAttributes, StatxFlags, StatxTimestamp, statx};
use rustix::io::{Errno, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    pub kind: EntryKind,
    /// The lower 12 bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub links: u32,
    pub size: u64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
    pub inode: Inode,
    /// What a device node stands for.
    pub device: Device,
    /// The root of a mount, bind mounts included, where the kernel can tell.
    pub mount_root: bool,
}

impl Status {
    /// Of the name in the directory; a symbolic link is itself.
    pub fn of(directory: BorrowedFd<'_>, name: &[u8]) -> Result<Self> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        Self::from_statx(&statx(directory, name, flags, StatxFlags::BASIC_STATS)?)
    }

    /// Of what is open.
    pub fn of_open(fd: impl AsFd) -> Result<Self> {
        Self::from_statx(&statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?)
    }

    /// Whether nothing about the content moved between two looks at it.
    pub fn same_content(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.inode == other.inode
            && self.size == other.size
            && self.mtime_ns == other.mtime_ns
            && self.ctime_ns == other.ctime_ns
    }

    fn from_statx(raw: &Statx) -> Result<Self> {
        Ok(Self {
            kind: kind_of(u32::from(raw.stx_mode)).ok_or(Errno::INVAL)?,
            mode: u32::from(raw.stx_mode) & 0o7777,
            uid: raw.stx_uid,
            gid: raw.stx_gid,
            links: raw.stx_nlink,
            size: raw.stx_size,
            mtime_ns: nanoseconds(&raw.stx_mtime),
            ctime_ns: nanoseconds(&raw.stx_ctime),
            inode: Inode {
                device: rustix::fs::makedev(raw.stx_dev_major, raw.stx_dev_minor),
                number: raw.stx_ino,
            },
            device: Device { major: raw.stx_rdev_major, minor: raw.stx_rdev_minor },
            mount_root: raw.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
        })
    }
}

fn kind_of(mode: u32) -> Option<EntryKind> {
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile => Some(EntryKind::File),
        FileType::Directory => Some(EntryKind::Directory),
        FileType::Symlink => Some(EntryKind::Symlink),
        FileType::Fifo => Some(EntryKind::Fifo),
        FileType::Socket => Some(EntryKind::Socket),
        FileType::CharacterDevice => Some(EntryKind::CharDevice),
        FileType::BlockDevice => Some(EntryKind::BlockDevice),
        _ => None,
    }
}

fn nanoseconds(time: &StatxTimestamp) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(time.tv_nsec))
}
