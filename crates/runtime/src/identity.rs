//! Who a certificate says its holder is.
//!
//! An identity is one URI among a certificate's names, `holdfast://<cluster>/<kind>/<who>`, and has
//! exactly one spelling. It says who somebody is and never what they may do: roles live in the
//! ledger, so that changing one needs no new certificate. A certificate of ours holds an Ed25519
//! key and one identity; anything else is refused here, before a call is looked at.

use crate::pki::Fingerprint;
use core::{fmt, str::FromStr, time::Duration};
use holdfast_common::{AgentId, ClusterId, Code, Error, Name, Result, Timestamp, limits};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, time::ASN1Time};

const SCHEME: &str = "holdfast://";

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    pub cluster: ClusterId,
    pub kind: IdentityKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IdentityKind {
    Agent(AgentId),
    /// A member of the cluster, by its node number.
    Coordinator(u64),
    Operator(Name),
}

impl Identity {
    pub fn agent(cluster: ClusterId, id: AgentId) -> Self {
        Self { cluster, kind: IdentityKind::Agent(id) }
    }

    pub fn coordinator(cluster: ClusterId, node: u64) -> Self {
        Self { cluster, kind: IdentityKind::Coordinator(node) }
    }

    pub fn operator(cluster: ClusterId, name: Name) -> Self {
        Self { cluster, kind: IdentityKind::Operator(name) }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.cluster, self.kind)
    }
}

impl fmt::Display for IdentityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(id) => write!(f, "agent/{id}"),
            Self::Coordinator(node) => write!(f, "coordinator/{node}"),
            Self::Operator(name) => write!(f, "operator/{name}"),
        }
    }
}

impl FromStr for Identity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse_identity(text)
            .filter(|identity| identity.to_string() == text)
            .ok_or_else(|| refused(format!("`{}` is not an identity", text.escape_debug())))
    }
}

fn parse_identity(text: &str) -> Option<Identity> {
    let mut parts = text.strip_prefix(SCHEME)?.splitn(3, '/');
    let cluster = parts.next()?.parse().ok()?;
    let (kind, who) = (parts.next()?, parts.next()?);
    let kind = match kind {
        "agent" => IdentityKind::Agent(who.parse().ok()?),
        "coordinator" => IdentityKind::Coordinator(who.parse().ok()?),
        "operator" => IdentityKind::Operator(who.parse().ok()?),
        _ => return None,
    };
    Some(Identity { cluster, kind })
}

/// What a certificate of ours says. Parsed, not verified: the handshake has done that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    pub identity: Identity,
    pub serial: u64,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// The Ed25519 key; for an agent also the key that signs its points.
    pub public_key: [u8; 32],
    pub fingerprint: Fingerprint,
}

impl PeerCertificate {
    pub fn parse(der: &[u8]) -> Result<Self> {
        let (rest, certificate) = x509_parser::parse_x509_certificate(der)
            .map_err(|error| refused("a certificate cannot be read").cause(error))?;
        if !rest.is_empty() {
            return Err(refused("bytes follow a certificate"));
        }
        Ok(Self {
            identity: sole_uri(&certificate)?.parse()?,
            serial: serial(&certificate)?,
            not_before: moment(certificate.validity().not_before),
            not_after: moment(certificate.validity().not_after),
            public_key: ed25519_key(&certificate)?,
            fingerprint: Fingerprint::of(der),
        })
    }

    /// When it is to be replaced: after two thirds of its life. It says that it began before it was
    /// issued, for the sake of hosts whose clock is behind.
    pub fn renewal(&self) -> Timestamp {
        let whole = self.not_after.since(self.not_before);
        let before = Duration::from_secs(limits::CERT_BACKDATE_SECS).min(whole);
        let before = if before < whole { before } else { Duration::ZERO };
        self.not_before.plus(before + (whole - before) / 3 * 2)
    }

    /// A connection outlives the handshake that looked at the dates; calls look again.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

pub(crate) fn sole_uri<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| refused("the names of a certificate cannot be read").cause(error))?
        .ok_or_else(|| refused("a certificate names nobody"))?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => Ok(uri),
        (None, _) => Err(refused("a certificate names nobody")),
        (Some(_), Some(_)) => Err(refused("a certificate names more than one identity")),
    }
}

pub(crate) fn ed25519_key(certificate: &X509Certificate<'_>) -> Result<[u8; 32]> {
    let key = certificate.public_key();
    let is_ed25519 = key.algorithm.algorithm == x509_parser::oid_registry::OID_SIG_ED25519;
    match <[u8; 32]>::try_from(key.subject_public_key.data.as_ref()) {
        Ok(bytes) if is_ed25519 => Ok(bytes),
        _ => Err(refused("the key of a certificate is not Ed25519")),
    }
}

pub(crate) fn refused(message: impl Into<String>) -> Error {
    Error::new(Code::CertificateRefused, message)
}

fn serial(certificate: &X509Certificate<'_>) -> Result<u64> {
    let bytes = certificate.raw_serial();
    let digits = bytes.strip_prefix(&[0]).unwrap_or(bytes);
    if digits.is_empty() || digits.len() > 8 {
        return Err(refused("the serial number of a certificate is not one of ours"));
    }
    Ok(digits.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn moment(time: ASN1Time) -> Timestamp {
    Timestamp::from_nanos(time.timestamp().saturating_mul(1_000_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLUSTER: ClusterId = ClusterId::from_bytes([0xc1; 16]);

    #[test]
    fn an_identity_is_written_as_a_uri_and_read_back() {
        let operator = Identity::operator(CLUSTER, "ada".parse().unwrap());
        assert_eq!(operator.to_string(), format!("holdfast://{CLUSTER}/operator/ada"));
        let agent = Identity::agent(CLUSTER, AgentId::from_bytes([0xa9; 16]));
        for identity in [operator, agent, Identity::coordinator(CLUSTER, u64::MAX)] {
            assert_eq!(identity.to_string().parse::<Identity>().unwrap(), identity);
        }
    }

    #[test]
    fn another_spelling_of_an_identity_is_refused() {
        let cluster = CLUSTER.to_string();
        for bad in [
            String::new(),
            format!("spiffe://{cluster}/operator/ada"),
            format!("HOLDFAST://{cluster}/operator/ada"),
            format!("holdfast://{}/operator/ada", cluster.to_uppercase()),
            format!("holdfast://{cluster}/operator/"),
            format!("holdfast://{cluster}/operator/ada/"),
            format!("holdfast://{cluster}/operator/ada?x"),
            format!("holdfast://{cluster}/coordinator/07"),
            format!("holdfast://{cluster}/coordinator/+7"),
            format!("holdfast://{cluster}/agent/ada"),
            format!("holdfast://{cluster}/authority"),
            format!(" holdfast://{cluster}/operator/ada"),
        ] {
            let error = bad.parse::<Identity>().unwrap_err();
            assert_eq!(error.code, Code::CertificateRefused, "{bad}");
        }
    }

    #[test]
    fn what_is_not_a_certificate_is_refused() {
        for bad in [&b""[..], b"\x30\x00", b"not a certificate at all"] {
            let error = PeerCertificate::parse(bad).unwrap_err();
            assert_eq!(error.code, Code::CertificateRefused, "{bad:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(PeerCertificate::parse(&bytes).is_err());
        }

        #[test]
        fn a_text_that_parses_is_the_text_that_is_written(
            text in "holdfast://[0-9a-f]{32}/(operator|coordinator)/[a-z0-9./-]{0,12}",
        ) {
            if let Ok(identity) = text.parse::<Identity>() {
                prop_assert_eq!(identity.to_string(), text);
            }
        }
    }
}
