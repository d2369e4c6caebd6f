//! Both ends of one TLS connection, in memory: what the wire costs apart from sockets and HTTP/2.
//!
//! TLS 1.3 with the same library and provider as the product, hence the same cipher; only the
//! certificate is made for the occasion.

use holdfast_common::{Code, Error, Result};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection,
    crypto::aws_lc_rs::default_provider, version::TLS13,
};
use std::{
    io::{Read, Write},
    sync::Arc,
};

pub(super) struct Connection {
    client: ClientConnection,
    server: ServerConnection,
    received: Vec<u8>,
}

const NAME: &str = "bench.holdfast";

impl Connection {
    pub(super) fn new() -> Result<Self> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).map_err(failed)?;
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).map_err(failed)?;
        let provider = Arc::new(default_provider());
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(failed)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(failed)?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .map_err(failed)?;
        let name = NAME.try_into().map_err(failed)?;
        let mut connection = Self {
            client: ClientConnection::new(Arc::new(client), name).map_err(failed)?,
            server: ServerConnection::new(Arc::new(server)).map_err(failed)?,
            received: Vec::new(),
        };
        connection.shake_hands()?;
        Ok(connection)
    }

    fn shake_hands(&mut self) -> Result<()> {
        while self.client.is_handshaking() || self.server.is_handshaking() {
            let mut there = Vec::new();
            self.client.write_tls(&mut there).map_err(failed)?;
            self.receive(&there)?;
            let mut back = Vec::new();
            self.server.write_tls(&mut back).map_err(failed)?;
            let mut back = back.as_slice();
            while !back.is_empty() {
                self.client.read_tls(&mut back).map_err(failed)?;
                self.client.process_new_packets().map_err(failed)?;
            }
        }
        Ok(())
    }

    /// The records that carry `plain`.
    pub(super) fn send(&mut self, plain: &[u8]) -> Result<Vec<u8>> {
        self.client.writer().write_all(plain).map_err(failed)?;
        let mut records = Vec::with_capacity(plain.len() + 1024);
        while self.client.wants_write() {
            self.client.write_tls(&mut records).map_err(failed)?;
        }
        Ok(records)
    }

    /// What the records carried, which stays until the next call.
    pub(super) fn receive(&mut self, mut records: &[u8]) -> Result<&[u8]> {
        let mut filled = 0;
        while !records.is_empty() {
            self.server.read_tls(&mut records).map_err(failed)?;
            let state = self.server.process_new_packets().map_err(failed)?;
            let ready = state.plaintext_bytes_to_read();
            self.received.resize(self.received.len().max(filled + ready), 0);
            let room = &mut self.received[filled..filled + ready];
            self.server.reader().read_exact(room).map_err(failed)?;
            filled += ready;
        }
        Ok(&self.received[..filled])
    }
}

fn failed(error: impl core::fmt::Display) -> Error {
    Error::new(Code::InternalBug, "a connection in memory failed").cause(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let mut connection = Connection::new().unwrap();
        for length in [16, 16 << 10, (16 << 10) + 1, super::super::SENT_AT_ONCE] {
            let mut plain = vec![0; length];
            crate::chance::Chance::new(1, "tls", length as u64).fill(&mut plain);
            let records = connection.send(&plain).unwrap();
            assert!(!records.windows(16).any(|window| window == &plain[..16]), "in the clear");
            assert_eq!(connection.receive(&records).unwrap(), plain);
        }
    }
}
