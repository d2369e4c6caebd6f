//! A second coordinator, and every later one: a token in, a place in the cluster out.
//!
//! ```text
//!   token (pins the authority) ─→ any member ─→ AdmitMember: an id, a row
//!        ←─ the cluster's row, the key of its keys (sealed to a key made here), who is where
//!   checked: the authority is the pinned one, the KEK opens its key ─→ files ─→ `coordinator`
//! ```
//!
//! The ledger comes later, when the new member runs and the leader finds it. Of what is
//! answered nothing is written before everything was checked; `coordinator.toml` comes last. The
//! own key comes first: who did not hear the answer joins again, and is the same member.

use crate::{
    cluster::{init::absolute_kek, seed, witness},
    identity::certificates,
    keys::secrets,
    options::{Options, RETENTION_SETTLES, environment},
    region::Standing,
};
use holdfast_common::{
    Clock, Code, Entropy, Error, Name, Result, SystemClock, SystemEntropy, limits, record,
};
use holdfast_keyring::{Argon, KekSource, OneTimeKey};
use holdfast_ledger::{
    LEVEL,
    row::{ClusterRow, Duty},
};
use holdfast_runtime::{
    files,
    pki::{CertificateAuthority, Fingerprint, IdentityKey, certificates_pem, key_pem, pin_of},
    tls::{ChannelKind, ClientTls, connect},
};
use holdfast_wire::{
    status::from_status,
    v1::{self, enroll_client::EnrollClient},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

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
    /// It votes, and is given no key.
    pub witness: bool,
    /// To be as a binary that knows no more than this.
    pub level_max: Option<u32>,
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
    if file.exists() || dir.join("data/ledger").exists() {
        let message = format!("{} already holds a coordinator", dir.display());
        return Err(Error::new(Code::ResourceConflict, message)
            .next("choose an empty directory: a removed member joins anew, with a new token"));
    }
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let one_time = OneTimeKey::generate(entropy.as_ref());
    files::create_private_dir(&dir)?;
    let key = own_key(&dir, entropy.as_ref())?;
    let answer = ask(&options, pin, &one_time, &key).await?;
    let cluster: ClusterRow = record::from_bytes("cluster", &answer.cluster)?;
    if Fingerprint::of(&cluster.ca_certificate) != pin {
        return Err(Error::new(Code::AuthDenied, "the cluster's answer cannot be trusted")
            .cause("its authority is not the one that the token names"));
    }
    let (duty, kek) = if options.witness {
        let certificate = &answer.certificate_der;
        witness::save(&dir, (&cluster, answer.node_id), certificate, &key)?;
        (Duty::Witness, None)
    } else {
        let source = open_kek(&options, &answer, &one_time, &cluster, &dir)?;
        (Duty::Data, Some(absolute_kek(&source)?))
    };
    let config = Options {
        cluster: cluster.id,
        node_id: answer.node_id,
        name: options.name,
        region: options.region,
        listen: options.listen,
        advertise: options.advertise,
        kek,
        duty,
        data: dir.join("data"),
        snapshot_every: limits::SNAPSHOT_ENTRIES,
        retention_settles: RETENTION_SETTLES,
        trial: false,
        level_max: options.level_max.unwrap_or(LEVEL),
        peers: Default::default(),
        file: dir.join("coordinator.toml"),
        base: dir.clone(),
    };
    files::create_private_dir(&config.data)?;
    let peers = answer.peers.iter().map(|peer| (peer.id, peer.address.clone())).collect();
    seed::save(&config.data, &cluster, &peers)?;
    let ca = certificates_pem([&cluster.ca_certificate[..]]);
    files::write_public(&dir.join("ca.pem"), ca.as_bytes())?;
    if !answer.epoch.is_empty() {
        let standing: Standing = record::from_bytes("epoch", &answer.epoch)?;
        standing.save(&config.data)?;
    }
    config.save(&file)?;
    Ok(Joined { node_id: config.node_id, config: file })
}

/// The number that it is given is of this key. It lies here before anything is asked: whoever did
/// not hear the answer asks again with it.
fn own_key(dir: &Path, entropy: &dyn Entropy) -> Result<IdentityKey> {
    let path = certificates::key_path(dir);
    if path.exists() {
        return certificates::read_key(&path);
    }
    let (key, pkcs8) = IdentityKey::generate(entropy)?;
    files::write_private(&path, key_pem(&pkcs8).as_bytes())?;
    Ok(key)
}

async fn ask(
    options: &JoinOptions,
    pin: Fingerprint,
    one_time: &OneTimeKey,
    key: &IdentityKey,
) -> Result<v1::JoinMemberResponse> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let tls = ClientTls::pinned(pin, clock)?;
    let endpoints = [options.coordinator.clone()];
    let channel = connect(&endpoints, tls, ChannelKind::Control).await?;
    let request = v1::JoinMemberRequest {
        token: options.token.clone(),
        name: options.name.to_string(),
        region: options.region.to_string(),
        address: options.advertise.clone().unwrap_or_else(|| options.listen.clone()),
        learner: options.learner,
        csr_der: key.request()?.into(),
        one_time_public: one_time.public().to_vec().into(),
        witness: options.witness,
        level_max: options.level_max.unwrap_or(LEVEL),
    };
    let answer = EnrollClient::new(channel).join_member(request).await;
    answer.map(tonic::Response::into_inner).map_err(|status| from_status(&status))
}

/// Where the KEK is that was named, or that came along and now lies beside the configuration; it
/// opens the cluster's authority.
fn open_kek(
    options: &JoinOptions,
    answer: &v1::JoinMemberResponse,
    one_time: &OneTimeKey,
    cluster: &ClusterRow,
    dir: &Path,
) -> Result<KekSource> {
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
        error.next("join again, and name with --kek where this member finds the cluster's KEK")
    })?;
    let key = secrets::open_ca_key(&kek, &cluster.ca_key_wrapped)?;
    CertificateAuthority::from_parts(&cluster.ca_certificate, &key)?;
    Ok(source)
}
