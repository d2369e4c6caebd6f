//! Opening the target itself, and making what is missing of it.
//!
//! What exists of its path is opened as it is written, links and all; what is missing is made
//! beneath that open directory, where no link is followed. So it is known where everything will
//! lie before anything is made, and nobody who swaps a directory for a link later moves it: the
//! directory that was judged is the one that is written to.

use super::beneath::Beneath;
use super::inside::InsidePath;
use holdfast_common::{Error, Result};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Has nothing against a directory, or refuses it.
pub type Insist<'a> = &'a dyn Fn(&Path) -> Result<()>;

/// Opens the directory once `insist` has nothing against where it lies.
pub(super) fn open(directory: &Path, insist: Option<Insist<'_>>) -> Result<OwnedFd> {
    let (found, missing) = judged(directory, insist)?;
    if missing.is_empty() {
        return readable(found.as_fd()).map_err(|errno| failed("open", directory, errno));
    }
    let parts = missing.iter().flat_map(|name| [b"/", name.as_bytes()].concat());
    let made =
        Beneath::new(found).directory_or_new(InsidePath::parse(&parts.collect::<Vec<u8>>())?)?;
    let root = readable(made.as_fd()).map_err(|errno| failed("open", directory, errno))?;
    if let Some(insist) = insist {
        insist(&real_path(root.as_fd())?)?;
    }
    Ok(root)
}

/// The same without making anything; `None` where there is no directory yet.
pub(super) fn look(directory: &Path, insist: Option<Insist<'_>>) -> Result<Option<OwnedFd>> {
    let (found, missing) = judged(directory, insist)?;
    let open = || readable(found.as_fd()).map_err(|errno| failed("open", directory, errno));
    missing.is_empty().then(open).transpose()
}

/// Where an open directory lies now, whatever names led to it.
pub(super) fn real_path(directory: BorrowedFd<'_>) -> Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", directory.as_raw_fd()))
        .map_err(|error| Error::io("cannot tell where the target lies", &error))
}

/// The deepest directory of the path, once `insist` has nothing against where the whole of it lies.
fn judged(directory: &Path, insist: Option<Insist<'_>>) -> Result<(OwnedFd, Vec<OsString>)> {
    let (found, missing) = deepest(directory).map_err(|errno| failed("open", directory, errno))?;
    if let Some(insist) = insist {
        let real = real_path(found.as_fd())?;
        insist(&missing.iter().fold(real, |path, name| path.join(name)))?;
    }
    Ok((found, missing))
}

/// The deepest directory of the path that exists, and the names that are missing below it.
fn deepest(directory: &Path) -> Result<(OwnedFd, Vec<OsString>), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut missing = Vec::new();
    let mut there = directory;
    loop {
        let path = if there.as_os_str().is_empty() { Path::new(".") } else { there };
        match openat(CWD, path, flags, Mode::empty()) {
            Ok(found) => {
                missing.reverse();
                return Ok((found, missing));
            }
            Err(Errno::NOENT) => {
                // `..` behind something that is missing has no name, and leads nowhere.
                let (name, above) = there.file_name().zip(there.parent()).ok_or(Errno::NOENT)?;
                missing.push(name.to_owned());
                there = above;
            }
            Err(errno) => return Err(errno),
        }
    }
}

fn readable(directory: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(directory, c".", flags, Mode::empty())
}

fn failed(verb: &str, directory: &Path, errno: Errno) -> Error {
    Error::io(format!("cannot {verb} the target `{}`", directory.display()), &errno.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::Code;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_missing_is_made_where_the_rest_really_lies() {
        let scratch = tempfile::tempdir().unwrap();
        let base = scratch.path().canonicalize().unwrap();
        std::fs::create_dir(base.join("real")).unwrap();
        symlink("real", base.join("link")).unwrap();
        for (asked, lies) in
            [("real", "real"), ("link", "real"), ("link/new/deep", "real/new/deep")]
        {
            let root = open(&base.join(asked), None).unwrap();
            assert_eq!(real_path(root.as_fd()).unwrap(), base.join(lies), "{asked}");
        }
        std::fs::write(base.join("file"), b"").unwrap();
        assert!(open(&base.join("file/new"), None).is_err());
        assert!(open(&base.join("new/../real"), None).is_err());
        assert!(!base.join("new").exists());
    }

    #[test]
    fn a_refused_directory_is_not_made_and_a_link_that_leads_nowhere_makes_none() {
        let scratch = tempfile::tempdir().unwrap();
        let base = scratch.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("in")).unwrap();
        std::fs::create_dir_all(base.join("out")).unwrap();
        symlink("../out", base.join("in/link")).unwrap();
        symlink("../nowhere", base.join("in/dangling")).unwrap();
        let insist = |real: &Path| match real.starts_with(base.join("in")) {
            true => Ok(()),
            false => Err(Error::new(Code::TargetRefused, "not there")),
        };
        let refused = |path: &str| open(&base.join(path), Some(&insist)).unwrap_err().code;
        for path in ["out", "in/link", "in/link/new", "in/../out/new"] {
            assert_eq!(refused(path), Code::TargetRefused, "{path}");
        }
        assert_eq!(refused("in/dangling/new"), Code::TargetEscape);
        assert_eq!(std::fs::read_dir(base.join("out")).unwrap().count(), 0);
        assert!(!base.join("nowhere").exists());
        open(&base.join("in/new/deep"), Some(&insist)).unwrap();
    }

    #[test]
    fn a_directory_that_is_swapped_for_a_link_while_it_is_judged_is_not_left() {
        let scratch = tempfile::tempdir().unwrap();
        let base = scratch.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("in/there")).unwrap();
        std::fs::create_dir_all(base.join("out")).unwrap();
        let swap = |real: &Path| {
            if base.join("in/there").exists() && !base.join("in/aside").exists() {
                std::fs::rename(base.join("in/there"), base.join("in/aside")).unwrap();
                symlink("../out", base.join("in/there")).unwrap();
            }
            assert!(real.starts_with(base.join("in")));
            Ok(())
        };
        let root = open(&base.join("in/there/new"), Some(&swap)).unwrap();
        assert_eq!(real_path(root.as_fd()).unwrap(), base.join("in/aside/new"));
        assert_eq!(std::fs::read_dir(base.join("out")).unwrap().count(), 0);
    }
}
