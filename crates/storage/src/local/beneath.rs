//! The way from a root to something beneath it, one part at a time, following nothing.
//!
//! Names hold no `..` and no empty part, and each step refuses symbolic links, so no step can leave
//! the root, whoever else may write there. Walking by descriptor does what `openat2` with
//! `RESOLVE_BENEATH` does, on every kernel and under every seccomp filter, with one code path.

use crate::{ObjectName, refusal};
use holdfast_common::{Code, Error, Result, Timestamp};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

pub(super) const FOLDER_MODE: Mode = Mode::from_raw_mode(0o750);

const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Not blocking, lest a planted FIFO holds a reader for ever.
const OBJECT: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What stands at a name.
pub(super) enum Standing {
    Absent,
    Object(File, Stat),
    /// A folder: the name is a prefix of other names here, and no object can take it.
    Folder,
}

/// The root itself may be reached through links: it is what the operator named.
pub(super) fn open_root(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR => {
            let message = format!("the location {} is not a directory", path.display());
            Error::new(Code::FileMissing, message)
                .cause(errno)
                .next("check the path and that its disk is mounted")
        }
        _ => refusal::errno(format!("the location {} does not open", path.display()), errno),
    })
}

/// Makes the root and the directories above it, and makes each of them durable.
pub(super) fn make_root(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    let above = above.unwrap_or(Path::new("."));
    make_root(above)?;
    let refused = |errno| refusal::errno(format!("making the location {}", path.display()), errno);
    match rustix::fs::mkdir(path, FOLDER_MODE) {
        Ok(()) | Err(Errno::EXIST) => sync(open_root(above)?.as_fd()).map_err(refused),
        Err(errno) => Err(refused(errno)),
    }
}

pub(super) fn open_folder(at: BorrowedFd<'_>, part: &str) -> rustix::io::Result<OwnedFd> {
    rustix::io::retry_on_intr(|| rustix::fs::openat(at, part, FOLDER, Mode::empty()))
}

/// The folder in which an object would lie, if there is one.
pub(super) fn folder_of(root: BorrowedFd<'_>, name: &ObjectName) -> Result<Option<OwnedFd>> {
    let (folders, _) = name.split();
    let mut at = root.try_clone_to_owned().map_err(|error| refusal::io("opening", &error))?;
    for part in folders {
        at = match open_folder(at.as_fd(), part) {
            Ok(folder) => folder,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                refuse_link(at.as_fd(), part, name)?;
                return Ok(None);
            }
            Err(errno) => return Err(refusal::errno(format!("looking for object {name}"), errno)),
        };
    }
    Ok(Some(at))
}

/// Opens whatever stands at a name, and refuses what is neither object nor folder.
pub(super) fn open_object(root: BorrowedFd<'_>, name: &ObjectName) -> Result<Standing> {
    let Some(folder) = folder_of(root, name)? else { return Ok(Standing::Absent) };
    let (_, last) = name.split();
    let open = || rustix::fs::openat(&folder, last, OBJECT, Mode::empty());
    let opened = match rustix::io::retry_on_intr(open) {
        Ok(opened) => opened,
        Err(Errno::NOENT) => return Ok(Standing::Absent),
        Err(Errno::LOOP | Errno::NXIO) => return Err(planted(last, name)),
        Err(errno) => return Err(refusal::errno(format!("opening object {name}"), errno)),
    };
    let stat = rustix::fs::fstat(&opened)
        .map_err(|errno| refusal::errno(format!("looking at object {name}"), errno))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(Standing::Object(File::from(opened), stat)),
        FileType::Directory => Ok(Standing::Folder),
        _ => Err(planted(last, name)),
    }
}

/// A part that is no directory is either another object, which is fine, or a trap.
pub(super) fn refuse_link(at: BorrowedFd<'_>, part: &str, name: &ObjectName) -> Result<()> {
    match rustix::fs::statat(at, part, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
            Err(planted(part, name))
        }
        _ => Ok(()),
    }
}

pub(super) fn modified(stat: &Stat) -> Timestamp {
    let nanos = i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec);
    Timestamp::from_nanos(i64::try_from(nanos).unwrap_or_default())
}

pub(super) fn sync(file: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::io::retry_on_intr(|| rustix::fs::fsync(file))
}

fn planted(part: &str, name: &ObjectName) -> Error {
    let message = format!("`{part}` of object {name} is a link or a special file, not followed");
    Error::new(Code::ObjectDamaged, message)
        .next("find out who made it, remove it, and run `holdfast verify --all --level storage`")
}
