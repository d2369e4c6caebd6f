//! One coordinator, from its configuration file to a clean stop.

use crate::{
    agents::{dispatch, doubles, presence},
    api::{
        AdminService, AgentService, EnrollService, IngestService, RaftService, RestoreService,
        access::GateLayer, next_leader,
    },
    budget::Budget,
    catalog,
    cluster::{levels, members, seed, witness},
    collect, errands,
    house::{House, Keys},
    identity::{certificates, people},
    keys::{
        self,
        custody::Custodian,
        kek,
        opening::{self, Opened},
        secrets,
    },
    options::Options,
    places::{self, Places},
    raft::{Ledger, Node, Peers, Room},
    region, retain, scrub, shipped,
    shipped::ship,
};
use holdfast_common::{
    AgentId, Clock, Code, Entropy, Error, Result, SystemClock, SystemEntropy, limits,
};
use holdfast_keyring::ClusterRecoveryKey;
use holdfast_ledger::{
    LEVEL,
    row::{ClusterRow, CopyRow, LockRow},
};
use holdfast_runtime::{
    identity::IdentityKind,
    pki::CertificateAuthority,
    tasks::{OnError, Tasks},
    tls::{ChannelKind, Connections, Incoming, Listener, stranger_server},
};
use holdfast_wire::v1::{
    admin_server::AdminServer, agent_control_server::AgentControlServer,
    enroll_server::EnrollServer, ingest_server::IngestServer, raft_server::RaftServer,
    restore_server::RestoreServer,
};
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

const DRAIN: Duration = Duration::from_secs(8);
/// What is under way is of an epoch that is over, and soon fails by itself.
const DRAIN_ANEW: Duration = Duration::from_secs(4);
const RELEASE_ANEW: Duration = Duration::from_secs(60);
const RELEASE: Duration = Duration::from_secs(4);
const STEP_DOWN: Duration = Duration::from_secs(2);

/// What `holdfast coordinator` was told beside its configuration.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    pub config: PathBuf,
    /// Instead of where the file says.
    pub listen: Option<String>,
    /// To be as a binary that knows no more than this.
    pub level_max: Option<u32>,
}

/// Runs a coordinator until `shutdown`. `ready` is told the address when calls are accepted.
pub async fn serve(
    options: ServeOptions,
    shutdown: CancellationToken,
    ready: impl FnOnce(SocketAddr) + Send,
) -> Result<()> {
    holdfast_runtime::memory::keep_freed();
    let mut config = Options::load(&options.config)?;
    config.listen = options.listen.unwrap_or(config.listen);
    config.level_max = options.level_max.unwrap_or(LEVEL);
    let mut ready = Some(ready);
    let mut tell = |address| ready.take().into_iter().for_each(|ready| ready(address));
    loop {
        region::prepare(&config).await?;
        let again = CancellationToken::new();
        let lived = Box::pin(live(&config, &again, &shutdown, &mut tell)).await?;
        let Lived::At(address) = lived else { return Ok(()) };
        if !again.is_cancelled() || shutdown.is_cancelled() {
            return Ok(());
        }
        tracing::info!("the coordinator starts anew, in another epoch");
        // Where it was found it is found again.
        config.listen = address.to_string();
    }
}

/// How a life of a coordinator went.
enum Lived {
    At(SocketAddr),
    /// It was to stop before it had its KEK.
    Stopped,
}

/// One life of a coordinator, until `shutdown` or until it is to start `again`.
async fn live(
    config: &Options,
    again: &CancellationToken,
    shutdown: &CancellationToken,
    ready: &mut (dyn FnMut(SocketAddr) + Send),
) -> Result<Lived> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let seed = seed::load(config)?;
    let ledger = open_ledger(config, clock.clone(), entropy.clone()).await?;
    if ledger.is_alone() {
        ledger.wait_for_leader().await?;
        ledger.catch_up().await?;
    }
    let cluster = cluster(config, &ledger, seed.as_ref())?;
    insist_on_duty(config, &ledger)?;
    let Some(keys) = unlock(config, (&cluster, &ledger), entropy.clone(), shutdown).await? else {
        wait_for_release(ledger.close().await).await;
        return Ok(Lived::Stopped);
    };
    let tasks = Tasks::new("coordinator");
    let listener = Listener::bind(&config.listen).await?;
    let address = listener.address();
    let shown = match &keys {
        Some(keys) => certificates::present(config, &keys.authority, &clock, entropy.as_ref())?,
        None => witness::present(config, &cluster, &clock)?,
    };
    ledger.peers().identify(shown.client.clone());
    if let Some(keys) = &keys {
        ledger.peers().vouch_with(keys.recovery.voucher_key());
    }
    let alone = ledger.is_alone();
    let mut house = house(config.clone(), ledger, keys, (clock, entropy), tasks.clone())?;
    house.again = again.clone();
    house.endpoint = config.advertise.clone().unwrap_or_else(|| address.to_string());
    house.first_peers = seed.map(|(_, peers)| peers).unwrap_or_default();
    let rows = house.ledger.query().members().unwrap_or_default();
    let rows = rows.iter().map(|row| (&row.id, &row.address));
    for (member, address) in house.first_peers.iter().chain(rows) {
        house.ledger.peers().list(*member, address);
    }
    region::look(&house).await;
    let (incoming, connections) = listener.serve(shown.server.clone(), &tasks);
    house.connections = connections.clone();
    house.close_agent = closer(connections);
    let house = Arc::new(house);
    if !again.is_cancelled() {
        accept(&house, incoming, &tasks).await?;
        house.tell_operator();
        spawn_common(&house, &tasks);
        match house.keys() {
            Ok(keys) => spawn_work(&house, (config.clone(), shown), &keys.recovery, &tasks),
            Err(_) => spawn_witness(&house, (config.clone(), shown), &tasks),
        }
        if !alone && house.ledger.peers().insist_on_epoch().is_ok() {
            house.ledger.hope_for_leader().await;
        }
        ready(address);
        until_the_end(&house, shutdown, &tasks).await;
    }
    end(house, &tasks).await.map(|()| Lived::At(address))
}

async fn until_the_end(house: &House, shutdown: &CancellationToken, tasks: &Tasks) {
    tokio::select! {
        () = shutdown.cancelled() => step_down(house).await,
        () = tasks.token().cancelled() => {}
        () = house.again.cancelled() => {}
    }
}

async fn end(house: Arc<House>, tasks: &Tasks) -> Result<()> {
    let failure = tasks.failure();
    let is_anew = house.again.is_cancelled();
    let left = tasks.shutdown(if is_anew { DRAIN_ANEW } else { DRAIN }).await;
    if !left.is_empty() {
        tracing::warn!(?left, "stopped without waiting for these any longer");
    }
    let released = house.ledger.clone().close().await;
    drop(house);
    if is_anew {
        // Who is answered still holds it, each for a bounded time.
        drop(tokio::time::timeout(RELEASE_ANEW, released).await);
    } else {
        wait_for_release(released).await;
    }
    failure.map_or(Ok(()), Err)
}

/// What every member does without being called.
fn spawn_common(house: &Arc<House>, tasks: &Tasks) {
    let token = tasks.token().clone();
    tasks.spawn("ledger", OnError::Shutdown, house.ledger.clone().keep(token.clone()));
    tasks.spawn("members", OnError::Shutdown, members::keep(house.clone(), token.clone()));
    let removal = members::heed_removal(house.clone(), token.clone());
    tasks.spawn("removal", OnError::Shutdown, removal);
    tasks.spawn("regions", OnError::Shutdown, region::keep(house.clone(), token.clone()));
    let stand = region::stand_again(house.clone(), token.clone());
    tasks.spawn("candidacy", OnError::Shutdown, stand);
    tasks.spawn("operators", OnError::Shutdown, people::watch(house.clone(), token.clone()));
    tasks.spawn("levels", OnError::Shutdown, levels::keep(house.clone(), token));
}

/// What a witness does beside.
fn spawn_witness(
    house: &Arc<House>,
    (config, shown): (Options, certificates::Shown),
    tasks: &Tasks,
) {
    let token = tasks.token().clone();
    tasks.spawn("last to stand", OnError::Shutdown, house.ledger.clone().stand_last(token.clone()));
    tasks.spawn("shipping news", OnError::Shutdown, ship::follow(house.clone(), token.clone()));
    let certificate = witness::keep(house.clone(), config, shown, token);
    tasks.spawn("certificate", OnError::Log, certificate);
}

/// What a member with data does beside.
fn spawn_work(
    house: &Arc<House>,
    (config, shown): (Options, certificates::Shown),
    recovery: &ClusterRecoveryKey,
    tasks: &Tasks,
) {
    let token = tasks.token().clone();
    tasks.spawn("indexes", OnError::Shutdown, catalog::keep(house.clone(), token.clone()));
    tasks.spawn("index news", OnError::Shutdown, catalog::follow(house.clone(), token.clone()));
    tasks.spawn("dispatch", OnError::Shutdown, dispatch::dispatch(house.clone(), token.clone()));
    tasks.spawn("presence", OnError::Shutdown, presence::tell(house.clone(), token.clone()));
    tasks.spawn("kek", OnError::Shutdown, keys::follow::keep(house.clone(), token.clone()));
    let sealed = keys::filling::keep(house.clone(), token.clone());
    tasks.spawn("sealed packs", OnError::Shutdown, sealed);
    tasks.spawn("doubles", OnError::Shutdown, doubles::keep(house.clone(), token.clone()));
    let shipping = ship::ship(house.clone(), recovery.log_key(), token.clone());
    tasks.spawn("log shipping", OnError::Shutdown, shipping);
    let snapshots = shipped::snapshot::keep(house.clone(), recovery.snapshot_key(), token.clone());
    tasks.spawn("snapshot shipping", OnError::Shutdown, snapshots);
    let retention = retain::keep(house.clone(), config.retention_settles, token.clone());
    tasks.spawn("retention", OnError::Shutdown, retention);
    tasks.spawn("collection", OnError::Shutdown, collect::keep(house.clone(), token.clone()));
    tasks.spawn("deletion", OnError::Shutdown, collect::delete(house.clone(), token.clone()));
    let provider = kek::watch(house.clone(), token.clone());
    tasks.spawn("KEK's provider", OnError::Log, provider);
    let copies = errands::run::<CopyRow>(house.clone(), token.clone());
    tasks.spawn("replication", OnError::Shutdown, copies);
    let locks = errands::run::<LockRow>(house.clone(), token.clone());
    tasks.spawn("locks", OnError::Shutdown, locks);
    let watch = places::watch(house.clone(), token.clone());
    tasks.spawn("required locations", OnError::Shutdown, watch);
    tasks.spawn("scrubs", OnError::Shutdown, scrub::scrub(house.clone(), token.clone()));
    let certificates = certificates::keep(house.clone(), config, shown, token);
    tasks.spawn("certificates", OnError::Log, certificates);
}

/// Serves whoever comes, those who are known apart from those who are not.
async fn accept(house: &Arc<House>, incoming: Incoming, tasks: &Tasks) -> Result<()> {
    let token = tasks.token().clone();
    let (members, strangers) = incoming.apart();
    for (base, incoming) in [(ChannelKind::Data.server(), members), (stranger_server(), strangers)]
    {
        let server = router(base, house, tasks)
            .await?
            .serve_with_incoming_shutdown(incoming, token.clone().cancelled_owned());
        tasks.spawn("grpc", OnError::Shutdown, async move {
            server.await.map_err(|error| Error::new(Code::InternalBug, "the server").cause(error))
        });
    }
    Ok(())
}

/// A leader that stops says so first: nobody has to find out.
async fn step_down(house: &House) {
    if !house.ledger.leads() || house.ledger.is_alone() {
        return;
    }
    let next = house.ledger.overview().and_then(|seen| next_leader(house, &seen));
    let Ok(next) = next else { return };
    let handed = async {
        house.ledger.transfer(next).await?;
        house.ledger.wait_until_led_by(next).await
    };
    match tokio::time::timeout(STEP_DOWN, handed).await {
        Ok(Ok(())) => tracing::info!(to = next, "stepped down"),
        _ => tracing::warn!(to = next, "could not step down in time"),
    }
}

/// The next one to open the directory must find it free.
pub(crate) async fn wait_for_release(released: impl Future<Output = ()>) {
    if tokio::time::timeout(RELEASE, released).await.is_err() {
        tracing::warn!("the ledger's files are still held");
    }
}

fn closer(connections: Connections) -> Box<dyn Fn(AgentId) + Send + Sync> {
    Box::new(move |agent| {
        let closed = connections.close_where(
            |peer| matches!(&peer.identity.kind, IdentityKind::Agent(id) if *id == agent),
        );
        tracing::info!(%agent, closed, "connections of a revoked agent closed");
    })
}

/// Every service behind its gate; what strangers may call of them the gate knows.
async fn router(
    base: Server,
    house: &Arc<House>,
    tasks: &Tasks,
) -> Result<
    tonic::transport::server::Router<
        tower::layer::util::Stack<GateLayer, tower::layer::util::Identity>,
    >,
> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<AdminServer<AdminService>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(holdfast_wire::DESCRIPTORS)
        .build_v1()
        .map_err(|error| Error::new(Code::InternalBug, "reflection").cause(error))?;
    let admin = AdminService { house: house.clone(), tasks: tasks.clone() };
    let agents = AgentService { house: house.clone(), tasks: tasks.clone() };
    let restore = RestoreService { house: house.clone(), tasks: tasks.clone() };
    let ingest = IngestServer::new(IngestService { house: house.clone(), tasks: tasks.clone() })
        .max_decoding_message_size(limits::INGEST_MESSAGE_BYTES_MAX);
    let raft = RaftServer::new(RaftService { house: house.clone(), tasks: tasks.clone() })
        .max_decoding_message_size(limits::MESSAGE_BYTES_MAX);
    let enroll = EnrollServer::new(EnrollService(house.clone()))
        .max_decoding_message_size(limits::ENROLL_MESSAGE_BYTES_MAX);
    Ok(base
        .layer(GateLayer(house.clone()))
        .add_service(health.max_decoding_message_size(limits::ENROLL_MESSAGE_BYTES_MAX))
        .add_service(reflection)
        .add_service(enroll)
        .add_service(AdminServer::new(admin))
        .add_service(AgentControlServer::new(agents))
        .add_service(ingest)
        .add_service(raft)
        .add_service(RestoreServer::new(restore)))
}

pub(crate) fn node_of(config: &Options) -> Node {
    Node {
        id: config.node_id,
        name: config.name.clone(),
        region: config.region.clone(),
        address: config.advertise.clone().unwrap_or_else(|| config.listen.clone()),
        snapshot_every: config.snapshot_every,
        duty: config.duty,
        level_max: config.level_max,
    }
}

pub(crate) async fn open_ledger(
    config: &Options,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Ledger> {
    let node = node_of(config);
    let room = Room::open(&config.data, limits::LEDGER_RESERVE_BYTES);
    let peers = Peers::new(config.cluster, config.node_id, config.peers.clone());
    peers.stand_at(region::Standing::load(&config.data)?);
    let directory = config.data.join("ledger");
    Box::pin(Ledger::open(&directory, &node, peers, room, (clock, entropy))).await
}

/// The ledger's row of the cluster, or, where nothing of the ledger came yet, what the member
/// brought from its joining.
fn cluster(
    config: &Options,
    ledger: &Ledger,
    seed: Option<&(ClusterRow, seed::Addresses)>,
) -> Result<ClusterRow> {
    let cluster = match (ledger.query().cluster(), seed) {
        (Ok(cluster), _) => cluster,
        (Err(_), Some((cluster, _))) => cluster.clone(),
        (Err(error), None) => return Err(error),
    };
    seed::insist_on(config, &cluster)?;
    Ok(cluster)
}

/// A member is what it was admitted as.
fn insist_on_duty(config: &Options, ledger: &Ledger) -> Result<()> {
    match ledger.query().member(config.node_id) {
        Ok(row) if row.duty != config.duty => {
            let message = format!("`{}` was not admitted as what its file says it is", row.name);
            Err(Error::new(Code::ConfigMalformed, message)
                .next("remove the member and join with a new token: its duty does not change"))
        }
        _ => Ok(()),
    }
}

/// What the KEK opens first; a wrong one ends here. A witness has none, and opens nothing. Nothing
/// at all when the process is to stop while the KEK's provider is away.
async fn unlock(
    config: &Options,
    (cluster, ledger): (&ClusterRow, &Ledger),
    entropy: Arc<dyn Entropy>,
    shutdown: &CancellationToken,
) -> Result<Option<Option<Keys>>> {
    let Some(named) = kek::source(config)? else { return Ok(Some(None)) };
    let opened = opening::open(config, &named, (cluster, ledger), shutdown).await?;
    let Some(Opened { kek, source, authority_key }) = opened else { return Ok(None) };
    let authority = CertificateAuthority::from_parts(&cluster.ca_certificate, &authority_key)?;
    let recovery = secrets::open_recovery_key(&kek, &cluster.recovery_key_wrapped)?;
    let is_written = source == named;
    let custodian = Custodian::new(kek, source, entropy);
    if !is_written {
        custodian.note_unwritten();
    }
    Ok(Some(Some(Keys { custodian, authority, recovery })))
}

/// Everything the services share, before anybody listens.
pub(crate) fn house(
    config: Options,
    ledger: Ledger,
    keys: Option<Keys>,
    (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>),
    tasks: Tasks,
) -> Result<House> {
    Ok(House {
        cluster: config.cluster,
        node_id: config.node_id,
        name: config.name,
        region: config.region,
        trial: config.trial,
        retention_settles: config.retention_settles,
        places: Places::new(ledger.clone(), config.base.clone(), entropy.clone(), tasks.clone()),
        base: config.base,
        config: config.file,
        ledger,
        keys,
        kek_watch: Default::default(),
        first_peers: Default::default(),
        hub: Default::default(),
        sessions: Default::default(),
        reads: Default::default(),
        shipping: Default::default(),
        copies: Default::default(),
        checks: Default::default(),
        stuck: Default::default(),
        given_up: Default::default(),
        shut: Default::default(),
        clock,
        entropy,
        incoming: Budget::new(limits::WRITE_BUDGET_BYTES),
        shelf: Default::default(),
        outgoing: Budget::new(limits::READ_BUDGET_BYTES),
        calls: Default::default(),
        endpoint: config.listen,
        index: config.data.join("index"),
        shipped_hint: config.data.join("shipped"),
        data: config.data,
        again: CancellationToken::new(),
        catalogs: Default::default(),
        catalog_made: Default::default(),
        tasks,
        close_agent: Box::new(|_| {}),
        connections: Default::default(),
        parting: Default::default(),
    })
}
