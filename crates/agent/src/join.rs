//! How a host becomes an agent: a token in, an identity out.
//!
//! The key is made here, lies in its private file before anything is sent, and never leaves. The
//! token pins the cluster's authority, so the token is shown to nobody else; what comes back is
//! checked before it is kept: the authority is the pinned one, the certificate holds our key and
//! names the agent it is said to be.

use crate::options::{AgentConfig, CONFIG_FILE};
use holdfast_common::{
    AgentId, Clock, ClusterId, Code, Error, Name, Result, SystemClock, SystemEntropy,
};
use holdfast_keyring::IdentityKey;
use holdfast_runtime::files;
use holdfast_runtime::identity::{Identity, PeerCertificate};
use holdfast_runtime::pki::{self, Fingerprint, certificates_pem, pin_of};
use holdfast_runtime::tls::{ChannelKind, ClientTls, connect};
use holdfast_wire::v1::{self, enroll_client::EnrollClient};
use holdfast_wire::{parse, status::from_status};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const KEY_FILE: &str = "agent.key";

#[derive(Clone, Debug)]
pub struct JoinOptions {
    /// `host:port` of any coordinator.
    pub coordinator: String,
    pub token: String,
    /// Where the agent's files go.
    pub dir: PathBuf,
    /// What the agent would like to be called; the token decides when it says.
    pub name: Option<Name>,
}

/// Enrols this host and writes its files. Refused where an agent lives already.
pub async fn join(options: JoinOptions) -> Result<AgentConfig> {
    let pin = pin_of(&options.token)?;
    let file = options.dir.join(CONFIG_FILE);
    if file.exists() {
        return Err(Error::new(Code::FileExists, format!("{} exists", file.display()))
            .next("an agent lives in this directory already; choose another one"));
    }
    files::create_private_dir(&options.dir)?;
    let identity = own_key(&options.dir.join(KEY_FILE))?;
    let answer = ask(&options, pin, identity.request()?).await?;
    let config = checked(&options, pin, &identity.public(), &answer)?;
    files::write_public(&config.ca, certificates_pem([&answer.ca_der[..]]).as_bytes())?;
    files::write_public(&config.cert, certificates_pem([&answer.certificate_der[..]]).as_bytes())?;
    config.save(&file)?;
    Ok(config)
}

/// It lies there before anything is sent: whoever did not hear the answer asks again with it, and
/// is told the same.
fn own_key(path: &Path) -> Result<pki::IdentityKey> {
    if !path.exists() {
        let pem = IdentityKey::generate(&SystemEntropy).to_pkcs8_pem();
        files::write_private(path, pem.as_bytes())?;
    }
    let pem = files::read_private(path)?;
    let text = std::str::from_utf8(&pem)
        .map_err(|error| Error::new(Code::ConfigMalformed, "agent.key is no PEM").cause(error))?;
    pki::IdentityKey::from_pem(text)
}

async fn ask(options: &JoinOptions, pin: Fingerprint, csr: Vec<u8>) -> Result<v1::JoinResponse> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let tls = ClientTls::pinned(pin, clock)?;
    let endpoints = [options.coordinator.clone()];
    let channel = connect(&endpoints, tls, ChannelKind::Control).await?;
    let request = v1::JoinRequest {
        token: options.token.clone(),
        name: options.name.as_ref().map_or(String::new(), Name::to_string),
        csr_der: csr.into(),
    };
    let answer = EnrollClient::new(channel).join(request).await;
    answer.map(tonic::Response::into_inner).map_err(|status| from_status(&status))
}

fn checked(
    options: &JoinOptions,
    pin: Fingerprint,
    public: &[u8; 32],
    answer: &v1::JoinResponse,
) -> Result<AgentConfig> {
    let agent_id = parse::agent_id(&answer.agent_id)?;
    let cluster_id = parse::cluster_id(&answer.cluster_id)?;
    if Fingerprint::of(&answer.ca_der) != pin {
        return Err(wrong("its authority is not the one that the token names"));
    }
    check_certificate(&answer.certificate_der, public, cluster_id, agent_id)?;
    // The address that worked comes first; what the cluster says of itself may not be reachable.
    let mut endpoints = vec![options.coordinator.clone()];
    endpoints.extend(answer.endpoints.iter().filter(|e| **e != options.coordinator).cloned());
    let place = |name: &str| Path::join(&options.dir, name);
    Ok(AgentConfig {
        cluster_id,
        agent_id,
        name: answer.name.parse()?,
        endpoints,
        ca: place("ca.pem"),
        cert: place("agent.pem"),
        key: place(KEY_FILE),
        cache: place("cache"),
        restore_targets: None,
        file: Some(place(CONFIG_FILE)),
    })
}

/// A certificate is ours when it holds our key and names us.
pub(crate) fn check_certificate(
    der: &[u8],
    public: &[u8; 32],
    cluster: ClusterId,
    agent: AgentId,
) -> Result<PeerCertificate> {
    let certificate = PeerCertificate::parse(der)?;
    if certificate.public_key != *public {
        return Err(wrong("the certificate holds another key"));
    }
    if certificate.identity != Identity::agent(cluster, agent) {
        return Err(wrong("the certificate names somebody else"));
    }
    Ok(certificate)
}

fn wrong(cause: &str) -> Error {
    Error::new(Code::AuthDenied, "the cluster's answer cannot be trusted").cause(cause)
}
