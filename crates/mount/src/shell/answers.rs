//! What the tree answers, in the kernel's words.
//!
//! Points do not change: what the kernel was told of them it may believe for a day, and what it has
//! read of a file for as long as it likes. Of the list of points it believes everything for a
//! second.

use crate::{
    nodes::{Attributes, Place},
    tree::{Answer, Refused},
};
use core::time::Duration;
use fuser::{Errno, FileAttr, FileType, INodeNo, ReplyData, ReplyStatfs, ReplyXattr};
use holdfast_seal::manifest::entry::EntryKind;
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) fn answer(read: Answer<Vec<u8>>, reply: ReplyData) {
    match read {
        Ok(bytes) => reply.data(&bytes),
        Err(refused) => reply.error(errno(refused)),
    }
}

/// Size zero asks how long it is.
pub(super) fn sized(value: &[u8], size: u32, reply: ReplyXattr) {
    match u32::try_from(value.len()) {
        Ok(length) if size == 0 => reply.size(length),
        Ok(length) if length <= size => reply.data(value),
        _ => reply.error(Errno::ERANGE),
    }
}

pub(super) fn errno(refused: Refused) -> Errno {
    match refused {
        Refused::Crowded => Errno::ENFILE,
        Refused::Missing => Errno::ENOENT,
        Refused::NoAttribute => Errno::ENODATA,
        Refused::NotADirectory => Errno::ENOTDIR,
        Refused::NotReadable => Errno::EINVAL,
        Refused::Unreadable => Errno::EIO,
    }
}

/// For how long the kernel need not ask again.
pub(super) fn believed(place: &Place) -> Duration {
    match place {
        // The top of a point too: which ones are there changes.
        Place::Entry { path, .. } if path.len() > 1 => A_DAY,
        _ => A_MOMENT,
    }
}

pub(super) fn attributes(number: u64, known: &Attributes) -> FileAttr {
    let (mtime, ctime) = (moment(known.mtime_ns), moment(known.ctime_ns));
    FileAttr {
        ino: INodeNo(number),
        size: known.size,
        blocks: known.bytes.div_ceil(512),
        atime: mtime,
        mtime,
        ctime,
        crtime: UNIX_EPOCH,
        kind: kind(known.kind),
        perm: (known.mode & 0o7777) as u16,
        nlink: known.names,
        uid: known.uid,
        gid: known.gid,
        rdev: known.device.map_or(0, |device| encoded(device.major, device.minor)),
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

/// Entries and bytes of all that is there; nothing is free.
pub(super) fn totals((entries, bytes): (u64, u64), reply: ReplyStatfs) {
    let blocks = bytes.div_ceil(u64::from(BLOCK_BYTES));
    reply.statfs(blocks, 0, 0, entries, 0, BLOCK_BYTES, NAME_BYTES_MAX, BLOCK_BYTES);
}

/// As the kernel writes device numbers into 32 bits.
const fn encoded(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

fn moment(nanos: i64) -> SystemTime {
    let span = Duration::from_nanos(nanos.unsigned_abs());
    if nanos < 0 { UNIX_EPOCH - span } else { UNIX_EPOCH + span }
}

pub(super) const fn kind(kind: EntryKind) -> FileType {
    match kind {
        EntryKind::BlockDevice => FileType::BlockDevice,
        EntryKind::CharDevice => FileType::CharDevice,
        EntryKind::Directory => FileType::Directory,
        EntryKind::Fifo => FileType::NamedPipe,
        EntryKind::File => FileType::RegularFile,
        EntryKind::Socket => FileType::Socket,
        EntryKind::Symlink => FileType::Symlink,
    }
}

const A_DAY: Duration = Duration::from_secs(24 * 3600);
const A_MOMENT: Duration = Duration::from_secs(1);
const BLOCK_BYTES: u32 = 4096;
const NAME_BYTES_MAX: u32 = 255;
