//! The blocking work of a local location: put, get, head, delete, probe.
//!
//! Nothing is acknowledged before the file, its folder and every new folder above it are synced,
//! and a failed sync is a failed put. An object that is found in place of the one to be written is
//! compared and synced too: whoever renamed it may not have come so far. A final name is only ever
//! created or deleted, never written to or taken back; only healing renames another file over it.

use super::beneath::{self, FOLDER_MODE, Standing};
use super::temporary::{self, Published, Temporary};
use crate::store::{ObjectMeta, Receipt};
use crate::{ObjectName, refusal};
use core::ops::Range;
use holdfast_common::{Code, Error, Result};
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};
use std::collections::HashSet;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// How a file or folder is made durable; replaced only by tests.
pub(super) type SyncFile = fn(BorrowedFd<'_>) -> rustix::io::Result<()>;

/// Folders known to be durable; the fan-out of packs has 256.
const DURABLE_FOLDERS_MAX: usize = 4096;
/// A put begins again when a sweep or a delete came between; more than this is not chance.
const PUT_ATTEMPTS_MAX: usize = 4;
const COMPARE_BYTES: usize = 256 << 10;
const TRIED: &[u8] = b"what is tried here";

pub(super) struct Directory {
    root: OwnedFd,
    path: PathBuf,
    sync: SyncFile,
    durable: Mutex<HashSet<String>>,
}

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let root = beneath::open_root(path)?;
        Ok(Self { root, path: path.to_owned(), sync: beneath::sync, durable: Mutex::default() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Leftovers cost room, not correctness, so a sweep that fails is only told of.
    pub(super) fn sweep(&self) {
        let location = self.path.display();
        match temporary::sweep(self.root()) {
            Ok(0) => {}
            Ok(files) => tracing::info!(%location, files, "leftovers of dead writers removed"),
            Err(error) => tracing::warn!(%location, %error, "leftovers could not be removed"),
        }
    }

    pub(super) fn put_new(&self, name: &ObjectName, bytes: &[u8]) -> Result<Receipt> {
        refusal::check_object(name, bytes.len())?;
        let receipt = Receipt::of(name, bytes);
        if self.holds(&receipt)? {
            return Ok(receipt.existed());
        }
        let (_, last) = name.split();
        for _ in 0..PUT_ATTEMPTS_MAX {
            let folder = self.make_folder_of(name)?;
            let temporary = Temporary::write(self.root(), bytes, self.sync)?;
            match temporary.publish(folder.as_fd(), last)? {
                Published::Stored => {
                    self.sync(folder.as_fd(), name)?;
                    return Ok(receipt);
                }
                Published::Taken if self.holds(&receipt)? => return Ok(receipt.existed()),
                Published::Taken => {}
                // The folder itself may be what is gone, and then is no longer known.
                Published::Swept => self.forget_durable(""),
            }
        }
        Err(removed_again(name))
    }

    /// One rename, so that what lies there is lost only when the other bytes have its name.
    pub(super) fn replace(&self, name: &ObjectName, bytes: &[u8]) -> Result<()> {
        refusal::check_object(name, bytes.len())?;
        let (_, last) = name.split();
        for _ in 0..PUT_ATTEMPTS_MAX {
            let folder = self.make_folder_of(name)?;
            let temporary = Temporary::write(self.root(), bytes, self.sync)?;
            match temporary.publish_over(folder.as_fd(), last)? {
                Published::Stored => return self.sync(folder.as_fd(), name),
                Published::Taken => return Err(refusal::conflict(name).cause("it is a folder")),
                Published::Swept => self.forget_durable(""),
            }
        }
        Err(removed_again(name))
    }

    pub(super) fn get(&self, name: &ObjectName, bytes_max: usize) -> Result<Vec<u8>> {
        let (file, length) = self.object(name)?;
        let wanted = refusal::check_whole(name, length, bytes_max)?;
        read(name, &file, 0, wanted)
    }

    pub(super) fn get_range(&self, name: &ObjectName, range: &Range<u64>) -> Result<Vec<u8>> {
        let (file, length) = self.object(name)?;
        let wanted = refusal::check_range(name, range, length)?;
        read(name, &file, range.start, wanted)
    }

    pub(super) fn head(&self, name: &ObjectName) -> Result<Option<ObjectMeta>> {
        match beneath::open_object(self.root(), name)? {
            Standing::Object(_, stat) => Ok(Some(ObjectMeta {
                name: name.clone(),
                length: length_of(&stat),
                modified: beneath::modified(&stat),
            })),
            Standing::Absent | Standing::Folder => Ok(None),
        }
    }

    /// Synced even when there was nothing: an earlier delete may not have come so far.
    pub(super) fn delete(&self, name: &ObjectName) -> Result<bool> {
        let Some(folder) = beneath::folder_of(self.root(), name)? else { return Ok(false) };
        let existed = match beneath::open_object(self.root(), name)? {
            Standing::Absent | Standing::Folder => false,
            Standing::Object(..) => {
                let (_, last) = name.split();
                match rustix::fs::unlinkat(&folder, last, rustix::fs::AtFlags::empty()) {
                    Ok(()) => true,
                    Err(Errno::NOENT) => false,
                    Err(errno) => {
                        return Err(refusal::errno(format!("deleting object {name}"), errno));
                    }
                }
            }
        };
        self.sync(folder.as_fd(), name)?;
        Ok(existed)
    }

    pub(super) fn free_bytes(&self) -> Result<u64> {
        let space = rustix::fs::fstatvfs(&self.root).map_err(|errno| {
            refusal::errno(format!("asking {} for its space", self.path.display()), errno)
        })?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    pub(super) fn has_tmp(&self) -> Result<bool> {
        let refused = |errno| refusal::errno("looking for the location's tmp/", errno);
        temporary::has_tmp(self.root()).map_err(refused)
    }

    /// Unless somebody has put something there meanwhile.
    pub(super) fn remove_tmp(&self) -> Result<()> {
        let refused = |errno| refusal::errno("removing the location's tmp/", errno);
        temporary::remove_tmp(self.root()).map_err(refused)
    }

    pub(super) fn prove_create_only(&self) -> Result<bool> {
        temporary::prove_create_only(self.root(), self.sync)
    }

    pub(super) fn prove_reading(&self) -> Result<()> {
        Temporary::write(self.root(), TRIED, self.sync)?.prove_reading(TRIED)
    }

    pub(super) fn prove_deleting(&self) -> Result<()> {
        Temporary::write(self.root(), TRIED, self.sync)?.remove()
    }

    fn object(&self, name: &ObjectName) -> Result<(File, u64)> {
        match beneath::open_object(self.root(), name)? {
            Standing::Object(file, stat) => Ok((file, length_of(&stat))),
            Standing::Absent | Standing::Folder => Err(refusal::missing(name)),
        }
    }

    /// Whether the same bytes lie there, durably; other bytes are a conflict.
    fn holds(&self, receipt: &Receipt) -> Result<bool> {
        let name = &receipt.name;
        let (file, stat) = match beneath::open_object(self.root(), name)? {
            Standing::Absent => return Ok(false),
            Standing::Folder => return Err(refusal::conflict(name)),
            Standing::Object(file, stat) => (file, stat),
        };
        let length = length_of(&stat);
        if length != receipt.length {
            return Err(refusal::conflict(name));
        }
        refusal::check_same(receipt, length, &hash(name, &file)?)?;
        self.sync(file.as_fd(), name)?;
        let folder = self.make_folder_of(name)?;
        self.sync(folder.as_fd(), name)?;
        Ok(true)
    }

    /// Opens the folder of an object, making what is missing of the way, durably. A folder that
    /// another writer made counts only once its entry was synced here too.
    fn make_folder_of(&self, name: &ObjectName) -> Result<OwnedFd> {
        let refused = |errno| refusal::errno(format!("making the folder of object {name}"), errno);
        let (folders, _) = name.split();
        let mut at = self.root.try_clone().map_err(|error| refusal::io("opening", &error))?;
        let mut way = String::new();
        for part in folders {
            way.push_str(part);
            way.push('/');
            let folder = match beneath::open_folder(at.as_fd(), part) {
                Err(Errno::NOENT) => {
                    self.forget_durable(&way);
                    match rustix::fs::mkdirat(&at, part, FOLDER_MODE) {
                        Ok(()) | Err(Errno::EXIST) => beneath::open_folder(at.as_fd(), part),
                        Err(errno) => Err(errno),
                    }
                }
                opened => opened,
            };
            let folder = match folder {
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    beneath::refuse_link(at.as_fd(), part, name)?;
                    return Err(refusal::conflict(name).cause(format!("{part} is an object")));
                }
                folder => folder.map_err(refused)?,
            };
            if !self.is_durable(&way) {
                self.sync(at.as_fd(), name)?;
                self.remember_durable(&way);
            }
            at = folder;
        }
        Ok(at)
    }

    fn sync(&self, file: BorrowedFd<'_>, name: &ObjectName) -> Result<()> {
        (self.sync)(file)
            .map_err(|errno| refusal::errno(format!("making object {name} durable"), errno))
    }

    fn is_durable(&self, way: &str) -> bool {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(way)
    }

    fn remember_durable(&self, way: &str) {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if durable.len() >= DURABLE_FOLDERS_MAX {
            durable.clear();
        }
        durable.insert(way.to_owned());
    }

    /// What was beneath a folder that is gone is gone with it.
    fn forget_durable(&self, way: &str) {
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        durable.retain(|known| !known.starts_with(way));
    }
}

fn removed_again(name: &ObjectName) -> Error {
    let message = format!("object {name} was removed again and again while it was put");
    Error::new(Code::LocationIoFailed, message).next("find out who else deletes there")
}

fn length_of(stat: &rustix::fs::Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or_default()
}

fn read(name: &ObjectName, file: &File, offset: u64, wanted: usize) -> Result<Vec<u8>> {
    // Pieces of some MiB, many of them: none is filled with zeros first.
    let mut bytes = Vec::with_capacity(wanted);
    while bytes.len() < wanted {
        let at = offset + bytes.len() as u64;
        match pread(file, spare_capacity(&mut bytes), at) {
            Ok(0) => {
                let shorter = format!("object {name} became shorter while read");
                return Err(Error::new(Code::ObjectDamaged, shorter));
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(refusal::errno(format!("reading object {name}"), errno)),
        }
    }
    bytes.truncate(wanted);
    Ok(bytes)
}

fn hash(name: &ObjectName, file: &File) -> Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    let (mut piece, mut offset) = (vec![0; COMPARE_BYTES], 0);
    loop {
        let read = match file.read_at(&mut piece, offset) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read.map_err(|e| refusal::io(format!("comparing object {name}"), &e))?,
        };
        if read == 0 {
            return Ok(hasher.finalize());
        }
        hasher.update(&piece[..read]);
        offset += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::RefCell;
    use rustix::fs::FileType;
    use std::os::unix::fs::MetadataExt;

    thread_local! {
        static SYNCED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    }

    fn recorded(file: BorrowedFd<'_>) -> rustix::io::Result<()> {
        let inode = rustix::fs::fstat(file)?.st_ino;
        SYNCED.with_borrow_mut(|synced| synced.push(inode));
        Ok(())
    }

    fn failing(file: BorrowedFd<'_>, kind: FileType) -> rustix::io::Result<()> {
        match FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode) == kind {
            true => Err(Errno::IO),
            false => Ok(()),
        }
    }

    fn open(root: &Path, sync: SyncFile) -> Directory {
        Directory { sync, ..Directory::open(root).unwrap() }
    }

    fn name(text: &str) -> ObjectName {
        text.parse().unwrap()
    }

    #[test]
    fn everything_on_the_way_is_synced_and_the_folder_last() {
        let dir = tempfile::tempdir().unwrap();
        let directory = open(dir.path(), recorded);
        let inode = |below: &str| std::fs::metadata(dir.path().join(below)).unwrap().ino();
        let synced = || SYNCED.with_borrow_mut(std::mem::take);

        directory.put_new(&name("packs/ab/one"), b"1").unwrap();
        let due = ["", "packs", "packs/ab/one", "packs/ab"].map(inode);
        assert_eq!(synced(), due, "root, packs, the file, and then the folder that names it");

        directory.put_new(&name("packs/ab/two"), b"2").unwrap();
        assert_eq!(synced(), ["packs/ab/two", "packs/ab"].map(inode), "the way is known");

        let other = open(dir.path(), recorded);
        assert!(other.put_new(&name("packs/ab/one"), b"1").unwrap().existed);
        let due = ["packs/ab/one", "", "packs", "packs/ab"].map(inode);
        assert_eq!(synced(), due, "what another wrote is made durable before it is acknowledged");

        assert!(directory.delete(&name("packs/ab/one")).unwrap());
        assert!(!directory.delete(&name("packs/ab/one")).unwrap());
        assert_eq!(synced(), ["packs/ab"; 2].map(inode), "a delete is durable, and one of before");
    }

    #[test]
    fn a_file_that_does_not_sync_never_gets_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let directory = open(dir.path(), |file| failing(file, FileType::RegularFile));
        let error = directory.put_new(&name("packs/ab/one"), b"1").unwrap_err();
        assert_eq!(error.code, Code::LocationIoFailed);
        assert!(!dir.path().join("packs/ab/one").exists());
        assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
        assert_eq!(directory.prove_create_only().unwrap_err().code, Code::LocationIoFailed);
    }

    #[test]
    fn a_folder_that_does_not_sync_is_not_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let sound = open(dir.path(), beneath::sync);
        let broken = open(dir.path(), |file| failing(file, FileType::Directory));
        for place in ["flat", "packs/ab/one"] {
            let error = broken.put_new(&name(place), b"1").unwrap_err();
            assert_eq!(error.code, Code::LocationIoFailed, "{place}");
            assert!(error.message.contains("durable"), "{error}");
            sound.put_new(&name(place), b"1").unwrap();
            broken.put_new(&name(place), b"1").unwrap_err();
            broken.delete(&name(place)).unwrap_err();
        }
    }

    #[test]
    fn what_replaces_an_object_is_durable_before_it_has_the_name() {
        let dir = tempfile::tempdir().unwrap();
        let directory = open(dir.path(), recorded);
        let one = name("packs/ab/one");
        directory.put_new(&one, b"damaged").unwrap();
        SYNCED.with_borrow_mut(Vec::clear);
        directory.replace(&one, b"whole").unwrap();
        let inode = |below: &str| std::fs::metadata(dir.path().join(below)).unwrap().ino();
        let due = ["packs/ab/one", "packs/ab"].map(inode);
        assert_eq!(SYNCED.with_borrow(Vec::clone), due, "the new file, and then its name");
        assert_eq!(directory.get(&one, 10).unwrap(), b"whole");

        let failing = open(dir.path(), |file| failing(file, FileType::RegularFile));
        failing.replace(&one, b"never").unwrap_err();
        assert_eq!(directory.get(&one, 10).unwrap(), b"whole", "what fails takes nothing away");
        let folder = directory.replace(&name("packs/ab"), b"1").unwrap_err();
        assert_eq!(folder.code, Code::ObjectConflict);
        assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_someone_removed_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let directory = open(dir.path(), recorded);
        directory.put_new(&name("packs/ab/one"), b"1").unwrap();
        std::fs::remove_dir_all(dir.path().join("packs")).unwrap();
        SYNCED.with_borrow_mut(Vec::clear);
        directory.put_new(&name("packs/ab/one"), b"1").unwrap();
        assert_eq!(SYNCED.with_borrow(Vec::len), 4, "and is durable again");
    }
}
