//! The thin side: the kernel's requests in, the tree's answers out; threads that keep points and
//! let the kernel forget.
//!
//! A few threads take requests one after the other, so that never more than those are worked on;
//! what comes meanwhile waits in the kernel. Points do not change: what the kernel was told of them
//! it may believe for a day, and what it has read of a file for as long as it likes. Of the list of
//! points it believes everything for a second.

use crate::{
    handles::Child,
    mountpoint::Directory,
    nodes::{Attributes, Place},
    point::Library,
    tree::{Answer, Options, Refused, Seek, Tree},
};
use core::time::Duration;
use fuser::{
    AccessFlags, BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, InitFlags, KernelConfig, LockOwner, MountOption, Notifier,
    OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry,
    ReplyLseek, ReplyOpen, ReplyStatfs, ReplyXattr, Request, Session, SessionACL,
};
use holdfast_common::{Clock, Error, Result, limits};
use holdfast_seal::manifest::entry::EntryKind;
use std::{
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{SystemTime, UNIX_EPOCH},
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

struct Shell {
    tree: Arc<Tree>,
    crowded: SyncSender<()>,
}

impl Shell {
    fn look_after_room(&self) {
        if self.tree.is_crowded() {
            let _at_it = self.crowded.try_send(());
        }
    }
}

impl Filesystem for Shell {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let wanted = [InitFlags::FUSE_DO_READDIRPLUS, InitFlags::FUSE_READDIRPLUS_AUTO];
        let posix_acl = self.tree.options().allow_other.then_some(InitFlags::FUSE_POSIX_ACL);
        for flag in wanted.into_iter().chain(posix_acl) {
            let _older_kernel = config.add_capabilities(flag);
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.tree.look_up(parent.0, name.as_bytes()) {
            Ok((number, node)) => {
                let attributes = attributes(number, &node.attributes);
                reply.entry(&believed(&node.place), &attributes, Generation(0));
            }
            Err(refused) => reply.error(errno(refused)),
        }
        self.look_after_room();
    }

    fn forget(&self, _: &Request, number: INodeNo, lookups: u64) {
        self.tree.forget(number.0, lookups);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.tree.node(number.0) {
            Ok(node) => {
                reply.attr(&believed(&node.place), &attributes(number.0, &node.attributes));
            }
            Err(refused) => reply.error(errno(refused)),
        }
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        answer(self.tree.read_link(number.0), reply);
    }

    fn open(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.tree.open_file(number.0) {
            Ok(handle) => {
                let flags = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH;
                reply.opened(FileHandle(handle), flags);
            }
            Err(refused) => reply.error(errno(refused)),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        answer(self.tree.read(handle.0, offset, length as usize), reply);
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.tree.close(handle.0);
        reply.ok();
    }

    fn opendir(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.tree.open_directory(number.0) {
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::empty()),
            Err(refused) => reply.error(errno(refused)),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = self.list(handle.0, offset, &mut |next, row| match row {
            Row::Dots(name) => Ok(reply.add(number, next, FileType::Directory, name)),
            Row::Child(child) => {
                let kind = kind(child.node.attributes.kind);
                let number = self.tree.number(&child.node.place);
                Ok(reply.add(INodeNo(number), next, kind, OsStr::from_bytes(&child.name)))
            }
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(refused) => reply.error(errno(refused)),
        }
    }

    fn readdirplus(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let listed = self.list(handle.0, offset, &mut |next, row| match row {
            Row::Dots(name) => {
                let node = self.tree.node(number.0)?;
                let told = attributes(number.0, &node.attributes);
                Ok(reply.add(number, next, name, &Duration::ZERO, &told, Generation(0)))
            }
            Row::Child(Child { name, node }) => {
                let known = self.tree.tell(node.clone(), number.0)?;
                let told = attributes(known, &node.attributes);
                let (name, ttl) = (OsStr::from_bytes(&name), believed(&node.place));
                let full = reply.add(INodeNo(known), next, name, &ttl, &told, Generation(0));
                if full {
                    self.tree.forget(known, 1);
                }
                Ok(full)
            }
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(refused) => reply.error(errno(refused)),
        }
        self.look_after_room();
    }

    fn releasedir(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.tree.close(handle.0);
        reply.ok();
    }

    fn lseek(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let what = match whence {
            SEEK_DATA => Seek::Data,
            SEEK_HOLE => Seek::Hole,
            _ => return reply.error(Errno::EINVAL),
        };
        let Ok(from) = u64::try_from(offset) else { return reply.error(Errno::ENXIO) };
        match self.tree.seek(handle.0, from, what) {
            Ok(Some(found)) => reply.offset(i64::try_from(found).unwrap_or(i64::MAX)),
            Ok(None) => reply.error(Errno::ENXIO),
            Err(refused) => reply.error(errno(refused)),
        }
    }

    fn getxattr(&self, _: &Request, number: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        match self.tree.xattr(number.0, name.as_bytes()) {
            Ok(value) => sized(&value, size, reply),
            Err(refused) => reply.error(errno(refused)),
        }
    }

    fn listxattr(&self, _: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        let xattrs = self.tree.node(number.0).and_then(|node| self.tree.xattrs(&node));
        match xattrs {
            Ok(xattrs) => {
                let names = xattrs.iter().flat_map(|xattr| [xattr.name.as_slice(), b"\0"].concat());
                sized(&names.collect::<Vec<_>>(), size, reply);
            }
            Err(refused) => reply.error(errno(refused)),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let (entries, bytes) = self.tree.totals();
        let blocks = bytes.div_ceil(u64::from(BLOCK_BYTES));
        reply.statfs(blocks, 0, 0, entries, 0, BLOCK_BYTES, NAME_BYTES_MAX, BLOCK_BYTES);
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }
}

enum Row {
    Dots(&'static str),
    Child(Child),
}

impl Shell {
    /// Gives the rows of a directory from an offset on, each with the offset behind it, until one
    /// did not fit. An error after some of them is for the call that begins there.
    fn list(
        &self,
        handle: u64,
        offset: u64,
        add: &mut dyn FnMut(u64, Row) -> Answer<bool>,
    ) -> Answer<()> {
        let directory = self.tree.directory(handle)?;
        let mut at = offset;
        loop {
            let row = match at {
                0 => Ok(Some(Row::Dots("."))),
                1 => Ok(Some(Row::Dots(".."))),
                _ => self.tree.child(&directory, at - DOTS).map(|child| child.map(Row::Child)),
            };
            let added = match row {
                Ok(Some(row)) => add(at + 1, row),
                Ok(None) => return Ok(()),
                Err(refused) => Err(refused),
            };
            match added {
                Ok(true) => return Ok(()),
                Ok(false) => at += 1,
                Err(refused) if at == offset => return Err(refused),
                Err(_) => return Ok(()),
            }
        }
    }
}

fn answer(read: Answer<Vec<u8>>, reply: ReplyData) {
    match read {
        Ok(bytes) => reply.data(&bytes),
        Err(refused) => reply.error(errno(refused)),
    }
}

/// Size zero asks how long it is.
fn sized(value: &[u8], size: u32, reply: ReplyXattr) {
    match u32::try_from(value.len()) {
        Ok(length) if size == 0 => reply.size(length),
        Ok(length) if length <= size => reply.data(value),
        _ => reply.error(Errno::ERANGE),
    }
}

fn errno(refused: Refused) -> Errno {
    match refused {
        Refused::Crowded => Errno::ENFILE,
        Refused::Missing => Errno::ENOENT,
        Refused::NoAttribute => Errno::ENODATA,
        Refused::NotADirectory => Errno::ENOTDIR,
        Refused::NotReadable => Errno::EINVAL,
        Refused::Unreadable => Errno::EIO,
    }
}

/// For how long the kernel need not ask again.
fn believed(place: &Place) -> Duration {
    match place {
        // The top of a point too: which ones are there changes.
        Place::Entry { path, .. } if path.len() > 1 => A_DAY,
        _ => A_MOMENT,
    }
}

fn attributes(number: u64, known: &Attributes) -> FileAttr {
    let (mtime, ctime) = (moment(known.mtime_ns), moment(known.ctime_ns));
    FileAttr {
        ino: INodeNo(number),
        size: known.size,
        blocks: known.bytes.div_ceil(512),
        atime: mtime,
        mtime,
        ctime,
        crtime: UNIX_EPOCH,
        kind: kind(known.kind),
        perm: (known.mode & 0o7777) as u16,
        nlink: known.names,
        uid: known.uid,
        gid: known.gid,
        rdev: known.device.map_or(0, |device| encoded(device.major, device.minor)),
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

/// As the kernel writes device numbers into 32 bits.
const fn encoded(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

fn moment(nanos: i64) -> SystemTime {
    let span = Duration::from_nanos(nanos.unsigned_abs());
    if nanos < 0 { UNIX_EPOCH - span } else { UNIX_EPOCH + span }
}

const fn kind(kind: EntryKind) -> FileType {
    match kind {
        EntryKind::BlockDevice => FileType::BlockDevice,
        EntryKind::CharDevice => FileType::CharDevice,
        EntryKind::Directory => FileType::Directory,
        EntryKind::Fifo => FileType::NamedPipe,
        EntryKind::File => FileType::RegularFile,
        EntryKind::Socket => FileType::Socket,
        EntryKind::Symlink => FileType::Symlink,
    }
}

const A_DAY: Duration = Duration::from_secs(24 * 3600);
const A_MOMENT: Duration = Duration::from_secs(1);
const KEEP_MIN: Duration = Duration::from_millis(200);
const BLOCK_BYTES: u32 = 4096;
const NAME_BYTES_MAX: u32 = 255;
const DOTS: u64 = 2;
const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;
