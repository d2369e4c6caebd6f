//! Crowds at the door: many connections, slow handshakes, many calls. Nobody else notices.

use super::{Rogue, Scene, refused, scene::told};
use crate::harness::{holdfast, noise, wait_until, write};
use holdfast_common::{Code, Result, limits};
use holdfast_wire::{
    status::from_status,
    v1::{self, agent_control_client::AgentControlClient, enroll_client::EnrollClient},
};
use std::{
    io::{ErrorKind, Read, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{net::TcpSocket, sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

const PATIENCE: Duration = Duration::from_secs(20);

#[track_caller]
pub fn assert_small(scene: &Scene) {
    let most = scene.dev.service.resident_bytes_max() / limits::MIB;
    assert!(most < 256, "{most} MiB at the most");
}

/// Something to back up.
pub fn source(scene: &Scene) -> PathBuf {
    let source = scene.scratch.join("source");
    write(&source.join("file"), noise(2, 3_000_000));
    source
}

/// Backs it up with the agent that means no harm.
pub async fn backup(scene: &Scene, within: Duration) {
    let (context, source) = (scene.dev.context(), source(scene));
    let backup = tokio::task::spawn_blocking(move || {
        let path = source.to_str().unwrap();
        let told = holdfast(Some(&context), &["backup", "--path", path, "--agent", "local"]);
        drop(told.ok());
    });
    tokio::time::timeout(within, backup).await.expect("the backup is held up").unwrap();
}

/// An agent's call that does nothing: its request is no good, which is told by whoever knows it.
async fn greet(channel: &Channel) -> Result<()> {
    let request = v1::RenewRequest::default();
    told(EnrollClient::new(channel.clone()).renew(request).await).map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_has_so_many_connections_and_the_others_have_theirs() {
    let scene = Scene::start().await;
    let rogue = scene.rogue("rogue").await;
    let mut dialled = JoinSet::new();
    let scene = Arc::new(scene);
    for _ in 0..200 {
        let (scene, cert, key) = (scene.clone(), rogue.cert_pem(), rogue.key_pem());
        dialled.spawn(async move {
            let channel = scene.channel_of(&cert, &key).await?;
            // Whoever is heard stands; the certificate request itself is nonsense.
            match greet(&channel).await {
                Err(error) if error.code == Code::ClusterUnreachable => Err(error),
                _ => Ok(channel),
            }
        });
    }
    let mut standing = Vec::new();
    while let Some(channel) = dialled.join_next().await {
        standing.extend(channel.unwrap().ok());
    }
    // One more is the rogue's own, which its line keeps open.
    assert_eq!(standing.len(), limits::CONNECTIONS_PER_AGENT_MAX - 1);
    backup(&scene, PATIENCE).await;
    let other = scene.rogue("other").await;
    assert_ne!(refused(greet(&other.channel).await), Code::ClusterUnreachable);
    // A place that is given back is there for the next.
    drop(standing);
    let begun = Instant::now();
    loop {
        let channel = scene.channel_of(&rogue.cert_pem(), &rogue.key_pem()).await;
        if let Ok(channel) = channel
            && refused(greet(&channel).await) != Code::ClusterUnreachable
        {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the places were not given back");
    }
    assert_small(&scene);
}

/// Says a byte of a handshake now and then, until it is cut off.
fn dribble(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&[0x16, 0x03, 0x01, 0x02]).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_handshakes_keep_out_nobody() {
    let scene = Scene::start().await;
    let address: SocketAddr = scene.dev.service.address.parse().unwrap();
    let mut slow: Vec<_> = (0..400).map(|_| dribble(address)).collect();
    // They fill every place of this address; a newcomer from it gets one within two seconds.
    let patience = Duration::from_secs(limits::HANDSHAKE_SAFE_SECS + 2);
    tokio::task::block_in_place(|| {
        wait_until("an operator gets in", patience, || {
            (scene.dev.run(&["agent", "list"]).code == 0).then_some(())
        });
    });
    backup(&scene, PATIENCE).await;
    // Not one of them is left when their time is over.
    let over = Duration::from_secs(limits::HANDSHAKE_TIMEOUT_SECS + 5);
    tokio::task::block_in_place(|| {
        let left = std::cell::RefCell::new(&mut slow);
        wait_until("all are cut off", over, || {
            let mut left = left.borrow_mut();
            left.retain_mut(|stream| {
                matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
            });
            left.is_empty().then_some(())
        });
    });
    assert_small(&scene);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_from_one_address_is_not_felt_at_another() {
    let scene = Scene::start().await;
    let address: SocketAddr = scene.dev.service.address.parse().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut flood = JoinSet::new();
    for _ in 0..300 {
        let stop = stop.clone();
        flood.spawn(async move {
            let mut opened = 0;
            while !stop.load(Ordering::Relaxed) {
                let socket = TcpSocket::new_v4().unwrap();
                socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
                let Ok(stream) = socket.connect(address).await else { continue };
                opened += 1;
                // Until it is cut off.
                let _cut_off = stream.readable().await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            opened
        });
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    // Ours dials once, and gets in.
    for _ in 0..5 {
        let anonymous = scene.anonymous().await;
        let joined = EnrollClient::new(anonymous).join(v1::JoinRequest::default()).await;
        let code = refused(told(joined));
        assert!(![Code::ClusterUnreachable, Code::ClusterBusy].contains(&code), "{code}");
    }
    backup(&scene, PATIENCE).await;
    stop.store(true, Ordering::Relaxed);
    let mut opened = 0;
    while let Some(count) = flood.join_next().await {
        opened += count.unwrap();
    }
    assert!(opened > 300, "there was no flood: {opened} connections");
    assert_small(&scene);
}

type Attached = Result<Streaming<v1::AgentOrder>>;

/// Opens a line and says nothing on it.
async fn attach(channel: Channel, reports: mpsc::Receiver<v1::AgentReport>) -> Attached {
    let mut client = AgentControlClient::new(channel);
    client
        .attach(ReceiverStream::new(reports))
        .await
        .map(tonic::Response::into_inner)
        .map_err(|status| from_status(&status))
}

/// Connections of the same agent, so that their own bounds are not what stops it.
async fn channels(scene: &Scene, rogue: &Rogue, count: usize) -> Vec<Channel> {
    let mut channels = Vec::new();
    for _ in 0..count {
        channels.push(scene.channel_of(&rogue.cert_pem(), &rogue.key_pem()).await.unwrap());
    }
    channels
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_of_one_agent_leave_the_others_theirs() {
    let scene = Scene::start().await;
    let rogue = scene.rogue("rogue").await;
    let channels = channels(&scene, &rogue, 6).await;
    let mut lines = Vec::new();
    let mut silent = Vec::new();
    for number in 0..1000 {
        let (reports, sent) = mpsc::channel(1);
        silent.push(reports);
        lines.push(tokio::spawn(attach(channels[number % channels.len()].clone(), sent)));
    }
    // One call is its own line, from before; what is beyond the bound is turned away at once.
    let standing = limits::CALLS_PER_CALLER_MAX - 1;
    tokio::task::block_in_place(|| {
        wait_until("the rest is turned away", PATIENCE, || {
            let ended = lines.iter().filter(|line| line.is_finished()).count();
            (ended == 1000 - standing).then_some(())
        });
    });
    let other = scene.rogue("other").await;
    let writing = other.write(&scene).await;
    assert!(!other.renew(&writing.session).await.unwrap(), "another agent is heard");
    backup(&scene, PATIENCE).await;
    assert_eq!(lines.iter().filter(|line| !line.is_finished()).count(), standing);
    assert_eq!(refused(greet(&rogue.channel).await), Code::ClusterBusy);
    // It hangs up, and may call again.
    drop(silent);
    for line in lines {
        if let Ok(Err(error)) = tokio::time::timeout(PATIENCE, line).await.unwrap() {
            assert!(matches!(error.code, Code::ClusterBusy | Code::UsageMalformed), "{error}");
        }
    }
    assert_ne!(refused(greet(&rogue.channel).await), Code::ClusterBusy);
    assert_small(&scene);
}
