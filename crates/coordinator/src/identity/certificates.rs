//! The certificates that a coordinator looks after: its own, and the one of the operator whose
//! context lies beside its configuration.
//!
//! Both are replaced when two thirds of their life are over. That is looked at every minute, since
//! a host that slept, or whose clock was set, finds itself at any point of that life. The
//! operator's is counted in ledger time: a wall clock that jumped must not lock him out.

use crate::{house::House, identity::pki::new_serial, options::Options};
use holdfast_common::{Clock, Code, Entropy, Error, Result, Timestamp, limits};
use holdfast_runtime::{
    context::Context,
    files,
    identity::{Identity, IdentityKind, PeerCertificate},
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
        if let Err(error) = keep_operator(&house, &config.base) {
            tracing::warn!(%error, "the operator's certificate was not replaced");
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

fn keep_operator(house: &House, base: &Path) -> Result<()> {
    let path = base.join("operator.toml");
    if !path.exists() {
        return Ok(());
    }
    let context = Context::load(&path)?;
    let may_act = |identity: &Identity| match &identity.kind {
        IdentityKind::Operator(name) => {
            let row = house.ledger.query().operator(name)?;
            Ok::<_, Error>(row.is_some_and(|operator| !operator.revoked))
        }
        _ => Ok(false),
    };
    let authority = &house.keys()?.authority;
    renew_operator(&context, authority, house.ledger.now(), &*house.entropy, may_act)
}

/// For the same key, which stays where it is.
fn renew_operator(
    context: &Context,
    authority: &CertificateAuthority,
    now: Timestamp,
    entropy: &dyn Entropy,
    may_act: impl FnOnce(&Identity) -> Result<bool>,
) -> Result<()> {
    let (chain, key) = (files::read_text(&context.cert)?, files::read_text(&context.key)?);
    let identity = TlsIdentity::from_pem(&chain, &key)?;
    let Some(der) = identity.chain().first() else { return Ok(()) };
    let old = PeerCertificate::parse(der)?;
    let is_ours = old.identity.cluster == authority.cluster();
    if !is_ours || now < old.renewal() || !may_act(&old.identity)? {
        return Ok(());
    }
    Roots::from_der(vec![authority.certificate().clone()])?.vouch_for(der, old.not_after)?;
    let key = ProvenKey::own(&IdentityKey::from_pem(&key)?);
    let validity = Validity::starting(now, Duration::from_secs(limits::OPERATOR_CERT_TTL_SECS));
    let certificate = authority.issue(&key, &old.identity, validity, new_serial(entropy))?;
    files::write_public(&context.cert, certificates_pem([certificate.as_ref()]).as_bytes())?;
    tracing::info!(until = %validity.not_after, "the operator's certificate was replaced");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::{ClusterId, SystemEntropy};
    use holdfast_runtime::pki::key_pem;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    struct Scene {
        authority: CertificateAuthority,
        context: Context,
        _dir: tempfile::TempDir,
    }

    /// An operator whose certificate was issued at `now`.
    fn operator(now: Timestamp) -> Scene {
        let (dir, cluster) = (tempfile::tempdir().unwrap(), ClusterId::from_bytes([7; 16]));
        let authority = CertificateAuthority::generate(cluster, &SystemEntropy, now).unwrap();
        let (key, pkcs8) = IdentityKey::generate(&SystemEntropy).unwrap();
        let ttl = Duration::from_secs(limits::OPERATOR_CERT_TTL_SECS);
        let (validity, key) = (Validity::starting(now, ttl), ProvenKey::own(&key));
        let identity = Identity::operator(cluster, "admin".parse().unwrap());
        let certificate = authority.issue(&key, &identity, validity, 1).unwrap();
        let place = |name: &str| dir.path().join(name);
        let context = Context {
            endpoints: vec!["127.0.0.1:1".to_owned()],
            cluster,
            ca: place("ca.pem"),
            cert: place("operator.pem"),
            key: place("operator.key"),
            vault: "main".parse().unwrap(),
        };
        let (ca, key) = (authority.certificate_pem(), key_pem(&pkcs8));
        let chain = certificates_pem([certificate.as_ref()]);
        context.save_identity(&ca, &chain, &key).unwrap();
        Scene { authority, context, _dir: dir }
    }

    impl Scene {
        fn shown(&self) -> PeerCertificate {
            let (cert, key) = (&self.context.cert, &self.context.key);
            let (cert, key) = (files::read_text(cert).unwrap(), files::read_text(key).unwrap());
            let identity = TlsIdentity::from_pem(&cert, &key).unwrap();
            PeerCertificate::parse(&identity.chain()[0]).unwrap()
        }

        fn look(&self, now: Timestamp, may_act: bool) {
            let may_act = |_: &Identity| Ok(may_act);
            renew_operator(&self.context, &self.authority, now, &SystemEntropy, may_act).unwrap();
        }
    }

    #[test]
    fn an_operator_gets_a_certificate_for_the_same_key_before_the_old_one_ends() {
        let now = Timestamp::from_nanos(1_800_000_000_000_000_000);
        let scene = operator(now);
        let old = scene.shown();
        scene.look(now.plus(240 * DAY), true);
        assert_eq!(scene.shown().fingerprint, old.fingerprint, "it is not due yet");
        scene.look(now.plus(300 * DAY), false);
        assert_eq!(scene.shown().fingerprint, old.fingerprint, "he was revoked");
        for passed in [300, 900] {
            let now = now.plus(passed * DAY);
            scene.look(now, true);
            let new = scene.shown();
            assert_eq!((&new.identity, new.public_key), (&old.identity, old.public_key));
            assert!(new.is_valid_at(now.plus(364 * DAY)), "after {passed} days");
        }
    }

    #[test]
    fn a_certificate_that_somebody_else_signed_is_not_renewed() {
        let now = Timestamp::from_nanos(1_800_000_000_000_000_000);
        let scene = operator(now);
        let cluster = scene.authority.cluster();
        let authority = CertificateAuthority::generate(cluster, &SystemEntropy, now).unwrap();
        let (old, late) = (scene.shown(), now.plus(300 * DAY));
        let renewed =
            renew_operator(&scene.context, &authority, late, &SystemEntropy, |_| Ok(true));
        assert!(renewed.is_err());
        assert_eq!(scene.shown().fingerprint, old.fingerprint);
    }

    #[test]
    fn the_operator_of_another_cluster_is_left_alone() {
        let now = Timestamp::from_nanos(1_800_000_000_000_000_000);
        let scene = operator(now);
        let other = ClusterId::from_bytes([8; 16]);
        let authority = CertificateAuthority::generate(other, &SystemEntropy, now).unwrap();
        let old = scene.shown();
        let late = now.plus(300 * DAY);
        renew_operator(&scene.context, &authority, late, &SystemEntropy, |_| Ok(true)).unwrap();
        assert_eq!(scene.shown().fingerprint, old.fingerprint);
    }
}
