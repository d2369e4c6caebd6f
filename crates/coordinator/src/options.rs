//! What `coordinator.toml` says. Paths are relative to the file.

use crate::cluster::seed::Addresses;
use holdfast_common::{ClusterId, Code, Error, Name, Result, limits};
use holdfast_ledger::{LEVEL, row::Duty};
use holdfast_runtime::files;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

const WITNESS: &str = "witness";
/// Unless the file says otherwise.
pub(crate) const RETENTION_SETTLES: Duration = Duration::from_secs(limits::RETENTION_SETTLES_SECS);

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    cluster_id: String,
    node_id: u64,
    name: String,
    region: String,
    listen: String,
    /// Where others reach this member, when that is not where it listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    advertise: Option<String>,
    /// A witness has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kek: Option<String>,
    /// `witness`; everybody else holds data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    duty: Option<String>,
    data: PathBuf,
    /// After how many entries of the ledger a snapshot is taken and the log before it dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    snapshot_every: Option<u64>,
    /// After how many seconds rules of retention that were changed are carried out unasked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retention_settles_secs: Option<u64>,
    /// A cluster to look around in: what an operator owes a real one is only told as a note.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    trial: bool,
    /// Where this member reaches another one, by its number, when that is not where it says it is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    peers: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) cluster: ClusterId,
    pub(crate) node_id: u64,
    pub(crate) name: Name,
    pub(crate) region: Name,
    pub(crate) listen: String,
    pub(crate) advertise: Option<String>,
    pub(crate) kek: Option<String>,
    pub(crate) duty: Duty,
    /// Where the ledger and the index lie.
    pub(crate) data: PathBuf,
    pub(crate) snapshot_every: u64,
    pub(crate) retention_settles: Duration,
    pub(crate) trial: bool,
    /// The highest feature level that this process knows; not of the file.
    pub(crate) level_max: u32,
    /// Where this member reaches others, whatever they say.
    pub(crate) peers: Addresses,
    /// The file itself.
    pub(crate) file: PathBuf,
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
        let duty = duty(&stored).map_err(malformed)?;
        let retention_settles = settles(&stored).map_err(malformed)?;
        let base = std::path::absolute(path.parent().unwrap_or(Path::new(".")))
            .map_err(|error| malformed(error.to_string()))?;
        Ok(Self {
            cluster: stored.cluster_id.parse().map_err(|e: Error| malformed(e.message))?,
            node_id: stored.node_id,
            name: stored.name.parse().map_err(|e: Error| malformed(e.message))?,
            region: stored.region.parse().map_err(|e: Error| malformed(e.message))?,
            listen: stored.listen,
            advertise: stored.advertise,
            duty,
            kek: stored.kek,
            data: base.join(stored.data),
            snapshot_every: stored
                .snapshot_every
                .unwrap_or(limits::SNAPSHOT_ENTRIES)
                .max(limits::SNAPSHOT_ENTRIES_MIN),
            retention_settles,
            trial: stored.trial,
            level_max: LEVEL,
            peers: stored
                .peers
                .iter()
                .map(numbered)
                .collect::<Result<_, _>>()
                .map_err(malformed)?,
            file: base.join(path.file_name().unwrap_or_default()),
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
            advertise: self.advertise.clone(),
            kek: self.kek.clone(),
            duty: (self.duty == Duty::Witness).then(|| WITNESS.to_owned()),
            data: below(&self.data),
            snapshot_every: Some(self.snapshot_every)
                .filter(|every| *every != limits::SNAPSHOT_ENTRIES),
            retention_settles_secs: Some(self.retention_settles.as_secs())
                .filter(|settles| *settles != limits::RETENTION_SETTLES_SECS),
            trial: self.trial,
            peers: self.peers.iter().map(|(id, at)| (id.to_string(), at.clone())).collect(),
        };
        toml::to_string(&stored)
            .map_err(|error| Error::new(Code::InternalBug, "coordinator.toml").cause(error))
    }
}

/// A hold that ended is known so long, and no longer.
fn settles(stored: &Stored) -> Result<Duration, String> {
    let max = limits::HOLD_ENDED_KEPT_SECS;
    match stored.retention_settles_secs {
        None => Ok(RETENTION_SETTLES),
        Some(secs) if secs <= max => Ok(Duration::from_secs(secs)),
        Some(secs) => Err(format!("`retention_settles_secs` is {secs}, and {max} at most")),
    }
}

/// Whoever holds data has a KEK, and a witness has none.
fn duty(stored: &Stored) -> Result<Duty, String> {
    match (stored.duty.as_deref(), &stored.kek) {
        (None, Some(_)) => Ok(Duty::Data),
        (Some(WITNESS), None) => Ok(Duty::Witness),
        (None, None) => Err("`kek` is missing".to_owned()),
        (Some(WITNESS), Some(_)) => Err("a witness has no `kek`".to_owned()),
        (Some(other), _) => Err(format!("`duty` is `{WITNESS}` or left out, not `{other}`")),
    }
}

/// A row of `[peers]`.
fn numbered((member, address): (&String, &String)) -> Result<(u64, String), String> {
    match member.parse() {
        Ok(member) => Ok((member, address.clone())),
        Err(_) => {
            let member = member.escape_debug();
            Err(format!("`{member}` in [peers] is no number of a member: see `cluster status`"))
        }
    }
}

/// The process's environment, for key sources that name a variable.
#[expect(clippy::disallowed_methods, reason = "configuration may name a variable; it is read here")]
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
