//! A region comes back under harder conditions: while backups go on, with a learner and a witness
//! on its side, and with members of it that never come back.

use super::{
    losing::{count, fill},
    regions::Regions,
    returning::objects,
    scene::{Members, PATIENCE},
    witness::witness_token,
};
use crate::harness::{FailingDisk, Scratch, Tree, binary, holdfast, noise, wait_until, write};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// A point that was told done, and what it must bring back.
struct Told {
    point: String,
    source: PathBuf,
    tree: Tree,
}

/// Backups of an own directory, one after the other, each of it with something new.
fn back_up_again_and_again(
    regions: &Regions,
    name: &str,
    told: &Mutex<Vec<Told>>,
    end: &AtomicBool,
) {
    let source = regions.members.scratch.join(name);
    let mut seed = name.bytes().map(u64::from).sum::<u64>() * 1000;
    while !end.load(Relaxed) {
        seed += 1;
        write(&source.join(format!("{}", seed % 3)), noise(seed, 500_000));
        let tree = Tree::of(&source);
        let done = regions.members.run(&["backup", "--path", source.to_str().unwrap()]).ok();
        let point = done.object()["point"].as_str().unwrap().to_owned();
        told.lock().unwrap().push(Told { point, source: source.clone(), tree });
    }
}

/// A backup of several packs, some of which wait until a frozen disk takes them.
fn held_up(regions: &Regions) -> Child {
    let packs = regions.members.scratch.join("far/packs");
    let before = count(&packs);
    let context = regions.members.scratch.join("c/operator.toml");
    let child = Command::new(binary())
        .args(["--context", context.to_str().unwrap(), "--output", "json", "backup", "--path"])
        .arg(&regions.source)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("packs are coming", PATIENCE, || (count(&packs) > before).then_some(()));
    child
}

fn done(backup: Child, source: &Path) -> Told {
    let ended = backup.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    let answer: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let point = answer["point"].as_str().unwrap().to_owned();
    Told { point, source: source.to_owned(), tree: Tree::of(source) }
}

/// Every point that was told is listed in this location, and comes back from it bit for bit.
fn is_whole_alone(scratch: &Scratch, location: &str, told: &[Told]) {
    let url = format!("local:{}", scratch.join(location).display());
    let kek = format!("file:{}", scratch.join("kek").display());
    let from = ["--from-location", &url, "--kek", &kek, "--output", "json"];
    let listed = holdfast(None, &[&["points"], &from[..]].concat()).ok().object().to_string();
    for (number, Told { point, source, tree }) in told.iter().enumerate() {
        assert!(listed.contains(point.as_str()), "{location} lists {point}: {listed}");
        let to = scratch.join(&format!("alone-{location}-{number}"));
        let restore = ["restore", point, "--to", to.to_str().unwrap()];
        holdfast(None, &[&restore, &from[..]].concat()).ok();
        tree.assert_same(&Tree::of(&to.join(source.strip_prefix("/").unwrap())), location);
        fs::remove_dir_all(to).unwrap();
    }
}

/// Two regions whose second location is a disk of its own.
fn on_a_disk() -> (Regions, FailingDisk) {
    let scratch = Scratch::new();
    let disk = FailingDisk::mount(&scratch.join("far"), &scratch.join("far.image"), 512);
    fs::remove_dir(disk.path.join("lost+found")).unwrap();
    (Regions::start_in(scratch, &[]), disk)
}

#[test]
fn what_was_told_done_while_a_region_came_back_lies_whole_in_each_location_alone() {
    let (mut regions, disk) = on_a_disk();
    regions.backup();
    regions.lose_eu();
    regions.promote();
    fill(&regions.source, 20, 2);
    regions.backup();
    regions.start_eu();
    let (told, end) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    fill(&regions.source, 30, 12);
    std::thread::scope(|scope| {
        let again = scope.spawn(|| back_up_again_and_again(&regions, "again", &told, &end));
        let some = |count| {
            let some =
                || (told.lock().unwrap().len() >= count || again.is_finished()).then_some(());
            wait_until("so many backups are done", PATIENCE, some);
        };
        some(1);
        let large = held_up(&regions);
        let frozen = disk.freeze();
        let back = scope.spawn(|| regions.fail_back(&["--yes"]));
        // What is on its way now was begun when `location` was not required.
        let is_back = || (regions.role("eu") != "superseded").then_some(());
        wait_until("the region is back in the epoch", PATIENCE, is_back);
        drop(frozen);
        let large = done(large, &regions.source);
        assert_eq!(back.join().unwrap().ok().object()["leader"], "one");
        let so_far = told.lock().unwrap().len();
        some(so_far + 2);
        end.store(true, Relaxed);
        again.join().unwrap();
        told.lock().unwrap().push(large);
    });
    let told = told.into_inner().unwrap();
    eprintln!("{} backups were told done", told.len());
    let listed = regions.points_at("one");
    assert!(told.iter().all(|told| listed.contains(&told.point)), "{listed:?}");
    regions.members.run(&["verify", "--all", "--level", "storage"]).ok();
    for name in ["one", "four", "five"] {
        regions.members.kill(name);
    }
    let scratch = &regions.members.scratch;
    let (near, far) = (scratch.join("location"), scratch.join("far"));
    assert_eq!(objects(&near), objects(&far), "both have everything");
    for location in ["location", "far"] {
        is_whole_alone(scratch, location, &told);
    }
    drop((regions, disk));
}

/// `one`, `two` and a witness vote in `eu`, beside a learner.
fn of_all_kinds() -> Regions {
    let mut members = Regions::founded(Scratch::new());
    members.add("two", &[]);
    members.join("w", &witness_token(&members), &["--witness"]).ok();
    members.start("w");
    members.wait_for_voters(3);
    members.add("learner", &["--learner"]);
    Regions::followed(members)
}

fn role(members: &Members, name: &str) -> Value {
    members.row(name).map_or(Value::Null, |row| row["role"].clone())
}

fn follows(members: &Members, name: &str) -> Option<()> {
    let row = members.row(name)?;
    (row["state"] == "follower" && row["lag"] == 0).then_some(())
}

#[test]
fn a_side_with_a_learner_and_a_witness_comes_back_as_it_was() {
    let mut regions = of_all_kinds();
    let (before, first) = (regions.backup(), Tree::of(&regions.source));
    regions.lose_eu();
    regions.promote();
    fill(&regions.source, 5, 1);
    let (after, second) = (regions.backup(), Tree::of(&regions.source));
    for name in ["one", "two", "w", "learner"] {
        regions.members.start(name);
    }
    regions.assert_fenced("one");
    regions.assert_fenced("learner");
    let back = regions.fail_back(&["--yes"]).ok().object();
    assert_eq!(back["voters"], json!(["one", "two", "w"]), "{back}");
    assert!(["one", "two"].map(Value::from).contains(&back["leader"]), "{back}");
    for name in ["learner", "four", "five"] {
        wait_until("it follows", PATIENCE, || follows(&regions.members, name));
        assert_eq!(role(&regions.members, name), "learner");
        assert_eq!(regions.points_at(name), [after.clone(), before.clone()]);
    }
    wait_until("the witness follows", PATIENCE, || follows(&regions.members, "w"));
    assert_eq!(regions.members.row("w").unwrap()["duty"], "witness");
    // And its vote counts: without `two` it is half of the majority.
    regions.members.kill("two");
    for name in ["four", "five"] {
        regions.members.kill(name);
    }
    regions.is_whole(&before, &first, "before");
    regions.is_whole(&after, &second, "after");
    regions.backup();
}

#[test]
fn a_side_comes_back_without_a_member_whose_directory_is_lost() {
    let mut regions = of_all_kinds();
    let before = regions.backup();
    regions.lose_eu();
    regions.promote();
    let after = regions.backup();
    fs::remove_dir_all(regions.members.dir("two")).unwrap();
    for name in ["one", "w", "learner"] {
        regions.members.start(name);
    }
    regions.assert_fenced("one");
    let back = regions.fail_back(&["--yes"]).ok().object();
    assert_eq!(back["silent"], json!(["two"]), "{back}");
    assert_eq!(back["leader"], "one", "{back}");
    regions.members.run(&["cluster", "remove", "two", "--yes"]).ok();
    assert_eq!(regions.points_at("one"), [after, before]);
    // Its name is free again.
    regions.members.add("two", &[]);
    regions.members.wait_for_voters(3);
    regions.backup();
}

#[test]
fn a_side_most_of_whose_votes_are_gone_is_told_what_to_do_and_then_comes_back() {
    let mut regions = Regions::start(&["two", "three"]);
    let before = regions.backup();
    regions.lose_eu();
    regions.promote();
    let after = regions.backup();
    for name in ["two", "three"] {
        fs::remove_dir_all(regions.members.dir(name)).unwrap();
    }
    regions.start_eu();
    let refused = regions.fail_back(&["--yes"]).ends(8).error();
    assert_eq!(refused["code"], "member.log_behind", "{refused}");
    let (message, next) = (refused["message"].as_str().unwrap(), refused["next"].as_str().unwrap());
    assert!(message.contains("`two`, `three`") && !message.contains("`one`"), "{refused}");
    assert!(next.contains("holdfast cluster remove"), "{refused}");
    // All but the lead is done, and goes on.
    assert!(!regions.alarms().contains(&"region.copies_absent".to_owned()));
    let between = regions.backup();
    for name in ["two", "three"] {
        regions.members.run(&["cluster", "remove", name, "--yes"]).ok();
    }
    let back = regions.fail_back(&["--yes"]).ok().object();
    assert_eq!((&back["leader"], &back["voters"]), (&"one".into(), &json!(["one"])), "{back}");
    assert_eq!(regions.points_at("one"), [between, after, before]);
}
