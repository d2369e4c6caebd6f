//! Junk under another agent's chunk id, and what is taken from another agent: neither counts.

use super::{Scene, refused};
use crate::harness::{Tree, write};
use holdfast_common::{ChunkKind, Code, PointId};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_under_anothers_id_changes_no_answer_and_no_restore() {
    let scene = Scene::start().await;
    let (victim, rogue) = (scene.rogue("victim").await, scene.rogue("rogue").await);
    let (theirs, writing) = (victim.write(&scene).await, rogue.write(&scene).await);
    let (id, pack) = theirs.pack(ChunkKind::Data, b"the content");
    let (root, page) = theirs.pack(ChunkKind::Page, b"the page");
    let junk = writing.pack_of(ChunkKind::Data, &[(id, b"junk")]);
    let junk_page = writing.pack_of(ChunkKind::Page, &[(root, b"junk")]);
    rogue.put(&writing.session, &junk).await.unwrap();
    rogue.put(&writing.session, &junk_page).await.unwrap();
    // The rogue may hit what it wrote; the victim may not.
    assert!(rogue.offer(&writing.session, ChunkKind::Data, &[id]).await.unwrap().is_empty());
    assert_eq!(victim.offer(&theirs.session, ChunkKind::Data, &[id]).await.unwrap(), [0]);
    assert_eq!(victim.offer(&theirs.session, ChunkKind::Page, &[root]).await.unwrap(), [0]);
    let bare = theirs.record(root, &[]);
    assert_eq!(refused(victim.finish(&theirs.session, &bare, &[]).await), Code::ChunkMissing);
    victim.put(&theirs.session, &pack).await.unwrap();
    // Junk before it and after it.
    let more = writing.pack_of(ChunkKind::Data, &[(id, b"more junk")]);
    rogue.put(&writing.session, &more).await.unwrap();
    assert!(victim.offer(&theirs.session, ChunkKind::Data, &[id]).await.unwrap().is_empty());
    let record = theirs.record(root, &[&page]);
    let point = victim.finish(&theirs.session, &record, &[&page]).await.unwrap();
    let row = pack.rows[0];
    let frame = &pack.bytes[row.offset as usize..][..row.length as usize];
    assert_eq!(scene.fetch(&point, ChunkKind::Data, &id).await.unwrap(), frame);
    let row = page.rows[0];
    let frame = &page.bytes[row.offset as usize..][..row.length as usize];
    assert_eq!(scene.fetch(&point, ChunkKind::Page, &root).await.unwrap(), frame);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_under_the_ids_of_a_real_agent_spoils_no_backup_of_it() {
    let scene = Scene::start().await;
    let source = scene.scratch.join("source");
    let contents: Vec<_> = (0..8u64).map(|n| crate::harness::noise(n, 50_000)).collect();
    for (number, content) in contents.iter().enumerate() {
        write(&source.join(number.to_string()), content);
    }
    // Somehow the rogue knows the ids that the agent `local` will give these files.
    let bundle = scene.bundle().await;
    let local = bundle.enrolment.iter().find(|row| row.name.as_str() == "local").unwrap().agent;
    let ids = bundle.vaults[0].keys.id().for_agent(&local);
    let rogue = scene.rogue("rogue").await;
    let writing = rogue.write(&scene).await;
    let junk: Vec<_> =
        contents.iter().map(|content| (ids.data_id(content), b"junk".as_slice())).collect();
    rogue.put(&writing.session, &writing.pack_of(ChunkKind::Data, &junk)).await.unwrap();
    let path = source.to_str().unwrap();
    let told = scene.dev.json(&["backup", "--path", path, "--agent", "local"]).ok().object();
    assert_eq!(told["chunks_reused"], 0, "junk was no hit: {told}");
    let again = writing.pack_of(ChunkKind::Data, &junk);
    rogue.put(&writing.session, &again).await.unwrap();
    let to = scene.scratch.join("back");
    let point = told["point"].as_str().unwrap();
    // The ids that the junk went under are those of the point, or this proves nothing.
    let id: PointId = point.parse().unwrap();
    assert!(scene.fetch(&id, ChunkKind::Data, &junk[0].0).await.unwrap().len() > 50_000);
    scene.dev.run(&["restore", point, "--to", to.to_str().unwrap()]).ok();
    let back = to.join(source.strip_prefix("/").unwrap());
    Tree::of(&source).assert_same(&Tree::of(&back), "restored beside junk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_point_reaches_only_what_its_session_put_or_was_told_is_held() {
    let scene = Scene::start().await;
    let (victim, rogue) = (scene.rogue("victim").await, scene.rogue("rogue").await);
    let theirs = victim.write(&scene).await;
    let (id, pack) = theirs.pack(ChunkKind::Data, b"the content");
    let (their_root, their_page) = theirs.pack(ChunkKind::Page, b"their page");
    victim.put(&theirs.session, &pack).await.unwrap();
    victim.put(&theirs.session, &their_page).await.unwrap();
    let writing = rogue.write(&scene).await;
    // An offer of another's chunk is answered "absent" and reaches nothing.
    assert_eq!(rogue.offer(&writing.session, ChunkKind::Data, &[id]).await.unwrap(), [0]);
    // A thief of the location has the victim's pack, whole. It gains no reach with it.
    assert_eq!(refused(rogue.put(&writing.session, &pack).await), Code::PackRefused);
    let (root, page) = writing.pack(ChunkKind::Page, b"page");
    let stolen = writing.record(root, &[&page, &their_page]);
    let finish = rogue.finish(&writing.session, &stolen, &[&page, &their_page]).await;
    assert_eq!(refused(finish), Code::PackRefused);
    let record = writing.record(root, &[&page]);
    let point = rogue.finish(&writing.session, &record, &[&page]).await.unwrap();
    assert_eq!(refused(scene.fetch(&point, ChunkKind::Data, &id).await), Code::ChunkRefused);
    let fetch = scene.fetch(&point, ChunkKind::Page, &their_root).await;
    assert_eq!(refused(fetch), Code::ChunkRefused);
    scene.fetch(&point, ChunkKind::Page, &root).await.unwrap();
    // Nor does it reach what the agent itself wrote in another run and did not offer in this one.
    let later = rogue.write(&scene).await;
    let (late_root, late_page) = later.pack(ChunkKind::Page, b"later page");
    let record = later.record(late_root, &[&late_page]);
    let point = rogue.finish(&later.session, &record, &[&late_page]).await.unwrap();
    assert_eq!(refused(scene.fetch(&point, ChunkKind::Page, &root).await), Code::ChunkRefused);
}
