//! A witness: a member that votes and keeps the log, and was never given a key.
//!
//! ```text
//!   join ─→ member.key, member.pem ─→ shown to the others
//!                           ↑ two thirds of its life, or expired
//!   request, signed by member.key ─→ any member with data ─→ new member.pem
//! ```
//!
//! It cannot make its own certificate, and whoever signs for it looks only at the key that was
//! enrolled. What it keeps on disk opens nothing: a stolen witness is a vote, not a secret.

use crate::{
    house::House,
    identity::certificates::{LOOK_INTERVAL, Shown, key_path, read_key, read_pem},
    options::Options,
};
use holdfast_common::{Clock, Code, Error, Result};
use holdfast_ledger::row::ClusterRow;
use holdfast_runtime::{
    files,
    identity::{Identity, PeerCertificate},
    pki::{IdentityKey, certificates_pem},
    tls::{ChannelKind, ClientTls, Roots, TlsIdentity, connect},
};
use holdfast_wire::{
    status::from_status,
    v1::{self, enroll_client::EnrollClient},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Without a certificate it is nobody: that is mended sooner.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);

/// Keeps what came of joining; the key lies there.
pub(crate) fn save(
    base: &Path,
    (cluster, node_id): (&ClusterRow, u64),
    certificate: &[u8],
    key: &IdentityKey,
) -> Result<()> {
    insist_on_own(certificate, cluster, node_id, key)?;
    save_certificate(base, certificate, cluster)
}

/// What a witness shows to the others: what it was given.
pub(crate) fn present(
    config: &Options,
    cluster: &ClusterRow,
    clock: &Arc<dyn Clock>,
) -> Result<Shown> {
    let roots = Roots::from_der(vec![cluster.ca_certificate.to_vec().into()])?;
    let chain = files::read_text(&certificate_path(&config.base)).map_err(not_a_witness)?;
    let key = read_pem(&key_path(&config.base)).map_err(not_a_witness)?;
    let identity = TlsIdentity::from_pem(&chain, &key)?;
    Shown::of(&identity, roots, clock)
}

/// The row that says what a member is may not have been applied again yet: its files say it too.
fn not_a_witness(error: Error) -> Error {
    match error.code {
        Code::FileMissing => {
            let message = "this member was not admitted as the witness its file says it is";
            Error::new(Code::ConfigMalformed, message)
                .cause(error)
                .next("remove the member and join with a new token: its duty does not change")
        }
        _ => error,
    }
}

/// Has others replace the certificate when it is due, for as long as the witness runs.
pub(crate) async fn keep(
    house: Arc<House>,
    config: Options,
    mut shown: Shown,
    shutdown: CancellationToken,
) -> Result<()> {
    loop {
        let mut pause = LOOK_INTERVAL;
        if shown.is_due(house.clock.now()) {
            match renew(&house, &config.base, &mut shown).await {
                Ok(()) => tracing::info!(until = %shown.until(), "own certificate replaced"),
                Err(error) => {
                    tracing::warn!(%error, "own certificate was not replaced");
                    pause = RETRY_INTERVAL;
                }
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Asks one member after the other.
async fn renew(house: &House, base: &Path, shown: &mut Shown) -> Result<()> {
    let key = read_key(&key_path(base))?;
    let mut endpoints = house.endpoints();
    endpoints.extend(house.first_peers.values().cloned());
    let mut tried = Error::new(Code::ClusterUnreachable, "no member is known that could be asked");
    for endpoint in endpoints {
        match ask(house, shown, endpoint, &key).await {
            Ok(certificate) => return adopt(house, base, &certificate, &key, shown),
            Err(error) => tried = error,
        }
    }
    Err(tried)
}

/// As a stranger, who shows no certificate: the old one may have expired.
async fn ask(house: &House, shown: &Shown, endpoint: String, key: &IdentityKey) -> Result<Vec<u8>> {
    let tls = ClientTls::anonymous(shown.roots(), house.clock.clone())?;
    let request = v1::RenewMemberRequest { member: house.node_id, csr_der: key.request()?.into() };
    let asked = async {
        let channel = connect(&[endpoint], tls, ChannelKind::Control).await?;
        let answer = EnrollClient::new(channel).renew_member(request).await;
        answer.map_err(|status| from_status(&status))
    };
    let answered = tokio::time::timeout(ANSWER_PATIENCE, asked).await;
    let silent = |_| Error::new(Code::ClusterUnreachable, "a member did not answer in time");
    Ok(answered.map_err(silent)??.into_inner().certificate_der.to_vec())
}

fn adopt(
    house: &House,
    base: &Path,
    certificate: &[u8],
    key: &IdentityKey,
    shown: &mut Shown,
) -> Result<()> {
    let authority = shown.roots().certificates().first().cloned();
    let authority = authority.ok_or_else(|| Error::new(Code::InternalBug, "no authority"))?;
    insist_on_identity(certificate, &Identity::coordinator(house.cluster, house.node_id), key)?;
    let chain = certificates_pem([certificate, authority.as_ref()]);
    let identity = TlsIdentity::from_pem(&chain, &read_pem(&key_path(base))?)?;
    let ours = PeerCertificate::parse(certificate)?;
    files::write_public(&certificate_path(base), chain.as_bytes())?;
    shown.replace(&identity, ours)
}

fn save_certificate(base: &Path, certificate: &[u8], cluster: &ClusterRow) -> Result<()> {
    let chain = certificates_pem([certificate, &cluster.ca_certificate]);
    files::write_public(&certificate_path(base), chain.as_bytes())
}

fn insist_on_own(
    certificate: &[u8],
    cluster: &ClusterRow,
    node_id: u64,
    key: &IdentityKey,
) -> Result<()> {
    insist_on_identity(certificate, &Identity::coordinator(cluster.id, node_id), key)
}

/// An answer for somebody else, or for another key, is of no use here.
fn insist_on_identity(certificate: &[u8], meant: &Identity, key: &IdentityKey) -> Result<()> {
    let told = PeerCertificate::parse(certificate)?;
    if told.identity == *meant && told.public_key == key.public() {
        return Ok(());
    }
    Err(Error::new(Code::CertificateRefused, "the certificate that came is not for this member"))
}

fn certificate_path(base: &Path) -> PathBuf {
    base.join("member.pem")
}
