//! Certificates, requests for one, keys and roots in PEM form, and the operator's context.

use crate::{
    Refused,
    examples::{CLUSTER, NOW, dice},
};
use core::time::Duration;
use holdfast_common::AgentId;
use holdfast_runtime::{
    Context, Identity, PeerCertificate,
    pki::{
        CertificateAuthority, IdentityKey, OperatorRequest, ProvenKey, Validity, certificates_pem,
        key_pem,
    },
    tls::{Roots, TlsIdentity},
};
use std::path::Path;

const CONTEXT: &str = "/etc/holdfast/operator.toml";

/// What a certificate says has one spelling, and its dates are in order for who asks.
pub fn certificate(bytes: &[u8]) -> Result<(), Refused> {
    let peer = PeerCertificate::parse(bytes)?;
    assert_eq!(peer.identity.to_string().parse::<Identity>()?, peer.identity);
    assert_eq!(peer, PeerCertificate::parse(bytes)?);
    Ok(())
}

/// Nobody without the key makes another request that proves it.
pub fn certificate_request(bytes: &[u8]) -> Result<(), Refused> {
    let proven = ProvenKey::from_request(bytes)?;
    let own = requests().iter().any(|known| known == bytes);
    assert!(own || *proven.as_bytes() != identity_key().public(), "a forged request was believed");
    Ok(())
}

/// Whatever is read of one leads to no other place than the context's own, and is written again.
pub fn operator_request(bytes: &[u8]) -> Result<(), Refused> {
    let request = OperatorRequest::parse(core::str::from_utf8(bytes)?)?;
    assert_eq!(Path::new(&request.key_file).components().count(), 1);
    assert!(Path::new(&request.key_file).file_name().is_some());
    request.key().expect("it was looked at");
    let again = OperatorRequest::parse(&request.render()?);
    assert_eq!(again.expect("it was just written"), request);
    Ok(())
}

pub fn operator_requests() -> Vec<Vec<u8>> {
    let request = OperatorRequest::new("ben".parse().unwrap(), "ben.key", &identity_key());
    vec![request.and_then(|request| request.render()).unwrap().into_bytes()]
}

pub fn key_in_pem(bytes: &[u8]) -> Result<(), Refused> {
    IdentityKey::from_pem(core::str::from_utf8(bytes)?)?;
    Ok(())
}

/// Certificates in PEM form, as roots and as a chain.
pub fn certificates_in_pem(bytes: &[u8]) -> Result<(), Refused> {
    let text = core::str::from_utf8(bytes)?;
    let key = String::from_utf8(keys_in_pem().remove(0))?;
    let chain = TlsIdentity::from_pem(text, &key).map(|identity| identity.chain().len());
    let roots = Roots::from_pem(text)?;
    assert!(!roots.certificates().is_empty() && chain.is_ok());
    let der = roots.certificates().iter().map(AsRef::as_ref);
    let again = Roots::from_pem(&certificates_pem(der)).expect("it was just written");
    assert_eq!(again.certificates(), roots.certificates());
    Ok(())
}

pub fn operator_toml(bytes: &[u8]) -> Result<(), Refused> {
    let path = Path::new(CONTEXT);
    let context = Context::parse(core::str::from_utf8(bytes)?, path)?;
    let again = Context::parse(&context.render(path)?, path).expect("it was just written");
    assert_eq!(again, context);
    Ok(())
}

fn identity_key() -> IdentityKey {
    IdentityKey::generate(&dice()).expect("a key of 32 bytes").0
}

fn authority() -> CertificateAuthority {
    CertificateAuthority::generate(CLUSTER, &dice(), NOW).unwrap()
}

pub fn certificates() -> Vec<Vec<u8>> {
    let key = ProvenKey::own(&identity_key());
    let validity = Validity::starting(NOW, Duration::from_secs(3600));
    let identities =
        [Identity::agent(CLUSTER, AgentId::from_bytes([7; 16])), Identity::coordinator(CLUSTER, 1)];
    let authority = authority();
    let issue = |identity| authority.issue(&key, &identity, validity, 5).unwrap().to_vec();
    identities.map(issue).to_vec()
}

pub fn requests() -> Vec<Vec<u8>> {
    vec![identity_key().request().expect("our own key")]
}

pub fn keys_in_pem() -> Vec<Vec<u8>> {
    let pkcs8 = IdentityKey::generate(&dice()).unwrap().1;
    vec![key_pem(&pkcs8).as_bytes().to_vec()]
}

pub fn chains_in_pem() -> Vec<Vec<u8>> {
    vec![authority().certificate_pem().into_bytes()]
}

pub fn contexts() -> Vec<Vec<u8>> {
    let text = format!(
        "endpoints = [\"127.0.0.1:7601\"]\ncluster_id = \"{CLUSTER}\"\nca = \"ca.pem\"\n\
         cert = \"operator.pem\"\nkey = \"/elsewhere/operator.key\"\nvault = \"main\"\n"
    );
    vec![text.into_bytes()]
}
