//! What a coordinator is asked, as its operator: for join tokens, and who leads.
//!
//! A token's label carries the payload. Labels are text: of every byte six bits are kept, as one
//! letter, so that a payload of so many bytes is a label of so many.

use super::messages::{
    AuditEntry, CREATE_TOKEN, CreateTokenRequest, CreateTokenResponse, LIST_AUDIT,
    ListAuditRequest, ListAuditResponse, STATUS, StatusRequest, StatusResponse,
};
use crate::{
    files,
    ledger::{
        certificates::client_config,
        cluster::{Pending, Target},
        line::Line,
    },
};
use holdfast_common::{ClusterId, Code, Error, Result};
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// Dials at the first call.
pub struct Client(Line);

impl Client {
    pub fn new(endpoint: &str, tls: &Arc<ClientConfig>) -> Result<Self> {
        Ok(Self(Line::new(endpoint, COORDINATOR, tls)?))
    }

    pub async fn status(&self) -> Result<StatusResponse> {
        self.0.call(STATUS, StatusRequest {}).await
    }

    /// A token that lets a member in.
    pub async fn member_token(&self) -> Result<String> {
        self.token(CreateTokenRequest { for_member: true, ..CreateTokenRequest::default() }).await
    }

    /// Rows of the audit log from a number on, as many as one answer takes.
    pub async fn audit(&self, from: u64) -> Result<Vec<AuditEntry>> {
        let request = ListAuditRequest { after: from, limit: AUDIT_ROWS };
        let answer: ListAuditResponse = self.0.call(LIST_AUDIT, request).await?;
        Ok(answer.entries)
    }

    async fn token(&self, request: CreateTokenRequest) -> Result<String> {
        let answer: CreateTokenResponse = self.0.call(CREATE_TOKEN, request).await?;
        match answer.token.is_empty() {
            true => Err(self.0.failed("an answer without a token")),
            false => Ok(answer.token),
        }
    }
}

/// Commits a token that nobody will use.
impl Target for Client {
    fn commit<'a>(&'a self, payload: &'a [u8]) -> Pending<'a, ()> {
        Box::pin(async move {
            let labels = BTreeMap::from([(LABEL.to_owned(), text(payload))]);
            self.token(CreateTokenRequest { labels, ..CreateTokenRequest::default() })
                .await
                .map(drop)
        })
    }
}

/// The operator of the cluster that was founded in `dir`.
pub fn operator(dir: &Path) -> Result<Arc<ClientConfig>> {
    let certificate = |file: &str| {
        let path = dir.join(file);
        CertificateDer::from_pem_file(&path).map_err(|error| unreadable(&path, &error))
    };
    let path = dir.join("operator.key");
    let key = PrivateKeyDer::from_pem_file(&path).map_err(|error| unreadable(&path, &error))?;
    Ok(Arc::new(client_config(certificate("ca.pem")?, certificate("operator.pem")?, key)?))
}

/// A member's own id, from its configuration.
pub fn id_of(config: &Path) -> Result<u64> {
    said(config, "node_id = ")
}

/// The id of its cluster.
pub fn cluster_of(config: &Path) -> Result<ClusterId> {
    said(config, "cluster_id = ")
}

fn said<T: core::str::FromStr>(config: &Path, what: &str) -> Result<T> {
    let text = files::read_text(config)?;
    let found = text.lines().find_map(|line| line.strip_prefix(what));
    let found = found.and_then(|found| found.trim().trim_matches('"').parse().ok());
    found.ok_or_else(|| {
        let message = format!("{} names no member", config.display());
        Error::new(Code::ConfigMalformed, message)
    })
}

pub(super) fn text(payload: &[u8]) -> String {
    payload.iter().map(|byte| char::from(LETTERS[usize::from(byte % 64)])).collect()
}

pub(super) fn unreadable(path: &Path, error: &rustls::pki_types::pem::Error) -> Error {
    Error::new(Code::ConfigMalformed, format!("cannot read {}", path.display())).cause(error)
}

/// What the certificate of every coordinator is for.
pub(super) const COORDINATOR: &str = "coordinator.holdfast";
pub(super) const LABEL: &str = "p";
const AUDIT_ROWS: u32 = 1_000;
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_a_text_of_its_length_and_another_payload_another_text() {
        let payload: Vec<u8> = (0..=255).collect();
        let told = text(&payload);
        assert_eq!(told.len(), payload.len());
        assert!(told.starts_with("ABC") && told[60..].starts_with("89+/ABC"), "{told}");
        assert_ne!(text(&[1; 256]), text(&[2; 256]));
    }

    #[test]
    fn a_member_is_who_its_configuration_says_or_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("coordinator.toml");
        std::fs::write(&config, "cluster_id = \"1\"\nnode_id = 3\nname = \"m2\"\n").unwrap();
        assert_eq!(id_of(&config).unwrap(), 3);
        std::fs::write(&config, "name = \"m2\"\n").unwrap();
        assert_eq!(id_of(&config).unwrap_err().code, Code::ConfigMalformed);
    }
}
