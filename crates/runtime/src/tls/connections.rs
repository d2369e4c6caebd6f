//! The connections that stand: who is at the other end, and a way to end each from here.
//!
//! A revoked peer's connections are closed at once; its next call would be refused anyway, for
//! every call is checked. A connection leaves the table when it is dropped, however that came.

use crate::identity::PeerCertificate;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

/// Who calls: found in the extensions of every request.
#[derive(Clone, Debug)]
pub struct ConnectInfo {
    /// Verified in the handshake; `None` from those who have no certificate yet.
    pub peer: Option<Arc<PeerCertificate>>,
    pub remote: SocketAddr,
}

/// A handle on the table.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Table>);

impl Connections {
    pub(super) fn new(max: usize) -> Self {
        Self(Arc::new(Table { max, rows: Mutex::default() }))
    }

    pub fn len(&self) -> usize {
        self.0.lock().open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes the connections whose peer is meant; those without a certificate are never meant.
    pub fn close_where(&self, meant: impl Fn(&PeerCertificate) -> bool) -> usize {
        let rows = self.0.lock();
        let closing = rows.open.values().filter(|row| row.peer.as_deref().is_some_and(&meant));
        let tokens: Vec<_> = closing.map(|row| row.closed.clone()).collect();
        drop(rows);
        tokens.iter().for_each(CancellationToken::cancel);
        tokens.len()
    }

    /// Takes a connection into the table; `None` when the table is full.
    pub(super) fn admit(
        &self,
        stream: TlsStream<TcpStream>,
        info: ConnectInfo,
    ) -> Option<Connection> {
        let mut rows = self.0.lock();
        if rows.open.len() >= self.0.max {
            return None;
        }
        let id = rows.next;
        rows.next += 1;
        let closed = CancellationToken::new();
        rows.open.insert(id, Row { peer: info.peer.clone(), closed: closed.clone() });
        drop(rows);
        let closing = Box::pin(closed.clone().cancelled_owned());
        let seat = Seat { table: Arc::clone(&self.0), id };
        Some(Connection { stream, info, closed, closing, _seat: seat })
    }
}

/// A connection that the server may end: then reads and writes fail, and whoever reads is woken.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    info: ConnectInfo,
    closed: CancellationToken,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    _seat: Seat,
}

impl Connection {
    pub fn info(&self) -> &ConnectInfo {
        &self.info
    }

    #[cfg(test)]
    pub(super) fn into_parts(self) -> (TlsStream<TcpStream>, ConnectInfo) {
        (self.stream, self.info)
    }

    fn check(&self) -> io::Result<()> {
        if self.closed.is_cancelled() { Err(closed_here()) } else { Ok(()) }
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
        self.check()?;
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buffer) {
            return Poll::Ready(read);
        }
        // Nothing to read: wait for bytes or for the end, whichever comes first.
        self.closing.as_mut().poll(cx).map(|()| Err(closed_here()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn closed_here() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "closed by the server")
}

#[derive(Debug)]
struct Table {
    max: usize,
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
