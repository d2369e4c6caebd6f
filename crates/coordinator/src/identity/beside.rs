//! The context that lies beside a coordinator's configuration: its operator's certificate is
//! replaced before it ends, for the same key, which stays where it is.
//!
//! ```text
//!   due ─▶ its place can be written ─▶ agreed ─▶ written
//!                                        └─ nobody leads ─▶ written all the same, of a founder
//! ```
//!
//! A founder is known by his key, so a certificate that nobody noted is one: what was renewed while
//! nobody led, or by an older coordinator, is noted later. Counted in ledger time: a wall clock
//! that jumped must not lock him out.

use crate::{
    house::House,
    identity::{people, pki::new_serial},
};
use holdfast_common::{Code, Entropy, Error, Name, Result, Timestamp, limits};
use holdfast_ledger::{Actor, Outcome, command::RenewOperator, level::OPERATORS, row::OperatorRow};
use holdfast_runtime::{
    context::{Context, Renewal},
    files,
    identity::{IdentityKind, PeerCertificate},
    pki::{CertificateAuthority, IdentityKey, ProvenKey, Validity, certificates_pem},
    tls::{Roots, TlsIdentity},
};
use std::{path::Path, time::Duration};

pub(crate) async fn keep(house: &House, base: &Path) -> Result<()> {
    let path = base.join("operator.toml");
    if !path.exists() {
        return Ok(());
    }
    let (context, authority) = (Context::load(&path)?, &house.keys()?.authority);
    let Some((old, name)) = operator(&context, authority)? else { return Ok(()) };
    let row = house.ledger.query().operator(&name)?;
    let Some(row) = row.filter(|row| !row.revoked && row.admits(old.serial, &old.public_key))
    else {
        return Ok(());
    };
    let now = house.ledger.now();
    let is_noted = house.ledger.query().level()? >= OPERATORS;
    if is_noted && house.ledger.current_leader().is_some() && is_news(&row, &old, now) {
        house.ledger.propose(Actor::System, noting(&row, &old)).await?;
    }
    let renewed = renew((&context, &path), authority, &row, now, house.entropy.as_ref())?;
    let Some(renewed) = renewed else { return Ok(()) };
    if !is_noted {
        return renewed.keep();
    }
    agree(house, &row, renewed).await
}

async fn agree(house: &House, row: &OperatorRow, renewed: Renewed) -> Result<()> {
    match house.ledger.propose(Actor::System, renewed.command.clone()).await {
        Ok(Outcome::Unchanged) => {
            // It was agreed before, and not written.
            let known = people::from_row(house, &row.name, &renewed.command.public_key)?;
            renewed.place.keep(&certificates_pem([known.certificate.as_slice()]))
        }
        Ok(_) => renewed.keep(),
        Err(error) if row.since.is_none() && is_alone(&error) => {
            tracing::warn!(%error, "the operator's certificate is noted when somebody leads");
            renewed.keep()
        }
        Err(error) => Err(error),
    }
}

fn is_alone(error: &Error) -> bool {
    matches!(error.code, Code::ClusterLeaderless | Code::ClusterUnreachable)
}

/// Who the context's operator is, where it is of this cluster.
fn operator(
    context: &Context,
    authority: &CertificateAuthority,
) -> Result<Option<(PeerCertificate, Name)>> {
    let old = context.own()?;
    match old.identity.kind.clone() {
        IdentityKind::Operator(name) if old.identity.cluster == authority.cluster() => {
            Ok(Some((old, name)))
        }
        _ => Ok(None),
    }
}

/// Whether the ledger does not know of what a founder has.
fn is_news(row: &OperatorRow, old: &PeerCertificate, now: Timestamp) -> bool {
    let is_newer = row.public_key.is_none() || row.not_after < old.not_after;
    row.since.is_none() && now < old.not_after && is_newer
}

fn noting(row: &OperatorRow, old: &PeerCertificate) -> RenewOperator {
    RenewOperator {
        name: row.name.clone(),
        serial_before: row.serial,
        public_key: old.public_key,
        serial: old.serial,
        not_after: old.not_after,
    }
}

/// A new certificate, what is to be agreed for it, and its place.
#[derive(Debug)]
struct Renewed {
    place: Renewal,
    pem: String,
    command: RenewOperator,
}

impl Renewed {
    fn keep(self) -> Result<()> {
        self.place.keep(&self.pem)?;
        tracing::info!(until = %self.command.not_after, "the operator's certificate was replaced");
        Ok(())
    }
}

/// None when it is not due.
fn renew(
    (context, path): (&Context, &Path),
    authority: &CertificateAuthority,
    row: &OperatorRow,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<Option<Renewed>> {
    let (chain, key) = (context.cert.read()?, files::read_text(&context.key)?);
    let identity = TlsIdentity::from_pem(&chain, &key)?;
    let Some(der) = identity.chain().first() else { return Ok(None) };
    let old = PeerCertificate::parse(der)?;
    if now < old.renewal() {
        return Ok(None);
    }
    Roots::from_der(vec![authority.certificate().clone()])?.vouch_for(der, old.not_after)?;
    let key = ProvenKey::own(&IdentityKey::from_pem(&key)?);
    if *key.as_bytes() != old.public_key {
        return Err(Error::new(Code::KeyWrong, "the context's key is not its certificate's"));
    }
    let place = context.reserve(path)?;
    let ttl_secs = row.ttl_secs.unwrap_or(limits::OPERATOR_CERT_TTL_SECS);
    let validity = Validity::starting(now, Duration::from_secs(ttl_secs));
    let serial = new_serial(entropy);
    let certificate = authority.issue(&key, &old.identity, validity, serial)?;
    let command = RenewOperator {
        name: row.name.clone(),
        serial_before: old.serial,
        public_key: old.public_key,
        serial,
        not_after: validity.not_after,
    };
    Ok(Some(Renewed { place, pem: certificates_pem([certificate.as_ref()]), command }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::{ClusterId, SystemEntropy};
    use holdfast_runtime::{context::Certificates, identity::Identity, pki::key_pem};

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const NOW: Timestamp = Timestamp::from_nanos(1_800_000_000_000_000_000);

    struct Scene {
        authority: CertificateAuthority,
        context: Context,
        row: OperatorRow,
        dir: tempfile::TempDir,
    }

    /// An operator whose certificate was issued now.
    fn scene() -> Scene {
        let (dir, cluster) = (tempfile::tempdir().unwrap(), ClusterId::from_bytes([7; 16]));
        let authority = CertificateAuthority::generate(cluster, &SystemEntropy, NOW).unwrap();
        let (key, pkcs8) = IdentityKey::generate(&SystemEntropy).unwrap();
        let ttl = Duration::from_secs(limits::OPERATOR_CERT_TTL_SECS);
        let (validity, proven) = (Validity::starting(NOW, ttl), ProvenKey::own(&key));
        let name: Name = "admin".parse().unwrap();
        let identity = Identity::operator(cluster, name.clone());
        let certificate = authority.issue(&proven, &identity, validity, 1).unwrap();
        let place = |name: &str| dir.path().join(name);
        let context = Context {
            endpoints: vec!["127.0.0.1:1".to_owned()],
            cluster,
            ca: Certificates::At(place("ca.pem")),
            cert: Certificates::At(place("operator.pem")),
            key: place("operator.key"),
            vault: "main".parse().unwrap(),
        };
        let (ca, key) = (authority.certificate_pem(), key_pem(&pkcs8));
        let chain = certificates_pem([certificate.as_ref()]);
        context.save_identity(&ca, &chain, &key).unwrap();
        context.save(&place("operator.toml")).unwrap();
        let row = OperatorRow {
            public_key: Some(*proven.as_bytes()),
            ..OperatorRow::founding(name, 1, validity.not_after)
        };
        Scene { authority, context, row, dir }
    }

    impl Scene {
        fn shown(&self) -> PeerCertificate {
            self.context.own().unwrap()
        }

        fn renew(
            &self,
            authority: &CertificateAuthority,
            now: Timestamp,
        ) -> Result<Option<Renewed>> {
            let path = self.dir.path().join("operator.toml");
            renew((&self.context, &path), authority, &self.row, now, &SystemEntropy)
        }
    }

    #[test]
    fn an_operator_gets_a_certificate_for_the_same_key_before_the_old_one_ends() {
        let scene = scene();
        let old = scene.shown();
        assert!(scene.renew(&scene.authority, NOW.plus(240 * DAY)).unwrap().is_none());
        for passed in [300, 900] {
            let (now, before) = (NOW.plus(passed * DAY), scene.shown());
            let renewed = scene.renew(&scene.authority, now).unwrap().unwrap();
            assert_eq!(renewed.command.serial_before, before.serial);
            assert_eq!(scene.shown().fingerprint, before.fingerprint, "it is not agreed yet");
            let agreed = renewed.command.clone();
            renewed.keep().unwrap();
            let new = scene.shown();
            assert_eq!((&new.identity, new.public_key), (&old.identity, old.public_key));
            assert_eq!((new.serial, new.not_after), (agreed.serial, agreed.not_after));
            assert!(new.is_valid_at(now.plus(364 * DAY)), "after {passed} days");
        }
    }

    #[test]
    fn where_the_new_one_cannot_be_written_none_is_agreed() {
        let scene = scene();
        let text = scene.context.cert.read().unwrap();
        // What is written beside it would have a longer name than there may be.
        let long = scene.dir.path().join("c".repeat(250));
        std::fs::write(&long, &text).unwrap();
        let context = Context { cert: Certificates::At(long), ..scene.context.clone() };
        let (late, path) = (NOW.plus(300 * DAY), scene.dir.path().join("operator.toml"));
        let due = (&context, path.as_path());
        assert!(renew(due, &scene.authority, &scene.row, late, &SystemEntropy).is_err());
        drop(scene.renew(&scene.authority, late).unwrap().unwrap());
        assert_eq!(scene.context.cert.read().unwrap(), text);
        assert_eq!(std::fs::read_dir(scene.dir.path()).unwrap().count(), 5, "nothing is left");
    }

    #[test]
    fn a_certificate_that_somebody_else_signed_is_not_renewed() {
        let scene = scene();
        let cluster = scene.authority.cluster();
        let authority = CertificateAuthority::generate(cluster, &SystemEntropy, NOW).unwrap();
        let (old, late) = (scene.shown(), NOW.plus(300 * DAY));
        assert!(scene.renew(&authority, late).is_err());
        assert_eq!(scene.shown().fingerprint, old.fingerprint);
    }

    #[test]
    fn the_operator_of_another_cluster_is_left_alone() {
        let scene = scene();
        let other = ClusterId::from_bytes([8; 16]);
        let authority = CertificateAuthority::generate(other, &SystemEntropy, NOW).unwrap();
        assert!(operator(&scene.context, &authority).unwrap().is_none());
        assert!(operator(&scene.context, &scene.authority).unwrap().is_some());
    }

    #[test]
    fn what_was_renewed_unheard_is_noted_of_a_founder_and_of_nobody_else() {
        let scene = scene();
        let (old, row) = (scene.shown(), &scene.row);
        assert!(!is_news(row, &old, NOW), "the ledger has it");
        let unheard = OperatorRow { not_after: NOW, ..row.clone() };
        assert!(is_news(&unheard, &old, NOW));
        let of_before = OperatorRow { public_key: None, ..row.clone() };
        assert!(is_news(&of_before, &old, NOW));
        assert!(!is_news(&of_before, &old, old.not_after), "it has ended");
        let issued = OperatorRow { since: Some(NOW), ..unheard };
        assert!(!is_news(&issued, &old, NOW));
    }
}
