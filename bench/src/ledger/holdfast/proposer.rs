//! The same command, as a member that does not lead passes it on to the one that does: answered as
//! soon as it is agreed and applied, whatever is shipped.
//!
//! It speaks as a member with data that was admitted and is never started, with the key which that
//! one joined with: the authority that signs certificates lies in the cluster's bundle, which its
//! operator may have. Nothing in the product is set for this.

use super::{
    client::{COORDINATOR, LABEL, cluster_of, id_of, text, unreadable},
    messages::{
        AWAIT_SHIPPED, AwaitShippedRequest, AwaitShippedResponse, PROPOSE, PeerHeader,
        ProposeRequest, ProposeResponse,
    },
};
use crate::{
    files,
    ledger::{
        certificates::client_config,
        cluster::{Pending, Target},
        line::Line,
    },
    tool::CommandLine,
};
use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use holdfast_common::{
    Clock, ClusterId, Entropy, Result, SystemClock, SystemEntropy, Timestamp, record,
};
use holdfast_keyring::bundle;
use holdfast_ledger::{Actor, Command, Reply, command::CreateToken, row::TokenRow};
use holdfast_runtime::{
    identity,
    pki::{CertificateAuthority, IdentityKey, ProvenKey, Validity},
};
use rustls::{
    ClientConfig,
    pki_types::{PrivateKeyDer, pem::PemObject},
};
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// Who proposes: a member, and how it shows that it is.
pub struct Identity {
    pub cluster: ClusterId,
    pub id: u64,
    pub tls: Arc<ClientConfig>,
}

impl Identity {
    /// Admits a member into `dir` and is it from then on. The operator of the house `first`, whose
    /// member answers at `endpoint`, exports the bundle that lets us say so.
    pub fn admit(
        dir: &Path,
        program: &Path,
        (first, endpoint): (&Path, &str),
        token: &str,
    ) -> Result<Self> {
        let words = format!(
            "cluster join --dir {{}} --name p --region one --listen 127.0.0.1:1 --learner \
             --coordinator {endpoint} --token {token}"
        );
        CommandLine::new(program, &words, &[dir]).output()?;
        let config = dir.join("coordinator.toml");
        let (cluster, id) = (cluster_of(&config)?, id_of(&config)?);
        let authority = authority(program, first)?;
        let path = dir.join("member.key");
        let key = IdentityKey::from_pem(&files::read_text(&path)?)?;
        let validity = Validity::starting(SystemClock::start().now(), VALID);
        let entropy: &dyn Entropy = &SystemEntropy;
        let serial = u64::from_be_bytes(entropy.array()) >> 1;
        let named = identity::Identity::coordinator(cluster, id);
        let own = authority.issue(&ProvenKey::own(&key), &named, validity, serial)?;
        let key = PrivateKeyDer::from_pem_file(&path).map_err(|error| unreadable(&path, &error))?;
        let root = authority.certificate().clone();
        Ok(Self { cluster, id, tls: Arc::new(client_config(root, own, key)?) })
    }
}

/// Out of the bundle, which stays in the house for as long as the house does.
fn authority(program: &Path, first: &Path) -> Result<CertificateAuthority> {
    let (context, exported) = (first.join("operator.toml"), first.join("bundle"));
    let secret = first.join("passphrase");
    std::fs::write(&secret, PASSPHRASE).map_err(|error| files::failed("write", &secret, &error))?;
    let words = "--context {} keys export --to {} --passphrase-file {}";
    CommandLine::new(program, words, &[&*context, &*exported, &*secret]).output()?;
    let sealed =
        std::fs::read(&exported).map_err(|error| files::failed("read", &exported, &error))?;
    let contents = bundle::open(&sealed, PASSPHRASE.as_bytes())?;
    CertificateAuthority::from_parts(&contents.ca_certificate, &contents.ca_key)
}

/// Proposes to one member.
pub struct Proposer {
    line: Line,
    header: PeerHeader,
    /// The connection's own: no two commands are alike.
    number: u64,
    sent: AtomicU64,
}

impl Proposer {
    pub fn new(endpoint: &str, to: u64, identity: &Identity, number: u64) -> Result<Self> {
        let line = Line::new(endpoint, COORDINATOR, &identity.tls)?;
        let cluster_id = identity.cluster.as_bytes().to_vec();
        let header = PeerHeader { cluster_id, from: identity.id, to };
        Ok(Self { line, header, number, sent: AtomicU64::new(0) })
    }

    /// Has a command agreed to and applied; its index in the log. A refusal is an error.
    pub async fn propose(&self, actor: &Actor, command: impl Into<Command>) -> Result<u64> {
        self.agree(self.next(), actor, &command.into()).await
    }

    /// Waits for the entry `index` in the locations, as long as the member waits with us; up to
    /// where they hold the log then.
    pub async fn await_shipped(&self, index: u64) -> Result<u64> {
        let request = AwaitShippedRequest { header: Some(self.header.clone()), index };
        let answer: AwaitShippedResponse = self.line.call(AWAIT_SHIPPED, request).await?;
        Ok(answer.shipped)
    }

    fn next(&self) -> [u8; 32] {
        let sent = self.sent.fetch_add(1, Ordering::Relaxed);
        let name = [self.number.to_be_bytes(), sent.to_be_bytes()].concat();
        *blake3::hash(&name).as_bytes()
    }

    async fn agree(&self, hash: [u8; 32], actor: &Actor, command: &Command) -> Result<u64> {
        let request = ProposeRequest {
            header: Some(self.header.clone()),
            key: hash[..16].to_vec(),
            actor: record::to_bytes(actor),
            command: record::to_bytes(command),
        };
        let answer: ProposeResponse = self.line.call(PROPOSE, request).await?;
        let reply: Reply = record::from_bytes("reply", &answer.reply)?;
        reply.into_result().map(|_| answer.index)
    }
}

impl Target for Proposer {
    fn commit<'a>(&'a self, payload: &'a [u8]) -> Pending<'a, ()> {
        Box::pin(async move {
            let hash = self.next();
            self.agree(hash, &Actor::System, &command(hash, payload)).await.map(drop)
        })
    }
}

/// A token that nobody will use, with the payload as a label.
fn command(hash: [u8; 32], payload: &[u8]) -> Command {
    let labels = BTreeMap::from([(LABEL.to_owned(), text(payload))]);
    let (expires, used_by, kind, used_by_member) = (EXPIRES, None, None, None);
    let (duty, made_by) = (None, None);
    let token = TokenRow { hash, labels, expires, used_by, kind, used_by_member, duty, made_by };
    CreateToken { token }.into()
}

const PASSPHRASE: &str = "correct horse battery";
const VALID: Duration = Duration::from_secs(24 * 3600);
const EXPIRES: Timestamp = Timestamp::from_nanos(4_000_000_000_000_000_000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_commands_differ_in_their_tokens_and_carry_the_payload() {
        let (one, other) = (command([1; 32], &[7; 256]), command([2; 32], &[7; 256]));
        let bytes = record::to_bytes(&one);
        assert_ne!(bytes, record::to_bytes(&other));
        let told = text(&[7; 256]);
        assert!(bytes.windows(told.len()).any(|window| window == told.as_bytes()));
        assert_eq!(record::from_bytes::<Command>("command", &bytes).unwrap(), one);
    }
}
