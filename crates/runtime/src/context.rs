//! The operator's context, `operator.toml`: where the cluster is and who I am.
//!
//! Written by `cluster init`, `dev` and `operator issue`, read by every operator command. Paths in
//! the file are relative to it, so that its directory can be moved; in memory they are joined.
//! Certificates lie in files of their own, or in this one, so that it can be handed over by itself.
//! Fields of a newer version are skipped. The key lies in its own private file and never here.

use crate::files::{self, Reserved};
use crate::identity::PeerCertificate;
use crate::pki::IdentityKey;
use crate::tls::{ClientTls, Roots, TlsIdentity};
use holdfast_common::{Clock, ClusterId, Code, Error, Name, Result};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Where coordinators listen, as `host:port`.
    pub endpoints: Vec<String>,
    pub cluster: ClusterId,
    /// Certificates of the authority, the operator's certificate and its key, in PEM form.
    pub ca: Certificates,
    pub cert: Certificates,
    pub key: PathBuf,
    /// The vault that commands mean when they name none.
    pub vault: Name,
}

/// Certificates in PEM form, and where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificates {
    /// In a file of their own.
    At(PathBuf),
    /// In the context itself.
    Here(String),
}

impl Certificates {
    fn stored(text: String, home: &Path) -> Self {
        match text.trim_start().starts_with(PEM) {
            true => Self::Here(text),
            false => Self::At(home.join(text)),
        }
    }

    pub fn read(&self) -> Result<String> {
        match self {
            Self::At(path) => files::read_text(path).map(|text| text.as_str().to_owned()),
            Self::Here(text) => Ok(text.clone()),
        }
    }
}

const PEM: &str = "-----BEGIN ";

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
            ca: Certificates::stored(stored.ca, home),
            cert: Certificates::stored(stored.cert, home),
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
        let stored = |held: &Certificates| match held {
            Certificates::Here(text) => Ok(text.clone()),
            Certificates::At(path) => below(path).into_os_string().into_string().map_err(|_| {
                Error::new(Code::ConfigMalformed, "a path of the context is not UTF-8")
            }),
        };
        let stored = Stored {
            endpoints: self.endpoints.clone(),
            cluster_id: self.cluster.to_string(),
            ca: stored(&self.ca)?,
            cert: stored(&self.cert)?,
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
        for (held, pem) in [(&self.ca, ca_pem), (&self.cert, cert_pem)] {
            if let Certificates::At(path) = held {
                files::write_public(path, pem.as_bytes())?;
            }
        }
        Ok(())
    }

    /// Who it says that I am.
    pub fn own(&self) -> Result<PeerCertificate> {
        let der =
            CertificateDer::from_pem_slice(self.cert.read()?.as_bytes()).map_err(|error| {
                Error::new(Code::ConfigMalformed, "the context has no certificate in PEM form")
                    .cause(error)
            })?;
        PeerCertificate::parse(&der)
    }

    /// The file that a new certificate of this context, which lies at `path`, goes to. To be asked
    /// for before there is one.
    pub fn reserve(&self, path: &Path) -> Result<Renewal> {
        let at = match &self.cert {
            Certificates::At(cert) => cert,
            Certificates::Here(_) => path,
        };
        Ok(Renewal { context: self.clone(), path: path.to_owned(), file: Reserved::for_old(at)? })
    }

    /// What is needed to call the cluster as this operator.
    pub fn tls(&self, clock: Arc<dyn Clock>) -> Result<Arc<ClientTls>> {
        let roots = Roots::from_pem(&self.ca.read()?)?;
        let (cert, key) = (self.cert.read()?, files::read_text(&self.key)?);
        if IdentityKey::from_pem(&key)?.public() != self.own()?.public_key {
            let message =
                format!("{} is not the key of the certificate in this context", self.key.display());
            return Err(Error::new(Code::ConfigMalformed, message)
                .next("put the key beside the context that was issued for it"));
        }
        let identity = TlsIdentity::from_pem(&cert, &key)?;
        ClientTls::new(&identity, &roots, clock)
    }
}

/// A place for a new certificate.
#[derive(Debug)]
pub struct Renewal {
    context: Context,
    path: PathBuf,
    file: Reserved,
}

impl Renewal {
    pub fn keep(self, cert_pem: &str) -> Result<()> {
        match &self.context.cert {
            Certificates::At(_) => self.file.place(cert_pem.as_bytes()),
            Certificates::Here(_) => {
                let cert = Certificates::Here(cert_pem.to_owned());
                let text = Context { cert, ..self.context }.render(&self.path)?;
                self.file.place(text.as_bytes())
            }
        }
    }
}

#[derive(Deserialize, Serialize)]
struct Stored {
    endpoints: Vec<String>,
    cluster_id: String,
    ca: String,
    cert: String,
    key: PathBuf,
    vault: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::pki::{CertificateAuthority, ProvenKey, Validity, certificates_pem, key_pem};
    use holdfast_common::{SystemClock, SystemEntropy};
    use std::os::unix::fs::PermissionsExt;

    fn context(home: &Path) -> Context {
        Context {
            endpoints: vec!["127.0.0.1:7601".to_owned()],
            cluster: ClusterId::from_bytes([0xc1; 16]),
            ca: Certificates::At(home.join("ca.pem")),
            cert: Certificates::At(home.join("operator.pem")),
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
        assert_eq!(context.cert.read().unwrap(), "cert");
    }

    /// An operator of a cluster, whose certificates lie in the context itself.
    fn issued(home: &Path) -> (Context, CertificateAuthority, ProvenKey) {
        let (now, cluster) = (SystemClock::start().now(), ClusterId::from_bytes([0xc1; 16]));
        let authority = CertificateAuthority::generate(cluster, &SystemEntropy, now).unwrap();
        let (key, pkcs8) = IdentityKey::generate(&SystemEntropy).unwrap();
        let proven = ProvenKey::own(&key);
        let cert = Certificates::Here(certificate(&authority, &proven, 7));
        let context =
            Context { ca: Certificates::Here(authority.certificate_pem()), cert, ..context(home) };
        files::write_new_private(&context.key, key_pem(&pkcs8).as_bytes()).unwrap();
        (context, authority, proven)
    }

    fn certificate(authority: &CertificateAuthority, key: &ProvenKey, serial: u64) -> String {
        let identity = Identity::operator(authority.cluster(), "ben".parse().unwrap());
        let now = SystemClock::start().now();
        let validity = Validity::starting(now, core::time::Duration::from_secs(3600));
        let der = authority.issue(key, &identity, validity, serial).unwrap();
        certificates_pem([der.as_ref()])
    }

    #[test]
    fn a_context_that_holds_its_certificates_is_read_back_and_renewed() {
        let dir = tempfile::tempdir().unwrap();
        let (context, authority, key) = issued(dir.path());
        let path = dir.path().join("operator.toml");
        files::write_new_private(&path, context.render(&path).unwrap().as_bytes()).unwrap();
        let read = Context::load(&path).unwrap();
        assert_eq!(read, context);
        assert_eq!(read.own().unwrap().serial, 7);
        read.tls(Arc::new(SystemClock::start())).unwrap();
        drop(read.reserve(&path).unwrap());
        assert_eq!(Context::load(&path).unwrap(), context, "given up, nothing changed");
        read.reserve(&path).unwrap().keep(&certificate(&authority, &key, 8)).unwrap();
        assert_eq!(Context::load(&path).unwrap().own().unwrap().serial, 8);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_key_of_somebody_else_is_named_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let (context, ..) = issued(dir.path());
        let other = IdentityKey::generate(&SystemEntropy).unwrap().1;
        files::write_private(&context.key, key_pem(&other).as_bytes()).unwrap();
        let error = context.tls(Arc::new(SystemClock::start())).unwrap_err();
        assert_eq!(error.code, Code::ConfigMalformed);
        assert!(error.message.contains("operator.key is not the key"), "{error}");
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
