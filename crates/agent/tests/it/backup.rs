//! Backups: what is sent, what is not, and that all of it comes back.

use crate::scene::{Scene, noise};
use crate::trees::tree;
use holdfast_agent::pipeline::{Checkpoints, RunControl, back_up};
use holdfast_common::{ChunkKind, Code};
use holdfast_repository::PointRecord;
use holdfast_repository::point::PointState;
use proptest::prelude::*;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};

fn varied(scene: &Scene) {
    scene.write("empty", b"");
    scene.write("one", b"1");
    scene.write("dir/deeper/text", "words and words ".repeat(4000).as_bytes());
    scene.write("dir/large", &noise(1, 3_000_000));
    scene.write("dir.sibling", &noise(2, 70_000));
    std::fs::create_dir(scene.source.join("hollow")).unwrap();
    let odd = scene.source.join(std::ffi::OsStr::from_bytes(b"odd\xff\xfename\n"));
    std::fs::write(odd, b"odd").unwrap();
    std::os::unix::fs::symlink("dir/large", scene.source.join("link")).unwrap();
    std::fs::hard_link(scene.source.join("dir/large"), scene.source.join("twin")).unwrap();
    let fifo = scene.source.join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::from_raw_mode(0o640)).unwrap();
    let sparse = std::fs::File::create(scene.source.join("sparse")).unwrap();
    sparse.set_len(9 << 20).unwrap();
    sparse.write_at(&noise(3, 8192), 5 << 20).unwrap();
    let private = std::fs::Permissions::from_mode(0o4711);
    std::fs::set_permissions(scene.source.join("one"), private).unwrap();
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let scene = Scene::new();
    varied(&scene);
    let backup = scene.back_up();
    let (_target, restored, report) = scene.restore_all(backup.point);
    assert_eq!(report.skipped, []);
    assert_eq!(tree(&restored), tree(&scene.source));
    assert!(report.notes.is_empty(), "{:?}", report.notes);
    assert_eq!(report.entries, scene.open(backup.point).record().entries);
    assert_eq!(backup.counts.skipped, 0);
    assert!(report.verified >= 6);
}

#[test]
fn a_point_says_what_it_is() {
    let scene = Scene::new();
    scene.write("file", b"content");
    let first = scene.back_up();
    let second = scene.back_up();
    let record = scene.open(second.point).record().clone();
    assert_eq!(record.state, PointState::Complete);
    assert_eq!(record.previous, Some(first.point));
    assert_eq!(record.agent, scene.host.agent);
    assert_eq!(record.source, format!("files:{}", scene.source.display()));
    assert_eq!((record.bytes, record.skipped, record.skipped_page), (7, 0, None));
}

#[test]
fn an_unchanged_second_backup_reads_little_and_sends_no_data() {
    let scene = Scene::new();
    for number in 0..60u64 {
        scene.write(&format!("d{}/f{number}", number % 7), &noise(number, 50_000));
    }
    let first = scene.back_up();
    assert_eq!(first.counts.bytes_new, 60 * 50_000);
    let before = scene.double.packs_of(ChunkKind::Data);
    let second = scene.back_up();
    // A page may be new: the directories above the source are everybody's.
    assert_eq!(scene.double.packs_of(ChunkKind::Data), before);
    assert_eq!(second.counts.bytes_new, 0);
    assert!(second.counts.bytes_read < 20 * 50_000, "{:?}", second.counts);
    assert_eq!(second.counts.chunks_reused, first.counts.chunks_new);
    let (_target, restored, _) = scene.restore_all(second.point);
    assert_eq!(tree(&restored), tree(&scene.source));
}

#[test]
fn a_renamed_file_stores_no_data() {
    let scene = Scene::new();
    scene.write("a/before", &noise(1, 500_000));
    scene.back_up();
    let data = scene.double.packs_of(ChunkKind::Data);
    std::fs::create_dir(scene.source.join("b")).unwrap();
    std::fs::rename(scene.source.join("a/before"), scene.source.join("b/after")).unwrap();
    let second = scene.back_up();
    assert_eq!(second.counts.bytes_new, 0);
    assert_eq!(scene.double.packs_of(ChunkKind::Data), data);
    let (_target, restored, _) = scene.restore_all(second.point);
    assert_eq!(tree(&restored), tree(&scene.source));
}

#[test]
fn equal_files_travel_once() {
    let scene = Scene::new();
    for number in 0..20 {
        scene.write(&format!("copy{number}"), &noise(7, 200_000));
    }
    let backup = scene.back_up();
    assert_eq!(backup.counts.bytes_new, 200_000);
    assert_eq!(backup.counts.bytes_read, 20 * 200_000);
}

#[test]
fn a_small_run_travels_inside_its_point() {
    let scene = Scene::new();
    scene.write("small", &noise(1, 20_000));
    scene.back_up();
    assert_eq!(scene.double.inner().packs.len(), 0);
    assert_eq!(scene.double.inner().inline_packs.len(), 2);
    scene.write("large", &noise(2, 400_000));
    scene.back_up();
    assert_eq!(scene.double.inner().packs.len(), 2);
    assert_eq!(scene.double.inner().inline_packs.len(), 2);
}

#[test]
fn many_packs_are_sent_and_each_chunk_is_in_one() {
    let scene = Scene::new();
    for number in 0..10 {
        scene.write(&format!("f{number}"), &noise(number, 4_000_000));
    }
    let backup = scene.back_up();
    assert_eq!(scene.double.packs_of(ChunkKind::Data), 3, "40 MB in packs of 16 MiB");
    assert_eq!(backup.counts.bytes_new, 40_000_000);
    assert!(backup.counts.bytes_stored > 40_000_000);
    let chunks = scene.double.inner().chunks.keys().filter(|k| k.0 == ChunkKind::Data).count();
    assert_eq!(chunks as u64, backup.counts.chunks_new);
    let (_target, restored, _) = scene.restore_all(backup.point);
    assert_eq!(tree(&restored), tree(&scene.source));
}

#[test]
fn a_file_of_very_many_chunks_has_its_list_in_pages() {
    let scene = Scene::new();
    // A database: cut every 4 KiB here, so 5,000 chunks.
    let mut database = noise(5, 5000 * 4096);
    database[..16].copy_from_slice(b"SQLite format 3\0");
    database[16..18].copy_from_slice(&4096u16.to_be_bytes());
    scene.write("base.db", &database);
    let first = scene.back_up();
    let (_target, restored, _) = scene.restore_all(first.point);
    assert_eq!(tree(&restored), tree(&scene.source));
    let second = scene.back_up();
    assert_eq!(second.counts.bytes_new, 0);
    assert_eq!(scene.double.packs_of(ChunkKind::Data), 2);
    let (_target, restored, _) = scene.restore_all(second.point);
    assert_eq!(tree(&restored), tree(&scene.source));
}

#[test]
fn what_was_skipped_makes_a_point_partial_and_can_be_read_from_it() {
    let scene = Scene::new();
    scene.write("file", b"here");
    let missing = scene.source.join("missing");
    let mut request = scene.request();
    request.files.paths.push(missing.clone());
    let backup = back_up(&scene.host, &request, &RunControl::default()).unwrap();
    assert_eq!(backup.counts.skipped, 1);
    let reader = scene.open(backup.point);
    assert_eq!(reader.record().state, PointState::Partial);
    let skipped = reader.skipped().unwrap();
    assert_eq!(skipped, [(missing.as_os_str().as_bytes().to_vec(), Code::FileMissing)]);
}

#[test]
fn a_source_without_any_path_is_refused_and_commits_nothing() {
    let scene = Scene::new();
    let mut request = scene.request();
    request.files.paths = vec![scene.source.join("missing")];
    let refused = back_up(&scene.host, &request, &RunControl::default()).unwrap_err();
    assert_eq!(refused.code, Code::SourceEmpty);
    assert!(scene.double.inner().points.is_empty());
}

#[test]
fn a_cancelled_run_ends_soon_and_commits_nothing() {
    let scene = Scene::new();
    (0..8).for_each(|number| scene.write(&format!("f{number}"), &noise(number, 5_000_000)));
    scene.double.inner().faults.stall_puts = true;
    let control = RunControl::default();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| back_up(&scene.host, &scene.request(), &control));
        while scene.double.inner().faults.packs_arrived == 0 {
            std::thread::yield_now();
        }
        control.cancel();
        assert_eq!(run.join().unwrap().unwrap_err().code, Code::RunCancelled);
    });
    assert!(scene.double.inner().points.is_empty());
    let again = back_up(&scene.host, &scene.request(), &control).unwrap_err();
    assert_eq!(again.code, Code::RunCancelled, "a control that was cancelled stays so");
}

#[test]
fn a_checkpoint_on_the_way_can_be_restored_by_itself() {
    let scene = Scene::new();
    // More than may be in flight, so that entries cannot all be done before data is counted.
    for number in 0..30 {
        scene.write(&format!("f{number:02}"), &noise(number, 1_500_000));
    }
    let mut request = scene.request();
    request.checkpoints = Checkpoints { bytes_new: 5_000_000, ..Default::default() };
    let backup = back_up(&scene.host, &request, &RunControl::default()).unwrap();
    let points = scene.double.inner().points.clone();
    let (last, checkpoints) = points.split_last().unwrap();
    assert!(last.point == backup.point && !last.checkpoint && !checkpoints.is_empty());
    let whole = tree(&scene.source);
    for checkpoint in checkpoints {
        assert!(checkpoint.checkpoint);
        let record = PointRecord::from_bytes(&checkpoint.record).unwrap();
        assert_eq!(record.state, PointState::Checkpoint);
        let (_target, restored, report) = scene.restore_all(checkpoint.point);
        assert_eq!(report.skipped, []);
        for (path, seen) in tree(&restored).iter().filter(|(path, _)| !path.is_empty()) {
            assert_eq!(seen, &whole[path]);
        }
    }
}

#[test]
fn checkpoints_are_made_in_the_middle_of_a_large_file_and_go_without_it() {
    let scene = Scene::new();
    scene.write("a-small", b"what is done before");
    scene.write("b-large", &noise(1, 30_000_000));
    let mut request = scene.request();
    request.bytes_per_second_max = 15_000_000;
    request.checkpoints = Checkpoints { bytes_new: 5_000_000, ..Default::default() };
    let backup = back_up(&scene.host, &request, &RunControl::default()).unwrap();
    let points = scene.double.inner().points.clone();
    let (last, checkpoints) = points.split_last().unwrap();
    assert!(last.point == backup.point && !last.checkpoint && !checkpoints.is_empty());
    let mut within = 0;
    for checkpoint in checkpoints {
        let (_target, restored, report) = scene.restore_all(checkpoint.point);
        assert_eq!(report.skipped, []);
        let has = |name: &[u8]| tree(&restored).keys().any(|path| path.ends_with(name));
        within += usize::from(has(b"a-small") && !has(b"b-large"));
    }
    assert!(within > 0, "{within} of {} checkpoints", checkpoints.len());
    let (_target, restored, _) = scene.restore_all(backup.point);
    assert_eq!(tree(&restored), tree(&scene.source));
}

#[test]
fn a_damaged_cache_costs_a_full_read_and_no_upload() {
    let scene = Scene::new();
    (0..20).for_each(|number| scene.write(&format!("f{number}"), &noise(number, 40_000)));
    scene.back_up();
    for file in std::fs::read_dir(scene.folder.path().join("cache")).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "cache") {
            let mut bytes = std::fs::read(&file).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(file, bytes).unwrap();
        }
    }
    let second = scene.back_up();
    assert_eq!(second.counts.bytes_read, 20 * 40_000);
    assert_eq!(second.counts.bytes_new, 0);
    let (_target, restored, _) = scene.restore_all(second.point);
    assert_eq!(tree(&restored), tree(&scene.source));
}

#[test]
fn what_the_cluster_lost_of_an_unchanged_file_is_read_and_sent_again() {
    let scene = Scene::new();
    (0..20).for_each(|number| scene.write(&format!("f{number}"), &noise(number, 200_000)));
    scene.back_up();
    scene.double.inner().chunks.retain(|(kind, _), _| *kind == ChunkKind::Page);
    let second = scene.back_up();
    assert_eq!(second.counts.bytes_new, 20 * 200_000);
    let (_target, restored, report) = scene.restore_all(second.point);
    assert_eq!(report.skipped, []);
    assert_eq!(tree(&restored), tree(&scene.source));
}

#[derive(Clone, Debug)]
enum Change {
    Append(usize, u64),
    Overwrite(usize, u64),
    Remove(usize),
    Rename(usize, usize),
    Write(usize, u64, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let name = 0usize..12;
    prop_oneof![
        (name.clone(), any::<u64>()).prop_map(|(at, seed)| Change::Append(at, seed)),
        (name.clone(), any::<u64>()).prop_map(|(at, seed)| Change::Overwrite(at, seed)),
        name.clone().prop_map(Change::Remove),
        (name.clone(), name.clone()).prop_map(|(from, to)| Change::Rename(from, to)),
        (name, any::<u64>(), 0usize..400_000)
            .prop_map(|(at, seed, length)| Change::Write(at, seed, length)),
    ]
}

fn apply(scene: &Scene, change: &Change) {
    let name = |at: usize| format!("{}/file{at}", ["a", "a/b", "a.c", "z"][at % 4]);
    let path = |at: usize| scene.source.join(name(at));
    // A change of what is not there is no change.
    match change {
        Change::Append(at, seed) => {
            if let Ok(mut bytes) = std::fs::read(path(*at)) {
                bytes.extend(noise(*seed, 1000));
                std::fs::write(path(*at), bytes).unwrap();
            }
        }
        Change::Overwrite(at, seed) => {
            if let Ok(mut bytes) = std::fs::read(path(*at)) {
                let middle = bytes.len() / 2;
                bytes.splice(middle..middle, noise(*seed, 77));
                std::fs::write(path(*at), bytes).unwrap();
            }
        }
        Change::Remove(at) => drop(std::fs::remove_file(path(*at))),
        Change::Rename(from, to) => {
            std::fs::create_dir_all(path(*to).parent().unwrap()).unwrap();
            drop(std::fs::rename(path(*from), path(*to)));
        }
        Change::Write(at, seed, length) => scene.write(&name(*at), &noise(*seed, *length)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..Default::default() })]

    #[test]
    fn every_point_is_a_true_copy_of_its_moment(
        rounds in proptest::collection::vec(proptest::collection::vec(change(), 0..6), 1..4),
    ) {
        let scene = Scene::new();
        (0..6).for_each(|at| apply(&scene, &Change::Write(at, at as u64, 100_000)));
        let mut points = Vec::new();
        for round in &rounds {
            round.iter().for_each(|change| apply(&scene, change));
            points.push((scene.back_up().point, tree(&scene.source)));
        }
        for (point, copy) in points {
            let (_target, restored, report) = scene.restore_all(point);
            prop_assert_eq!(report.skipped, vec![]);
            prop_assert_eq!(tree(&restored), copy);
        }
    }
}
