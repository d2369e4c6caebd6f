//! The accept loop. A handshake runs in its own task with a deadline, so that a slow or silent
//! client holds up nobody; how many run at once is bounded, in all and from one address, and so is
//! how many connections stand: of one identity, and of strangers from one address.
//!
//! ```text
//! accept ─→ a place by address ─→ handshake ─┬─→ a place by identity ─→ members
//!                                            └─→ a place by address ──→ strangers, for a while
//! ```
//!
//! What comes out are streams of verified connections for tonic's `serve_with_incoming_shutdown`;
//! they end when the tasks' token is cancelled, after which nothing is accepted any more.

use super::places::{Place, Places, origin};
use super::{ALPN, Connection, Connections, ServerTls};
use crate::identity::{Identity, IdentityKind, PeerCertificate, refused};
use crate::tasks::{OnError, Tasks};
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use holdfast_common::{Code, Error, Result, limits};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
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
        let connections = Connections::default();
        let (members, member_queue) = mpsc::channel(limits::CONNECTION_BACKLOG_MAX);
        let (strangers, stranger_queue) = mpsc::channel(limits::CONNECTION_BACKLOG_MAX);
        let door = Door {
            tls,
            connections: connections.clone(),
            members: Queue { places: Places::kept(limits::CONNECTIONS_MAX), ready: members },
            strangers: Queue {
                places: Places::passing(limits::STRANGERS_MAX, STRANGER_SAFE),
                ready: strangers,
            },
            tasks: tasks.clone(),
        };
        let token = tasks.token().clone();
        tasks.spawn("tls accept", OnError::Shutdown, async move {
            token.run_until_cancelled_owned(accept(self.listener, Arc::new(door))).await;
            Ok(())
        });
        (Incoming(vec![member_queue, stranger_queue]), connections)
    }
}

/// Verified connections, as tonic takes them.
#[derive(Debug)]
pub struct Incoming(Vec<mpsc::Receiver<Connection>>);

impl Incoming {
    /// Members and strangers apart, so that a server of its own can serve each.
    pub fn apart(mut self) -> (Self, Self) {
        let strangers = self.0.split_off(self.0.len().min(1));
        (self, Self(strangers))
    }
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut ended = true;
        for queue in &mut self.0 {
            match queue.poll_recv(cx) {
                Poll::Ready(Some(connection)) => return Poll::Ready(Some(Ok(connection))),
                Poll::Ready(None) => {}
                Poll::Pending => ended = false,
            }
        }
        if ended { Poll::Ready(None) } else { Poll::Pending }
    }
}

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(limits::HANDSHAKE_TIMEOUT_SECS);
const HANDSHAKE_SAFE: Duration = Duration::from_secs(limits::HANDSHAKE_SAFE_SECS);
const STRANGER_SAFE: Duration = Duration::from_secs(limits::STRANGER_SAFE_SECS);
const STRANGER_LIFE: Duration = Duration::from_secs(limits::STRANGER_SECS_MAX);
/// After a failed accept (no file handles left, say), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

struct Door {
    tls: Arc<ServerTls>,
    connections: Connections,
    members: Queue<Identity>,
    strangers: Queue<IpAddr>,
    tasks: Tasks,
}

struct Queue<K: super::places::Key> {
    places: Places<K>,
    ready: mpsc::Sender<Connection>,
}

async fn accept(listener: TcpListener, door: Arc<Door>) {
    let handshakes = Places::passing(limits::HANDSHAKES_MAX, HANDSHAKE_SAFE);
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                let Some(place) =
                    handshakes.take(&origin(remote), limits::HANDSHAKES_PER_ADDRESS_MAX)
                else {
                    tracing::debug!(%remote, "connection refused: too many handshakes at once");
                    continue;
                };
                let token = door.tasks.token().clone();
                let work = greet(Arc::clone(&door), stream, remote, place);
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
async fn greet(door: Arc<Door>, stream: TcpStream, remote: SocketAddr, place: Place) {
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, shake_hands(&door.tls, stream));
    let Some(greeted) = place.leave.run_until_cancelled(handshake).await else {
        return tracing::debug!(%remote, "connection refused: slow, and others came");
    };
    drop(place);
    let (stream, peer) = match greeted {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(error)) => return tracing::info!(%remote, %error, "connection refused"),
        Err(_) => return tracing::info!(%remote, "connection refused: the handshake took too long"),
    };
    let (place, life, ready) = match &peer {
        Some(peer) => {
            let each = connections_max(&peer.identity.kind);
            (door.members.places.take(&peer.identity, each), None, &door.members.ready)
        }
        None => {
            let each = limits::STRANGERS_PER_ADDRESS_MAX;
            let place = door.strangers.places.take(&origin(remote), each);
            (place, Some(STRANGER_LIFE), &door.strangers.ready)
        }
    };
    let Some(place) = place else {
        let who = peer.map(|peer| peer.identity.to_string());
        return tracing::debug!(%remote, who, "connection refused: too many stand already");
    };
    let connection = door.connections.enter(stream, (peer, remote), place, life);
    // Fails only when the server has stopped taking connections.
    drop(ready.send(connection).await);
}

/// People run scripts of many commands, each with connections of its own.
fn connections_max(kind: &IdentityKind) -> usize {
    match kind {
        IdentityKind::Agent(_) => limits::CONNECTIONS_PER_AGENT_MAX,
        IdentityKind::Coordinator(_) | IdentityKind::Operator(_) => {
            limits::CONNECTIONS_PER_IDENTITY_MAX
        }
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
