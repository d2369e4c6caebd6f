//! The first connection of a new host: it knows nothing but the fingerprint in its join token.
//!
//! Among the certificates that the server sends there must be one with exactly that fingerprint;
//! it becomes the only root, and the server's own certificate is verified against it in full:
//! chain, dates, name. Nothing else is believed, and nothing is believed on first use.

use super::provider;
use crate::pki::Fingerprint;
use holdfast_common::{Code, Error};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, DigitallySignedStruct, OtherError, PeerIncompatible, RootCertStore,
    SignatureScheme,
};
use std::sync::{Arc, OnceLock};

#[derive(Debug)]
pub(super) struct Pin {
    fingerprint: Fingerprint,
    authority: OnceLock<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Pin {
    pub(super) fn new(fingerprint: Fingerprint) -> Self {
        Self { fingerprint, authority: OnceLock::new(), provider: provider() }
    }

    pub(super) fn authority(&self) -> Option<CertificateDer<'static>> {
        self.authority.get().cloned()
    }

    fn mismatch(&self) -> rustls::Error {
        let error = Error::new(
            Code::CertificatePinWrong,
            "the server does not belong to the cluster that the token names",
        );
        CertificateError::Other(OtherError(Arc::new(error))).into()
    }
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let authority = intermediates
            .iter()
            .find(|certificate| Fingerprint::of(certificate) == self.fingerprint)
            .ok_or_else(|| self.mismatch())?
            .clone()
            .into_owned();
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone())?;
        let provider = Arc::clone(&self.provider);
        let verified = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?
            .verify_server_cert(end_entity, &[], server_name, ocsp_response, now)?;
        // A second server of the cluster shows the same bytes: the pin names them.
        self.authority.get_or_init(|| authority);
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
