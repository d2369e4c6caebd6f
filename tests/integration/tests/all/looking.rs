//! `points`, `ls`, `find`, `cat`, `diff`: looking into points without restoring them.

use crate::harness::{Dev, Scratch, noise, write};
use serde_json::Value;
use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt, path::Path};

fn paths(objects: &[Value], list: &str) -> Vec<String> {
    let rows = objects.iter().flat_map(|object| object[list].as_array().unwrap().clone());
    rows.map(|row| row["path"].as_str().unwrap().to_owned()).collect()
}

fn shown(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[test]
fn points_are_listed_newest_first() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    write(&source.join("a"), "a");
    let dev = Dev::start(&scratch.join("d"));
    let first = dev.backup(&source);
    let second = dev.backup(&source);
    let told = dev.json(&["points"]).ok().object();
    let points = told["points"].as_array().unwrap();
    let ids: Vec<_> = points.iter().map(|point| point["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [&second[..], &first[..]]);
    for point in points {
        assert_eq!((&point["state"], &point["vault"]), (&"complete".into(), &"main".into()));
        assert_eq!(point["agent"], "local");
        assert_eq!(point["locations"][0]["name"], "main");
        assert_eq!(point["locations"][0]["confirmed"], true);
    }
    let newest = dev.json(&["points", "--latest"]).ok().object();
    assert_eq!(newest["points"].as_array().unwrap().len(), 1);
    assert!(dev.run(&["points"]).ok().text().contains(&second));
}

#[test]
fn entries_are_listed_with_absolute_paths_and_attributes() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    write(&source.join("dir/file"), "12345");
    write(&source.join(OsStr::from_bytes(b"\xff")), "x");
    std::os::unix::fs::symlink("dir/file", source.join("link")).unwrap();
    let dev = Dev::start(&scratch.join("d"));
    let point = dev.backup(&source);
    let listed = dev.json(&["ls", &point]).ok().objects();
    let all = paths(&listed, "entries");
    for name in ["dir", "dir/file", "link"] {
        assert!(all.contains(&shown(&source.join(name))), "{name} in {all:?}");
    }
    let entry = |name: &str| {
        let entries = listed[0]["entries"].as_array().unwrap();
        let path = shown(&source.join(name));
        entries.iter().find(|entry| entry["path"] == path.as_str()).unwrap().clone()
    };
    let file = entry("dir/file");
    assert_eq!((&file["kind"], &file["size"]), (&"file".into(), &5.into()));
    assert!(file["mtime"].as_str().unwrap().ends_with('Z'));
    assert_eq!(file["link_target"], Value::Null);
    assert_eq!(entry("link")["link_target"], "dir/file");
    let exact = listed[0]["entries"].as_array().unwrap().iter();
    let exact: Vec<_> = exact.filter(|entry| entry.get("path_base64").is_some()).collect();
    assert_eq!(exact.len(), 1, "only the name that is not UTF-8");
    let part = dev.json(&["ls", &point, &shown(&source.join("dir"))]).ok().objects();
    assert!(paths(&part, "entries").contains(&shown(&source.join("dir/file"))));
    assert!(!paths(&part, "entries").contains(&shown(&source.join("link"))));
}

#[test]
fn entries_are_found_by_pattern() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    write(&source.join("a/one.dcm"), "1");
    write(&source.join("b/two.dcm"), "2");
    write(&source.join("b/three.txt"), "3");
    let dev = Dev::start(&scratch.join("d"));
    dev.backup(&source);
    let found = |pattern: &str| paths(&dev.json(&["find", pattern]).ok().objects(), "entries");
    let mut images = found("*.dcm");
    images.sort();
    assert_eq!(images, [shown(&source.join("a/one.dcm")), shown(&source.join("b/two.dcm"))]);
    assert_eq!(found("three.txt"), [shown(&source.join("b/three.txt"))]);
    assert!(found("*.none").is_empty());
}

#[test]
fn a_file_of_a_point_is_written_to_stdout_exactly() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    let bytes = noise(7, 5_000_000);
    write(&source.join("a"), &bytes);
    let dev = Dev::start(&scratch.join("d"));
    let point = dev.backup(&source);
    fs::write(source.join("a"), "changed since").unwrap();
    let told = dev.run(&["cat", &point, &shown(&source.join("a"))]).ok();
    assert!(told.stdout == bytes, "{} bytes came", told.stdout.len());
}

#[test]
fn two_points_are_compared_in_kind() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    for name in ["same", "content", "metadata", "removed"] {
        write(&source.join(name), format!("{name} one"));
    }
    let dev = Dev::start(&scratch.join("d"));
    let before = dev.backup(&source);
    write(&source.join("content"), "content two");
    write(&source.join("added"), "added");
    fs::remove_file(source.join("removed")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(source.join("metadata"), mode).unwrap();
    let after = dev.backup(&source);
    let told = dev.json(&["diff", &before, &after]).ok().objects();
    let changes: Vec<(String, String)> = told
        .iter()
        .flat_map(|object| object["changes"].as_array().unwrap())
        .map(|row| (row["path"].as_str().unwrap().into(), row["change"].as_str().unwrap().into()))
        .collect();
    for name in ["added", "removed", "content", "metadata"] {
        let expected = (shown(&source.join(name)), name.to_owned());
        assert!(changes.contains(&expected), "{expected:?} in {changes:?}");
    }
    assert!(!changes.iter().any(|(path, _)| path.ends_with("/same")), "{changes:?}");
    let none = dev.json(&["diff", &after, &after]).ok().objects();
    assert_eq!(none[0]["changes"], serde_json::json!([]));
}
