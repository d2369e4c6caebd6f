//! One coordinator, from its configuration file to a clean stop.

use crate::{
    api::{
        AdminService, AgentService, EnrollService, IngestService, RestoreService, access::GateLayer,
    },
    budget::Budget,
    catalog, certificates,
    custody::Custodian,
    dispatch,
    house::House,
    hub::Hub,
    options::{Options, environment},
    places::Places,
    raft::{Ledger, Node, Room},
    secrets, ship,
};
use holdfast_common::{
    AgentId, Clock, Code, Entropy, Error, Result, SystemClock, SystemEntropy, limits, record,
};
use holdfast_keyring::{Argon, ClusterRecoveryKey, Kek, KekSource};
use holdfast_runtime::{
    context::Context,
    identity::IdentityKind,
    pki::CertificateAuthority,
    tasks::{OnError, Tasks},
    tls::{ChannelKind, Connections, Listener, stranger_server},
};
use holdfast_wire::v1::{
    admin_server::AdminServer, agent_control_server::AgentControlServer,
    enroll_server::EnrollServer, ingest_server::IngestServer, restore_server::RestoreServer,
};
use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

const DRAIN: Duration = Duration::from_secs(8);
const RELEASE: Duration = Duration::from_secs(4);

/// Runs a coordinator until `shutdown`. `ready` is told the address when calls are accepted.
pub async fn serve(
    config_path: &Path,
    listen: Option<String>,
    shutdown: CancellationToken,
    ready: impl FnOnce(SocketAddr) + Send,
) -> Result<()> {
    let mut config = Options::load(config_path)?;
    config.listen = listen.unwrap_or(config.listen);
    let config_of_port = config.clone();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let ledger = open_ledger(&config, clock.clone(), entropy.clone()).await?;
    ledger.wait_for_leader().await?;
    ledger.catch_up().await?;
    let (kek, authority, recovery) = unlock(&config, &ledger)?;
    let tasks = Tasks::new("coordinator");
    let listener = Listener::bind(&config.listen).await?;
    let address = listener.address();
    let (roots, tls, ours) = certificates::present(&config, &authority, &clock, entropy.as_ref())?;
    let (incoming, connections) = listener.serve(tls.clone(), &tasks);
    let mut house = house(config.clone(), ledger, kek, authority, (clock, entropy), tasks.clone())?;
    house.endpoint = address.to_string();
    house.close_agent = closer(connections);
    let house = Arc::new(house);
    let token = tasks.token().clone();
    tasks.spawn("indexes", OnError::Shutdown, catalog::keep(house.clone(), token.clone()));
    tasks.spawn("dispatch", OnError::Shutdown, dispatch::dispatch(house.clone(), token.clone()));
    tasks.spawn("ledger", OnError::Shutdown, house.ledger.clone().keep(token.clone()));
    let shipping = ship::ship(house.clone(), recovery.log_key(), token.clone());
    tasks.spawn("log shipping", OnError::Shutdown, shipping);
    tasks.spawn(
        "certificates",
        OnError::Log,
        certificates::keep(house.clone(), config, (tls, roots, ours), token.clone()),
    );
    let (members, strangers) = incoming.apart();
    for (base, incoming) in [(ChannelKind::Data.server(), members), (stranger_server(), strangers)]
    {
        let server = router(base, &house, &tasks)
            .await?
            .serve_with_incoming_shutdown(incoming, token.clone().cancelled_owned());
        tasks.spawn("grpc", OnError::Shutdown, async move {
            server.await.map_err(|error| Error::new(Code::InternalBug, "the server").cause(error))
        });
    }
    if let Err(error) = tell_operator(&config_of_port, address) {
        tracing::warn!(%error, "operator.toml does not say where this coordinator is");
    }
    ready(address);
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = token.cancelled() => {}
    }
    let failure = tasks.failure();
    let left = tasks.shutdown(DRAIN).await;
    if !left.is_empty() {
        tracing::warn!(?left, "stopped without waiting for these any longer");
    }
    let released = house.ledger.clone().close().await;
    drop(house);
    wait_for_release(released).await;
    failure.map_or(Ok(()), Err)
}

/// A coordinator that was told port 0 chose one: the operator's context beside its configuration
/// follows.
fn tell_operator(config: &Options, address: SocketAddr) -> Result<()> {
    let path = config.base.join("operator.toml");
    if !config.listen.ends_with(":0") || !path.exists() {
        return Ok(());
    }
    let context = Context::load(&path)?;
    if context.cluster != config.cluster {
        return Ok(());
    }
    Context { endpoints: vec![address.to_string()], ..context }.save(&path)
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
        .add_service(RestoreServer::new(restore)))
}

pub(crate) fn node_of(config: &Options) -> Node {
    Node {
        id: config.node_id,
        name: config.name.clone(),
        region: config.region.clone(),
        address: config.listen.clone(),
    }
}

pub(crate) async fn open_ledger(
    config: &Options,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Ledger> {
    let node = node_of(config);
    let room = Room::open(&config.data, limits::LEDGER_RESERVE_BYTES);
    Box::pin(Ledger::open(&config.data.join("ledger"), &node, room, clock, entropy)).await
}

/// The KEK, and what it opens first: the authority's key. A wrong KEK ends here.
fn unlock(
    config: &Options,
    ledger: &Ledger,
) -> Result<(Kek, CertificateAuthority, ClusterRecoveryKey)> {
    let cluster = ledger.query().cluster()?;
    if cluster.id != config.cluster {
        return Err(Error::new(Code::ConfigMalformed, "this data belongs to another cluster"));
    }
    let derivation: Option<Argon> = cluster
        .kek_derivation
        .as_ref()
        .map(|bytes| record::from_bytes("derivation", bytes))
        .transpose()?;
    let source: KekSource = config.kek.parse()?;
    if source.is_readable_by_others().unwrap_or(false) {
        tracing::warn!("the KEK can be read by others than its owner");
    }
    let kek = source.load(&environment, derivation.as_ref())?;
    let key = secrets::open_ca_key(&kek, &cluster.ca_key_wrapped)?;
    let authority = CertificateAuthority::from_parts(&cluster.ca_certificate, &key)?;
    let recovery = secrets::open_recovery_key(&kek, &cluster.recovery_key_wrapped)?;
    Ok((kek, authority, recovery))
}

/// Everything the services share, before anybody listens.
pub(crate) fn house(
    config: Options,
    ledger: Ledger,
    kek: Kek,
    authority: CertificateAuthority,
    (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>),
    tasks: Tasks,
) -> Result<House> {
    Ok(House {
        cluster: config.cluster,
        node_id: config.node_id,
        name: config.name,
        region: config.region,
        trial: config.trial,
        places: Places::new(ledger.clone(), config.base.clone(), entropy.clone(), tasks.clone()),
        base: config.base,
        ledger,
        custodian: Custodian::new(kek, entropy.clone()),
        authority,
        hub: Hub::default(),
        sessions: Default::default(),
        reads: Default::default(),
        shipping: Default::default(),
        clock,
        entropy,
        incoming: Budget::new(limits::WRITE_BUDGET_BYTES),
        outgoing: Budget::new(limits::READ_BUDGET_BYTES),
        calls: Default::default(),
        endpoint: config.listen,
        index: config.data.join("index"),
        shipped_hint: config.data.join("shipped"),
        catalogs: Default::default(),
        catalog_made: Default::default(),
        tasks,
        close_agent: Box::new(|_| {}),
    })
}
