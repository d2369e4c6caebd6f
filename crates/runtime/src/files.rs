//! Small files that must be whole or absent: keys, certificates, contexts, configuration.
//!
//! A file is written beside its place under another name, made durable, and moved there; then the
//! directory is made durable. Whoever reads sees the old bytes or the new ones. A private file is
//! created with mode 0600, so that there is no moment in which others can read it. All of this
//! blocks: inside a runtime, call it through `Tasks::run_blocking`.

use core::sync::atomic::{AtomicU64, Ordering};
use holdfast_common::{Code, Entropy, Error, Result, SystemEntropy, limits};
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// Writes a file that only its owner may read, replacing what was there.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    write(path, bytes, PRIVATE)
}

/// Writes a file that everybody may read, replacing what was there.
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<()> {
    write(path, bytes, PUBLIC)
}

/// Writes a file that only its owner may read, where there is none yet.
pub fn write_new_private(path: &Path, bytes: &[u8]) -> Result<()> {
    Reserved::for_new(path)?.place(bytes)
}

/// Makes a directory, and those above it, that only their owner may enter.
pub fn create_private_dir(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| Error::io(format!("cannot make {}", path.display()), &error))
}

/// Reads a file whole; the bytes are wiped when dropped.
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    read(path)
        .map_err(|error| Error::io(format!("cannot read {}", path.display()), &error))?
        .ok_or_else(|| {
            let max = limits::IDENTITY_FILE_BYTES_MAX;
            let message = format!("{} has more than {max} bytes", path.display());
            Error::new(Code::LimitExceeded, message)
        })
}

/// Reads a text file whole; the text is wiped when dropped.
pub fn read_text(path: &Path) -> Result<Zeroizing<String>> {
    let bytes = read_private(path)?;
    core::str::from_utf8(&bytes)
        .map(|text| Zeroizing::new(text.to_owned()))
        .map_err(|_| Error::new(Code::ConfigMalformed, format!("{} is not text", path.display())))
}

/// A place that can be written, seen before something is agreed that cannot be had twice: bytes
/// that could not be kept afterwards would be lost. Given up, it leaves nothing behind.
#[derive(Debug)]
pub struct Reserved {
    file: File,
    directory: PathBuf,
    beside: PathBuf,
    path: PathBuf,
    is_new: bool,
}

impl Reserved {
    /// Where nothing lies yet; whatever comes there meanwhile stays.
    pub fn for_new(path: &Path) -> Result<Self> {
        if path.symlink_metadata().is_ok() {
            return Err(exists(path));
        }
        Self::open(path, PRIVATE, true)
    }

    /// For what lies there, with the mode that it has.
    pub fn for_old(path: &Path) -> Result<Self> {
        let found = std::fs::metadata(path)
            .map_err(|error| Error::io(format!("cannot read {}", path.display()), &error))?;
        Self::open(path, found.permissions().mode() & 0o777, false)
    }

    fn open(path: &Path, mode: u32, is_new: bool) -> Result<Self> {
        let (directory, beside) = places(path).ok_or_else(|| no_name(path))?;
        let file = create(&beside, mode).map_err(|error| unwritable(path, &error))?;
        Ok(Self { file, directory, beside, path: path.to_owned(), is_new })
    }

    /// Writes it: whole, or not at all.
    pub fn place(mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_all());
        let placed = written.and_then(|()| match self.is_new {
            true => std::fs::hard_link(&self.beside, &self.path),
            false => std::fs::rename(&self.beside, &self.path),
        });
        let kept = placed.and_then(|()| File::open(&self.directory)?.sync_all());
        kept.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(&self.path),
            _ => unwritable(&self.path, &error),
        })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        // It is there unless it was moved to its place.
        drop(std::fs::remove_file(&self.beside));
    }
}

fn exists(path: &Path) -> Error {
    Error::new(Code::FileExists, format!("{} exists already", path.display()))
        .next("name a file that does not exist: nothing is overwritten")
}

fn unwritable(path: &Path, error: &io::Error) -> Error {
    Error::io(format!("cannot write {}", path.display()), error)
}

fn no_name(path: &Path) -> Error {
    Error::new(Code::ConfigMalformed, format!("{} names no file", path.display()))
}

fn read(path: &Path) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let max = limits::IDENTITY_FILE_BYTES_MAX;
    let file = File::open(path)?;
    let expected = usize::try_from(file.metadata()?.len()).unwrap_or(max).min(max);
    // With room for all of it the buffer never moves, and no copy stays behind unwiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected + 1));
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= max).then_some(bytes))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let (directory, beside) = places(path).ok_or_else(|| no_name(path))?;
    let written = write_durably(&beside, bytes, mode)
        .and_then(|()| std::fs::rename(&beside, path))
        .and_then(|()| File::open(&directory)?.sync_all());
    if written.is_err() {
        // Whether or not it is there: the error that counts is the one above.
        drop(std::fs::remove_file(&beside));
    }
    written.map_err(|error| unwritable(path, &error))
}

fn write_durably(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = create(path, mode)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn create(path: &Path, mode: u32) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // Whatever the process's mask made of the mode.
    file.set_permissions(Permissions::from_mode(mode))?;
    Ok(file)
}

/// The directory of a file, and a name in it that no other writer has taken.
fn places(path: &Path) -> Option<(PathBuf, PathBuf)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name()?;
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // In a container every process has the same id: what a killed one left must not be in the way.
    let chance = (&SystemEntropy as &dyn Entropy).below(1 << 32);
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}-{number}-{chance:08x}.new", std::process::id()));
    let beside = directory.join(temporary);
    Some((directory, beside))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn private_files_are_for_their_owner_only_even_where_a_public_one_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.key");
        write_public(&path, b"old").unwrap();
        assert_eq!(mode(&path), 0o644);
        write_private(&path, b"new").unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(read_private(&path).unwrap().as_slice(), b"new");
        assert_eq!(names(dir.path()), ["agent.key"], "nothing else is left behind");
    }

    #[test]
    fn a_write_that_fails_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let taken = dir.path().join("taken");
        std::fs::create_dir(&taken).unwrap();
        std::fs::write(taken.join("inside"), b"kept").unwrap();
        assert!(write_private(&taken, b"bytes").is_err());
        assert_eq!(names(dir.path()), ["taken"]);
        assert_eq!(std::fs::read(taken.join("inside")).unwrap(), b"kept");
        let missing = write_private(&dir.path().join("no/such/place"), b"x").unwrap_err();
        assert_eq!(missing.code, Code::FileMissing);
        assert_eq!(write_private(Path::new("/"), b"x").unwrap_err().code, Code::ConfigMalformed);
    }

    #[test]
    fn what_is_there_is_not_overwritten_and_what_is_given_up_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ben.key");
        let late = Reserved::for_new(&path).unwrap();
        write_new_private(&path, b"ben's").unwrap();
        assert_eq!(mode(&path), 0o600);
        for refused in [late.place(b"other"), write_new_private(&path, b"other")] {
            assert_eq!(refused.unwrap_err().code, Code::FileExists);
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"ben's");
        drop(Reserved::for_new(&dir.path().join("given-up")).unwrap());
        drop(Reserved::for_old(&path).unwrap());
        assert_eq!(names(dir.path()), ["ben.key"]);
        Reserved::for_old(&path).unwrap().place(b"renewed").unwrap();
        assert_eq!((std::fs::read(&path).unwrap(), mode(&path)), (b"renewed".to_vec(), 0o600));
        assert_eq!(names(dir.path()), ["ben.key"]);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("nowhere"), &link).unwrap();
        assert_eq!(Reserved::for_new(&link).unwrap_err().code, Code::FileExists);
        let missing = Reserved::for_old(&dir.path().join("none")).unwrap_err();
        assert_eq!(missing.code, Code::FileMissing);
    }

    #[test]
    fn a_link_is_replaced_and_what_it_pointed_to_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        std::fs::write(&target, b"theirs").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        write_private(&link, b"ours").unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"theirs");
        assert!(link.symlink_metadata().unwrap().is_file());
    }

    #[test]
    fn a_private_directory_keeps_others_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        create_private_dir(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        create_private_dir(&path).unwrap();
    }

    #[test]
    fn a_file_without_end_and_a_text_that_is_none_are_refused() {
        assert_eq!(read_private(Path::new("/dev/zero")).unwrap_err().code, Code::LimitExceeded);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        std::fs::write(&path, b"\xff\xfe").unwrap();
        assert_eq!(read_text(&path).unwrap_err().code, Code::ConfigMalformed);
        assert_eq!(read_text(&dir.path().join("none")).unwrap_err().code, Code::FileMissing);
    }
}
