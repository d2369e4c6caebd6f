//! The directory of the member that a recovered cluster begins with.
//!
//! ```text
//!   data/ledger          tables from the locations; a log that begins behind them
//!   operator.toml …      a fresh operator
//!   coordinator.toml     last, see `making`
//! ```

use super::{
    LeftPoint, RecoverOptions, Recovered, claim, import, insist_on_whole, read, source::Sources,
    unlock::Opening,
};
use crate::{
    cluster::{init, making::Making, seed},
    keys::rewrap::{self, RewrapOptions},
    keys::{custody::all_keys, kek, secrets},
    options::{Options, RETENTION_SETTLES},
    raft::{Ledger, Rebuild, Workshop},
    region::{Claim, Standing},
    serve,
    store::SledKv,
};
use holdfast_common::{
    Clock, Code, Entropy, Error, Name, PointId, Result, SystemClock, SystemEntropy, Timestamp,
    limits,
};
use holdfast_keyring::{BundleContents, Kek, KekSource, VaultKeys};
use holdfast_ledger::{
    Actor, Command, Envelope, LEVEL, Query,
    command::{ClaimEpoch, MovedLocation, RecoverCluster},
    envelope::ENVELOPE_VERSION,
    row::{ClusterRow, Duty, MemberRole, MemberRow, MemberState, Position, VaultRow},
};
use holdfast_runtime::{files, pki::CertificateAuthority};
use holdfast_storage::LocationUrl;
use std::{path::Path, sync::Arc};

/// What was said and what was found, on its way to a member.
struct Recovery<'a> {
    options: &'a RecoverOptions,
    config: Options,
    authority: CertificateAuthority,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

pub(super) async fn make(
    mut options: RecoverOptions,
    sources: &Sources,
    mut opening: Opening,
    here: &Path,
) -> Result<Recovered> {
    let making = Making::begin(&options.dir)?;
    let workshop = Workshop::open(&making.data().join("ledger"))?;
    let mut rebuild = Rebuild::over(workshop.tables()?);
    let read = read::read(sources, &opening, &mut rebuild, &workshop.part()).await?;
    // Tables hold all of it by now; not there when no snapshot was.
    let _may_be_absent = std::fs::remove_file(workshop.part());
    insist_on_whole(read.missing, options.up_to_gap.as_deref())?;
    let (reached, term) = rebuild.reached()?;
    super::insist_on_clock(SystemClock::start().now(), reached.time, options.clock_confirmed)?;
    let bundle = options.bundle.take();
    let cluster = rebuild.query().cluster()?;
    opening.kek = in_use(opening.kek, &options.kek, &cluster).await;
    let recovery = Recovery::prepare(&options, &rebuild, &opening, (&cluster, bundle.as_ref()))?;
    let removed = live_names(&rebuild)?;
    rebuild.take_over(recovery.config.node_id);
    let base = rebuild.base();
    let number = claim::next(sources, &opening, reached.epoch).await?;
    let operator = free_name(&rebuild.query(), number)?;
    recovery.take_over(&mut rebuild, (reached, number), &operator, read.missing, here)?;
    let kek = opening.kek.as_deref();
    let (imported, left) =
        recovery.import(&mut rebuild, sources, (kek, bundle.as_ref()), number).await?;
    let claimed = recovery.claim(&mut rebuild, (reached, number), &operator, term)?;
    let points = rebuild.query().points(None).count() as u64;
    let last = rebuild.base() - 1;
    workshop.finish(rebuild, &serve::node_of(&recovery.config)).await?;
    let needs_keys = kek.is_none_or(|kek| !opens(kek, &cluster));
    let bundle = bundle.filter(|_| needs_keys);
    let rewrapped = recovery.start_once(bundle, last).await?;
    claim::put(sources, &opening, &claimed, recovery.entropy.as_ref()).await?;
    let config = making.end(&recovery.config)?;
    Ok(Recovered {
        context: options.dir.join("operator.toml"),
        config,
        cluster: cluster.id,
        node_id: recovery.config.node_id,
        reached,
        term,
        base,
        snapshot: read.snapshot,
        entries: read.entries,
        missing: read.missing,
        damaged: read.blemishes,
        removed,
        points,
        imported,
        left,
        rewrapped,
    })
}

/// A name that nobody has or had: whoever operated before is who he was, revoked or not.
fn free_name(query: &Query<'_>, epoch: u64) -> Result<Name> {
    let mut name: Name = format!("recovered-{epoch}").parse()?;
    let mut next = 2;
    while query.operator(&name)?.is_some() {
        name = format!("recovered-{epoch}-{next}").parse()?;
        next += 1;
    }
    Ok(name)
}

fn live_names(rebuild: &Rebuild<SledKv>) -> Result<Vec<Name>> {
    let members = rebuild.query().members()?;
    Ok(members.into_iter().filter(MemberRow::is_live).map(|member| member.name).collect())
}

/// One source may give several: a provider opens what each version of its key sealed. Which one is
/// in use the ledger says.
async fn in_use(
    kek: Option<Arc<Kek>>,
    source: &KekSource,
    cluster: &ClusterRow,
) -> Option<Arc<Kek>> {
    if kek.as_ref().is_some_and(|kek| opens(kek, cluster)) {
        return kek;
    }
    let found = kek::load(source, cluster).await.ok();
    found.filter(|found| opens(found, cluster)).map(Arc::new).or(kek)
}

fn opens(kek: &Kek, cluster: &ClusterRow) -> bool {
    secrets::open_ca_key(kek, &cluster.ca_key_wrapped).is_ok()
}

/// The authority's key: under the KEK in the ledger, or in the bundle.
fn authority(
    opening: &Opening,
    cluster: &ClusterRow,
    bundle: Option<&BundleContents>,
) -> Result<CertificateAuthority> {
    if cluster.id != opening.cluster {
        let (found, ours) = (cluster.id, opening.cluster);
        let message = format!("the location holds the ledger of cluster {found}, not {ours}");
        return Err(Error::new(Code::VaultForeign, message));
    }
    let key = match (bundle, &opening.kek) {
        (Some(bundle), _) if bundle.ca_certificate == *cluster.ca_certificate => {
            bundle.ca_key.clone()
        }
        (_, Some(kek)) => secrets::open_ca_key(kek, &cluster.ca_key_wrapped).map_err(|error| {
            error.next("the keys were wrapped under another KEK since: name the newest one")
        })?,
        _ => return Err(Error::new(Code::KeyWrong, "the bundle is of another authority")),
    };
    CertificateAuthority::from_parts(&cluster.ca_certificate, &key)
}

impl<'a> Recovery<'a> {
    fn prepare(
        options: &'a RecoverOptions,
        rebuild: &Rebuild<SledKv>,
        opening: &Opening,
        (cluster, bundle): (&ClusterRow, Option<&BundleContents>),
    ) -> Result<Self> {
        let members = rebuild.query().members()?;
        let config = Options {
            cluster: cluster.id,
            node_id: members.last().map_or(1, |member| member.id + 1),
            name: options.name.clone(),
            region: options.region.clone(),
            listen: options.listen.clone(),
            advertise: options.advertise.clone(),
            kek: Some(options.kek.to_string()),
            kek_allowed: Vec::new(),
            duty: Duty::Data,
            level_max: LEVEL,
            peers: Default::default(),
            data: options.dir.join("data"),
            snapshot_every: limits::SNAPSHOT_ENTRIES,
            retention_settles: RETENTION_SETTLES,
            trial: false,
            file: options.dir.join("coordinator.toml"),
            base: options.dir.clone(),
        };
        let authority = authority(opening, cluster, bundle)?;
        let (clock, entropy) = (Arc::new(SystemClock::start()), Arc::new(SystemEntropy));
        Ok(Self { options, config, authority, clock, entropy })
    }

    /// The first command of the recovered side.
    fn take_over(
        &self,
        rebuild: &mut Rebuild<SledKv>,
        (reached, number): (Position, u64),
        operator: &Name,
        missing: Option<(u64, u64)>,
        here: &Path,
    ) -> Result<()> {
        let (options, entropy) = (self.options, self.entropy.as_ref());
        let operator = init::write_operator(
            (&options.dir, operator.clone()),
            &self.config,
            &self.authority,
            &self.clock,
            entropy,
        )?;
        let moved = options.moved.iter().map(|(name, url)| {
            let url = LocationUrl::resolve(url, here)?.to_string();
            Ok(MovedLocation { name: name.clone(), url })
        });
        let command = RecoverCluster {
            reached,
            member: MemberRow {
                id: self.config.node_id,
                name: options.name.clone(),
                region: options.region.clone(),
                address: options.advertise.clone().unwrap_or_else(|| options.listen.clone()),
                duty: Duty::Data,
                role: MemberRole::Voter,
                state: MemberState::Joined,
                joined: Timestamp::ZERO,
                identity_public: [0; 32],
                keeps_key: None,
            },
            operator,
            moved: moved.collect::<Result<_>>()?,
            missing,
            reason: options.up_to_gap.clone().filter(|_| missing.is_some()),
        };
        rebuild.command(&self.envelope((reached, number), command.into())).map(drop)
    }

    /// The new epoch, in the ledger and in what the member knows of itself; not yet in a location.
    fn claim(
        &self,
        rebuild: &mut Rebuild<SledKv>,
        (reached, epoch): (Position, u64),
        operator: &Name,
        term: u64,
    ) -> Result<Claim> {
        let (name, region) = (&self.options.name, &self.options.region);
        let command = ClaimEpoch {
            epoch,
            regions: claim::regions(&rebuild.query(), region)?,
            member: self.config.node_id,
            base: reached.index,
            operator: operator.to_string(),
            reason: Some("all coordinators were lost".to_owned()),
            taken: None,
        };
        rebuild.command(&self.envelope((reached, epoch), command.clone().into()))?;
        let claim = claim::claim_of(&command, (term, name, region), self.clock.now());
        let kept = Some(claim.clone());
        Standing { claim: kept, ..Standing::of(claim.epoch.clone(), true) }
            .save(&self.config.data)?;
        Ok(claim)
    }

    /// Ledger time goes on with the wall clock, and never back.
    fn envelope(&self, (reached, epoch): (Position, u64), command: Command) -> Envelope {
        Envelope {
            version: ENVELOPE_VERSION,
            key: self.entropy.array(),
            actor: Actor::System,
            time: self.clock.now().max(reached.time),
            epoch,
            traceparent: None,
            command,
        }
    }

    /// Takes in what lies in the locations without a commit in the log.
    async fn import(
        &self,
        rebuild: &mut Rebuild<SledKv>,
        sources: &Sources,
        (kek, bundle): (Option<&Kek>, Option<&BundleContents>),
        number: u64,
    ) -> Result<(Vec<PointId>, Vec<LeftPoint>)> {
        let vaults = rebuild.query().vaults()?;
        let Some(vault) = vaults.into_iter().find(|vault| vault.id == sources.vault) else {
            let message = "the ledger does not know the vault of the location";
            return Err(Error::new(Code::VaultForeign, message));
        };
        let unwrapped;
        let held = bundle.and_then(|bundle| held_keys(bundle, &vault));
        let keys = match (held, kek) {
            (Some(keys), _) => keys,
            (None, Some(kek)) => {
                unwrapped = all_keys(&rebuild.query(), &vault, kek)?;
                &unwrapped
            }
            (None, None) => {
                return Err(Error::new(Code::KeyWrong, "the bundle is older than the vault"));
            }
        };
        let found = import::find(rebuild.query(), sources, &vault, (keys, false)).await?;
        let (mut imported, mut left) = (Vec::new(), found.left);
        let (reached, _) = rebuild.reached()?;
        for command in found.imports {
            let point = command.point.id;
            match rebuild.command(&self.envelope((reached, number), command.into())) {
                Ok(_) => imported.push(point),
                Err(error) => left.push(LeftPoint { point, why: error.to_string() }),
            }
        }
        Ok((imported, left))
    }

    /// Starts the ledger, which shows that it can be, and has keys wrapped anew where they must be.
    async fn start_once(&self, bundle: Option<BundleContents>, last: u64) -> Result<Vec<String>> {
        let (config, clock, entropy) = (&self.config, self.clock.clone(), self.entropy.clone());
        let ledger = serve::open_ledger(config, clock, entropy).await?;
        let ended = self.settle(&ledger, bundle).await;
        let released = ledger.close().await;
        serve::wait_for_release(released).await;
        files::write_public(&config.data.join("shipped"), last.to_string().as_bytes())?;
        ended
    }

    async fn settle(&self, ledger: &Ledger, bundle: Option<BundleContents>) -> Result<Vec<String>> {
        ledger.wait_for_leader().await?;
        ledger.catch_up().await?;
        let rewrapped = match bundle {
            Some(contents) => {
                let options = RewrapOptions {
                    config: self.options.dir.join("coordinator.toml"),
                    contents,
                    kek: self.options.kek.clone(),
                    operator: self.options.operator.clone(),
                };
                let entropy = self.entropy.clone();
                rewrap::in_ledger(&self.config, ledger, options, entropy).await?.objects
            }
            None => Vec::new(),
        };
        seed::save(&self.config.data, &ledger.query().cluster()?, &seed::Addresses::new())?;
        Ok(rewrapped)
    }
}

fn held_keys<'b>(bundle: &'b BundleContents, vault: &VaultRow) -> Option<&'b VaultKeys> {
    bundle.vaults.iter().map(|held| &held.keys).find(|keys| keys.vault() == vault.id)
}
