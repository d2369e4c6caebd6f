//! The way back when a cluster's KEK is lost: what the ledger keeps under it is wrapped anew from a
//! recovery bundle, offline.
//!
//! ```text
//!   bundle ─┬─▶ key objects under the new KEK ─▶ every required location ─┐
//!           └─▶ authority's key, recovery key ─────────────────────────── ▶ one command ─▶ .toml
//! ```
//!
//! The locations first, then the ledger, then the configuration: whatever is cut short is repeated
//! by the same command. Nothing under the old KEK is needed, and nothing of it is removed.

use crate::{
    cluster::init::absolute_kek,
    keys::{custody::bury, free::free_kek_version, secrets},
    options::{Options, environment},
    places::Places,
    raft::Ledger,
    serve,
};
use holdfast_common::{Clock, Code, Entropy, Error, Result, SystemClock, SystemEntropy, record};
use holdfast_keyring::{BundleContents, BundledVault, Kek, KekId, KekSource, KeyObject, VaultKeys};
use holdfast_ledger::{
    Actor, Query,
    command::{KekChange, RewrapKeys, RewrappedVault},
    level::KEYS,
    row::{ClusterRow, Custody, VaultRow},
};
use holdfast_repository::layout::ObjectName;
use holdfast_runtime::tasks::Tasks;
use std::{path::PathBuf, sync::Arc};

/// What `holdfast keys import --config` was told.
#[derive(Debug)]
pub struct RewrapOptions {
    /// The coordinator.toml of a coordinator that does not run.
    pub config: PathBuf,
    pub contents: BundleContents,
    /// A key file that is not there is made.
    pub kek: KekSource,
    /// For vaults in operator custody.
    pub operator: Option<KekSource>,
}

/// What came of it.
#[derive(Debug)]
pub struct Rewrapped {
    pub kek: KekId,
    /// Names of the new key objects.
    pub objects: Vec<String>,
}

/// Wraps everything anew; the coordinator starts with the new KEK after that.
pub async fn rewrap(options: RewrapOptions) -> Result<Rewrapped> {
    let mut config = Options::load(&options.config)?;
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let (file, kek_named) = (options.config.clone(), absolute_kek(&options.kek)?);
    let ledger = serve::open_ledger(&config, clock, entropy.clone()).await?;
    let rewrapped = in_ledger(&config, &ledger, options, entropy).await;
    let released = ledger.close().await;
    serve::wait_for_release(released).await;
    let rewrapped = rewrapped?;
    config.kek = Some(kek_named);
    config.save(&file)?;
    Ok(rewrapped)
}

pub(crate) async fn in_ledger(
    config: &Options,
    ledger: &Ledger,
    options: RewrapOptions,
    entropy: Arc<dyn Entropy>,
) -> Result<Rewrapped> {
    ledger.wait_for_leader().await.map_err(of_several)?;
    ledger.catch_up().await?;
    let mut contents = options.contents;
    insist_on_cluster(config, &ledger.query().cluster()?, &contents)?;
    let vaults = ledger.query().vaults()?;
    vaults.iter().try_for_each(|row| held(&mut contents, row).map(drop))?;
    let make = async |source| {
        holdfast_kek::make(source, environment, config.cluster, entropy.as_ref()).await
    };
    let kek = make(&options.kek).await?;
    let operator = match &options.operator {
        Some(source) => Some(make(source).await?),
        None => None,
    };
    let (base, tasks) = (config.base.clone(), Tasks::new("rewrap"));
    let places = Places::new(ledger.clone(), base, entropy.clone(), tasks.clone());
    let (mut rewrapped, mut objects) = (Vec::new(), Vec::new());
    for row in &vaults {
        let operator = operator_of(row, operator.as_ref())?;
        // What is disabled is brought what it lacks when it is put to use again.
        let used = places.in_use(row)?;
        let keys = &mut held(&mut contents, row)?.keys;
        bury(keys, &ledger.query())?;
        admit_missing(keys, &ledger.query(), row, operator)?;
        for version in keys.versions() {
            let object =
                wrap(keys, version, (&kek, operator), (&places, &used), entropy.as_ref()).await?;
            let name = ObjectName::keys(version, object.kek_version())?.into_string();
            places.put(&used, &name, object.to_bytes().into()).await?;
            let (vault, key_object) = (row.id, object.to_bytes().into());
            rewrapped.push(RewrappedVault { vault, version, key_object });
            objects.push(name);
        }
    }
    let mut command = command(&kek, &contents, rewrapped, entropy.as_ref());
    command.change = change(ledger, &vaults, (&kek, &options.kek))?;
    ledger.propose(Actor::System, command).await?;
    Ok(Rewrapped { kek: kek.id, objects })
}

/// One of several that vote decides nothing alone.
fn of_several(error: Error) -> Error {
    match error.code {
        Code::ClusterLeaderless => error.next(
            "where several coordinators vote, stop them all and bring the cluster back in a new \
             directory: holdfast cluster recover --from LOCATION --bundle FILE",
        ),
        _ => error,
    }
}

fn insist_on_cluster(
    config: &Options,
    cluster: &ClusterRow,
    contents: &BundleContents,
) -> Result<()> {
    if cluster.id != config.cluster {
        return Err(Error::new(Code::ConfigMalformed, "this data belongs to another cluster"));
    }
    if contents.cluster == cluster.id && contents.ca_certificate == *cluster.ca_certificate {
        return Ok(());
    }
    let (theirs, ours) = (contents.cluster, cluster.id);
    let message = format!("the bundle is of cluster {theirs}, the coordinator of cluster {ours}");
    Err(Error::new(Code::VaultForeign, message).next("use a bundle of this coordinator's cluster"))
}

fn held<'a>(contents: &'a mut BundleContents, row: &VaultRow) -> Result<&'a mut BundledVault> {
    let held = contents.vaults.iter_mut().find(|held| {
        held.keys.vault() == row.id && held.keys.versions().any(|one| one == row.key_version)
    });
    held.ok_or_else(|| {
        let message = format!("the bundle is older than the newest key of vault `{}`", row.name);
        Error::new(Code::KeyWrong, message).next("use a bundle that was exported after it was made")
    })
}

fn operator_of<'a>(row: &VaultRow, operator: Option<&'a Kek>) -> Result<Option<&'a Kek>> {
    match (row.custody, operator) {
        (Custody::Coordinator, _) => Ok(None),
        (Custody::Operator, Some(operator)) => Ok(Some(operator)),
        (Custody::Operator, None) => {
            let message = format!("the vault `{}` is in operator custody", row.name);
            Err(Error::new(Code::KeyCustodyRefused, message)
                .next("name the operator's key too: --operator-kek file:operator.kek"))
        }
    }
}

/// A bundle that was made without the operator's key lacks what that key still opens here.
fn admit_missing(
    keys: &mut VaultKeys,
    query: &Query<'_>,
    row: &VaultRow,
    operator: Option<&Kek>,
) -> Result<()> {
    let Some(operator) = operator else { return Ok(()) };
    let older = query.key_versions(&row.id)?;
    for bytes in older.iter().map(|row| &row.key_object).chain([&row.key_object]) {
        let object = KeyObject::from_bytes(bytes)?;
        if keys.private(object.version()).is_err() {
            keys.admit(object.unwrap_operator(operator)?)?;
        }
    }
    Ok(())
}

/// One version under the first KEK version that no required location has.
async fn wrap(
    keys: &VaultKeys,
    version: u32,
    (kek, operator): (&Kek, Option<&Kek>),
    (places, row): (&Places, &VaultRow),
    entropy: &dyn Entropy,
) -> Result<KeyObject> {
    let kek_version = free_kek_version(places, row, version).await?;
    KeyObject::wrap(keys, version, kek, kek_version, operator, entropy)
}

fn command(
    kek: &Kek,
    contents: &BundleContents,
    vaults: Vec<RewrappedVault>,
    entropy: &dyn Entropy,
) -> RewrapKeys {
    RewrapKeys {
        kek: *kek.id.as_bytes(),
        ca_key_wrapped: secrets::seal_ca_key(kek, &contents.ca_key, entropy).into(),
        recovery_key_wrapped: secrets::seal_recovery_key(kek, &contents.recovery, entropy).into(),
        kek_derivation: kek.derivation.as_ref().map(record::to_bytes).map(Into::into),
        vaults,
        change: None,
    }
}

/// What the ledger is told of the KEK that was lost, if it keeps account of them.
fn change(
    ledger: &Ledger,
    vaults: &[VaultRow],
    (kek, source): (&Kek, &KekSource),
) -> Result<Option<KekChange>> {
    let Some(row) = vaults.first() else { return Ok(None) };
    let before = KeyObject::from_bytes(&row.key_object)?.kek();
    if ledger.query().level()? < KEYS || before == kek.id {
        return Ok(None);
    }
    let source = absolute_kek(source)?;
    Ok(Some(KekChange { before: *before.as_bytes(), source }))
}
