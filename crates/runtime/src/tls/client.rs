//! The client's side: with an identity, without one, or, to enrol, with no more than the pin of a
//! join token. Whatever it dialled, the server must be `coordinator.holdfast`. `replace` gives new
//! connections a new identity; a channel that stands keeps the old one until it dials again.

use super::{ALPN, HandshakeClock, Roots, TlsIdentity, VERSIONS, pin::Pin, provider, unusable};
use crate::pki::Fingerprint;
use arc_swap::ArcSwap;
use core::fmt;
use holdfast_common::{Clock, Result};
use rustls::client::{ClientConfig, Resumption, WebPkiServerVerifier, danger::ServerCertVerifier};
use rustls::pki_types::CertificateDer;
use std::sync::Arc;

pub struct ClientTls {
    config: ArcSwap<ClientConfig>,
    clock: Arc<dyn Clock>,
    pin: Option<Arc<Pin>>,
}

impl ClientTls {
    pub fn new(identity: &TlsIdentity, roots: &Roots, clock: Arc<dyn Clock>) -> Result<Arc<Self>> {
        Self::build(Some(identity), verifier(roots)?, clock, None)
    }

    pub fn anonymous(roots: &Roots, clock: Arc<dyn Clock>) -> Result<Arc<Self>> {
        Self::build(None, verifier(roots)?, clock, None)
    }

    /// Believes the one authority whose certificate has this fingerprint.
    pub fn pinned(pin: Fingerprint, clock: Arc<dyn Clock>) -> Result<Arc<Self>> {
        let pin = Arc::new(Pin::new(pin));
        let verifier: Arc<dyn ServerCertVerifier> = Arc::<Pin>::clone(&pin);
        Self::build(None, verifier, clock, Some(pin))
    }

    /// From now on new connections use this identity and these roots, and no pin.
    pub fn replace(&self, identity: Option<&TlsIdentity>, roots: &Roots) -> Result<()> {
        self.config.store(config(identity, verifier(roots)?, &self.clock)?);
        Ok(())
    }

    /// The authority's certificate, once a server has shown the one that the pin names.
    pub fn authority(&self) -> Option<CertificateDer<'static>> {
        self.pin.as_ref()?.authority()
    }

    /// What the next handshake uses.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.load_full()
    }

    fn build(
        identity: Option<&TlsIdentity>,
        verifier: Arc<dyn ServerCertVerifier>,
        clock: Arc<dyn Clock>,
        pin: Option<Arc<Pin>>,
    ) -> Result<Arc<Self>> {
        let config = ArcSwap::new(config(identity, verifier, &clock)?);
        Ok(Arc::new(Self { config, clock, pin }))
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("pin", &self.pin).finish_non_exhaustive()
    }
}

fn verifier(roots: &Roots) -> Result<Arc<dyn ServerCertVerifier>> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.store(), provider())
        .build()
        .map_err(unusable)?;
    Ok(verifier)
}

fn config(
    identity: Option<&TlsIdentity>,
    verifier: Arc<dyn ServerCertVerifier>,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>> {
    let time = Arc::new(HandshakeClock(Arc::clone(clock)));
    let builder = ClientConfig::builder_with_details(provider(), time)
        .with_protocol_versions(VERSIONS)
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        Some(identity) => builder
            .with_client_auth_cert(identity.chain().to_vec(), identity.key())
            .map_err(unusable)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
