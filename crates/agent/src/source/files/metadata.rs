//! From a found path to its manifest entry: everything but the content.
//!
//! Mode, owner by number and name, times, attributes, link target and device are taken as they
//! are. The size is that of files and of links; other kinds have none that means anything. The
//! hard-link group and the content are the pipeline's to add, since they depend on other paths.

use super::owners::Owners;
use super::walk::Found;
use super::xattrs;
use crate::source::Skipped;
use holdfast_common::Code;
use holdfast_seal::manifest::entry::{Entry, EntryKind, FLAG_ON_THE_WAY};
use rustix::fd::AsRawFd;
use rustix::fs::readlinkat;

/// An entry, and what of it could not be read: the entry is worth saving all the same.
#[derive(Clone, Debug)]
pub struct Described {
    pub entry: Entry,
    pub lost: Option<Code>,
}

pub fn describe(found: &Found, owners: &Owners) -> Result<Described, Skipped> {
    let status = &found.status;
    let link_target = match status.kind {
        EntryKind::Symlink => Some(target(found)?),
        _ => None,
    };
    let (xattrs, lost) = xattrs::read_all(&path_by_handle(found));
    let is_device = matches!(status.kind, EntryKind::CharDevice | EntryKind::BlockDevice);
    let size = match (status.kind, &link_target) {
        (EntryKind::File, _) => status.size,
        (_, Some(target)) => target.len() as u64,
        _ => 0,
    };
    let time = |time_ns| if found.on_the_way { 0 } else { time_ns };
    let entry = Entry {
        path: found.path.clone().into(),
        kind: status.kind,
        mode: status.mode,
        uid: status.uid,
        gid: status.gid,
        user: owners.user(status.uid).map(str::to_owned),
        group: owners.group(status.gid).map(str::to_owned),
        mtime_ns: time(status.mtime_ns),
        ctime_ns: time(status.ctime_ns),
        size,
        xattrs: (!xattrs.is_empty()).then_some(xattrs),
        link_target: link_target.map(Into::into),
        device: is_device.then_some(status.device),
        hardlink_group: None,
        inode: Some(status.inode),
        content: None,
        flags: found.on_the_way.then_some(FLAG_ON_THE_WAY),
    };
    Ok(Described { entry, lost })
}

fn target(found: &Found) -> Result<Vec<u8>, Skipped> {
    readlinkat(found.directory(), found.name(), Vec::new())
        .map(std::ffi::CString::into_bytes)
        .map_err(|errno| Skipped::errno(&found.path, errno))
}

/// A path of bounded length that leads to the entry through its open directory.
fn path_by_handle(found: &Found) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", found.directory().as_raw_fd()).into_bytes();
    path.extend_from_slice(found.name());
    path
}
