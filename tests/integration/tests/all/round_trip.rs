//! What was backed up comes back: every byte, every attribute, from every way of asking for it.

use crate::harness::{Dev, Scratch, Tree, noise, set_xattr, write};
use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

/// Every kind of thing that a file system can hold without privileges beyond ours.
fn furnish(root: &Path) {
    write(&root.join("small"), "a few bytes");
    write(&root.join("empty"), "");
    write(&root.join("large"), noise(1, 9_000_000));
    write(&root.join("text"), "the same line again and again\n".repeat(100_000));
    write(&root.join("deep/er/and/deeper/file"), noise(2, 70_000));
    write(&root.join(OsStr::from_bytes(b"not \xff utf-8 \xfe")), "named by bytes");
    write(&root.join("new\nline and \t tab"), "odd names are names");
    for number in 0..300 {
        write(&root.join(format!("many/{number:03}")), format!("file {number}"));
    }
    fs::create_dir_all(root.join("no entries")).unwrap();
    symlink("small", root.join("link")).unwrap();
    symlink("/nowhere/at all", root.join("dangling")).unwrap();
    fs::hard_link(root.join("large"), root.join("large too")).unwrap();
    fs::set_permissions(root.join("small"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(root.join("many"), fs::Permissions::from_mode(0o1777)).unwrap();
    set_xattr(&root.join("text"), "user.holdfast", b"\x00\xffvalue");
    sparse(&root.join("sparse"));
    for (name, nanos) in [("small", 123_456_789), ("deep/er", 1)] {
        let time = UNIX_EPOCH + Duration::new(981_173_106, nanos);
        fs::File::open(root.join(name)).unwrap().set_modified(time).unwrap();
    }
}

fn sparse(path: &Path) {
    let file = fs::File::create(path).unwrap();
    file.set_len(64 << 20).unwrap();
    file.write_all_at(b"an island", 20 << 20).unwrap();
    file.write_all_at(&noise(3, 100_000), 50 << 20).unwrap();
}

fn below(to: &Path, path: &Path) -> PathBuf {
    to.join(path.strip_prefix("/").unwrap())
}

#[test]
fn everything_comes_back_with_its_attributes() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    furnish(&source);
    let dev = Dev::start(&scratch.join("d"));
    let made = dev.json(&["backup", "--path", source.to_str().unwrap()]).ok().object();
    assert_eq!(made["state"], "done");
    let point = made["point"].as_str().unwrap();
    let to = scratch.join("back");
    let told =
        dev.json(&["restore", point, "--to", to.to_str().unwrap(), "--verify"]).ok().object();
    assert_eq!(told["point"], point);
    Tree::of(&source).assert_same(&Tree::of(&below(&to, &source)), "restored");
    let blocks = |path: &Path| std::os::unix::fs::MetadataExt::blocks(&fs::metadata(path).unwrap());
    let sparse = below(&to, &source).join("sparse");
    assert!(blocks(&sparse) * 512 < 16 << 20, "holes stay holes: {} blocks", blocks(&sparse));
}

#[test]
fn a_second_backup_stores_only_what_is_new() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    furnish(&source);
    let dev = Dev::start(&scratch.join("d"));
    let backup = || dev.json(&["backup", "--path", source.to_str().unwrap()]).ok().object();
    let first = backup();
    write(&source.join("fresh"), noise(9, 500_000));
    let second = backup();
    let stored = |told: &serde_json::Value| told["bytes_stored"].as_u64().unwrap();
    assert!(stored(&first) > 9_000_000, "{first}");
    assert!((500_000..1_500_000).contains(&stored(&second)), "{second}");
    assert_eq!(second["entries"].as_u64().unwrap(), first["entries"].as_u64().unwrap() + 1);
}

#[test]
fn the_newest_and_the_older_point_each_come_back_as_they_were() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    write(&source.join("a"), noise(1, 2_000_000));
    write(&source.join("b"), "before");
    let dev = Dev::start(&scratch.join("d"));
    let first = dev.backup(&source);
    let before = Tree::of(&source);
    fs::remove_file(source.join("a")).unwrap();
    write(&source.join("b"), "after");
    write(&source.join("c"), noise(2, 2_000_000));
    dev.backup(&source);
    let after = Tree::of(&source);
    for (name, tree) in [(&first[..], &before), (&first[..8], &before), ("latest", &after)] {
        let to = scratch.join(&format!("back-{name}"));
        dev.run(&["restore", name, "--to", to.to_str().unwrap()]).ok();
        tree.assert_same(&Tree::of(&below(&to, &source)), name);
    }
}

#[test]
fn a_part_of_a_point_comes_back_alone() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    furnish(&source);
    let dev = Dev::start(&scratch.join("d"));
    let point = dev.backup(&source);
    let to = scratch.join("back");
    let part = source.join("many");
    let arguments = ["restore", &point, "--to", to.to_str().unwrap(), part.to_str().unwrap()];
    dev.run(&arguments).ok();
    Tree::of(&part).assert_same(&Tree::of(&below(&to, &part)), "the part");
    assert!(!below(&to, &source).join("small").exists(), "and nothing else");
}

#[test]
fn restoring_in_place_brings_back_what_was_lost_and_what_was_changed() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    furnish(&source);
    let dev = Dev::start(&scratch.join("d"));
    let point = dev.backup(&source);
    let before = Tree::of(&source);
    fs::remove_dir_all(source.join("deep")).unwrap();
    write(&source.join("small"), "changed!!!!");
    let arguments = ["restore", &point, "--in-place", "--force", "--yes", source.to_str().unwrap()];
    dev.run(&arguments).ok();
    before.assert_same(&Tree::of(&source), "in place");
}

#[test]
fn a_restore_removes_what_the_point_does_not_have_only_when_told_to() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    write(&source.join("kept"), "kept");
    let dev = Dev::start(&scratch.join("d"));
    let point = dev.backup(&source);
    let to = scratch.join("back");
    let target = to.to_str().unwrap();
    dev.run(&["restore", &point, "--to", target]).ok();
    let stray = below(&to, &source).join("stray");
    write(&stray, "stray");
    dev.run(&["restore", &point, "--to", target, "--force"]).ok();
    assert!(stray.exists());
    dev.run(&["restore", &point, "--to", target, "--force", "--delete", "--yes"]).ok();
    assert!(!stray.exists());
    Tree::of(&source).assert_same(&Tree::of(&below(&to, &source)), "after --delete");
}

#[test]
fn a_dry_run_writes_nothing() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    write(&source.join("a"), noise(1, 400_000));
    let dev = Dev::start(&scratch.join("d"));
    let point = dev.backup(&source);
    let to = scratch.join("back");
    dev.run(&["restore", &point, "--to", to.to_str().unwrap(), "--dry-run"]).ok();
    assert!(!to.exists());
}

#[test]
fn what_is_excluded_is_not_in_the_point() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    write(&source.join("keep.txt"), "keep");
    write(&source.join("drop.tmp"), "drop");
    write(&source.join("sub/drop.tmp"), "drop");
    let dev = Dev::start(&scratch.join("d"));
    let path = source.to_str().unwrap();
    dev.run(&["backup", "--path", path, "--exclude", "*.tmp"]).ok();
    let to = scratch.join("back");
    dev.run(&["restore", "latest", "--to", to.to_str().unwrap()]).ok();
    let back = below(&to, &source);
    assert!(back.join("keep.txt").exists());
    assert!(!back.join("drop.tmp").exists() && !back.join("sub/drop.tmp").exists());
}
