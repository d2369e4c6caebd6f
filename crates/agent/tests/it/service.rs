//! The agent's process: it joins, attaches, works, stays enrolled, and ends in time.

use crate::double::{Control, Double};
use crate::scene::noise;
use holdfast_agent::join::{JoinOptions, join};
use holdfast_agent::options::AgentConfig;
use holdfast_agent::service::serve;
use holdfast_common::{AgentId, Clock, Code, Entropy, Result, RunId, SystemClock, SystemEntropy};
use holdfast_runtime::pki::Validity;
use holdfast_wire::v1::agent_order::Order;
use holdfast_wire::v1::{self, agent_report::Report};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const AGENT: AgentId = AgentId::from_bytes([0xa6; 16]);

struct Agent {
    folder: TempDir,
    config: AgentConfig,
}

struct Serving {
    stop: CancellationToken,
    served: JoinHandle<Result<()>>,
}

async fn cluster() -> Arc<Control> {
    let handle = tokio::runtime::Handle::current();
    let start = move || Double::start(AGENT, &handle);
    let double = tokio::task::spawn_blocking(start).await.unwrap();
    Control::start(double, AGENT).await
}

async fn joined(control: &Control) -> Agent {
    let folder = tempfile::tempdir().unwrap();
    let config = join(JoinOptions {
        coordinator: control.address.to_string(),
        token: control.token(),
        dir: folder.path().join("agent"),
        name: Some("pacs-1".parse().unwrap()),
    });
    Agent { config: config.await.unwrap(), folder }
}

async fn serving(agent: &Agent) -> Serving {
    let (tell, ready) = oneshot::channel();
    let stop = CancellationToken::new();
    let (config, token) = (agent.config.clone(), stop.clone());
    let served =
        tokio::spawn(
            async move { serve(config, token, move |_: &str| tell.send(()).unwrap()).await },
        );
    tokio::time::timeout(Duration::from_secs(20), ready).await.unwrap().unwrap();
    Serving { stop, served }
}

impl Serving {
    async fn end(self) {
        let begun = Instant::now();
        self.stop.cancel();
        self.served.await.unwrap().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(10), "the drain took {:?}", begun.elapsed());
    }
}

fn order(run: RunId, path: &Path) -> Order {
    let files = v1::FilesSource {
        paths: vec![path.as_os_str().as_bytes().to_vec().into()],
        ..Default::default()
    };
    Order::StartBackup(v1::StartBackup {
        run_id: run.as_bytes().to_vec().into(),
        policy: Some("daily".into()),
        vault: "main".into(),
        source: Some(v1::SourceSpec { source: Some(v1::source_spec::Source::Files(files)) }),
        options: None,
    })
}

/// Waits for the run's end: its error's code, if it has one.
async fn end_of(control: &Control, run: RunId) -> Option<String> {
    let ended = control.hear(|report| match report {
        Report::Ended(ended) if ended.run_id == run.as_bytes()[..] => Some(ended.error.clone()),
        _ => None,
    });
    ended.await.map(|error| error.code)
}

fn source(agent: &Agent, files: u64) -> std::path::PathBuf {
    let source = agent.folder.path().join("source");
    std::fs::create_dir_all(&source).unwrap();
    for number in 0..files {
        std::fs::write(source.join(format!("f{number}")), noise(number, 3_000_000)).unwrap();
    }
    source
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_writes_an_identity_that_only_its_owner_reads() {
    let control = cluster().await;
    let agent = joined(&control).await;
    assert_eq!((agent.config.agent_id, agent.config.name.as_str()), (AGENT, "pacs-1"));
    let file = agent.folder.path().join("agent/agent.toml");
    assert_eq!(AgentConfig::load(&file).unwrap(), agent.config);
    let mode = std::fs::metadata(&agent.config.key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = join(JoinOptions {
        coordinator: control.address.to_string(),
        token: control.token(),
        dir: agent.folder.path().join("agent"),
        name: None,
    });
    assert_eq!(again.await.unwrap_err().code, Code::FileExists);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_cluster_is_shown_to_nobody() {
    let (control, other) = (cluster().await, cluster().await);
    let folder = tempfile::tempdir().unwrap();
    // The double of this cluster would panic at a token that is not its own.
    let refused = join(JoinOptions {
        coordinator: control.address.to_string(),
        token: other.token(),
        dir: folder.path().join("agent"),
        name: None,
    });
    assert_eq!(refused.await.unwrap_err().code, Code::CertificatePinWrong);
    assert!(!folder.path().join("agent/agent.toml").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_backup_is_made_reported_and_committed() {
    let control = cluster().await;
    let agent = joined(&control).await;
    let serving = serving(&agent).await;
    let run = RunId::random(&SystemEntropy as &dyn Entropy);
    control.order(order(run, &source(&agent, 4))).await;
    // Heard twice, done once.
    control.order(order(run, &source(&agent, 4))).await;
    assert_eq!(end_of(&control, run).await, None);
    let points = control.double.inner().points.clone();
    assert_eq!(points.len(), 1);
    let record = holdfast_repository::PointRecord::from_bytes(&points[0].record).unwrap();
    assert_eq!((record.run, record.agent), (run, AGENT));
    assert_eq!(record.policy, Some("daily".parse().unwrap()));
    let hello = control.hear(|report| match report {
        Report::Hello(hello) => Some(hello.runs.len()),
        _ => None,
    });
    assert_eq!(hello.await, 0);
    serving.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_cannot_be_made_is_reported_with_its_reason() {
    let control = cluster().await;
    let agent = joined(&control).await;
    let serving = serving(&agent).await;
    let run = RunId::random(&SystemEntropy as &dyn Entropy);
    control.order(order(run, Path::new("/nowhere/at/all"))).await;
    assert_eq!(end_of(&control, run).await.as_deref(), Some("source.paths_missing"));
    serving.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_outlives_the_line_and_its_end_is_told_on_the_next_one() {
    let control = cluster().await;
    let agent = joined(&control).await;
    let serving = serving(&agent).await;
    control.double.inner().faults.stall_puts = true;
    let run = RunId::random(&SystemEntropy as &dyn Entropy);
    control.order(order(run, &source(&agent, 8))).await;
    control.hear(|report| matches!(report, Report::Progress(_)).then_some(())).await;
    control.reports.lock().unwrap().clear();
    control.hang_up();
    let runs = control.hear(|report| match report {
        Report::Hello(hello) => Some(hello.runs.clone()),
        _ => None,
    });
    assert_eq!(runs.await, [run.as_bytes()[..].to_vec()]);
    control.order(Order::CancelRun(v1::CancelRun { run_id: run.as_bytes().to_vec().into() })).await;
    assert_eq!(end_of(&control, run).await.as_deref(), Some("run.request_cancelled"));
    serving.end().await;
}

async fn next_hello(control: &Control) -> v1::AgentHello {
    control.reports.lock().unwrap().clear();
    control.hang_up();
    let hello = control.hear(|report| match report {
        Report::Hello(hello) => Some(hello.clone()),
        _ => None,
    });
    hello.await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_kept_named_and_told_again_until_it_was_taken() {
    let control = cluster().await;
    control.takes_ends.store(true, Ordering::Relaxed);
    let agent = joined(&control).await;
    let serving = serving(&agent).await;
    let run = RunId::random(&SystemEntropy as &dyn Entropy);
    control.order(order(run, &source(&agent, 1))).await;
    assert_eq!(end_of(&control, run).await, None);
    // Nobody took it: whoever read it may be gone.
    let hello = next_hello(&control).await;
    assert_eq!(hello.runs, [run.as_bytes()[..].to_vec()], "it is not taken for interrupted");
    assert_eq!(end_of(&control, run).await, None);
    let process = hello.process.expect("a number of this process");
    let taken = v1::EndTaken { run_id: run.as_bytes().to_vec().into() };
    control.order(Order::EndTaken(taken)).await;
    // Orders are heard in turn: when this one was refused, that one was taken.
    let second = RunId::random(&SystemEntropy as &dyn Entropy);
    control.order(order(second, Path::new("/nowhere/at/all"))).await;
    assert_eq!(end_of(&control, second).await.as_deref(), Some("source.paths_missing"));
    control.takes_ends.store(false, Ordering::Relaxed);
    let hello = next_hello(&control).await;
    assert_eq!(hello.runs, [second.as_bytes()[..].to_vec()]);
    assert_eq!(hello.process, Some(process), "the same process");
    assert_eq!(end_of(&control, second).await.as_deref(), Some("source.paths_missing"));
    // A coordinator of before answers no end: told once is enough.
    assert_eq!(next_hello(&control).await.runs.len(), 0);
    serving.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_shutdown_a_running_backup_is_interrupted_and_says_so() {
    let control = cluster().await;
    let agent = joined(&control).await;
    let serving = serving(&agent).await;
    control.double.inner().faults.stall_puts = true;
    let run = RunId::random(&SystemEntropy as &dyn Entropy);
    control.order(order(run, &source(&agent, 8))).await;
    control.hear(|report| matches!(report, Report::Progress(_)).then_some(())).await;
    serving.end().await;
    assert_eq!(end_of(&control, run).await.as_deref(), Some("run.agent_interrupted"));
    assert!(control.double.inner().points.is_empty());
    assert!(!control.is_attached());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_late_in_its_life_and_returned_to_after_it() {
    let control = cluster().await;
    let agent = joined(&control).await;
    let now = SystemClock::start().now();
    let hour = Duration::from_secs(3600);
    let aged = |since: u32, left: Duration| Validity {
        not_before: now.minus(hour * since),
        not_after: now.plus(left),
    };
    let fresh = Validity::starting(now, hour);
    let (renewals, returns) = (&control.renewals, &control.returns);

    // Young: left alone.
    serving(&agent).await.end().await;
    assert_eq!((renewals.load(Ordering::Relaxed), returns.load(Ordering::Relaxed)), (0, 0));

    // Three quarters of its life are over: renewed, with its own certificate.
    *control.life.lock().unwrap() = aged(3, hour);
    let old = joined(&control).await;
    *control.life.lock().unwrap() = fresh;
    serving(&old).await.end().await;
    assert_eq!((renewals.load(Ordering::Relaxed), returns.load(Ordering::Relaxed)), (1, 0));

    // Over: it proves that it holds the key.
    *control.life.lock().unwrap() =
        Validity { not_before: now.minus(hour * 2), not_after: now.minus(hour) };
    let late = joined(&control).await;
    *control.life.lock().unwrap() = fresh;
    serving(&late).await.end().await;
    assert_eq!((renewals.load(Ordering::Relaxed), returns.load(Ordering::Relaxed)), (1, 1));
}
