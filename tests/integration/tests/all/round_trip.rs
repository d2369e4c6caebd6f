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
    process::Command,
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
    let above = || fs::metadata(source.parent().unwrap()).unwrap().modified().unwrap();
    let since = above();
    write(&scratch.join("a neighbour"), "of the source");
    assert_ne!(above(), since);
    let since = above();
    dev.run(&arguments).ok();
    before.assert_same(&Tree::of(&source), "in place");
    assert_eq!(above(), since, "what leads to the source keeps its own time");
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

#[test]
fn a_restore_in_place_protects_what_differs_unless_forced() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    furnish(&source);
    let dev = Dev::start(&scratch.join("d"));
    let point = dev.backup(&source);
    let before = Tree::of(&source);
    fs::remove_dir_all(source.join("deep")).unwrap();
    let restore = ["restore", &point, "--in-place", source.to_str().unwrap()];
    dev.run(&restore).ok();
    before.assert_same(&Tree::of(&source), "what was lost is back, and nothing was in the way");
    write(&source.join("small"), "mine");
    write(&source.join("text"), "mine too");
    let told = dev.run(&restore).ends(4);
    assert_eq!(told.text(), "", "a failure has no answer");
    let lines: Vec<_> = told.stderr.lines().collect();
    let first_of_error = lines.iter().position(|line| line.starts_with("error: ")).unwrap();
    for name in ["small", "text"] {
        let line = format!("skipped {}/{name}: file.target_exists", source.display());
        let at = lines.iter().position(|told| *told == line);
        assert!(at.is_some_and(|at| at < first_of_error), "{}", told.stderr);
    }
    assert_eq!(fs::read(source.join("small")).unwrap(), b"mine");
    assert_eq!(fs::read(source.join("text")).unwrap(), b"mine too");
}

#[test]
fn removing_beneath_the_root_is_agreed_to_however_it_is_spelled() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    write(&source.join("file"), "file");
    let dev = Dev::start(&scratch.join("d"));
    let point = dev.backup(&source);
    let extra = source.join("extra");
    let link = scratch.join("root");
    symlink("/", &link).unwrap();
    for spelled in ["/", "//", "/./", "/tmp/..", "/proc/self/root", link.to_str().unwrap()] {
        write(&extra, "precious");
        let restore = ["restore", &point, "--to", spelled, "--delete"];
        dev.json(&restore).fails(4, "confirm.answer_missing");
        assert!(extra.exists(), "{spelled}");
        let told = dev.json(&[&restore[..], &["--yes"]].concat()).ok().object();
        assert_eq!((&told["target"], &told["removed"]), (&"/".into(), &1.into()), "{spelled}");
        assert!(!extra.exists(), "{spelled}");
    }
    write(&extra, "precious");
    let by_agent = ["restore", &point, "--to", "//", "--delete", "--agent", "local"];
    dev.json(&by_agent).fails(4, "confirm.answer_missing");
    assert!(extra.exists());
}

#[test]
fn a_restore_that_fails_names_every_path_before_the_error() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    let odd = OsStr::from_bytes(b"not \xff utf-8");
    for number in 0..20 {
        write(&source.join(format!("{number:02}")), noise(number, 200_000));
    }
    write(&source.join(odd), "odd");
    let dev = Dev::start(&scratch.join("d"));
    let point = dev.backup(&source);
    let to = scratch.join("back");
    let restore = ["restore", &point, "--to", to.to_str().unwrap()];
    dev.run(&restore).ok();
    for number in 0..20 {
        write(&below(&to, &source).join(format!("{number:02}")), "mine");
    }
    write(&below(&to, &source).join(odd), "mine");
    for dry_run in [&["--dry-run"][..], &[]] {
        let told = dev.json(&[&restore[..], dry_run].concat()).ends(4);
        assert_eq!(told.error()["code"], "file.target_exists", "the last line is the error");
        let named: Vec<serde_json::Value> = told
            .stderr
            .lines()
            .filter(|line| line.starts_with(r#"{"skipped":"#))
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["skipped"].clone())
            .collect();
        assert_eq!(named.len(), 21);
        assert!(named.iter().all(|row| row["code"] == "file.target_exists"));
        assert_eq!(named.iter().filter(|row| row["path_base64"].is_string()).count(), 1);
    }
}

fn in_base64(text: &OsStr) -> String {
    let script = r#"printf %s "$0" | base64 -w0"#;
    let done = Command::new("sh").args(["-c", script]).arg(text).output().unwrap();
    assert!(done.status.success());
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn a_target_and_a_note_that_are_not_utf8_are_told_exactly_too() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    let odd = OsStr::from_bytes(b"not \xff utf-8");
    write(&source.join(odd).join("file"), "file");
    let dev = Dev::start(&scratch.join("d"));
    let point = dev.backup(&source);
    let to = scratch.join("back").join(odd);
    let restore = || {
        let mut command = Command::new(crate::harness::binary());
        command.args(["--output", "json", "restore", &point, "--to"]).arg(&to);
        crate::harness::Outcome::of(Some(&dev.context()), &mut command).ok().object()
    };
    assert_eq!(restore()["notes"], serde_json::json!([]));
    let directory = below(&to, &source).join(odd);
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    let told = restore();
    assert_eq!(told["target_base64"], in_base64(to.as_os_str()));
    assert!(told["target"].as_str().unwrap().contains('\u{fffd}'));
    let note = &told["notes"][0];
    assert_eq!((&note["kind"], &note["count"]), (&"mode".into(), &1.into()));
    assert_eq!(note["path_base64"], in_base64(source.join(odd).as_os_str()));
    let plain = dev.json(&["restore", &point, "--to", scratch.join("p").to_str().unwrap()]).ok();
    assert_eq!(plain.object().get("target_base64"), None);
}
