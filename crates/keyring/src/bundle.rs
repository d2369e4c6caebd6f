//! The recovery bundle: every key of a cluster in one file under a passphrase, for the worst day.
//!
//! ```text
//!   "HFBD" ‖ version u8 ‖ header length u32 ‖ header ‖ nonce ‖ ciphertext ‖ tag
//!   └──────────── additional data ─────────────────┘
//! ```
//!
//! The header is readable by anyone and says how to try a passphrase; it is vouched for once the
//! field opens. Nothing that a bundle held outlives the [`BundleContents`] that it was opened to.

use crate::{
    Argon, ChunkingKey, ClusterRecoveryKey, CoordinatorKey, Custody, IdentityPublicKey,
    IndexPrivateKey, RootIdKey, Succession, VaultKeys, VaultPrivateKey, aead, secret_record,
    vault_keys::{Pairs, VaultHalf, version_fits},
};
use holdfast_common::{
    AgentId, ClusterId, Code, Entropy, Error, Name, Result, Secret, Timestamp, VaultId, limits,
    record,
};
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

#[derive(Debug)]
pub struct BundleContents {
    pub created: Timestamp,
    pub cluster: ClusterId,
    pub vaults: Vec<BundledVault>,
    /// PKCS#8.
    pub ca_key: Zeroizing<Vec<u8>>,
    /// DER.
    pub ca_certificate: Vec<u8>,
    pub enrolment: Vec<Enrolled>,
    pub recovery: ClusterRecoveryKey,
}

/// In operator custody the private halves are there only if the operator added them.
#[derive(Debug)]
pub struct BundledVault {
    pub name: Name,
    pub custody: Custody,
    pub keys: VaultKeys,
}

/// An agent whose signature counts.
#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct Enrolled {
    #[n(0)]
    pub agent: AgentId,
    #[n(1)]
    pub name: Name,
    #[n(2)]
    pub identity: IdentityPublicKey,
}

/// What a bundle says of itself to anyone who has the file.
#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct BundleHeader {
    #[cbor(n(0), with = "minicbor::bytes")]
    salt: [u8; 16],
    #[n(1)]
    memory_kib: u32,
    #[n(2)]
    passes: u32,
    #[n(3)]
    lanes: u32,
    #[n(4)]
    pub created: Timestamp,
    #[n(5)]
    pub cluster: ClusterId,
}

impl BundleHeader {
    pub fn derivation(&self) -> Argon {
        let Self { salt, memory_kib, passes, lanes, .. } = *self;
        Argon { salt, memory_kib, passes, lanes }
    }
}

pub fn seal(
    contents: &BundleContents,
    passphrase: &[u8],
    derivation: &Argon,
    entropy: &dyn Entropy,
) -> Result<Vec<u8>> {
    if passphrase.len() < limits::BUNDLE_PASSPHRASE_BYTES_MIN {
        let shortest = limits::BUNDLE_PASSPHRASE_BYTES_MIN;
        return Err(Error::new(Code::UsageMalformed, "the passphrase is too short")
            .next(format!("use at least {shortest} characters")));
    }
    let Argon { salt, memory_kib, passes, lanes } = *derivation;
    let BundleContents { created, cluster, .. } = *contents;
    let header = BundleHeader { salt, memory_kib, passes, lanes, created, cluster };
    let key = derivation.derive(passphrase)?;
    let header = record::to_bytes(&header);
    let length = match u32::try_from(header.len()) {
        Ok(length) => length.to_le_bytes(),
        Err(_) => unreachable!("a header of six small fields is short"),
    };
    let mut bytes = [MAGIC.as_slice(), &[VERSION], &length, &header].concat();
    let plaintext = secret_record::to_wiped_bytes(&Contents::of(contents));
    let field = aead::seal(key.expose(), &bytes, &plaintext, entropy);
    bytes.extend_from_slice(&field);
    if bytes.len() > limits::BUNDLE_BYTES_MAX {
        let message = format!("a bundle of {} bytes is too large", bytes.len());
        return Err(Error::new(Code::LimitExceeded, message));
    }
    Ok(bytes)
}

/// What the file says of itself. Not vouched for: only `open` does that.
pub fn header(bytes: &[u8]) -> Result<BundleHeader> {
    split(bytes).map(|(header, _, _)| header)
}

pub fn open(bytes: &[u8], passphrase: &[u8]) -> Result<BundleContents> {
    let (header, additional_data, field) = split(bytes)?;
    let key = header.derivation().derive(passphrase)?;
    let plaintext = aead::open_wiped(key.expose(), additional_data, field).map_err(|error| {
        Error::new(Code::KeyWrong, "the bundle does not open with this passphrase")
            .cause(error.message)
            .next("check the passphrase; if it is right, use an intact copy of the bundle")
    })?;
    let contents: Contents = record::from_bytes("bundle", &plaintext)
        .map_err(|error| malformed("what it holds cannot be read").cause(error))?;
    contents.held(&header)
}

/// Header, additional data, field.
fn split(bytes: &[u8]) -> Result<(BundleHeader, &[u8], &[u8])> {
    if bytes.len() > limits::BUNDLE_BYTES_MAX {
        let message = format!("a bundle of {} bytes is too large", bytes.len());
        return Err(Error::new(Code::LimitExceeded, message));
    }
    let short = || malformed("the file ends too early");
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| malformed("it begins differently"))?;
    let (version, rest) = rest.split_first().ok_or_else(short)?;
    if *version != VERSION {
        let message = format!("the bundle has format {version}");
        return Err(Error::new(Code::VersionUnknown, message));
    }
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if length > limits::BUNDLE_HEADER_BYTES_MAX {
        return Err(malformed("its header is too long"));
    }
    let (header, field) = rest.split_at_checked(length).ok_or_else(short)?;
    let additional_data = &bytes[..bytes.len() - field.len()];
    let header: BundleHeader = record::from_bytes("bundle header", header)
        .map_err(|error| malformed("its header cannot be read").cause(error))?;
    header.derivation().check()?;
    Ok((header, additional_data, field))
}

#[derive(Decode, Encode)]
#[cbor(map)]
struct Contents {
    #[n(0)]
    vaults: Vec<Vault>,
    #[cbor(n(1), with = "crate::secret_record::bytes")]
    ca_key: Zeroizing<Vec<u8>>,
    #[cbor(n(2), with = "minicbor::bytes")]
    ca_certificate: Vec<u8>,
    #[n(3)]
    enrolment: Vec<Enrolled>,
    #[cbor(n(4), with = "crate::secret_record")]
    recovery: Secret<32>,
}

#[derive(Decode, Encode)]
#[cbor(map)]
struct Vault {
    #[n(0)]
    id: VaultId,
    #[n(1)]
    name: Name,
    #[cbor(n(2), with = "crate::secret_record")]
    id_key: Secret<32>,
    #[cbor(n(3), with = "crate::secret_record")]
    chunking: Secret<32>,
    #[cbor(n(4), with = "crate::secret_record")]
    coordinator: Secret<32>,
    #[n(5)]
    versions: Vec<Version>,
    #[n(6)]
    custody: Custody,
}

#[derive(Decode, Encode)]
#[cbor(map)]
struct Version {
    #[n(0)]
    version: u32,
    #[cbor(n(1), with = "crate::secret_record::optional", has_nil)]
    vault_private: Option<Secret<32>>,
    #[cbor(n(2), with = "crate::secret_record")]
    index_private: Secret<32>,
    #[n(3)]
    succession: Option<Succession>,
}

impl Contents {
    fn of(contents: &BundleContents) -> Self {
        Self {
            vaults: contents.vaults.iter().map(Vault::of).collect(),
            ca_key: contents.ca_key.clone(),
            ca_certificate: contents.ca_certificate.clone(),
            enrolment: contents.enrolment.clone(),
            recovery: contents.recovery.secret().duplicate(),
        }
    }

    fn held(self, header: &BundleHeader) -> Result<BundleContents> {
        Ok(BundleContents {
            created: header.created,
            cluster: header.cluster,
            vaults: self.vaults.into_iter().map(Vault::held).collect::<Result<_>>()?,
            ca_key: self.ca_key,
            ca_certificate: self.ca_certificate,
            enrolment: self.enrolment,
            recovery: ClusterRecoveryKey::from_secret(self.recovery),
        })
    }
}

impl Vault {
    fn of(vault: &BundledVault) -> Self {
        let BundledVault { name, custody, keys } = vault;
        Self {
            id: keys.vault(),
            name: name.clone(),
            id_key: keys.id().secret().duplicate(),
            chunking: keys.chunking().secret().duplicate(),
            coordinator: keys.coordinator().secret().duplicate(),
            versions: keys
                .pairs_by_version()
                .map(|(number, pairs)| Version::of(number, pairs))
                .collect(),
            custody: *custody,
        }
    }

    fn held(self) -> Result<BundledVault> {
        let mut keys = VaultKeys::new(
            self.id,
            RootIdKey::from_secret(self.id_key),
            ChunkingKey::from_secret(self.chunking),
            CoordinatorKey::from_secret(self.coordinator),
        );
        for version in self.versions {
            version_fits(version.version)?;
            keys.insert(version.version, version.held(self.id));
        }
        if keys.newest() == 0 {
            return Err(malformed("it holds a vault without keys"));
        }
        Ok(BundledVault { name: self.name, custody: self.custody, keys })
    }
}

impl Version {
    fn of(version: u32, pairs: &Pairs) -> Self {
        let vault_private = match &pairs.vault {
            VaultHalf::Private(private) => Some(private.secret().duplicate()),
            VaultHalf::Public(_) | VaultHalf::Unknown => None,
        };
        let (index_private, succession) = (pairs.index.secret().duplicate(), pairs.succession);
        Self { version, vault_private, index_private, succession }
    }

    fn held(self, vault: VaultId) -> Pairs {
        let private = |secret| VaultPrivateKey::from_secret(vault, self.version, secret);
        Pairs {
            vault: self
                .vault_private
                .map_or(VaultHalf::Unknown, |s| VaultHalf::Private(private(s))),
            index: IndexPrivateKey::from_secret(vault, self.version, self.index_private),
            succession: self.succession,
        }
    }
}

fn malformed(why: &str) -> Error {
    Error::new(Code::BundleMalformed, format!("this is not a whole bundle: {why}"))
}

const MAGIC: &[u8; 4] = b"HFBD";
const VERSION: u8 = 1;
