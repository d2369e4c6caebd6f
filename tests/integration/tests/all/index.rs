//! The coordinator's index is a cache: without it the coordinator is ready all the same, reads what
//! it needs in the background, and neither forgets what a location has nor says that it is gone.

use crate::harness::{Damage, Dev, Objects, Scratch, Tree, noise, wait_until, write};
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(60);

struct Scene {
    scratch: Scratch,
    source: PathBuf,
    point: String,
}

impl Scene {
    /// Two backups, so two segments; the coordinator has ended.
    fn new() -> (Self, PathBuf) {
        let scratch = Scratch::new();
        let (source, dir) = (scratch.join("source"), scratch.join("d"));
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(scratch.path(), Permissions::from_mode(0o755)).unwrap();
        let dev = Dev::start_as_nobody(&dir);
        let mut point = String::new();
        for round in 0..2 {
            for file in 0..4 {
                let path = source.join(format!("file-{round}-{file}"));
                write(&path, noise(round * 10 + file, 900_000));
            }
            point = dev.backup(&source);
        }
        dev.service.kill();
        (Self { scratch, source, point }, dir)
    }

    fn assert_restores(&self, dev: &Dev, name: &str) {
        let to = self.scratch.join(name);
        dev.json(&["restore", &self.point, "--to", to.to_str().unwrap()]).ok();
        let back = to.join(self.source.strip_prefix("/").unwrap());
        Tree::of(&self.source).assert_same(&Tree::of(&back), name);
    }

    /// The next backup of what is there sends no chunk.
    fn assert_nothing_is_sent_again(&self, dev: &Dev) {
        let told = dev.json(&["backup", "--path", self.source.to_str().unwrap()]).ok().object();
        assert_eq!(told["chunks_new"].as_u64(), Some(0), "{told}");
    }
}

fn lose_index(dir: &Path) -> PathBuf {
    let index = find(dir, "index");
    assert!(fs::read_dir(&index).unwrap().next().is_some(), "there is an index to lose");
    fs::remove_dir_all(&index).unwrap();
    index
}

/// The directory of this name that is not in the location.
fn find(dir: &Path, name: &str) -> PathBuf {
    let mut open = vec![dir.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let is_location = path.file_name().is_some_and(|name| name == "location");
            if path.is_dir() && !is_location {
                if path.file_name().is_some_and(|found| found == name) {
                    return path;
                }
                open.push(path);
            }
        }
    }
    panic!("there is no `{name}` below {}", dir.display());
}

#[test]
fn a_lost_index_is_read_from_the_segments() {
    let (scene, dir) = Scene::new();
    lose_index(&dir);
    let dev = Dev::start_as_nobody(&dir);
    scene.assert_restores(&dev, "back");
    assert!(dev.service.log().contains("segments loaded"));
    assert!(!dev.service.log().contains("index rebuilt from footers"));
    scene.assert_nothing_is_sent_again(&dev);
}

#[test]
fn a_lost_index_is_read_from_the_footers_when_there_are_no_segments() {
    let (scene, dir) = Scene::new();
    lose_index(&dir);
    fs::remove_dir_all(dir.join("location/index")).unwrap();
    let dev = Dev::start_as_nobody(&dir);
    scene.assert_restores(&dev, "back");
    assert!(dev.service.log().contains("index rebuilt from footers"));
    scene.assert_nothing_is_sent_again(&dev);
}

#[test]
fn a_damaged_segment_is_only_a_slower_start() {
    let (scene, dir) = Scene::new();
    lose_index(&dir);
    let objects = Objects::of(&dir.join("location"));
    let _undo = objects.damage(&objects.below("index")[0], Damage::FlipMiddle);
    let dev = Dev::start_as_nobody(&dir);
    scene.assert_restores(&dev, "back");
    assert!(dev.service.log().contains("a segment is passed over"));
    scene.assert_nothing_is_sent_again(&dev);
}

#[test]
fn a_start_without_the_location_is_ready_and_restores_when_it_is_back() {
    let (scene, dir) = Scene::new();
    lose_index(&dir);
    let (location, away) = (dir.join("location"), dir.join("away"));
    fs::rename(&location, &away).unwrap();
    let dev = Dev::start_as_nobody(&dir);
    let alarmed = || {
        let status = dev.json(&["status"]).object();
        let alarms = status["alarms"].as_array().unwrap().clone();
        alarms.iter().any(|alarm| alarm["code"] == "index.loading").then_some(())
    };
    wait_until("an alarm", PATIENCE, alarmed);
    fs::rename(&away, &location).unwrap();
    scene.assert_restores(&dev, "back");
    wait_until("the end of the alarm", PATIENCE, || alarmed().is_none().then_some(()));
}

#[test]
fn what_lies_where_nobody_can_look_is_not_called_missing() {
    let (scene, dir) = Scene::new();
    lose_index(&dir);
    fs::remove_dir_all(dir.join("location/index")).unwrap();
    let packs = dir.join("location/packs");
    fs::set_permissions(&packs, Permissions::from_mode(0o000)).unwrap();
    let dev = Dev::start_as_nobody(&dir);
    let to = scene.scratch.join("early");
    dev.json(&["restore", &scene.point, "--to", to.to_str().unwrap()]).fails(8, "index.loading");
    fs::set_permissions(&packs, Permissions::from_mode(0o755)).unwrap();
    scene.assert_restores(&dev, "back");
}

#[test]
fn a_restore_waits_for_what_the_index_does_not_have_yet() {
    let (scene, dir) = Scene::new();
    lose_index(&dir);
    fs::remove_dir_all(dir.join("location/index")).unwrap();
    let objects = Objects::of(&dir.join("location"));
    let pack = objects.below("packs").first().unwrap().clone();
    fs::set_permissions(&pack, Permissions::from_mode(0o000)).unwrap();
    let dev = Dev::start_as_nobody(&dir);
    std::thread::scope(|scope| {
        let restore = scope.spawn(|| scene.assert_restores(&dev, "back"));
        let told = || dev.service.log().contains("that may come later").then_some(());
        wait_until("a chunk that may come later", PATIENCE, told);
        assert!(!restore.is_finished());
        // What is known was given meanwhile.
        let back = scene.scratch.join("back").join(scene.source.strip_prefix("/").unwrap());
        let is_back = |entry: fs::DirEntry| {
            let name = entry.file_name();
            fs::read(scene.source.join(name)).is_ok_and(|is| is == fs::read(entry.path()).unwrap())
        };
        let some = || fs::read_dir(&back).ok()?.any(|entry| is_back(entry.unwrap())).then_some(());
        wait_until("a file that is whole", PATIENCE, some);
        fs::set_permissions(&pack, Permissions::from_mode(0o644)).unwrap();
        restore.join().unwrap();
    });
}
