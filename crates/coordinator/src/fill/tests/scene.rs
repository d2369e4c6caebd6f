//! Locations of a vault in memory, some of which go away, and objects of every kind in them.

use super::super::{
    Filled, Mended, Own, Pace, Progress, Told, filling::Filling, keys::Put, sealed::LedgerKeys,
};
use crate::{
    budget::Budget,
    crowd::{VAULT, id, vault},
    keys::custody::VaultCustody,
    places::Place,
    region::{Claim, Epoch},
    shipped::ship,
    shipped::snapshot::{PartHead, seal},
};
use bytes::Bytes;
use holdfast_common::{
    AgentId, ChunkId, ClusterId, Code, Error, Name, PackId, PointId, Result, RunId, Secret,
    SegmentId, SystemClock, SystemEntropy, Timestamp, VaultId, limits,
};
use holdfast_keyring::{
    ClusterKeyObject, ClusterRecoveryKey, Kek, KekId, KeyObject, KeyRemains, VaultKeys,
    identity::IdentityKey,
};
use holdfast_ledger::{
    Batch, MemoryKv, Query, Row, StateKv,
    row::{AgentRow, AgentState, DestroyedKeyRow, VaultRow},
    tables::full_key,
};
use holdfast_repository::{
    ChunkNumber, ChunkParameters, PointObject, PointRecord, PointState, Reach, VaultObject,
    layout::ObjectName, segment::SegmentBuilder,
};
use holdfast_runtime::tasks::Tasks;
use holdfast_storage::{
    Keeps, MemoryStore, ObjectMeta, ObjectPrefix, ObjectStore, Pending, Probe, Receipt, name,
};
use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

pub(super) type Object = (ObjectName, Bytes);

pub(super) struct Scene {
    pub(super) vault: VaultRow,
    pub(super) kv: MemoryKv,
    pub(super) custody: Arc<VaultCustody>,
    pub(super) ledger: Arc<LedgerKeys>,
    pub(super) budget: Budget,
    pub(super) tasks: Tasks,
    pub(super) is_superseded: bool,
    pub(super) told: Mutex<Vec<Progress>>,
    pub(super) pace: Pace,
}

impl Scene {
    pub(super) fn new() -> Self {
        let keys = VaultKeys::generate(VAULT, &SystemEntropy);
        Self {
            vault: vault(),
            kv: MemoryKv::default(),
            custody: Arc::new(VaultCustody::new(keys, Arc::new(SystemEntropy))),
            ledger: Arc::new(LedgerKeys::new(CLUSTER, &recovery_key(), (Vec::new(), Vec::new()))),
            budget: Budget::new(limits::READ_BUDGET_BYTES),
            tasks: Tasks::new("test"),
            is_superseded: false,
            told: Mutex::default(),
            pace: Pace::none(),
        }
    }

    pub(super) fn query(&self) -> Query<'_> {
        Query::over(&self.kv)
    }

    /// The ledger knows this.
    pub(super) fn know<R: Row>(&self, row: &R) {
        let mut batch = Batch::default();
        let bytes = holdfast_common::record::to_bytes(row);
        batch.changes.insert(full_key(R::TABLE, &row.key()), Some(bytes));
        self.kv.write(batch).unwrap();
    }

    /// A version of the keys was destroyed, which had this pair.
    pub(super) fn destroy(&mut self, (_, keys): &Object) {
        let keys = KeyObject::from_bytes(keys).unwrap();
        let called = || "admin".parse().unwrap();
        self.know(&DestroyedKeyRow {
            vault: VAULT,
            version: keys.version(),
            remains: KeyRemains::of(&keys).to_bytes().into(),
            made: Timestamp::ZERO,
            retired: Timestamp::ZERO,
            destroyed: Timestamp::ZERO,
            asked_by: called(),
            agreed_by: called(),
            points: 0,
            closed_at: None,
            at: 1,
        });
        let versions = (Vec::new(), vec![keys.public()]);
        self.ledger = Arc::new(LedgerKeys::new(CLUSTER, &recovery_key(), versions));
    }

    pub(super) async fn fill(&self, from: &[Place], to: &Place) -> Result<Filled> {
        let told = |progress| self.told.lock().unwrap().push(progress);
        self.with(from, to, &told, &|| self.insist()).everything().await
    }

    pub(super) async fn copy(
        &self,
        from: &[Place],
        to: &Place,
        names: &[ObjectName],
    ) -> Result<Filled> {
        self.with(from, to, &|_| (), &|| self.insist()).named(names).await
    }

    /// What mending comes to of an object of this length that is said to have this problem.
    pub(super) async fn mend(
        &self,
        (from, to): (&[Place], &Place),
        (name, problem): (&ObjectName, &str),
    ) -> Result<Option<Mended>> {
        let own = Own { name: name.clone(), there: Some(1) };
        self.with(from, to, &|_| (), &|| self.insist()).mend(&own, problem, None).await
    }

    /// Brings the keys that the ledger has.
    pub(super) async fn bring_keys(&self, to: &Place) -> Result<Vec<(ObjectName, Put)>> {
        self.with(&[], to, &|_| (), &|| self.insist()).keys().await
    }

    /// Whether all keys of a place are known, or lie in others.
    pub(super) async fn insist_on_known_keys(&self, from: &[Place], to: &Place) -> Result<()> {
        self.with(from, to, &|_| (), &|| self.insist()).insist_on_known_keys().await
    }

    fn with<'a>(
        &'a self,
        from: &'a [Place],
        to: &'a Place,
        told: Told<'a>,
        insist: &'a (dyn Fn() -> Result<()> + Send + Sync),
    ) -> Filling<'a> {
        let (query, vault, custody) = (self.query(), &self.vault, self.custody.clone());
        let (budget, tasks, ledger) = (&self.budget, &self.tasks, self.ledger.clone());
        let pace = &self.pace;
        Filling { query, vault, custody, ledger, from, to, pace, budget, tasks, insist, told }
    }

    fn insist(&self) -> Result<()> {
        if self.is_superseded {
            return Err(Error::new(Code::EpochSuperseded, "superseded"));
        }
        Ok(())
    }

    /// One of each kind that a location holds, but for the vault's own.
    pub(super) fn one_of_each(&self) -> Vec<Object> {
        let entropy = &SystemEntropy;
        let segment = SegmentId::random(entropy);
        let table = SegmentBuilder::new(VAULT, segment).build();
        let table = table.to_object(self.custody.as_ref()).unwrap();
        let point = self.point(&IdentityKey::generate(entropy), 3);
        let reach = self.reach(3, 7);
        vec![
            cluster_key(b"wrapped"),
            extent(7),
            snapshot_part(7),
            epoch(2),
            self.keys(1),
            (ObjectName::segment(&segment), table.into()),
            pack(1),
            point,
            reach,
        ]
    }

    /// The vault's keys under a KEK that is forgotten at once.
    pub(super) fn keys(&self, kek_version: u32) -> Object {
        let entropy = &SystemEntropy;
        let kek = Kek::from_secret(Secret::random(entropy));
        let object = KeyObject::wrap(&self.custody.keys(), 1, &kek, kek_version, None, entropy);
        (ObjectName::keys(1, kek_version).unwrap(), object.unwrap().to_bytes().into())
    }

    /// A further version of them, made anew by each who asks.
    pub(super) fn rotated(&self, version: u32) -> Object {
        let entropy = &SystemEntropy;
        let kek = Kek::from_secret(Secret::random(entropy));
        let first = KeyObject::wrap(&self.custody.keys(), 1, &kek, 1, None, entropy).unwrap();
        let mut keys = first.unwrap_coordinator(&kek).unwrap();
        keys.rotate(version, entropy).unwrap();
        let object = KeyObject::wrap(&keys, version, &kek, 1, None, entropy).unwrap();
        (ObjectName::keys(version, 1).unwrap(), object.to_bytes().into())
    }

    pub(super) fn reach(&self, point: u64, number: u64) -> Object {
        let (mut reach, point) = (Reach::new(), PointId::from_bytes(id(point)));
        reach.insert(ChunkNumber::from_u64(number));
        (ObjectName::reach(&point), reach.to_object(&VAULT, &point).unwrap().into())
    }

    /// Of agent 1, signed with this key.
    pub(super) fn point(&self, key: &IdentityKey, number: u64) -> Object {
        let point = PointId::from_bytes(id(number));
        let record = PointRecord {
            format: Default::default(),
            point,
            vault: VAULT,
            agent: AgentId::from_bytes([1; 16]),
            run: RunId::from_bytes(id(number)),
            policy: None,
            source: "files:/srv".to_owned(),
            started: Timestamp::ZERO,
            ended: Timestamp::ZERO,
            root: ChunkId::from_bytes([5; 32]),
            height: 1,
            entries: 17,
            bytes: 1,
            previous: None,
            state: PointState::Complete,
            chunk_profile: Default::default(),
            id_key_scope: holdfast_repository::IdKeyScope::Agent,
            skipped: 0,
            inline_packs: Vec::new(),
            skipped_page: None,
        };
        let bytes = record.to_bytes();
        let signature = key.sign_point(&bytes);
        let object = PointObject::new(bytes.into(), signature, Vec::new()).unwrap();
        (ObjectName::point(&point), object.to_object().into())
    }
}

const CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);

fn recovery_key() -> ClusterRecoveryKey {
    ClusterRecoveryKey::from_secret(Secret::take(&mut [9; 32]))
}

pub(super) fn cluster_key(wrapped: &[u8]) -> Object {
    let kek = KekId::from_bytes([1; 16]);
    let object = ClusterKeyObject::new(CLUSTER, kek, wrapped, None);
    (ObjectName::cluster_key(kek.as_bytes()), object.to_bytes().into())
}

/// One entry without a command, as `ship` puts it.
pub(super) fn extent(from: u8) -> Object {
    let entry = [b"\xa1\x00\xa3\x00\x03\x01\x01\x02".as_slice(), &[from]].concat();
    let header = ship::header(&CLUSTER, 1, from.into(), from.into());
    let sealed = ship::sealed(&recovery_key().log_key(), header, &entry, &SystemEntropy);
    (ObjectName::log(1, from.into()), sealed.into())
}

pub(super) fn snapshot_part(index: u64) -> Object {
    let head = PartHead { cluster: CLUSTER, epoch: 1, index, part: 0, parts: 1 };
    let sealed = seal(&recovery_key().snapshot_key(), head, b"a piece", &SystemEntropy);
    (ObjectName::snapshot(1, index, 0), sealed)
}

pub(super) fn epoch(number: u64) -> Object {
    let name: Name = "dr".parse().unwrap();
    let claim = Claim {
        epoch: Epoch { number, regions: vec![name.clone()], member: 4, applied: 98 },
        base_term: 3,
        base: 99,
        time: Timestamp::ZERO,
        operator: "admin".to_owned(),
        reason: None,
        name: name.clone(),
        region: name,
        taken: None,
    };
    let sealed = claim.seal(&CLUSTER, &recovery_key().epoch_key(), &SystemEntropy);
    (ObjectName::epoch(number), sealed.into())
}

pub(super) fn agent(key: &IdentityKey) -> AgentRow {
    AgentRow {
        id: AgentId::from_bytes([1; 16]),
        name: "host-1".parse().unwrap(),
        labels: BTreeMap::new(),
        identity_public: *key.public().as_bytes(),
        state: AgentState::Enrolled,
        serial: 1,
        not_after: Timestamp::ZERO,
        enrolled: Timestamp::ZERO,
        returns: 0,
        duty: None,
    }
}

/// An object that is named by its hash; what is in it nobody asks.
pub(super) fn pack(number: u64) -> Object {
    let bytes = Bytes::from([number.to_le_bytes().as_slice(), &[9; 100]].concat());
    let id = PackId::from_bytes(blake3::hash(&bytes).into());
    (ObjectName::pack(&id), bytes)
}

pub(super) async fn place(called: &str) -> Place {
    of(called, Arc::new(MemoryStore::new(Arc::new(SystemClock::start())))).await
}

/// A location that holds the vault and nothing else.
pub(super) async fn of(called: &str, store: Arc<dyn ObjectStore>) -> Place {
    put(&store, &vault_object(VAULT)).await;
    (called.parse().unwrap(), store)
}

pub(super) fn vault_object(id: VaultId) -> Object {
    let created = Timestamp::ZERO;
    let object = VaultObject { id, created, chunks: ChunkParameters::default() };
    (ObjectName::vault(), object.to_bytes().into())
}

pub(super) fn stored(name: &ObjectName) -> name::ObjectName {
    name.as_str().parse().unwrap()
}

pub(super) async fn put(store: &Arc<dyn ObjectStore>, (name, bytes): &Object) {
    store.put_new(&stored(name), bytes.clone()).await.unwrap();
}

pub(super) async fn put_all(place: &Place, objects: &[Object]) {
    for object in objects {
        put(&place.1, object).await;
    }
}

/// Other bytes under the name of an object.
pub(super) async fn spoil((_, store): &Place, name: &ObjectName, bytes: &[u8]) {
    store.replace(&stored(name), Bytes::copy_from_slice(bytes)).await.unwrap();
}

/// Whatever lies there, by its name.
pub(super) async fn holds(place: &Place) -> BTreeMap<String, Bytes> {
    let (mut all, mut after) = (BTreeMap::new(), None);
    loop {
        let page = place.1.list(&ObjectPrefix::all(), after.as_ref(), 1000).await.unwrap();
        let Some(last) = page.last() else { return all };
        after = Some(last.name.clone());
        for meta in &page {
            let bytes = place.1.get(&meta.name, limits::REACH_BYTES_MAX).await.unwrap();
            all.insert(meta.name.to_string(), bytes);
        }
    }
}

/// A location that goes away when it was asked so often, and a measure of how many ask at once.
#[derive(Debug)]
pub(super) struct Leaving {
    inner: MemoryStore,
    left: AtomicUsize,
    /// An empty directory stays where it was.
    leaves_nothing: bool,
    /// Listings show nothing of what is there.
    is_hidden: AtomicBool,
    busy: AtomicUsize,
    pub(super) busiest: AtomicUsize,
}

impl Leaving {
    pub(super) fn after(calls: usize, leaves_nothing: bool) -> Arc<Self> {
        let inner = MemoryStore::new(Arc::new(SystemClock::start()));
        let (left, busy) = (AtomicUsize::new(usize::MAX), AtomicUsize::new(0));
        let (is_hidden, busiest) = (AtomicBool::new(false), AtomicUsize::new(0));
        let store = Arc::new(Self { inner, left, leaves_nothing, is_hidden, busy, busiest });
        store.left.store(calls, SeqCst);
        store
    }

    pub(super) fn allow(&self, calls: usize) {
        self.left.store(calls, SeqCst);
    }

    /// From now on a listing is from before anything came.
    pub(super) fn hide(&self) {
        self.is_hidden.store(true, SeqCst);
    }

    fn is_here(&self) -> bool {
        self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    fn gone<T>(&self, empty: Result<T>) -> Result<T> {
        let broken = || Error::new(Code::LocationIoFailed, "the line is dead");
        if self.leaves_nothing { empty } else { Err(broken()) }
    }

    async fn measured<T>(&self, call: Pending<'_, T>) -> Result<T> {
        self.busiest.fetch_max(self.busy.fetch_add(1, SeqCst) + 1, SeqCst);
        tokio::time::sleep(Duration::from_millis(1)).await;
        let ended = call.await;
        self.busy.fetch_sub(1, SeqCst);
        ended
    }
}

impl ObjectStore for Leaving {
    fn put_new<'a>(&'a self, name: &'a name::ObjectName, bytes: Bytes) -> Pending<'a, Receipt> {
        if !self.is_here() {
            return Box::pin(async { Err(Error::new(Code::LocationIoFailed, "it is not there")) });
        }
        self.inner.put_new(name, bytes)
    }

    fn replace<'a>(&'a self, name: &'a name::ObjectName, bytes: Bytes) -> Pending<'a, ()> {
        self.inner.replace(name, bytes)
    }

    fn get<'a>(&'a self, name: &'a name::ObjectName, bytes_max: usize) -> Pending<'a, Bytes> {
        if self.is_here() {
            return Box::pin(self.measured(self.inner.get(name, bytes_max)));
        }
        let missing = Err(Error::new(Code::ObjectMissing, "missing"));
        Box::pin(async move { self.gone(missing) })
    }

    fn get_range<'a>(
        &'a self,
        name: &'a name::ObjectName,
        range: Range<u64>,
    ) -> Pending<'a, Bytes> {
        self.inner.get_range(name, range)
    }

    fn head<'a>(&'a self, name: &'a name::ObjectName) -> Pending<'a, Option<ObjectMeta>> {
        if self.is_here() {
            return self.inner.head(name);
        }
        Box::pin(async move { self.gone(Ok(None)) })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a ObjectPrefix,
        after: Option<&'a name::ObjectName>,
        limit: usize,
    ) -> Pending<'a, Vec<ObjectMeta>> {
        if self.is_hidden.load(SeqCst) {
            return Box::pin(async { Ok(Vec::new()) });
        }
        if self.is_here() {
            return self.inner.list(prefix, after, limit);
        }
        Box::pin(async move { self.gone(Ok(Vec::new())) })
    }

    fn delete<'a>(&'a self, name: &'a name::ObjectName) -> Pending<'a, bool> {
        self.inner.delete(name)
    }

    fn keeps(&self) -> Pending<'_, Keeps> {
        self.inner.keeps()
    }

    fn probe(&self) -> Pending<'_, Probe> {
        self.inner.probe()
    }
}
