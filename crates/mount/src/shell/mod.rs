//! The thin side: the kernel's requests in, the tree's answers out; threads that keep points and
//! let the kernel forget.
//!
//! A few threads take requests one after the other, so that never more than those are worked on;
//! what comes meanwhile waits in the kernel. `kernel` takes each request, `answers` says it in the
//! kernel's words.

mod answers;
mod kernel;

use crate::{
    mountpoint::Directory,
    point::Library,
    tree::{Options, Tree},
};
use core::time::Duration;
use fuser::{BackgroundSession, Config, INodeNo, MountOption, Notifier, Session, SessionACL};
use holdfast_common::{Clock, Error, Result, limits};
use kernel::Shell;
use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
};

/// Something mounted. It ends when it is unmounted, by this or by anybody.
pub struct Mounted {
    ends: Ends,
    session: BackgroundSession,
    /// Dropped, it ends the thread that keeps points.
    _keeper: SyncSender<()>,
}

/// Mounts, and answers from threads of its own from then on.
pub fn mount(
    library: Arc<dyn Library>,
    clock: Arc<dyn Clock>,
    directory: &Directory,
    options: Options,
) -> Result<Mounted> {
    let (allow_other, idle) = (options.allow_other, options.idle);
    let tree = Arc::new(Tree::new(library, clock, options)?);
    let (crowded, much) = sync_channel(1);
    let shell = Shell { tree: Arc::clone(&tree), crowded };
    let session = Session::new(shell, directory.path(), &config(allow_other))
        .map_err(|error| directory.refused(&error))?;
    let notifier = session.notifier();
    let forgetting = Arc::clone(&tree);
    spawn("forget", move || forget_old(&forgetting, &notifier, &much))?;
    let (keeper, ended) = sync_channel(1);
    let every = Duration::from_secs(limits::MOUNT_KEEP_SECS).min(idle / 2);
    let held = Arc::clone(&tree);
    spawn("keep", move || keep(&tree, every.max(KEEP_MIN), &ended))?;
    let session = session.spawn().map_err(|error| directory.refused(&error))?;
    let ends = Ends { directory: directory.clone(), tree: held };
    Ok(Mounted { ends, session, _keeper: keeper })
}

impl Mounted {
    /// What ends the mount, from whichever thread.
    pub fn ends(&self) -> Ends {
        self.ends.clone()
    }

    /// Waits until it is unmounted, and lets go of the points.
    pub fn wait(self) -> Result<()> {
        let ended = self.session.join();
        self.ends.let_go();
        ended.map_err(|error| Error::io("the mount ended", &error))
    }
}

/// The way to end a mount that somebody else waits for.
#[derive(Clone)]
pub struct Ends {
    directory: Directory,
    tree: Arc<Tree>,
}

impl Ends {
    /// Takes it out of sight, whoever is using it.
    pub fn end(&self) -> Result<()> {
        self.directory.detach()
    }

    /// Lets go of the points; whoever still reads opens them again.
    pub fn let_go(&self) {
        self.tree.let_go();
    }
}

fn config(allow_other: bool) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::RO,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::FSName("holdfast".to_owned()),
        MountOption::Subtype("holdfast".to_owned()),
    ];
    config.n_threads = Some(limits::MOUNT_REQUESTS_MAX);
    if allow_other {
        config.acl = SessionACL::All;
        // Others may what the modes in the point let them, and no more.
        config.mount_options.push(MountOption::DefaultPermissions);
    }
    config
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let begun = thread::Builder::new().name(name.to_owned()).spawn(work);
    begun.map(drop).map_err(|error| Error::io("no thread to mount with", &error))
}

fn keep(tree: &Tree, every: Duration, ended: &Receiver<()>) {
    while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        tree.keep();
    }
}

/// Asks the kernel to forget what it knows for longest, when that is too much. What it still uses
/// it goes on knowing. From a thread of its own: the kernel may hold the directory meanwhile.
fn forget_old(tree: &Tree, notifier: &Notifier, much: &Receiver<()>) {
    while much.recv().is_ok() {
        for oldest in tree.too_old() {
            let name = OsStr::from_bytes(&oldest.name);
            let _not_there = notifier.inval_entry(INodeNo(oldest.parent), name);
        }
    }
}

const KEEP_MIN: Duration = Duration::from_millis(200);
