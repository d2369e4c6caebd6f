//! Runs and sessions belong to one agent, for as long as they last.

use super::{Scene, refused, scene::told};
use crate::harness::{holdfast, wait_until};
use holdfast_common::{ChunkKind, Code, RunId, SessionId, SystemEntropy};
use holdfast_wire::v1::{self, agent_report::Report};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_another_agent_cannot_be_begun() {
    let scene = Scene::start().await;
    let (victim, rogue) = (scene.rogue("victim").await, scene.rogue("rogue").await);
    let run = scene.order(&victim).await;
    assert_eq!(refused(rogue.begin(run).await.map(|_| ())), Code::AuthDenied);
    let unknown = RunId::random(&SystemEntropy);
    assert_eq!(refused(rogue.begin(unknown).await.map(|_| ())), Code::RunMissing);
    victim.begin(run).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_another_agent_is_of_no_use() {
    let scene = Scene::start().await;
    let (victim, rogue) = (scene.rogue("victim").await, scene.rogue("rogue").await);
    let writing = victim.write(&scene).await;
    let stolen = &writing.session;
    let (id, pack) = writing.pack(ChunkKind::Data, b"content");
    assert_eq!(refused(rogue.offer(stolen, ChunkKind::Data, &[id]).await), Code::AuthDenied);
    assert_eq!(refused(rogue.put(stolen, &pack).await), Code::AuthDenied);
    assert_eq!(refused(rogue.renew(stolen).await), Code::AuthDenied);
    let record = writing.record(id, &[]);
    assert_eq!(refused(rogue.finish(stolen, &record, &[]).await), Code::AuthDenied);
    assert!(!scene.holds_pack(&pack.id), "nothing came of it");
    // The victim goes on as if nothing had been.
    assert_eq!(victim.offer(stolen, ChunkKind::Data, &[id]).await.unwrap(), [0]);
    let made_up = SessionId::random(&SystemEntropy).as_bytes().to_vec().into();
    assert_eq!(refused(rogue.renew(&made_up).await), Code::SessionMissing);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_renewed_by_another_beginning_is_refused() {
    let scene = Scene::start().await;
    let rogue = scene.rogue("rogue").await;
    let run = scene.order(&rogue).await;
    let (first, second) = (rogue.begin(run).await.unwrap(), rogue.begin(run).await.unwrap());
    let (id, pack) = first.pack(ChunkKind::Data, b"content");
    let old = &first.session;
    assert_eq!(refused(rogue.offer(old, ChunkKind::Data, &[id]).await), Code::SessionMissing);
    assert_eq!(refused(rogue.put(old, &pack).await), Code::SessionMissing);
    assert_eq!(refused(rogue.renew(old).await), Code::SessionMissing);
    assert!(!scene.holds_pack(&pack.id));
    rogue.put(&second.session, &pack).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ended_session_cannot_be_replayed() {
    let scene = Scene::start().await;
    let rogue = scene.rogue("rogue").await;
    let writing = rogue.write(&scene).await;
    let (root, page) = writing.pack(ChunkKind::Page, b"page");
    let record = writing.record(root, &[&page]);
    let session = &writing.session;
    rogue.finish(session, &record, &[&page]).await.unwrap();
    // The same once more, for whom the answer was lost, is answered the same and changes nothing.
    let bytes = record.to_bytes();
    let signature = rogue.key.sign_point(&bytes);
    let again = rogue.finish_signed(session, bytes.clone(), signature, &[&page]).await;
    assert_eq!(again.unwrap(), writing.point());
    let filter = v1::ListPointsRequest { limit: 100, ..Default::default() };
    let points = told(scene.admin().list_points(filter).await).unwrap().points;
    assert_eq!(points.len(), 1, "{points:?}");
    // Anything else is no repetition.
    let unsigned = rogue.finish_signed(session, bytes, [0; 64], &[&page]).await;
    assert_eq!(refused(unsigned), Code::SessionMissing);
    let other = holdfast_repository::PointRecord { entries: 7, ..record.clone() };
    assert_eq!(refused(rogue.finish(session, &other, &[&page]).await), Code::SessionMissing);
    let bare = writing.record(root, &[]);
    assert_eq!(refused(rogue.finish(session, &bare, &[]).await), Code::SessionMissing);
    let (id, pack) = writing.pack(ChunkKind::Data, b"late");
    assert_eq!(refused(rogue.put(session, &pack).await), Code::SessionMissing);
    assert_eq!(refused(rogue.offer(session, ChunkKind::Data, &[id]).await), Code::SessionMissing);
    assert_eq!(refused(rogue.begin(writing.run).await.map(|_| ())), Code::RunCancelled);
    assert!(!scene.holds_pack(&pack.id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_with_its_run() {
    let scene = Scene::start().await;
    let rogue = scene.rogue("rogue").await;
    let writing = rogue.write(&scene).await;
    // The agent itself reports the end of its run and goes on as if it had not.
    let error = holdfast_common::Error::new(Code::RunInterrupted, "so it says");
    let ended = v1::RunEnded {
        run_id: writing.run.as_bytes().to_vec().into(),
        error: Some((&error).into()),
        restored: None,
    };
    rogue.reports.send(v1::AgentReport { report: Some(Report::Ended(ended)) }).await.unwrap();
    let (id, pack) = writing.pack(ChunkKind::Data, b"late");
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while rogue.offer(&writing.session, ChunkKind::Data, &[id]).await.is_ok() {
        assert!(std::time::Instant::now() < deadline, "the session outlives its run");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let late = refused(rogue.put(&writing.session, &pack).await);
    assert_eq!(late, Code::SessionMissing);
    assert!(!scene.holds_pack(&pack.id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_goes_on_though_it_was_cancelled_keeps_no_round_waiting() {
    let scene = Scene::start().await;
    let rogue = scene.rogue("rogue").await;
    let writing = rogue.write(&scene).await;
    let (root, page) = writing.pack(ChunkKind::Page, b"page");
    let record = writing.record(root, &[&page]);
    let run = |arguments: &[&str]| holdfast(Some(&scene.dev.context()), arguments).ok();
    let newest = || {
        let found = run(&["--output", "json", "collect", "--dry-run"]).object();
        found["vaults"][0]["newest"].clone()
    };
    run(&["collect", "--yes", "--detach"]);
    let waits = || (newest()["waits_for"] == 1).then_some(());
    wait_until("the round waits for it", PATIENCE, waits);
    run(&["runs", "cancel", &writing.run.to_string()]);
    let is_over = || (newest()["stage"] == "over").then_some(());
    wait_until("the round is over", PATIENCE, is_over);
    assert!(rogue.renew(&writing.session).await.unwrap(), "it is told, and lives on");
    let late = rogue.finish(&writing.session, &record, &[&page]).await;
    assert_eq!(refused(late), Code::RunCancelled);
    let filter = v1::ListPointsRequest { limit: 100, ..Default::default() };
    assert_eq!(told(scene.admin().list_points(filter).await).unwrap().points.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_another_agent_cannot_be_ended_or_reported_on() {
    let scene = Scene::start().await;
    let (victim, rogue) = (scene.rogue("victim").await, scene.rogue("rogue").await);
    let writing = victim.write(&scene).await;
    let run_id: bytes::Bytes = writing.run.as_bytes().to_vec().into();
    let error = holdfast_common::Error::new(Code::RunInterrupted, "so it says");
    let error = Some((&error).into());
    let ended = v1::RunEnded { run_id: run_id.clone(), error, restored: None };
    let progress = v1::RunProgress { run_id, entries: 4_242, ..Default::default() };
    for report in [Report::Ended(ended), Report::Progress(progress)] {
        rogue.reports.send(v1::AgentReport { report: Some(report) }).await.unwrap();
    }
    // Both refusals are logged; then the reports have been looked at.
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while scene.dev.service.log().matches("a report was refused").count() < 2 {
        assert!(std::time::Instant::now() < deadline, "{}", scene.dev.service.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let runs = told(scene.admin().list_runs(v1::ListRunsRequest::default()).await).unwrap().runs;
    let run = runs.iter().find(|run| run.id == writing.run.as_bytes()[..]).unwrap();
    assert_eq!(run.state, "running");
    victim.renew(&writing.session).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_is_bounded_and_names_no_chunk_twice() {
    let scene = Scene::start().await;
    let rogue = scene.rogue("rogue").await;
    let writing = rogue.write(&scene).await;
    let session = &writing.session;
    let ids: Vec<_> = (0..1025u32).map(|n| writing.ids.data_id(&n.to_le_bytes())).collect();
    let twice = [ids[0], ids[1], ids[0]];
    let offer = |ids| rogue.offer(session, ChunkKind::Data, ids);
    assert_eq!(refused(offer(&ids).await), Code::LimitExceeded);
    assert_eq!(refused(offer(&twice).await), Code::UsageMalformed);
    assert_eq!(refused(offer(&[]).await), Code::UsageMalformed);
    assert_eq!(offer(&ids[..1024]).await.unwrap().len(), 1024);
    for (kind, ids, code) in [
        (3, vec![0; 32], None),
        (0, vec![0; 32], None),
        (1, vec![0; 33], Some(Code::LimitExceeded)),
        (1, vec![0; 4 << 20], Some(Code::LimitExceeded)),
    ] {
        let request = v1::OfferRequest { session_id: session.clone(), kind, ids: ids.into() };
        let told = refused(told(rogue.ingest().offer(request).await));
        assert!(code.is_none_or(|code| code == told), "{told}");
        assert_ne!(told, Code::InternalBug);
    }
}
