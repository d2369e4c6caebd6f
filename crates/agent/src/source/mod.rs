//! What an agent can read consistently.
//!
//! A source turns a part of a host into manifest entries and content streams, in manifest order.
//! It never writes to the host, and it never stops for one path: what cannot be read is a
//! [`Skipped`], which the run reports beside everything that was saved.

pub mod files;

use holdfast_common::Code;
use rustix::io::Errno;

/// One path that could not be read, or not wholly, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    pub path: Vec<u8>,
    pub code: Code,
}

impl Skipped {
    pub fn new(path: &[u8], code: Code) -> Self {
        Self { path: path.to_vec(), code }
    }

    pub(crate) fn errno(path: &[u8], errno: Errno) -> Self {
        Self::new(path, code_of(errno))
    }
}

/// The code for what the kernel said about a path that is being read.
pub(crate) fn code_of(errno: Errno) -> Code {
    match errno {
        Errno::ACCESS | Errno::PERM => Code::FilePermissionDenied,
        Errno::NOENT | Errno::NOTDIR => Code::FileMissing,
        // The name now leads to something else than it did a moment ago.
        Errno::LOOP | Errno::STALE | Errno::NXIO => Code::FileChanged,
        Errno::NAMETOOLONG | Errno::TOOBIG | Errno::RANGE => Code::LimitExceeded,
        _ => Code::FileIoFailed,
    }
}
