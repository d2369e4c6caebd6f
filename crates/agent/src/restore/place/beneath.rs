//! Finding directories beneath the target without ever leaving it.
//!
//! The kernel does it in one call where it can (openat2 with RESOLVE_BENEATH and NO_SYMLINKS);
//! where that call does not exist, each part is opened on its own, refusing links. Both refuse a
//! path that leads through a symbolic link, wherever the link points: even one to a directory
//! inside the target is not what the manifest says is there.
//!
//! The last directories used stay open, because files come in the order of the packs they lie in.

use super::inside::{InsidePath, escaped, shown};
use crate::source::files::Status;
use holdfast_common::{Code, Error, Result, limits};
use holdfast_seal::manifest::entry::EntryKind;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat, openat2};
use rustix::io::Errno;
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// How much of a path the kernel takes at once, below its own limit of 4,096.
const STRETCH_BYTES_MAX: usize = 4000;

/// Filesystems that are synced one by one; a target with more is synced with all others.
const FILESYSTEMS_MAX: usize = 64;

const PASS: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// By their path beneath the target.
type OpenDirectories = VecDeque<(Box<[u8]>, Arc<OwnedFd>)>;

#[derive(Debug)]
pub(crate) struct Beneath {
    root: Arc<OwnedFd>,
    /// Least recently used first.
    open: Mutex<OpenDirectories>,
    /// One directory of each filesystem that was written to, by its device.
    filesystems: Mutex<Vec<(u64, Arc<OwnedFd>)>>,
    /// What was made on the way to something else, and not by its own entry: few, since entries
    /// come with their directories first.
    made: Mutex<HashSet<Box<[u8]>>>,
    one_call: bool,
}

impl Beneath {
    pub(crate) fn new(root: OwnedFd) -> Self {
        let one_call = opens_in_one_call(root.as_fd());
        let root = Arc::new(root);
        let (open, filesystems, made) = Default::default();
        let beneath = Self { root, open, filesystems, made, one_call };
        beneath.remember_filesystem(&beneath.root);
        beneath
    }

    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Waits until every filesystem that was written to is on its disk.
    pub(crate) fn sync(&self) -> Result<()> {
        let unsynced = |errno: Errno| Error::io("cannot sync the target", &errno.into());
        let opened: Vec<_> = {
            let filesystems = self.filesystems.lock().unwrap_or_else(PoisonError::into_inner);
            if filesystems.len() > FILESYSTEMS_MAX {
                rustix::fs::sync();
                return Ok(());
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let open = |directory: &OwnedFd| openat(directory, c".", flags, Mode::empty());
            filesystems
                .iter()
                .map(|(_, directory)| open(directory))
                .collect::<Result<_, _>>()
                .map_err(unsynced)?
        };
        // Others go on meanwhile.
        opened.into_iter().try_for_each(rustix::fs::syncfs).map_err(unsynced)
    }

    fn remember_filesystem(&self, directory: &Arc<OwnedFd>) {
        let Ok(status) = Status::of_open(directory) else { return };
        let mut known = self.filesystems.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = known.iter().all(|(device, _)| *device != status.inode.device);
        // One more than the bound says that there are too many to sync one by one.
        if is_new && known.len() <= FILESYSTEMS_MAX {
            known.push((status.inode.device, directory.clone()));
        }
    }

    /// The directory, which must be there.
    pub(crate) fn directory(&self, path: InsidePath<'_>) -> Result<Arc<OwnedFd>> {
        if let Some(known) = self.known(path) {
            return Ok(known);
        }
        let found = self.resolve(path.relative()).map_err(|errno| self.refusal(path, errno))?;
        Ok(self.keep(path, found))
    }

    /// The directory, made if it is not there, like those above it. What is made so can be entered
    /// by its owner only, until its entry says otherwise.
    pub(crate) fn directory_or_new(&self, path: InsidePath<'_>) -> Result<Arc<OwnedFd>> {
        if let Some(known) = self.known(path) {
            return Ok(known);
        }
        match self.resolve(path.relative()) {
            Ok(found) => Ok(self.keep(path, found)),
            Err(Errno::NOENT) => {
                let made = self.make_all(path).map_err(|errno| self.refusal(path, errno))?;
                Ok(self.keep(path, made))
            }
            Err(errno) => Err(self.refusal(path, errno)),
        }
    }

    /// Whether the directory was made on the way to something beneath it.
    pub(crate) fn was_made(&self, path: InsidePath<'_>) -> bool {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).contains(path.relative())
    }

    /// Forgets what it knows of directories at and beneath a path that is no longer there.
    pub(crate) fn forget(&self, path: InsidePath<'_>) {
        let gone = path.relative();
        self.lock().retain(|(known, _)| {
            !known.strip_prefix(gone).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        });
    }

    fn known(&self, path: InsidePath<'_>) -> Option<Arc<OwnedFd>> {
        if path.is_target() {
            return Some(self.root.clone());
        }
        let mut open = self.lock();
        let at = open.iter().rposition(|(known, _)| **known == *path.relative())?;
        let used = open.remove(at)?;
        let directory = used.1.clone();
        open.push_back(used);
        Some(directory)
    }

    fn keep(&self, path: InsidePath<'_>, directory: OwnedFd) -> Arc<OwnedFd> {
        let directory = Arc::new(directory);
        self.remember_filesystem(&directory);
        let mut open = self.lock();
        if open.len() >= limits::TARGET_OPEN_MAX {
            open.pop_front();
        }
        open.push_back((path.relative().into(), directory.clone()));
        directory
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, OpenDirectories> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resolve(&self, relative: &[u8]) -> rustix::io::Result<OwnedFd> {
        let mut at: Option<OwnedFd> = None;
        for stretch in stretches(relative, self.one_call) {
            let from = at.as_ref().map_or(self.root.as_fd(), AsFd::as_fd);
            at = Some(if self.one_call {
                one_call(from, stretch)?
            } else {
                one_part(from, stretch)?
            });
        }
        at.map_or_else(|| one_part(self.root.as_fd(), b"."), Ok)
    }

    fn make_all(&self, path: InsidePath<'_>) -> rustix::io::Result<OwnedFd> {
        let mut at: Option<OwnedFd> = None;
        let mut passed = 0;
        for part in stretches(path.relative(), false) {
            let from = at.as_ref().map_or(self.root.as_fd(), AsFd::as_fd);
            let end = passed + part.len();
            match mkdirat(from, part, Mode::RWXU) {
                Ok(()) => {
                    let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
                    made.insert(path.relative()[..end].into());
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            passed = end + 1;
            at = Some(one_part(from, part)?);
        }
        at.map_or_else(|| one_part(self.root.as_fd(), b"."), Ok)
    }

    /// Whether a refusal is an escape or something else that is in the way.
    fn refusal(&self, path: InsidePath<'_>, errno: Errno) -> Error {
        let absolute = [b"/", path.relative()].concat();
        match errno {
            Errno::LOOP | Errno::XDEV => through_link(&absolute),
            Errno::NOTDIR if self.meets_link(path) => through_link(&absolute),
            Errno::NOTDIR => Error::new(
                Code::FileExists,
                format!("something that is no directory lies at or above `{}`", shown(&absolute)),
            ),
            other => Error::io(
                format!("cannot open the directory `{}`", shown(&absolute)),
                &other.into(),
            ),
        }
    }

    fn meets_link(&self, path: InsidePath<'_>) -> bool {
        let mut at: Option<OwnedFd> = None;
        for part in stretches(path.relative(), false) {
            let from = at.as_ref().map_or(self.root.as_fd(), AsFd::as_fd);
            match one_part(from, part) {
                Ok(next) => at = Some(next),
                Err(_) => {
                    return Status::of(from, part).is_ok_and(|s| s.kind == EntryKind::Symlink);
                }
            }
        }
        false
    }
}

fn through_link(path: &[u8]) -> Error {
    escaped(path).cause("a symbolic link lies on the way")
}

/// A path in pieces the kernel can take: single parts, or as many as fit.
fn stretches(relative: &[u8], long: bool) -> impl Iterator<Item = &[u8]> {
    let mut rest = relative;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = if !long {
            rest.iter().position(|byte| *byte == b'/')
        } else if rest.len() > STRETCH_BYTES_MAX {
            rest[..STRETCH_BYTES_MAX].iter().rposition(|byte| *byte == b'/')
        } else {
            None
        };
        let (stretch, after) = match end {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => (rest, &rest[rest.len()..]),
        };
        rest = after;
        Some(stretch)
    })
}

fn one_call(from: BorrowedFd<'_>, stretch: &[u8]) -> rustix::io::Result<OwnedFd> {
    let confined = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(from, stretch, PASS, Mode::empty(), confined) {
            // A rename raced the look-up; the kernel asks to try again.
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
}

fn one_part(from: BorrowedFd<'_>, part: &[u8]) -> rustix::io::Result<OwnedFd> {
    openat(from, part, PASS, Mode::empty())
}

fn opens_in_one_call(root: BorrowedFd<'_>) -> bool {
    one_call(root, b".").is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustix::fs::{CWD, StatxFlags};
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn beneath(path: &Path, one_call: bool) -> Beneath {
        let root = openat(CWD, path, PASS, Mode::empty()).unwrap();
        Beneath { one_call, ..Beneath::new(root) }
    }

    #[test]
    fn a_path_is_cut_between_its_parts() {
        let path = vec!["x".repeat(255); 40].join("/");
        for long in [true, false] {
            let pieces: Vec<&[u8]> = stretches(path.as_bytes(), long).collect();
            assert_eq!(pieces.join(&b'/'), path.as_bytes());
            assert!(pieces.iter().all(|piece| piece.len() <= STRETCH_BYTES_MAX));
            assert_eq!(pieces.len(), if long { 3 } else { 40 });
        }
    }

    #[test]
    fn this_kernel_resolves_in_one_call() {
        let scratch = tempfile::tempdir().unwrap();
        let root = openat(CWD, scratch.path(), PASS, Mode::empty()).unwrap();
        assert!(Beneath::new(root).one_call);
    }

    #[test]
    fn only_so_many_directories_stay_open_and_a_removed_one_is_forgotten() {
        let scratch = tempfile::tempdir().unwrap();
        let beneath = beneath(scratch.path(), true);
        for number in 0..limits::TARGET_OPEN_MAX + 10 {
            let path = format!("/{number}");
            beneath.directory_or_new(InsidePath::parse(path.as_bytes()).unwrap()).unwrap();
        }
        assert_eq!(beneath.lock().len(), limits::TARGET_OPEN_MAX);
        let last = InsidePath::parse(b"/73").unwrap();
        assert!(beneath.known(last).is_some());
        beneath.forget(InsidePath::parse(b"/7").unwrap());
        assert!(beneath.known(last).is_some(), "/7 is not above /73");
        beneath.forget(last);
        assert!(beneath.known(last).is_none());
    }

    /// A tree in which every name leads somewhere: directories, links in, links out, files.
    fn maze(scratch: &Path) -> std::path::PathBuf {
        let target = scratch.join("target");
        std::fs::create_dir_all(target.join("a/b/c")).unwrap();
        std::fs::create_dir_all(scratch.join("outside/a/b")).unwrap();
        symlink("../outside", target.join("out")).unwrap();
        symlink(scratch.join("outside"), target.join("a/out")).unwrap();
        symlink("b", target.join("a/in")).unwrap();
        symlink("/", target.join("a/b/root")).unwrap();
        symlink("..", target.join("a/b/up")).unwrap();
        std::fs::write(target.join("a/f"), b"").unwrap();
        target
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_path_leads_out_of_the_target(
            parts in prop::collection::vec(
                prop::sample::select(
                    &["a", "b", "c", "f", "in", "out", "root", "up", "..", ".", "", "new"][..]),
                1..6),
            one_call: bool,
        ) {
            let scratch = tempfile::tempdir().unwrap();
            let scratch = scratch.path().canonicalize().unwrap();
            let target = maze(&scratch);
            let beneath = beneath(&target, one_call);
            let path = format!("/{}", parts.join("/"));
            let Ok(inside) = InsidePath::parse(path.as_bytes()) else { return Ok(()) };
            if let Ok(directory) = beneath.directory_or_new(inside) {
                let seen = rustix::fs::statx(&directory, c"", rustix::fs::AtFlags::EMPTY_PATH,
                    StatxFlags::BASIC_STATS).unwrap();
                let real = target.join(inside_str(&path)).canonicalize().unwrap();
                prop_assert!(real.starts_with(&target), "{path} is {}", real.display());
                let there = std::os::unix::fs::MetadataExt::ino(&real.metadata().unwrap());
                prop_assert_eq!(seen.stx_ino, there);
                prop_assert_eq!(&real, &target.join(inside_str(&path)), "no link was followed");
            } else {
                let links = ["in", "out", "root", "up", "f"];
                prop_assert!(parts.iter().any(|part| links.contains(part)), "{path} was refused");
            }
            let outside = std::fs::read_dir(scratch.join("outside")).unwrap().count();
            prop_assert_eq!(outside, 1, "nothing was made outside");
        }
    }

    fn inside_str(path: &str) -> &str {
        path.trim_start_matches('/')
    }
}
