//! Peers that take their share of memory and do nothing with it: it comes back, and meanwhile what
//! goes the other way has a budget of its own.

use super::{
    Rogue, Scene, Writing,
    floods::{assert_small, backup},
    refused,
    rogue::{data, header},
    scene::{clock, told},
};
use crate::harness::noise;
use bytes::Bytes;
use holdfast_common::{ChunkId, ChunkKind, Code, PackId, PointId, Result, SystemEntropy, limits};
use holdfast_keyring::OneTimeKey;
use holdfast_runtime::{ChannelKind, connect};
use holdfast_wire::v1::{self, ingest_client::IngestClient, restore_client::RestoreClient};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

const PATIENCE: Duration = Duration::from_secs(20);
const WINDOW: Duration = Duration::from_secs(limits::PUT_WINDOW_SECS);

/// A point with three large chunks.
async fn point(scene: &Scene, rogue: &Rogue) -> (PointId, Vec<ChunkId>) {
    let writing = rogue.write(scene).await;
    let contents: Vec<_> = (1..=3).map(|seed| noise(seed, 4_000_000)).collect();
    let chunks: Vec<_> = contents
        .iter()
        .map(|content| (writing.ids.id(ChunkKind::Data, content), content.as_slice()))
        .collect();
    rogue.put(&writing.session, &writing.pack_of(ChunkKind::Data, &chunks)).await.unwrap();
    let (root, page) = writing.pack(ChunkKind::Page, b"page");
    let record = writing.record(root, &[&page]);
    let point = rogue.finish(&writing.session, &record, &[&page]).await.unwrap();
    (point, chunks.iter().map(|chunk| chunk.0).collect())
}

/// Announces the largest pack, and then sends a byte a second.
fn trickle(rogue: &Rogue, writing: &Writing) -> JoinHandle<Result<()>> {
    let (parts, sent) = tokio::sync::mpsc::channel(1);
    let mut ingest = IngestClient::new(rogue.channel.clone());
    let header = header(&writing.session, &PackId::from_bytes([1; 32]), limits::PACK_BYTES_MAX);
    tokio::spawn(async move {
        parts.send(header).await.ok();
        while parts.send(data(Bytes::from_static(b"x"))).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    tokio::spawn(async move { told(ingest.put(ReceiverStream::new(sent)).await).map(drop) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packs_that_trickle_give_their_share_back_and_stop_no_restore() {
    let scene = Scene::start().await;
    let mut rogues = Vec::new();
    for name in ["first", "second"] {
        rogues.push(scene.rogue(name).await);
    }
    let (point, chunks) = point(&scene, &rogues[0]).await;
    let begun = Instant::now();
    let mut trickles = Vec::new();
    for rogue in &rogues {
        let writing = rogue.write(&scene).await;
        for _ in 0..limits::PACKS_IN_FLIGHT_MAX {
            trickles.push(trickle(rogue, &writing));
        }
    }
    assert!(trickles.len() * limits::PACK_BYTES_MAX > limits::WRITE_BUDGET_BYTES);
    // What goes out does not wait for what comes in.
    let fetched = scene.fetch(&point, ChunkKind::Data, &chunks[0]);
    assert!(tokio::time::timeout(PATIENCE, fetched).await.unwrap().unwrap().len() > 4_000_000);
    assert!(begun.elapsed() < WINDOW, "the budget is still taken");
    assert!(trickles.iter().all(|trickle| !trickle.is_finished()));
    // A backup gets its turn as soon as the first of them lost theirs.
    backup(&scene, WINDOW + PATIENCE).await;
    for trickle in trickles {
        let ended = tokio::time::timeout(2 * WINDOW + PATIENCE, trickle).await;
        assert_eq!(refused(ended.expect("it lost its place").unwrap()), Code::ClusterBusy);
    }
    assert_small(&scene);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restores_that_nobody_reads_stop_no_backup() {
    let scene = Scene::start().await;
    let rogue = scene.rogue("rogue").await;
    let (point, chunks) = point(&scene, &rogue).await;
    // With a channel that takes little before somebody reads it.
    let tls = scene.context.tls(clock()).unwrap();
    let lazy = connect(&scene.context.endpoints, tls, ChannelKind::Control).await.unwrap();
    let mut restore = RestoreClient::new(lazy).max_decoding_message_size(limits::MESSAGE_BYTES_MAX);
    let request = v1::OpenPointRequest {
        point_id: Bytes::copy_from_slice(point.as_bytes()),
        one_time_public: OneTimeKey::generate(&SystemEntropy).public().to_vec().into(),
        purpose: "restore".to_owned(),
        ..Default::default()
    };
    let opened = told(restore.open(request).await).unwrap();
    let request = v1::FetchRequest {
        read_session: opened.read_session,
        kind: ChunkKind::Data as u32,
        ids: chunks.iter().flat_map(|id| *id.as_bytes()).collect(),
        copy: 0,
    };
    let begun = Instant::now();
    let mut unread = Vec::new();
    for _ in 0..40 {
        unread.push(told(restore.fetch(request.clone()).await).unwrap());
    }
    // They hold all that readers have: another must wait.
    let fetched = scene.fetch(&point, ChunkKind::Data, &chunks[0]);
    assert!(tokio::time::timeout(Duration::from_secs(1), fetched).await.is_err());
    backup(&scene, PATIENCE).await;
    assert!(begun.elapsed() < Duration::from_secs(limits::READ_PAUSE_SECS), "they still stand");
    // When they go, whoever reads gets what they kept.
    drop((unread, restore));
    let fetched = scene.fetch(&point, ChunkKind::Data, &chunks[0]);
    let fetched = tokio::time::timeout(PATIENCE, fetched).await.unwrap().unwrap();
    assert!(fetched.len() > 4_000_000);
    assert_small(&scene);
}
