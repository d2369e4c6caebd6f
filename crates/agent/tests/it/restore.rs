//! Restores into places where something lies already, and of parts of a point.

use crate::scene::{Scene, inside, noise};
use crate::trees::tree;
use holdfast_agent::pipeline::{RunControl, back_up};
use holdfast_agent::restore::{Progress, RestoreRequest, restore};
use holdfast_common::Code;
use std::fs::Permissions;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

/// Root passes every mode by; the threads that are begun in here do not.
fn with_leave_of_owners_only<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
    let passing = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    let narrow = move || {
        let has = capabilities(None).unwrap();
        let effective = has.effective - passing;
        set_capabilities(None, CapabilitySets { effective, ..has }).unwrap();
        work()
    };
    std::thread::scope(|scope| scope.spawn(narrow).join()).unwrap()
}

fn forced(scene: &Scene, target: &Path) -> RestoreRequest {
    RestoreRequest { force: true, ..scene.to_dir(target) }
}

#[test]
fn what_lies_there_already_is_not_fetched_again() {
    let scene = Scene::new();
    scene.write("same", &noise(1, 200_000));
    let mut database = noise(2, 400 * 4096);
    database[..16].copy_from_slice(b"SQLite format 3\0");
    database[16..18].copy_from_slice(&4096u16.to_be_bytes());
    scene.write("base", &database);
    let backup = scene.back_up();
    let (target, restored, _) = scene.restore_all(backup.point);
    let mut changed = database.clone();
    changed[50 * 4096] ^= 1;
    changed[200 * 4096 + 5] ^= 1;
    std::fs::write(restored.join("base"), &changed).unwrap();
    let inode = std::fs::metadata(restored.join("same")).unwrap().ino();
    let report = scene.restore(backup.point, forced(&scene, target.path()));
    assert_eq!(report.skipped, []);
    assert_eq!(report.bytes_written, 2 * 4096, "two pages differ");
    assert_eq!(report.bytes_reused, 200_000 + 398 * 4096);
    assert_eq!(tree(&restored), tree(&scene.source));
    assert_eq!(std::fs::metadata(restored.join("same")).unwrap().ino(), inode, "it was kept");
}

#[test]
fn without_force_what_lies_there_stays_and_is_named() {
    let scene = Scene::new();
    scene.write("taken", b"of the point");
    scene.write("free", b"free");
    let backup = scene.back_up();
    let target = tempfile::tempdir().unwrap();
    let there = inside(target.path(), &scene.source.join("taken"));
    std::fs::create_dir_all(there.parent().unwrap()).unwrap();
    std::fs::write(&there, b"mine").unwrap();
    let report = scene.restore(backup.point, scene.to_dir(target.path()));
    assert_eq!(report.skipped, [(bytes(&scene.source.join("taken")), Code::FileExists)]);
    assert_eq!(std::fs::read(&there).unwrap(), b"mine");
    assert_eq!(report.damage(), None);
    let free = inside(target.path(), &scene.source.join("free"));
    assert_eq!(std::fs::read(free).unwrap(), b"free");
}

#[test]
fn a_part_comes_with_its_directories_and_nothing_else() {
    let scene = Scene::new();
    scene.write("a/b/wanted", b"wanted");
    scene.write("a/b/deeper/too", b"too");
    scene.write("a/other", b"other");
    scene.write("c", b"c");
    let backup = scene.back_up();
    let target = tempfile::tempdir().unwrap();
    let paths = vec![bytes(&scene.source.join("a/b")), bytes(&scene.source.join("a/b/deeper/"))];
    let report =
        scene.restore(backup.point, RestoreRequest { paths, ..scene.to_dir(target.path()) });
    assert_eq!(report.skipped, []);
    let restored = inside(target.path(), &scene.source);
    let mut expected = tree(&scene.source);
    expected.retain(|path, _| !matches!(&path[..], b"/a/other" | b"/c"));
    assert_eq!(tree(&restored), expected);
}

#[test]
fn a_path_that_the_point_does_not_have_is_refused() {
    let scene = Scene::new();
    scene.write("a", b"a");
    let backup = scene.back_up();
    let target = tempfile::tempdir().unwrap();
    let request =
        RestoreRequest { paths: vec![b"/nowhere".to_vec()], ..scene.to_dir(target.path()) };
    let refused = restore(&scene.open(backup.point), &request, &Progress::default()).unwrap_err();
    assert_eq!(refused.code, Code::FileMissing);
}

#[test]
fn a_later_hard_link_alone_comes_with_its_content() {
    let scene = Scene::new();
    scene.write("a/first", &noise(1, 100_000));
    std::fs::create_dir(scene.source.join("b")).unwrap();
    for name in ["second", "third"] {
        let link = scene.source.join("b").join(name);
        std::fs::hard_link(scene.source.join("a/first"), link).unwrap();
    }
    let backup = scene.back_up();
    let target = tempfile::tempdir().unwrap();
    let paths = vec![bytes(&scene.source.join("b"))];
    let report =
        scene.restore(backup.point, RestoreRequest { paths, ..scene.to_dir(target.path()) });
    assert_eq!(report.skipped, []);
    let restored = inside(target.path(), &scene.source.join("b"));
    assert_eq!(std::fs::read(restored.join("second")).unwrap(), noise(1, 100_000));
    let inode = |name: &str| std::fs::metadata(restored.join(name)).unwrap().ino();
    assert_eq!(inode("second"), inode("third"));
}

#[test]
fn delete_removes_what_the_point_does_not_have_and_only_there() {
    let scene = Scene::new();
    scene.write("keep/file", b"file");
    let backup = scene.back_up();
    let (target, restored, _) = scene.restore_all(backup.point);
    std::fs::write(restored.join("extra"), b"extra").unwrap();
    std::fs::create_dir_all(restored.join("keep/more/deep")).unwrap();
    std::fs::write(restored.join("keep/more/deep/file"), b"x").unwrap();
    // Beside the backed-up directory: nobody's to remove.
    let beside = restored.parent().unwrap().join("beside");
    std::fs::write(&beside, b"beside").unwrap();
    let request = RestoreRequest { delete: true, ..forced(&scene, target.path()) };
    let report = scene.restore(backup.point, request);
    assert_eq!(report.removed, 4);
    assert_eq!(tree(&restored), tree(&scene.source));
    assert_eq!(std::fs::read(beside).unwrap(), b"beside");
}

#[test]
fn delete_keeps_what_the_backup_could_not_read() {
    let scene = Scene::new();
    scene.write("file", b"file");
    let mut request = scene.request();
    request.files.paths.push(scene.source.join("unread/file"));
    let backup = back_up(&scene.host, &request, &RunControl::default()).unwrap();
    let (target, restored, _) = scene.restore_all(backup.point);
    std::fs::create_dir(restored.join("unread")).unwrap();
    std::fs::write(restored.join("unread/file"), b"precious").unwrap();
    std::fs::write(restored.join("extra"), b"extra").unwrap();
    let request = RestoreRequest { delete: true, ..forced(&scene, target.path()) };
    let report = scene.restore(backup.point, request);
    assert_eq!(report.removed, 1);
    assert_eq!(std::fs::read(restored.join("unread/file")).unwrap(), b"precious");
}

#[test]
fn delete_keeps_all_in_a_directory_that_the_backup_could_not_list() {
    let scene = Scene::new();
    scene.write("file", b"file");
    scene.write("closed/inside", b"precious");
    let closed = scene.source.join("closed");
    let whole = scene.back_up();
    let (target, restored, _) = scene.restore_all(whole.point);
    // A directory that cannot be listed: skipped, and in the point all the same.
    std::fs::set_permissions(&closed, Permissions::from_mode(0o0)).unwrap();
    let backup = with_leave_of_owners_only(|| scene.back_up());
    assert_eq!(backup.counts.skipped, 1);
    std::fs::write(restored.join("extra"), b"extra").unwrap();
    for dry_run in [true, false] {
        let request = RestoreRequest { delete: true, dry_run, ..forced(&scene, target.path()) };
        let report = scene.restore(backup.point, request);
        assert_eq!(report.removed, 1, "dry run: {dry_run}");
        assert_eq!(std::fs::read(restored.join("closed/inside")).unwrap(), b"precious");
    }
}

#[test]
fn a_dry_run_counts_and_writes_nothing() {
    let scene = Scene::new();
    scene.write("file", &noise(1, 100_000));
    let backup = scene.back_up();
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("new");
    let request = RestoreRequest { dry_run: true, ..scene.to_dir(&target) };
    let report = scene.restore(backup.point, request);
    assert_eq!(report.bytes_written, 100_000);
    assert_eq!(report.entries, scene.open(backup.point).record().entries);
    assert!(!target.exists());
}
