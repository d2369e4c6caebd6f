//! The walk: every path that is taken, in manifest order, one at a time.
//!
//! It holds the names of the directories above the current one and at most
//! `limits::WALK_OPEN_MAX` of them open, whatever the depth. Nothing is looked up by a path longer
//! than one name, so no length limit of the kernel applies and no rename can lead it astray.
//! What vanishes or refuses is an `Err(Skipped)` in the stream, and the walk goes on. `/` itself
//! is no entry: it is where a restore begins. Points that stand mounted are not entered.

use super::FilesOptions;
use super::directory::{
    at_path, from_the_root, open_directory, parent_of, pass_directory, same_directory,
};
use super::given::Given;
use super::names::Names;
use super::selection::Selection;
use super::shown;
use super::status::Status;
use crate::source::Skipped;
use holdfast_common::{Code, Error, Result, limits};
use holdfast_seal::manifest::entry::{EntryKind, Inode};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::sync::Arc;

/// A path of the host, as it was a moment ago, with the directory to open it from. It may outlive
/// the walk and travel to another thread; while it lives its directory stays open.
#[derive(Clone, Debug)]
pub struct Found {
    pub path: Vec<u8>,
    pub status: Status,
    directory: Arc<OwnedFd>,
    name_at: usize,
    /// A directory of which only what leads to given paths is taken.
    pub on_the_way: bool,
}

impl Found {
    pub fn name(&self) -> &[u8] {
        &self.path[self.name_at..]
    }

    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// What lies now at a path that was found before.
    pub fn at(path: &[u8]) -> Result<Self, Skipped> {
        let skip = |errno| Skipped::errno(path, errno);
        let name_at = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let directory = at_path(&path[..name_at]).map_err(skip)?;
        let status = Status::of(directory.as_fd(), &path[name_at..]).map_err(skip)?;
        let directory = Arc::new(directory);
        Ok(Self { path: path.to_vec(), status, directory, name_at, on_the_way: false })
    }

    /// Looks at what its name leads to now.
    pub fn look(&self) -> Result<Status, Skipped> {
        Status::of(self.directory(), self.name()).map_err(|errno| Skipped::errno(&self.path, errno))
    }
}

pub struct Walk {
    given: Given,
    selection: Selection,
    one_file_system: bool,
    /// Above all others: `/`. The last one is where the walk is.
    levels: Vec<Level>,
    /// The path of the last level, empty for `/`.
    path: Vec<u8>,
    /// The directory that was given out last and is entered next.
    next: Option<Enter>,
    skipped: VecDeque<Skipped>,
}

struct Level {
    directory: Option<Arc<OwnedFd>>,
    inode: Inode,
    names: Names,
    position: usize,
    path_length: usize,
    beneath: Beneath,
}

/// What is taken beneath a directory: everything, or what leads to given paths, or both.
#[derive(Clone, Copy)]
struct Beneath {
    whole: bool,
    given: Option<usize>,
}

struct Enter {
    name_at: usize,
    inode: Inode,
    beneath: Beneath,
}

impl Walk {
    /// Fails when the options are malformed or none of the paths exists.
    pub fn open(options: &FilesOptions) -> Result<Self> {
        let selection = Selection::parse(options)?;
        let (given, missing) = Given::locate(&options.paths, options.links_only)?;
        let mut walk = Self {
            given,
            selection,
            one_file_system: options.one_file_system,
            levels: Vec::new(),
            path: Vec::new(),
            next: None,
            skipped: missing.into(),
        };
        let root = pass_directory(rustix::fs::CWD, b"/")
            .and_then(|fd| Ok((Status::of_open(&fd)?.inode, fd)));
        let (inode, fd) = root.map_err(|errno| Error::io("cannot open `/`", &errno.into()))?;
        let beneath = Beneath { whole: walk.given.node(0).whole, given: Some(0) };
        let listed = walk.list(rustix::fs::CWD, b"/", fd, inode, beneath);
        let level = listed.map_err(|errno| Error::io("cannot list `/`", &errno.into()))?;
        walk.levels.push(level);
        Ok(walk)
    }

    /// Opens and lists a directory whose inode is known.
    fn list(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        passed: OwnedFd,
        inode: Inode,
        beneath: Beneath,
    ) -> Result<Level, Errno> {
        let (directory, names) = if beneath.whole {
            let directory = same_directory(open_directory(parent, name)?, inode)?;
            let (names, failure) = Names::read(&directory);
            if let Some(errno) = failure {
                let path = if self.path.is_empty() { b"/" } else { &self.path[..] };
                self.skipped.push_back(Skipped::errno(path, errno));
            }
            (directory, names)
        } else {
            let asked =
                beneath.given.into_iter().flat_map(|at| self.given.node(at).children.keys());
            (passed, Names::from_sorted(asked.map(Vec::as_slice))?)
        };
        let path_length = self.path.len();
        Ok(Level {
            directory: Some(Arc::new(directory)),
            inode,
            names,
            position: 0,
            path_length,
            beneath,
        })
    }

    /// Goes into the directory that was given out last.
    fn enter(&mut self, enter: &Enter) {
        let Some(parent) = self.levels.last().and_then(|level| level.directory.clone()) else {
            return;
        };
        let name = self.path[enter.name_at..].to_vec();
        let entered = pass_directory(parent.as_fd(), &name)
            .and_then(|fd| same_directory(fd, enter.inode))
            .and_then(|fd| self.list(parent.as_fd(), &name, fd, enter.inode, enter.beneath));
        match entered {
            Ok(level) => self.push(level),
            Err(errno) => self.skipped.push_back(Skipped::errno(&self.path, errno)),
        }
    }

    fn push(&mut self, level: Level) {
        self.levels.push(level);
        if let Some(far) = self.levels.len().checked_sub(limits::WALK_OPEN_MAX + 1) {
            self.levels[far].directory = None;
        }
    }

    /// Goes back up, reopening the directory above if it had to be closed.
    fn leave(&mut self) {
        let Some(left) = self.levels.pop() else { return };
        let Some(level) = self.levels.last_mut() else { return };
        self.path.truncate(level.path_length);
        if level.directory.is_some() {
            return;
        }
        match reopen(left.directory.as_deref(), &self.path, level.inode) {
            Ok(directory) => level.directory = Some(directory),
            // Nothing is lost when it was finished; the one above it is found from the root.
            Err(_) if level.position >= level.names.len() => {}
            Err(errno) => {
                level.position = level.names.len();
                self.skipped.push_back(Skipped::errno(&self.path, errno));
            }
        }
    }

    /// Looks at the next name of the current directory; `None` when it is left out.
    fn look(&mut self) -> Option<Result<Found, Skipped>> {
        let level = self.levels.last_mut()?;
        let directory = level.directory.clone()?;
        let name = level.names.get(level.position)?;
        level.position += 1;
        self.path.truncate(level.path_length);
        self.path.push(b'/');
        let name_at = self.path.len();
        self.path.extend_from_slice(name);
        let (beneath, device) = (level.beneath, level.inode.device);
        let given = beneath.given.and_then(|at| self.given.node(at).children.get(name).copied());
        if self.path.len() > limits::PATH_BYTES_MAX {
            return Some(Err(Skipped::new(&self.path, Code::LimitExceeded)));
        }
        let status = match Status::of(directory.as_fd(), &self.path[name_at..]) {
            Ok(status) => status,
            Err(_) if given.is_none() && self.selection.excludes(&self.path, false) => return None,
            // Those who may look in are others, or nobody serves it any more.
            Err(Errno::ACCESS | Errno::NOTCONN)
                if given.is_none() && shown::is_mounted_on(&self.path) =>
            {
                leave_alone(&self.path);
                return None;
            }
            Err(errno) => return Some(Err(Skipped::errno(&self.path, errno))),
        };
        let is_directory = status.kind == EntryKind::Directory;
        let excluded = self.selection.excludes(&self.path, is_directory);
        let taken = !excluded && self.selection.includes(&self.path, is_directory);
        if given.is_none() && !taken {
            return None;
        }
        let mut on_the_way = false;
        if is_directory {
            let asked = given.is_some_and(|at| self.given.node(at).whole);
            let whole = asked || beneath.whole && !excluded && !self.stops_at(&status, device);
            on_the_way = given.is_some() && !whole;
            if whole || given.is_some() {
                let beneath = Beneath { whole, given };
                self.next = Some(Enter { name_at, inode: status.inode, beneath });
            }
        }
        Some(Ok(Found { path: self.path.clone(), status, directory, name_at, on_the_way }))
    }
}

impl Walk {
    /// Whether a directory begins something else that is not asked for.
    fn stops_at(&self, status: &Status, above: u64) -> bool {
        if status.inode.device == above {
            return false;
        }
        let is_shown = shown::is_mounted_on(&self.path);
        if is_shown {
            leave_alone(&self.path);
        }
        is_shown || self.one_file_system
    }
}

fn leave_alone(path: &[u8]) {
    let path = String::from_utf8_lossy(path);
    tracing::info!(%path, "points are mounted here: what they show is not backed up again");
}

impl Iterator for Walk {
    type Item = Result<Found, Skipped>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(enter) = self.next.take() {
                self.enter(&enter);
            }
            if let Some(skipped) = self.skipped.pop_front() {
                return Some(Err(skipped));
            }
            let level = self.levels.last()?;
            if level.position >= level.names.len() {
                self.leave();
            } else if let Some(item) = self.look() {
                return Some(item);
            }
        }
    }
}

/// The directory at `path`, through the one beneath it or, failing that, from the root.
fn reopen(below: Option<&OwnedFd>, path: &[u8], inode: Inode) -> Result<Arc<OwnedFd>, Errno> {
    let above = below.map(|below| parent_of(below, inode));
    match above {
        Some(Ok(directory)) => Ok(Arc::new(directory)),
        _ => from_the_root(path, inode).map(Arc::new),
    }
}
