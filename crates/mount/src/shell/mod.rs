//! The thin side: the kernel's requests in, the tree's answers out; threads that keep points and
//! let the kernel forget.
//!
//! A few threads take requests one after the other, so that never more than those are worked on;
//! what comes meanwhile waits in the kernel. `kernel` takes each request, `answers` says it in the
//! kernel's words; by `turns` nobody waits for a lock that the kernel gives back only when we have
//! answered.

mod answers;
mod kernel;
mod turns;

use crate::{
    mountpoint::{Directory, Standing},
    point::Library,
    tree::{Options, Tree},
};
use core::time::Duration;
use fuser::{Config, INodeNo, MountOption, Notifier, Session, SessionACL};
use holdfast_common::{Clock, Error, Result, limits};
use kernel::Shell;
use std::{
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};
use turns::Turns;

/// Something mounted. It ends when it is unmounted, by this or by anybody.
pub struct Mounted {
    ends: Ends,
    session: JoinHandle<io::Result<()>>,
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
    let turns = Arc::new(Turns::default());
    let shell = Shell { tree: Arc::clone(&tree), turns: Arc::clone(&turns), crowded };
    let session = Session::new(shell, directory.path(), &config(allow_other))
        .map_err(|error| directory.refused(&error))?;
    let notifier = session.notifier();
    let (forgetting, theirs) = (Arc::clone(&tree), Arc::clone(&turns));
    spawn("forget", move || forget_old(&forgetting, &theirs, &notifier, &much))?;
    let (keeper, ended) = sync_channel(1);
    let every = Duration::from_secs(limits::MOUNT_KEEP_SECS).min(idle / 2);
    let held = Arc::clone(&tree);
    spawn("keep", move || keep(&tree, every.max(KEEP_MIN), &ended))?;
    let standing = Standing::on(directory.clone())?;
    let session = serve(session).map_err(|error| directory.refused(&error))?;
    let ends = Ends { standing, turns, tree: held };
    Ok(Mounted { ends, session, _keeper: keeper })
}

/// Serves from threads of its own. The library would unmount whatever is at the path once its
/// session ended, be it somebody else's by then: its way to do so is never used.
fn serve(session: Session<Shell>) -> io::Result<JoinHandle<io::Result<()>>> {
    let instead = thread::Builder::new().spawn(|| Ok(()))?;
    let mut serving = session.spawn()?;
    let serves = core::mem::replace(&mut serving.guard, instead);
    core::mem::forget(serving);
    Ok(serves)
}

impl Mounted {
    /// What ends the mount, from whichever thread.
    pub fn ends(&self) -> Ends {
        self.ends.clone()
    }

    /// Waits until it is unmounted, and lets go of the points.
    pub fn wait(self) -> Result<()> {
        let ended = self.session.join().unwrap_or_else(|_| Err(io::Error::other("it panicked")));
        self.ends.turns.end();
        // Where it ended by itself, nobody serves what is mounted.
        let taken_away = self.ends.standing.take_away_dead();
        self.ends.turns.wait();
        self.ends.let_go();
        ended.map_err(|error| Error::io("the mount ended", &error)).and(taken_away)
    }
}

/// The way to end a mount that somebody else waits for.
#[derive(Clone)]
pub struct Ends {
    standing: Standing,
    turns: Arc<Turns>,
    tree: Arc<Tree>,
}

impl Ends {
    /// Takes it away, whoever is using it. Where that could not be done by force it waits for the
    /// answers that somebody waits for: no process may end before.
    pub fn end(&self) -> Result<()> {
        self.turns.end();
        let taken_away = self.standing.take_away();
        self.turns.wait();
        taken_away
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
        // To the kernel itself: the library tells a subtype to none but the helper.
        MountOption::CUSTOM("subtype=holdfast".to_owned()),
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
/// it goes on knowing. From a thread of its own: the kernel may hold the directory meanwhile. Of
/// one that somebody is being answered about for long it is asked when its turn comes again.
fn forget_old(tree: &Tree, turns: &Turns, notifier: &Notifier, much: &Receiver<()>) {
    while much.recv().is_ok() {
        for oldest in tree.too_old() {
            let forget = || {
                let name = OsStr::from_bytes(&oldest.name);
                let _not_there = notifier.inval_entry(INodeNo(oldest.parent), name);
            };
            if !turns.forget(oldest.parent, forget) {
                break;
            }
        }
    }
}

const KEEP_MIN: Duration = Duration::from_millis(200);
