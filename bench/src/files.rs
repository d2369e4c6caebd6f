//! Files of a directory: listed in order, read once so that the page cache holds them, summed up.

use holdfast_common::{Error, Result};
use std::{
    fs::File,
    io::{BufWriter, Read},
    path::{Path, PathBuf},
};

/// A regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub path: PathBuf,
    pub bytes: u64,
}

/// All regular files below `dir`, sorted by path.
pub fn list(dir: &Path) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut directories = vec![dir.to_owned()];
    while let Some(dir) = directories.pop() {
        let fail = |error| failed("list", &dir, &error);
        for entry in std::fs::read_dir(&dir).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let metadata = entry.metadata().map_err(fail)?;
            if metadata.is_dir() {
                directories.push(entry.path());
            } else if metadata.is_file() {
                found.push(Found { path: entry.path(), bytes: metadata.len() });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// The lengths of all files below `dir` together.
pub fn bytes(dir: &Path) -> Result<u64> {
    Ok(list(dir)?.iter().map(|file| file.bytes).sum())
}

/// Reads everything once.
pub fn warm(dir: &Path) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    for file in list(dir)? {
        let mut open = open(&file.path)?;
        while open.read(&mut buffer).map_err(|error| failed("read", &file.path, &error))? > 0 {}
    }
    Ok(())
}

/// Over the paths below `dir` and their contents, in order.
pub fn digest(dir: &Path) -> Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    for file in list(dir)? {
        let inner = file.path.strip_prefix(dir).unwrap_or(&file.path);
        hasher.update(inner.as_os_str().as_encoded_bytes()).update(&[0]);
        hasher.update(&file.bytes.to_le_bytes());
        hasher
            .update_reader(open(&file.path)?)
            .map_err(|error| failed("read", &file.path, &error))?;
    }
    Ok(hasher.finalize())
}

/// A new file, its directories made.
pub fn create(path: &Path) -> Result<BufWriter<File>> {
    if let Some(parent) = path.parent() {
        make_dir(parent)?;
    }
    let file = File::create_new(path).map_err(|error| failed("create", path, &error))?;
    Ok(BufWriter::with_capacity(1 << 17, file))
}

pub fn make_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|error| failed("create", path, &error))
}

/// What is not there is removed already.
pub fn remove_dir(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(failed("remove", path, &error))
        }
        _ => Ok(()),
    }
}

/// Lets the filesystem forget what was removed before. ext4 leaves alone, for minutes, the numbers
/// of removed files whose tables are still in memory, and whoever creates many files next pays for
/// the search. Only root can; otherwise the run says so.
pub fn forget_removed() -> bool {
    rustix::fs::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}

pub fn read_text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| failed("read", path, &error))
}

pub fn failed(verb: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::io(format!("cannot {verb} {}", path.display()), error)
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| failed("open", path, &error))
}
