//! A vault's pairs, the vault pair for capsules and the index pair for footers, and the
//! coordinator key.
//!
//! An agent holds the public halves and can seal; it can open nothing, its own chunks included,
//! once the session's data key is gone. A capsule keeps the bytes it came as, because its id is
//! their hash and repacking copies it for ever.

use crate::{
    DataKey,
    derive::derive,
    suite::{self, ENCAPSULATED_BYTES, SUITE},
};
use holdfast_common::{
    CapsuleId, Code, Entropy, Error, Result, Secret, SegmentId, VaultId, limits, record,
};
use minicbor::{Decode, Encode};

/// What an agent seals its sessions to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultPublicKey {
    pub vault: VaultId,
    pub version: u32,
    pub key: [u8; 32],
}

impl VaultPublicKey {
    /// Draws a session's data key and seals it to the custodian.
    pub fn encapsulate(&self, entropy: &dyn Entropy) -> Result<(DataKey, Capsule)> {
        let data_key = DataKey::random(entropy);
        let info = info(CAPSULE_CONTEXT, &self.vault, self.version);
        let (encapsulated, sealed) =
            suite::seal(&self.key, &info, b"", data_key.expose(), entropy)?;
        let Ok(sealed) = <[u8; SEALED_KEY_BYTES]>::try_from(sealed) else {
            unreachable!("32 bytes and a tag are 48");
        };
        let version = self.version;
        Ok((data_key, Capsule::new(CapsuleRecord { suite: SUITE, version, encapsulated, sealed })))
    }
}

/// Opens the capsules of one vault key version. Whoever holds it reads the vault.
#[derive(Debug)]
pub struct VaultPrivateKey {
    public: VaultPublicKey,
    secret: Secret<32>,
}

impl VaultPrivateKey {
    pub fn generate(vault: VaultId, version: u32, entropy: &dyn Entropy) -> Self {
        let (secret, key) = suite::generate(entropy);
        Self { public: VaultPublicKey { vault, version, key }, secret }
    }

    pub fn from_secret(vault: VaultId, version: u32, secret: Secret<32>) -> Self {
        let key = suite::public_of(&secret);
        Self { public: VaultPublicKey { vault, version, key }, secret }
    }

    pub fn public(&self) -> VaultPublicKey {
        self.public
    }

    pub fn secret(&self) -> &Secret<32> {
        &self.secret
    }

    pub fn duplicate(&self) -> Self {
        Self { public: self.public, secret: self.secret.duplicate() }
    }

    pub fn open(&self, capsule: &Capsule) -> Result<DataKey> {
        let CapsuleRecord { version, encapsulated, sealed, .. } = &capsule.record;
        if *version != self.public.version {
            return Err(Error::new(
                Code::KeyWrong,
                format!("version {} of the key was tried", self.public.version),
            )
            .cause(format!("the capsule was sealed to version {version}")));
        }
        let info = info(CAPSULE_CONTEXT, &self.public.vault, self.public.version);
        let key = suite::open(&self.secret, &info, b"", encapsulated, sealed)?;
        match Secret::from_slice(&key) {
            Some(secret) => Ok(DataKey::from_secret(secret)),
            None => unreachable!("48 bytes without their tag are 32"),
        }
    }
}

/// A session's data key, sealed; repeated in the header of each pack of the session.
#[derive(Clone, PartialEq, Eq)]
pub struct Capsule {
    bytes: Vec<u8>,
    record: CapsuleRecord,
}

impl Capsule {
    fn new(record: CapsuleRecord) -> Self {
        Self { bytes: record::to_bytes(&record), record }
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > limits::CAPSULE_BYTES_MAX {
            let message = format!("a capsule of {} bytes is too large", bytes.len());
            return Err(Error::new(Code::LimitExceeded, message));
        }
        // The suite is read first: the other fields of a later one may have other lengths.
        let Suite { suite } = record::from_bytes("capsule", bytes)?;
        if suite != SUITE {
            let message = format!("the capsule is sealed with suite {suite}");
            return Err(Error::new(Code::VersionUnknown, message));
        }
        Ok(Self { record: record::from_bytes("capsule", bytes)?, bytes: bytes.to_vec() })
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn id(&self) -> CapsuleId {
        CapsuleId::from_bytes(*blake3::hash(&self.bytes).as_bytes())
    }

    pub fn vault_key_version(&self) -> u32 {
        self.record.version
    }
}

impl core::fmt::Debug for Capsule {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Capsule({}, key version {})", self.id(), self.record.version)
    }
}

#[derive(Clone, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
struct CapsuleRecord {
    #[n(0)]
    suite: u32,
    #[n(1)]
    version: u32,
    #[cbor(n(2), with = "minicbor::bytes")]
    encapsulated: [u8; ENCAPSULATED_BYTES],
    #[cbor(n(3), with = "minicbor::bytes")]
    sealed: [u8; SEALED_KEY_BYTES],
}

#[derive(Decode)]
#[cbor(map)]
struct Suite {
    #[n(0)]
    suite: u32,
}

/// What an agent seals the footers of its packs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexPublicKey {
    pub vault: VaultId,
    pub version: u32,
    pub key: [u8; 32],
}

impl IndexPublicKey {
    /// `encapsulated key ‖ ciphertext`, bound to the bytes of the pack before the footer.
    pub fn seal_footer(
        &self,
        digest_of_prefix: &[u8; 32],
        plaintext: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>> {
        let info = info(FOOTER_CONTEXT, &self.vault, self.version);
        let (encapsulated, sealed) =
            suite::seal(&self.key, &info, digest_of_prefix, plaintext, entropy)?;
        Ok([encapsulated.as_slice(), &sealed].concat())
    }
}

/// Opens the footers of one vault key version: chunk ids and lengths, never content.
#[derive(Debug)]
pub struct IndexPrivateKey {
    public: IndexPublicKey,
    secret: Secret<32>,
}

impl IndexPrivateKey {
    pub fn generate(vault: VaultId, version: u32, entropy: &dyn Entropy) -> Self {
        let (secret, key) = suite::generate(entropy);
        Self { public: IndexPublicKey { vault, version, key }, secret }
    }

    pub fn from_secret(vault: VaultId, version: u32, secret: Secret<32>) -> Self {
        let key = suite::public_of(&secret);
        Self { public: IndexPublicKey { vault, version, key }, secret }
    }

    pub fn public(&self) -> IndexPublicKey {
        self.public
    }

    pub fn secret(&self) -> &Secret<32> {
        &self.secret
    }

    pub fn duplicate(&self) -> Self {
        Self { public: self.public, secret: self.secret.duplicate() }
    }

    pub fn open_footer(&self, digest_of_prefix: &[u8; 32], sealed: &[u8]) -> Result<Vec<u8>> {
        let (encapsulated, sealed) = sealed
            .split_first_chunk::<ENCAPSULATED_BYTES>()
            .ok_or_else(|| Error::new(Code::RecordMalformed, "a sealed footer is too short"))?;
        let info = info(FOOTER_CONTEXT, &self.public.vault, self.public.version);
        let mut plaintext =
            suite::open(&self.secret, &info, digest_of_prefix, encapsulated, sealed)?;
        Ok(core::mem::take(&mut *plaintext))
    }
}

/// Seals index segments; coordinators hold it, agents never.
#[derive(Debug)]
pub struct CoordinatorKey(Secret<32>);

impl CoordinatorKey {
    pub fn from_secret(secret: Secret<32>) -> Self {
        Self(secret)
    }

    pub fn secret(&self) -> &Secret<32> {
        &self.0
    }

    pub fn segment_key(&self, segment: &SegmentId) -> Secret<32> {
        derive(SEGMENT_CONTEXT, &[self.0.expose(), segment.as_bytes()])
    }
}

/// `context ‖ vault id ‖ version`: what is sealed for one vault and version opens for no other.
fn info(context: &[u8], vault: &VaultId, version: u32) -> Vec<u8> {
    [context, vault.as_bytes(), &version.to_le_bytes()].concat()
}

const CAPSULE_CONTEXT: &[u8] = b"holdfast capsule v1";
const FOOTER_CONTEXT: &[u8] = b"holdfast footer v1";
const SEALED_KEY_BYTES: usize = 48;
const SEGMENT_CONTEXT: &str = "holdfast 2026 segment key v1";
