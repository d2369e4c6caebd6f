//! `agent.toml`: who this agent is, where its cluster is, and where it keeps its few files.
//!
//! Written once by `join`, read at every start. Paths are relative to the file, so that a directory
//! can be moved as a whole. Unknown fields are refused: a misspelt one must not be ignored.

use holdfast_common::{AgentId, ClusterId, Code, Error, Name, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The name of the file in the agent's directory.
pub const CONFIG_FILE: &str = "agent.toml";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentConfig {
    pub cluster_id: ClusterId,
    pub agent_id: AgentId,
    pub name: Name,
    /// `host:port` of the coordinators, tried in turn.
    pub endpoints: Vec<String>,
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Caches and the host key that seals them.
    pub cache: PathBuf,
    /// Directories that a restore by this agent may go below; absent for everywhere.
    pub restore_targets: Option<Vec<PathBuf>>,
    /// Where this was read from; not written.
    pub file: Option<PathBuf>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    cluster_id: String,
    agent_id: String,
    name: String,
    endpoints: Vec<String>,
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
    cache: PathBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restore_targets: Option<Vec<PathBuf>>,
}

impl AgentConfig {
    pub fn load(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| Error::io(format!("{} cannot be read", file.display()), &error))?;
        let folder = file.parent().unwrap_or(Path::new("."));
        let parsed = Self::parse(&text, folder).map_err(|error| {
            Error::new(Code::ConfigMalformed, format!("{} is not right", file.display()))
                .cause(error.cause.unwrap_or(error.message))
        })?;
        Ok(Self { file: Some(file.to_owned()), ..parsed })
    }

    /// Writes the file; its paths are given relative to it where they can be.
    pub fn save(&self, file: &Path) -> Result<()> {
        let folder = file.parent().unwrap_or(Path::new("."));
        holdfast_runtime::files::write_public(file, self.render(folder)?.as_bytes())
    }

    /// Reads the text of a file that lies in `folder`.
    pub fn parse(text: &str, folder: &Path) -> Result<Self> {
        let written: Written = toml::from_str(text)
            .map_err(|error| Error::new(Code::ConfigMalformed, "not the form").cause(error))?;
        if written.endpoints.is_empty() {
            return Err(Error::new(Code::ConfigMalformed, "`endpoints` is empty"));
        }
        Ok(Self {
            cluster_id: written.cluster_id.parse()?,
            agent_id: written.agent_id.parse()?,
            name: written.name.parse()?,
            endpoints: written.endpoints,
            ca: folder.join(written.ca),
            cert: folder.join(written.cert),
            key: folder.join(written.key),
            cache: folder.join(written.cache),
            restore_targets: written.restore_targets,
            file: None,
        })
    }

    /// The text of a file that shall lie in `folder`.
    pub fn render(&self, folder: &Path) -> Result<String> {
        let relative = |path: &Path| path.strip_prefix(folder).unwrap_or(path).to_owned();
        toml::to_string(&Written {
            cluster_id: self.cluster_id.to_string(),
            agent_id: self.agent_id.to_string(),
            name: self.name.to_string(),
            endpoints: self.endpoints.clone(),
            ca: relative(&self.ca),
            cert: relative(&self.cert),
            key: relative(&self.key),
            cache: relative(&self.cache),
            restore_targets: self.restore_targets.clone(),
        })
        .map_err(|error| {
            Error::new(Code::ConfigMalformed, "the configuration cannot be written").cause(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(folder: &Path) -> AgentConfig {
        AgentConfig {
            cluster_id: ClusterId::from_bytes([1; 16]),
            agent_id: AgentId::from_bytes([2; 16]),
            name: "pacs-1".parse().unwrap(),
            endpoints: vec!["127.0.0.1:7000".into()],
            ca: folder.join("ca.pem"),
            cert: folder.join("agent.pem"),
            key: folder.join("agent.key"),
            cache: folder.join("cache"),
            restore_targets: Some(vec!["/srv/back".into()]),
            file: Some(folder.join(CONFIG_FILE)),
        }
    }

    #[test]
    fn a_configuration_moves_with_its_directory() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(CONFIG_FILE);
        example(folder.path()).save(&file).unwrap();
        assert_eq!(AgentConfig::load(&file).unwrap(), example(folder.path()));
        let moved = tempfile::tempdir().unwrap();
        let file = moved.path().join(CONFIG_FILE);
        std::fs::copy(folder.path().join(CONFIG_FILE), &file).unwrap();
        assert_eq!(AgentConfig::load(&file).unwrap(), example(moved.path()));
    }

    #[test]
    fn unknown_fields_and_missing_endpoints_are_refused() {
        let folder = Path::new("/a");
        let good = example(folder).render(folder).unwrap();
        assert!(AgentConfig::parse(&good, folder).is_ok());
        let misspelt = format!("{good}endpoint = \"x\"\n");
        assert_eq!(AgentConfig::parse(&misspelt, folder).unwrap_err().code, Code::ConfigMalformed);
        let none = good.replace("\"127.0.0.1:7000\"", "");
        assert!(AgentConfig::parse(&none, folder).is_err());
    }
}
