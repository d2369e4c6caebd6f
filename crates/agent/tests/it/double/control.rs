//! The control side over mutual TLS: enrolment, and the line of orders and reports.

use super::Double;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use holdfast_common::{AgentId, Clock, ClusterId, Result, SystemClock, SystemEntropy, Timestamp};
use holdfast_keyring::IdentityPublicKey;
use holdfast_runtime::identity::Identity;
use holdfast_runtime::pki::{CertificateAuthority, IdentityKey, ProvenKey, Validity};
use holdfast_runtime::tls::{ChannelKind, Listener, Roots, ServerTls, TlsIdentity};
use holdfast_runtime::{OnError, Tasks};
use holdfast_wire::v1::{self, agent_report::Report};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

const CLUSTER: ClusterId = ClusterId::from_bytes([0xc1; 16]);
pub(crate) const TOKEN_SECRET: &str = "111111111111111111111111111111111111111111111111";

/// A cluster of one, behind its own authority.
pub(crate) struct Control {
    pub(crate) double: Arc<Double>,
    pub(crate) agent: AgentId,
    pub(crate) address: SocketAddr,
    pub(crate) tasks: Tasks,
    pub(crate) authority: CertificateAuthority,
    /// How long the certificates it issues live, and how old they are made to be.
    pub(crate) life: Mutex<Validity>,
    serial: AtomicUsize,
    pub(crate) renewals: AtomicUsize,
    pub(crate) returns: AtomicUsize,
    /// Whether ends are answered; a coordinator of before does not know how.
    pub(crate) takes_ends: AtomicBool,
    orders: Mutex<Option<mpsc::Sender<v1::AgentOrder>>>,
    pub(crate) reports: Mutex<Vec<Report>>,
    pub(crate) heard: Notify,
}

impl Control {
    pub(crate) async fn start(double: Arc<Double>, agent: AgentId) -> Arc<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let now = clock.now();
        let authority = CertificateAuthority::generate(CLUSTER, &SystemEntropy, now).unwrap();
        let life = Validity::starting(now, Duration::from_secs(3600));
        let (key, pkcs8) = IdentityKey::generate(&SystemEntropy).unwrap();
        let proven = ProvenKey::from_request(&key.request().unwrap()).unwrap();
        let own = Identity::coordinator(CLUSTER, 1);
        let certificate = authority.issue(&proven, &own, life, 1).unwrap();
        let identity = TlsIdentity::from_der(vec![certificate], &pkcs8);
        let roots = Roots::from_der(vec![authority.certificate().clone()]).unwrap();
        let tls = ServerTls::new(&identity, &roots, clock).unwrap();
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let tasks = Tasks::new("double");
        let control = Arc::new(Self {
            double,
            agent,
            address: listener.address(),
            tasks: tasks.clone(),
            authority,
            life: Mutex::new(life),
            serial: AtomicUsize::new(2),
            renewals: AtomicUsize::new(0),
            returns: AtomicUsize::new(0),
            takes_ends: AtomicBool::new(false),
            orders: Mutex::default(),
            reports: Mutex::default(),
            heard: Notify::new(),
        });
        let routes = control
            .double
            .routes()
            .add_service(v1::enroll_server::EnrollServer::new(Service(Arc::clone(&control))))
            .add_service(v1::agent_control_server::AgentControlServer::new(Service(Arc::clone(
                &control,
            ))));
        let (incoming, _) = listener.serve(tls, &tasks);
        let stop = tasks.token().clone().cancelled_owned();
        let serving = ChannelKind::Data
            .server()
            .add_routes(routes)
            .serve_with_incoming_shutdown(incoming, stop);
        tasks.spawn("serve", OnError::Log, async move {
            serving.await.unwrap();
            Ok(())
        });
        control
    }

    pub(crate) fn token(&self) -> String {
        format!("hf1-{TOKEN_SECRET}-{}", self.authority.fingerprint())
    }

    pub(crate) async fn order(&self, order: v1::agent_order::Order) {
        let orders = self.orders.lock().unwrap().clone().unwrap();
        orders.send(v1::AgentOrder { order: Some(order) }).await.unwrap();
    }

    pub(crate) fn is_attached(&self) -> bool {
        self.orders.lock().unwrap().is_some()
    }

    /// Ends the agent's line.
    pub(crate) fn hang_up(&self) {
        self.orders.lock().unwrap().take();
    }

    /// Waits until a report satisfies the test.
    pub(crate) async fn hear<T>(&self, mut wanted: impl FnMut(&Report) -> Option<T>) -> T {
        let heard = async {
            loop {
                let waiting = self.heard.notified();
                if let Some(found) = self.reports.lock().unwrap().iter().find_map(&mut wanted) {
                    return found;
                }
                waiting.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), heard).await.expect("it was never reported")
    }

    fn issue(&self, csr: &[u8]) -> Result<Bytes> {
        let key = ProvenKey::from_request(csr)?;
        let serial = self.serial.fetch_add(1, Ordering::Relaxed) as u64;
        let identity = Identity::agent(CLUSTER, self.agent);
        let life = *self.life.lock().unwrap();
        let certificate = self.authority.issue(&key, &identity, life, serial)?;
        Ok(Bytes::copy_from_slice(&certificate))
    }

    fn renewed(&self, csr: &[u8]) -> Response<v1::RenewResponse> {
        let certificate_der = self.issue(csr).unwrap();
        let ca_der = Bytes::copy_from_slice(self.authority.certificate());
        Response::new(v1::RenewResponse { certificate_der, ca_der })
    }
}

pub(crate) struct Service(Arc<Control>);

#[tonic::async_trait]
impl v1::enroll_server::Enroll for Service {
    async fn join_member(
        &self,
        _: Request<v1::JoinMemberRequest>,
    ) -> Result<Response<v1::JoinMemberResponse>, Status> {
        Err(Status::unimplemented("agents are no members"))
    }

    async fn renew_member(
        &self,
        _: Request<v1::RenewMemberRequest>,
    ) -> Result<Response<v1::RenewResponse>, Status> {
        Err(Status::unimplemented("agents are no members"))
    }

    async fn join(
        &self,
        request: Request<v1::JoinRequest>,
    ) -> Result<Response<v1::JoinResponse>, Status> {
        let request = request.into_inner();
        let control = &self.0;
        assert_eq!(request.token, control.token());
        let parsed = ProvenKey::from_request(&request.csr_der).unwrap();
        control.double.enrol(IdentityPublicKey::from_bytes(*parsed.as_bytes()));
        Ok(Response::new(v1::JoinResponse {
            agent_id: Bytes::copy_from_slice(control.agent.as_bytes()),
            cluster_id: Bytes::copy_from_slice(CLUSTER.as_bytes()),
            name: request.name,
            certificate_der: control.issue(&request.csr_der).unwrap(),
            ca_der: Bytes::copy_from_slice(control.authority.certificate()),
            endpoints: vec![control.address.to_string()],
        }))
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::RenewResponse>, Status> {
        self.0.renewals.fetch_add(1, Ordering::Relaxed);
        Ok(self.0.renewed(&request.get_ref().csr_der))
    }

    async fn r#return(
        &self,
        request: Request<v1::ReturnRequest>,
    ) -> Result<Response<v1::RenewResponse>, Status> {
        let request = request.into_inner();
        let time = Timestamp::from_nanos(request.time_ns);
        assert!(SystemClock::start().now().since(time) < Duration::from_secs(60));
        let message = [
            CLUSTER.as_bytes().as_slice(),
            self.0.agent.as_bytes(),
            &request.time_ns.to_le_bytes(),
            &request.csr_der,
        ]
        .concat();
        let proof = request.proof[..].try_into().unwrap();
        self.0.double.identity().verify("holdfast return v1", &message, &proof).unwrap();
        self.0.returns.fetch_add(1, Ordering::Relaxed);
        Ok(self.0.renewed(&request.csr_der))
    }
}

#[tonic::async_trait]
impl v1::agent_control_server::AgentControl for Service {
    type AttachStream = BoxStream<'static, Result<v1::AgentOrder, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::AgentReport>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let mut reports = request.into_inner();
        let (orders, receiver) = mpsc::channel(16);
        let welcome = v1::agent_order::Order::Welcome(v1::Welcome {
            heartbeat_ms: 200,
            takes_ends: self.0.takes_ends.load(Ordering::Relaxed),
            ..Default::default()
        });
        orders.send(v1::AgentOrder { order: Some(welcome) }).await.unwrap();
        *self.0.orders.lock().unwrap() = Some(orders);
        let control = Arc::clone(&self.0);
        self.0.tasks.spawn("reports", OnError::Log, async move {
            while let Ok(Some(report)) = reports.message().await {
                control.reports.lock().unwrap().extend(report.report);
                control.heard.notify_waiters();
            }
            control.hang_up();
            Ok(())
        });
        Ok(Response::new(ReceiverStream::new(receiver).map(Ok).boxed()))
    }
}
