//! Packs that are not what they say: refused with their code, and nothing lies under their name.

use super::{
    Rogue, Scene, Writing, refused,
    rogue::{data, header},
};
use bytes::Bytes;
use holdfast_common::{ChunkId, ChunkKind, Code, PackId, SystemEntropy, VaultId, limits};
use holdfast_keyring::VaultKeys;
use holdfast_repository::{ChunkNumber, Pack, Slot};

/// A rogue with a session.
async fn writer(scene: &Scene) -> (Rogue, Writing) {
    let rogue = scene.rogue("rogue").await;
    let writing = rogue.write(scene).await;
    (rogue, writing)
}

/// Sends the pack and proves that nothing came of it.
async fn assert_refused(
    (scene, rogue, writing): (&Scene, &Rogue, &Writing),
    pack: &Pack,
    code: Code,
    what: &str,
) {
    assert_eq!(refused(rogue.put(&writing.session, pack).await), code, "{what}");
    assert!(!scene.holds_pack(&pack.id), "{what}: stored all the same");
    for row in &pack.rows {
        let wanted = rogue.offer(&writing.session, pack.kind, &[row.id]).await.unwrap();
        assert_eq!(wanted, [0], "{what}: its chunks count as held");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_do_not_hash_to_their_name_are_refused() {
    let scene = Scene::start().await;
    let (rogue, writing) = writer(&scene).await;
    let (id, pack) = writing.pack(ChunkKind::Data, b"content");
    for position in [0, 30, pack.bytes.len() / 2, pack.bytes.len() - 1] {
        let mut bytes = pack.bytes.to_vec();
        bytes[position] ^= 1;
        let bytes = Bytes::from(bytes);
        let put = rogue.put_as(&writing.session, &pack.id, bytes.len(), &bytes).await;
        let code = refused(put);
        assert!(matches!(code, Code::PackRefused | Code::PackForeign), "{position}: {code}");
    }
    let other = PackId::from_bytes([1; 32]);
    let put = rogue.put_as(&writing.session, &other, pack.bytes.len(), &pack.bytes).await;
    assert_eq!(refused(put), Code::PackRefused);
    assert!(!scene.holds_pack(&other) && !scene.holds_pack(&pack.id));
    let wanted = rogue.offer(&writing.session, ChunkKind::Data, &[id]).await.unwrap();
    assert_eq!(wanted, [0]);
    rogue.put(&writing.session, &pack).await.unwrap();
    assert!(scene.holds_pack(&pack.id), "the same pack as it was made is taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pack_of_another_vault_is_refused() {
    let scene = Scene::start().await;
    let (rogue, writing) = writer(&scene).await;
    let (id, foreign) = (writing.ids.data_id(b"x"), VaultId::from_bytes([9; 16]));
    let mut builder = writing.builder(foreign, ChunkKind::Data);
    builder.push(id, 0, &writing.frame(ChunkKind::Data, id, b"x")).unwrap();
    let pack = writing.forged(builder, |_| {});
    assert_refused((&scene, &rogue, &writing), &pack, Code::PackForeign, "foreign").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_footer_that_lies_is_refused() {
    let scene = Scene::start().await;
    let (rogue, writing) = writer(&scene).await;
    let builder = || {
        let mut builder = writing.builder(writing.vault, ChunkKind::Data);
        for content in [b"one", b"two"] {
            let id = writing.ids.data_id(content);
            builder.push(id, 0, &writing.frame(ChunkKind::Data, id, content)).unwrap();
        }
        builder
    };
    // A count of 4 bytes, then rows of id 32, offset 4, length 4, capsule 2, flags 2.
    type Forge = fn(&mut Vec<u8>);
    let forgeries: [(&str, Forge); 7] = [
        ("a slot twice", |footer| footer.copy_within(4..36, 48)),
        ("a gap between frames", |footer| footer[48 + 32] ^= 1),
        ("a frame longer than it is", |footer| footer[4 + 36] ^= 1),
        ("a capsule that is not there", |footer| footer[4 + 40] = 7),
        ("flags that nobody knows", |footer| footer[4 + 42] = 1),
        ("more rows than there are", |footer| footer[0] = 3),
        ("fewer rows than there are", |footer| footer[0] = 1),
    ];
    for (what, forge) in forgeries {
        let pack = writing.forged(builder(), forge);
        assert_refused((&scene, &rogue, &writing), &pack, Code::PackRefused, what).await;
    }
    let own = VaultKeys::generate(writing.vault, &SystemEntropy);
    let own = own.index_public(own.newest()).unwrap();
    let sealed_to_itself = builder().finish(&|digest: &[u8; 32], plaintext: &[u8]| {
        Ok((writing.index.version, own.seal_footer(digest, plaintext, &SystemEntropy)?))
    });
    let what = "sealed to another key";
    let pack = sealed_to_itself.unwrap();
    assert_refused((&scene, &rogue, &writing), &pack, Code::PackRefused, what).await;
    let mut taking = builder();
    taking.take_number(Slot::try_from(0).unwrap(), ChunkNumber::from_u64(0)).unwrap();
    let pack = writing.forged(taking, |_| {});
    let what = "takes over another's number";
    assert_refused((&scene, &rogue, &writing), &pack, Code::PackRefused, what).await;
    let pack = writing.forged(builder(), |_| {});
    rogue.put(&writing.session, &pack).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_footer_that_was_sealed_for_other_frames_is_refused() {
    let scene = Scene::start().await;
    let (rogue, writing) = writer(&scene).await;
    let id = writing.ids.data_id(b"x");
    let pack = |content: &[u8]| writing.pack_of(ChunkKind::Data, &[(id, content)]);
    let (one, two) = (pack(b"x"), pack(b"y"));
    assert_eq!(one.bytes.len(), two.bytes.len());
    // The header and frames of one, the footer of the other; the id is that of the whole.
    let frames = (two.rows[0].offset + two.rows[0].length) as usize;
    let bytes: Bytes = [&one.bytes[..frames], &two.bytes[frames..]].concat().into();
    let id = PackId::from_bytes(*blake3::hash(&bytes).as_bytes());
    let stitched = Pack { id, kind: one.kind, rows: one.rows.clone(), bytes };
    let what = "stitched from two";
    assert_refused((&scene, &rogue, &writing), &stitched, Code::PackRefused, what).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_or_fewer_bytes_than_were_announced_are_refused() {
    let scene = Scene::start().await;
    let (rogue, writing) = writer(&scene).await;
    let (_, pack) = writing.pack(ChunkKind::Data, b"content");
    let (session, length) = (&writing.session, pack.bytes.len());
    for announced in [1, length - 1, length + 1, 2 * length] {
        let put = rogue.put_as(session, &pack.id, announced, &pack.bytes).await;
        assert_eq!(refused(put), Code::PackRefused, "{announced} of {length}");
    }
    for announced in [0, limits::PACK_BYTES_MAX + 1, u32::MAX as usize] {
        let put = rogue.put_as(session, &pack.id, announced, &pack.bytes).await;
        assert_eq!(refused(put), Code::LimitExceeded, "{announced}");
    }
    assert!(!scene.holds_pack(&pack.id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_does_not_follow_the_protocol_is_refused() {
    let scene = Scene::start().await;
    let (rogue, writing) = writer(&scene).await;
    let (_, pack) = writing.pack(ChunkKind::Data, b"content");
    let header = || header(&writing.session, &pack.id, pack.bytes.len());
    let data = || data(pack.bytes.clone());
    let nothing = || holdfast_wire::v1::PutRequest { part: None };
    for (what, parts) in [
        ("nothing at all", vec![]),
        ("no header", vec![data()]),
        ("an empty part", vec![nothing()]),
        ("two headers", vec![header(), header(), data()]),
        ("an empty part within", vec![header(), nothing(), data()]),
    ] {
        assert_eq!(refused(rogue.put_parts(parts).await), Code::UsageMalformed, "{what}");
    }
    assert_eq!(refused(rogue.put_parts(vec![header()]).await), Code::PackRefused, "no bytes");
    assert!(!scene.holds_pack(&pack.id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversized_message_is_refused_by_its_size() {
    let scene = Scene::start().await;
    let (rogue, writing) = writer(&scene).await;
    let big = Bytes::from(vec![0; limits::INGEST_MESSAGE_BYTES_MAX + 1]);
    let name = PackId::from_bytes([1; 32]);
    let parts = vec![header(&writing.session, &name, limits::PACK_BYTES_MAX), data(big.clone())];
    assert_eq!(refused(rogue.put_parts(parts).await), Code::LimitExceeded);
    assert_eq!(refused(rogue.put_parts(vec![data(big.clone())]).await), Code::LimitExceeded);
    let finish = rogue.finish_signed(&writing.session, big.to_vec(), [0; 64], &[]).await;
    assert_eq!(refused(finish), Code::LimitExceeded);
    assert!(!scene.holds_pack(&name));
    // The line stands and works.
    let (_, pack) = writing.pack(ChunkKind::Data, b"content");
    rogue.put(&writing.session, &pack).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_of_one_kind_does_not_stand_for_the_other() {
    let scene = Scene::start().await;
    let (rogue, writing) = writer(&scene).await;
    let id: ChunkId = writing.ids.page_id(b"page");
    let pack = writing.pack_of(ChunkKind::Data, &[(id, b"page")]);
    rogue.put(&writing.session, &pack).await.unwrap();
    let wanted = rogue.offer(&writing.session, ChunkKind::Page, &[id]).await.unwrap();
    assert_eq!(wanted, [0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pack_that_its_location_did_not_take_is_wanted_still() {
    let scene = Scene::start().await;
    let rogue = scene.rogue("patient").await;
    let writing = rogue.write(&scene).await;
    let (id, pack) = writing.pack(ChunkKind::Data, b"content");
    // Nothing can be written below `packs`: a file lies where the directory has to be.
    let packs = scene.dev.dir.join("location/packs");
    let aside = scene.scratch.join("aside");
    let was_there = std::fs::rename(&packs, &aside).is_ok();
    std::fs::write(&packs, b"in the way").unwrap();
    rogue.put(&writing.session, &pack).await.unwrap_err();
    assert_eq!(rogue.offer(&writing.session, ChunkKind::Data, &[id]).await.unwrap(), [0]);
    std::fs::remove_file(&packs).unwrap();
    if was_there {
        std::fs::rename(&aside, &packs).unwrap();
    }
    rogue.put(&writing.session, &pack).await.unwrap();
    assert!(scene.holds_pack(&pack.id));
    assert!(rogue.offer(&writing.session, ChunkKind::Data, &[id]).await.unwrap().is_empty());
}
