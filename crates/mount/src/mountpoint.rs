//! The directory that is mounted on: there, empty, and not mounted on already; and what was mounted
//! there, which alone is taken away in the end.

use holdfast_common::{Code, Error, Result};
use rustix::{
    fs::{AtFlags, CWD, StatxFlags, statx},
    io::Errno,
    mount::UnmountFlags,
};
use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

/// A directory that may be mounted on.
#[derive(Clone, Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// Looks at it. What lies in it would be out of sight for as long as something is mounted.
    pub fn new(path: &Path) -> Result<Self> {
        let shown = path.display();
        let found = fs::metadata(path).map_err(|error| match error.raw_os_error() {
            Some(DEAD_MOUNT) => taken(format!("`{shown}` is mounted, and nobody serves it"))
                .next(format!("take it away with `umount {shown}`")),
            _ => Error::io(format!("nothing can be mounted on `{shown}`"), &error)
                .next("make the directory first"),
        })?;
        if !found.is_dir() {
            return Err(taken(format!("`{shown}` is no directory")));
        }
        let real = fs::canonicalize(path)
            .map_err(|error| Error::io(format!("`{shown}` cannot be followed"), &error))?;
        if is_mounted_on(&real, &found) {
            return Err(taken(format!("something is mounted on `{shown}` already"))
                .next(format!("take it away with `umount {shown}`, or name another directory")));
        }
        let mut inside = fs::read_dir(&real)
            .map_err(|error| Error::io(format!("`{shown}` cannot be looked into"), &error))?;
        if inside.next().is_some() {
            return Err(taken(format!("`{shown}` is not empty")));
        }
        Ok(Self(real))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What the kernel, or the helper of those who are not root, said against it.
    pub(crate) fn refused(&self, error: &io::Error) -> Error {
        let shown = self.0.display();
        let device = Path::new(DEVICE);
        let said = error.to_string();
        if !device.exists() || error.raw_os_error() == Some(NO_DEVICE) {
            return Error::new(Code::MountUnsupported, format!("there is no {DEVICE}")).cause(said);
        }
        let code = match error.kind() {
            ErrorKind::NotFound | ErrorKind::PermissionDenied => Code::MountRefused,
            _ if said.contains("ermission denied") || said.contains("ermitted") => {
                Code::MountRefused
            }
            _ => Code::FileIoFailed,
        };
        Error::new(code, format!("nothing was mounted on `{shown}`")).cause(said.trim())
    }
}

/// What was mounted on a directory, told from whatever else may be mounted there.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    on: Directory,
    mounted: Mark,
}

/// What the kernel tells mounts apart by, for as long as they stand; newer kernels for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    major: u32,
    minor: u32,
    mount: u64,
    is_for_ever: bool,
}

impl Standing {
    /// What is mounted there now.
    pub(crate) fn on(directory: Directory) -> Result<Self> {
        let mounted = Mark::of(&directory.0).map_err(|error| {
            Error::io(format!("`{}` cannot be looked at", directory.0.display()), &error.into())
        })?;
        Ok(Self { on: directory, mounted })
    }

    /// Takes it away at once. Whoever waits for an answer or has something open gets errors from
    /// then on. Where it is away already, or out of sight beneath something else, nothing is done.
    pub(crate) fn take_away(&self) -> Result<()> {
        if Mark::of(&self.on.0) != Ok(self.mounted) {
            return Ok(());
        }
        // By force: what waits in the kernel is let go of. Not every root may.
        let forced = UnmountFlags::FORCE | UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        let by_root = || match rustix::mount::unmount(&self.on.0, forced) {
            Err(Errno::PERM) => {
                self.abort();
                rustix::mount::unmount(&self.on.0, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
            }
            done => done,
        };
        match by_root() {
            // Somebody else did just now.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(Errno::PERM) => self.ask_to_take_away(),
            Err(error) => Err(self.still_there(&error.into())),
        }
    }

    /// The same when nobody serves it any more: what stands there may have got its number since.
    pub(crate) fn take_away_dead(&self) -> Result<()> {
        if self.mounted.is_for_ever { self.take_away() } else { Ok(()) }
    }

    /// What force does, for whoever is not root: where the kernel's list of these mounts is at
    /// hand, it is his to end. Where it is not, answers are waited for.
    fn abort(&self) {
        let Mark { minor, .. } = self.mounted;
        let _not_at_hand = fs::write(format!("{CONNECTIONS}/{minor}/abort"), "1");
    }

    /// For whoever is not root.
    fn ask_to_take_away(&self) -> Result<()> {
        let mut asked = Command::new(HELPER);
        let done = asked.args(["-u", "-q", "-z", "--"]).arg(&self.on.0).status();
        match done {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(self.still_there(&io::Error::other(format!("{HELPER}: {status}")))),
            Err(error) => Err(self.still_there(&error)),
        }
    }

    fn still_there(&self, error: &io::Error) -> Error {
        let shown = self.on.0.display();
        Error::io(format!("`{shown}` was not unmounted"), error)
            .next(format!("take it away with `umount -l {shown}`"))
    }
}

impl Mark {
    /// Of what is mounted there; whoever serves it is not asked.
    fn of(path: &Path) -> core::result::Result<Self, Errno> {
        let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
        let found = statx(CWD, path, flags, StatxFlags::TYPE | StatxFlags::MNT_ID | UNIQUE)?;
        let is_for_ever = found.stx_mask & UNIQUE.bits() != 0;
        let (major, minor) = (found.stx_dev_major, found.stx_dev_minor);
        Ok(Self { major, minor, mount: found.stx_mnt_id, is_for_ever })
    }
}

fn is_mounted_on(real: &Path, found: &fs::Metadata) -> bool {
    let Some(parent) = real.parent() else { return true };
    let above = fs::metadata(parent);
    above.is_ok_and(|above| above.dev() != found.dev()) || is_listed(real)
}

/// A directory of the same file system that is mounted once more is only in the list.
fn is_listed(real: &Path) -> bool {
    let Ok(list) = fs::read_to_string("/proc/self/mountinfo") else { return false };
    let shown = real.display().to_string().replace(' ', "\\040");
    list.lines().any(|line| line.split(' ').nth(4) == Some(&*shown))
}

fn taken(message: String) -> Error {
    Error::new(Code::MountDirectoryTaken, message)
}

const DEVICE: &str = "/dev/fuse";
const HELPER: &str = "fusermount3";
/// `STATX_MNT_ID_UNIQUE`, since Linux 6.8.
const UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);
const CONNECTIONS: &str = "/sys/fs/fuse/connections";
/// ENOTCONN, ENODEV.
const DEAD_MOUNT: i32 = 107;
const NO_DEVICE: i32 = 19;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_directory_is_mounted_on() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Directory::new(dir.path()).is_ok());
        let missing = Directory::new(&dir.path().join("missing")).unwrap_err();
        assert_eq!(missing.code, Code::FileMissing);
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        for path in [&file, &dir.path().to_owned(), &PathBuf::from("/proc"), &PathBuf::from("/")] {
            let refused = Directory::new(path).unwrap_err();
            assert_eq!(refused.code, Code::MountDirectoryTaken, "{}", path.display());
        }
    }
}
