//! Listing and removing what lies beneath the target, for a restore that leaves nothing else there.
//!
//! Removal descends by open directories, follows no link, keeps only a few directories open, and
//! stops at mounts: what another filesystem holds was never part of what the path named. What
//! could not be removed is noted, and the directories above it stay.

use super::attributes::code_of;
use super::inside::{InsidePath, escaped};
use super::notes::NoteKind;
use super::target::{Target, failed};
use crate::source::files::{Names, Status, open_directory, parent_of, same_directory};
use holdfast_common::{Code, Result, limits};
use holdfast_seal::manifest::entry::{EntryKind, Inode};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;
use std::sync::Arc;

/// How many names went away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub entries: u64,
}

struct Level {
    /// `None` while it is far above where the removal is.
    directory: Option<Arc<OwnedFd>>,
    inode: Inode,
    names: Names,
    position: usize,
    path_length: usize,
    /// Something beneath it is left, so it is too.
    stays: bool,
}

struct Removal<'a> {
    target: &'a Target,
    only_count: bool,
    levels: Vec<Level>,
    path: Vec<u8>,
    removed: Removed,
}

impl Target {
    /// The names in a directory beneath the target, sorted.
    pub fn list_children(&self, path: &[u8]) -> Result<Names> {
        let directory = self.0.beneath.directory(InsidePath::parse(path)?)?;
        let listed = open_directory(directory.as_fd(), b".").map(Names::read);
        match listed {
            Ok((names, None)) => Ok(names),
            Ok((_, Some(errno))) | Err(errno) => Err(failed("list", path, errno)),
        }
    }

    /// Whether a directory beneath the target lies on another file system than the one above it
    /// that is named, or is one that was mounted.
    pub fn is_mounted_beneath(&self, above: &[u8], path: &[u8]) -> Result<bool> {
        if above == path {
            return Ok(false);
        }
        let look = |path| {
            let directory = self.0.beneath.directory(InsidePath::parse(path)?)?;
            Status::of_open(&directory).map_err(|errno| failed("look at", path, errno))
        };
        let (above, here) = (look(above)?, look(path)?);
        Ok(here.mount_root || here.inode.device != above.inode.device)
    }

    /// Notes that something was left which was to be removed.
    pub(crate) fn note_removal(&self, path: &[u8], code: Code) {
        self.0.note(NoteKind::Removal, code, path);
    }

    /// Removes a path and everything beneath it. The target itself cannot be removed.
    pub fn remove_tree(&self, path: &[u8]) -> Result<Removed> {
        self.clear(path, false)
    }

    /// What [`Target::remove_tree`] would remove.
    pub fn count_tree(&self, path: &[u8]) -> Result<Removed> {
        self.clear(path, true)
    }

    fn clear(&self, path: &[u8], only_count: bool) -> Result<Removed> {
        let inside = InsidePath::parse(path)?;
        let Some((above, name)) = inside.split() else { return Err(escaped(path)) };
        let directory = self.0.beneath.directory(above)?;
        self.0.beneath.forget(inside);
        let device = Status::of_open(&directory)
            .map_err(|errno| failed("look at", path, errno))?
            .inode
            .device;
        let mut removal = Removal {
            target: self,
            only_count,
            levels: Vec::new(),
            path: path.to_vec(),
            removed: Removed::default(),
        };
        removal.take(directory.as_fd(), name, device)?;
        while let Some(level) = removal.levels.last_mut() {
            match level.names.get(level.position).map(<[u8]>::to_vec) {
                Some(next) => {
                    level.position += 1;
                    removal.descend(&next)?;
                }
                None => removal.ascend(directory.as_fd(), name)?,
            }
        }
        Ok(removal.removed)
    }
}

impl Removal<'_> {
    fn descend(&mut self, name: &[u8]) -> Result<()> {
        let Some(level) = self.levels.last() else { return Ok(()) };
        let Some(directory) = level.directory.clone() else { return Ok(()) };
        let device = level.inode.device;
        self.path.truncate(level.path_length);
        self.path.push(b'/');
        self.path.extend_from_slice(name);
        self.take(directory.as_fd(), name, device)
    }

    /// Removes what is no directory, and goes into what is one.
    fn take(&mut self, directory: BorrowedFd<'_>, name: &[u8], device: u64) -> Result<()> {
        let status = match Status::of(directory, name) {
            Ok(status) => status,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(failed("look at", &self.path, errno)),
        };
        if status.kind != EntryKind::Directory {
            self.unlink(directory, name, AtFlags::empty());
            return Ok(());
        }
        if status.mount_root || status.inode.device != device {
            self.stays(Code::FileExists);
            return Ok(());
        }
        let opened =
            open_directory(directory, name).and_then(|fd| same_directory(fd, status.inode));
        match opened {
            Ok(opened) => self.push(opened, status.inode),
            Err(errno) => self.stays(code_of(errno)),
        }
        Ok(())
    }

    fn push(&mut self, directory: OwnedFd, inode: Inode) {
        let (names, failure) = Names::read(&directory);
        if let Some(errno) = failure {
            self.stays(code_of(errno));
        }
        let path_length = self.path.len();
        let directory = Some(Arc::new(directory));
        let stays = failure.is_some();
        self.levels.push(Level { directory, inode, names, position: 0, path_length, stays });
        if let Some(far) = self.levels.len().checked_sub(limits::WALK_OPEN_MAX + 1) {
            self.levels[far].directory = None;
        }
    }

    /// Leaves an emptied directory and removes it from the one above.
    fn ascend(&mut self, top: BorrowedFd<'_>, top_name: &[u8]) -> Result<()> {
        let Some(left) = self.levels.pop() else { return Ok(()) };
        self.path.truncate(left.path_length);
        let Some(level) = self.levels.last_mut() else {
            if !left.stays {
                self.unlink(top, top_name, AtFlags::REMOVEDIR);
            }
            return Ok(());
        };
        level.stays |= left.stays;
        if level.directory.is_none() {
            let below = left.directory.as_deref().ok_or(Errno::STALE);
            let reopened = below.and_then(|below| parent_of(below, level.inode));
            let found = reopened.map_err(|errno| failed("go back above", &self.path, errno))?;
            level.directory = Some(Arc::new(found));
        }
        if let Some(directory) = level.directory.clone()
            && !left.stays
        {
            let name_at = level.path_length + 1;
            let name = self.path[name_at..].to_vec();
            self.unlink(directory.as_fd(), &name, AtFlags::REMOVEDIR);
        }
        Ok(())
    }

    fn unlink(&mut self, directory: BorrowedFd<'_>, name: &[u8], flags: AtFlags) {
        if self.only_count {
            self.removed.entries += 1;
            return;
        }
        match unlinkat(directory, name, flags) {
            Ok(()) => self.removed.entries += 1,
            Err(Errno::NOENT) => {}
            // Something came into it meanwhile, and belongs to whoever put it there.
            Err(Errno::NOTEMPTY) => {}
            Err(errno) => self.stays(code_of(errno)),
        }
    }

    fn stays(&mut self, code: Code) {
        if let Some(level) = self.levels.last_mut() {
            level.stays = true;
        }
        self.target.0.note(NoteKind::Removal, code, &self.path);
    }
}
