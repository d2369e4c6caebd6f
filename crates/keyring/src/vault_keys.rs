//! All keys of a vault, as far as their holder may have them.
//!
//! A coordinator collects them from key objects, one per version; in operator custody the private
//! halves of the vault pairs are missing there and `private` says so. The id-key, the chunking key
//! and the coordinator key are for ever; `rotate` adds a version of the pairs, and old versions
//! keep opening what was sealed to them.

use crate::{
    Capsule, ChunkingKey, CoordinatorKey, DataKey, IndexPrivateKey, IndexPublicKey, KeyRemains,
    RootIdKey, Succession, VaultPrivateKey, VaultPublicKey,
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
    /// Of versions that were destroyed.
    remains: BTreeMap<u32, KeyRemains>,
}

/// The pairs of one version.
#[derive(Debug)]
pub(crate) struct Pairs {
    pub(crate) vault: VaultHalf,
    pub(crate) index: IndexPrivateKey,
    /// By which an older version vouches for this one; the first has none.
    pub(crate) succession: Option<Succession>,
}

/// What is known of a vault pair, least first.
#[derive(Debug)]
pub(crate) enum VaultHalf {
    Unknown,
    Public(VaultPublicKey),
    Private(VaultPrivateKey),
}

impl Pairs {
    fn duplicate(&self) -> Self {
        let vault = match &self.vault {
            VaultHalf::Unknown => VaultHalf::Unknown,
            VaultHalf::Public(public) => VaultHalf::Public(*public),
            VaultHalf::Private(private) => VaultHalf::Private(private.duplicate()),
        };
        Self { vault, index: self.index.duplicate(), succession: self.succession }
    }
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
        match keys.add_version(FIRST_VERSION, None, entropy) {
            Ok(()) => keys,
            Err(error) => unreachable!("nobody vouches for the first version: {error}"),
        }
    }

    pub(crate) fn new(
        vault: VaultId,
        id: RootIdKey,
        chunking: ChunkingKey,
        coordinator: CoordinatorKey,
    ) -> Self {
        let (versions, remains) = (BTreeMap::new(), BTreeMap::new());
        Self { vault, id, chunking, coordinator, versions, remains }
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

    /// Adds a version of both pairs, for which the newest one vouches. Its private half has to be
    /// held.
    pub fn rotate(&mut self, version: u32, entropy: &dyn Entropy) -> Result<()> {
        version_fits(version)?;
        let newest = self.private(self.newest())?.duplicate();
        self.add_version(version, Some(&newest), entropy)
    }

    /// Adds a version whose private half an operator made and keeps, if the newest one vouches.
    pub fn follow(
        &mut self,
        public: VaultPublicKey,
        index: IndexPrivateKey,
        succession: Succession,
    ) -> Result<()> {
        self.insist_on_vault(public.vault)?;
        version_fits(public.version)?;
        succession.verify(&self.public(self.newest())?, &public)?;
        let (vault, succession) = (VaultHalf::Public(public), Some(succession));
        self.insert(public.version, Pairs { vault, index, succession });
        Ok(())
    }

    /// By which an older version vouches for this one.
    pub fn succession(&self, version: u32) -> Result<Option<Succession>> {
        Ok(self.pairs(version)?.succession)
    }

    /// How each version followed the one before, oldest first; those too that were destroyed.
    pub fn chain(&self) -> Vec<(Succession, VaultPublicKey)> {
        let gone = self.remains.values().map(|left| (left.succession(), Some(left.public())));
        let here = self.versions.values().map(|pairs| (pairs.succession, pairs.vault.public()));
        let mut chain: Vec<_> =
            gone.chain(here).filter_map(|(made, public)| Some((made?, public?))).collect();
        chain.sort_by_key(|(_, public)| public.version);
        chain
    }

    /// A version was destroyed: it opens nothing from now on, and stays a link between others.
    pub fn bury(&mut self, remains: KeyRemains) -> Result<()> {
        let VaultPublicKey { vault, version, .. } = remains.public();
        self.insist_on_vault(vault)?;
        self.versions.remove(&version);
        self.remains.insert(version, remains);
        Ok(())
    }

    /// The same keys but those of versions that were destroyed.
    pub fn without(&self, gone: impl IntoIterator<Item = KeyRemains>) -> Result<Self> {
        let mut left = Self::new(
            self.vault,
            RootIdKey::from_secret(self.id.secret().duplicate()),
            ChunkingKey::from_secret(self.chunking.secret().duplicate()),
            CoordinatorKey::from_secret(self.coordinator.secret().duplicate()),
        );
        left.remains = self.remains.clone();
        gone.into_iter().try_for_each(|remains| left.bury(remains))?;
        for (version, pairs) in &self.versions {
            left.insert(*version, pairs.duplicate());
        }
        Ok(left)
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
            None if self.remains.contains_key(&version) => Err(self.version_destroyed(version)),
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
        other.remains.into_values().try_for_each(|remains| self.bury(remains))
    }

    pub(crate) fn pairs_by_version(&self) -> impl Iterator<Item = (u32, &Pairs)> {
        self.versions.iter().map(|(version, pairs)| (*version, pairs))
    }

    fn add_version(
        &mut self,
        version: u32,
        before: Option<&VaultPrivateKey>,
        entropy: &dyn Entropy,
    ) -> Result<()> {
        let vault = VaultPrivateKey::generate(self.vault, version, entropy);
        let succession = before.map(|before| Succession::sign(before, &vault.public()));
        let succession = succession.transpose()?;
        let index = IndexPrivateKey::generate(self.vault, version, entropy);
        self.insert(version, Pairs { vault: VaultHalf::Private(vault), index, succession });
        Ok(())
    }

    /// Keeps whichever form of the pair knows more. Of one that was destroyed nothing comes back.
    pub(crate) fn insert(&mut self, version: u32, pairs: Pairs) {
        if self.remains.contains_key(&version) {
            return;
        }
        match self.versions.entry(version) {
            Entry::Vacant(vacant) => {
                vacant.insert(pairs);
            }
            Entry::Occupied(mut known) => {
                let succession = known.get().succession.or(pairs.succession);
                if pairs.vault.rank() > known.get().vault.rank() {
                    known.insert(pairs);
                }
                known.get_mut().succession = succession;
            }
        }
    }

    fn pairs(&self, version: u32) -> Result<&Pairs> {
        self.versions.get(&version).ok_or_else(|| match self.remains.get(&version) {
            Some(_) => self.version_destroyed(version),
            None => self.version_unknown(version),
        })
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

    /// Whether it opens nothing any more.
    pub fn is_destroyed(&self, version: u32) -> bool {
        self.remains.contains_key(&version)
    }

    fn version_destroyed(&self, version: u32) -> Error {
        let message = format!("version {version} of the keys of vault {} is gone", self.vault);
        Error::new(Code::KeyDestroyed, message)
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
