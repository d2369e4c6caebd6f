//! A backup that could not read everything makes a point, says so, and exits with 6.

use crate::harness::{Dev, Scratch, Tree, write};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
};

/// Any user that is not root and owns nothing else.
const NOBODY: u32 = 65_534;

#[test]
fn what_cannot_be_read_is_skipped_and_said() {
    let scratch = Scratch::new();
    let (source, dir) = (scratch.join("source"), scratch.join("d"));
    write(&source.join("readable"), "readable");
    write(&source.join("secret"), "secret");
    fs::set_permissions(source.join("secret"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::create_dir(&dir).unwrap();
    let dev = if rustix::process::geteuid().is_root() {
        // Root reads everything: the agent has to be somebody else.
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
        chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
        Dev::start_as(NOBODY, &dir)
    } else {
        Dev::start(&dir)
    };
    let told = dev.json(&["backup", "--path", source.to_str().unwrap()]).ends(6).object();
    assert_eq!(told["state"], "partial");
    let point = told["point"].as_str().unwrap();
    let to = scratch.join("back");
    dev.run(&["restore", point, "--to", to.to_str().unwrap()]).ok();
    let back = to.join(source.strip_prefix("/").unwrap());
    assert_eq!(fs::read(back.join("readable")).unwrap(), b"readable");
    assert!(!back.join("secret").exists());
    assert_eq!(Tree::of(&back).0.len(), 1);
}
