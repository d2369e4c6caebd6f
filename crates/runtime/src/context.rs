//! The operator's context, `operator.toml`: where the cluster is and who I am.
//!
//! Written by `cluster init` and `dev`, read by every operator command. Paths in the file are
//! relative to it, so that its directory can be moved; in memory they are joined. Fields of a newer
//! version are skipped. The key lies in its own private file and never in this one.

use crate::files;
use crate::tls::{ClientTls, Roots, TlsIdentity};
use holdfast_common::{Clock, ClusterId, Code, Error, Name, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Where coordinators listen, as `host:port`.
    pub endpoints: Vec<String>,
    pub cluster: ClusterId,
    /// Certificates of the authority, the operator's certificate and its key, in PEM form.
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
    /// The vault that commands mean when they name none.
    pub vault: Name,
}

impl Context {
    pub fn load(path: &Path) -> Result<Self> {
        let text = files::read_text(path).map_err(|error| match error.code {
            Code::FileMissing => Error { code: Code::ContextMissing, next: None, ..error },
            _ => error,
        })?;
        Self::parse(&text, path)
    }

    /// Reads the text of the file that lies at `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let malformed = |cause: String| {
            let message = format!("the context {} cannot be read", path.display());
            Error::new(Code::ConfigMalformed, message).cause(cause)
        };
        let stored: Stored =
            toml::from_str(text).map_err(|error| malformed(error.message().to_owned()))?;
        if stored.endpoints.is_empty() {
            return Err(malformed("it names no endpoint".to_owned()));
        }
        let home = path.parent().unwrap_or(Path::new(""));
        Ok(Self {
            endpoints: stored.endpoints,
            cluster: stored.cluster_id.parse().map_err(|e: Error| malformed(e.message))?,
            ca: home.join(stored.ca),
            cert: home.join(stored.cert),
            key: home.join(stored.key),
            vault: stored.vault.parse().map_err(|e: Error| malformed(e.message))?,
        })
    }

    /// Writes the file; paths below its directory are stored relative to it.
    pub fn save(&self, path: &Path) -> Result<()> {
        files::write_public(path, self.render(path)?.as_bytes())
    }

    /// The text of the file that shall lie at `path`.
    pub fn render(&self, path: &Path) -> Result<String> {
        let home = path.parent().unwrap_or(Path::new(""));
        let below = |path: &Path| path.strip_prefix(home).unwrap_or(path).to_owned();
        let stored = Stored {
            endpoints: self.endpoints.clone(),
            cluster_id: self.cluster.to_string(),
            ca: below(&self.ca),
            cert: below(&self.cert),
            key: below(&self.key),
            vault: self.vault.to_string(),
        };
        toml::to_string(&stored).map_err(|error| {
            Error::new(Code::ConfigMalformed, "the context cannot be written").cause(error)
        })
    }

    /// Writes the files that the context names. The key goes first: a certificate without its key
    /// would look complete.
    pub fn save_identity(&self, ca_pem: &str, cert_pem: &str, key_pem: &str) -> Result<()> {
        files::write_private(&self.key, key_pem.as_bytes())?;
        files::write_public(&self.ca, ca_pem.as_bytes())?;
        files::write_public(&self.cert, cert_pem.as_bytes())
    }

    /// What is needed to call the cluster as this operator.
    pub fn tls(&self, clock: Arc<dyn Clock>) -> Result<Arc<ClientTls>> {
        let roots = Roots::from_pem(&files::read_text(&self.ca)?)?;
        let (cert, key) = (files::read_text(&self.cert)?, files::read_text(&self.key)?);
        let identity = TlsIdentity::from_pem(&cert, &key)?;
        ClientTls::new(&identity, &roots, clock)
    }
}

#[derive(Deserialize, Serialize)]
struct Stored {
    endpoints: Vec<String>,
    cluster_id: String,
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
    vault: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn context(home: &Path) -> Context {
        Context {
            endpoints: vec!["127.0.0.1:7601".to_owned()],
            cluster: ClusterId::from_bytes([0xc1; 16]),
            ca: home.join("ca.pem"),
            cert: home.join("operator.pem"),
            key: home.join("operator.key"),
            vault: "main".parse().unwrap(),
        }
    }

    #[test]
    fn a_context_can_be_moved_with_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        std::fs::create_dir(&old).unwrap();
        context(&old).save(&old.join("operator.toml")).unwrap();
        std::fs::rename(&old, &new).unwrap();
        assert_eq!(Context::load(&new.join("operator.toml")).unwrap(), context(&new));
    }

    #[test]
    fn the_files_form_is_as_documented() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("operator.toml");
        context(dir.path()).save(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = "endpoints = [\"127.0.0.1:7601\"]\n\
            cluster_id = \"c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1\"\n\
            ca = \"ca.pem\"\ncert = \"operator.pem\"\nkey = \"operator.key\"\nvault = \"main\"\n";
        assert_eq!(text, expected);
        std::fs::write(&path, format!("{text}newer = true\n")).unwrap();
        assert_eq!(Context::load(&path).unwrap(), context(dir.path()));
    }

    #[test]
    fn the_key_is_private_and_what_is_stored_is_what_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let context = context(dir.path());
        context.save_identity("ca", "cert", "key").unwrap();
        let mode = std::fs::metadata(&context.key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(files::read_text(&context.key).unwrap().as_str(), "key");
        assert_eq!(files::read_text(&context.cert).unwrap().as_str(), "cert");
    }

    #[test]
    fn a_context_that_is_missing_or_malformed_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("operator.toml");
        assert_eq!(Context::load(&path).unwrap_err().code, Code::ContextMissing);
        context(dir.path()).save(&path).unwrap();
        let good = std::fs::read_to_string(&path).unwrap();
        for (from, to) in [
            ("endpoints", "endpoint"),
            ("[\"127.0.0.1:7601\"]", "[]"),
            ("c1c1", "C1"),
            ("\"main\"", "\"Main\""),
            ("vault = ", "vault : "),
        ] {
            std::fs::write(&path, good.replacen(from, to, 1)).unwrap();
            assert_eq!(Context::load(&path).unwrap_err().code, Code::ConfigMalformed, "{to}");
        }
    }
}
