//! What the kernel says of one inode, in our own words, taken in one call and never followed
//! through a symbolic link.
//!
//! Times are nanoseconds since 1970 and saturate at the years 1677 and 2262. Numbers of devices
//! are packed as the kernel's `makedev` does, so that they compare as one value.

use core::hash::Hash;
use core::mem::discriminant;
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
    /// When the inode was made, where the filesystem knows: a number that is used again differs.
    pub birth_ns: Option<i64>,
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
        Self::from_statx(&statx(directory, name, flags, WANTED)?)
    }

    /// Of what is open.
    pub fn of_open(fd: impl AsFd) -> Result<Self> {
        Self::from_statx(&statx(fd, c"", AtFlags::EMPTY_PATH, WANTED)?)
    }

    /// Whether nothing about the content moved between two looks at it.
    pub fn same_content(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.inode == other.inode
            && self.size == other.size
            && self.mtime_ns == other.mtime_ns
            && self.ctime_ns == other.ctime_ns
    }

    /// Whether both are the same inode, and not another one that has its number by now.
    pub fn same_inode(&self, other: &Self) -> bool {
        self.inode == other.inode && self.birth_ns == other.birth_ns
    }

    /// Whether one path's content may stand for the other's. A link that comes or goes moves the
    /// ctime, so that it counts only where nothing else tells a number that is used again.
    pub fn same_link(&self, other: &Self) -> bool {
        self.link_identity() == other.link_identity()
    }

    /// What is equal for paths that are [`Self::same_link`].
    pub fn link_identity(&self) -> impl Hash + PartialEq {
        let Self { inode, birth_ns, kind, size, mtime_ns, .. } = *self;
        let otherwise = birth_ns.is_none().then_some(self.ctime_ns);
        (inode.device, inode.number, birth_ns, discriminant(&kind), size, mtime_ns, otherwise)
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
            birth_ns: (raw.stx_mask & StatxFlags::BTIME.bits() != 0)
                .then(|| nanoseconds(&raw.stx_btime)),
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

const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);
