//! A backup that could not read everything makes a point, says so, and exits with 6.

use crate::harness::{Dev, Scratch, Tree, write};
use std::{fs, os::unix::fs::PermissionsExt};

#[test]
fn what_cannot_be_read_is_skipped_and_said() {
    let scratch = Scratch::new();
    let (source, dir) = (scratch.join("source"), scratch.join("d"));
    write(&source.join("readable"), "readable");
    write(&source.join("secret"), "secret");
    fs::set_permissions(source.join("secret"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::create_dir(&dir).unwrap();
    // Root reads everything: the agent has to be somebody else.
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let dev = Dev::start_as_nobody(&dir);
    let told = dev.json(&["backup", "--path", source.to_str().unwrap()]).ends(6).object();
    assert_eq!(told["state"], "partial");
    let secret = source.join("secret").to_str().unwrap().to_owned();
    let row = serde_json::json!({ "path": secret, "code": "file.permission_denied" });
    assert_eq!(told["skipped"], serde_json::json!([row]), "each path with its reason");
    let point = told["point"].as_str().unwrap();
    let to = scratch.join("back");
    dev.run(&["restore", point, "--to", to.to_str().unwrap()]).ok();
    let back = to.join(source.strip_prefix("/").unwrap());
    assert_eq!(fs::read(back.join("readable")).unwrap(), b"readable");
    assert!(!back.join("secret").exists());
    assert_eq!(Tree::of(&back).0.len(), 1);
}
