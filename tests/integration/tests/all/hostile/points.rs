//! Records that lie: a point says what its session says, is signed by its agent, and has its root.

use super::{Rogue, Scene, Writing, refused};
use bytes::Bytes;
use holdfast_common::{
    AgentId, ChunkId, ChunkKind, Code, PointId, Result, RunId, SystemEntropy, VaultId,
};
use holdfast_keyring::IdentityKey;
use holdfast_repository::{IdKeyScope, Pack, PointRecord, PointState};
use holdfast_wire::v1;
use std::time::Duration;

async fn checkpoint(rogue: &Rogue, session: &Bytes, record: &PointRecord) -> Result<()> {
    let bytes = record.to_bytes();
    let request = v1::FinishRequest {
        session_id: session.clone(),
        signature: rogue.key.sign_point(&bytes).to_vec().into(),
        record: bytes.into(),
        inline_packs: Vec::new(),
        counts: None,
    };
    super::scene::told(rogue.ingest().checkpoint(request).await).map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_names_anything_but_its_session_is_refused() {
    let scene = Scene::start().await;
    let (victim, rogue) = (scene.rogue("victim").await, scene.rogue("rogue").await);
    let theirs = victim.write(&scene).await;
    let writing = rogue.write(&scene).await;
    let (root, page) = writing.pack(ChunkKind::Page, b"page");
    let honest = writing.record(root, &[&page]);
    let lie = |tell: &dyn Fn(&mut PointRecord)| {
        let mut record = honest.clone();
        tell(&mut record);
        record
    };
    let lies = [
        ("another agent", lie(&|record| record.agent = victim.id)),
        ("an agent that is not", lie(&|record| record.agent = AgentId::from_bytes([1; 16]))),
        ("another vault", lie(&|record| record.vault = VaultId::from_bytes([1; 16]))),
        ("another's run", lie(&|record| record.run = theirs.run)),
        ("a run that is not", lie(&|record| record.run = RunId::random(&SystemEntropy))),
        ("a policy", lie(&|record| record.policy = Some("nightly".parse().unwrap()))),
        ("another source", lie(&|record| record.source = "files:/etc".to_owned())),
        ("another's point", lie(&|record| record.point = theirs.point())),
        ("a point of its own", lie(&|record| record.point = PointId::random(&SystemEntropy))),
        ("a predecessor", lie(&|record| record.previous = Some(theirs.point()))),
        ("the vault's ids", lie(&|record| record.id_key_scope = IdKeyScope::Vault)),
        ("a checkpoint", lie(&|record| record.state = PointState::Checkpoint)),
    ];
    for (what, record) in &lies {
        let finish = rogue.finish(&writing.session, record, &[&page]).await;
        assert_eq!(refused(finish), Code::AuthDenied, "{what}");
        assert!(!scene.holds_point(&record.point), "{what}: stored all the same");
    }
    // A checkpoint does not take the name of the session's own point, nor a whole point's state.
    let session = &writing.session;
    rogue.put(session, &page).await.unwrap();
    let bare = writing.record(root, &[]);
    let own_name = PointRecord { state: PointState::Checkpoint, ..bare.clone() };
    assert_eq!(refused(checkpoint(&rogue, session, &own_name).await), Code::AuthDenied);
    let whole = PointRecord { point: PointId::random(&SystemEntropy), ..bare.clone() };
    assert_eq!(refused(checkpoint(&rogue, session, &whole).await), Code::AuthDenied);
    assert_eq!(rogue.finish(session, &bare, &[]).await.unwrap(), writing.point());
    victim.renew(&theirs.session).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_signature_ends_nothing() {
    let scene = Scene::start().await;
    let rogue = scene.rogue("rogue").await;
    let writing = rogue.write(&scene).await;
    let (root, page) = writing.pack(ChunkKind::Page, b"page");
    let record = writing.record(root, &[&page]).to_bytes();
    let right = rogue.key.sign_point(&record);
    let mut flipped = right;
    flipped[10] ^= 1;
    let stranger = IdentityKey::generate(&SystemEntropy).sign_point(&record);
    let of_another_use = rogue.key.sign("holdfast point v1", &record);
    for (what, signature) in [
        ("zeros", [0; 64]),
        ("one bit", flipped),
        ("another key", stranger),
        ("another use", of_another_use),
    ] {
        let finish =
            rogue.finish_signed(&writing.session, record.clone(), signature, &[&page]).await;
        assert_eq!(refused(finish), Code::PointSignatureWrong, "{what}");
    }
    let longer = [record.as_slice(), &[0]].concat();
    let signature = rogue.key.sign_point(&longer);
    let finish = rogue.finish_signed(&writing.session, longer, signature, &[&page]).await;
    assert!(finish.is_err(), "bytes after a record");
    assert!(!scene.holds_point(&writing.point()) && !scene.holds_pack(&page.id));
    rogue.finish_signed(&writing.session, record, right, &[&page]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_point_without_its_root_page_is_refused() {
    let scene = Scene::start().await;
    let (victim, rogue) = (scene.rogue("victim").await, scene.rogue("rogue").await);
    let theirs = victim.write(&scene).await;
    let (their_root, their_page) = theirs.pack(ChunkKind::Page, b"their page");
    victim.put(&theirs.session, &their_page).await.unwrap();
    let writing = rogue.write(&scene).await;
    let (root, page) = writing.pack(ChunkKind::Page, b"page");
    let (_, other) = writing.pack(ChunkKind::Page, b"another page");
    let disguised = writing.pack_of(ChunkKind::Data, &[(root, b"page")]);
    let cases: [(&str, ChunkId, &[&Pack]); 5] = [
        ("nothing was sent", root, &[]),
        ("another page comes along", root, &[&other]),
        ("the root comes along as data", root, &[&disguised]),
        ("the root is another agent's", their_root, &[]),
        ("the root is another agent's, and a page comes along", their_root, &[&page]),
    ];
    for (what, root, inline) in cases {
        let finish = rogue.finish(&writing.session, &writing.record(root, inline), inline).await;
        assert_eq!(refused(finish), Code::ChunkMissing, "{what}");
        assert!(!scene.holds_point(&writing.point()), "{what}: stored all the same");
    }
    let record = writing.record(root, &[&other, &page]);
    rogue.finish(&writing.session, &record, &[&other, &page]).await.unwrap();
    victim.finish(&theirs.session, &theirs.record(their_root, &[]), &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inline_packs_are_looked_at_like_any_other() {
    let scene = Scene::start().await;
    let rogue = scene.rogue("rogue").await;
    let writing = rogue.write(&scene).await;
    let (root, page) = writing.pack(ChunkKind::Page, b"page");
    let (_, other) = writing.pack(ChunkKind::Page, b"other");
    let (_, third) = writing.pack(ChunkKind::Page, b"third");
    let finish = |record: PointRecord, inline: Vec<Pack>| {
        let writing: &Writing = &writing;
        let rogue = &rogue;
        async move {
            let inline: Vec<_> = inline.iter().collect();
            refused(rogue.finish(&writing.session, &record, &inline).await)
        }
    };
    let forged = {
        let mut builder = writing.builder(writing.vault, ChunkKind::Page);
        builder.push(root, 0, &writing.frame(ChunkKind::Page, root, b"page")).unwrap();
        writing.forged(builder, |footer| footer[4 + 32] ^= 1)
    };
    let record = writing.record(root, &[&forged]);
    assert_eq!(finish(record, vec![forged]).await, Code::PackRefused, "a footer that lies");
    let swapped = finish(writing.record(root, &[&page]), vec![other.clone()]).await;
    assert_eq!(swapped, Code::ObjectDamaged, "not the pack that the record names");
    let unnamed = finish(writing.record(root, &[]), vec![page.clone()]).await;
    assert_eq!(unnamed, Code::ObjectDamaged, "a pack that the record does not name");
    let three = vec![page.clone(), other.clone(), third.clone()];
    let record = writing.record(root, &[&page, &other, &third]);
    assert_eq!(finish(record, three).await, Code::ObjectDamaged, "one too many");
    let noise = crate::harness::noise(1, 300 << 10);
    let (id, large) = writing.pack(ChunkKind::Page, &noise);
    let record = writing.record(id, &[&large]);
    assert_eq!(finish(record, vec![large]).await, Code::LimitExceeded, "more than may come along");
    assert!(!scene.holds_point(&writing.point()));
    let record = writing.record(root, &[&page]);
    rogue.finish(&writing.session, &record, &[&page]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_caller_went_away_is_whole_or_not_there() {
    let scene = Scene::start().await;
    let rogue = scene.rogue("unlucky").await;
    let mut committed = 0;
    for number in 0..24u64 {
        let writing = rogue.write(&scene).await;
        let content = number.to_le_bytes();
        let (root, page) = writing.pack(ChunkKind::Page, &content);
        let record = writing.record(root, &[&page]);
        let patience = Duration::from_millis(number * 2);
        let inline = [&page];
        let finish = rogue.finish(&writing.session, &record, &inline);
        let answered = tokio::time::timeout(patience, finish).await.is_ok();
        // The caller is gone. What it asked for ends soon, one way or the other.
        tokio::time::sleep(Duration::from_millis(100)).await;
        match scene.fetch(&writing.point(), ChunkKind::Page, &root).await {
            Ok(_) => committed += 1,
            Err(error) => {
                assert_eq!(error.code, Code::PointMissing, "after {patience:?}");
                assert!(!answered, "a point that was reported committed is there");
            }
        }
        // Asked again, it is committed, once.
        let again = rogue.finish(&writing.session, &record, &[&page]).await.unwrap();
        assert_eq!(again, writing.point(), "after {patience:?}");
        scene.fetch(&again, ChunkKind::Page, &root).await.unwrap();
    }
    assert!(committed > 0, "every call was over before it began");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_is_not_answered_before_the_log_that_holds_it_is_shipped() {
    let scene = Scene::start().await;
    let rogue = scene.rogue("patient").await;
    let writing = rogue.write(&scene).await;
    let (root, page) = writing.pack(ChunkKind::Page, b"page");
    let record = writing.record(root, &[&page]);
    let (point, run) = (writing.point(), Bytes::copy_from_slice(writing.run.as_bytes()));
    // The log cannot be shipped: a file lies where its directory was.
    let log = scene.dev.dir.join("location/cluster/log");
    let aside = scene.scratch.join("aside");
    let patience = Duration::from_secs(30);
    let moved = || std::fs::rename(&log, &aside).ok();
    crate::harness::wait_until("something was shipped before", patience, moved);
    std::fs::write(&log, b"in the way").unwrap();
    let finish =
        tokio::spawn(async move { rogue.finish(&writing.session, &record, &[&page]).await });
    let mut admin = scene.admin();
    let mut events = admin.follow_run(v1::FollowRunRequest { run_id: run }).await.unwrap();
    let follow =
        tokio::spawn(async move { while events.get_mut().message().await.unwrap().is_some() {} });
    crate::harness::wait_until("the point is stored, and shipping fails", patience, || {
        let failures = scene.dev.service.log().matches("the log could not be shipped").count();
        (scene.holds_point(&point) && failures >= 2).then_some(())
    });
    assert!(!finish.is_finished(), "the agent was told");
    assert!(!follow.is_finished(), "the operator was told");
    std::fs::remove_file(&log).unwrap();
    std::fs::rename(&aside, &log).unwrap();
    assert_eq!(finish.await.unwrap().unwrap(), point);
    follow.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_point_whose_object_was_not_stored_is_not_committed() {
    let scene = Scene::start().await;
    let rogue = scene.rogue("patient").await;
    let writing = rogue.write(&scene).await;
    let (root, page) = writing.pack(ChunkKind::Page, b"page");
    let record = writing.record(root, &[&page]);
    for prefix in ["points", "reach"] {
        // Nothing can be written below it: a file lies where the directory has to be.
        let (dir, aside) =
            (scene.dev.dir.join("location").join(prefix), scene.scratch.join("aside"));
        let was_there = std::fs::rename(&dir, &aside).is_ok();
        std::fs::write(&dir, b"in the way").unwrap();
        rogue.finish(&writing.session, &record, &[&page]).await.unwrap_err();
        let fetch = scene.fetch(&writing.point(), ChunkKind::Page, &root).await;
        assert_eq!(refused(fetch), Code::PointMissing, "without {prefix}");
        std::fs::remove_file(&dir).unwrap();
        if was_there {
            std::fs::rename(&aside, &dir).unwrap();
        }
    }
    let point = rogue.finish(&writing.session, &record, &[&page]).await.unwrap();
    scene.fetch(&point, ChunkKind::Page, &root).await.unwrap();
}
