//! Connections over loopback, with real certificates and an injected clock.

mod channel;
mod crowd;
mod handshake;

use super::*;
use crate::identity::Identity;
use crate::pki::{COORDINATOR_NAME, CertificateAuthority, IdentityKey, ProvenKey, Validity};
use crate::tasks::Tasks;
use core::time::Duration;
use holdfast_common::{AgentId, ClusterId, SystemEntropy, Timestamp};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

const CLUSTER: ClusterId = ClusterId::from_bytes([0xc1; 16]);
/// Far from the real time, so that a look at the system's clock fails every handshake.
const NOW: Timestamp = Timestamp::from_nanos(2_208_988_800_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);
const DEADLINE: Duration = Duration::from_secs(10);

/// A clock that stands still.
struct Still(Timestamp);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(Still(NOW))
}

fn late() -> Arc<dyn Clock> {
    Arc::new(Still(NOW.plus(2 * HOUR)))
}

/// A cluster's authority, and whatever identities a test wants of it.
struct House(CertificateAuthority);

impl House {
    fn new() -> Self {
        Self::of(CLUSTER)
    }

    fn of(cluster: ClusterId) -> Self {
        Self(CertificateAuthority::generate(cluster, &SystemEntropy, NOW).unwrap())
    }

    fn identity(&self, identity: &Identity, ttl: Duration) -> TlsIdentity {
        let (leaf, pkcs8) = self.leaf(identity, ttl);
        TlsIdentity::from_der(vec![leaf], &pkcs8)
    }

    fn leaf(&self, identity: &Identity, ttl: Duration) -> (CertificateDer<'static>, Vec<u8>) {
        let (key, pkcs8) = IdentityKey::generate(&SystemEntropy).unwrap();
        let validity = Validity::starting(NOW, ttl);
        let leaf = self.0.issue(&ProvenKey::own(&key), identity, validity, 7).unwrap();
        (leaf, pkcs8.to_vec())
    }

    fn roots(&self) -> Roots {
        Roots::from_der(vec![self.0.certificate().clone()]).unwrap()
    }

    fn server(&self, node: u64) -> Arc<ServerTls> {
        let identity = self.identity(&Identity::coordinator(self.0.cluster(), node), 9 * HOUR);
        ServerTls::new(&identity, &self.roots(), clock()).unwrap()
    }

    fn client(&self, who: &Identity) -> Arc<ClientTls> {
        ClientTls::new(&self.identity(who, HOUR), &self.roots(), clock()).unwrap()
    }

    fn anonymous(&self) -> Arc<ClientTls> {
        ClientTls::anonymous(&self.roots(), clock()).unwrap()
    }
}

fn agent(number: u8) -> Identity {
    Identity::agent(CLUSTER, AgentId::from_bytes([number; 16]))
}

/// A listener that accepts, and what comes of it.
struct Site {
    address: String,
    incoming: Incoming,
    connections: Connections,
    tasks: Tasks,
}

impl Site {
    async fn open(tls: Arc<ServerTls>) -> Self {
        let tasks = Tasks::new("site");
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.address().to_string();
        let (incoming, connections) = listener.serve(tls, &tasks);
        Self { address, incoming, connections, tasks }
    }

    async fn next(&mut self) -> Connection {
        use tokio_stream::StreamExt;
        let next = tokio::time::timeout(DEADLINE, self.incoming.next()).await;
        next.expect("a connection within the deadline").unwrap().unwrap()
    }

    async fn close(self) {
        assert!(self.tasks.shutdown(DEADLINE).await.is_empty());
    }
}

async fn dial(site: &Site, tls: &ClientTls) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(&site.address).await?;
    let name = ServerName::try_from(COORDINATOR_NAME).unwrap();
    TlsConnector::from(tls.config()).connect(name, stream).await
}
