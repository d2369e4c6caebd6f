//! The cluster, played by one process: a vault in memory behind the services that an agent calls.

mod control;
mod ingest;
mod restore;
mod wire;

pub(crate) use control::Control;
pub(crate) use wire::Wire;

use bytes::Bytes;
use holdfast_common::{
    AgentId, ChunkId, ChunkKind, Entropy, PackId, PointId, RunId, Secret, SessionId, SystemEntropy,
    VaultId,
};
use holdfast_keyring::{
    Capsule, ChunkingKey, DataKey, IdKey, IdentityPublicKey, IndexPrivateKey, RootIdKey,
    VaultPrivateKey,
};
use holdfast_repository::PackView;
use holdfast_wire::v1;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use tonic::service::Routes;

pub(crate) const CHUNKS: v1::ChunkParameters =
    v1::ChunkParameters { min: 4096, average: 16384, max: 65536, fixed: 4096 };

pub(crate) struct Double {
    pub(crate) vault: VaultId,
    agent: AgentId,
    identity: Mutex<IdentityPublicKey>,
    vault_key: VaultPrivateKey,
    index_key: IndexPrivateKey,
    root_ids: RootIdKey,
    chunking: ChunkingKey,
    inner: Mutex<Inner>,
    pub(crate) wire: Arc<Wire>,
}

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) chunks: HashMap<(ChunkKind, ChunkId), Stored>,
    /// Packs that were put, in order.
    pub(crate) packs: Vec<(ChunkKind, PackId)>,
    pub(crate) inline_packs: Vec<ChunkKind>,
    pub(crate) points: Vec<Committed>,
    pub(crate) sessions: HashMap<SessionId, Session>,
    pub(crate) cancelled: HashSet<RunId>,
    pub(crate) begins: usize,
    pub(crate) newest: Option<PointId>,
    pub(crate) reads: HashMap<SessionId, Arc<holdfast_keyring::GrantSender>>,
    pub(crate) reads_closed: usize,
    pub(crate) faults: Faults,
}

#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) frame: Bytes,
    pub(crate) capsule: Bytes,
}

#[derive(Clone)]
pub(crate) struct Committed {
    pub(crate) point: PointId,
    pub(crate) record: Bytes,
    pub(crate) signature: Bytes,
    pub(crate) checkpoint: bool,
}

#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) run: RunId,
    pub(crate) point: PointId,
    pub(crate) previous: Option<PointId>,
}

/// What goes wrong, and when.
#[derive(Default)]
pub(crate) struct Faults {
    /// The line is cut when so many packs have arrived: before they are stored.
    pub(crate) cut_at_packs: HashSet<usize>,
    /// And after they were stored, before the answer.
    pub(crate) cut_after_packs: HashSet<usize>,
    pub(crate) packs_arrived: usize,
    /// All sessions are forgotten when so many packs have arrived.
    pub(crate) forget_at_packs: HashSet<usize>,
    /// Puts are never answered.
    pub(crate) stall_puts: bool,
    /// Offers are not answered meanwhile, so that whoever cuts comes to a stop.
    pub(crate) hold_offers: bool,
    /// Sessions are to be sealed to this key.
    pub(crate) foreign_key: Option<[u8; 32]>,
    /// The keys of chunks are those of others.
    pub(crate) wrong_keys: bool,
    /// Fetches end after so many chunks, so many times.
    pub(crate) cut_fetches: usize,
    /// So many fetches of data know every other chunk only, and of one alone nothing.
    pub(crate) loading_fetches: usize,
    /// What holds the loading up.
    pub(crate) loading_cause: Option<&'static str>,
    /// Where further copies lie nothing answers.
    pub(crate) copies_away: bool,
}

impl Double {
    pub(crate) fn start(agent: AgentId, handle: &tokio::runtime::Handle) -> Arc<Self> {
        let entropy: &dyn Entropy = &SystemEntropy;
        let vault = VaultId::random(entropy);
        let double = Arc::new(Self {
            vault,
            agent,
            identity: Mutex::new(IdentityPublicKey::from_bytes([0; 32])),
            vault_key: VaultPrivateKey::generate(vault, 1, entropy),
            index_key: IndexPrivateKey::generate(vault, 1, entropy),
            root_ids: RootIdKey::from_secret(Secret::random(entropy)),
            chunking: ChunkingKey::from_secret(Secret::random(entropy)),
            inner: Mutex::default(),
            wire: Arc::default(),
        });
        double.wire.serve(handle, double.routes());
        double
    }

    pub(crate) fn routes(self: &Arc<Self>) -> Routes {
        Routes::new(v1::ingest_server::IngestServer::new(ingest::Service(Arc::clone(self))))
            .add_service(v1::restore_server::RestoreServer::new(restore::Service(Arc::clone(self))))
    }

    pub(crate) fn enrol(&self, identity: IdentityPublicKey) {
        *self.identity.lock().unwrap() = identity;
    }

    pub(crate) fn identity(&self) -> IdentityPublicKey {
        *self.identity.lock().unwrap()
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(crate) fn ids(&self) -> IdKey {
        self.root_ids.for_agent(&self.agent)
    }

    pub(crate) fn data_key(&self, capsule: &[u8]) -> DataKey {
        self.vault_key.open(&Capsule::from_bytes(capsule).unwrap()).unwrap()
    }

    pub(crate) fn packs_of(&self, kind: ChunkKind) -> usize {
        let inner = self.inner();
        let inline = inner.inline_packs.iter().filter(|pack| **pack == kind).count();
        inline + inner.packs.iter().filter(|(pack, _)| *pack == kind).count()
    }

    /// Takes a pack in as the coordinator would: whole, and what it says it is.
    fn keep(&self, id: PackId, bytes: Bytes) -> holdfast_common::Result<ChunkKind> {
        let view = PackView::parse(&self.vault, bytes)?;
        view.verify(&id)?;
        let footer = view.open_footer(&|version: u32, digest: &[u8; 32], sealed: &[u8]| {
            assert_eq!(version, 1);
            self.index_key.open_footer(digest, sealed)
        })?;
        let mut inner = self.inner();
        for row in &footer.rows {
            let frame = Bytes::copy_from_slice(&view.frame(row)?);
            let capsule = view.capsules()[usize::from(row.capsule)].clone();
            inner.chunks.insert((view.kind(), row.id), Stored { frame, capsule });
        }
        Ok(view.kind())
    }
}
