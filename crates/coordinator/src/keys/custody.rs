//! The coordinators' keys: what opens footers and segments, and, in coordinator custody, capsules.
//!
//! Keys are unwrapped on first use and live in memory, wiped when dropped. A version that is not
//! there yet is looked for in the ledger: somebody may have rotated since. Nothing here opens a
//! chunk: the custodian derives the key of one chunk and hands it on, sealed to its reader.

use super::follow::in_use;
use crate::raft::Ledger;
use holdfast_common::{
    CapsuleId, ChunkId, ChunkKind, Code, Entropy, Error, Result, SegmentId, VaultId,
};
use holdfast_keyring::{
    Capsule, ChunkKey, DataKey, IdKey, Kek, KekSource, KeyObject, KeyRemains, VaultKeys, aead,
};
use holdfast_ledger::{
    Query,
    row::{DestroyedKeyRow, Sharing, VaultRow},
};
use holdfast_repository::{
    pack::{FooterOpener, FooterSealer},
    segment::{SegmentOpener, SegmentSealer},
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};
use tokio::time::{Duration, Instant};

/// Opened capsules that are kept; one session has one.
const DATA_KEYS_KEPT: usize = 1024;

pub(crate) struct Custodian {
    hand: Arc<Hand>,
    /// Whoever brings another KEK: one at a time.
    pub(super) bringing: tokio::sync::Mutex<()>,
    /// The configuration names another KEK than the one that was taken.
    is_unwritten: AtomicBool,
    /// Of the KEK in use, if this member is not let open it; asked again then.
    refused: Mutex<Option<([u8; 16], Instant, Error)>>,
    vaults: Mutex<HashMap<VaultId, Arc<VaultCustody>>>,
    entropy: Arc<dyn Entropy>,
}

/// The KEK in use, and where it comes from; another one may follow while the member runs.
struct Hand(RwLock<(Arc<Kek>, KekSource)>);

impl Hand {
    fn kek(&self) -> Arc<Kek> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

/// None: the ledger has no such version.
type Again = Box<dyn Fn(u32) -> Result<Option<VaultKeys>> + Send + Sync>;

/// The keys of one vault.
pub(crate) struct VaultCustody {
    keys: RwLock<Arc<VaultKeys>>,
    /// Reads them out of the ledger anew.
    again: Option<Again>,
    entropy: Arc<dyn Entropy>,
    opened: Mutex<HashMap<CapsuleId, Arc<DataKey>>>,
}

impl Custodian {
    pub(crate) fn new(kek: Kek, source: KekSource, entropy: Arc<dyn Entropy>) -> Self {
        let hand = Arc::new(Hand(RwLock::new((Arc::new(kek), source))));
        Self {
            hand,
            bringing: Default::default(),
            is_unwritten: AtomicBool::default(),
            refused: Mutex::default(),
            vaults: Mutex::default(),
            entropy,
        }
    }

    pub(crate) fn kek(&self) -> Arc<Kek> {
        self.hand.kek()
    }

    pub(crate) fn kek_source(&self) -> KekSource {
        self.hand().1
    }

    pub(crate) fn hand(&self) -> (Arc<Kek>, KekSource) {
        self.hand.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything is wrapped under another KEK; what is open in memory stays as it is.
    pub(crate) fn take(&self, kek: Kek, source: KekSource) {
        let mut hand = self.hand.0.write().unwrap_or_else(PoisonError::into_inner);
        *hand = (Arc::new(kek), source);
        self.note_unwritten();
    }

    pub(super) fn note_refused(&self, kek: [u8; 16], pause: Duration, error: Error) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused = Some((kek, Instant::now() + pause, error));
    }

    /// What was said of this KEK a moment ago; it would be said again.
    pub(super) fn refused_lately(&self, kek: &[u8; 16]) -> Option<Error> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, _, error) =
            refused.as_ref().filter(|(of, until, _)| of == kek && Instant::now() < *until)?;
        Some(error.clone())
    }

    pub(crate) fn note_unwritten(&self) {
        self.is_unwritten.store(true, Relaxed);
    }

    pub(crate) fn is_written_down(&self) -> bool {
        !self.is_unwritten.load(Relaxed)
    }

    pub(crate) fn note_written_down(&self) {
        self.is_unwritten.store(false, Relaxed);
    }

    /// The keys of a vault, unwrapped on first use, and again when there is a newer version.
    pub(crate) fn vault(&self, row: &VaultRow, ledger: &Ledger) -> Result<Arc<VaultCustody>> {
        let mut vaults = self.vaults.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(custody) = vaults.get(&row.id) {
            if custody.keys().newest() < row.key_version {
                custody.renew(row.key_version)?;
            }
            return Ok(custody.clone());
        }
        let keys = keys_at_hand(&ledger.query(), row, &self.kek())?;
        let (hand, id, ledger) = (self.hand.clone(), row.id, ledger.clone());
        let again = move |version| {
            let query = ledger.query();
            keys_up_to(&query, (&id, version), &hand.kek())
        };
        let custody = VaultCustody::new(keys, self.entropy.clone());
        let custody = Arc::new(VaultCustody { again: Some(Box::new(again)), ..custody });
        vaults.insert(row.id, custody.clone());
        Ok(custody)
    }

    /// Wipes versions that were destroyed, and whatever they opened, from memory; no KEK is needed.
    pub(crate) fn forget_destroyed(&self, query: &Query<'_>) -> Result<()> {
        let vaults: Vec<_> = {
            let vaults = self.vaults.lock().unwrap_or_else(PoisonError::into_inner);
            vaults.iter().map(|(id, custody)| (*id, custody.clone())).collect()
        };
        let forget = |(vault, custody): &(VaultId, Arc<VaultCustody>)| {
            custody.forget(&query.destroyed_keys(vault)?)
        };
        // What is wrong with one vault keeps nothing of the others in memory.
        vaults.iter().map(forget).fold(Ok(()), Result::and)
    }
}

/// Every version of a vault's keys that the ledger has, as far as the coordinators' KEK opens them.
pub(crate) fn all_keys(query: &Query<'_>, row: &VaultRow, kek: &Kek) -> Result<VaultKeys> {
    let unwrap = |bytes: &[u8]| {
        let object = KeyObject::from_bytes(bytes)?;
        object.insist_on_vault(&row.id)?;
        object.unwrap_coordinator(kek)
    };
    let mut keys = unwrap(&row.key_object)?;
    for older in query.key_versions(&row.id)? {
        keys.merge(unwrap(&older.key_object)?)?;
    }
    bury(&mut keys, query)?;
    Ok(keys)
}

/// What was destroyed opens nothing, wherever the keys come from; a bundle may still have it.
pub(super) fn bury(keys: &mut VaultKeys, query: &Query<'_>) -> Result<()> {
    for row in query.destroyed_keys(&keys.vault())? {
        keys.bury(KeyRemains::from_bytes(&row.remains)?)?;
    }
    Ok(())
}

/// The same for whoever reads and writes. What was wrapped under a KEK that this member is about to
/// take opens in a moment, and is not wrong.
fn keys_at_hand(query: &Query<'_>, row: &VaultRow, kek: &Kek) -> Result<VaultKeys> {
    all_keys(query, row, kek).map_err(|error| match in_use(query) {
        Ok(Some(now)) if now.id != *kek.id.as_bytes() => {
            let message = format!("the KEK that opens the keys of `{}` is not here", row.name);
            Error::new(Code::KekUnavailable, message).cause(error)
        }
        _ => error,
    })
}

/// Anybody may write a number into what he stores: no key is opened for one that nobody made.
fn keys_up_to(
    query: &Query<'_>,
    (vault, version): (&VaultId, u32),
    kek: &Kek,
) -> Result<Option<VaultKeys>> {
    let row = query.vault(vault)?;
    match version <= row.key_version {
        true => keys_at_hand(query, &row, kek).map(Some),
        false => Ok(None),
    }
}

/// The id-key that an agent uses in a vault, and the number by which records name its scope.
pub(crate) fn id_key(
    custody: &VaultCustody,
    vault: &VaultRow,
    agent: &holdfast_common::AgentId,
) -> (IdKey, u8) {
    let keys = custody.keys();
    match vault.sharing {
        Sharing::Agent => (keys.id().for_agent(agent), 1),
        Sharing::Vault => (keys.id().shared(), 2),
    }
}

impl VaultCustody {
    pub(crate) fn new(keys: VaultKeys, entropy: Arc<dyn Entropy>) -> Self {
        let keys = RwLock::new(Arc::new(keys));
        Self { keys, again: None, entropy, opened: Mutex::default() }
    }

    pub(crate) fn keys(&self) -> Arc<VaultKeys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn renew(&self, version: u32) -> Result<()> {
        let Some(again) = &self.again else { return Ok(()) };
        let Some(keys) = again(version)? else { return Ok(()) };
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Ok(())
    }

    /// Wipes these versions, and whatever they opened.
    fn forget(&self, destroyed: &[DestroyedKeyRow]) -> Result<()> {
        let keys = self.keys();
        if destroyed.iter().all(|row| keys.is_destroyed(row.version)) {
            return Ok(());
        }
        let remains = destroyed.iter().map(|row| KeyRemains::from_bytes(&row.remains));
        let left = keys.without(remains.collect::<Result<Vec<_>>>()?)?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(left);
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).clear();
        tracing::info!(vault = %keys.vault(), "a destroyed version of the keys left memory");
        Ok(())
    }

    /// The keys with this version, if the ledger has it by now.
    fn keys_with(&self, version: u32) -> Result<Arc<VaultKeys>> {
        if self.keys().newest() < version {
            self.renew(version)?;
        }
        Ok(self.keys())
    }

    /// The key of one chunk that was sealed in the session of this capsule.
    pub(crate) fn chunk_key(
        &self,
        capsule: &[u8],
        kind: ChunkKind,
        id: &ChunkId,
    ) -> Result<ChunkKey> {
        let capsule = Capsule::from_bytes(capsule)?;
        Ok(self.data_key(&capsule)?.chunk_key(kind, id))
    }

    fn data_key(&self, capsule: &Capsule) -> Result<Arc<DataKey>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = opened.get(&capsule.id()) {
            return Ok(key.clone());
        }
        let key = Arc::new(self.keys_with(capsule.vault_key_version())?.open(capsule)?);
        if opened.len() >= DATA_KEYS_KEPT {
            opened.clear();
        }
        opened.insert(capsule.id(), key.clone());
        Ok(key)
    }
}

impl FooterOpener for VaultCustody {
    fn open_footer(&self, version: u32, digest: &[u8; 32], sealed: &[u8]) -> Result<Vec<u8>> {
        self.keys_with(version)?.index_private(version)?.open_footer(digest, sealed)
    }
}

impl FooterSealer for VaultCustody {
    fn seal_footer(&self, digest: &[u8; 32], plaintext: &[u8]) -> Result<(u32, Vec<u8>)> {
        let newest = self.keys().newest();
        SealingTo { custody: self, version: newest }.seal_footer(digest, plaintext)
    }
}

/// Seals footers to one version: what is made of packs of a version needs no other one.
pub(crate) struct SealingTo<'a> {
    pub(crate) custody: &'a VaultCustody,
    pub(crate) version: u32,
}

impl FooterSealer for SealingTo<'_> {
    fn seal_footer(&self, digest: &[u8; 32], plaintext: &[u8]) -> Result<(u32, Vec<u8>)> {
        let keys = self.custody.keys();
        let index = keys.index_public(self.version)?;
        let sealed = index.seal_footer(digest, plaintext, self.custody.entropy.as_ref())?;
        Ok((index.version, sealed))
    }
}

impl SegmentSealer for VaultCustody {
    fn seal_segment(&self, segment: &SegmentId, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>> {
        let key = self.keys().coordinator().segment_key(segment);
        Ok(aead::seal(key.expose(), aad, plaintext, self.entropy.as_ref()))
    }
}

impl SegmentOpener for VaultCustody {
    fn open_segment(&self, segment: &SegmentId, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
        let key = self.keys().coordinator().segment_key(segment);
        aead::open(key.expose(), aad, sealed)
    }
}

/// Refuses what only an operator's key can do.
pub(crate) fn insist_on_custody(vault: &VaultRow) -> Result<()> {
    match vault.custody {
        holdfast_ledger::row::Custody::Coordinator => Ok(()),
        holdfast_ledger::row::Custody::Operator => Err(Error::new(
            Code::KeyCustodyRefused,
            format!("coordinators hold no key that opens the vault `{}`", vault.name),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{Crowd, VAULT, name, vault};
    use holdfast_common::{Secret, SystemEntropy, Timestamp};
    use holdfast_ledger::row::KekRow;

    const NEWEST: u32 = 1;

    fn kek() -> Kek {
        Kek::from_secret(Secret::random(&SystemEntropy))
    }

    /// A ledger with a vault under this KEK, and the one that is in use.
    fn crowd(wrapped: &Kek, in_use: &Kek) -> Crowd {
        let keys = VaultKeys::generate(VAULT, &SystemEntropy);
        let object = KeyObject::wrap(&keys, NEWEST, wrapped, 1, None, &SystemEntropy).unwrap();
        let mut crowd = Crowd::default();
        let key_object = object.to_bytes().into();
        crowd.put(&VaultRow { key_version: NEWEST, key_object, ..vault() });
        let (id, since) = (*in_use.id.as_bytes(), Timestamp::ZERO);
        crowd.put(&KekRow { id, source: None, since, until: None, derivation: None });
        crowd
    }

    fn opened(crowd: Crowd, version: u32, hand: &Kek) -> Result<Option<u32>> {
        let found = crowd.ask(|query| keys_up_to(&query, (&VAULT, version), hand))?;
        Ok(found.map(|keys| keys.newest()))
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_provider_refused_a_moment_ago_is_not_asked_for_by_every_backup() {
        let source = KekSource::Env("KEK".to_owned());
        let custodian = Custodian::new(kek(), source, Arc::new(SystemEntropy));
        assert_eq!(custodian.refused_lately(&[1; 16]), None);
        let refusal = Error::new(Code::KekDenied, "no");
        custodian.note_refused([1; 16], Duration::from_secs(5), refusal.clone());
        assert_eq!(custodian.refused_lately(&[1; 16]), Some(refusal));
        assert_eq!(custodian.refused_lately(&[2; 16]), None, "another one was not refused");
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(custodian.refused_lately(&[1; 16]), None);
    }

    #[test]
    fn keys_under_a_kek_that_is_about_to_come_are_asked_for_again() {
        let (old, new) = (kek(), kek());
        let error = opened(crowd(&new, &new), NEWEST, &old).unwrap_err();
        assert_eq!(error.code, Code::KekUnavailable, "{error}");
        assert_eq!(opened(crowd(&new, &new), NEWEST, &new).unwrap(), Some(NEWEST));
        // Nobody is about to bring another.
        let error = opened(crowd(&new, &old), NEWEST, &old).unwrap_err();
        assert_eq!(error.code, Code::KeyWrong, "{error}");
    }

    #[test]
    fn a_destroyed_version_leaves_memory_with_all_that_it_opened_whether_or_not_the_kek_is_here() {
        let (kek, entropy) = (kek(), SystemEntropy);
        let mut keys = VaultKeys::generate(VAULT, &entropy);
        keys.rotate(2, &entropy).unwrap();
        let first = KeyObject::wrap(&keys, 1, &kek, 1, None, &entropy).unwrap();
        let capsules = [1, 2].map(|version| keys.public(version).unwrap().encapsulate(&entropy));
        let [first_capsule, second_capsule] = capsules.map(|made| made.unwrap().1.to_bytes());
        let opens = |custody: &VaultCustody, capsule: &[u8]| {
            let chunk = ChunkId::from_bytes([1; 32]);
            custody.chunk_key(capsule, ChunkKind::Data, &chunk).map(drop)
        };
        // The KEK of now is not here.
        let again = |_: u32| Err(Error::new(Code::KekUnavailable, "not here"));
        let custody = VaultCustody::new(keys, Arc::new(entropy));
        let custody = Arc::new(VaultCustody { again: Some(Box::new(again)), ..custody });
        opens(&custody, &first_capsule).unwrap();
        let source = KekSource::Env("KEK".to_owned());
        let custodian = Custodian::new(self::kek(), source, Arc::new(SystemEntropy));
        custodian.vaults.lock().unwrap().insert(VAULT, custody.clone());
        let mut crowd = Crowd::default();
        crowd.put(&DestroyedKeyRow {
            vault: VAULT,
            version: 1,
            remains: KeyRemains::of(&first).to_bytes().into(),
            made: Timestamp::ZERO,
            retired: Timestamp::ZERO,
            destroyed: Timestamp::ZERO,
            asked_by: name("alice"),
            agreed_by: name("bob"),
            points: 0,
            closed_at: None,
            at: 1,
        });
        crowd.ask(|query| custodian.forget_destroyed(&query)).unwrap();
        let error = opens(&custody, &first_capsule).unwrap_err();
        assert_eq!(error.code, Code::KeyDestroyed, "{error}");
        opens(&custody, &second_capsule).unwrap();
    }

    #[test]
    fn no_key_is_opened_for_a_version_that_nobody_made() {
        let kek = kek();
        assert_eq!(opened(crowd(&kek, &kek), 99_999_999, &kek).unwrap(), None);
        assert_eq!(opened(crowd(&kek, &kek), NEWEST, &kek).unwrap(), Some(NEWEST));
    }
}
