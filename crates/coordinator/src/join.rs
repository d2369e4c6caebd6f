//! A second coordinator, and every later one: a token in, a place in the cluster out.
//!
//! ```text
//!   token (pins the authority) ─→ any member ─→ AdmitMember: an id, a row
//!        ←─ the cluster's row, the key of its keys (sealed to a key made here), who is where
//!   checked: the authority is the pinned one, the KEK opens its key ─→ files ─→ `coordinator`
//! ```
//!
//! The ledger comes later, when the new member runs and the leader finds it. Nothing is written
//! before everything was checked; `coordinator.toml` comes last.

use crate::{
    init::absolute_kek,
    options::{Options, environment},
    region::Standing,
    secrets, seed,
};
use holdfast_common::{
    Clock, Code, Entropy, Error, Name, Result, SystemClock, SystemEntropy, limits, record,
};
use holdfast_keyring::{Argon, Kek, KekSource, OneTimeKey};
use holdfast_ledger::row::ClusterRow;
use holdfast_runtime::{
    files,
    pki::{CertificateAuthority, Fingerprint, IdentityKey, pin_of},
    tls::{ChannelKind, ClientTls, connect},
};
use holdfast_wire::{
    status::from_status,
    v1::{self, enroll_client::EnrollClient},
};
use std::{path::PathBuf, sync::Arc};

/// What `holdfast cluster join` was told.
#[derive(Clone, Debug)]
pub struct JoinOptions {
    pub dir: PathBuf,
    pub name: Name,
    pub region: Name,
    pub listen: String,
    pub advertise: Option<String>,
    /// `host:port` of any member.
    pub coordinator: String,
    pub token: String,
    /// Where this member finds the KEK, when it is not brought along.
    pub kek: Option<KekSource>,
    /// It follows, and does not vote.
    pub learner: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Joined {
    pub node_id: u64,
    pub config: PathBuf,
}

/// What a sealed KEK is bound to.
pub(crate) const KEK_CONTEXT: &[u8] = b"holdfast member kek v1";

pub async fn join(options: JoinOptions) -> Result<Joined> {
    let pin = pin_of(&options.token)?;
    let dir = std::path::absolute(&options.dir)
        .map_err(|error| Error::io("the directory cannot be used", &error))?;
    let file = dir.join("coordinator.toml");
    if file.exists() || dir.join("data").exists() {
        let message = format!("{} already holds a coordinator", dir.display());
        return Err(Error::new(Code::ResourceConflict, message)
            .next("choose an empty directory: a removed member joins anew, with a new token"));
    }
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let one_time = OneTimeKey::generate(entropy.as_ref());
    let answer = ask(&options, pin, &one_time, entropy.as_ref()).await?;
    let cluster: ClusterRow = record::from_bytes("cluster", &answer.cluster)?;
    if Fingerprint::of(&cluster.ca_certificate) != pin {
        return Err(Error::new(Code::AuthDenied, "the cluster's answer cannot be trusted")
            .cause("its authority is not the one that the token names"));
    }
    files::create_private_dir(&dir)?;
    let (source, kek) = kek(&options, &answer, &one_time, &cluster, &dir)?;
    let key = secrets::open_ca_key(&kek, &cluster.ca_key_wrapped)?;
    let authority = CertificateAuthority::from_parts(&cluster.ca_certificate, &key)?;
    let config = Options {
        cluster: cluster.id,
        node_id: answer.node_id,
        name: options.name,
        region: options.region,
        listen: options.listen,
        advertise: options.advertise,
        kek: absolute_kek(&source)?,
        data: dir.join("data"),
        snapshot_every: limits::SNAPSHOT_ENTRIES,
        trial: false,
        base: dir.clone(),
    };
    files::create_private_dir(&config.data)?;
    let peers = answer.peers.iter().map(|peer| (peer.id, peer.address.clone())).collect();
    seed::save(&config.data, &cluster, &peers)?;
    if !answer.epoch.is_empty() {
        let standing: Standing = record::from_bytes("epoch", &answer.epoch)?;
        standing.save(&config.data)?;
    }
    files::write_public(&dir.join("ca.pem"), authority.certificate_pem().as_bytes())?;
    config.save(&file)?;
    Ok(Joined { node_id: config.node_id, config: file })
}

async fn ask(
    options: &JoinOptions,
    pin: Fingerprint,
    one_time: &OneTimeKey,
    entropy: &dyn Entropy,
) -> Result<v1::JoinMemberResponse> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let tls = ClientTls::pinned(pin, clock)?;
    let endpoints = [options.coordinator.clone()];
    let channel = connect(&endpoints, tls, ChannelKind::Control).await?;
    let (key, _) = IdentityKey::generate(entropy)?;
    let request = v1::JoinMemberRequest {
        token: options.token.clone(),
        name: options.name.to_string(),
        region: options.region.to_string(),
        address: options.advertise.clone().unwrap_or_else(|| options.listen.clone()),
        learner: options.learner,
        csr_der: key.request()?.into(),
        one_time_public: one_time.public().to_vec().into(),
    };
    let answer = EnrollClient::new(channel).join_member(request).await;
    answer.map(tonic::Response::into_inner).map_err(|status| from_status(&status))
}

/// The KEK that was named, or the one that came along and now lies beside the configuration.
fn kek(
    options: &JoinOptions,
    answer: &v1::JoinMemberResponse,
    one_time: &OneTimeKey,
    cluster: &ClusterRow,
    dir: &std::path::Path,
) -> Result<(KekSource, Kek)> {
    let source = match (&options.kek, answer.kek_source.parse()?) {
        (Some(named), _) => named.clone(),
        (None, KekSource::File(_)) => KekSource::File(dir.join("kek")),
        (None, KekSource::PassphraseFile(_)) => KekSource::PassphraseFile(dir.join("kek")),
        (None, named) => named,
    };
    if options.kek.is_none()
        && let KekSource::File(path) | KekSource::PassphraseFile(path) = &source
    {
        let opened = one_time.open(KEK_CONTEXT, &answer.sealed_kek)?;
        files::write_private(path, &opened)?;
    }
    let derivation: Option<Argon> = cluster
        .kek_derivation
        .as_ref()
        .map(|bytes| record::from_bytes("derivation", bytes))
        .transpose()?;
    let kek = source.load(&environment, derivation.as_ref()).map_err(|error| {
        error.next("name where this member finds the cluster's KEK with --kek, and a new token")
    })?;
    Ok((source, kek))
}
