//! Founding a cluster, offline: the ledger's first entries, the first operator, the first vault.

use crate::{
    cluster::{
        making::{self, Making},
        seed,
    },
    house::Keys,
    keys::custody::Custodian,
    keys::secrets,
    options::{Options, RETENTION_SETTLES, environment},
    raft::Ledger,
    serve,
    vaults::{self, Lying},
};
use holdfast_common::{
    Clock, ClusterId, Entropy, Error, Name, Result, SystemClock, SystemEntropy, limits,
};
use holdfast_keyring::{ClusterRecoveryKey, Custody, Kek, KekSource};
use holdfast_ledger::{
    Actor, LEVEL,
    command::{InitCluster, PutLocation, RaiseLevel},
    level::LEVEL_FIRST,
    row::{
        ClusterRow, Duty, LocationRow, MemberRole, MemberRow, MemberState, OperatorRow, Sharing,
    },
};
use holdfast_runtime::{
    context::{Certificates, Context},
    identity::Identity,
    pki::{CertificateAuthority, IdentityKey, ProvenKey, Validity, certificates_pem, key_pem},
    tasks::Tasks,
};
use holdfast_storage::LocationUrl;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

const NODE_ID: u64 = 1;
pub(crate) const OPERATOR: &str = "admin";
const VAULT: &str = "main";

/// What `holdfast cluster init` was told.
#[derive(Clone, Debug)]
pub struct InitOptions {
    pub dir: PathBuf,
    pub name: Name,
    pub region: Name,
    pub listen: String,
    /// Where others reach this member, when that is not where it listens.
    pub advertise: Option<String>,
    /// Names and URLs; relative `local:` paths start where the command was typed.
    pub locations: Vec<(Name, String)>,
    pub kek: KekSource,
    pub custody: Custody,
    /// For looking around: what keeps data for years is asked for less loudly.
    pub trial: bool,
    /// To be as a binary that knows no more than this.
    pub level_max: Option<u32>,
}

/// Founds a cluster in an empty directory.
pub async fn init(options: InitOptions) -> Result<()> {
    let dir = std::path::absolute(&options.dir)
        .map_err(|error| Error::io("the directory cannot be used", &error))?;
    making::insist_on_room(&dir)?;
    insist_apart(&options.locations)?;
    let making = Making::begin(&dir)?;
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let cluster = ClusterId::random(entropy.as_ref());
    let kek = holdfast_kek::make(&options.kek, environment, cluster, entropy.as_ref()).await?;
    let operator_kek = operator_kek(&options, &dir, cluster, entropy.as_ref()).await?;
    let authority = CertificateAuthority::generate(cluster, entropy.as_ref(), clock.now())?;
    let config = Options {
        cluster,
        node_id: NODE_ID,
        name: options.name.clone(),
        region: options.region.clone(),
        listen: options.listen.clone(),
        advertise: options.advertise.clone(),
        kek: Some(absolute_kek(&options.kek)?),
        kek_allowed: Vec::new(),
        duty: Duty::Data,
        data: making.data().to_owned(),
        snapshot_every: limits::SNAPSHOT_ENTRIES,
        retention_settles: RETENTION_SETTLES,
        trial: options.trial,
        level_max: options.level_max.unwrap_or(LEVEL),
        peers: Default::default(),
        file: dir.join("coordinator.toml"),
        base: dir.clone(),
    };
    let ledger = serve::open_ledger(&config, clock.clone(), entropy.clone()).await?;
    ledger.found(&serve::node_of(&config)).await?;
    ledger.wait_for_leader().await?;
    let named = (dir.as_path(), OPERATOR.parse()?);
    let operator = write_operator(named, &config, &authority, &clock, entropy.as_ref())?;
    found(&ledger, &options, &kek, &authority, operator, entropy.as_ref()).await?;
    let tasks = Tasks::new("init");
    let wrapped = ledger.query().cluster()?.recovery_key_wrapped;
    let recovery = secrets::open_recovery_key(&kek, &wrapped)?;
    let custodian = Custodian::new(kek, options.kek.clone(), entropy.clone());
    let keys = Keys { custodian, authority, recovery };
    let house = serve::house(config.clone(), ledger, Some(keys), (clock, entropy), tasks)?;
    let required = options.locations.iter().map(|(name, _)| name.clone()).collect();
    vaults::make(
        &house,
        Actor::System,
        VAULT.parse()?,
        (Sharing::Agent, Lying { required, beside: None, checks: None, lock: None }),
        operator_kek.as_ref(),
    )
    .await?;
    let released = house.ledger.clone().close().await;
    drop(house);
    serve::wait_for_release(released).await;
    making.end(&config).map(drop)
}

/// In operator custody the operator's key is made beside its context, and never given to anyone.
async fn operator_kek(
    options: &InitOptions,
    dir: &std::path::Path,
    cluster: ClusterId,
    entropy: &dyn Entropy,
) -> Result<Option<Kek>> {
    match options.custody {
        Custody::Coordinator => Ok(None),
        Custody::Operator => {
            let source = KekSource::File(dir.join("operator.kek"));
            holdfast_kek::make(&source, environment, cluster, entropy).await.map(Some)
        }
    }
}

pub(crate) fn absolute_kek(source: &KekSource) -> Result<String> {
    let absolute = |path: &Path| {
        std::path::absolute(path).map_err(|e| Error::io("the key's path cannot be used", &e))
    };
    Ok(match source {
        KekSource::File(path) => KekSource::File(absolute(path)?).to_string(),
        KekSource::PassphraseFile(path) => KekSource::PassphraseFile(absolute(path)?).to_string(),
        KekSource::Remote(remote) => remote.clone().with_paths(absolute)?.to_string(),
        other @ (KekSource::Env(_) | KekSource::PassphraseEnv(_)) => other.to_string(),
    })
}

/// A URL whose path starts at the current directory, as whoever typed it meant.
fn here(url: &str) -> Result<LocationUrl> {
    let here = std::env::current_dir()
        .map_err(|error| Error::io("the current directory cannot be used", &error))?;
    LocationUrl::resolve(url, &here)
}

/// Before anything is made: no two of the locations are one.
fn insist_apart(locations: &[(Name, String)]) -> Result<()> {
    let mut places = Vec::with_capacity(locations.len());
    for (name, url) in locations {
        let this = (name.clone(), here(url)?);
        crate::places::insist_on_own_ground(&this, &places)?;
        places.push((this.0, this.1, None));
    }
    Ok(())
}

/// A fresh operator's files, and who it is.
pub(crate) fn write_operator(
    (dir, name): (&std::path::Path, Name),
    config: &Options,
    authority: &CertificateAuthority,
    clock: &Arc<dyn Clock>,
    entropy: &dyn Entropy,
) -> Result<OperatorRow> {
    let (key, pkcs8) = IdentityKey::generate(entropy)?;
    let ttl = Duration::from_secs(limits::OPERATOR_CERT_TTL_SECS);
    let validity = Validity::starting(clock.now(), ttl);
    let serial = crate::identity::pki::new_serial(entropy);
    let identity = Identity::operator(config.cluster, name.clone());
    let certificate = authority.issue(&ProvenKey::own(&key), &identity, validity, serial)?;
    let context = Context {
        endpoints: vec![config.advertise.clone().unwrap_or_else(|| config.listen.clone())],
        cluster: config.cluster,
        ca: Certificates::At(dir.join("ca.pem")),
        cert: Certificates::At(dir.join("operator.pem")),
        key: dir.join("operator.key"),
        vault: VAULT.parse()?,
    };
    context.save_identity(
        &authority.certificate_pem(),
        &certificates_pem([certificate.as_ref()]),
        &key_pem(&pkcs8),
    )?;
    context.save(&dir.join("operator.toml"))?;
    Ok(OperatorRow {
        public_key: Some(key.public()),
        ..OperatorRow::founding(name, serial, validity.not_after)
    })
}

async fn found(
    ledger: &Ledger,
    options: &InitOptions,
    kek: &Kek,
    authority: &CertificateAuthority,
    operator: OperatorRow,
    entropy: &dyn Entropy,
) -> Result<()> {
    let recovery = ClusterRecoveryKey::generate(entropy);
    let cluster = ClusterRow {
        id: authority.cluster(),
        name: options.name.clone(),
        created: ledger.now(),
        ca_certificate: authority.certificate().to_vec().into(),
        ca_key_wrapped: secrets::seal_ca_key(kek, authority.key_pkcs8(), entropy).into(),
        recovery_key_wrapped: secrets::seal_recovery_key(kek, &recovery, entropy).into(),
        kek_derivation: kek
            .derivation
            .as_ref()
            .map(holdfast_common::record::to_bytes)
            .map(Into::into),
    };
    let member = Some(MemberRow {
        id: NODE_ID,
        name: options.name.clone(),
        region: options.region.clone(),
        address: options.advertise.clone().unwrap_or_else(|| options.listen.clone()),
        duty: Duty::Data,
        role: MemberRole::Voter,
        state: MemberState::Joined,
        joined: ledger.now(),
        identity_public: [0; 32],
        keeps_key: None,
    });
    let data = options.dir.join("data");
    seed::save(&data, &cluster, &seed::Addresses::new())?;
    ledger.propose(Actor::System, InitCluster { cluster, operator, member }).await?;
    if ledger.level_max() > LEVEL_FIRST {
        let raise = RaiseLevel { level: ledger.level_max(), members: vec![NODE_ID] };
        ledger.propose(Actor::System, raise).await?;
    }
    for (name, url) in &options.locations {
        let (name, region) = (name.clone(), options.region.clone());
        let url = here(url)?.to_string();
        crate::places::make(&url, &options.dir)?;
        let location = LocationRow { name, url, region, revision: 0, disabled: None };
        ledger.propose(Actor::System, PutLocation { location }).await?;
    }
    Ok(())
}
