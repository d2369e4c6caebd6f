//! What an agent saves before it overwrites or removes, what it leaves alone, and where it does not
//! go at all.

use crate::scene::{Scene, inside};
use holdfast_agent::pipeline::{BackupRequest, Purpose, RunControl, back_up};
use holdfast_agent::restore::{RestoreOrder, RestoreRequest, Restored, Targets, restore_ordered};
use holdfast_agent::source::files::FilesOptions;
use holdfast_common::{Code, Entropy, PointId, RunId, SystemEntropy};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

/// Restores as it is ordered, over what lies there, and gives back the point that was made first.
fn restore_saved(
    scene: &Scene,
    point: PointId,
    source: &FilesOptions,
    request: RestoreRequest,
) -> (Option<PointId>, Restored) {
    let before = scene.double.inner().points.len();
    let order = RestoreOrder {
        run: RunId::random(&SystemEntropy),
        point,
        request: RestoreRequest { force: true, ..request },
        sealed_paths: Vec::new(),
        safety: Some(source.clone()),
        policy: None,
    };
    let targets = Targets::new(None);
    let restored = restore_ordered(&scene.host, &targets, &order, &RunControl::default());
    assert!(restored.error.is_none(), "{restored:?}");
    let safety = scene.double.inner().points.get(before).map(|committed| committed.point);
    (safety, restored)
}

/// The paths of a point below a directory.
fn saved(scene: &Scene, point: PointId, directory: &Path) -> Vec<String> {
    let reader = scene.open(point);
    let entries = reader.manifest().entries().unwrap();
    let paths =
        entries.map(|entry| PathBuf::from(std::ffi::OsStr::from_bytes(&entry.unwrap().path)));
    let below = paths.filter_map(|path| {
        let relative = path.strip_prefix(directory).ok()?.to_str().unwrap().to_owned();
        (!relative.is_empty()).then_some(relative)
    });
    below.collect()
}

fn backed_up(scene: &Scene, files: &FilesOptions) -> PointId {
    let request = BackupRequest { files: files.clone(), ..scene.request() };
    back_up(&scene.host, &request, &RunControl::default()).unwrap().point
}

#[test]
fn what_is_no_directory_where_one_leads_to_the_point_is_saved_as_it_is() {
    let scene = Scene::new();
    scene.write("file", b"of the point");
    let source = scene.request().files;
    let point = backed_up(&scene, &source);
    let target = tempfile::tempdir().unwrap();
    let target = target.path().canonicalize().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let elsewhere = elsewhere.path().canonicalize().unwrap();
    std::fs::create_dir_all(inside(&elsewhere, &scene.source)).unwrap();
    std::fs::write(inside(&elsewhere, &scene.source).join("file"), b"not in the way").unwrap();
    let top = scene.source.components().nth(1).unwrap().as_os_str().to_str().unwrap();
    let to_target = || RestoreRequest { target: target.clone(), ..RestoreRequest::default() };

    std::fs::write(target.join(top), b"precious").unwrap();
    let (safety, _) = restore_saved(&scene, point, &source, to_target());
    assert_eq!(saved(&scene, safety.unwrap(), &target), [top]);
    assert_eq!(
        std::fs::read(inside(&target, &scene.source).join("file")).unwrap(),
        b"of the point"
    );

    // The directory is the point's now: the file comes back once that was moved away.
    let back = RestoreRequest { in_place: true, ..RestoreRequest::default() };
    let skipped = scene.restore(safety.unwrap(), back.clone()).skipped;
    let in_the_way = target.join(top).as_os_str().as_bytes().to_vec();
    assert_eq!(skipped, [(in_the_way, Code::FileExists)]);
    std::fs::rename(target.join(top), target.join("moved")).unwrap();
    assert_eq!(scene.restore(safety.unwrap(), back).skipped, []);
    assert_eq!(std::fs::read(target.join(top)).unwrap(), b"precious");

    std::fs::remove_file(target.join(top)).unwrap();
    symlink(elsewhere.join(top), target.join(top)).unwrap();
    let (safety, _) = restore_saved(&scene, point, &source, to_target());
    assert_eq!(saved(&scene, safety.unwrap(), &target), [top]);
    assert_eq!(saved(&scene, safety.unwrap(), &elsewhere), [""; 0], "the link alone is replaced");
    let there = inside(&elsewhere, &scene.source).join("file");
    assert_eq!(std::fs::read(there).unwrap(), b"not in the way");

    std::fs::remove_dir_all(target.join(top)).unwrap();
    let (safety, _) = restore_saved(&scene, point, &source, to_target());
    assert_eq!(safety, None, "nothing was in the way");
}

#[test]
fn what_a_backed_up_link_led_to_is_saved_where_the_link_is_gone() {
    let scene = Scene::new();
    let real = scene.folder.path().join("real");
    std::fs::create_dir(&real).unwrap();
    std::fs::write(real.join("file"), b"of the point").unwrap();
    symlink(&real, scene.source.join("link")).unwrap();
    let source = FilesOptions { paths: vec![scene.source.join("link")], ..Default::default() };
    let point = backed_up(&scene, &source);
    std::fs::remove_file(scene.source.join("link")).unwrap();
    std::fs::write(real.join("file"), b"precious").unwrap();
    std::fs::write(scene.folder.path().join("beside"), b"not in the way").unwrap();

    let in_place = RestoreRequest { in_place: true, ..RestoreRequest::default() };
    let (safety, _) = restore_saved(&scene, point, &source, in_place.clone());
    assert_eq!(std::fs::read(real.join("file")).unwrap(), b"of the point");
    let names = saved(&scene, safety.unwrap(), scene.folder.path());
    assert!(names.contains(&"real/file".to_owned()), "{names:?}");
    assert!(!names.contains(&"beside".to_owned()), "{names:?}");
    let (_, restored) = restore_saved(&scene, safety.unwrap(), &source, in_place);
    assert_eq!(restored.report.skipped, []);
    assert_eq!(std::fs::read(real.join("file")).unwrap(), b"precious", "it can be undone");
}

#[test]
fn what_links_led_to_is_saved_whatever_is_excluded_by_name() {
    let scene = Scene::new();
    let mut paths = Vec::new();
    for name in ["cache", "other"] {
        let real = scene.folder.path().join("far").join(name);
        std::fs::create_dir_all(&real).unwrap();
        std::fs::write(real.join("file"), b"of the point").unwrap();
        paths.push(scene.source.join(format!("to-{name}")));
        symlink(&real, paths.last().unwrap()).unwrap();
    }
    let source = FilesOptions { paths, exclude: vec!["cache".into()], ..Default::default() };
    let point = backed_up(&scene, &source);
    let cached = scene.folder.path().join("far/cache/file");
    std::fs::write(&cached, b"precious").unwrap();

    let in_place = RestoreRequest { in_place: true, ..RestoreRequest::default() };
    let (safety, _) = restore_saved(&scene, point, &source, in_place);
    assert_eq!(std::fs::read(&cached).unwrap(), b"of the point", "it was overwritten");
    let names = saved(&scene, safety.unwrap(), scene.folder.path());
    assert!(names.contains(&"far/cache/file".to_owned()), "{names:?}");
}

pub(crate) struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: PathBuf) -> Self {
        Self::with(&["-t", "tmpfs", "none"], at)
    }

    pub(crate) fn read_only(at: PathBuf) -> Self {
        Self::with(&["-t", "tmpfs", "-o", "ro", "none"], at)
    }

    fn with(arguments: &[&str], at: PathBuf) -> Self {
        let done = Command::new("mount").args(arguments).arg(&at).status().unwrap();
        assert!(done.success());
        Self(at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_restore_saves_what_it_overwrites_on_other_file_systems_and_removes_nothing_there() {
    assert!(rustix::process::geteuid().is_root(), "`make test` runs this as root");
    let scene = Scene::new();
    scene.write("written/file", b"of the point");
    std::fs::create_dir(scene.source.join("empty")).unwrap();
    let files = scene.request().files;
    let source = FilesOptions { one_file_system: true, exclude: vec!["*.tmp".into()], ..files };
    let point = backed_up(&scene, &source);
    // Both were plain directories when the point was made.
    let written = Mounted::tmpfs(scene.source.join("written"));
    let empty = Mounted::tmpfs(scene.source.join("empty"));
    for mount in [&written, &empty] {
        std::fs::write(mount.0.join("file"), b"precious").unwrap();
        std::fs::write(mount.0.join("more"), b"precious").unwrap();
    }
    std::fs::write(scene.source.join("extra.tmp"), b"precious").unwrap();

    let request = RestoreRequest { in_place: true, delete: true, ..RestoreRequest::default() };
    let (safety, restored) = restore_saved(&scene, point, &source, request);
    let names = saved(&scene, safety.unwrap(), &scene.source);
    let expected = ["empty", "extra.tmp", "written", "written/file", "written/more"];
    assert_eq!(names, expected, "what is written to, and nothing else that is mounted");
    assert_eq!(restored.report.removed, 1);
    assert!(!scene.source.join("extra.tmp").exists());
    assert_eq!(std::fs::read(written.0.join("file")).unwrap(), b"of the point");
    for left in [written.0.join("more"), empty.0.join("file"), empty.0.join("more")] {
        assert_eq!(std::fs::read(&left).unwrap(), b"precious", "{}", left.display());
    }
    let told: Vec<u64> = restored.report.notes.iter().map(|note| note.count).collect();
    assert_eq!(told, [3], "what was left is told");

    // Named, it is what is meant.
    let paths = vec![empty.0.as_os_str().as_bytes().to_vec()];
    let named =
        RestoreRequest { force: true, delete: true, in_place: true, paths, ..Default::default() };
    assert_eq!(scene.restore(point, named).removed, 2);
}

#[test]
fn what_is_mounted_in_a_directory_that_is_too_much_is_left_with_it() {
    assert!(rustix::process::geteuid().is_root(), "`make test` runs this as root");
    let scene = Scene::new();
    scene.write("file", b"of the point");
    let point = scene.back_up().point;
    scene.write("extra/plain", b"too much");
    std::fs::create_dir(scene.source.join("extra/mount")).unwrap();
    let mounted = Mounted::tmpfs(scene.source.join("extra/mount"));
    std::fs::write(mounted.0.join("file"), b"precious").unwrap();
    let request = RestoreRequest { in_place: true, delete: true, ..RestoreRequest::default() };
    let restored = scene.restore(point, request);
    assert_eq!(std::fs::read(mounted.0.join("file")).unwrap(), b"precious");
    assert!(!scene.source.join("extra/plain").exists());
    assert_eq!(restored.removed, 1);
    assert!(restored.notes.iter().next().is_some(), "what was left is told");
}

#[test]
fn a_safety_point_leaves_what_the_backups_of_its_policy_remember() {
    let scene = Scene::new();
    scene.write("file", b"content");
    let backup = scene.back_up();
    let cache = || {
        let entries = std::fs::read_dir(scene.folder.path().join("cache")).unwrap();
        let files = entries.map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files.map(|path| (std::fs::read(&path).unwrap(), path)).collect();
        files.sort();
        files
    };
    let before = cache();
    scene.write("file", b"changed");
    for path in [scene.source.clone(), scene.source.join("file")] {
        let files = FilesOptions { paths: vec![path], ..FilesOptions::default() };
        let purpose = Purpose::Safety(backup.point);
        let request = BackupRequest { purpose, files, ..scene.request() };
        back_up(&scene.host, &request, &RunControl::default()).unwrap();
    }
    assert!(cache() == before, "neither its own cache was touched nor another made");
    scene.back_up();
    assert!(cache() != before, "a backup remembers anew");
}

/// Does something when it is first asked for: the reading of the point begins then.
struct AtFirst<F: FnOnce() + Send>(Mutex<Option<F>>);

impl<F: FnOnce() + Send> Entropy for AtFirst<F> {
    fn fill(&self, out: &mut [u8]) {
        if let Some(first) = self.0.lock().unwrap().take() {
            first();
        }
        SystemEntropy.fill(out);
    }
}

#[test]
fn a_directory_that_is_swapped_after_it_was_allowed_leads_nowhere_else() {
    let mut scene = Scene::new();
    scene.write("file", b"of the point");
    let point = scene.back_up().point;
    let base = scene.folder.path().join("base");
    let (allowed, outside) = (base.join("allowed"), base.join("outside"));
    std::fs::create_dir_all(allowed.join("there")).unwrap();
    std::fs::create_dir(&outside).unwrap();
    let there = allowed.join("there");
    let swapped = there.clone();
    let swap = move || {
        std::fs::remove_dir(&swapped).unwrap();
        symlink("../outside", &swapped).unwrap();
    };
    let host = Arc::get_mut(&mut scene.host).unwrap();
    host.entropy = Arc::new(AtFirst(Mutex::new(Some(swap))));
    let order = RestoreOrder {
        run: RunId::random(&SystemEntropy),
        point,
        request: RestoreRequest { target: there.clone(), ..RestoreRequest::default() },
        sealed_paths: Vec::new(),
        safety: None,
        policy: None,
    };
    let targets = Targets::new(Some(vec![allowed]));
    let restored = restore_ordered(&scene.host, &targets, &order, &RunControl::default());
    assert!(there.is_symlink(), "it was swapped after its path was judged");
    assert_eq!(restored.error.unwrap().code, Code::TargetRefused);
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}
