//! The authority: a self-signed certificate and the key behind it.
//!
//! It issues end-entity certificates only. Coordinators may serve and call, agents and operators
//! may only call; a coordinator's certificate alone carries the name that clients check. It never
//! issues for another cluster than its own, and never outlives itself. Its key leaves as PKCS#8 in
//! a wiped buffer, to be wrapped elsewhere, and is never logged.

use super::{COORDINATOR_NAME, Fingerprint, IdentityKey, ProvenKey, certificates_pem};
use crate::identity::{Identity, IdentityKind, ed25519_key, refused, sole_uri};
use core::{fmt, time::Duration};
use holdfast_common::{ClusterId, Code, Entropy, Error, Result, Timestamp, limits};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, SanType, SerialNumber, string::Ia5String,
};
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

pub struct CertificateAuthority {
    cluster: ClusterId,
    certificate: CertificateDer<'static>,
    not_after: Timestamp,
    pkcs8: Zeroizing<Vec<u8>>,
    issuer: Issuer<'static, IdentityKey>,
}

impl CertificateAuthority {
    pub fn generate(cluster: ClusterId, entropy: &dyn Entropy, now: Timestamp) -> Result<Self> {
        let (key, pkcs8) = IdentityKey::generate(entropy)?;
        let validity = Validity::starting(now, Duration::from_secs(limits::AUTHORITY_TTL_SECS));
        let mut params = blank(&format!("holdfast {cluster}"), validity);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![SanType::URI(ascii(authority_uri(cluster))?)];
        params.serial_number = Some(SerialNumber::from_slice(&positive(entropy.array())));
        let certificate = params.self_signed(&key).map_err(not_made)?;
        Self::from_parts(certificate.der(), &pkcs8)
    }

    /// From what [`Self::certificate`] and [`Self::key_pkcs8`] gave.
    pub fn from_parts(certificate: &[u8], key_pkcs8: &[u8]) -> Result<Self> {
        let key = IdentityKey::from_pkcs8(key_pkcs8)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
            .map_err(|error| refused("the authority's certificate cannot be read").cause(error))?;
        if ed25519_key(&parsed)? != key.public() {
            return Err(Error::new(
                Code::KeyWrong,
                "the key is not that of the authority's certificate",
            ));
        }
        let cluster = cluster_of(sole_uri(&parsed)?)?;
        let seconds = parsed.validity().not_after.timestamp();
        let certificate = CertificateDer::from(certificate.to_vec());
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(not_made)?;
        Ok(Self {
            cluster,
            certificate,
            not_after: Timestamp::from_nanos(seconds.saturating_mul(1_000_000_000)),
            pkcs8: Zeroizing::new(key_pkcs8.to_vec()),
            issuer,
        })
    }

    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub fn certificate_pem(&self) -> String {
        certificates_pem([self.certificate.as_ref()])
    }

    /// What a join token pins.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    pub fn key_pkcs8(&self) -> &Zeroizing<Vec<u8>> {
        &self.pkcs8
    }

    /// A certificate for whoever holds `key`, saying that it is `identity`'s.
    pub fn issue(
        &self,
        key: &ProvenKey,
        identity: &Identity,
        validity: Validity,
        serial: u64,
    ) -> Result<CertificateDer<'static>> {
        if identity.cluster != self.cluster {
            let message = format!("this authority is not that of cluster {}", identity.cluster);
            return Err(Error::new(Code::AuthDenied, message));
        }
        if validity.not_after <= validity.not_before || validity.not_after > self.not_after {
            return Err(refused("a certificate would end before it begins or after its authority"));
        }
        let mut params = blank(kind_name(&identity.kind), validity);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![SanType::URI(ascii(identity.to_string())?)];
        if let IdentityKind::Coordinator(_) = identity.kind {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
            params.subject_alt_names.push(SanType::DnsName(ascii(COORDINATOR_NAME.to_owned())?));
        }
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(SerialNumber::from(serial));
        let certificate = params.signed_by(key, &self.issuer).map_err(not_made)?;
        Ok(certificate.into())
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateAuthority({})", self.fingerprint())
    }
}

/// From when to when a certificate counts, both included, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

impl Validity {
    /// Counts for `ttl` from now on, and some days before now for clocks that run behind.
    pub fn starting(now: Timestamp, ttl: Duration) -> Self {
        let back = Duration::from_secs(limits::CERT_BACKDATE_SECS);
        Self { not_before: whole_second(now.minus(back)), not_after: whole_second(now.plus(ttl)) }
    }
}

const SECOND: i64 = 1_000_000_000;

fn whole_second(time: Timestamp) -> Timestamp {
    let nanos = time.as_nanos();
    Timestamp::from_nanos(nanos.saturating_sub(nanos.rem_euclid(SECOND)))
}

fn blank(name: &str, validity: Validity) -> CertificateParams {
    let date = |time: Timestamp| {
        rcgen::date_time_ymd(1970, 1, 1) + time.since(whole_second(Timestamp::ZERO))
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date(validity.not_before);
    params.not_after = date(validity.not_after);
    params
}

fn kind_name(kind: &IdentityKind) -> &'static str {
    match kind {
        IdentityKind::Agent(_) => "agent",
        IdentityKind::Coordinator(_) => "coordinator",
        IdentityKind::Operator(_) => "operator",
    }
}

fn authority_uri(cluster: ClusterId) -> String {
    format!("holdfast://{cluster}/authority")
}

fn cluster_of(uri: &str) -> Result<ClusterId> {
    uri.strip_prefix("holdfast://")
        .and_then(|rest| rest.strip_suffix("/authority"))
        .and_then(|cluster| cluster.parse().ok())
        .ok_or_else(|| refused("the certificate is not that of a cluster's authority"))
}

fn ascii(text: String) -> Result<Ia5String> {
    Ia5String::try_from(text).map_err(not_made)
}

/// RFC 5280 wants serial numbers positive and at most 20 bytes.
fn positive(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[0] = bytes[0] & 0x7f | 0x40;
    bytes
}

fn not_made(error: rcgen::Error) -> Error {
    Error::new(Code::InternalBug, "a certificate could not be made").cause(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::PeerCertificate;
    use holdfast_common::{AgentId, SystemEntropy};
    use x509_parser::extensions::GeneralName;

    const CLUSTER: ClusterId = ClusterId::from_bytes([0xc1; 16]);
    const NOW: Timestamp = Timestamp::from_nanos(1_795_255_200_123_456_789);
    const HOUR: Duration = Duration::from_secs(3600);

    fn authority() -> CertificateAuthority {
        CertificateAuthority::generate(CLUSTER, &SystemEntropy, NOW).unwrap()
    }

    fn key() -> IdentityKey {
        IdentityKey::generate(&SystemEntropy).unwrap().0
    }

    fn agent() -> Identity {
        Identity::agent(CLUSTER, AgentId::from_bytes([0xa9; 16]))
    }

    fn names(der: &[u8]) -> Vec<String> {
        let (_, parsed) = x509_parser::parse_x509_certificate(der).unwrap();
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        names.value.general_names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_certificate_says_what_its_issuer_decided() {
        let (authority, key) = (authority(), key());
        let validity = Validity::starting(NOW, HOUR);
        for serial in [1, 127, 128, 255, 256, u64::MAX] {
            let der = authority.issue(&ProvenKey::own(&key), &agent(), validity, serial).unwrap();
            let peer = PeerCertificate::parse(&der).unwrap();
            assert_eq!(peer.identity, agent());
            assert_eq!(peer.serial, serial);
            assert_eq!(peer.public_key, key.public());
            assert_eq!(peer.fingerprint, Fingerprint::of(&der));
            assert_eq!(
                (peer.not_before, peer.not_after),
                (validity.not_before, validity.not_after)
            );
            assert!(peer.is_valid_at(NOW) && !peer.is_valid_at(NOW.plus(HOUR)));
            let back = Duration::from_secs(limits::CERT_BACKDATE_SECS);
            assert!(peer.is_valid_at(NOW.minus(back)) && !peer.is_valid_at(NOW.minus(back + HOUR)));
        }
    }

    #[test]
    fn a_request_that_asks_for_foreign_names_gets_the_issuers_only() {
        let (authority, key) = (authority(), key());
        let mut params = CertificateParams::new([COORDINATOR_NAME.to_owned()]).unwrap();
        let admin = format!("holdfast://{CLUSTER}/operator/admin");
        params.subject_alt_names.push(SanType::URI(ascii(admin).unwrap()));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let request = params.serialize_request(&key).unwrap();

        let proven = ProvenKey::from_request(request.der()).unwrap();
        let der = authority.issue(&proven, &agent(), Validity::starting(NOW, HOUR), 7).unwrap();

        assert_eq!(names(&der), [format!("URI({})", agent())]);
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert!(!parsed.is_ca());
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth && !usage.any);
        assert!(!parsed.key_usage().unwrap().unwrap().value.key_cert_sign());
        assert_eq!(parsed.subject().to_string(), "CN=agent");
    }

    #[test]
    fn only_a_coordinators_certificate_carries_the_name_that_clients_check() {
        let (authority, key) = (authority(), ProvenKey::own(&key()));
        let validity = Validity::starting(NOW, HOUR);
        let coordinator = Identity::coordinator(CLUSTER, 3);
        let der = authority.issue(&key, &coordinator, validity, 1).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
        let found = parsed.subject_alternative_name().unwrap().unwrap();
        assert!(found.value.general_names.contains(&GeneralName::DNSName(COORDINATOR_NAME)));
        assert!(parsed.extended_key_usage().unwrap().unwrap().value.server_auth);

        let operator = Identity::operator(CLUSTER, "ada".parse().unwrap());
        let der = authority.issue(&key, &operator, validity, 2).unwrap();
        assert_eq!(names(&der), [format!("URI({operator})")]);
    }

    #[test]
    fn an_authority_survives_its_parts_and_takes_no_other_key() {
        let authority = authority();
        let again =
            CertificateAuthority::from_parts(authority.certificate(), authority.key_pkcs8())
                .unwrap();
        assert_eq!(again.fingerprint(), authority.fingerprint());
        assert_eq!(again.cluster(), CLUSTER);
        let other = IdentityKey::generate(&SystemEntropy).unwrap().1;
        let error = CertificateAuthority::from_parts(authority.certificate(), &other).unwrap_err();
        assert_eq!(error.code, Code::KeyWrong);
    }

    #[test]
    fn an_authority_issues_for_its_own_cluster_and_time_only() {
        let (authority, key) = (authority(), ProvenKey::own(&key()));
        let foreign = Identity::coordinator(ClusterId::from_bytes([1; 16]), 1);
        let validity = Validity::starting(NOW, HOUR);
        let error = authority.issue(&key, &foreign, validity, 1).unwrap_err();
        assert_eq!(error.code, Code::AuthDenied);
        let long = Validity::starting(NOW, Duration::from_secs(limits::AUTHORITY_TTL_SECS + 1));
        assert!(authority.issue(&key, &agent(), long, 1).is_err());
        let backwards = Validity { not_before: NOW, not_after: NOW };
        assert!(authority.issue(&key, &agent(), backwards, 1).is_err());
    }

    #[test]
    fn an_authoritys_own_certificate_is_nobodys_identity() {
        assert!(PeerCertificate::parse(authority().certificate()).is_err());
    }
}
