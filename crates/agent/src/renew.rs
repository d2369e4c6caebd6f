//! Staying an agent: the certificate is renewed at two thirds of its life, without a restart.
//!
//! New connections use the new certificate; those that stand keep theirs until they end. When the
//! agent slept past the end of its certificate it returns by proof of its enrolled key. Failures
//! are tried again each minute: there is a third of the certificate's life for that.

use crate::join::check_certificate;
use crate::line::Whereabouts;
use crate::options::AgentConfig;
use holdfast_common::{Clock, Code, Error, Result, Timestamp};
use holdfast_keyring::IdentityKey;
use holdfast_runtime::files;
use holdfast_runtime::identity::PeerCertificate;
use holdfast_runtime::pki::{self, certificates_pem};
use holdfast_runtime::tls::{ChannelKind, ClientTls, Roots, TlsIdentity, connect};
use holdfast_wire::status::from_status;
use holdfast_wire::v1::{self, enroll_client::EnrollClient};
use std::sync::Arc;
use std::time::Duration;

/// Who this agent is to the cluster, kept fresh.
pub(crate) struct Credentials {
    config: AgentConfig,
    whereabouts: Arc<Whereabouts>,
    clock: Arc<dyn Clock>,
    pem: zeroize::Zeroizing<String>,
    public: [u8; 32],
    pub(crate) tls: Arc<ClientTls>,
}

impl Credentials {
    /// Reads the agent's files.
    pub(crate) fn load(
        config: &AgentConfig,
        whereabouts: &Arc<Whereabouts>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let pem = files::read_text(&config.key)?;
        let chain = files::read_text(&config.cert)?;
        let roots = Roots::from_pem(&files::read_text(&config.ca)?)?;
        let identity = TlsIdentity::from_pem(&chain, &pem)?;
        let public = pki::IdentityKey::from_pem(&pem)?.public();
        let tls = ClientTls::new(&identity, &roots, Arc::clone(&clock))?;
        let (config, whereabouts) = (config.clone(), Arc::clone(whereabouts));
        Ok(Self { config, whereabouts, clock, pem, public, tls })
    }

    /// The key that signs points.
    pub(crate) fn signing_key(&self) -> Result<IdentityKey> {
        IdentityKey::from_pkcs8_pem(&self.pem)
    }

    /// Renews whenever it is time; never returns.
    pub(crate) async fn keep_fresh(&self) -> Result<()> {
        loop {
            match self.renew_if_due().await {
                Ok(()) => {}
                Err(error) => tracing::warn!(%error, "the certificate was not renewed"),
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Renews when two thirds of the certificate's life are over; returns when all of it is.
    pub(crate) async fn renew_if_due(&self) -> Result<()> {
        let certificate = self.certificate()?;
        let now = self.clock.now();
        if now < certificate.renewal() {
            return Ok(());
        }
        let csr = pki::IdentityKey::from_pem(&self.pem)?.request()?;
        let answer = if certificate.is_valid_at(now) {
            self.renew(csr).await?
        } else {
            self.come_back(csr, now).await?
        };
        self.replace(&answer)
    }

    fn certificate(&self) -> Result<PeerCertificate> {
        let chain = files::read_text(&self.config.cert)?;
        let identity = TlsIdentity::from_pem(&chain, &self.pem)?;
        let own = identity.chain().first().ok_or_else(|| {
            Error::new(Code::ConfigMalformed, "there is no certificate in the agent's file")
        })?;
        PeerCertificate::parse(own)
    }

    async fn renew(&self, csr: Vec<u8>) -> Result<v1::RenewResponse> {
        let endpoints = self.whereabouts.endpoints();
        let channel = connect(&endpoints, Arc::clone(&self.tls), ChannelKind::Control).await?;
        let mut client = EnrollClient::new(channel);
        let answer = client.renew(v1::RenewRequest { csr_der: csr.into() }).await;
        answer.map(tonic::Response::into_inner).map_err(|status| from_status(&status))
    }

    async fn come_back(&self, csr: Vec<u8>, now: Timestamp) -> Result<v1::RenewResponse> {
        let roots = Roots::from_pem(&files::read_text(&self.config.ca)?)?;
        let tls = ClientTls::anonymous(&roots, Arc::clone(&self.clock))?;
        let endpoints = self.whereabouts.endpoints();
        let channel = connect(&endpoints, tls, ChannelKind::Control).await?;
        let (cluster, agent) = (self.config.cluster_id, self.config.agent_id);
        let time = now.as_nanos().to_le_bytes();
        let message = [cluster.as_bytes().as_slice(), agent.as_bytes(), &time, &csr].concat();
        let proof = self.signing_key()?.sign(RETURN_CONTEXT, &message);
        let request = v1::ReturnRequest {
            agent_id: agent.as_bytes().to_vec().into(),
            csr_der: csr.into(),
            time_ns: now.as_nanos(),
            proof: proof.to_vec().into(),
        };
        let answer = EnrollClient::new(channel).r#return(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| from_status(&status))
    }

    /// Keeps the new certificate, on disk first.
    fn replace(&self, answer: &v1::RenewResponse) -> Result<()> {
        let AgentConfig { cluster_id, agent_id, .. } = self.config;
        let certificate =
            check_certificate(&answer.certificate_der, &self.public, cluster_id, agent_id)?;
        let chain = certificates_pem([&answer.certificate_der[..]]);
        files::write_public(&self.config.cert, chain.as_bytes())?;
        // The authority stays the one that was pinned when the host joined.
        let roots = Roots::from_pem(&files::read_text(&self.config.ca)?)?;
        self.tls.replace(Some(&TlsIdentity::from_pem(&chain, &self.pem)?), &roots)?;
        tracing::info!(until = %certificate.not_after, "certificate renewed");
        Ok(())
    }
}

const LOOK_INTERVAL: Duration = Duration::from_secs(60);
const RETURN_CONTEXT: &str = "holdfast return v1";
