//! A key object: one version of a vault's keys under one KEK, as it lies in `keys/…` (§5).
//!
//! Each part is wrapped on its own and bound to vault, versions and part number, so that parts
//! cannot be swapped between objects. In operator custody the vault private key is wrapped under
//! the operator's KEK instead, and coordinators get everything but that. Public keys stand beside
//! the parts unwrapped: where the private half opens it must match them, or nothing is given out.

use crate::{
    Argon, ChunkingKey, CoordinatorKey, IndexPrivateKey, Kek, KekId, RootIdKey, Succession,
    VaultKeys, VaultPrivateKey, VaultPublicKey, aead,
    vault_keys::{Pairs, VaultHalf, version_fits},
};
use holdfast_common::{Code, Entropy, Error, Result, Secret, VaultId, limits, record};
use minicbor::{Decode, Encode};

/// Who can open the vault private key.
#[derive(Clone, Copy, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(index_only)]
pub enum Custody {
    #[n(1)]
    Coordinator,
    #[n(2)]
    Operator,
}

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
pub struct KeyObject {
    #[n(0)]
    format: u32,
    #[n(1)]
    vault: VaultId,
    #[n(2)]
    version: u32,
    #[n(3)]
    kek_version: u32,
    #[n(4)]
    kek: KekId,
    #[n(5)]
    custody: Custody,
    #[cbor(n(6), with = "minicbor::bytes")]
    vault_public: [u8; 32],
    #[cbor(n(7), with = "minicbor::bytes")]
    index_public: [u8; 32],
    #[n(8)]
    parts: Parts,
    #[n(9)]
    operator_kek: Option<KekId>,
    #[n(10)]
    derivation: Option<Argon>,
    /// By which an older version vouches for this one.
    #[n(11)]
    succession: Option<Succession>,
}

#[derive(Clone, Debug, Decode, Encode, PartialEq, Eq)]
#[cbor(map)]
struct Parts {
    #[cbor(n(1), with = "minicbor::bytes")]
    vault_private: Wrapped,
    #[cbor(n(2), with = "minicbor::bytes")]
    index_private: Wrapped,
    #[cbor(n(3), with = "minicbor::bytes")]
    coordinator: Wrapped,
    #[cbor(n(4), with = "minicbor::bytes")]
    id: Wrapped,
    #[cbor(n(5), with = "minicbor::bytes")]
    chunking: Wrapped,
}

type Wrapped = [u8; 32 + aead::FIELD_OVERHEAD_BYTES];

/// A vault private key under the operator's KEK, as it is to stand in a key object: what operators
/// make where their key is, and coordinators cannot open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperatorsHalf {
    pub version: u32,
    pub kek_version: u32,
    pub vault_public: [u8; 32],
    pub index_public: [u8; 32],
    pub operator_kek: KekId,
    pub wrapped: [u8; 32 + aead::FIELD_OVERHEAD_BYTES],
}

impl OperatorsHalf {
    pub fn wrap(
        private: &VaultPrivateKey,
        index_public: [u8; 32],
        kek_version: u32,
        operator: &Kek,
        entropy: &dyn Entropy,
    ) -> Result<Self> {
        if operator.derivation.is_some() {
            return Err(Error::new(
                Code::UsageMalformed,
                "an operator's KEK cannot be derived from a passphrase",
            )
            .next("make a key file and name it with file:PATH"));
        }
        version_fits(kek_version)?;
        let public = private.public();
        let binding = Binding::of(&public, index_public, kek_version);
        Ok(Self {
            version: public.version,
            kek_version,
            vault_public: public.key,
            index_public,
            operator_kek: operator.id,
            wrapped: binding.wrap(operator, Part::VaultPrivate, private.secret(), entropy),
        })
    }
}

/// Number of a part, as its additional data names it.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Part {
    VaultPrivate = 1,
    IndexPrivate = 2,
    Coordinator = 3,
    Id = 4,
    Chunking = 5,
}

/// What every part of one object is bound to.
struct Binding {
    vault: VaultId,
    version: u32,
    kek_version: u32,
    /// Bound as well: whoever could swap them would be sealed to.
    vault_public: [u8; 32],
    index_public: [u8; 32],
}

impl KeyObject {
    /// Wraps one version of a vault's keys; custody is the operator's when an operator's KEK is
    /// given. The version's private half must be held.
    pub fn wrap(
        keys: &VaultKeys,
        version: u32,
        kek: &Kek,
        kek_version: u32,
        operator: Option<&Kek>,
        entropy: &dyn Entropy,
    ) -> Result<Self> {
        let private = keys.private(version)?;
        let index_public = keys.index_public(version)?.key;
        match operator {
            Some(operator) => {
                let half =
                    OperatorsHalf::wrap(private, index_public, kek_version, operator, entropy)?;
                Self::wrap_beside(keys, &half, kek, entropy)
            }
            None => {
                let binding = Binding::of(&private.public(), index_public, kek_version);
                let part = binding.wrap(kek, Part::VaultPrivate, private.secret(), entropy);
                Self::wrap_with(keys, &binding, (part, None), kek, entropy)
            }
        }
    }

    /// Wraps what coordinators hold of a version beside the half that only operators open.
    pub fn wrap_beside(
        keys: &VaultKeys,
        half: &OperatorsHalf,
        kek: &Kek,
        entropy: &dyn Entropy,
    ) -> Result<Self> {
        if half.operator_kek == kek.id {
            let message = "the operator's KEK is the coordinators' own";
            return Err(Error::new(Code::UsageMalformed, message)
                .next("make a key file that only operators hold"));
        }
        let OperatorsHalf { kek_version, vault_public: key, index_public, .. } = *half;
        let public = VaultPublicKey { vault: keys.vault(), version: half.version, key };
        insist_on_public(&keys.public(half.version)?.key, &key)?;
        insist_on_public(&keys.index_public(half.version)?.key, &index_public)?;
        let binding = Binding::of(&public, index_public, kek_version);
        Self::wrap_with(keys, &binding, (half.wrapped, Some(half.operator_kek)), kek, entropy)
    }

    fn wrap_with(
        keys: &VaultKeys,
        binding: &Binding,
        (vault_private, operator_kek): (Wrapped, Option<KekId>),
        kek: &Kek,
        entropy: &dyn Entropy,
    ) -> Result<Self> {
        let Binding { vault, version, kek_version, vault_public, index_public } = *binding;
        version_fits(kek_version)?;
        let wrap = |part, secret| binding.wrap(kek, part, secret, entropy);
        Ok(Self {
            format: FORMAT,
            vault,
            version,
            kek_version,
            kek: kek.id,
            custody: operator_kek.map_or(Custody::Coordinator, |_| Custody::Operator),
            vault_public,
            index_public,
            parts: Parts {
                vault_private,
                index_private: wrap(Part::IndexPrivate, keys.index_private(version)?.secret()),
                coordinator: wrap(Part::Coordinator, keys.coordinator().secret()),
                id: wrap(Part::Id, keys.id().secret()),
                chunking: wrap(Part::Chunking, keys.chunking().secret()),
            },
            operator_kek,
            derivation: kek.derivation,
            succession: keys.succession(version)?,
        })
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        record::to_bytes(self)
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > limits::KEY_OBJECT_BYTES_MAX {
            let message = format!("a key object of {} bytes is too large", bytes.len());
            return Err(Error::new(Code::LimitExceeded, message));
        }
        // The format is read first: a later one may have other fields.
        let Format { format } = record::from_bytes("key object", bytes)?;
        if format != FORMAT {
            let message = format!("the key object has format {format}");
            return Err(Error::new(Code::VersionUnknown, message));
        }
        let object: Self = record::from_bytes("key object", bytes)?;
        if (object.custody == Custody::Operator) != object.operator_kek.is_some() {
            let message = "the custody and the operator's KEK of a key object disagree";
            return Err(Error::new(Code::RecordMalformed, message));
        }
        version_fits(object.version)?;
        version_fits(object.kek_version)?;
        Ok(object)
    }

    pub fn vault(&self) -> VaultId {
        self.vault
    }

    /// Version of the vault keys.
    pub fn version(&self) -> u32 {
        self.version
    }

    pub fn kek_version(&self) -> u32 {
        self.kek_version
    }

    pub fn kek(&self) -> KekId {
        self.kek
    }

    pub fn operator_kek(&self) -> Option<KekId> {
        self.operator_kek
    }

    pub fn custody(&self) -> Custody {
        self.custody
    }

    /// By which an older version vouches for this one.
    pub fn succession(&self) -> Option<Succession> {
        self.succession
    }

    pub fn index_public(&self) -> [u8; 32] {
        self.index_public
    }

    /// How the KEK follows from its passphrase, when it does.
    pub fn derivation(&self) -> Option<&Argon> {
        self.derivation.as_ref()
    }

    /// Refuses the keys of another vault.
    pub fn insist_on_vault(&self, vault: &VaultId) -> Result<()> {
        if self.vault == *vault {
            return Ok(());
        }
        let message = format!("the key object is of vault {}, not of {vault}", self.vault);
        Err(Error::new(Code::VaultForeign, message))
    }

    /// What a coordinator gets: in operator custody everything but the vault private key.
    pub fn unwrap_coordinator(&self, kek: &Kek) -> Result<VaultKeys> {
        insist_on_kek(self.kek, kek)?;
        let binding = self.binding();
        let unwrap = |part, field| binding.unwrap(kek, part, field);
        let id = RootIdKey::from_secret(unwrap(Part::Id, &self.parts.id)?);
        let chunking = ChunkingKey::from_secret(unwrap(Part::Chunking, &self.parts.chunking)?);
        let coordinator =
            CoordinatorKey::from_secret(unwrap(Part::Coordinator, &self.parts.coordinator)?);
        let index = unwrap(Part::IndexPrivate, &self.parts.index_private)?;
        let index = IndexPrivateKey::from_secret(self.vault, self.version, index);
        insist_on_public(&self.index_public, &index.public().key)?;
        let vault = match self.custody {
            Custody::Coordinator => VaultHalf::Private(self.vault_private(kek)?),
            Custody::Operator => VaultHalf::Public(self.public()),
        };
        let mut keys = VaultKeys::new(self.vault, id, chunking, coordinator);
        let succession = self.succession;
        keys.insert(self.version, Pairs { vault, index, succession });
        Ok(keys)
    }

    /// The vault private key, for the operator who holds it.
    pub fn unwrap_operator(&self, operator: &Kek) -> Result<VaultPrivateKey> {
        let Some(expected) = self.operator_kek else {
            let message = format!("vault {} is in coordinator custody", self.vault);
            return Err(Error::new(Code::KeyWrong, message)
                .next("use the coordinators' KEK; this vault has no operator's key"));
        };
        insist_on_kek(expected, operator)?;
        self.vault_private(operator)
    }

    pub fn public(&self) -> VaultPublicKey {
        VaultPublicKey { vault: self.vault, version: self.version, key: self.vault_public }
    }

    fn vault_private(&self, kek: &Kek) -> Result<VaultPrivateKey> {
        let secret = self.binding().unwrap(kek, Part::VaultPrivate, &self.parts.vault_private)?;
        let private = VaultPrivateKey::from_secret(self.vault, self.version, secret);
        insist_on_public(&self.vault_public, &private.public().key)?;
        Ok(private)
    }

    fn binding(&self) -> Binding {
        let Self { vault, version, kek_version, vault_public, index_public, .. } = *self;
        Binding { vault, version, kek_version, vault_public, index_public }
    }
}

impl Binding {
    fn of(public: &VaultPublicKey, index_public: [u8; 32], kek_version: u32) -> Self {
        let VaultPublicKey { vault, version, key: vault_public } = *public;
        Self { vault, version, kek_version, vault_public, index_public }
    }

    fn wrap(&self, kek: &Kek, part: Part, secret: &Secret<32>, entropy: &dyn Entropy) -> Wrapped {
        let field = aead::seal(kek.expose(), &self.additional_data(part), secret.expose(), entropy);
        match Wrapped::try_from(field) {
            Ok(wrapped) => wrapped,
            Err(_) => unreachable!("32 bytes, a nonce and a tag are 60"),
        }
    }

    fn unwrap(&self, kek: &Kek, part: Part, wrapped: &Wrapped) -> Result<Secret<32>> {
        let plain = aead::open_wiped(kek.expose(), &self.additional_data(part), wrapped)
            .map_err(|error| self.refused(part, &error))?;
        match Secret::from_slice(&plain) {
            Some(secret) => Ok(secret),
            None => unreachable!("60 bytes without nonce and tag are 32"),
        }
    }

    fn additional_data(&self, part: Part) -> Vec<u8> {
        [
            KEY_CONTEXT,
            self.vault.as_bytes(),
            &self.version.to_le_bytes(),
            &self.kek_version.to_le_bytes(),
            &[part as u8],
            &self.vault_public,
            &self.index_public,
        ]
        .concat()
    }

    fn refused(&self, part: Part, error: &Error) -> Error {
        let Self { vault, version, .. } = self;
        let message =
            format!("part {} of the keys of vault {vault}, version {version}", part as u8);
        Error::new(Code::KeyWrong, message + ", does not open").cause(&error.message)
    }
}

#[derive(Decode)]
#[cbor(map)]
struct Format {
    #[n(0)]
    format: u32,
}

fn insist_on_kek(expected: KekId, given: &Kek) -> Result<()> {
    if given.id == expected {
        return Ok(());
    }
    let message = format!("KEK {} was given, the keys are wrapped under {expected}", given.id);
    Err(Error::new(Code::KeyWrong, message))
}

fn insist_on_public(written: &[u8; 32], derived: &[u8; 32]) -> Result<()> {
    if written == derived {
        return Ok(());
    }
    Err(Error::new(Code::KeyWrong, "a public key of the key object is not that of its pair"))
}

const FORMAT: u32 = 1;
const KEY_CONTEXT: &[u8] = b"holdfast key v1";
