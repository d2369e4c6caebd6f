//! All keys of a vault, as far as their holder may have them.
//!
//! A coordinator collects them from key objects, one per version; in operator custody the private
//! halves of the vault pairs are missing there and `private` says so. The id-key, the chunking key
//! and the coordinator key are for ever; `rotate` adds a version of the pairs, and old versions
//! keep opening what was sealed to them.

use crate::{
    Capsule, ChunkingKey, CoordinatorKey, DataKey, IndexPrivateKey, IndexPublicKey, RootIdKey,
    VaultPrivateKey, VaultPublicKey,
};
use holdfast_common::{Code, Entropy, Error, Result, Secret, VaultId, limits};
use std::collections::{BTreeMap, btree_map::Entry};
use subtle::ConstantTimeEq;

#[derive(Debug)]
pub struct VaultKeys {
    vault: VaultId,
    id: RootIdKey,
    chunking: ChunkingKey,
    coordinator: CoordinatorKey,
    versions: BTreeMap<u32, Pairs>,
}

/// The pairs of one version.
#[derive(Debug)]
pub(crate) struct Pairs {
    pub(crate) vault: VaultHalf,
    pub(crate) index: IndexPrivateKey,
}

/// What is known of a vault pair, least first.
#[derive(Debug)]
pub(crate) enum VaultHalf {
    Unknown,
    Public(VaultPublicKey),
    Private(VaultPrivateKey),
}

impl VaultHalf {
    fn rank(&self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Public(_) => 1,
            Self::Private(_) => 2,
        }
    }

    fn public(&self) -> Option<VaultPublicKey> {
        match self {
            Self::Unknown => None,
            Self::Public(public) => Some(*public),
            Self::Private(private) => Some(private.public()),
        }
    }

    fn contradicts(&self, other: &Self) -> bool {
        matches!((self.public(), other.public()), (Some(a), Some(b)) if a != b)
    }
}

impl VaultKeys {
    /// The keys of a new vault, with version 1 of its pairs.
    pub fn generate(vault: VaultId, entropy: &dyn Entropy) -> Self {
        let mut keys = Self::new(
            vault,
            RootIdKey::from_secret(Secret::random(entropy)),
            ChunkingKey::from_secret(Secret::random(entropy)),
            CoordinatorKey::from_secret(Secret::random(entropy)),
        );
        keys.add_version(FIRST_VERSION, entropy);
        keys
    }

    pub(crate) fn new(
        vault: VaultId,
        id: RootIdKey,
        chunking: ChunkingKey,
        coordinator: CoordinatorKey,
    ) -> Self {
        Self { vault, id, chunking, coordinator, versions: BTreeMap::new() }
    }

    pub fn vault(&self) -> VaultId {
        self.vault
    }

    pub fn id(&self) -> &RootIdKey {
        &self.id
    }

    pub fn chunking(&self) -> &ChunkingKey {
        &self.chunking
    }

    pub fn coordinator(&self) -> &CoordinatorKey {
        &self.coordinator
    }

    /// Known versions of the pairs, oldest first.
    pub fn versions(&self) -> impl DoubleEndedIterator<Item = u32> + '_ {
        self.versions.keys().copied()
    }

    /// The version that new sessions are sealed to; zero only of a vault without any.
    pub fn newest(&self) -> u32 {
        self.versions.keys().next_back().copied().unwrap_or(0)
    }

    /// Adds a version of both pairs and says which one it is.
    pub fn rotate(&mut self, entropy: &dyn Entropy) -> Result<u32> {
        let version = self.newest() + 1;
        version_fits(version)?;
        self.add_version(version, entropy);
        Ok(version)
    }

    pub fn public(&self, version: u32) -> Result<VaultPublicKey> {
        self.pairs(version)?.vault.public().ok_or_else(|| self.custody_refused(version))
    }

    pub fn index_public(&self, version: u32) -> Result<IndexPublicKey> {
        Ok(self.pairs(version)?.index.public())
    }

    pub fn private(&self, version: u32) -> Result<&VaultPrivateKey> {
        match &self.pairs(version)?.vault {
            VaultHalf::Private(private) => Ok(private),
            VaultHalf::Public(_) | VaultHalf::Unknown => Err(self.custody_refused(version)),
        }
    }

    pub fn index_private(&self, version: u32) -> Result<&IndexPrivateKey> {
        Ok(&self.pairs(version)?.index)
    }

    /// Opens a capsule with the version that it names.
    pub fn open(&self, capsule: &Capsule) -> Result<DataKey> {
        self.private(capsule.vault_key_version())?.open(capsule)
    }

    /// Adds a private half that an operator brings along.
    pub fn admit(&mut self, private: VaultPrivateKey) -> Result<()> {
        let VaultPublicKey { vault, version, .. } = private.public();
        self.insist_on_vault(vault)?;
        let half = VaultHalf::Private(private);
        match self.versions.get_mut(&version) {
            Some(pairs) if pairs.vault.contradicts(&half) => Err(contradiction(version)),
            Some(pairs) => {
                pairs.vault = half;
                Ok(())
            }
            None => Err(self.version_unknown(version)),
        }
    }

    /// Takes over the versions of another key object of this vault.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        self.insist_on_vault(other.vault)?;
        let same = |a: &Secret<32>, b: &Secret<32>| a.expose().ct_eq(b.expose());
        let agreed = same(self.id.secret(), other.id.secret())
            & same(self.chunking.secret(), other.chunking.secret())
            & same(self.coordinator.secret(), other.coordinator.secret());
        if !bool::from(agreed) {
            let message = format!("two key objects of vault {} hold different keys", self.vault);
            return Err(Error::new(Code::KeyWrong, message));
        }
        for (version, pairs) in &other.versions {
            if self.versions.get(version).is_some_and(|known| known.contradicts(pairs)) {
                return Err(contradiction(*version));
            }
        }
        for (version, pairs) in other.versions {
            self.insert(version, pairs);
        }
        Ok(())
    }

    pub(crate) fn pairs_by_version(&self) -> impl Iterator<Item = (u32, &Pairs)> {
        self.versions.iter().map(|(version, pairs)| (*version, pairs))
    }

    fn add_version(&mut self, version: u32, entropy: &dyn Entropy) {
        let vault = VaultHalf::Private(VaultPrivateKey::generate(self.vault, version, entropy));
        let index = IndexPrivateKey::generate(self.vault, version, entropy);
        self.insert(version, Pairs { vault, index });
    }

    /// Keeps whichever form of the pair knows more.
    pub(crate) fn insert(&mut self, version: u32, pairs: Pairs) {
        match self.versions.entry(version) {
            Entry::Vacant(vacant) => {
                vacant.insert(pairs);
            }
            Entry::Occupied(mut known) if pairs.vault.rank() > known.get().vault.rank() => {
                known.insert(pairs);
            }
            Entry::Occupied(_) => {}
        }
    }

    fn pairs(&self, version: u32) -> Result<&Pairs> {
        self.versions.get(&version).ok_or_else(|| self.version_unknown(version))
    }

    fn insist_on_vault(&self, other: VaultId) -> Result<()> {
        if other == self.vault {
            return Ok(());
        }
        let message = format!("keys of vault {other} were given for vault {}", self.vault);
        Err(Error::new(Code::VaultForeign, message))
    }

    fn version_unknown(&self, version: u32) -> Error {
        let message = format!("version {version} of the keys of vault {} is missing", self.vault);
        Error::new(Code::KeyWrong, message).next("load every object below `keys/` of the vault")
    }

    fn custody_refused(&self, version: u32) -> Error {
        let message = format!("version {version} of vault {} is not held here", self.vault);
        Error::new(Code::KeyCustodyRefused, message)
    }
}

impl Pairs {
    fn contradicts(&self, other: &Self) -> bool {
        self.vault.contradicts(&other.vault) || self.index.public() != other.index.public()
    }
}

/// Versions begin at one and have eight digits in the names of key objects.
pub(crate) fn version_fits(version: u32) -> Result<()> {
    if (FIRST_VERSION..=limits::KEY_VERSION_MAX).contains(&version) {
        return Ok(());
    }
    Err(Error::new(Code::LimitExceeded, format!("{version} is no version of a key")))
}

fn contradiction(version: u32) -> Error {
    Error::new(Code::KeyWrong, format!("two different pairs call themselves version {version}"))
}

const FIRST_VERSION: u32 = 1;
