//! What lies where a restore goes: what is the same is left, what differs is protected, what is too
//! much goes last or not at all, and a dry run tells all of it before.

use crate::safety::Mounted;
use crate::scene::{Scene, inside, noise};
use crate::trees::{Tree, tree};
use holdfast_agent::pipeline::{BackupRequest, RunControl, back_up};
use holdfast_agent::restore::place::NoteKind;
use holdfast_agent::restore::{
    Progress, RestoreOrder, RestoreReport, RestoreRequest, Targets, restore, restore_ordered,
};
use holdfast_agent::source::files::FilesOptions;
use holdfast_common::{Code, PointId, RunId, SystemEntropy};
use holdfast_repository::{PointRecord, PointState};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

/// One of each kind, and a name more of the large file.
fn furnish(scene: &Scene) {
    scene.write("large", &noise(1, 300_000));
    scene.write("small", b"small");
    scene.write("dir/deep", b"deep");
    scene.write("empty", b"");
    std::fs::hard_link(scene.source.join("large"), scene.source.join("other name")).unwrap();
    symlink("small", scene.source.join("link")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(scene.source.join("fifo")).status();
    assert!(made.unwrap().success());
}

/// Looks first, and holds the restore to what was told.
fn foretold(scene: &Scene, point: PointId, request: &RestoreRequest, from: &Path) -> RestoreReport {
    let before = from.exists().then(|| tree(from));
    let dry = RestoreRequest { dry_run: true, verify: false, ..request.clone() };
    let told = scene.restore(point, dry);
    assert_eq!(from.exists().then(|| tree(from)), before, "nothing was touched");
    let done = scene.restore(point, RestoreRequest { verify: false, ..request.clone() });
    let left = |report: &RestoreReport| -> Vec<(Code, u64)> {
        let removals = report.notes.iter().filter(|note| note.kind == NoteKind::Removal);
        removals.map(|note| (note.code, note.count)).collect()
    };
    assert_eq!(left(&told), left(&done));
    assert_eq!(RestoreReport { notes: done.notes.clone(), ..told }, done);
    done
}

#[test]
fn what_is_there_already_as_the_point_has_it_is_not_in_the_way() {
    let scene = Scene::new();
    furnish(&scene);
    let point = scene.back_up().point;
    let target = tempfile::tempdir().unwrap();
    let to = scene.to_dir(target.path());
    let restored = inside(target.path(), &scene.source);
    let first = foretold(&scene, point, &to, target.path());
    assert_eq!((first.bytes_written, first.bytes_reused), (300_009, 0));
    let again = foretold(&scene, point, &to, target.path());
    assert_eq!((&again.skipped[..], again.entries), (&[][..], first.entries));
    assert_eq!((again.bytes_written, again.bytes_reused), (0, 300_009));
    assert_eq!(tree(&restored), tree(&scene.source));
    // What is missing comes back beside it, and the directories are as they were.
    std::fs::remove_file(restored.join("dir/deep")).unwrap();
    let third = foretold(&scene, point, &to, target.path());
    assert_eq!((&third.skipped[..], third.bytes_written), (&[][..], 4));
    assert_eq!(tree(&restored), tree(&scene.source));
}

/// Something that makes a path another one than the point has.
type Change = fn(&Path);

#[test]
fn what_differs_in_anything_is_in_the_way_and_stays_as_it_is() {
    let scene = Scene::new();
    furnish(&scene);
    let point = scene.back_up().point;
    let of = |path: &Path| std::fs::symlink_metadata(path).unwrap();
    let changes: [(&str, Change); 9] = [
        // Of the same size and time.
        ("small", |path| {
            let time = path.metadata().unwrap().modified().unwrap();
            std::fs::write(path, b"smalt").unwrap();
            std::fs::File::open(path).unwrap().set_modified(time).unwrap();
        }),
        ("small", |path| {
            std::fs::File::open(path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap()
        }),
        ("small", |path| std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap()),
        ("small", |path| chown(path, Some(1), None).unwrap()),
        ("small", |path| {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(path, "user.mine", b"mine", flags).unwrap();
        }),
        ("link", |path| {
            std::fs::remove_file(path).unwrap();
            symlink("elsewhere", path).unwrap();
        }),
        ("fifo", |path| {
            std::fs::remove_file(path).unwrap();
            std::fs::create_dir(path).unwrap();
        }),
        // The same content, and no other name of the other file.
        ("other name", |path| {
            let time = path.metadata().unwrap().modified().unwrap();
            std::fs::remove_file(path).unwrap();
            std::fs::copy(path.with_file_name("large"), path).unwrap();
            std::fs::File::open(path).unwrap().set_modified(time).unwrap();
        }),
        ("dir", |path| {
            std::fs::remove_dir_all(path).unwrap();
            std::fs::write(path, b"a file").unwrap();
        }),
    ];
    for (at, (name, change)) in changes.into_iter().enumerate() {
        let (target, restored, _) = scene.restore_all(point);
        change(&restored.join(name));
        // The directory itself may get its time back.
        let within = || {
            let mut all = tree(&restored);
            all.remove(&b""[..]);
            (all, of(&restored.join(name)).permissions())
        };
        let before = within();
        let request = scene.to_dir(target.path());
        let report = foretold(&scene, point, &request, target.path());
        let mut expected = vec![(bytes(&scene.source.join(name)), Code::FileExists)];
        if name == "dir" {
            expected.push((bytes(&scene.source.join("dir/deep")), Code::FileExists));
        }
        assert_eq!(report.skipped, expected, "{at}");
        assert_eq!(report.failure().unwrap().code, Code::FileExists);
        assert_eq!(within(), before, "{at}");
        let forced = RestoreRequest { force: true, ..request };
        let forced = foretold(&scene, point, &forced, target.path());
        assert_eq!(forced.skipped, [], "{at}");
        assert_eq!(tree(&restored), tree(&scene.source), "{at}");
    }
}

#[test]
fn nothing_is_removed_when_anything_was_in_the_way() {
    let scene = Scene::new();
    scene.write("small", b"small");
    scene.write("dir/deep", b"deep");
    let point = scene.back_up().point;
    let (target, restored, _) = scene.restore_all(point);
    std::fs::write(restored.join("small"), b"mine").unwrap();
    std::fs::write(restored.join("extra"), b"precious").unwrap();
    let deleting = RestoreRequest { delete: true, ..scene.to_dir(target.path()) };
    let report = foretold(&scene, point, &deleting, target.path());
    assert_eq!(report.skipped, [(bytes(&scene.source.join("small")), Code::FileExists)]);
    assert_eq!(report.removed, 0);
    assert_eq!(std::fs::read(restored.join("extra")).unwrap(), b"precious");
    let forced = RestoreRequest { force: true, ..deleting };
    assert_eq!(foretold(&scene, point, &forced, target.path()).removed, 1);
    assert_eq!(tree(&restored), tree(&scene.source));
}

#[test]
fn nothing_is_removed_when_anything_was_damaged_or_could_not_be_written() {
    assert!(rustix::process::geteuid().is_root(), "`make test` runs this as root");
    let scene = Scene::new();
    scene.write("dir/deep", b"deep");
    scene.write("large", &noise(1, 100_000));
    let point = scene.back_up().point;
    let target = tempfile::tempdir().unwrap();
    let restored = inside(target.path(), &scene.source);
    std::fs::create_dir_all(restored.join("dir")).unwrap();
    std::fs::write(restored.join("extra"), b"precious").unwrap();
    let mount = Mounted::read_only(restored.join("dir"));
    let deleting = RestoreRequest { delete: true, force: true, ..scene.to_dir(target.path()) };
    let report = foretold(&scene, point, &deleting, target.path());
    let (path, code) = report.skipped[0].clone();
    assert_eq!((path, report.skipped.len()), (bytes(&scene.source.join("dir/deep")), 1));
    assert_eq!((report.removed, report.failure()), (0, None), "the others are in place");
    let told = report.notes.iter().find(|note| note.kind == NoteKind::Removal).unwrap();
    assert_eq!((told.code, told.count), (code, 1), "what was left is told");
    assert!(restored.join("extra").exists());
    drop(mount);

    std::fs::remove_file(restored.join("large")).unwrap();
    scene.double.inner().chunks.retain(|(kind, _), _| *kind != holdfast_common::ChunkKind::Data);
    let report = scene.restore(point, deleting);
    assert_eq!((report.removed, report.damage().unwrap().code), (0, Code::ChunkMissing));
    assert!(restored.join("extra").exists());
}

/// A restore of everything with `delete` into a directory that has too much everywhere.
fn swept(scene: &Scene, point: PointId, extras: &[PathBuf]) -> (Vec<PathBuf>, RestoreReport) {
    let target = tempfile::tempdir().unwrap();
    scene.restore(point, scene.to_dir(target.path()));
    for extra in extras {
        let there = inside(target.path(), extra);
        std::fs::create_dir_all(there.parent().unwrap()).unwrap();
        std::fs::write(there, b"extra").unwrap();
    }
    let deleting = RestoreRequest { delete: true, force: true, ..scene.to_dir(target.path()) };
    let report = foretold(scene, point, &deleting, target.path());
    let gone = |path: &&PathBuf| !inside(target.path(), path).exists();
    (extras.iter().filter(gone).cloned().collect(), report)
}

fn backed_up(scene: &Scene, paths: Vec<PathBuf>) -> PointId {
    let files = FilesOptions { paths, ..FilesOptions::default() };
    let request = BackupRequest { files, ..scene.request() };
    back_up(&scene.host, &request, &RunControl::default()).unwrap().point
}

#[test]
fn only_beneath_the_paths_of_the_point_is_anything_removed_whatever_commas_they_have() {
    let scene = Scene::new();
    let other = scene.folder.path().join("other");
    let (data, old) = (scene.source.join("data"), scene.source.join("data,old"));
    // A directory that ends with a comma, and below it a path as long as the other.
    let joined = PathBuf::from(format!("{},{}", data.display(), other.display()));
    for directory in [&other, &data, &old, &joined] {
        std::fs::create_dir_all(directory).unwrap();
        std::fs::write(directory.join("file"), b"file").unwrap();
    }
    let extras = [&data, &old, &joined, &other].map(|directory| directory.join("extra"));
    let [of_data, of_old, of_joined, of_other] = extras.clone();
    let beside = scene.source.join("extra");
    let everywhere = [&extras[..], &[beside]].concat();

    for (paths, expected) in [
        (vec![data.clone(), other.clone()], vec![of_data.clone(), of_other.clone()]),
        (vec![joined.clone()], vec![of_joined.clone()]),
        (vec![old.clone(), other.clone()], vec![of_old, of_other.clone()]),
        (vec![joined.clone(), other.clone()], vec![of_joined, of_other]),
    ] {
        let point = backed_up(&scene, paths.clone());
        let (gone, report) = swept(&scene, point, &everywhere);
        assert_eq!(gone, expected, "{paths:?}");
        assert_eq!(report.removed, expected.len() as u64, "{paths:?}");
    }
    let point = backed_up(&scene, vec![data, other, joined]);
    let target = tempfile::tempdir().unwrap();
    let request = RestoreRequest { delete: true, ..scene.to_dir(target.path()) };
    for dry_run in [true, false] {
        let request = RestoreRequest { dry_run, ..request.clone() };
        let refused = restore(&scene.open(point), &request, &Progress::default()).unwrap_err();
        assert_eq!(refused.code, Code::ConfirmMissing, "the record can be taken in two ways");
    }
    assert_eq!(tree(target.path()).len(), 1, "nothing was restored before it was said");
}

/// The same point as its agent would have signed it.
fn signed_again(scene: &Scene, point: PointId, change: impl FnOnce(&mut PointRecord)) {
    let mut inner = scene.double.inner();
    let committed = inner.points.iter_mut().find(|committed| committed.point == point).unwrap();
    let mut record = PointRecord::from_bytes(&committed.record).unwrap();
    change(&mut record);
    committed.record = record.to_bytes().into();
    committed.signature = scene.host.identity.sign_point(&committed.record).to_vec().into();
}

#[test]
fn for_a_point_of_the_root_everything_else_is_too_much() {
    let scene = Scene::new();
    scene.write("file", b"file");
    let point = scene.back_up().point;
    signed_again(&scene, point, |record| record.source = "files:/".to_owned());
    let extras = [PathBuf::from("/extra"), scene.folder.path().join("extra")];
    let (gone, report) = swept(&scene, point, &extras);
    assert_eq!((&gone[..], report.removed), (&extras[..], 2));
}

#[test]
fn a_checkpoint_has_not_all_that_was_there_and_removes_nothing() {
    let scene = Scene::new();
    scene.write("file", b"file");
    let point = scene.back_up().point;
    let (target, restored, _) = scene.restore_all(point);
    std::fs::write(restored.join("extra"), b"not reached yet").unwrap();
    signed_again(&scene, point, |record| record.state = PointState::Checkpoint);
    let request = RestoreRequest { delete: true, force: true, ..scene.to_dir(target.path()) };
    let refused = restore(&scene.open(point), &request, &Progress::default()).unwrap_err();
    assert_eq!(refused.code, Code::ConfirmMissing);
    assert!(restored.join("extra").exists());
}

#[test]
fn a_name_that_leads_to_the_root_does_not_go_around_being_asked() {
    let scene = Scene::new();
    scene.write("file", b"file");
    let point = scene.back_up().point;
    let extra = scene.source.join("extra");
    std::fs::write(&extra, b"precious").unwrap();
    let link = scene.folder.path().join("root");
    symlink("/", &link).unwrap();
    let deleting = RestoreRequest { target: link, delete: true, ..RestoreRequest::default() };
    let here = restore(&scene.open(point), &deleting, &Progress::default()).unwrap_err();
    assert_eq!(here.code, Code::ConfirmMissing);
    let order = RestoreOrder {
        run: RunId::random(&SystemEntropy),
        point,
        request: deleting,
        sealed_paths: Vec::new(),
        safety: None,
        policy: None,
    };
    let by_agent =
        restore_ordered(&scene.host, &Targets::new(None), &order, &RunControl::default());
    assert_eq!(by_agent.error.unwrap().code, Code::ConfirmMissing);
    assert_eq!(std::fs::read(&extra).unwrap(), b"precious");
    let said = RestoreRequest { in_place: true, ..order.request };
    assert_eq!(scene.restore(point, said).removed, 1);
}

#[test]
fn a_dry_run_foretells_what_replaces_what() {
    let scene = Scene::new();
    furnish(&scene);
    let point = scene.back_up().point;
    // A target that is not there is made by the restore alone.
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join("new");
    let report = foretold(&scene, point, &scene.to_dir(&new), &new);
    assert_eq!((report.bytes_written, report.bytes_reused), (300_009, 0));
    let restored = inside(&new, &scene.source);
    let whole: Tree = tree(&restored);
    // A link where a directory was, a full directory where a file was, one chunk of many.
    std::fs::remove_dir_all(restored.join("dir")).unwrap();
    symlink("/tmp", restored.join("dir")).unwrap();
    std::fs::remove_file(restored.join("link")).unwrap();
    std::fs::create_dir_all(restored.join("link/full")).unwrap();
    let mut large = noise(1, 300_000);
    large[150_000] ^= 1;
    std::fs::write(restored.join("large"), &large).unwrap();
    let forced = RestoreRequest { force: true, delete: true, ..scene.to_dir(&new) };
    let report = foretold(&scene, point, &forced, &new);
    assert_eq!(report.skipped, [(bytes(&scene.source.join("link")), Code::FileExists)]);
    assert!(report.bytes_reused > 0 && report.bytes_written > 4, "{report:?}");
    std::fs::remove_dir_all(restored.join("link")).unwrap();
    foretold(&scene, point, &forced, &new);
    assert_eq!(tree(&restored), whole);
    // A later name alone brings the content with it.
    let paths = vec![bytes(&scene.source.join("other name"))];
    let part = folder.path().join("part");
    let request = RestoreRequest { paths, ..scene.to_dir(&part) };
    assert_eq!(foretold(&scene, point, &request, &part).bytes_written, 300_000);
    assert_eq!(foretold(&scene, point, &request, &part).bytes_reused, 300_000);
}
