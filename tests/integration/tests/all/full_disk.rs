//! Disks without room, on every side: a clear word, nothing corrupt, and on it goes when there is
//! room again, without anybody starting anything anew.

use crate::harness::{Dev, Objects, Outcome, Scratch, SmallDisk, Tree, noise, wait_until, write};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(60);

fn source(scratch: &Scratch, seed: u64) -> PathBuf {
    let source = scratch.join(&format!("source-{seed}"));
    for number in 0..4 {
        write(&source.join(number.to_string()), noise(seed + number, 1_500_000));
    }
    source
}

fn assert_restores(dev: &Dev, point: &str, source: &Path, to: &Path) {
    dev.json(&["restore", point, "--to", to.to_str().unwrap()]).ok();
    let back = to.join(source.strip_prefix("/").unwrap());
    Tree::of(source).assert_same(&Tree::of(&back), point);
}

fn backup(dev: &Dev, source: &Path) -> Outcome {
    dev.json(&["backup", "--path", source.to_str().unwrap()])
}

/// The failure says what is full and what to type.
#[track_caller]
fn assert_no_space(outcome: Outcome, code: &str) {
    let outcome = outcome.ends(9);
    let error = outcome.error();
    assert_eq!(error["code"], code, "{error}");
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
    assert!(error["next"].as_str().is_some_and(|text| text.contains("free")), "{error}");
}

#[test]
fn a_full_location_fails_the_backup_and_the_next_one_completes() {
    let scratch = Scratch::new();
    let disk = SmallDisk::mount(&scratch.join("d/location"), 64);
    let dev = Dev::start(&scratch.join("d"));
    let first = source(&scratch, 1);
    let point = dev.backup(&first);
    let second = source(&scratch, 10);
    // Full at once, full in the middle of a pack, full after some packs.
    for free in [0, 1 << 20, 5 << 20] {
        disk.fill_up_to(free);
        assert_no_space(backup(&dev, &second), "location.space_exhausted");
        assert_restores(&dev, &point, &first, &scratch.join(&format!("full-{free}")));
        disk.make_room();
    }
    let made = backup(&dev, &second).ok().object();
    let newer = made["point"].as_str().unwrap();
    assert_restores(&dev, newer, &second, &scratch.join("newer"));
    assert_restores(&dev, &point, &first, &scratch.join("older"));
    let told = dev.json(&["verify", "--all", "--level", "storage"]).ok().object();
    assert_eq!(told["damaged"].as_array().unwrap().len(), 0, "{told}");
    let left = std::fs::read_dir(disk.path.join("tmp")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "no file of a failed put stays");
}

#[test]
fn on_a_full_disk_of_the_coordinator_nothing_begins_and_everything_restores() {
    let scratch = Scratch::new();
    let disk = SmallDisk::mount(&scratch.join("d/data"), 160);
    let dev = Dev::start(&scratch.join("d"));
    let first = source(&scratch, 1);
    let point = dev.backup(&first);
    disk.fill();
    let second = source(&scratch, 10);
    assert_no_space(backup(&dev, &second), "disk.space_exhausted");
    let status = dev.json(&["status"]).ends(1).object();
    let alarms = status["alarms"].as_array().unwrap();
    assert!(alarms.iter().any(|alarm| alarm["code"] == "disk.space_exhausted"), "{status}");
    assert_restores(&dev, &point, &first, &scratch.join("full"));
    assert_no_space(backup(&dev, &second), "disk.space_exhausted");
    disk.make_room();
    let made = backup(&dev, &second).ok().object();
    assert_restores(&dev, made["point"].as_str().unwrap(), &second, &scratch.join("newer"));
    assert_restores(&dev, &point, &first, &scratch.join("older"));
    assert_eq!(dev.service.stop().code(), Some(0));
}

#[test]
fn a_coordinator_stopped_on_a_full_disk_starts_on_it() {
    let scratch = Scratch::new();
    let disk = SmallDisk::mount(&scratch.join("d/data"), 160);
    let dev = Dev::start(&scratch.join("d"));
    let first = source(&scratch, 1);
    let point = dev.backup(&first);
    disk.fill();
    dev.service.kill();
    let dev = Dev::start(&scratch.join("d"));
    assert_restores(&dev, &point, &first, &scratch.join("full"));
    disk.make_room();
    let second = source(&scratch, 10);
    let made = backup(&dev, &second).ok().object();
    assert_restores(&dev, made["point"].as_str().unwrap(), &second, &scratch.join("newer"));
}

#[test]
fn a_disk_of_the_coordinator_that_fills_during_a_backup_loses_nothing() {
    let scratch = Scratch::new();
    let disk = SmallDisk::mount(&scratch.join("d/data"), 160);
    let dev = Dev::start(&scratch.join("d"));
    let first = source(&scratch, 1);
    let point = dev.backup(&first);
    let second = scratch.join("large");
    for number in 0..24 {
        write(&second.join(number.to_string()), noise(100 + number, 4_000_000));
    }
    let objects = Objects::of(&scratch.join("d/location"));
    let before = objects.below("packs").len();
    let told = std::thread::scope(|scope| {
        let running = scope.spawn(|| backup(&dev, &second));
        let under_way = || (objects.below("packs").len() > before + 2).then_some(());
        wait_until("packs arrive", PATIENCE, under_way);
        disk.fill();
        running.join().unwrap()
    });
    // What had begun may end, if nothing of it was still to be announced.
    if told.code != 0 {
        assert_no_space(told, "disk.space_exhausted");
    }
    assert_restores(&dev, &point, &first, &scratch.join("full"));
    disk.make_room();
    let made = backup(&dev, &second).ok().object();
    assert_restores(&dev, made["point"].as_str().unwrap(), &second, &scratch.join("newer"));
    dev.json(&["verify", "--all", "--level", "storage"]).ok();
}

#[test]
fn a_full_disk_of_the_agent_costs_its_memory_and_no_backup() {
    let scratch = Scratch::new();
    let disk = SmallDisk::mount(&scratch.join("d/agent"), 4);
    let dev = Dev::start(&scratch.join("d"));
    let source = source(&scratch, 1);
    let point = dev.backup(&source);
    disk.fill();
    for round in 0..2 {
        write(&source.join("new"), noise(50 + round, 700_000));
        let made = backup(&dev, &source).ok().object();
        let to = scratch.join(&format!("full-{round}"));
        assert_restores(&dev, made["point"].as_str().unwrap(), &source, &to);
    }
    disk.make_room();
    let made = backup(&dev, &source).ok().object();
    assert_restores(&dev, made["point"].as_str().unwrap(), &source, &scratch.join("again"));
    assert_ne!(made["point"], point.as_str());
}

#[test]
fn a_restore_to_a_full_disk_ends_with_a_clear_word_and_goes_on_when_there_is_room() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch.join("d"));
    let source = source(&scratch, 1);
    let point = dev.backup(&source);
    for free in [0, 2 << 20, 4 << 20] {
        let disk = SmallDisk::mount(&scratch.join(&format!("target-{free}")), 16);
        disk.fill_up_to(free);
        let to = disk.path.join("to");
        let restore = || dev.json(&["restore", &point, "--to", to.to_str().unwrap()]);
        assert_no_space(restore(), "disk.space_exhausted");
        let back = to.join(source.strip_prefix("/").unwrap());
        if back.exists() {
            Tree::of(&back).assert_no_wrong_bytes(&Tree::of(&source), "what came back is right");
        }
        disk.make_room();
        let told = dev.json(&["restore", &point, "--to", to.to_str().unwrap(), "--force"]);
        told.ok();
        Tree::of(&source).assert_same(&Tree::of(&back), "with room");
    }
}
