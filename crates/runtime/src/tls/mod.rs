//! TLS 1.3, both ways, replaced while running.
//!
//! ```text
//! TcpListener -> Listener -> handshake -> Places -> Connections -> Incoming -> tonic's servers
//!                 ServerTls (swapped: new connections see the new one)    ConnectInfo per call
//! connect(endpoints) -> TCP -> ClientTls -> tonic's channel; dials again by itself, any endpoint
//! ```
//!
//! One crypto provider, TLS 1.3 only, ALPN `h2` only, no resumption: every connection is verified
//! anew, by the injected clock. Clients check the name `coordinator.holdfast` whatever address
//! they dialled. A client may come without a certificate, since enrolling has none; a certificate
//! that is sent must be good, and who has none is refused by authorisation everywhere else.

mod client;
mod connect;
mod connections;
mod credentials;
mod kind;
mod listener;
mod pin;
mod places;
mod server;

pub use client::ClientTls;
pub use connect::connect;
pub use connections::{ConnectInfo, Connection, Connections};
pub use credentials::{Roots, TlsIdentity};
pub use kind::{ChannelKind, stranger_server};
pub use listener::{Incoming, Listener};
pub use server::ServerTls;

use holdfast_common::{Clock, Code, Error};
use rustls::{
    SupportedProtocolVersion, crypto::CryptoProvider, pki_types::UnixTime,
    time_provider::TimeProvider,
};
use std::sync::Arc;

const ALPN: &[u8] = b"h2";
const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The clock that certificates are checked by.
struct HandshakeClock(Arc<dyn Clock>);

impl TimeProvider for HandshakeClock {
    fn current_time(&self) -> Option<UnixTime> {
        let now = self.0.now().since(holdfast_common::Timestamp::ZERO);
        Some(UnixTime::since_unix_epoch(now))
    }
}

impl core::fmt::Debug for HandshakeClock {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HandshakeClock")
    }
}

fn unusable(error: impl core::fmt::Display) -> Error {
    Error::new(Code::ConfigMalformed, "the certificates or the key cannot be used").cause(error)
}

#[cfg(test)]
mod tests;
