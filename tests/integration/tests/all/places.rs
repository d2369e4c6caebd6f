//! Two locations that are one directory: one copy, and never told as two.

use crate::{
    cluster::Cluster,
    harness::{Dev, Scratch, holdfast, noise, write},
};
use serde_json::Value;
use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

fn location(name: &str, url: &str) -> String {
    format!("kind = \"location\"\nname = \"{name}\"\n[spec]\nurl = \"{url}\"\n")
}

#[test]
fn a_directory_is_one_location_however_it_is_named() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch.join("d"));
    let main = scratch.join("d/location");
    let (link, within) = (scratch.join("link"), main.join("packs/second"));
    symlink(&main, &link).unwrap();
    let file = scratch.join("location.toml");
    let apply = |url: &str, more: &[&str]| {
        write(&file, location("second", url));
        dev.json(&[&["apply", "-f", file.to_str().unwrap()], more].concat())
    };
    let main = main.display();
    for url in [
        format!("local:{main}"),
        format!("local:{main}/"),
        format!("/{main}//."),
        format!("local:{}", link.display()),
        format!("local:{}", within.display()),
        format!("local:{}", scratch.join("d").display()),
    ] {
        apply(&url, &["--dry-run"]).fails(4, "location.place_shared");
        apply(&url, &[]).fails(4, "location.place_shared");
    }
    assert!(!within.exists(), "nothing was made for what was refused");

    let second = format!("local:{}", scratch.join("second").display());
    let result = |told: Value| told["resources"][0]["result"].as_str().unwrap().to_owned();
    assert_eq!(result(apply(&second, &[]).ok().object()), "created");
    assert_eq!(result(apply(&format!("{second}/"), &[]).ok().object()), "unchanged");

    for (vault, location) in [("twice", "second"), ("main", "main")] {
        let named_twice = format!(
            "kind = \"vault\"\nname = \"{vault}\"\n[spec]\nsharing = \"agent\"\n\
             custody = \"coordinator\"\n\
             locations = {{required=[\"{location}\", \"{location}\"]}}\n",
        );
        write(&file, named_twice);
        dev.json(&["apply", "-f", file.to_str().unwrap()]).fails(4, "location.place_shared");
    }
}

/// A directory that is seen at another place, until the test is over.
struct Bound(PathBuf);

impl Bound {
    fn mount(what: &Path, at: &Path) -> Self {
        Self::mounted(Command::new("mount").arg("--bind").arg(what), at)
    }

    /// A disk of its own, for as long as the test.
    fn disk(at: &Path) -> Self {
        Self::mounted(Command::new("mount").args(["-t", "tmpfs", "disk"]), at)
    }

    fn mounted(mount: &mut Command, at: &Path) -> Self {
        std::fs::create_dir(at).unwrap();
        let mounted = mount.arg(at).status().unwrap();
        assert!(mounted.success(), "`make test` runs this as root");
        Self(at.to_owned())
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let gone = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(std::thread::panicking() || gone.unwrap().success());
    }
}

#[test]
fn a_bind_mount_of_a_location_is_the_location() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch.join("d"));
    let bound = Bound::mount(&scratch.join("d/location"), &scratch.join("bound"));
    let file = scratch.join("location.toml");
    write(&file, location("second", &format!("local:{}", bound.0.display())));
    dev.json(&["apply", "-f", text(&file)]).fails(4, "location.place_shared");
}

#[test]
fn a_disk_that_is_mounted_beneath_a_location_is_another_one() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch.join("d"));
    let disk = Bound::disk(&scratch.join("d/location/disk"));
    let file = scratch.join("location.toml");
    write(&file, location("second", &format!("local:{}", disk.0.display())));
    dev.json(&["apply", "-f", text(&file)]).ok();
    write(&file, location("third", &format!("local:{}", disk.0.join("packs").display())));
    dev.json(&["apply", "-f", text(&file)]).fails(4, "location.place_shared");
}

#[test]
fn a_cluster_is_not_founded_on_one_directory_under_two_names() {
    let scratch = Scratch::new();
    let (first, link) = (scratch.join("first"), scratch.join("link"));
    symlink(scratch.path(), &link).unwrap();
    let (dir, kek) = (scratch.join("c"), format!("file:{}", scratch.join("kek").display()));
    let [one, two] = [("first", first.clone()), ("second", link.join("first"))]
        .map(|(name, path)| format!("{name}=local:{}", path.display()));
    let found = ["--output", "json", "cluster", "init", "--name", "one", "--region", "eu"];
    let whereto = ["--dir", dir.to_str().unwrap(), "--listen", "127.0.0.1:0", "--kek", &kek];
    let with = ["--custody", "coordinator", "--location", &one, "--location", &two];
    holdfast(None, &[&found[..], &whereto[..], &with[..]].concat())
        .fails(4, "location.place_shared");
    assert!(!dir.exists() && !first.exists(), "nothing was made");
}

#[test]
fn a_location_that_became_a_name_of_another_one_holds_no_copy() {
    let scratch = Scratch::new();
    let cluster = Cluster::start_in(scratch, &["first", "second"]);
    let Cluster { scratch, coordinator } = cluster;
    assert_eq!(coordinator.stop().code(), Some(0));
    let [first, second] = ["first", "second"].map(|name| scratch.join(name));
    std::fs::remove_dir_all(&second).unwrap();
    symlink(&first, &second).unwrap();

    let coordinator = Cluster::coordinator(&scratch);
    let cluster = Cluster { scratch, coordinator };
    let agent = cluster.agent("host");
    let source = cluster.scratch.join("source");
    write(&source.join("file"), noise(1, 900_000));
    cluster.run(&["backup", "--path", text(&source)]).fails(4, "location.place_shared");
    let status = cluster.run(&["status"]).ends(1).object();
    let alarms = status["alarms"].as_array().unwrap();
    let alarm = alarms.iter().find(|alarm| alarm["code"] == "location.place_shared");
    assert!(alarm.is_some_and(|alarm| text_of(alarm).starts_with("main: ")), "{status:#}");
    assert!(!first.join("packs").exists(), "nothing was stored as if it were there twice");
    drop(agent);
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn text_of(alarm: &Value) -> &str {
    alarm["subject"].as_str().unwrap()
}
