//! The connections that stand: who is at the other end, and a way to end each from here.
//!
//! A revoked peer's connections are closed at once; its next call would be refused anyway, for
//! every call is checked. A connection leaves the table when it is dropped, however that came. A
//! stranger's ends by itself after a while, whatever it is doing.

use super::places::Place;
use crate::identity::PeerCertificate;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

/// Who calls: found in the extensions of every request.
#[derive(Clone, Debug)]
pub struct ConnectInfo {
    /// Verified in the handshake; `None` from those who have no certificate yet.
    pub peer: Option<Arc<PeerCertificate>>,
    pub remote: SocketAddr,
    closed: CancellationToken,
}

impl ConnectInfo {
    /// Ends the connection, with every call on it: for a peer that does not do its part.
    pub fn close(&self) {
        self.closed.cancel();
    }
}

/// A handle on the table.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<Table>);

impl Connections {
    pub fn len(&self) -> usize {
        self.0.lock().open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes the connections whose peer is meant; those without a certificate are never meant.
    pub fn close_where(&self, meant: impl Fn(&PeerCertificate) -> bool) -> usize {
        self.close_among(|peer, _| meant(peer))
    }

    /// The same, by where the peer calls from too: each connection has a place of its own.
    pub fn close_among(&self, meant: impl Fn(&PeerCertificate, SocketAddr) -> bool) -> usize {
        let rows = self.0.lock();
        let closing = rows
            .open
            .values()
            .filter(|row| row.peer.as_deref().is_some_and(|peer| meant(peer, row.remote)));
        let tokens: Vec<_> = closing.map(|row| row.closed.clone()).collect();
        drop(rows);
        tokens.iter().for_each(CancellationToken::cancel);
        tokens.len()
    }

    /// Who of those that are meant is connected, each certificate once.
    pub fn peers(&self, meant: impl Fn(&PeerCertificate) -> bool) -> Vec<Arc<PeerCertificate>> {
        let rows = self.0.lock();
        let peers = rows.open.values().filter_map(|row| row.peer.as_ref());
        let mut peers: Vec<_> = peers.filter(|peer| meant(peer)).cloned().collect();
        drop(rows);
        peers.sort_by_key(|peer| peer.serial);
        peers.dedup_by_key(|peer| peer.fingerprint);
        peers
    }

    /// Takes a connection into the table. With a `life`, it ends when that is over.
    pub(super) fn enter(
        &self,
        stream: TlsStream<TcpStream>,
        (peer, remote): (Option<Arc<PeerCertificate>>, SocketAddr),
        place: Place,
        life: Option<Duration>,
    ) -> Connection {
        let closed = place.leave.clone();
        let mut rows = self.0.lock();
        let id = rows.next;
        rows.next += 1;
        rows.open.insert(id, Row { peer: peer.clone(), remote, closed: closed.clone() });
        drop(rows);
        let closing = Box::pin(ended(closed.clone(), life));
        let seat = Seat { table: Arc::clone(&self.0), id };
        let info = ConnectInfo { peer, remote, closed };
        Connection { stream, info, closing, _seat: seat, _place: place }
    }
}

/// Until the connection is closed from here, or has lived its life.
async fn ended(closed: CancellationToken, life: Option<Duration>) {
    let Some(life) = life else { return closed.cancelled().await };
    if tokio::time::timeout(life, closed.cancelled()).await.is_err() {
        closed.cancel();
    }
}

/// A connection that the server may end: then reads and writes fail, and whoever waits is woken.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    info: ConnectInfo,
    closing: Pin<Box<dyn Future<Output = ()> + Send>>,
    _seat: Seat,
    _place: Place,
}

impl Connection {
    pub fn info(&self) -> &ConnectInfo {
        &self.info
    }

    /// Does one thing with the stream, unless the connection is closed or closes meanwhile.
    fn unless_closed<T>(
        &mut self,
        cx: &mut Context<'_>,
        act: impl FnOnce(Pin<&mut TlsStream<TcpStream>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.info.closed.is_cancelled() {
            return Poll::Ready(Err(closed_here()));
        }
        if let Poll::Ready(done) = act(Pin::new(&mut self.stream), cx) {
            return Poll::Ready(done);
        }
        // Nothing yet: wait for it or for the end, whichever comes first.
        self.closing.as_mut().poll(cx).map(|()| Err(closed_here()))
    }
}

impl core::fmt::Debug for Connection {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Connection").field(&self.info).finish()
    }
}

impl Connected for Connection {
    type ConnectInfo = ConnectInfo;

    fn connect_info(&self) -> ConnectInfo {
        self.info.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.unless_closed(cx, |stream, cx| stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.unless_closed(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.unless_closed(cx, |stream, cx| stream.poll_write_vectored(cx, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unless_closed(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unless_closed(cx, |stream, cx| stream.poll_shutdown(cx))
    }
}

fn closed_here() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "closed by the server")
}

#[derive(Debug, Default)]
struct Table {
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    next: u64,
    open: BTreeMap<u64, Row>,
}

#[derive(Debug)]
struct Row {
    peer: Option<Arc<PeerCertificate>>,
    remote: SocketAddr,
    closed: CancellationToken,
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Seat {
    table: Arc<Table>,
    id: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.table.lock().open.remove(&self.id);
    }
}
