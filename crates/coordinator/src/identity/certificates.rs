//! The certificates that a coordinator looks after: its own, and the one of the operator whose
//! context lies beside its configuration (`beside.rs`).
//!
//! Both are replaced when two thirds of their life are over. That is looked at every minute, since
//! a host that slept, or whose clock was set, finds itself at any point of that life.

use crate::{
    house::House,
    identity::{beside, pki::new_serial},
    options::Options,
};
use holdfast_common::{Clock, Code, Entropy, Error, Result, Timestamp, limits};
use holdfast_runtime::{
    files,
    identity::{Identity, PeerCertificate},
    pki::{CertificateAuthority, IdentityKey, ProvenKey, Validity, certificates_pem, key_pem},
    tls::{ClientTls, Roots, ServerTls, TlsIdentity},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// What others see of us: whoever calls, and the members that we call.
pub(crate) struct Shown {
    pub(crate) server: Arc<ServerTls>,
    pub(crate) client: Arc<ClientTls>,
    roots: Roots,
    ours: PeerCertificate,
}

pub(crate) fn present(
    config: &Options,
    authority: &CertificateAuthority,
    clock: &Arc<dyn Clock>,
    entropy: &dyn Entropy,
) -> Result<Shown> {
    let roots = Roots::from_der(vec![authority.certificate().clone()])?;
    let (identity, _) = own_identity(config, authority, clock.now(), entropy)?;
    Shown::of(&identity, roots, clock)
}

impl Shown {
    /// What a certificate that others issued makes of us.
    pub(crate) fn of(identity: &TlsIdentity, roots: Roots, clock: &Arc<dyn Clock>) -> Result<Self> {
        let ours = identity.chain().first().map(|der| PeerCertificate::parse(der));
        let ours = ours.ok_or_else(|| Error::new(Code::ConfigMalformed, "no certificate"))??;
        let server = ServerTls::new(identity, &roots, clock.clone())?;
        let client = ClientTls::new(identity, &roots, clock.clone())?;
        Ok(Self { server, client, roots, ours })
    }

    /// Whether the own certificate should be replaced.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        !self.ours.is_valid_at(now) || now >= self.ours.renewal()
    }

    pub(crate) fn until(&self) -> Timestamp {
        self.ours.not_after
    }

    pub(crate) fn roots(&self) -> &Roots {
        &self.roots
    }

    pub(crate) fn replace(&mut self, identity: &TlsIdentity, ours: PeerCertificate) -> Result<()> {
        self.server.replace(identity, &self.roots)?;
        self.client.replace(Some(identity), &self.roots)?;
        self.ours = ours;
        Ok(())
    }
}

/// Replaces what is due, for as long as the coordinator runs. What fails is tried again.
pub(crate) async fn keep(
    house: Arc<House>,
    config: Options,
    mut shown: Shown,
    shutdown: CancellationToken,
) -> Result<()> {
    loop {
        let now = house.clock.now();
        if shown.is_due(now) {
            let made = house.keys().and_then(|keys| {
                own_identity(&config, &keys.authority, now, house.entropy.as_ref())
            });
            match made.and_then(|(identity, made)| shown.replace(&identity, made)) {
                Ok(()) => {
                    tracing::info!(until = %shown.ours.not_after, "own certificate replaced");
                }
                Err(error) => tracing::warn!(%error, "own certificate was not replaced"),
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            kept = beside::keep(&house, &config.base) => if let Err(error) = kept {
                tracing::warn!(%error, "the operator's certificate was not replaced");
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}

fn own_identity(
    config: &Options,
    authority: &CertificateAuthority,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<(TlsIdentity, PeerCertificate)> {
    let pem = own_key(&config.base, entropy)?;
    let key = IdentityKey::from_pem(&pem)?;
    let validity = Validity::starting(now, Duration::from_secs(limits::CERT_TTL_SECS));
    let identity = Identity::coordinator(config.cluster, config.node_id);
    let serial = new_serial(entropy);
    let certificate = authority.issue(&ProvenKey::own(&key), &identity, validity, serial)?;
    let told = PeerCertificate::parse(&certificate)?;
    let chain = certificates_pem([certificate.as_ref(), authority.certificate().as_ref()]);
    Ok((TlsIdentity::from_pem(&chain, &pem)?, told))
}

/// The key with which this member joined. A founder has none, nor has whoever joined before keys
/// were kept: a new one does.
fn own_key(base: &Path, entropy: &dyn Entropy) -> Result<Zeroizing<String>> {
    let path = key_path(base);
    if !path.exists() {
        return IdentityKey::generate(entropy).map(|(_, pkcs8)| key_pem(&pkcs8));
    }
    read_pem(&path)
}

/// A member's key, from its file.
pub(crate) fn read_key(path: &Path) -> Result<IdentityKey> {
    IdentityKey::from_pem(&read_pem(path)?)
}

/// The same as it stands there, for TLS.
pub(crate) fn read_pem(path: &Path) -> Result<Zeroizing<String>> {
    let pem = files::read_private(path)?;
    let text = std::str::from_utf8(&pem)
        .map_err(|error| Error::new(Code::ConfigMalformed, "member.key is no PEM").cause(error))?;
    Ok(Zeroizing::new(text.to_owned()))
}

pub(crate) fn key_path(base: &Path) -> PathBuf {
    base.join("member.key")
}
