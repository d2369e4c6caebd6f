//! Damage on the way back: never a wrong byte in place, and every path it concerns is named.

use crate::scene::{Scene, inside, noise};
use bytes::Bytes;
use holdfast_agent::restore::{PointKeys, PointReader, Progress, RestoreReport, restore, verify};
use holdfast_common::SystemEntropy;
use holdfast_common::codes::Exit;
use holdfast_common::{ChunkId, ChunkKind, Code, PointId};
use holdfast_keyring::IdentityKey;
use holdfast_repository::PointRecord;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// Two files of one chunk each, backed up.
fn two_files(scene: &Scene) -> (PointId, ChunkId, ChunkId) {
    scene.write("a", &noise(1, 3000));
    scene.write("b", &noise(2, 3000));
    let point = scene.back_up().point;
    let ids = scene.double.ids();
    (point, ids.data_id(&noise(1, 3000)), ids.data_id(&noise(2, 3000)))
}

fn only_b_is_there(scene: &Scene, point: PointId, code: Code) -> RestoreReport {
    let (target, restored, report) = scene.restore_all(point);
    let path = scene.source.join("a");
    assert_eq!(report.skipped, [(path.as_os_str().as_bytes().to_vec(), code)]);
    let left: Vec<_> = std::fs::read_dir(&restored).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(left, [inside(target.path(), &scene.source.join("b"))], "nothing is left behind");
    assert_eq!(std::fs::read(&left[0]).unwrap(), noise(2, 3000));
    assert_eq!(report.damage().unwrap().code, code);
    assert_eq!(code.exit(), Exit::Damage);
    report
}

#[test]
fn a_damaged_frame_leaves_its_file_out_and_the_others_in() {
    let scene = Scene::new();
    let (point, a, _) = two_files(&scene);
    let length = scene.double.inner().chunks[&(ChunkKind::Data, a)].frame.len();
    for at in [0, 11, 12, 13, 20, length / 2, length - 1] {
        let good = scene.double.inner().chunks[&(ChunkKind::Data, a)].clone();
        let mut bytes = good.frame.to_vec();
        bytes[at] ^= 0x10;
        let mut bad = good.clone();
        bad.frame = bytes.into();
        scene.double.inner().chunks.insert((ChunkKind::Data, a), bad);
        only_b_is_there(&scene, point, Code::ChunkDamaged);
        scene.double.inner().chunks.insert((ChunkKind::Data, a), good);
    }
    let (_target, _, report) = scene.restore_all(point);
    assert_eq!((report.damage(), report.skipped), (None, vec![]));
}

#[test]
fn a_frame_cut_short_or_empty_is_damage() {
    let scene = Scene::new();
    let (point, a, _) = two_files(&scene);
    for length in [0, 1, 27, 28, 32, 100] {
        let mut inner = scene.double.inner();
        let stored = inner.chunks.get_mut(&(ChunkKind::Data, a)).unwrap();
        stored.frame = stored.frame.slice(..length.min(stored.frame.len()));
        drop(inner);
        only_b_is_there(&scene, point, Code::ChunkDamaged);
        scene.double.inner().chunks.retain(|key, _| *key != (ChunkKind::Data, a));
        scene.write("a", &noise(1, 3000));
        scene.back_up();
    }
}

#[test]
fn the_frame_of_another_chunk_is_damage() {
    let scene = Scene::new();
    let (point, a, b) = two_files(&scene);
    let mut inner = scene.double.inner();
    let other = inner.chunks[&(ChunkKind::Data, b)].clone();
    inner.chunks.insert((ChunkKind::Data, a), other);
    drop(inner);
    only_b_is_there(&scene, point, Code::ChunkDamaged);
}

#[test]
fn a_missing_chunk_is_named_as_missing() {
    let scene = Scene::new();
    let (point, a, _) = two_files(&scene);
    scene.double.inner().chunks.remove(&(ChunkKind::Data, a));
    only_b_is_there(&scene, point, Code::ChunkMissing);
}

#[test]
fn with_the_keys_of_others_nothing_is_written() {
    let scene = Scene::new();
    let (point, ..) = two_files(&scene);
    let reader = scene.open(point);
    // The pages were opened with good keys; from now on they are bad.
    assert_eq!(reader.manifest().entries().unwrap().count() as u64, reader.record().entries);
    scene.double.inner().faults.wrong_keys = true;
    let target = tempfile::tempdir().unwrap();
    let report = restore(&reader, &scene.to_dir(target.path()), &Progress::default()).unwrap();
    assert_eq!(report.skipped.len(), 2);
    assert!(report.skipped.iter().all(|(_, code)| *code == Code::ChunkDamaged));
    let restored = inside(target.path(), &scene.source);
    assert_eq!(std::fs::read_dir(restored).unwrap().count(), 0);
}

#[test]
fn a_damaged_or_missing_page_ends_the_restore_as_damage() {
    let scene = Scene::new();
    let (point, ..) = two_files(&scene);
    let pages: Vec<_> = scene.double.inner().chunks.keys().copied().collect();
    for key in pages.into_iter().filter(|(kind, _)| *kind == ChunkKind::Page) {
        let good = scene.double.inner().chunks.remove(&key).unwrap();
        let target = tempfile::tempdir().unwrap();
        let into = scene.to_dir(target.path());
        let refused = restore(&scene.open(point), &into, &Progress::default()).unwrap_err();
        assert_eq!(refused.code, Code::ChunkMissing);
        let mut bad = good.clone();
        bad.frame = Bytes::from(bad.frame.iter().map(|byte| byte ^ 1).collect::<Vec<_>>());
        scene.double.inner().chunks.insert(key, bad);
        let refused = restore(&scene.open(point), &into, &Progress::default()).unwrap_err();
        assert_eq!(refused.code, Code::ChunkDamaged);
        scene.double.inner().chunks.insert(key, good);
    }
}

#[test]
fn what_is_wrong_in_one_copy_is_no_damage_while_the_others_are_away() {
    let scene = Scene::new();
    let (point, a, _) = two_files(&scene);
    let mut inner = scene.double.inner();
    let stored = inner.chunks.get_mut(&(ChunkKind::Data, a)).unwrap();
    stored.frame = stored.frame.slice(..20);
    inner.faults.copies_away = true;
    drop(inner);
    let (_target, _, report) = scene.restore_all(point);
    let path = scene.source.join("a");
    let skipped = (path.as_os_str().as_bytes().to_vec(), Code::LocationIoFailed);
    assert_eq!((report.damage(), report.skipped), (None, vec![skipped]));
}

#[test]
fn a_point_that_its_agent_did_not_sign_is_not_opened() {
    let scene = Scene::new();
    let (point, ..) = two_files(&scene);
    let good = scene.double.identity();
    scene.double.enrol(IdentityKey::generate(&SystemEntropy).public());
    let refused = scene.try_open(point).map(drop).unwrap_err();
    assert_eq!(refused.code, Code::PointSignatureWrong);
    scene.double.enrol(good);
    let mut inner = scene.double.inner();
    let mut record = PointRecord::from_bytes(&inner.points[0].record).unwrap();
    record.entries += 1;
    inner.points[0].record = record.to_bytes().into();
    drop(inner);
    let refused = scene.try_open(point).map(drop).unwrap_err();
    assert_eq!(refused.code, Code::PointSignatureWrong);
}

#[test]
fn another_point_of_the_same_agent_is_not_taken_for_the_one_asked() {
    let scene = Scene::new();
    let (first, ..) = two_files(&scene);
    scene.write("c", b"more");
    let second = scene.back_up().point;
    let mut inner = scene.double.inner();
    inner.points[1].record = inner.points[0].record.clone();
    inner.points[1].signature = inner.points[0].signature.clone();
    drop(inner);
    assert_eq!(scene.try_open(second).map(drop).unwrap_err().code, Code::PointSignatureWrong);
    assert!(scene.try_open(first).is_ok());
}

#[test]
fn verification_opens_everything_and_names_what_is_damaged() {
    let scene = Scene::new();
    let (point, a, _) = two_files(&scene);
    let report = verify(&scene.open(point), &Progress::default()).unwrap();
    assert_eq!((report.bytes, &report.damaged), (6000, &vec![]));
    assert_eq!(report.entries, scene.open(point).record().entries);
    scene.double.inner().chunks.remove(&(ChunkKind::Data, a));
    let report = verify(&scene.open(point), &Progress::default()).unwrap();
    let path = scene.source.join("a").as_os_str().as_bytes().to_vec();
    assert_eq!((report.bytes, report.damaged), (3000, vec![(path, Code::ChunkMissing)]));
}

#[test]
fn a_source_that_tells_nothing_leaves_files_out_as_missing() {
    use holdfast_agent::restore::{ChunkSource, FetchedFrame};
    use holdfast_common::Result;

    /// Gives pages, and is silent about data.
    struct Silent(Arc<crate::double::Double>);

    impl ChunkSource for Silent {
        fn fetch(
            &self,
            kind: ChunkKind,
            ids: &[ChunkId],
            each: &mut dyn FnMut(usize, Result<FetchedFrame>),
        ) -> Result<()> {
            for (at, id) in ids.iter().enumerate().filter(|_| kind == ChunkKind::Page) {
                let stored = self.0.inner().chunks[&(kind, *id)].clone();
                let key = self.0.data_key(&stored.capsule).chunk_key(kind, id);
                each(at, Ok(FetchedFrame { frame: stored.frame, key }));
            }
            Ok(())
        }
    }

    let scene = Scene::new();
    let (point, ..) = two_files(&scene);
    let committed = scene.double.inner().points[0].clone();
    let keys = PointKeys { identity: scene.double.identity(), ids: scene.double.ids() };
    let signature = committed.signature[..].try_into().unwrap();
    let source = Arc::new(Silent(Arc::clone(&scene.double)));
    let reader = PointReader::open(source, point, &committed.record, &signature, keys).unwrap();
    let target = tempfile::tempdir().unwrap();
    let report = restore(&reader, &scene.to_dir(target.path()), &Progress::default()).unwrap();
    let codes: Vec<_> = report.skipped.iter().map(|(_, code)| *code).collect();
    assert_eq!(codes, [Code::ChunkMissing, Code::ChunkMissing]);
}
