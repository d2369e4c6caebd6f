//! A directory while a coordinator is made in it, by a founding or a recovery.
//!
//! ```text
//!   data/unfinished      made first, removed last: what lies beside it may be thrown away
//!   data/…               the ledger and what belongs to it
//!   operator.toml …      a fresh operator
//!   coordinator.toml     when all is there: a directory without it is not a coordinator yet
//! ```
//!
//! So whoever was stopped half-way, by an error or a power cut, begins again with the same words.

use crate::{options::Options, store::sync_directory};
use holdfast_common::{Code, Error, Result};
use holdfast_runtime::files;
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

const MARK: &str = "unfinished";
/// What a disk of its own has when it is new.
const FOUND: &str = "lost+found";

/// Nothing is written over: a ledger that lies there may be the better one.
pub(crate) fn insist_on_room(dir: &Path) -> Result<()> {
    let data = dir.join("data");
    let is_taken = !data.join(MARK).exists() && !others(&data)?.is_empty();
    if dir.join("coordinator.toml").exists() || is_taken {
        let message = format!("{} already holds a coordinator", dir.display());
        return Err(Error::new(Code::ResourceConflict, message)
            .next("start it, if its data is whole; else choose an empty directory"));
    }
    Ok(())
}

/// What lies in the data beside the mark.
fn others(data: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(unusable)?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let is_other = |path: &PathBuf| !path.ends_with(MARK) && !path.ends_with(FOUND);
    let others = paths.filter(|path| path.as_ref().map_or(true, is_other));
    others.collect::<io::Result<_>>().map_err(unusable)
}

/// A directory that is being made into a coordinator, by this process alone.
pub(crate) struct Making {
    dir: PathBuf,
    data: PathBuf,
    /// Locked while it is open.
    _mark: File,
}

impl Making {
    /// Throws away what an earlier try left, and marks what this one makes.
    pub(crate) fn begin(dir: &Path) -> Result<Self> {
        insist_on_room(dir)?;
        let data = dir.join("data");
        files::create_private_dir(dir)?;
        files::create_private_dir(&data)?;
        let mark = File::create(data.join(MARK)).map_err(unusable)?;
        mark.try_lock().map_err(|error| {
            let message = format!("{} is being made by another process", dir.display());
            Error::new(Code::ResourceConflict, message)
                .cause(error)
                .next("wait until it is done, or choose another directory")
        })?;
        mark.sync_all().map_err(unusable)?;
        sync_directory(&data)?;
        for path in others(&data)? {
            match path.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            }
            .map_err(unusable)?;
        }
        Ok(Self { dir: dir.to_owned(), data, _mark: mark })
    }

    /// Where the data goes.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// All is there: from now on it is a coordinator. Where its configuration lies.
    pub(crate) fn end(self, config: &Options) -> Result<PathBuf> {
        let file = self.dir.join("coordinator.toml");
        config.save(&file)?;
        fs::remove_file(self.data.join(MARK)).map_err(unusable)?;
        Ok(file)
    }
}

fn unusable(error: io::Error) -> Error {
    Error::io("the directory cannot be used", &error)
}
