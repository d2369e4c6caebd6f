//! A vault in a memory store, the rows that a ledger would have of it, and how its index loads.

use crate::{
    budget::{Budget, Share},
    catalog::{
        Catalog, Outlet,
        load::{Loader, Truth},
    },
    keys::custody::VaultCustody,
    places::Place,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use holdfast_common::{
    AgentId, ChunkId, ChunkKind, Entropy, Error, PackId, Result, SegmentId, SessionId, SystemClock,
    SystemEntropy, VaultId, limits,
};
use holdfast_keyring::VaultKeys;
use holdfast_ledger::row::{PackHome, PackRow, PackState, SegmentRow};
use holdfast_repository::{PackBuilder, PackView, layout, pack::Footer};
use holdfast_runtime::tasks::Tasks;
use holdfast_storage::{
    MemoryStore, ObjectStore,
    layers::unreliable::{Faults, Unreliable},
};
use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

pub(super) const VAULT: VaultId = VaultId::from_bytes([0xaa; 16]);

/// What survives a restart.
pub(super) struct Vaulted {
    pub(super) directory: tempfile::TempDir,
    pub(super) custody: Arc<VaultCustody>,
    pub(super) store: Arc<dyn ObjectStore>,
    /// The way of segments into it.
    pub(super) shore: Arc<dyn ObjectStore>,
    pub(super) packs: Mutex<Vec<(PackRow, Footer)>>,
    pub(super) segments: Mutex<Vec<SegmentRow>>,
    pub(super) is_down: AtomicBool,
    /// Segments that were put into the location.
    pub(super) settled: AtomicUsize,
    /// What the loader was given of the process's memory.
    pub(super) budget: Arc<Budget>,
    serial: AtomicUsize,
}

impl Vaulted {
    pub(super) fn new() -> Arc<Self> {
        let entropy = Arc::new(SystemEntropy);
        let keys = VaultKeys::generate(VAULT, entropy.as_ref());
        let store = Arc::new(MemoryStore::new(Arc::new(SystemClock::start())));
        Arc::new(Self {
            directory: tempfile::tempdir().unwrap(),
            custody: Arc::new(VaultCustody::new(keys, entropy)),
            shore: store.clone(),
            store,
            packs: Mutex::default(),
            segments: Mutex::default(),
            is_down: AtomicBool::new(false),
            settled: AtomicUsize::new(0),
            budget: Arc::new(Budget::new(128 * limits::MIB)),
            serial: AtomicUsize::new(0),
        })
    }

    /// A pack with these chunks, stored; the index is not told.
    pub(super) async fn store(&self, chunks: &[ChunkId]) -> (PackRow, Footer) {
        let serial = self.serial.fetch_add(1, Relaxed);
        let mut builder = PackBuilder::new(VAULT, ChunkKind::Data);
        let capsule = builder.add_capsule(&serial.to_le_bytes()).unwrap();
        for chunk in chunks {
            builder.push(*chunk, capsule, &[0xf1; 40]).unwrap();
        }
        let keys = self.custody.keys();
        let index = keys.index_public(keys.newest()).unwrap();
        let seal = |digest: &[u8; 32], plain: &[u8]| {
            Ok((index.version, index.seal_footer(digest, plain, &SystemEntropy)?))
        };
        let pack = builder.finish(&seal).unwrap();
        let name = layout::ObjectName::pack(&pack.id).as_str().parse().unwrap();
        self.store.put_new(&name, pack.bytes.clone()).await.unwrap();
        let view = PackView::parse(&VAULT, pack.bytes.clone()).unwrap();
        let row = PackRow {
            condemned: None,
            live: None,
            taken: None,
            into: None,
            sealed_to: None,
            doomed: None,
            id: pack.id,
            vault: VAULT,
            kind: 1,
            base: serial as u64 * limits::PACK_SLOTS_MAX as u64,
            slots: chunks.len() as u32,
            length: pack.bytes.len() as u32,
            writer: AgentId::from_bytes([1; 16]),
            session: SessionId::from_bytes([1; 16]),
            state: PackState::Stored,
            home: PackHome::Object,
            digest: *view.digest(),
        };
        let footer = view.open_footer(self.custody.as_ref()).unwrap();
        let mut packs = self.packs.lock().unwrap();
        packs.push((row.clone(), footer.clone()));
        packs.sort_by_key(|(row, _)| row.id);
        (row, footer)
    }

    pub(super) fn loader(self: &Arc<Self>, catalog: &Arc<Catalog>) -> Loader {
        let truth = Told { vault: self.clone(), catalog: catalog.clone() };
        Loader {
            catalog: catalog.clone(),
            custody: self.custody.clone(),
            tasks: Tasks::new("test"),
            clock: Arc::new(SystemClock::start()),
            entropy: Arc::new(SystemEntropy),
            truth: Arc::new(truth),
            down: Mutex::default(),
        }
    }

    /// Loads to the end, which must come.
    pub(super) async fn load(self: &Arc<Self>, catalog: &Arc<Catalog>) {
        let loader = self.loader(catalog);
        tokio::time::timeout(LONG, loader.load()).await.expect("a load that ends");
    }

    pub(super) fn restart(&self) -> Arc<Catalog> {
        Arc::new(Catalog::new(VAULT, self.directory.path()))
    }

    pub(super) async fn settle(&self, catalog: &Arc<Catalog>) -> Result<()> {
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        catalog.settle(&self.custody, &entropy, &Tasks::new("test"), self).await?;
        catalog.merge(&SystemEntropy, &|| false)
    }

    /// Takes an object away, and puts other bytes in its place when there are any.
    pub(super) async fn replace(&self, name: &str, bytes: Option<Vec<u8>>) {
        let name = name.parse().unwrap();
        self.store.delete(&name).await.unwrap();
        if let Some(bytes) = bytes {
            self.store.put_new(&name, bytes.into()).await.unwrap();
        }
    }

    pub(super) fn files(&self) -> Vec<PathBuf> {
        let directory = self.directory.path().join(VAULT.to_string());
        let listed = std::fs::read_dir(directory).into_iter().flatten();
        let mut files: Vec<_> = listed.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }
}

impl Outlet for Vaulted {
    fn ship(&self, segment: SegmentRow, object: Bytes) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let name = layout::ObjectName::segment(&segment.id).as_str().parse()?;
            self.shore.put_new(&name, object).await?;
            let mut segments = self.segments.lock().unwrap();
            match segments.binary_search_by_key(&segment.id, |row| row.id) {
                Ok(at) => assert_eq!(segments[at], segment, "what is shipped again is the same"),
                Err(at) => segments.insert(at, segment),
            }
            self.settled.fetch_add(1, Relaxed);
            Ok(())
        })
    }
}

struct Told {
    vault: Arc<Vaulted>,
    catalog: Arc<Catalog>,
}

impl Truth for Told {
    fn packs(&self, after: Option<&PackId>) -> Result<Vec<PackRow>> {
        let packs = self.vault.packs.lock().unwrap();
        let later = packs.iter().filter(|(row, _)| after.is_none_or(|after| row.id > *after));
        Ok(later.take(PAGE).map(|(row, _)| row.clone()).collect())
    }

    fn segments(&self, after: Option<&SegmentId>) -> Result<Vec<SegmentRow>> {
        let segments = self.vault.segments.lock().unwrap();
        let later = segments.iter().filter(|row| after.is_none_or(|after| row.id > *after));
        Ok(later.take(PAGE).cloned().collect())
    }

    fn places(&self) -> BoxFuture<'_, Result<(Vec<Place>, Option<Error>)>> {
        let mut store = self.vault.store.clone();
        if self.vault.is_down.load(Relaxed) {
            let faults = Faults { fail_before_permille: 1000, ..Faults::NONE };
            store = Arc::new(Unreliable::new(store, faults, 7));
        }
        Box::pin(async move { Ok((vec![("main".parse()?, store)], None)) })
    }

    fn reserve(&self, bytes: usize) -> BoxFuture<'_, Result<Share>> {
        Box::pin(self.vault.budget.reserve(bytes))
    }

    fn try_reserve(&self, bytes: usize) -> Option<Share> {
        self.vault.budget.try_reserve(bytes)
    }

    fn settle(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.vault.settle(&self.catalog))
    }
}

pub(super) fn chunk(number: u64) -> ChunkId {
    ChunkId::from_bytes(blake3::hash(&number.to_le_bytes()).into())
}

/// Runs with a clock that goes as fast as nothing else is to be done.
pub(super) fn run<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap().block_on(work)
}

pub(super) const LONG: Duration = Duration::from_secs(3600);
const PAGE: usize = 7;
