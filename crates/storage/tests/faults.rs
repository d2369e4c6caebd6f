//! What a real disk and its neighbours do to a local location: full, read-only, trapped, damaged.
//!
//! The disks are small tmpfs mounts, which need root. Everything asserted here is seen from
//! outside: through the trait and in the directory.

#![expect(clippy::unwrap_used, reason = "the scenery of tests may fail loudly")]

use bytes::Bytes;
use holdfast_common::Code;
use holdfast_storage::{LocalStore, ObjectMeta, ObjectName, ObjectPrefix, ObjectStore};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

const KIB: usize = 1 << 10;

/// A small disk of its own, detached when dropped.
struct Disk {
    dir: TempDir,
}

impl Disk {
    fn mount(size: &str) -> Self {
        let disk = Self { dir: tempfile::tempdir().unwrap() };
        run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], disk.path());
        disk
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn make_read_only(&self) {
        run("mount", &["-o", "remount,ro"], self.path());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &["-l"], self.path());
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) {
    let status = Command::new(program).args(arguments).arg(path).status().unwrap();
    assert!(status.success(), "{program} {arguments:?} {}", path.display());
}

fn name(text: &str) -> ObjectName {
    text.parse().unwrap()
}

fn bytes(length: usize, seed: u8) -> Bytes {
    Bytes::from(vec![seed; length])
}

async fn listed(store: &LocalStore) -> Vec<ObjectMeta> {
    store.list(&ObjectPrefix::all(), None, 1000).await.unwrap()
}

fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found.sort_unstable();
    found
}

#[tokio::test]
async fn a_full_disk_is_refused_and_nothing_half_written_has_a_name() {
    let disk = Disk::mount("1m");
    let store = LocalStore::open(disk.path()).unwrap();
    let object = |n: usize| name(&format!("packs/{n:02}/x"));
    let mut stored = 0;
    let error = loop {
        match store.put_new(&object(stored), bytes(150 * KIB, 1)).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 8, "a disk of 1 MiB holds more than it can");
    };
    assert_eq!(error.code, Code::LocationFull, "{error}");
    assert!(stored >= 4, "{stored}");
    assert_eq!(store.head(&object(stored)).await.unwrap(), None);
    let rows = listed(&store).await;
    assert_eq!(rows.len(), stored);
    assert!(rows.iter().all(|row| row.length == 150 * KIB as u64), "{rows:?}");
    assert_eq!(files(&disk.path().join("tmp")), [] as [PathBuf; 0], "room is given back");

    assert!(store.delete(&object(0)).await.unwrap());
    store.put_new(&object(stored), bytes(150 * KIB, 2)).await.unwrap();
    assert_eq!(store.get(&object(stored), 150 * KIB).await.unwrap(), bytes(150 * KIB, 2));
    assert!(store.probe().await.unwrap().free_bytes.unwrap() < 200 * KIB as u64);
}

#[tokio::test]
async fn a_read_only_disk_is_read_and_refuses_the_rest_clearly() {
    let disk = Disk::mount("1m");
    let (held, free) = (name("packs/ab/held"), name("packs/ab/free"));
    let writer = LocalStore::open(disk.path()).unwrap();
    writer.put_new(&held, bytes(10, 1)).await.unwrap();
    drop(writer);
    disk.make_read_only();

    let store = LocalStore::open(disk.path()).unwrap();
    assert_eq!(store.get(&held, 10).await.unwrap(), bytes(10, 1));
    assert_eq!(listed(&store).await.len(), 1);
    assert!(store.put_new(&held, bytes(10, 1)).await.unwrap().existed, "it is there already");
    for place in [&free, &name("new/folder/x")] {
        let error = store.put_new(place, bytes(10, 1)).await.unwrap_err();
        assert_eq!(error.code, Code::LocationRefused, "{error}");
        assert!(!error.is_retryable());
    }
    assert_eq!(store.delete(&held).await.unwrap_err().code, Code::LocationRefused);
    let probe = store.probe().await.unwrap();
    assert!(!probe.is_usable());
    assert_eq!(probe.refusal().unwrap().code, Code::LocationRefused);
    assert_eq!(probe.write_refused.unwrap().code, Code::LocationRefused);
}

#[tokio::test]
async fn planted_links_lead_nowhere() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let secret = outside.path().join("secret");
    std::fs::write(&secret, b"secret").unwrap();
    symlink(outside.path(), dir.path().join("packs")).unwrap();
    symlink(&secret, dir.path().join("vault")).unwrap();
    symlink(dir.path().join("nowhere"), dir.path().join("dangling")).unwrap();
    let store = LocalStore::open(dir.path()).unwrap();

    for trap in ["packs/secret", "packs/ab/x", "vault", "dangling"] {
        let trap = name(trap);
        let outcomes = [
            store.put_new(&trap, bytes(6, 1)).await.err(),
            store.get(&trap, 100).await.err(),
            store.get_range(&trap, 0..1).await.err(),
            store.head(&trap).await.err(),
            store.delete(&trap).await.err(),
        ];
        for (call, error) in outcomes.into_iter().enumerate() {
            let code = error.as_ref().map(|error| error.code);
            assert_eq!(code, Some(Code::ObjectDamaged), "call {call} of {trap}: {error:?}");
        }
    }
    assert!(listed(&store).await.is_empty(), "links are passed over");
    assert_eq!(
        files(outside.path()),
        std::slice::from_ref(&secret),
        "nothing is written or deleted outside"
    );
    assert_eq!(std::fs::read(&secret).unwrap(), b"secret");
    assert!(!dir.path().join("nowhere").exists());
}

#[tokio::test]
async fn a_planted_tmp_takes_no_bytes_and_is_not_swept() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let victim = outside.path().join(format!("put-{}", "0".repeat(32)));
    std::fs::write(&victim, b"mine").unwrap();
    symlink(outside.path(), dir.path().join("tmp")).unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    let error = store.put_new(&name("vault"), bytes(10, 1)).await.unwrap_err();
    assert_eq!(error.code, Code::LocationIoFailed, "{error}");
    assert_eq!(files(outside.path()), [victim]);
    assert_eq!(store.head(&name("vault")).await.unwrap(), None);
}

#[tokio::test]
async fn a_planted_pipe_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let status = Command::new("mkfifo").arg(dir.path().join("vault")).status().unwrap();
    assert!(status.success());
    let store = LocalStore::open(dir.path()).unwrap();
    let error = store.get(&name("vault"), 10).await.unwrap_err();
    assert_eq!(error.code, Code::ObjectDamaged);
    let error = store.put_new(&name("vault"), bytes(1, 1)).await.unwrap_err();
    assert_eq!(error.code, Code::ObjectDamaged);
}

#[tokio::test]
async fn a_root_that_is_reached_through_a_link_is_the_operators_choice() {
    let dir = tempfile::tempdir().unwrap();
    let (place, link) = (dir.path().join("place"), dir.path().join("link"));
    std::fs::create_dir(&place).unwrap();
    symlink(&place, &link).unwrap();
    let store = LocalStore::open(&link).unwrap();
    store.put_new(&name("vault"), bytes(1, 1)).await.unwrap();
    assert!(place.join("vault").is_file());
}

#[tokio::test]
async fn the_directory_holds_the_names_and_tmp_and_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    let names = ["keys/00000001/00000001", "packs/ab/abcd", "packs/cd/cdef", "vault"];
    for text in names {
        store.put_new(&name(text), bytes(3, 1)).await.unwrap();
    }
    assert_eq!(files(dir.path()), names.map(|text| dir.path().join(text)));
    let mut top: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    top.sort_unstable();
    assert_eq!(top, ["keys", "packs", "tmp", "vault"]);
}

#[tokio::test]
async fn opening_removes_the_leftovers_of_dead_writers_only() {
    let dir = tempfile::tempdir().unwrap();
    let tmp = dir.path().join("tmp");
    std::fs::create_dir(&tmp).unwrap();
    let (dead, foreign) = (tmp.join(format!("put-{}", "a".repeat(32))), tmp.join("readme.txt"));
    let living = tmp.join(format!("put-{}", "b".repeat(32)));
    for file in [&dead, &foreign, &living] {
        std::fs::write(file, b"left").unwrap();
    }
    let writer = std::fs::File::open(&living).unwrap();
    writer.lock().unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    assert_eq!(files(&tmp), [living, foreign]);
    assert!(listed(&store).await.is_empty(), "a temporary is no object");
}

#[tokio::test]
async fn what_was_damaged_outside_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    let object = name("packs/ab/x");
    store.put_new(&object, bytes(100, 1)).await.unwrap();
    let file = std::fs::File::options().write(true).open(dir.path().join("packs/ab/x")).unwrap();
    file.set_len(50).unwrap();
    let error = store.get_range(&object, 0..100).await.unwrap_err();
    assert_eq!(error.code, Code::ObjectDamaged, "{error}");
    let error = store.put_new(&object, bytes(100, 1)).await.unwrap_err();
    assert_eq!(error.code, Code::ObjectConflict, "a damaged object is not taken for the same");
}

#[tokio::test]
async fn a_folder_and_an_object_do_not_share_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    store.put_new(&name("a/b"), bytes(1, 1)).await.unwrap();
    for taken in ["a", "a/b/c", "a/b/c/d"] {
        let taken = name(taken);
        let error = store.put_new(&taken, bytes(1, 1)).await.unwrap_err();
        assert_eq!(error.code, Code::ObjectConflict, "{taken}: {error}");
        assert_eq!(store.head(&taken).await.unwrap(), None, "{taken}");
        assert!(!store.delete(&taken).await.unwrap(), "{taken}");
    }
    assert_eq!(listed(&store).await.len(), 1);
}

#[tokio::test]
async fn what_is_no_object_is_left_alone_and_not_listed() {
    let dir = tempfile::tempdir().unwrap();
    for below in ["README.md", ".hidden", "lost+found/x", "packs/ab/UPPER", "packs/ab/ok"] {
        let path = dir.path().join(below);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"x").unwrap();
    }
    let before = files(dir.path());
    let store = LocalStore::open(dir.path()).unwrap();
    let names: Vec<String> =
        listed(&store).await.into_iter().map(|row| row.name.to_string()).collect();
    assert_eq!(names, ["packs/ab/ok"]);
    assert_eq!(files(dir.path()), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_stores_on_one_directory_agree_who_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let stores = [0, 1].map(|_| Arc::new(LocalStore::open(dir.path()).unwrap()));
    for round in 0..20 {
        let object = name(&format!("packs/{round:02}/x"));
        let mut writers = tokio::task::JoinSet::new();
        for (writer, store) in stores.iter().cycle().take(6).enumerate() {
            let (store, object) = (Arc::clone(store), object.clone());
            let content = bytes(32 * KIB, u8::from(writer % 3 == 0));
            writers.spawn(async move { store.put_new(&object, content).await });
        }
        let outcomes = writers.join_all().await;
        let wrote = outcomes.iter().flatten().filter(|receipt| !receipt.existed).count();
        assert_eq!(wrote, 1, "round {round}: {outcomes:?}");
        let held = blake3::hash(&stores[0].get(&object, 32 * KIB).await.unwrap());
        for outcome in outcomes {
            match outcome {
                Ok(receipt) => assert_eq!(receipt.blake3, held, "round {round}"),
                Err(error) => assert_eq!(error.code, Code::ObjectConflict, "round {round}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn opening_again_and_again_beside_writers_costs_them_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalStore::open(dir.path()).unwrap());
    let root = dir.path().to_owned();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for n in 0..50 {
                let object = name(&format!("w{writer}/{n:02}"));
                store.put_new(&object, bytes(KIB, 1)).await.unwrap();
            }
        });
    }
    while writers.try_join_next().map(Result::unwrap).is_some() || !writers.is_empty() {
        let root = root.clone();
        tokio::task::spawn_blocking(move || LocalStore::open(&root).unwrap()).await.unwrap();
    }
    assert_eq!(listed(&store).await.len(), 200);
    assert_eq!(files(&dir.path().join("tmp")), [] as [PathBuf; 0]);
}
