//! The kernel's requests, one by one. Whatever is not here is answered by the library: not there.

use super::answers::{answer, attributes, believed, errno, kind, sized, totals};
use super::turns::Turns;
use crate::{
    handles::Child,
    tree::{Answer, Seek, Tree},
};
use core::time::Duration;
use fuser::{
    AccessFlags, Errno, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyXattr,
    Request,
};
use std::{
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
    sync::{Arc, mpsc::SyncSender},
};

pub(super) struct Shell {
    pub(super) tree: Arc<Tree>,
    /// While we answer about names, the kernel keeps their directory locked.
    pub(super) turns: Arc<Turns>,
    /// Told when the kernel knows too much.
    pub(super) crowded: SyncSender<()>,
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
        let answering = self.turns.answer(parent.0);
        match self.tree.look_up(parent.0, name.as_bytes()) {
            Ok((number, node)) => {
                let attributes = attributes(number, &node.attributes);
                reply.entry(&believed(&node.place), &attributes, Generation(0));
            }
            Err(refused) => reply.error(errno(refused)),
        }
        drop(answering);
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
        let _answering = self.turns.answer(number.0);
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
        let answering = self.turns.answer(number.0);
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
        drop(answering);
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
        totals(self.tree.totals(), reply);
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

const DOTS: u64 = 2;
const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;
