//! A host with a directory to back up, an agent's pipeline, and the double at the other end.

use crate::double::Double;
use futures::future::BoxFuture;
use holdfast_agent::CacheStore;
use holdfast_agent::line::{Connect, Line, Told};
use holdfast_agent::pipeline::{
    Backup, BackupRequest, Checkpoints, Host, Memory, Purpose, RunControl, VaultPins, back_up,
};
use holdfast_agent::restore::{
    PointReader, Progress, RestoreReport, RestoreRequest, open_online, restore,
};
use holdfast_agent::source::files::FilesOptions;
use holdfast_common::{
    AgentId, Clock, Code, Entropy, Error, PointId, Result, RunId, SystemClock, SystemEntropy,
    Timestamp,
};
use holdfast_keyring::IdentityKey;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

pub(crate) struct Scene {
    pub(crate) folder: TempDir,
    pub(crate) source: PathBuf,
    pub(crate) double: Arc<Double>,
    pub(crate) host: Arc<Host>,
    pub(crate) line: Arc<Line>,
    pub(crate) runtime: tokio::runtime::Runtime,
}

/// A minute ahead, so that what a test has just written is not too young to be trusted.
struct Ahead(SystemClock);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        self.0.now().plus(Duration::from_secs(60))
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

struct Plain(Arc<Double>);

impl Connect for Plain {
    fn connect(&self) -> BoxFuture<'_, Result<Channel>> {
        Box::pin(async {
            let address = format!("http://{}", self.0.wire.address());
            Endpoint::from_shared(address).unwrap().connect().await.map_err(|error| {
                Error::new(Code::ClusterUnreachable, "the double is away").cause(error)
            })
        })
    }
}

impl Scene {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        std::fs::create_dir(&source).unwrap();
        let agent = AgentId::from_bytes([0xa6; 16]);
        let identity = IdentityKey::generate(&SystemEntropy);
        let double = Double::start(agent, runtime.handle());
        double.enrol(identity.public());
        let clock: Arc<dyn Clock> = Arc::new(Ahead(SystemClock::start()));
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let connect = Arc::new(Plain(Arc::clone(&double)));
        let line = Line::new(connect, Arc::clone(&clock), Arc::clone(&entropy));
        let host = Arc::new(Host {
            agent,
            identity,
            cache: CacheStore::open(&folder.path().join("cache"), &*entropy).unwrap(),
            pins: VaultPins::beside(&folder.path().join("agent.key")),
            line: Arc::clone(&line),
            told: Told::beside(&folder.path().join("agent.key")),
            memory: Memory::for_process(),
            clock,
            entropy,
            handle: runtime.handle().clone(),
        });
        Self { folder, source, double, host, line, runtime }
    }

    pub(crate) fn request(&self) -> BackupRequest {
        BackupRequest {
            run: RunId::random(&SystemEntropy),
            purpose: Purpose::Backup,
            policy: None,
            files: FilesOptions { paths: vec![self.source.clone()], ..Default::default() },
            level: 1,
            bytes_per_second_max: 0,
            full: false,
            checkpoints: Checkpoints::default(),
        }
    }

    pub(crate) fn back_up(&self) -> Backup {
        back_up(&self.host, &self.request(), &RunControl::default()).unwrap()
    }

    pub(crate) fn open(&self, point: PointId) -> PointReader {
        self.try_open(point).unwrap()
    }

    pub(crate) fn try_open(&self, point: PointId) -> Result<PointReader> {
        let handle = self.runtime.handle().clone();
        open_online(Arc::clone(&self.line), handle, Arc::new(SystemEntropy), point, "restore", None)
    }

    /// Restores everything into a new directory and says where the source is in it.
    pub(crate) fn restore_all(&self, point: PointId) -> (TempDir, PathBuf, RestoreReport) {
        let target = tempfile::tempdir().unwrap();
        let report = self.restore(point, self.to_dir(target.path()));
        let inside = inside(target.path(), &self.source);
        (target, inside, report)
    }

    pub(crate) fn to_dir(&self, target: &Path) -> RestoreRequest {
        RestoreRequest { target: target.to_owned(), verify: true, ..Default::default() }
    }

    pub(crate) fn restore(&self, point: PointId, request: RestoreRequest) -> RestoreReport {
        restore(&self.open(point), &request, &Progress::default()).unwrap()
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.source.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// Where an absolute path lies in a target.
pub(crate) fn inside(target: &Path, path: &Path) -> PathBuf {
    target.join(path.strip_prefix("/").unwrap())
}

/// Bytes that do not compress and do not repeat.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}
