//! What a side of a connection shows, and whom it believes.

use super::{provider, unusable};
use core::fmt;
use holdfast_common::{Code, Error, Result, Timestamp};
use rustls::RootCertStore;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime, pem::PemObject,
};
use rustls::server::WebPkiClientVerifier;
use std::sync::Arc;
use zeroize::Zeroize;

/// A certificate with what leads to its authority, and its private key, wiped when dropped.
pub struct TlsIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl TlsIdentity {
    /// The certificate first, then any that lead to the authority; the key as PKCS#8.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self> {
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_| Error::new(Code::ConfigMalformed, "the private key is not in PEM form"))?;
        Ok(Self { chain: certificates(chain)?, key })
    }

    pub fn from_der(chain: Vec<CertificateDer<'static>>, key_pkcs8: &[u8]) -> Self {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key_pkcs8.to_vec()));
        Self { chain, key }
    }

    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    pub(super) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }
}

impl Drop for TlsIdentity {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsIdentity({} certificates, …)", self.chain.len())
    }
}

/// The authorities that are believed: one, or two while the cluster changes its own.
#[derive(Clone, Debug)]
pub struct Roots {
    certificates: Vec<CertificateDer<'static>>,
    store: Arc<RootCertStore>,
}

impl Roots {
    pub fn from_der(certificates: Vec<CertificateDer<'static>>) -> Result<Self> {
        if certificates.is_empty() {
            return Err(unusable("no authority is named"));
        }
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            store.add(certificate.clone()).map_err(unusable)?;
        }
        Ok(Self { certificates, store: Arc::new(store) })
    }

    pub fn from_pem(pem: &str) -> Result<Self> {
        Self::from_der(certificates(pem)?)
    }

    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// Whether one of them signed this certificate, which was valid at that time.
    pub fn vouch_for(&self, certificate: &CertificateDer<'_>, at: Timestamp) -> Result<()> {
        let verifier = WebPkiClientVerifier::builder_with_provider(self.store(), provider())
            .build()
            .map_err(unusable)?;
        let at = UnixTime::since_unix_epoch(at.since(Timestamp::ZERO));
        verifier.verify_client_cert(certificate, &[], at).map(drop).map_err(unusable)
    }

    pub(super) fn store(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.store)
    }
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<core::result::Result<_, _>>()
        .map_err(unusable)?;
    if found.is_empty() {
        return Err(unusable("there is no certificate in the text"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_a_certificate_or_key_is_refused_and_not_quoted() {
        for error in [
            Roots::from_pem("swordfish").unwrap_err(),
            Roots::from_der(Vec::new()).unwrap_err(),
            Roots::from_der(vec![CertificateDer::from(vec![1, 2, 3])]).unwrap_err(),
            TlsIdentity::from_pem("", "swordfish").unwrap_err(),
        ] {
            assert_eq!(error.code, Code::ConfigMalformed);
            assert!(!format!("{error:?}").contains("swordfish"));
        }
    }
}
