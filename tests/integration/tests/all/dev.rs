//! `holdfast dev`: ready soon, gone when asked, and the same afterwards.

use crate::harness::{Chance, Dev, Scratch, Tree, binary, kills, noise, write};
use rustix::process::Signal;
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const KILLS: u64 = 8;
const SEED_USUAL: u64 = 0xBEEF;
/// A `dev` that is ready has a few files more.
const FILES_MAX: u64 = 21;

#[test]
fn dev_is_ready_soon_and_ends_with_zero_on_sigterm() {
    let scratch = Scratch::new();
    let start = Instant::now();
    let dev = Dev::start(&scratch.join("d"));
    // Two seconds are promised; a loaded machine that builds beside us gets more.
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(dev.context().exists());
    assert!(dev.dir.join("location/vault").exists());
    assert!(dev.dir.join("kek").exists());
    assert_eq!(dev.service.stop().code(), Some(0));
}

#[test]
fn dev_ends_with_zero_on_sigint_too() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch.join("d"));
    dev.service.signal(Signal::INT);
    assert_eq!(dev.service.stop().code(), Some(0));
}

#[test]
fn dev_continues_in_the_same_directory_on_another_port() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    write(&source.join("a"), noise(1, 3_000_000));
    let dev = Dev::start(&scratch.join("d"));
    let before = dev.service.address.clone();
    let point = dev.backup(&source);
    dev.service.kill();
    let dev = Dev::start(&scratch.join("d"));
    let context = std::fs::read_to_string(dev.context()).unwrap();
    assert!(context.contains(&dev.service.address), "{context} names {}", dev.service.address);
    assert!(before == dev.service.address || !context.contains(&before));
    let to = scratch.join("back");
    dev.run(&["restore", &point, "--to", to.to_str().unwrap()]).ok();
    let back = to.join(source.strip_prefix("/").unwrap());
    Tree::of(&source).assert_same(&Tree::of(&back), "after a kill");
}

/// What a kill between the enrolment and the last file of `join` leaves.
#[test]
fn dev_continues_when_its_agent_has_a_name_and_no_home() {
    let scratch = Scratch::new();
    let (source, policy) = (scratch.join("source"), scratch.join("nightly.toml"));
    write(&source.join("a"), noise(1, 3_000_000));
    let dev = Dev::start(&scratch.join("d"));
    let declared = format!(
        "kind=\"policy\"\nname=\"nightly\"\n[spec]\nagent=\"local\"\nvault=\"main\"\n\
         source={{type=\"files\", paths=[\"{}\"], exclude=[], one_file_system=false}}\n\
         locations={{required=[\"main\"]}}\n",
        source.display()
    );
    write(&policy, declared);
    dev.run(&["apply", "-f", policy.to_str().unwrap()]).ok();
    let before = dev.json(&["backup", "nightly"]).ok().object();
    dev.service.kill();
    fs::remove_file(dev.dir.join("agent/agent.toml")).unwrap();
    let dev = Dev::start(&scratch.join("d"));
    write(&source.join("b"), "new");
    let after = dev.json(&["backup", "nightly"]).ok().object();
    let points = dev.json(&["points", "--agent", "local"]).ok().object();
    let ids: Vec<_> = points["points"].as_array().unwrap().iter().map(|row| &row["id"]).collect();
    assert_eq!(ids, [&after["point"], &before["point"]], "both, newest first");
    for told in [&before, &after] {
        let (point, to) = (told["point"].as_str().unwrap(), scratch.join("back"));
        dev.run(&["restore", point, "--to", to.to_str().unwrap(), "--force"]).ok();
    }
    let back = scratch.join("back").join(source.strip_prefix("/").unwrap());
    Tree::of(&source).assert_same(&Tree::of(&back), "from both agents that were called `local`");
    let agents = dev.json(&["agent", "list"]).ok().object();
    let mut states: Vec<_> =
        agents["agents"].as_array().unwrap().iter().map(|row| row["state"].to_string()).collect();
    states.sort();
    assert_eq!(states, ["\"connected\"", "\"revoked\""], "{agents}");
}

#[test]
fn dev_continues_after_kills_at_any_moment_of_its_first_second() {
    let rounds = kills(KILLS);
    let mut chance = Chance::of("dev_continues_after_kills", SEED_USUAL, rounds);
    for round in 0..rounds {
        let scratch = Scratch::new();
        let dir = scratch.join("d");
        // The second kill meets what the first one left.
        let moments = [chance.below(FILES_MAX), chance.below(FILES_MAX)];
        for files in moments {
            kill_at(&dir, files);
        }
        let dev = Dev::start(&dir);
        let told = dev.json(&["status"]).ok().object();
        assert_eq!(told["protected"], true, "round {round}, killed at {moments:?} files: {told}");
    }
}

/// Kills a starting `dev` as soon as its directory has that many files.
fn kill_at(dir: &Path, files: u64) {
    let mut command = Command::new(binary());
    command.args(["dev", "--dir", dir.to_str().unwrap()]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while file_count(dir) < files {
        assert!(start.elapsed() < Duration::from_secs(60), "never had {files} files");
        assert!(child.try_wait().unwrap().is_none(), "it ended before it had {files} files");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn file_count(dir: &Path) -> u64 {
    // What goes away while it is counted is not counted.
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let one = |path: &Path| if path.is_dir() { file_count(path) } else { 1 };
    entries.flatten().map(|entry| one(&entry.path())).sum()
}

#[test]
fn dev_listens_where_it_is_told_to() {
    let scratch = Scratch::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (dir, log) = (scratch.join("d"), scratch.join("log"));
    let arguments = ["dev", "--dir", dir.to_str().unwrap(), "--listen", &free.to_string()];
    let service = crate::harness::Service::start(&arguments, &log);
    assert_eq!(service.address, free.to_string());
    assert_eq!(service.stop().code(), Some(0));
}

#[test]
fn a_second_dev_in_the_same_directory_is_refused_and_does_no_harm() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch.join("d"));
    let second = crate::harness::holdfast(None, &["dev", "--dir", dev.dir.to_str().unwrap()]);
    assert_ne!(second.code, 0, "{}", second.stderr);
    dev.run(&["points"]).ok();
}

#[test]
fn the_demo_tells_its_story_to_the_end_and_leaves_nothing_behind() {
    let scratch = Scratch::new();
    let start = Instant::now();
    let mut demo = Command::new(binary());
    demo.arg("demo").env("TMPDIR", scratch.path());
    let told = crate::harness::Outcome::of(None, &mut demo).ok();
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    for figure in ["stored", "found damaged", "compared: the same", "no cluster"] {
        assert!(told.text().contains(figure), "`{figure}` in {}", told.text());
    }
    let left: Vec<_> = std::fs::read_dir(scratch.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn dev_is_a_trial_and_only_notes_that_it_has_no_bundle() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch.join("d"));
    let status = dev.json(&["status"]).ok().object();
    assert_eq!(status["protected"], true, "{status}");
    assert_eq!(status["notes"][0]["code"], "bundle.export_absent", "{status}");
}

/// Only where they lead is another place here.
#[test]
fn the_first_lines_of_the_readme_work_as_they_stand() {
    let scratch = Scratch::new();
    let (source, bin) = (scratch.join("etc"), scratch.join("bin"));
    write(&source.join("hosts"), "127.0.0.1 localhost");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(binary(), bin.join("holdfast")).unwrap();
    let readme = include_str!("../../../../README.md");
    let mut blocks = readme.split("```").filter(|block| block.contains("holdfast dev"));
    let mut lines = blocks.next().unwrap().to_owned();
    // What was put in already is not looked at again: a scratch directory has such a name.
    for (from, to) in [
        ("/tmp/holdfast", scratch.join("d")),
        ("/tmp/back", scratch.join("back")),
        ("/etc", source.clone()),
        ("$PWD/target/debug", bin),
    ] {
        assert!(lines.contains(from), "{from} in {lines}");
        lines = lines.replace(from, to.to_str().unwrap());
    }
    let script = format!("set -eu -o pipefail\ntrap 'kill $!; wait' EXIT\n{lines}");
    let told = Command::new("timeout").args(["60", "bash", "-c", &script]).output().unwrap();
    let said = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.status.success(), "{said}{}", String::from_utf8_lossy(&told.stderr));
    assert!(said.contains(source.join("hosts").to_str().unwrap()), "listed: {said}");
    let back = scratch.join("back").join(source.strip_prefix("/").unwrap());
    Tree::of(&source).assert_same(&Tree::of(&back), "restored");
}
