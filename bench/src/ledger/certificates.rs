//! A certificate authority for one cluster, a certificate for its members, one for its clients.
//!
//! Members need theirs in both directions: each is server and client of the others. The keys are
//! ECDSA P-256, as most installations have them; a connection outlives its handshake by so much
//! that the figures do not see the kind.

use crate::files;
use holdfast_common::{Code, Error, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    version::TLS13,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

pub struct Certificates {
    /// Files in PEM, for the members.
    pub authority: PathBuf,
    pub member: PathBuf,
    pub member_key: PathBuf,
    pub client: Arc<ClientConfig>,
}

impl Certificates {
    /// Writes the members' files into `dir`.
    pub fn make(dir: &Path) -> Result<Self> {
        let issuer = authority()?;
        let root = issuer.0;
        let member = leaf(&issuer.1, "member")?;
        let client = leaf(&issuer.1, "client")?;
        let made = Self {
            authority: dir.join("authority.pem"),
            member: dir.join("member.pem"),
            member_key: dir.join("member-key.pem"),
            client: Arc::new(client_config(
                root.der().clone(),
                client.certificate.der().clone(),
                PrivatePkcs8KeyDer::from(client.key.serialize_der()).into(),
            )?),
        };
        files::make_dir(dir)?;
        put(&made.authority, &root.pem())?;
        put(&made.member, &member.certificate.pem())?;
        put(&made.member_key, &member.key.serialize_pem())?;
        Ok(made)
    }
}

/// TLS 1.3 with a client's certificate, HTTP/2 chosen.
pub fn client_config(
    root: CertificateDer<'static>,
    client: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(root).map_err(failed)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(failed)?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![client], key)
        .map_err(failed)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

struct Leaf {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

fn authority() -> Result<(rcgen::Certificate, Issuer<'static, KeyPair>)> {
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, "bench authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok((certificate, Issuer::new(params, key)))
}

fn leaf(issuer: &Issuer<'static, KeyPair>, name: &str) -> Result<Leaf> {
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, issuer).map_err(failed)?;
    Ok(Leaf { certificate, key })
}

fn put(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| files::failed("write", path, &error))
}

fn failed(error: impl core::fmt::Display) -> Error {
    Error::new(Code::InternalBug, "a certificate cannot be made").cause(error)
}
