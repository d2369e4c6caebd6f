//! The accept loop. A handshake runs in its own task with a deadline, so that a slow or silent
//! client holds up nobody; how many run at once is bounded, and so is how many connections stand.
//! What comes out is a stream of verified connections for tonic's `serve_with_incoming_shutdown`;
//! it ends when the tasks' token is cancelled, after which nothing is accepted any more.

use super::{ALPN, ConnectInfo, Connection, Connections, ServerTls};
use crate::identity::{PeerCertificate, refused};
use crate::tasks::{OnError, Tasks};
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use holdfast_common::{Code, Error, Result, limits};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::Stream;

#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds `host:port`; port 0 takes any free one, see [`Self::address`].
    pub async fn bind(address: &str) -> Result<Self> {
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            io::Result::Ok(Self { listener, address })
        };
        bound.await.map_err(|error| {
            Error::new(Code::ConfigMalformed, format!("cannot listen at {address}")).cause(error)
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts to accept.
    pub fn serve(self, tls: Arc<ServerTls>, tasks: &Tasks) -> (Incoming, Connections) {
        let connections = Connections::new(limits::CONNECTIONS_MAX);
        let (ready, incoming) = mpsc::channel(limits::CONNECTION_BACKLOG_MAX);
        let door = Door { tls, connections: connections.clone(), ready, tasks: tasks.clone() };
        let token = tasks.token().clone();
        tasks.spawn("tls accept", OnError::Shutdown, async move {
            token.run_until_cancelled_owned(accept(self.listener, Arc::new(door))).await;
            Ok(())
        });
        (Incoming(incoming), connections)
    }
}

/// Verified connections, as tonic takes them.
#[derive(Debug)]
pub struct Incoming(mpsc::Receiver<Connection>);

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|connection| connection.map(Ok))
    }
}

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(limits::HANDSHAKE_TIMEOUT_SECS);
/// After a failed accept (no file handles left, say), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

struct Door {
    tls: Arc<ServerTls>,
    connections: Connections,
    ready: mpsc::Sender<Connection>,
    tasks: Tasks,
}

async fn accept(listener: TcpListener, door: Arc<Door>) {
    let room = Arc::new(Semaphore::new(limits::HANDSHAKES_MAX));
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, remote)) => {
                let token = door.tasks.token().clone();
                let work = greet(Arc::clone(&door), stream, remote, permit);
                door.tasks.spawn("tls handshake", OnError::Log, async move {
                    token.run_until_cancelled_owned(work).await;
                    Ok(())
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A refusal is the peer's fault or the network's: it is told, not raised.
async fn greet(
    door: Arc<Door>,
    stream: TcpStream,
    remote: SocketAddr,
    permit: OwnedSemaphorePermit,
) {
    let greeted = tokio::time::timeout(HANDSHAKE_TIMEOUT, shake_hands(&door.tls, stream)).await;
    drop(permit);
    let (stream, peer) = match greeted {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(error)) => return tracing::info!(%remote, %error, "connection refused"),
        Err(_) => return tracing::info!(%remote, "connection refused: the handshake took too long"),
    };
    match door.connections.admit(stream, ConnectInfo { peer, remote }) {
        // Fails only when the server has stopped taking connections.
        Some(connection) => drop(door.ready.send(connection).await),
        None => tracing::warn!(%remote, "connection refused: too many stand already"),
    }
}

async fn shake_hands(
    tls: &ServerTls,
    stream: TcpStream,
) -> Result<(TlsStream<TcpStream>, Option<Arc<PeerCertificate>>)> {
    let failed = |error: io::Error| refused("the handshake failed").cause(error);
    stream.set_nodelay(true).map_err(failed)?;
    let stream = TlsAcceptor::from(tls.config()).accept(stream).await.map_err(failed)?;
    let session = stream.get_ref().1;
    if session.alpn_protocol() != Some(ALPN) {
        return Err(refused("the peer does not speak HTTP/2"));
    }
    let peer = match session.peer_certificates() {
        Some([own, ..]) => Some(Arc::new(PeerCertificate::parse(own)?)),
        Some([]) | None => None,
    };
    Ok((stream, peer))
}
