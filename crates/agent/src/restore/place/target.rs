//! The target: a directory, open, and everything that may happen beneath it.
//!
//! It can be shared between threads and cloned; all clones are one target. Every method takes a
//! manifest entry as it is, hostile or not, and either makes exactly what it says at exactly that
//! path beneath the target, or refuses. Directories have a file of their own (`directories`), and
//! so has how things get their names (`naming`).

use super::attributes::{Attributes, Handle};
use super::beneath::Beneath;
use super::existing::ExistingFile;
use super::file::FileWriter;
use super::inside::{InsidePath, escaped, shown};
use super::layout::Layout;
use super::nameless;
use super::notes::{NoteKind, Notes};
use super::root::{self, Insist};
use super::waiting::Waiting;
use super::{Durability, Overwrite, TargetOptions};
use crate::source::files::{Owners, Status};
use holdfast_common::{Code, Error, Result};
use holdfast_seal::manifest::entry::{Entry, EntryKind};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, linkat, makedev, mknodat, openat, symlinkat};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    pub(super) directories: Mutex<Waiting>,
    pub(super) temporaries: AtomicU64,
    /// Whether a file can be written before it has a name.
    pub(super) links_open_files: AtomicBool,
    /// What an early sync failed with: the kernel tells each such failure once.
    unsynced: Mutex<Option<Error>>,
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

    pub(super) fn attributes(&self, entry: &Entry) -> Attributes {
        Attributes::of(entry, &self.owners, self.options.numeric_ids)
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

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
