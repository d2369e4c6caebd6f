//! Streams that never end: they take their sender's share of memory, and nobody else's turn.

use super::{
    Scene,
    rogue::{data, header},
    scene::told,
};
use crate::harness::{noise, write};
use bytes::Bytes;
use holdfast_common::{ChunkKind, Code, PackId, limits};
use holdfast_wire::v1::ingest_client::IngestClient;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio_stream::wrappers::ReceiverStream;

const STREAMS: usize = 64;
const CONNECTIONS: usize = 8;
const RESIDENT_BYTES_MAX: usize = 256 * limits::MIB;
/// What the streams that stand can have sent between them, and well past their windows.
const SENT_BYTES: usize = 48 * limits::MIB;
/// How long the coordinator is watched while the streams stand.
const WATCH: Duration = Duration::from_secs(5);

/// What the process holds in memory, from /proc.
fn resident_bytes(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib * limits::KIB
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packs_that_are_half_sent_stay_within_the_budget_and_hold_up_nobody() {
    let scene = Scene::start().await;
    let rogue = scene.rogue("rogue").await;
    let writing = rogue.write(&scene).await;
    let before = resident_bytes(scene.dev.service.id());
    let name = PackId::from_bytes([1; 32]);
    // Incompressible, shared by all streams; each sends all but the end of the largest pack.
    let frame = Bytes::from(noise(1, limits::STREAM_FRAME_BYTES));
    let frames = limits::PACK_BYTES_MAX / limits::STREAM_FRAME_BYTES - 1;
    let arrived = Arc::new(AtomicUsize::new(0));
    let mut streams = Vec::new();
    let mut channels = vec![rogue.channel.clone()];
    for _ in 1..CONNECTIONS {
        channels.push(scene.channel_of(&rogue.cert_pem(), &rogue.key_pem()).await.unwrap());
    }
    for number in 0..STREAMS {
        let (parts, sent) = tokio::sync::mpsc::channel(1);
        let mut ingest = IngestClient::new(channels[number % CONNECTIONS].clone());
        let answer = tokio::spawn(async move { ingest.put(ReceiverStream::new(sent)).await });
        let (header, frame, arrived) = (
            header(&writing.session, &name, limits::PACK_BYTES_MAX),
            frame.clone(),
            arrived.clone(),
        );
        let sender = tokio::spawn(async move {
            parts.send(header).await.ok();
            for _ in 0..frames {
                if parts.send(data(frame.clone())).await.is_ok() {
                    arrived.fetch_add(frame.len(), Ordering::Relaxed);
                }
            }
            parts.closed().await;
        });
        streams.push((answer, sender));
    }
    let (start, mut most) = (Instant::now(), before);
    // On a busy machine they take longer to get there: what counts is what was taken from them.
    let sent = || arrived.load(Ordering::Relaxed);
    while start.elapsed() < WATCH || (sent() < SENT_BYTES && start.elapsed() < 12 * WATCH) {
        most = most.max(resident_bytes(scene.dev.service.id()));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let shown = |bytes: usize| bytes / limits::MIB;
    assert!(sent() >= SENT_BYTES, "the streams reached nothing: {} MiB", shown(sent()));
    assert!(most < RESIDENT_BYTES_MAX, "{} MiB, {} before", shown(most), shown(before));
    // A few were let in, and the rest turned away at once. On a busy machine one that was let in
    // may have sent too slowly meanwhile.
    let (ended, standing): (Vec<_>, Vec<_>) =
        streams.into_iter().partition(|(answer, _)| answer.is_finished());
    let mut turned_away = 0;
    for (answer, _) in ended {
        let error = told(answer.await.unwrap()).unwrap_err();
        assert_eq!(error.code, Code::ClusterBusy, "{error}");
        turned_away += usize::from(!error.message.contains("too slowly"));
    }
    let let_in = limits::PACKS_IN_FLIGHT_MAX + limits::PACKS_WAITING_MAX;
    assert_eq!(turned_away, STREAMS - let_in);
    // Somebody else's backup goes through meanwhile.
    let source = scene.scratch.join("source");
    write(&source.join("file"), noise(2, 3_000_000));
    let path = source.to_str().unwrap();
    scene.dev.json(&["backup", "--path", path, "--agent", "local"]).ok();
    for (answer, sender) in standing {
        answer.abort();
        sender.abort();
    }
    // What they held comes back, when it is heard that they are gone: the rogue may send again.
    let (_, pack) = writing.pack(ChunkKind::Data, b"content");
    let put_in_the_end = async {
        while let Err(busy) = rogue.put(&writing.session, &pack).await {
            assert_eq!(busy.code, Code::ClusterBusy, "{busy}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), put_in_the_end).await.unwrap();
}
