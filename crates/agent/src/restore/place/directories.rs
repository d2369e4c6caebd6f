//! Directories: made first, so that there is where to put things, and given their attributes last,
//! so that what is put into them changes neither mode nor times.

use super::Overwrite;
use super::attributes::{Attributes, Handle};
use super::inside::InsidePath;
use super::notes::NoteKind;
use super::target::{Core, Target, failed, lock};
use super::waiting::Row;
use crate::source::files::Status;
use holdfast_common::{Code, Result};
use holdfast_seal::manifest::entry::{Entry, EntryKind};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, unlinkat};
use rustix::io::Errno;

impl Target {
    /// Makes a directory, or takes the one that is there. Its attributes wait for
    /// [`Target::finish_directories`]. The target itself keeps its own, and so does, without leave
    /// to overwrite, one that was there with others.
    pub fn make_directory(&self, entry: &Entry) -> Result<()> {
        let path = InsidePath::parse(&entry.path)?;
        let Some((above, name)) = path.split() else { return Ok(()) };
        let directory = self.0.beneath.directory_or_new(above)?;
        let attributes = self.0.attributes(entry);
        match mkdirat(&directory, name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let there = Status::of(directory.as_fd(), name);
                if there.is_ok_and(|status| status.kind == EntryKind::Directory) {
                    let ours = self.0.beneath.was_made(path);
                    if !ours && self.0.keeps_its_own(directory.as_fd(), name, &attributes) {
                        self.0.note(NoteKind::Mode, Code::FileExists, &entry.path);
                        return Ok(());
                    }
                } else {
                    self.0.make_way(directory.as_fd(), name, &entry.path)?;
                    unlinkat(&directory, name, AtFlags::empty())
                        .and_then(|()| mkdirat(&directory, name, Mode::RWXU))
                        .map_err(|errno| failed("make the directory", &entry.path, errno))?;
                }
            }
            Err(errno) => return Err(failed("make the directory", &entry.path, errno)),
        }
        let row = Row { path: entry.path.clone(), attributes };
        lock(&self.0.directories).push(row, || self.0.file_without_a_name());
        Ok(())
    }

    /// Gives the directories made so far their attributes, deepest first.
    pub fn finish_directories(&self) {
        let mut waiting = std::mem::take(&mut *lock(&self.0.directories));
        loop {
            let rows = match waiting.take() {
                Ok(rows) if rows.is_empty() => return,
                Ok(rows) => rows,
                Err(error) => {
                    lock(self.0.notes()).add(NoteKind::Mode, error.code, b"/");
                    continue;
                }
            };
            for Row { path, attributes } in rows {
                if let Err(error) = self.0.finish_directory(&path, &attributes) {
                    lock(self.0.notes()).add(NoteKind::Mode, error.code, &path);
                }
            }
        }
    }
}

impl Core {
    /// Whether a directory that was there has an owner, a mode or attributes that nobody allowed to
    /// be changed.
    fn keeps_its_own(&self, above: BorrowedFd<'_>, name: &[u8], wanted: &Attributes) -> bool {
        if self.options().overwrite == Overwrite::Force {
            return false;
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = openat(above, name, flags, Mode::empty());
        let there = held.and_then(|held| Ok((Status::of_open(&held)?, held)));
        !there.is_ok_and(|(there, held)| wanted.lie_on(Handle::Held(held.as_fd()), &there))
    }

    fn finish_directory(&self, path: &[u8], attributes: &Attributes) -> Result<()> {
        let Some((above, name)) = InsidePath::parse(path)?.split() else { return Ok(()) };
        let parent = self.beneath.directory(above)?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // One that its owner cannot list is held instead.
        if let Ok(open) = openat(&parent, name, flags | OFlags::RDONLY, Mode::empty()) {
            attributes.apply(Handle::Open(open.as_fd()), path, self.notes());
            return Ok(());
        }
        let held = openat(&parent, name, flags | OFlags::PATH, Mode::empty())
            .map_err(|errno| failed("open the directory", path, errno))?;
        attributes.apply(Handle::Held(held.as_fd()), path, self.notes());
        Ok(())
    }
}
