//! Where the ledger's tables lie: on disk, and the newest rows in memory above it.

mod lock;
mod overlay;
pub(crate) mod sled_kv;

pub(crate) use lock::DirectoryLock;
pub(crate) use overlay::{Overlay, View};
pub(crate) use sled_kv::SledKv;

use holdfast_common::{Error, Result};
use std::{fs::File, path::Path};

/// Makes the names in `directory` survive a power cut: a file that was synced is still not there
/// when the directory was not.
pub(crate) fn sync_directory(directory: &Path) -> Result<()> {
    let io = |error: std::io::Error| {
        Error::io(format!("{} cannot be made durable", directory.display()), &error)
    };
    File::open(directory).and_then(|open| open.sync_all()).map_err(io)
}
