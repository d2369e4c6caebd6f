//! What an inode has beside its content, and putting it there.
//!
//! The order matters: the owner first, since changing it clears set-id bits and capabilities; then
//! extended attributes and ACLs; then the mode; the times last. Where the owner could not be set,
//! set-id bits are left off: a program must not run as whoever happened to restore it. What is
//! refused becomes a note, and the rest is done.

use super::notes::{NoteKind, Notes};
use crate::source::files::{Owners, Status, is_restorable, names_in, sized};
use holdfast_common::{Code, Error};
use holdfast_seal::manifest::entry::{Entry, EntryKind, Xattr};
use minicbor::{Decode, Encode};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat, chownat,
    fchmod, fgetxattr, fgetxattr_query, flistxattr, flistxattr_query, fremovexattr, fsetxattr,
    futimens, getxattr, getxattr_query, listxattr, listxattr_query, removexattr, setxattr,
    utimensat,
};
use rustix::io::{Errno, Result};
use rustix::process::geteuid;
use std::sync::{Mutex, PoisonError};

const SET_ID_BITS: u32 = 0o6000;

#[derive(Clone, Debug, Decode, Encode)]
pub(crate) struct Attributes {
    #[n(0)]
    kind: EntryKind,
    #[n(1)]
    mode: u32,
    #[n(2)]
    uid: u32,
    #[n(3)]
    gid: u32,
    #[n(4)]
    modified_ns: Option<i64>,
    #[n(5)]
    xattrs: Option<Vec<Xattr>>,
}

/// An inode by its descriptor. Links, FIFOs, sockets and devices are held without opening them, and
/// reached through `/proc/self/fd`; nothing in that path can be swapped by others.
#[derive(Clone, Copy)]
pub(crate) enum Handle<'a> {
    Held(BorrowedFd<'a>),
    Open(BorrowedFd<'a>),
}

impl Attributes {
    pub(crate) fn of(entry: &Entry, owners: &Owners, numeric_ids: bool) -> Self {
        let by_name = |name: &Option<String>, find: &dyn Fn(&str) -> Option<u32>| {
            name.as_deref().filter(|_| !numeric_ids).and_then(find)
        };
        Self {
            kind: entry.kind,
            mode: entry.mode & 0o7777,
            uid: by_name(&entry.user, &|name| owners.uid(name)).unwrap_or(entry.uid),
            gid: by_name(&entry.group, &|name| owners.gid(name)).unwrap_or(entry.gid),
            modified_ns: entry.modified_ns(),
            xattrs: entry.xattrs.clone(),
        }
    }

    /// What the extended attributes take beside the rest.
    pub(super) fn more_bytes(&self) -> usize {
        let one = |xattr: &Xattr| size_of::<Xattr>() + xattr.name.len() + xattr.value.len();
        self.xattrs.iter().flatten().map(one).sum()
    }

    #[cfg(test)]
    pub(super) fn mode(&self) -> u32 {
        self.mode
    }

    pub(crate) fn apply(&self, handle: Handle<'_>, path: &[u8], notes: &Mutex<Notes>) {
        let note = |kind, errno| {
            let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
            notes.add(kind, code_of(errno), path);
        };
        let there = Status::of_open(handle.fd()).ok();
        let owned = there.is_some_and(|there| (there.uid, there.gid) == (self.uid, self.gid));
        // What is so already is not set again: for small files each call counts.
        let owner = if owned { Ok(()) } else { self.give_away(handle) };
        let mode = if owner.is_ok() { self.mode } else { self.mode & !SET_ID_BITS };
        if let Err(errno) = owner {
            note(NoteKind::Owner, errno);
        }
        let untouched = self.set_xattrs(handle, |errno| note(NoteKind::Xattr, errno)) && owned;
        let has_mode = untouched && there.is_some_and(|there| there.mode == mode);
        if self.kind != EntryKind::Symlink
            && !has_mode
            && let Err(errno) = handle.set_mode(mode)
        {
            note(NoteKind::Mode, errno);
        }
        let is_of = |time| has_mode && there.is_some_and(|there| there.mtime_ns == time);
        if let Some(time) = self.modified_ns.filter(|time| !is_of(*time))
            && let Err(errno) = handle.set_mtime(time)
        {
            note(NoteKind::Times, errno);
        }
    }

    /// Whether an inode of this kind has owner, mode and extended attributes already, as far as
    /// this process could give them: without privileges what it makes is its own, and not set-id.
    pub(crate) fn lie_on(&self, handle: Handle<'_>, there: &Status) -> bool {
        let me = geteuid();
        let given = (there.uid, there.gid) == (self.uid, self.gid);
        let own = !me.is_root() && there.uid == me.as_raw();
        let mode = if given { self.mode } else { self.mode & !SET_ID_BITS };
        let same_mode = self.kind == EntryKind::Symlink || there.mode == mode;
        (given || own) && same_mode && self.has_xattrs(handle, me.is_root())
    }

    fn has_xattrs(&self, handle: Handle<'_>, privileged: bool) -> bool {
        let settable =
            |name: &[u8]| privileged || name.starts_with(b"user.") || name.starts_with(b"system.");
        let wanted = self.xattrs.as_deref().unwrap_or(&[]);
        let mut wanted = wanted.iter().filter(|xattr| settable(&xattr.name));
        let listed = match handle.list_xattrs() {
            Ok(listed) => listed,
            Err(_) => return wanted.next().is_none(),
        };
        let expected = |name: &[u8]| wanted.clone().any(|xattr| *xattr.name == *name);
        let no_more =
            names_in(&listed).into_iter().all(|name| !is_restorable(name) || expected(name));
        no_more
            && wanted
                .all(|xattr| handle.xattr(&xattr.name).is_ok_and(|value| value == *xattr.value))
    }

    /// Both ids, or the group alone where only that is allowed.
    fn give_away(&self, handle: Handle<'_>) -> Result<()> {
        let set = |uid: Option<u32>| {
            let uid = uid.filter(|id| *id != u32::MAX).map(Uid::from_raw);
            let gid = Some(self.gid).filter(|id| *id != u32::MAX).map(Gid::from_raw);
            chownat(handle.fd(), c"", uid, gid, AtFlags::EMPTY_PATH)
        };
        set(Some(self.uid)).inspect_err(|_| {
            // The first refusal is what is told.
            let _ = set(None);
        })
    }

    /// Sets those of the entry and takes away those that were inherited or lay there before. Says
    /// whether there was nothing to do: an ACL that comes or goes changes the mode.
    fn set_xattrs(&self, handle: Handle<'_>, refused: impl Fn(Errno)) -> bool {
        let wanted = self.xattrs.as_deref().unwrap_or(&[]);
        let mut untouched = wanted.is_empty();
        if let Ok(listed) = handle.list_xattrs() {
            for name in names_in(&listed) {
                let stays = wanted.iter().any(|xattr| **xattr.name == *name);
                if !stays && is_restorable(name) {
                    untouched = false;
                    match handle.remove_xattr(name) {
                        Ok(()) | Err(Errno::NODATA) => {}
                        Err(errno) => refused(errno),
                    }
                }
            }
        }
        for xattr in wanted {
            if let Err(errno) = handle.set_xattr(&xattr.name, &xattr.value) {
                refused(errno);
            }
        }
        untouched
    }
}

impl Handle<'_> {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Held(fd) | Self::Open(fd) => *fd,
        }
    }

    fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.fd().as_raw_fd())
    }

    fn set_mode(self, mode: u32) -> Result<()> {
        let mode = Mode::from_raw_mode(mode);
        match self {
            Self::Open(fd) => fchmod(fd, mode),
            Self::Held(_) => chmodat(CWD, self.path(), mode, AtFlags::empty()),
        }
    }

    fn set_mtime(self, mtime_ns: i64) -> Result<()> {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec {
                tv_sec: mtime_ns.div_euclid(1_000_000_000),
                tv_nsec: mtime_ns.rem_euclid(1_000_000_000),
            },
        };
        match self {
            Self::Open(fd) => futimens(fd, &times),
            Self::Held(_) => utimensat(CWD, self.path(), &times, AtFlags::empty()),
        }
    }

    fn list_xattrs(self) -> Result<Vec<u8>> {
        match self {
            Self::Open(fd) => sized(|| flistxattr_query(fd), |buffer| flistxattr(fd, buffer)),
            Self::Held(_) => {
                let path = self.path();
                sized(|| listxattr_query(&path), |buffer| listxattr(&path, buffer))
            }
        }
    }

    fn xattr(self, name: &[u8]) -> Result<Vec<u8>> {
        match self {
            Self::Open(fd) => {
                sized(|| fgetxattr_query(fd, name), |buffer| fgetxattr(fd, name, buffer))
            }
            Self::Held(_) => {
                let path = self.path();
                sized(|| getxattr_query(&path, name), |buffer| getxattr(&path, name, buffer))
            }
        }
    }

    fn set_xattr(self, name: &[u8], value: &[u8]) -> Result<()> {
        match self {
            Self::Open(fd) => fsetxattr(fd, name, value, XattrFlags::empty()),
            Self::Held(_) => setxattr(self.path(), name, value, XattrFlags::empty()),
        }
    }

    fn remove_xattr(self, name: &[u8]) -> Result<()> {
        match self {
            Self::Open(fd) => fremovexattr(fd, name),
            Self::Held(_) => removexattr(self.path(), name),
        }
    }
}

/// The code for what the kernel refused to set.
pub(crate) fn code_of(errno: Errno) -> Code {
    match errno {
        Errno::NOTSUP | Errno::NOTTY => Code::FileTypeUnsupported,
        other => Error::io("", &other.into()).code,
    }
}
