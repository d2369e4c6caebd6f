//! An agent reads what a restore grants to it, for as long as that restore lasts, and nothing else.

use super::{Rogue, Scene, refused, scene::told};
use crate::harness::{noise, write};
use bytes::Bytes;
use holdfast_common::{ChunkId, ChunkKind, Code, PointId, Result, RunId, SystemEntropy};
use holdfast_keyring::OneTimeKey;
use holdfast_repository::PointRecord;
use holdfast_wire::{
    status::from_status,
    v1::{self, agent_report::Report, restore_client::RestoreClient},
};
use std::time::Duration;
use tonic::transport::Channel;

/// A scene with two points of the honest agent, and a stranger to restore one of them.
struct Reading {
    scene: Scene,
    rogue: Rogue,
    point: PointId,
    other: PointId,
}

async fn start() -> Reading {
    let scene = Scene::start().await;
    let rogue = scene.rogue("rogue").await;
    let source = scene.scratch.join("source");
    let mut points = Vec::new();
    for round in 0..2 {
        write(&source.join("file"), noise(round, 400_000));
        let path = source.to_str().unwrap();
        let made = scene.dev.json(&["backup", "--path", path, "--agent", "local"]).ok().object();
        let id = hex(made["point"].as_str().unwrap());
        points.push(PointId::from_slice(&id).unwrap());
    }
    Reading { scene, rogue, point: points[0], other: points[1] }
}

fn hex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

impl Reading {
    /// Grants the reading of a point to an agent.
    async fn grant(&self, agent: &Rogue, point: &PointId, to: &str) -> RunId {
        let run = RunId::random(&SystemEntropy);
        let spec = v1::RestoreSpec { target: to.as_bytes().to_vec().into(), ..Default::default() };
        let request = v1::StartRestoreRequest {
            run_id: Bytes::copy_from_slice(run.as_bytes()),
            point_id: Bytes::copy_from_slice(point.as_bytes()),
            agent: agent.config.name.to_string(),
            spec: Some(spec),
        };
        told(self.scene.admin().start_restore(request).await).unwrap();
        run
    }

    async fn cancel(&self, run: &RunId) {
        let request = v1::CancelRunRequest { run_id: Bytes::copy_from_slice(run.as_bytes()) };
        told(self.scene.admin().cancel_run(request).await).unwrap();
    }
}

struct Opened {
    session: Bytes,
    record: PointRecord,
}

fn client(channel: &Channel) -> RestoreClient<Channel> {
    RestoreClient::new(channel.clone())
        .max_decoding_message_size(holdfast_common::limits::MESSAGE_BYTES_MAX)
}

async fn open(rogue: &Rogue, point: &PointId, run: Option<&RunId>) -> Result<Opened> {
    let request = v1::OpenPointRequest {
        point_id: Bytes::copy_from_slice(point.as_bytes()),
        one_time_public: OneTimeKey::generate(&SystemEntropy).public().to_vec().into(),
        purpose: "restore".to_owned(),
        run_id: run.map(|run| Bytes::copy_from_slice(run.as_bytes())),
    };
    let opened = told(client(&rogue.channel).open(request).await)?;
    let record = PointRecord::from_bytes(&opened.record).unwrap();
    Ok(Opened { session: opened.read_session, record })
}

/// One page of a point: its frame, or why not.
async fn fetch(rogue: &Rogue, session: &Bytes, id: &ChunkId) -> Result<Bytes> {
    let request = v1::FetchRequest {
        read_session: session.clone(),
        kind: ChunkKind::Page as u32,
        ids: Bytes::copy_from_slice(id.as_bytes()),
        copy: 0,
    };
    let mut answers = told(client(&rogue.channel).fetch(request).await)?;
    let mut chunks = Vec::new();
    while let Some(answer) = answers.message().await.map_err(|status| from_status(&status))? {
        chunks.extend(answer.chunks);
    }
    let chunk = chunks.remove(0);
    chunk.error.map_or(Ok(chunk.frame), |error| Err(error.into()))
}

async fn keep(rogue: &Rogue, session: &Bytes) -> Result<()> {
    let request = v1::KeepPointRequest { read_session: session.clone() };
    told(client(&rogue.channel).keep(request).await).map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_opens_the_granted_point_and_no_other() {
    let reading = start().await;
    let Reading { scene, rogue, point, other } = &reading;
    let (own, stranger) = (rogue, scene.rogue("stranger").await);
    assert_eq!(refused(open(own, point, None).await.map(drop)), Code::AuthDenied);
    let run = reading.grant(own, point, "/nowhere").await;
    assert_eq!(refused(open(own, other, Some(&run)).await.map(drop)), Code::AuthDenied);
    assert_eq!(refused(open(&stranger, point, Some(&run)).await.map(drop)), Code::AuthDenied);
    assert_eq!(refused(open(own, point, None).await.map(drop)), Code::AuthDenied);
    let made_up = RunId::random(&SystemEntropy);
    assert_eq!(refused(open(own, point, Some(&made_up)).await.map(drop)), Code::RunMissing);
    let backup = scene.order(own).await;
    assert_eq!(refused(open(own, point, Some(&backup)).await.map(drop)), Code::AuthDenied);
    let opened = open(own, point, Some(&run)).await.unwrap();
    fetch(own, &opened.session, &opened.record.root).await.unwrap();
    // Another's session is of no use, and what the other point has alone is not given.
    let stolen = fetch(&stranger, &opened.session, &opened.record.root).await;
    assert_eq!(refused(stolen), Code::AuthDenied);
    assert_eq!(refused(keep(&stranger, &opened.session).await), Code::AuthDenied);
    let theirs = reading.grant(&stranger, other, "/nowhere").await;
    let elsewhere = open(&stranger, other, Some(&theirs)).await.unwrap();
    assert_ne!(elsewhere.record.root, opened.record.root);
    let beyond = fetch(own, &opened.session, &elsewhere.record.root).await;
    assert_eq!(refused(beyond), Code::ChunkRefused);
    // And the run is not one to write in: no safety point was asked for.
    assert_eq!(refused(own.begin(run).await.map(drop)), Code::AuthDenied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_restore_reads_nothing_more() {
    let reading = start().await;
    let Reading { rogue, point, .. } = &reading;
    let run = reading.grant(rogue, point, "/nowhere").await;
    let opened = open(rogue, point, Some(&run)).await.unwrap();
    keep(rogue, &opened.session).await.unwrap();
    reading.cancel(&run).await;
    // It is told to stop, does not, and gets nothing by it.
    let late = fetch(rogue, &opened.session, &opened.record.root).await;
    assert_eq!(refused(late), Code::RunCancelled);
    assert_eq!(refused(keep(rogue, &opened.session).await), Code::RunCancelled);
    assert_eq!(refused(open(rogue, point, Some(&run)).await.map(drop)), Code::RunCancelled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ended_restore_reads_nothing_more() {
    let reading = start().await;
    let Reading { rogue, point, .. } = &reading;
    let run = reading.grant(rogue, point, "/nowhere").await;
    let opened = open(rogue, point, Some(&run)).await.unwrap();
    let ended = v1::RunEnded {
        run_id: Bytes::copy_from_slice(run.as_bytes()),
        error: None,
        restored: Some(v1::Restored { entries: 1, ..Default::default() }),
    };
    rogue.reports.send(v1::AgentReport { report: Some(Report::Ended(ended)) }).await.unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    let code = loop {
        match fetch(rogue, &opened.session, &opened.record.root).await {
            Err(error) => break error.code,
            Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
        assert!(std::time::Instant::now() < deadline, "the reading outlives its run");
    };
    // Which of the two it meets depends on whether the session was cleared already.
    assert!(matches!(code, Code::RunCancelled | Code::SessionMissing), "{code}");
    assert_eq!(refused(open(rogue, point, Some(&run)).await.map(drop)), Code::RunCancelled);
    let runs = told(reading.scene.admin().list_runs(v1::ListRunsRequest::default()).await);
    assert_eq!(runs.unwrap().runs[0].state, "done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_of_another_agent_cannot_be_ended() {
    let reading = start().await;
    let Reading { scene, rogue, point, .. } = &reading;
    let stranger = scene.rogue("stranger").await;
    let run = reading.grant(rogue, point, "/nowhere").await;
    let opened = open(rogue, point, Some(&run)).await.unwrap();
    let run_id = Bytes::copy_from_slice(run.as_bytes());
    let restored = Some(v1::Restored::default());
    let ended = v1::RunEnded { run_id: run_id.clone(), error: None, restored };
    stranger.reports.send(v1::AgentReport { report: Some(Report::Ended(ended)) }).await.unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !scene.dev.service.log().contains("a report was refused") {
        assert!(std::time::Instant::now() < deadline, "{}", scene.dev.service.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Nor by the operator's own call, which is for what he restores himself.
    let request = v1::EndRestoreRequest { run_id, ..Default::default() };
    let ended = told(client(&scene.operator()).end(request).await);
    assert_eq!(refused(ended), Code::AuthDenied);
    fetch(rogue, &opened.session, &opened.record.root).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_safety_point_is_taken_only_as_one() {
    let reading = start().await;
    let Reading { scene, rogue, point, .. } = &reading;
    let run = RunId::random(&SystemEntropy);
    let spec =
        v1::RestoreSpec { in_place: true, force: true, safety_point: true, ..Default::default() };
    let request = v1::StartRestoreRequest {
        run_id: Bytes::copy_from_slice(run.as_bytes()),
        point_id: Bytes::copy_from_slice(point.as_bytes()),
        agent: rogue.config.name.to_string(),
        spec: Some(spec),
    };
    told(scene.admin().start_restore(request).await).unwrap();
    let writing = rogue.begin(run).await.unwrap();
    let (root, page) = writing.pack(ChunkKind::Page, b"page");
    let as_backup = writing.record(root, &[&page]);
    let lied = rogue.finish(&writing.session, &as_backup, &[&page]).await;
    assert_eq!(refused(lied), Code::AuthDenied);
    let honest = PointRecord {
        state: holdfast_repository::PointState::Safety,
        source: format!("safety:{point}"),
        ..as_backup
    };
    rogue.finish(&writing.session, &honest, &[&page]).await.unwrap();
    let latest = v1::ListPointsRequest { scheduled: true, limit: 100, ..Default::default() };
    let listed = told(scene.admin().list_points(latest).await).unwrap().points;
    assert!(listed.iter().all(|listed| listed.id != writing.point().as_bytes()[..]));
}
