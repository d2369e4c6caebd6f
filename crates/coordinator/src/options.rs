//! What `coordinator.toml` says. Paths are relative to the file.

use holdfast_common::{ClusterId, Code, Error, Name, Result};
use holdfast_runtime::files;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    cluster_id: String,
    node_id: u64,
    name: String,
    region: String,
    listen: String,
    kek: String,
    data: PathBuf,
    /// A cluster to look around in: what an operator owes a real one is only told as a note.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    trial: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) cluster: ClusterId,
    pub(crate) node_id: u64,
    pub(crate) name: Name,
    pub(crate) region: Name,
    pub(crate) listen: String,
    pub(crate) kek: String,
    /// Where the ledger and the index lie.
    pub(crate) data: PathBuf,
    pub(crate) trial: bool,
    /// The directory of the file: relative paths of locations start here.
    pub(crate) base: PathBuf,
}

impl Options {
    pub(crate) fn load(path: &Path) -> Result<Self> {
        Self::parse(&files::read_text(path)?, path)
    }

    /// Reads the text of the file that lies at `path`.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self> {
        let malformed = |cause: String| {
            Error::new(Code::ConfigMalformed, format!("{} cannot be used", path.display()))
                .cause(cause)
        };
        let stored: Stored =
            toml::from_str(text).map_err(|error| malformed(error.message().to_owned()))?;
        let base = std::path::absolute(path.parent().unwrap_or(Path::new(".")))
            .map_err(|error| malformed(error.to_string()))?;
        Ok(Self {
            cluster: stored.cluster_id.parse().map_err(|e: Error| malformed(e.message))?,
            node_id: stored.node_id,
            name: stored.name.parse().map_err(|e: Error| malformed(e.message))?,
            region: stored.region.parse().map_err(|e: Error| malformed(e.message))?,
            listen: stored.listen,
            kek: stored.kek,
            data: base.join(stored.data),
            trial: stored.trial,
            base,
        })
    }

    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        files::write_public(path, self.render()?.as_bytes())
    }

    /// The text of the file.
    pub(crate) fn render(&self) -> Result<String> {
        let below = |path: &Path| path.strip_prefix(&self.base).unwrap_or(path).to_owned();
        let stored = Stored {
            cluster_id: self.cluster.to_string(),
            node_id: self.node_id,
            name: self.name.to_string(),
            region: self.region.to_string(),
            listen: self.listen.clone(),
            kek: self.kek.clone(),
            data: below(&self.data),
            trial: self.trial,
        };
        toml::to_string(&stored)
            .map_err(|error| Error::new(Code::InternalBug, "coordinator.toml").cause(error))
    }
}

/// The process's environment, for key sources that name a variable.
#[expect(clippy::disallowed_methods, reason = "configuration may name a variable; it is read here")]
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
