//! Packs of which little is needed, and what keeps the object of a forgotten point, go into new
//! packs: every point that is left restores from every location, before and after, and there is
//! more room.

use crate::{
    collecting::{PATIENCE, Scene},
    harness::{Chance, Objects, Tree, holdfast, kills, noise, wait_until, write},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

const KILLS: u64 = 6;
const SEED_USUAL: u64 = 0x4EBAC;
/// Files of a source, of this size; the first of them stay as they are.
const FILES: u64 = 40;
const FILE_BYTES: usize = 100_000;
const KEPT: u64 = 10;

/// All files, of which those that change are of an age.
fn fill(source: &Path, age: u64) {
    for number in 0..FILES {
        let seed = if number < KEPT { number } else { age * 1000 + number };
        write(&source.join(format!("file-{number}")), noise(seed, FILE_BYTES));
    }
}

fn back_up(scene: &Scene) -> String {
    let made = scene.run(&["backup", "docs"]).ok().object();
    made["point"].as_str().unwrap().to_owned()
}

/// A point that no rule lets go.
fn back_up_aside(scene: &Scene, source: &Path) -> String {
    let made = scene.run(&["backup", "--path", source.to_str().unwrap()]).ok().object();
    made["point"].as_str().unwrap().to_owned()
}

/// Bytes of packs in a location.
fn bytes_of_packs(location: &Path) -> u64 {
    let packs = Objects::of(location).below("packs");
    packs.iter().map(|path| fs::metadata(path).unwrap().len()).sum()
}

fn is_in_far(scene: &Scene, point: &str) {
    wait_until("it is in both", PATIENCE, || scene.is_in_far(point).then_some(()));
}

/// From one location alone, without a cluster.
fn restores_from(scene: &Scene, location: &str, point: &str, right: &Tree) {
    let to = scene.scratch.join("alone");
    let url = format!("local:{}", scene.scratch.join(location).display());
    let kek = format!("file:{}", scene.scratch.join("d/kek").display());
    let restore = ["restore", point, "--to", to.to_str().unwrap()];
    holdfast(None, &[&restore[..], &["--from-location", &url, "--kek", &kek]].concat()).ok();
    let back = to.join(scene.source().strip_prefix("/").unwrap());
    right.assert_same(&Tree::of(&back), &format!("{point} from {location}"));
    fs::remove_dir_all(to).unwrap();
}

/// Restores a point again and again, and backs another source up, until it is over.
fn meanwhile(scene: &Scene, point: &str, right: &Tree, over: &AtomicBool) {
    let to = scene.scratch.join("meanwhile");
    while !over.load(Ordering::Relaxed) {
        scene.run(&["restore", point, "--to", to.to_str().unwrap()]).ok();
        let back = to.join(scene.source().strip_prefix("/").unwrap());
        right.assert_same(&Tree::of(&back), "while it is packed anew");
        fs::remove_dir_all(&to).unwrap();
    }
}

fn backups_meanwhile(scene: &Scene, over: &AtomicBool) -> BTreeMap<String, Tree> {
    let mut made = BTreeMap::new();
    let source = scene.scratch.join("other");
    for age in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        write(&source.join("changes"), noise(50_000 + age, 400_000));
        // What the round packs anew, by the same agent.
        write(&source.join("same"), noise(age % KEPT, FILE_BYTES));
        let tree = Tree::of(&source);
        made.insert(back_up_aside(scene, &source), tree);
    }
    made
}

#[test]
fn what_is_mostly_not_needed_is_packed_anew_while_backups_and_restores_go_on() {
    let mut scene = Scene::start();
    scene.add_far();
    let source = scene.source();
    fill(&source, 1);
    back_up(&scene);
    fill(&source, 2);
    let newest = back_up(&scene);
    let right = Tree::of(&source);
    is_in_far(&scene, &newest);
    scene.run(&["retain", "docs", "--yes"]).ok();
    let before = bytes_of_packs(&scene.scratch.join("d/location"));
    let found = scene.found();
    assert!(found["repacked"]["packs"].as_u64().unwrap() >= 1, "{found:#}");
    let (bytes, live) = (&found["repacked"]["bytes"], &found["repacked"]["live_bytes"]);
    assert!(bytes.as_u64().unwrap() > 2 * live.as_u64().unwrap(), "{found:#}");
    let saved = bytes.as_u64().unwrap() - live.as_u64().unwrap();
    let unneeded = found["unneeded"]["bytes"].as_u64().unwrap();
    assert_eq!(found["locations"][0]["frees_bytes"], saved + unneeded, "{found:#}");

    let over = AtomicBool::new(false);
    let (round, others) = std::thread::scope(|threads| {
        threads.spawn(|| meanwhile(&scene, &newest, &right, &over));
        let others = threads.spawn(|| backups_meanwhile(&scene, &over));
        let round = scene.collect();
        over.store(true, Ordering::Relaxed);
        (round, others.join().unwrap())
    });
    assert_eq!(round["stage"], "over", "{round:#}");
    let repacked = &round["repacked"];
    assert!(repacked["packs"].as_u64().unwrap() >= 1, "{round:#}");
    let (bytes, made) = (&repacked["bytes"], &repacked["made_bytes"]);
    assert!(2 * made.as_u64().unwrap() < bytes.as_u64().unwrap(), "{round:#}");
    scene.restores(&newest, &source);
    is_in_far(&scene, &newest);
    scene.pass_hours(25);
    scene.nothing_waits();
    assert_eq!(scene.found()["repacked"]["packs"], 0);
    for location in ["d/location", "far"] {
        // Of the first point what stayed; the second one's; and what came meanwhile.
        let more = others.len() as u64 * (FILE_BYTES as u64 + 450_000);
        let kept = FILES * FILE_BYTES as u64 + 200_000;
        let bytes = bytes_of_packs(&scene.scratch.join(location));
        assert!(bytes < kept + more, "{bytes} of {before} are left in {location}");
    }
    scene.is_whole();
    scene.restores(&newest, &source);
    scene.restores_from_each(&newest, &source, &right);
    let other = scene.scratch.join("other");
    for (point, right) in &others {
        is_in_far(&scene, point);
        scene.restores_from_each(point, &other, right);
    }
    // What was packed anew is found by the next backup.
    let before = bytes_of_packs(&scene.scratch.join("d/location"));
    write(&source.join("again"), noise(1, FILE_BYTES));
    let again = back_up(&scene);
    let more = bytes_of_packs(&scene.scratch.join("d/location")) - before;
    assert!(more < FILE_BYTES as u64 / 2, "{more} bytes were sent again");
    scene.restores(&again, &source);
    // A coordinator that knows it from the locations alone finds it too.
    scene.kill_dev();
    fs::remove_dir_all(index_of(&scene)).unwrap();
    scene.start_dev();
    scene.restores(&again, &source);
    scene.is_whole();
}

/// Where the coordinator has its index.
fn index_of(scene: &Scene) -> PathBuf {
    let mut found = Vec::new();
    let mut look = vec![scene.scratch.join("d")];
    while let Some(directory) = look.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten().filter(|it| it.path().is_dir()) {
            let is_it = entry.file_name() == "index" && !entry.path().ends_with("location/index");
            if is_it { found.push(entry.path()) } else { look.push(entry.path()) }
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn what_was_packed_anew_stays_in_a_location_that_lacks_the_new_pack() {
    let mut scene = Scene::start();
    scene.add_far();
    let source = scene.source();
    // It needs a few files of the first point's pack.
    let aside = scene.scratch.join("aside");
    fill(&source, 1);
    let first = back_up(&scene);
    for number in 0..KEPT {
        write(&aside.join(format!("file-{number}")), noise(number, FILE_BYTES));
    }
    let held = back_up_aside(&scene, &aside);
    is_in_far(&scene, &held);
    is_in_far(&scene, &first);
    // The newest that lies there stays, and rests on nothing that only the first one has.
    fill(&source, 3);
    let second = back_up(&scene);
    is_in_far(&scene, &second);
    scene.run(&["location", "disable", "far", "--yes"]).ok();
    fill(&source, 2);
    let newest = back_up(&scene);
    scene.run(&["retain", "docs", "--yes"]).ok();
    let far = Objects::of(&scene.scratch.join("far")).below("packs");
    let round = scene.collect();
    assert!(round["repacked"]["packs"].as_u64().unwrap() >= 1, "{round:#}");
    scene.pass_hours(25);
    let location = scene.scratch.join("d/location");
    let few = || (bytes_of_packs(&location) < 9_500_000).then_some(());
    wait_until("they go from where the new pack is", PATIENCE, few);
    assert_eq!(Objects::of(&scene.scratch.join("far")).below("packs"), far);
    let right = Tree::of(&aside);
    let alone = |location: &str| {
        let to = scene.scratch.join("alone");
        let url = format!("local:{}", scene.scratch.join(location).display());
        let kek = format!("file:{}", scene.scratch.join("d/kek").display());
        let restore = ["restore", &held, "--to", to.to_str().unwrap()];
        holdfast(None, &[&restore[..], &["--from-location", &url, "--kek", &kek]].concat()).ok();
        right.assert_same(&Tree::of(&to.join(aside.strip_prefix("/").unwrap())), location);
        fs::remove_dir_all(to).unwrap();
    };
    alone("far");
    alone("d/location");
    scene.run(&["location", "enable", "far"]).ok();
    scene.nothing_waits();
    assert!(bytes_of_packs(&scene.scratch.join("far")) < 9_500_000);
    alone("far");
    is_in_far(&scene, &newest);
    for location in ["d/location", "far"] {
        restores_from(&scene, location, &newest, &Tree::of(&source));
    }
    scene.is_whole();
}

/// Files below a directory, whole or on their way, while they come and go.
fn files_below(directory: &Path) -> usize {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let files = |path: PathBuf| if path.is_dir() { files_below(&path) } else { 1 };
    entries.flatten().map(|entry| files(entry.path())).sum()
}

fn collect_beside(scene: &Scene) -> Child {
    let mut collect = scene.clocked.command(&["collect", "--yes"]);
    collect.env("HOLDFAST_CONTEXT", scene.context()).stdin(Stdio::null());
    collect.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn every_point_survives_kills_while_packs_are_packed_anew() {
    let mut scene = Scene::start();
    scene.add_far();
    let (source, kills) = (scene.source(), kills(KILLS));
    let name = "every_point_survives_kills_while_packs_are_packed_anew";
    let mut chance = Chance::of(name, SEED_USUAL, kills);
    let mut right: BTreeMap<String, Tree> = BTreeMap::new();
    let location = scene.scratch.join("d/location/packs");
    for round in 0..kills {
        fill(&source, 10 + round);
        right.insert(back_up(&scene), Tree::of(&source));
        if round % 3 == 0 {
            right.insert(back_up_aside(&scene, &source), Tree::of(&source));
        }
        scene.run(&["retain", "docs", "--yes"]).ok();
        let before = files_below(&location);
        let mut collect = collect_beside(&scene);
        // After so many new packs have come, and a moment later.
        let (packs, later) = (chance.below(3) as usize, chance.below(40));
        while collect.try_wait().unwrap().is_none() && files_below(&location) < before + packs {
            std::thread::sleep(Duration::from_millis(1));
        }
        let later = if packs == 0 { 30 * later } else { later };
        std::thread::sleep(Duration::from_millis(later));
        scene.kill_dev();
        let _it_lost_its_cluster = collect.kill();
        collect.wait().unwrap();
        scene.start_dev();
        scene.pass_hours(25);
    }
    scene.collect();
    let last = scene.collect();
    assert_eq!(last["problem"], Value::Null, "{last:#}");
    scene.pass_hours(25);
    scene.nothing_waits();
    let found = scene.found();
    assert_eq!((&found["unneeded"]["packs"], &found["repacked"]["packs"]), (&json!(0), &json!(0)));
    let listed = scene.run(&["points"]).ok().object();
    let listed = listed["points"].as_array().unwrap();
    assert_eq!(listed.len() as u64, 1 + kills.div_ceil(3));
    for point in listed {
        let id = point["id"].as_str().unwrap();
        is_in_far(&scene, id);
        scene.restores_from_each(id, &source, &right[id]);
    }
    scene.is_whole();
}
