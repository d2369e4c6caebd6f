//! What it takes beside a provider to have a KEK again: how it follows from a passphrase, or the
//! KEK itself as somebody else sealed it.
//!
//! It stands in the clear beside what the KEK wraps: in key objects, in the ledger's row of the
//! cluster, in the cluster's key in a location. Nobody vouches for it before the KEK is there, so
//! it is bounded, and what comes out must have the id that is expected.

use super::{Argon, Kek, KekId};
use holdfast_common::{ClusterId, Code, Error, Result, Secret, limits};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Derivation {
    Passphrase(Argon),
    Sealed(SealedKek),
}

/// A KEK under a key that its provider never shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedKek {
    pub provider: Provider,
    /// What the provider calls the key.
    pub key: String,
    /// Which version of it. Once that is destroyed nobody opens this.
    pub version: String,
    pub cluster: ClusterId,
    pub kek: KekId,
    pub sealed: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum Provider {
    #[n(1)]
    Pkcs11,
    #[n(2)]
    AwsKms,
    #[n(3)]
    Transit,
}

impl Provider {
    pub fn name(self) -> &'static str {
        match self {
            Self::AwsKms => "aws-kms",
            Self::Pkcs11 => "pkcs11",
            Self::Transit => "transit",
        }
    }
}

/// What a sealed KEK is bound to, in the provider's own additional data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KekBinding {
    pub cluster: ClusterId,
    pub kek: KekId,
}

impl KekBinding {
    /// The form for providers that take bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        [SEALED_CONTEXT, self.cluster.as_bytes(), self.kek.as_bytes()].concat()
    }
}

impl SealedKek {
    pub fn binding(&self) -> KekBinding {
        KekBinding { cluster: self.cluster, kek: self.kek }
    }

    /// Whether one version of one key sealed both, as far as names tell: those of a server or a
    /// token may be another's too. KMS knows a key by several names, and a version by one.
    pub fn is_of_one_version_with(&self, other: &Self) -> bool {
        let is_named_alike = self.provider == Provider::AwsKms || self.key == other.key;
        self.provider == other.provider && is_named_alike && self.version == other.version
    }

    /// Takes what a provider opened, if it is the key that was sealed and no other.
    pub fn admit(&self, key: &[u8]) -> Result<Kek> {
        let kek = Secret::from_slice(key).map(Kek::from_secret);
        match kek {
            Some(kek) if kek.id == self.kek => Ok(kek.with(Derivation::Sealed(self.clone()))),
            _ => Err(Error::new(Code::KeyWrong, "the provider opened another key than is named")
                .cause(format!("KEK {} was expected", self.kek))),
        }
    }

    pub fn check(&self) -> Result<()> {
        let names = [&self.key, &self.version];
        let fits = |name: &&String| {
            name.len() <= limits::KEK_NAME_BYTES_MAX && !name.contains(char::is_control)
        };
        let fits = names.iter().all(fits) && self.sealed.len() <= limits::SEALED_KEK_BYTES_MAX;
        match fits {
            true => Ok(()),
            false => Err(Error::new(
                Code::LimitExceeded,
                "a sealed KEK is too large, or its names cannot be shown",
            )),
        }
    }
}

/// The record: one map for both, so that there is one way to say how a KEK is had.
#[derive(Decode, Encode)]
#[cbor(map)]
struct Stored {
    #[cbor(n(0), with = "minicbor::bytes")]
    salt: Option<[u8; 16]>,
    #[n(1)]
    memory_kib: Option<u32>,
    #[n(2)]
    passes: Option<u32>,
    #[n(3)]
    lanes: Option<u32>,
    #[n(4)]
    provider: Option<Provider>,
    #[n(5)]
    key: Option<String>,
    #[n(6)]
    version: Option<String>,
    #[n(7)]
    cluster: Option<ClusterId>,
    #[n(8)]
    kek: Option<KekId>,
    #[cbor(n(9), with = "minicbor::bytes")]
    sealed: Option<Vec<u8>>,
}

const NOTHING: Stored = Stored {
    salt: None,
    memory_kib: None,
    passes: None,
    lanes: None,
    provider: None,
    key: None,
    version: None,
    cluster: None,
    kek: None,
    sealed: None,
};

impl From<&Derivation> for Stored {
    fn from(derivation: &Derivation) -> Self {
        match derivation {
            Derivation::Passphrase(argon) => Self {
                salt: Some(argon.salt),
                memory_kib: Some(argon.memory_kib),
                passes: Some(argon.passes),
                lanes: Some(argon.lanes),
                ..NOTHING
            },
            Derivation::Sealed(sealed) => Self {
                provider: Some(sealed.provider),
                key: Some(sealed.key.clone()),
                version: Some(sealed.version.clone()),
                cluster: Some(sealed.cluster),
                kek: Some(sealed.kek),
                sealed: Some(sealed.sealed.clone()),
                ..NOTHING
            },
        }
    }
}

impl Stored {
    /// One of both, whole.
    fn derivation(self) -> Option<Derivation> {
        match self {
            Self {
                salt: Some(salt),
                memory_kib: Some(memory_kib),
                passes: Some(passes),
                lanes: Some(lanes),
                provider: None,
                ..
            } => Some(Derivation::Passphrase(Argon { salt, memory_kib, passes, lanes })),
            Self {
                salt: None,
                provider: Some(provider),
                key: Some(key),
                version: Some(version),
                cluster: Some(cluster),
                kek: Some(kek),
                sealed: Some(sealed),
                ..
            } => {
                let sealed = SealedKek { provider, key, version, cluster, kek, sealed };
                sealed.check().ok()?;
                Some(Derivation::Sealed(sealed))
            }
            _ => None,
        }
    }
}

impl<C> Encode<C> for Derivation {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        Stored::from(self).encode(encoder, context)
    }
}

impl<'b, C> Decode<'b, C> for Derivation {
    fn decode(
        decoder: &mut minicbor::Decoder<'b>,
        context: &mut C,
    ) -> Result<Self, minicbor::decode::Error> {
        let stored = Stored::decode(decoder, context)?;
        stored
            .derivation()
            .ok_or_else(|| minicbor::decode::Error::message("neither a passphrase's nor sealed"))
    }
}

const SEALED_CONTEXT: &[u8] = b"holdfast kek v1";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::Seeded;
    use holdfast_common::record;

    fn sealed() -> SealedKek {
        SealedKek {
            provider: Provider::Transit,
            key: "transit/holdfast".to_owned(),
            version: "3".to_owned(),
            cluster: ClusterId::from_bytes([7; 16]),
            kek: Kek::from_secret(Secret::take(&mut [1; 32])).id,
            sealed: b"vault:v3:abc".to_vec(),
        }
    }

    #[test]
    fn both_kinds_return_from_their_records() {
        let argon = Argon::cheapest(&Seeded::new(1));
        for derivation in [Derivation::Passphrase(argon), Derivation::Sealed(sealed())] {
            let bytes = record::to_bytes(&derivation);
            assert_eq!(record::from_bytes::<Derivation>("derivation", &bytes), Ok(derivation));
        }
    }

    #[test]
    fn a_passphrases_record_is_what_it_always_was() {
        let argon = Argon::cheapest(&Seeded::new(1));
        let derivation = Derivation::Passphrase(argon);
        assert_eq!(record::to_bytes(&derivation), record::to_bytes(&argon));
    }

    #[test]
    fn a_reader_that_knows_passphrases_alone_refuses_a_sealed_kek() {
        let bytes = record::to_bytes(&Derivation::Sealed(sealed()));
        assert!(record::from_bytes::<Argon>("derivation", &bytes).is_err());
    }

    #[test]
    fn what_is_of_both_kinds_or_none_or_too_large_or_odd_is_refused() {
        let both = Stored { salt: Some([1; 16]), ..Stored::from(&Derivation::Sealed(sealed())) };
        let large = SealedKek { sealed: vec![0; limits::SEALED_KEK_BYTES_MAX + 1], ..sealed() };
        let named = SealedKek { key: "k".repeat(limits::KEK_NAME_BYTES_MAX + 1), ..sealed() };
        let odd = SealedKek { version: "1\u{1b}[2J".to_owned(), ..sealed() };
        let large = [large, named, odd].map(|kek| Stored::from(&Derivation::Sealed(kek)));
        for bad in [both, NOTHING].into_iter().chain(large) {
            let bytes = record::to_bytes(&bad);
            let error = record::from_bytes::<Derivation>("derivation", &bytes).unwrap_err();
            assert_eq!(error.code, Code::RecordMalformed);
        }
    }

    #[test]
    fn only_the_key_that_was_sealed_is_taken_from_a_provider() {
        let kek = sealed().admit(&[1; 32]).unwrap();
        assert_eq!(kek.id, sealed().kek);
        assert_eq!(kek.derivation, Some(Derivation::Sealed(sealed())));
        for other in [&[2; 32][..], &[1; 31], &[1; 33], &[]] {
            assert_eq!(sealed().admit(other).unwrap_err().code, Code::KeyWrong);
        }
    }

    #[test]
    fn a_key_of_kms_is_the_same_under_each_of_its_names() {
        let arn = "arn:aws:kms:eu-central-1:1:key/12";
        let kms = |key: &str, version: &str| SealedKek {
            provider: Provider::AwsKms,
            key: key.to_owned(),
            version: version.to_owned(),
            ..sealed()
        };
        assert!(kms("alias/x", arn).is_of_one_version_with(&kms(arn, arn)));
        let other = kms("alias/x", "arn:aws:kms:eu-central-1:1:key/13");
        assert!(!kms("alias/x", arn).is_of_one_version_with(&other));
        assert!(sealed().is_of_one_version_with(&sealed()));
        let provider = Provider::Pkcs11;
        for other in [
            SealedKek { key: "transit/other".to_owned(), ..sealed() },
            SealedKek { version: "4".to_owned(), ..sealed() },
            SealedKek { provider, ..sealed() },
        ] {
            assert!(!sealed().is_of_one_version_with(&other), "{other:?}");
        }
    }

    #[test]
    fn what_a_sealed_kek_is_bound_to_names_purpose_cluster_and_key() {
        let bytes = sealed().binding().to_bytes();
        assert_eq!(&bytes[..15], b"holdfast kek v1");
        assert_eq!(bytes[15..31], [7; 16]);
        assert_eq!(&bytes[31..], sealed().kek.as_bytes());
    }
}
