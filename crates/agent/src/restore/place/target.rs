//! The target: a directory, open, and everything that may happen beneath it.
//!
//! It can be shared between threads and cloned; all clones are one target. Every method takes a
//! manifest entry as it is, hostile or not, and either makes exactly what it says at exactly that
//! path beneath the target, or refuses.

use super::attributes::{Attributes, Handle};
use super::beneath::Beneath;
use super::existing::ExistingFile;
use super::file::FileWriter;
use super::inside::{InsidePath, escaped, shown};
use super::layout::Layout;
use super::nameless;
use super::notes::{NoteKind, Notes};
use super::root::{self, Insist};
use super::waiting::{Row, Waiting};
use super::{Durability, Overwrite, TargetOptions};
use crate::source::files::{Owners, Status};
use holdfast_common::{Code, Error, Result};
use holdfast_seal::manifest::entry::{Entry, EntryKind};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, linkat, makedev, mkdirat, mknodat, openat,
    renameat, renameat_with, symlinkat, unlinkat,
};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Leftovers of a crashed process with our number may take as many names.
const TEMPORARY_ATTEMPTS_MAX: usize = 10_000;

/// Smaller files grow as they are written: one call less for each.
const ROOM_AT_ONCE_BYTES: u64 = 256 << 10;

#[derive(Clone, Debug)]
pub struct Target(pub(super) Arc<Core>);

#[derive(Debug)]
pub(super) struct Core {
    pub(super) beneath: Beneath,
    options: TargetOptions,
    owners: Owners,
    notes: Mutex<Notes>,
    /// Directories whose attributes come last.
    directories: Mutex<Waiting>,
    temporaries: AtomicU64,
    /// Whether a file can be written before it has a name.
    pub(super) links_open_files: AtomicBool,
    /// What an early sync failed with: the kernel tells each such failure once.
    unsynced: Mutex<Option<Error>>,
}

/// A name that goes away again unless it was renamed.
#[derive(Debug)]
pub(super) struct Temporary {
    directory: Arc<OwnedFd>,
    name: Vec<u8>,
    gone: AtomicBool,
}

impl Temporary {
    /// It was renamed. Only for what has no other name: a rename onto another link of the same
    /// inode succeeds and leaves both.
    pub(super) fn forget(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.gone.load(Ordering::Relaxed) {
            return;
        }
        // A link may be gone by its rename already.
        let _ = unlinkat(&self.directory, &self.name, AtFlags::empty());
    }
}

impl Target {
    /// Opens the directory, and makes it if it is missing. Links in *this* path are the caller's
    /// own words and are followed.
    pub fn open(directory: &Path, options: TargetOptions) -> Result<Self> {
        Self::open_where(directory, options, None)
    }

    /// The same, where the directory may only lie in some places: what is judged, before anything
    /// is made, is where it really lies, and links that are laid down meanwhile change nothing.
    pub fn open_where(
        directory: &Path,
        options: TargetOptions,
        insist: Option<Insist<'_>>,
    ) -> Result<Self> {
        Ok(Self::of(root::open(directory, insist)?, options))
    }

    pub(super) fn of(root: OwnedFd, options: TargetOptions) -> Self {
        Self(Arc::new(Core {
            beneath: Beneath::new(root),
            options,
            owners: Owners::load(),
            notes: Mutex::default(),
            directories: Mutex::default(),
            temporaries: AtomicU64::new(0),
            links_open_files: AtomicBool::new(nameless::sees_descriptors()),
            unsynced: Mutex::default(),
        }))
    }

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

    /// Begins a file of the entry's size, with room for its content stream.
    pub fn create_file(&self, entry: &Entry) -> Result<FileWriter> {
        let layout = Layout::of(entry)?;
        let (directory, name) = self.0.place_of(entry)?;
        let (standing, file) = self.0.new_file(&directory, &entry.path)?;
        if entry.size >= ROOM_AT_ONCE_BYTES {
            rustix::fs::ftruncate(&file, entry.size)
                .map_err(|errno| failed("make room for", &entry.path, errno))?;
        }
        Ok(FileWriter {
            core: self.0.clone(),
            file,
            standing,
            name: name.to_vec(),
            path: entry.path.to_vec(),
            size: entry.size,
            layout,
            attributes: self.0.attributes(entry),
            written: AtomicU64::new(0),
        })
    }

    pub fn place_symlink(&self, entry: &Entry) -> Result<()> {
        let Some(target) = entry.link_target.as_ref().filter(|target| !target.is_empty()) else {
            return Err(damaged(&entry.path, "is a link without a target"));
        };
        let (directory, name) = self.0.place_of(entry)?;
        let (temporary, ()) = self.0.temporary(&directory, &entry.path, |temporary| {
            symlinkat(target.as_slice(), &directory, temporary)
        })?;
        self.0.finish_held(entry, &temporary, name)
    }

    /// A FIFO, a socket or a device. Needs root for devices; without, it is refused.
    pub fn place_special(&self, entry: &Entry) -> Result<()> {
        let file_type = match entry.kind {
            EntryKind::Fifo => FileType::Fifo,
            EntryKind::Socket => FileType::Socket,
            EntryKind::CharDevice => FileType::CharacterDevice,
            EntryKind::BlockDevice => FileType::BlockDevice,
            _ => return Err(damaged(&entry.path, "is no special file")),
        };
        let is_device = matches!(entry.kind, EntryKind::CharDevice | EntryKind::BlockDevice);
        let number = match entry.device {
            Some(device) => makedev(device.major, device.minor),
            None if is_device => return Err(damaged(&entry.path, "is a device without a number")),
            None => 0,
        };
        let (directory, name) = self.0.place_of(entry)?;
        let (temporary, ()) = self.0.temporary(&directory, &entry.path, |temporary| {
            mknodat(&directory, temporary, file_type, Mode::RUSR | Mode::WUSR, number)
        })?;
        self.0.finish_held(entry, &temporary, name)
    }

    /// Another name for what was placed at `first`. What lies there must be of the entry's kind and
    /// size: when the first was refused, its links must not lead to whatever was there before.
    pub fn place_hardlink(&self, entry: &Entry, first: &[u8]) -> Result<()> {
        let Some((first_above, first_name)) = InsidePath::parse(first)?.split() else {
            return Err(escaped(first));
        };
        let first_directory = self.0.beneath.directory(first_above)?;
        let there = Status::of(first_directory.as_fd(), first_name)
            .map_err(|errno| failed("link to", first, errno))?;
        let same_size = entry.kind != EntryKind::File || there.size == entry.size;
        if there.kind != entry.kind || !same_size {
            return Err(Error::new(
                Code::FileChanged,
                format!("`{}` is not what `{}` links to", shown(first), shown(&entry.path)),
            ));
        }
        let (directory, name) = self.0.place_of(entry)?;
        let (temporary, ()) = self.0.temporary(&directory, &entry.path, |temporary| {
            linkat(&first_directory, first_name, &directory, temporary, AtFlags::empty())
        })?;
        self.0.install(&temporary, name, &entry.path)
    }

    /// The file that already lies at the entry's path, to compare chunks with. `None` when there is
    /// none that can be read.
    pub fn existing(&self, entry: &Entry) -> Result<Option<ExistingFile>> {
        let layout = Layout::of(entry)?;
        let path = InsidePath::parse(&entry.path)?;
        let Some((above, name)) = path.split() else { return Err(escaped(&entry.path)) };
        let directory = match self.0.beneath.directory(above) {
            Ok(directory) => directory,
            Err(error) if error.code == Code::FileMissing => return Ok(None),
            Err(error) => return Err(error),
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = openat(&directory, name, flags, Mode::empty()) else { return Ok(None) };
        let status =
            Status::of_open(&file).map_err(|errno| failed("look at", &entry.path, errno))?;
        let is_file = status.kind == EntryKind::File;
        Ok(is_file.then_some(ExistingFile { file, status, layout }))
    }

    /// Keeps a file in which every byte of the entry's stream was found, and gives it the entry's
    /// attributes. `false` when it cannot stay after all: it then has to be written.
    pub fn keep(&self, entry: &Entry, existing: ExistingFile) -> Result<bool> {
        if self.0.options.overwrite == Overwrite::Protect {
            return Err(taken(&entry.path));
        }
        let stays = existing.may_stay(entry.size, entry.hardlink_group.is_some());
        if stays {
            let handle = Handle::Open(existing.file.as_fd());
            self.0.attributes(entry).apply(handle, &entry.path, &self.0.notes);
        }
        Ok(stays)
    }

    /// Gives the directories made so far their attributes, deepest first.
    pub fn finish_directories(&self) {
        let mut waiting = std::mem::take(&mut *lock(&self.0.directories));
        loop {
            let rows = match waiting.take() {
                Ok(rows) if rows.is_empty() => return,
                Ok(rows) => rows,
                Err(error) => {
                    lock(&self.0.notes).add(NoteKind::Mode, error.code, b"/");
                    continue;
                }
            };
            for Row { path, attributes } in rows {
                if let Err(error) = self.0.finish_directory(&path, &attributes) {
                    lock(&self.0.notes).add(NoteKind::Mode, error.code, &path);
                }
            }
        }
    }

    /// Ends the restore: directories, then the disk. Gives back what could not be done.
    pub fn finish(&self) -> Result<Notes> {
        self.finish_directories();
        self.sync()?;
        Ok(self.notes())
    }

    /// Waits until all that was written is on the disk, or says what was not.
    pub fn sync(&self) -> Result<()> {
        if self.0.options.durability != Durability::Never {
            self.0.beneath.sync()?;
        }
        lock(&self.0.unsynced).take().map_or(Ok(()), Err)
    }

    /// Sends to the disk what was written so far, so that little is left for the end. What fails
    /// here is told there.
    pub fn sync_early(&self) {
        if self.0.options.durability != Durability::Never {
            self.unsynced(self.0.beneath.sync());
        }
    }

    pub(super) fn unsynced(&self, synced: Result<()>) {
        if let Err(error) = synced {
            lock(&self.0.unsynced).get_or_insert(error);
        }
    }

    /// A file for what a restore has to remember until its end.
    pub(crate) fn file_aside(&self) -> Result<OwnedFd> {
        self.0.file_without_a_name()
    }

    pub fn notes(&self) -> Notes {
        lock(&self.0.notes).clone()
    }

    /// Whether what differs may be replaced.
    pub fn overwrites(&self) -> bool {
        self.0.options.overwrite == Overwrite::Force
    }

    pub(super) fn status(&self) -> Result<Status> {
        Status::of_open(self.0.beneath.root()).map_err(|errno| failed("look at", b"/", errno))
    }

    /// Where the target really lies now.
    pub fn real_path(&self) -> Result<PathBuf> {
        root::real_path(self.0.beneath.root())
    }
}

impl Core {
    pub(super) fn notes(&self) -> &Mutex<Notes> {
        &self.notes
    }

    pub(super) fn options(&self) -> &TargetOptions {
        &self.options
    }

    pub(super) fn note(&self, kind: NoteKind, code: Code, path: &[u8]) {
        lock(&self.notes).add(kind, code, path);
    }

    /// Renames what is complete to the name it was made for.
    pub(super) fn install(&self, temporary: &Temporary, name: &[u8], path: &[u8]) -> Result<()> {
        let (directory, from) = (temporary.directory.as_fd(), &temporary.name[..]);
        let renamed = match self.options.overwrite {
            Overwrite::Force => match renameat(directory, from, directory, name) {
                Err(Errno::ISDIR) => {
                    self.make_way(directory, name, path)?;
                    renameat(directory, from, directory, name)
                }
                other => other,
            },
            Overwrite::Protect => {
                match renameat_with(directory, from, directory, name, RenameFlags::NOREPLACE) {
                    // Not every filesystem can; a second link never replaces anything either.
                    Err(Errno::INVAL | Errno::NOSYS) => {
                        linkat(directory, from, directory, name, AtFlags::empty())
                            .and_then(|()| unlinkat(directory, from, AtFlags::empty()))
                    }
                    other => other,
                }
            }
        };
        renamed.map_err(|errno| match errno {
            Errno::EXIST => taken(path),
            other => failed("name", path, other),
        })
    }

    pub(super) fn attributes(&self, entry: &Entry) -> Attributes {
        Attributes::of(entry, &self.owners, self.options.numeric_ids)
    }

    /// The directory and name for an entry that is no directory, with nothing in its way.
    fn place_of<'a>(&self, entry: &'a Entry) -> Result<(Arc<OwnedFd>, &'a [u8])> {
        let Some((above, name)) = InsidePath::parse(&entry.path)?.split() else {
            return Err(escaped(&entry.path));
        };
        let directory = self.beneath.directory_or_new(above)?;
        self.make_way(directory.as_fd(), name, &entry.path)?;
        Ok((directory, name))
    }

    /// Refuses what must not be overwritten, and removes an empty directory that may be. Everything
    /// else is replaced by the rename.
    fn make_way(&self, directory: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<()> {
        let there = match Status::of(directory, name) {
            Ok(there) => there,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(failed("look at", path, errno)),
        };
        if self.options.overwrite == Overwrite::Protect {
            return Err(taken(path));
        }
        if there.kind == EntryKind::Directory {
            self.beneath.forget(InsidePath::parse(path)?);
            return match unlinkat(directory, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(_) => Err(full(path)),
            };
        }
        Ok(())
    }

    /// Makes something under a name that nothing else has.
    pub(super) fn temporary<T>(
        &self,
        directory: &Arc<OwnedFd>,
        path: &[u8],
        make: impl Fn(&[u8]) -> rustix::io::Result<T>,
    ) -> Result<(Temporary, T)> {
        let process = std::process::id();
        for _ in 0..TEMPORARY_ATTEMPTS_MAX {
            let number = self.temporaries.fetch_add(1, Ordering::Relaxed);
            let name = format!(".holdfast-{process}-{number}").into_bytes();
            match make(&name) {
                Ok(made) => {
                    let (directory, gone) = (directory.clone(), AtomicBool::new(false));
                    return Ok((Temporary { directory, name, gone }, made));
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed("make", path, errno)),
            }
        }
        Err(failed("find a temporary name for", path, Errno::EXIST))
    }

    /// Attributes and name for what cannot be opened: links, FIFOs, sockets, devices.
    fn finish_held(&self, entry: &Entry, temporary: &Temporary, name: &[u8]) -> Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = openat(&temporary.directory, &temporary.name, flags, Mode::empty())
            .map_err(|errno| failed("hold", &entry.path, errno))?;
        let is_ours = Status::of_open(&held).is_ok_and(|status| status.kind == entry.kind);
        if !is_ours {
            return Err(failed("hold", &entry.path, Errno::STALE));
        }
        self.attributes(entry).apply(Handle::Held(held.as_fd()), &entry.path, &self.notes);
        self.install(temporary, name, &entry.path)?;
        temporary.forget();
        Ok(())
    }

    /// Whether a directory that was there has an owner, a mode or attributes that nobody allowed to
    /// be changed.
    fn keeps_its_own(&self, above: BorrowedFd<'_>, name: &[u8], wanted: &Attributes) -> bool {
        if self.options.overwrite == Overwrite::Force {
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
            attributes.apply(Handle::Open(open.as_fd()), path, &self.notes);
            return Ok(());
        }
        let held = openat(&parent, name, flags | OFlags::PATH, Mode::empty())
            .map_err(|errno| failed("open the directory", path, errno))?;
        attributes.apply(Handle::Held(held.as_fd()), path, &self.notes);
        Ok(())
    }
}

pub(super) fn failed(verb: &str, path: &[u8], errno: Errno) -> Error {
    Error::io(format!("cannot {verb} `{}`", shown(path)), &errno.into())
}

pub(super) fn full(path: &[u8]) -> Error {
    let message = format!("a directory with something in it lies at `{}`", shown(path));
    Error::new(Code::FileExists, message).next("move the directory away and run the restore again")
}

pub(super) fn taken(path: &[u8]) -> Error {
    Error::new(Code::FileExists, format!("something lies at `{}` already", shown(path)))
}

fn damaged(path: &[u8], why: &str) -> Error {
    Error::new(Code::ManifestDamaged, format!("`{}` {why}", shown(path)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
