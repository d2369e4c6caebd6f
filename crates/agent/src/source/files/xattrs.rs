//! Extended attributes, ACLs and file capabilities among them, byte for byte.
//!
//! They are read by a path through `/proc/self/fd`, because that is the one door that also opens
//! for symbolic links, FIFOs and devices without opening those. Where `/proc` is missing, the path
//! does not resolve and the attributes are reported as not read.

use holdfast_common::{Code, limits};
use holdfast_seal::manifest::entry::Xattr;
use rustix::fs::{lgetxattr, lgetxattr_query, llistxattr, llistxattr_query};
use rustix::io::{Errno, Result};

/// A value or a list may grow between the question for its size and the reading.
const ATTEMPTS_MAX: usize = 5;

/// The attributes sorted by name, and why some are missing, if so.
pub(crate) fn read_all(path: &[u8]) -> (Vec<Xattr>, Option<Code>) {
    let listed = sized(|| llistxattr_query(path), |buffer| llistxattr(path, buffer));
    let names = match &listed {
        Ok(list) => names_in(list),
        Err(Errno::NOTSUP) => return (Vec::new(), None),
        Err(errno) => return (Vec::new(), Some(crate::source::code_of(*errno))),
    };
    let (mut xattrs, mut lost, mut total) = (Vec::new(), None, 0);
    for name in names {
        match sized(|| lgetxattr_query(path, name), |buffer| lgetxattr(path, name, buffer)) {
            Ok(value) => {
                total += name.len() + value.len() + 16;
                if total > limits::ENTRY_XATTR_BYTES_MAX {
                    lost = Some(Code::LimitExceeded);
                    break;
                }
                xattrs.push(Xattr { name: name.to_vec().into(), value: value.into() });
            }
            // Removed between the list and the question, or listed but of no value.
            Err(Errno::NODATA | Errno::NOTSUP) => {}
            Err(errno) => lost = Some(crate::source::code_of(errno)),
        }
    }
    (xattrs, lost)
}

/// The names in what the kernel lists, sorted.
pub(crate) fn names_in(list: &[u8]) -> Vec<&[u8]> {
    let mut names: Vec<&[u8]> =
        list.split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    names
}

/// Whether an attribute is part of what a restore makes right, by setting and by removing it.
/// Labels of a security module are set where they were saved, but never taken away.
pub(crate) fn is_restorable(name: &[u8]) -> bool {
    name.starts_with(b"user.")
        || name.starts_with(b"trusted.")
        || name == b"security.capability"
        || name == b"system.posix_acl_access"
        || name == b"system.posix_acl_default"
}

/// Asks for a size, then reads as much, again if it grew meanwhile.
pub(crate) fn sized(
    query: impl Fn() -> Result<usize>,
    read: impl Fn(&mut [u8]) -> Result<usize>,
) -> Result<Vec<u8>> {
    for _ in 0..ATTEMPTS_MAX {
        let size = query()?;
        if size == 0 {
            return Ok(Vec::new());
        }
        let mut buffer = vec![0; size];
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::RANGE)
}
