//! What a hostile manifest, or a hostile user of the target, tries, and what becomes of it.

use super::target_tests::{content, entry, text};
use super::{Overwrite, Target, TargetOptions};
use holdfast_common::Code;
use holdfast_seal::manifest::entry::{Entry, EntryKind, Range};
use proptest::prelude::*;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const FORCE: TargetOptions = TargetOptions {
    overwrite: Overwrite::Force,
    numeric_ids: false,
    durability: super::Durability::Never,
};

struct Scene {
    _scratch: tempfile::TempDir,
    outside: PathBuf,
    inside: PathBuf,
    target: Target,
}

/// A target, and beside it a directory with a secret that nothing may touch.
fn scene() -> Scene {
    let scratch = tempfile::tempdir().unwrap();
    let base = scratch.path().canonicalize().unwrap();
    let (outside, inside) = (base.join("outside"), base.join("target"));
    std::fs::create_dir_all(outside.join("sub")).unwrap();
    std::fs::write(outside.join("secret"), b"secret").unwrap();
    std::fs::create_dir(&inside).unwrap();
    let target = Target::open(&inside, FORCE).unwrap();
    Scene { _scratch: scratch, outside, inside, target }
}

impl Scene {
    fn assert_untouched(&self) {
        let names: Vec<_> = std::fs::read_dir(&self.outside).unwrap().flatten().collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert_eq!(std::fs::read(self.outside.join("secret")).unwrap(), b"secret");
        assert_eq!(std::fs::read_dir(self.outside.join("sub")).unwrap().count(), 0);
        assert!(self.outside.join("secret").metadata().unwrap().permissions().mode() & 0o111 == 0);
    }

    /// Every way of writing at a path.
    fn refusals(&self, path: &str) -> Vec<Code> {
        let file = content(entry(path, EntryKind::File), b"x");
        let link =
            Entry { link_target: Some(b"t".to_vec().into()), ..entry(path, EntryKind::Symlink) };
        vec![
            self.target.create_file(&file).unwrap_err().code,
            self.target.make_directory(&entry(path, EntryKind::Directory)).unwrap_err().code,
            self.target.place_symlink(&link).unwrap_err().code,
            self.target.place_special(&entry(path, EntryKind::Fifo)).unwrap_err().code,
            self.target.place_hardlink(&file, path.as_bytes()).unwrap_err().code,
            self.target.existing(&file).unwrap_err().code,
            self.target.remove_tree(path.as_bytes()).unwrap_err().code,
            self.target.list_children(path.as_bytes()).unwrap_err().code,
        ]
    }
}

#[test]
fn paths_that_climb_are_refused_by_every_door() {
    let scene = scene();
    for path in
        ["/../outside/x", "/a/../../outside/x", "/..", "outside/x", "/./x", "//x", "/x\0y", ""]
    {
        assert_eq!(scene.refusals(path), [Code::TargetEscape; 8], "{path}");
    }
    scene.assert_untouched();
    assert_eq!(std::fs::read_dir(&scene.inside).unwrap().count(), 0);
}

#[test]
fn a_planted_link_is_refused_by_every_door() {
    let scene = scene();
    symlink(&scene.outside, scene.inside.join("absolute")).unwrap();
    symlink("../outside", scene.inside.join("relative")).unwrap();
    std::fs::create_dir_all(scene.inside.join("real/deep")).unwrap();
    symlink("../../..", scene.inside.join("real/deep/up")).unwrap();
    symlink("real", scene.inside.join("inward")).unwrap();
    for path in ["/absolute/x", "/relative/sub/x", "/real/deep/up/outside/x", "/inward/x"] {
        let codes = scene.refusals(path);
        assert_eq!(codes, [Code::TargetEscape; 8], "{path}");
    }
    scene.assert_untouched();
}

#[test]
fn an_entry_beneath_a_restored_link_is_refused() {
    let scene = scene();
    let out = Some(scene.outside.to_str().unwrap().as_bytes().to_vec().into());
    let link = Entry { link_target: out, ..entry("/d", EntryKind::Symlink) };
    // As a directory first, so that it is known and open, and then as a link.
    scene.target.make_directory(&entry("/d", EntryKind::Directory)).unwrap();
    scene.target.make_directory(&entry("/d/sub", EntryKind::Directory)).unwrap();
    scene.target.remove_tree(b"/d").unwrap();
    scene.target.place_symlink(&link).unwrap();
    let file = content(entry("/d/secret", EntryKind::File), b"owned");
    assert_eq!(scene.target.create_file(&file).unwrap_err().code, Code::TargetEscape);
    assert_eq!(scene.target.existing(&file).unwrap_err().code, Code::TargetEscape);
    scene.target.finish_directories();
    assert!(!scene.target.notes().is_empty(), "the attributes of /d had nowhere to go");
    scene.assert_untouched();
}

#[test]
fn attributes_of_a_directory_never_reach_through_a_link_that_took_its_place() {
    let scene = scene();
    let open = Entry { mode: 0o777, ..entry("/d", EntryKind::Directory) };
    scene.target.make_directory(&open).unwrap();
    std::fs::remove_dir(scene.inside.join("d")).unwrap();
    symlink(&scene.outside, scene.inside.join("d")).unwrap();
    let before = scene.outside.metadata().unwrap().permissions();
    scene.target.finish_directories();
    assert_eq!(scene.outside.metadata().unwrap().permissions(), before);
    assert!(!scene.target.notes().is_empty());
}

#[test]
fn a_planted_link_at_the_last_name_is_replaced_and_never_written_through() {
    let scene = scene();
    for name in ["file", "dir", "fifo", "link"] {
        symlink(scene.outside.join("secret"), scene.inside.join(name)).unwrap();
    }
    text(&scene.target, "/file", b"new");
    scene.target.make_directory(&entry("/dir", EntryKind::Directory)).unwrap();
    scene.target.place_special(&entry("/fifo", EntryKind::Fifo)).unwrap();
    let link = Entry {
        mode: 0o777,
        link_target: Some(b"nowhere".to_vec().into()),
        ..entry("/link", EntryKind::Symlink)
    };
    scene.target.place_symlink(&link).unwrap();
    scene.target.finish().unwrap();
    for name in ["file", "dir", "fifo"] {
        assert!(!scene.inside.join(name).symlink_metadata().unwrap().is_symlink(), "{name}");
    }
    assert_eq!(std::fs::read_link(scene.inside.join("link")).unwrap(), Path::new("nowhere"));
    scene.assert_untouched();
}

#[test]
fn existing_content_is_never_read_through_a_link() {
    let scene = scene();
    symlink(scene.outside.join("secret"), scene.inside.join("x")).unwrap();
    let file = content(entry("/x", EntryKind::File), b"secret");
    assert!(scene.target.existing(&file).unwrap().is_none());
}

#[test]
fn a_hard_link_to_something_outside_or_something_else_is_refused() {
    let scene = scene();
    symlink(&scene.outside, scene.inside.join("out")).unwrap();
    std::fs::write(scene.inside.join("older"), b"not what was restored").unwrap();
    let file = content(entry("/new", EntryKind::File), b"secret");
    let code = |first: &[u8]| scene.target.place_hardlink(&file, first).unwrap_err().code;
    assert_eq!(code(b"/../outside/secret"), Code::TargetEscape);
    assert_eq!(code(b"/out/secret"), Code::TargetEscape);
    assert_eq!(code(b"/out"), Code::FileChanged, "a link, where a file was the first");
    assert_eq!(code(b"/older"), Code::FileChanged, "another size than the entry's");
    assert_eq!(code(b"/absent"), Code::FileMissing);
    assert!(!scene.inside.join("new").exists());
    scene.assert_untouched();
}

#[test]
fn removal_takes_links_and_leaves_where_they_lead() {
    let scene = scene();
    std::fs::create_dir_all(scene.inside.join("d/e")).unwrap();
    symlink(&scene.outside, scene.inside.join("d/e/out")).unwrap();
    symlink("../../outside/sub", scene.inside.join("d/sub")).unwrap();
    assert_eq!(scene.target.remove_tree(b"/d").unwrap().entries, 4);
    assert_eq!(scene.target.remove_tree(b"/").unwrap_err().code, Code::TargetEscape);
    assert!(!scene.inside.join("d").exists());
    scene.assert_untouched();
}

#[test]
fn content_beyond_its_entry_is_refused() {
    let scene = scene();
    let mut file = content(entry("/x", EntryKind::File), b"four");
    let writer = scene.target.create_file(&file).unwrap();
    for (offset, bytes) in [(0, &b"fives"[..]), (4, b"x"), (u64::MAX, b"x")] {
        assert_eq!(writer.write_at(offset, bytes).unwrap_err().code, Code::ManifestDamaged);
    }
    drop(writer);
    for ranges in [vec![(0, 5)], vec![(2, 2), (0, 1)], vec![(u64::MAX, 2)]] {
        let ranges = ranges.into_iter().map(|(offset, length)| Range { offset, length });
        file.content.as_mut().unwrap().ranges = Some(ranges.collect());
        assert_eq!(scene.target.create_file(&file).unwrap_err().code, Code::ManifestDamaged);
    }
    assert_eq!(std::fs::read_dir(&scene.inside).unwrap().count(), 0, "nothing is left behind");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn no_manifest_writes_outside(
        steps in prop::collection::vec(
            (0..5u8, prop::collection::vec(
                prop::sample::select(&["a", "b", "out", "..", "secret", "sub", "."][..]), 1..4)),
            1..12),
    ) {
        let scene = scene();
        let out: Vec<u8> = scene.outside.to_str().unwrap().as_bytes().to_vec();
        for (verb, parts) in steps {
            let path = format!("/{}", parts.join("/"));
            // Whatever becomes of it: only what lies outside is looked at.
            let _ = match verb {
                0 => scene.target.make_directory(&entry(&path, EntryKind::Directory)),
                1 => scene.target.create_file(&content(entry(&path, EntryKind::File), b"owned"))
                    .and_then(|file| file.write_at(0, b"owned").and_then(|()| file.finish())),
                2 => scene.target.place_symlink(&Entry {
                    link_target: Some(out.clone().into()),
                    ..entry(&path, EntryKind::Symlink)
                }),
                3 => scene.target.place_hardlink(
                    &content(entry("/a/link", EntryKind::File), b"secret"), path.as_bytes()),
                _ => scene.target.remove_tree(path.as_bytes()).map(|_| ()),
            };
        }
        scene.target.finish().unwrap();
        scene.assert_untouched();
        let links = std::os::unix::fs::MetadataExt::nlink(
            &scene.outside.join("secret").metadata().unwrap());
        prop_assert_eq!(links, 1, "nothing inside is the secret");
    }
}
