//! What this agent remembers of its last backup of a source, so that it need not read it again.
//!
//! ```text
//!   walk, in manifest order ──┐
//!                             ├─ merge ─▶ unchanged? its chunks are known without reading it
//!   last run's cache file  ───┘
//!   this run's entries ─▶ new file beside it ─▶ renamed once the point is committed
//! ```
//!
//! A cache is a help, never a truth: it is sealed under a key of this host, and what is absent,
//! damaged, of another vault or cut in another way is read again. Losing it costs one full read and
//! no upload. What it says is held is still offered, by id.

mod block;
mod read;
mod write;

pub use read::CacheReader;
pub(crate) use write::CacheWriter;

use holdfast_common::{Entropy, Error, Result, Secret, Timestamp, limits::MIB};
use holdfast_runtime::files;
use holdfast_seal::manifest::entry::{ChunkRef, Entry};
use minicbor::{Decode, Encode};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file's entry of the last run, and its chunks where those are too many for the entry.
#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct Remembered {
    #[n(0)]
    pub entry: Entry,
    #[n(1)]
    pub rows: Option<Vec<ChunkRef>>,
}

/// Chunks of one file that are remembered; a larger file is read every time.
pub(crate) const ROWS_MAX: usize = 1 << 14;

/// What a cache file must agree on before a word of it is believed.
#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct Basis {
    /// What decides ids and cuts.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub cutting: [u8; 32],
    /// When the run began to read; younger times of files are not trusted.
    #[n(1)]
    pub read_at: Timestamp,
}

/// The directory of caches, and the key that seals them.
pub struct CacheStore {
    folder: PathBuf,
    key: Arc<Secret<32>>,
}

impl CacheStore {
    /// Opens the directory; makes it and its key when they are not there. What a process that was
    /// killed had begun to write goes: the directory belongs to one process.
    pub fn open(folder: &Path, entropy: &dyn Entropy) -> Result<Self> {
        files::create_private_dir(folder)?;
        remove_unfinished(folder).map_err(|error| io("cleaned up", &error))?;
        let file = folder.join(KEY_FILE);
        let known = files::read_private(&file).ok().and_then(|bytes| Secret::from_slice(&bytes));
        let key = match known {
            Some(key) => key,
            None => {
                let key = Secret::random(entropy);
                files::write_private(&file, key.expose())?;
                key
            }
        };
        Ok(Self { folder: folder.to_owned(), key: Arc::new(key) })
    }

    /// What was remembered of this source, if it can be used.
    pub(crate) fn read(&self, source: &SourceKey, cutting: &[u8; 32]) -> Option<CacheReader> {
        CacheReader::open(&self.path(source), &self.key)
            .inspect_err(|error| tracing::debug!(%error, "there is no cache; reading everything"))
            .ok()
            .filter(|reader| reader.basis().cutting == *cutting)
    }

    /// Begins to remember anew, beside what is there.
    pub(crate) fn write(
        &self,
        source: &SourceKey,
        basis: Basis,
        entropy: &Arc<dyn Entropy>,
    ) -> Result<CacheWriter> {
        CacheWriter::create(&self.path(source), basis, &self.key, entropy)
    }

    fn path(&self, source: &SourceKey) -> PathBuf {
        self.folder.join(format!("{}.cache", source.0))
    }
}

/// Names a source on this host; tells nothing about it.
pub(crate) struct SourceKey(String);

impl SourceKey {
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("holdfast 2026 agent cache source v1");
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        Self(hasher.finalize().to_hex()[..32].to_owned())
    }
}

fn remove_unfinished(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == write::UNFINISHED) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn io(what: &str, error: &std::io::Error) -> Error {
    Error::io(format!("the cache cannot be {what}"), error)
}

const KEY_FILE: &str = "host.key";
const _: () = assert!(ROWS_MAX * 44 < MIB);

#[cfg(test)]
mod tests;
