//! Files that are replaced between the walk that finds them and the threads that read them.
//!
//! The double answers no offer while a test makes its change, so the threads that cut stand still
//! in two large files; where the walk is, the open directories of this process tell.

use crate::scene::{Scene, inside, noise};
use holdfast_agent::pipeline::{Backup, RunControl, back_up};
use holdfast_agent::restore::RestoreRequest;
use holdfast_common::Code;
use holdfast_repository::point::PointState;
use std::fs::{File, FileTimes};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// More than may be in flight: neither of these is cut to its end.
const LARGE_BYTES: usize = 12 << 20;
const PATIENCE: Duration = Duration::from_secs(60);
/// More paths than may wait to be cut.
const FILLERS: usize = 40;

fn is_open(path: &Path) -> bool {
    let handles = std::fs::read_dir("/proc/self/fd").unwrap();
    handles.filter_map(|handle| std::fs::read_link(handle.ok()?.path()).ok()).any(|at| at == path)
}

fn block(scene: &Scene, directory: &str) {
    scene.write(&format!("{directory}/a"), &noise(1, LARGE_BYTES));
    scene.write(&format!("{directory}/b"), &noise(2, LARGE_BYTES));
}

/// The large files that have to be open when nobody cuts any more.
fn blocked(scene: &Scene, directory: &str) -> Vec<PathBuf> {
    let cutters = std::thread::available_parallelism().unwrap().get().min(2);
    ["a", "b"][..cutters].iter().map(|name| scene.source.join(directory).join(name)).collect()
}

/// Backs up, and makes the change when all these files and directories are open.
fn back_up_through(scene: &Scene, open: &[PathBuf], change: impl FnOnce()) -> Backup {
    scene.double.inner().faults.hold_offers = true;
    std::thread::scope(|scope| {
        let run = scope.spawn(|| back_up(&scene.host, &scene.request(), &RunControl::default()));
        let begun = Instant::now();
        while !open.iter().all(|path| is_open(path)) && begun.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
        let met = begun.elapsed() < PATIENCE;
        if met {
            change();
        }
        scene.double.inner().faults.hold_offers = false;
        assert!(met, "the walk never came to {open:?}");
        run.join().unwrap().unwrap()
    })
}

/// Puts other bytes into a file, and lets nothing but its inode tell.
fn write_like(path: &Path, like: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
    let before = like.metadata().unwrap();
    assert_eq!(before.len(), bytes.len() as u64);
    let times = FileTimes::new().set_modified(before.modified().unwrap());
    File::options().write(true).open(path).unwrap().set_times(times).unwrap();
}

fn link(scene: &Scene, from: &str, to: &str) {
    std::fs::create_dir_all(scene.source.join(to).parent().unwrap()).unwrap();
    std::fs::hard_link(scene.source.join(from), scene.source.join(to)).unwrap();
}

fn restored(scene: &Scene, backup: &Backup, paths: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let target = tempfile::tempdir().unwrap();
    let bytes = |path: &&str| scene.source.join(path).into_os_string().into_encoded_bytes();
    let paths = paths.iter().map(bytes).collect();
    let request = RestoreRequest { paths, ..scene.to_dir(target.path()) };
    let report = scene.restore(backup.point, request);
    assert_eq!(report.skipped, []);
    let inside = inside(target.path(), &scene.source);
    (target, inside)
}

#[test]
fn a_link_keeps_its_content_when_another_file_takes_the_name_of_the_first() {
    let scene = Scene::new();
    let [old, new] = [3, 4].map(|seed| noise(seed, 5000));
    block(&scene, "0");
    scene.write("1/f", &old);
    ["2/f", "2/g"].iter().for_each(|path| link(&scene, "1/f", path));
    scene.write("3/last", b"");
    let mut open = blocked(&scene, "0");
    open.push(scene.source.join("3"));
    let backup = back_up_through(&scene, &open, || {
        let beside = scene.source.join("3/beside");
        write_like(&beside, &scene.source.join("1/f"), &new);
        std::fs::rename(beside, scene.source.join("1/f")).unwrap();
    });
    assert_eq!(backup.counts.skipped, 0);
    let (_target, inside) = restored(&scene, &backup, &[]);
    assert!(std::fs::read(inside.join("1/f")).unwrap() == new);
    assert!(std::fs::read(inside.join("2/f")).unwrap() == old, "2/f never changed");
    let [f, g] = ["2/f", "2/g"].map(|path| inside.join(path).metadata().unwrap());
    assert_eq!((f.ino(), f.nlink()), (g.ino(), 2), "the others still are links of each other");
    for later in ["2/f", "2/g"] {
        let (_target, inside) = restored(&scene, &backup, &[later]);
        assert!(std::fs::read(inside.join(later)).unwrap() == old, "{later} by itself");
    }
}

#[test]
fn a_link_is_saved_when_the_first_is_gone_before_it_is_read() {
    let scene = Scene::new();
    let old = noise(3, 5000);
    block(&scene, "0");
    scene.write("1/f", &old);
    ["2/f", "2/g"].iter().for_each(|path| link(&scene, "1/f", path));
    scene.write("3/last", b"");
    let mut open = blocked(&scene, "0");
    open.push(scene.source.join("3"));
    let backup = back_up_through(&scene, &open, || {
        std::fs::remove_file(scene.source.join("1/f")).unwrap();
        std::fs::remove_file(scene.source.join("2/f")).unwrap();
    });
    let reader = scene.open(backup.point);
    assert_eq!(reader.record().state, PointState::Partial);
    // What its attributes lack, and that it is gone, may both be told.
    let mut skipped = reader.skipped().unwrap();
    skipped.sort();
    skipped.dedup();
    let gone = |path: &str| {
        (scene.source.join(path).into_os_string().into_encoded_bytes(), Code::FileMissing)
    };
    assert_eq!(skipped, ["1/f", "2/f"].map(gone));
    let (_target, inside) = restored(&scene, &backup, &[]);
    assert!(std::fs::read(inside.join("2/g")).unwrap() == old);
}

#[test]
fn a_link_to_a_symbolic_link_leads_where_it_led() {
    let scene = Scene::new();
    block(&scene, "0");
    std::fs::create_dir(scene.source.join("1")).unwrap();
    symlink("old", scene.source.join("1/l")).unwrap();
    link(&scene, "1/l", "2/l");
    scene.write("3/last", b"");
    let mut open = blocked(&scene, "0");
    open.push(scene.source.join("3"));
    let backup = back_up_through(&scene, &open, || {
        symlink("new", scene.source.join("3/beside")).unwrap();
        std::fs::rename(scene.source.join("3/beside"), scene.source.join("1/l")).unwrap();
    });
    let (_target, inside) = restored(&scene, &backup, &[]);
    let [first, later] = ["1/l", "2/l"].map(|path| std::fs::read_link(inside.join(path)).unwrap());
    assert_eq!([first, later], ["new", "old"].map(PathBuf::from));
}

#[test]
fn a_file_with_the_number_of_one_that_was_saved_and_removed_has_its_own_content() {
    let scene = Scene::new();
    let [old, new] = [3, 4].map(|seed| noise(seed, 5000));
    scene.write("1/f", &old);
    let (first, outside) = (scene.source.join("1/f"), scene.folder.path().join("outside"));
    std::fs::hard_link(&first, &outside).unwrap();
    let like = scene.folder.path().join("like");
    write_like(&like, &first, &old);
    block(&scene, "2");
    (0..FILLERS).for_each(|number| scene.write(&format!("3/{number}"), b""));
    std::fs::create_dir(scene.source.join("4")).unwrap();
    let number = first.metadata().unwrap().ino();
    let mut reused = false;
    let backup = back_up_through(&scene, &blocked(&scene, "2"), || {
        [&first, &outside].iter().for_each(|path| std::fs::remove_file(path).unwrap());
        let tries = (0..1000).map(|at| scene.folder.path().join(format!("try{at}")));
        let again = tries.take_while(|_| !reused).find(|path| {
            File::create(path).unwrap();
            path.metadata().unwrap().ino() == number
        });
        let Some(again) = again else { return };
        reused = true;
        write_like(&again, &like, &new);
        for name in ["4/x", "4/y"] {
            std::fs::hard_link(&again, scene.source.join(name)).unwrap();
        }
    });
    if !reused {
        return println!("this filesystem gives no number out again: nothing to see");
    }
    let (_target, inside) = restored(&scene, &backup, &[]);
    assert!(std::fs::read(inside.join("1/f")).unwrap() == old);
    for name in ["4/x", "4/y"] {
        assert!(std::fs::read(inside.join(name)).unwrap() == new, "{name}");
    }
}

#[test]
fn a_coordinator_that_names_another_key_for_the_vault_gets_nothing() {
    let scene = Scene::new();
    scene.write("file", b"content");
    scene.back_up();
    scene.double.inner().faults.foreign_key = Some([9; 32]);
    let points = scene.double.inner().points.len();
    let packs = scene.double.inner().packs.len();
    let refused = back_up(&scene.host, &scene.request(), &RunControl::default()).unwrap_err();
    assert_eq!(refused.code, Code::KeyVaultChanged);
    assert_eq!(scene.double.inner().points.len(), points);
    assert_eq!(scene.double.inner().packs.len(), packs);
    scene.double.inner().faults.foreign_key = None;
    scene.back_up();
}
