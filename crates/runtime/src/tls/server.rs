//! The server's side. `replace` swaps the whole configuration at once: connections that stand keep
//! what they were made with, new ones see the new identity and roots. A replacement that cannot be
//! used changes nothing.

use super::{ALPN, HandshakeClock, Roots, TlsIdentity, VERSIONS, provider, unusable};
use arc_swap::ArcSwap;
use core::fmt;
use holdfast_common::{Clock, Result};
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use std::sync::Arc;

pub struct ServerTls {
    config: ArcSwap<ServerConfig>,
    clock: Arc<dyn Clock>,
}

impl ServerTls {
    pub fn new(identity: &TlsIdentity, roots: &Roots, clock: Arc<dyn Clock>) -> Result<Arc<Self>> {
        let config = ArcSwap::new(config(identity, roots, &clock)?);
        Ok(Arc::new(Self { config, clock }))
    }

    pub fn replace(&self, identity: &TlsIdentity, roots: &Roots) -> Result<()> {
        self.config.store(config(identity, roots, &self.clock)?);
        Ok(())
    }

    /// What the next handshake uses.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls(…)")
    }
}

fn config(
    identity: &TlsIdentity,
    roots: &Roots,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<ServerConfig>> {
    // The authority goes along, so that a new host can compare it with the pin of its token.
    let mut chain = identity.chain().to_vec();
    for root in roots.certificates() {
        if !chain.contains(root) {
            chain.push(root.clone());
        }
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.store(), provider())
        .allow_unauthenticated()
        .build()
        .map_err(unusable)?;
    let time = Arc::new(HandshakeClock(Arc::clone(clock)));
    let mut config = ServerConfig::builder_with_details(provider(), time)
        .with_protocol_versions(VERSIONS)
        .map_err(unusable)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, identity.key())
        .map_err(unusable)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would skip the look at the certificate and its dates.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
