//! A location that is not what it was: a disk that is not mounted, the disk of another vault.

use crate::harness::{Dev, Scratch, Tree, noise, write};
use std::path::Path;

fn names_in(directory: &Path) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

/// A vault with a point, at rest.
fn prepare(scratch: &Scratch, name: &str) -> (std::path::PathBuf, String) {
    let dir = scratch.join(name);
    let dev = Dev::start(&dir);
    let source = scratch.join("source");
    write(&source.join("file"), noise(1, 900_000));
    let point = dev.backup(&source);
    assert_eq!(dev.service.stop().code(), Some(0));
    (dir, point)
}

#[test]
fn nothing_is_put_where_a_disk_is_not_mounted() {
    let scratch = Scratch::new();
    let (dir, point) = prepare(&scratch, "d");
    let (location, away) = (dir.join("location"), dir.join("away"));
    std::fs::rename(&location, &away).unwrap();
    std::fs::create_dir(&location).unwrap();
    let dev = Dev::start(&dir);
    let verify = ["verify", "--all", "--level", "storage"];
    dev.json(&verify).fails(4, "location.vault_absent");
    assert_eq!(names_in(&location), 0, "nothing is missing there, and nothing is healed into it");
    let source = scratch.join("source");
    write(&source.join("later"), noise(2, 900_000));
    let backup = ["backup", "--path", source.to_str().unwrap()];
    dev.json(&backup).fails(4, "location.vault_absent");
    assert_eq!(names_in(&location), 0, "the mount point stays as it was");

    // Mounted again: no restart is needed.
    std::fs::remove_dir(&location).unwrap();
    std::fs::rename(&away, &location).unwrap();
    let second = dev.backup(&source);
    let to = scratch.join("to");
    for (point, wanted) in [(&second, 2), (&point, 1)] {
        dev.run(&["restore", point, "--to", to.to_str().unwrap()]).ok();
        let back = to.join(source.strip_prefix("/").unwrap());
        assert_eq!(names_in(&back), wanted);
        std::fs::remove_dir_all(&to).unwrap();
    }
}

#[test]
fn nothing_is_put_into_the_location_of_another_vault() {
    let scratch = Scratch::new();
    let ((ours, _), (theirs, _)) = (prepare(&scratch, "ours"), prepare(&scratch, "theirs"));
    std::fs::rename(ours.join("location"), ours.join("away")).unwrap();
    std::fs::rename(theirs.join("location"), ours.join("location")).unwrap();
    let before = Tree::of(&ours.join("location"));
    let dev = Dev::start(&ours);
    let source = scratch.join("source");
    write(&source.join("later"), noise(2, 900_000));
    dev.json(&["backup", "--path", source.to_str().unwrap()]).fails(4, "vault.id_foreign");
    before.assert_same(&Tree::of(&ours.join("location")), "the other vault");
}
