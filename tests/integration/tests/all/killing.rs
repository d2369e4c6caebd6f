//! Killed in the middle of a backup, again and again: what was reported committed restores bit for
//! bit, and the next run completes.

use crate::harness::{Chance, Dev, Scratch, Tree, binary, kills, noise, wait_until, write};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

const ROUNDS: u64 = 10;
const SEED_USUAL: u64 = 0xFEED;

fn points(dev: &Dev) -> Vec<String> {
    let told = dev.json(&["points"]).ok().object();
    let rows = told["points"].as_array().unwrap().clone();
    rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

/// New content each round, so that each round has packs to lose.
fn renew(source: &Path, round: u64) {
    for number in 0..6 {
        let seed = round * 100 + number;
        write(&source.join(format!("fresh-{number}")), noise(seed, 2_500_000));
    }
    write(&source.join(format!("kept/{round}")), format!("round {round}"));
}

fn idle(dev: &Dev) -> Option<()> {
    let told = dev.json(&["runs"]).ok().object();
    let open = |run: &serde_json::Value| run["ended"].is_null();
    (!told["runs"].as_array().unwrap().iter().any(open)).then_some(())
}

fn restored(dev: &Dev, point: &str, source: &Path, to: &Path) -> Tree {
    dev.run(&["restore", point, "--to", to.to_str().unwrap()]).ok();
    let tree = Tree::of(&to.join(source.strip_prefix("/").unwrap()));
    std::fs::remove_dir_all(to).unwrap();
    tree
}

#[test]
fn every_committed_point_survives_kills_at_any_moment() {
    let scratch = Scratch::new();
    let (source, dir): (PathBuf, PathBuf) = (scratch.join("source"), scratch.join("d"));
    let mut right: BTreeMap<String, Tree> = BTreeMap::new();
    let rounds = kills(ROUNDS);
    let name = "every_committed_point_survives_kills_at_any_moment";
    let mut chance = Chance::of(name, SEED_USUAL, rounds);
    for round in 0..rounds {
        renew(&source, round);
        let tree = Tree::of(&source);
        let dev = Dev::start(&dir);
        let mut backup = Command::new(binary())
            .args(["--context", dev.context().to_str().unwrap(), "--output", "json"])
            .args(["backup", "--path", source.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Later each round of ten: before the session, in it, around the commit.
        let moment = 20 + round % ROUNDS * 90 + chance.below(90);
        std::thread::sleep(Duration::from_millis(moment));
        dev.service.kill();
        let _it_lost_its_cluster = backup.kill();
        backup.wait().unwrap();

        let dev = Dev::start(&dir);
        // A run that was still queued when its cluster was killed is taken up again: it is the same
        // work, and must have ended before that is asked for, and before its tree changes.
        wait_until("the end of all runs", Duration::from_secs(120), || idle(&dev));
        dev.backup(&source);
        for point in points(&dev) {
            right.entry(point).or_insert_with(|| tree.clone());
        }
        assert_eq!(dev.service.stop().code(), Some(0));
    }
    let dev = Dev::start(&dir);
    let listed = points(&dev);
    assert_eq!(listed.len(), right.len(), "no point went away");
    for (number, (point, tree)) in right.iter().enumerate() {
        let back = restored(&dev, point, &source, &scratch.join(&format!("back-{number}")));
        tree.assert_same(&back, point);
    }
    let told = dev.json(&["verify", "--all", "--level", "storage"]).ok().object();
    assert_eq!(told["points"].as_u64().unwrap(), listed.len() as u64);
}

#[test]
fn a_run_whose_agent_was_killed_ends_and_is_told() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    for number in 0..20 {
        write(&source.join(number.to_string()), noise(number, 4_000_000));
    }
    let dev = Dev::start(&scratch.join("d"));
    let path = source.to_str().unwrap();
    let queued = dev.json(&["backup", "--path", path, "--detach"]).ok().object();
    let run = queued["run"].as_str().unwrap().to_owned();
    dev.service.kill();
    let dev = Dev::start(&scratch.join("d"));
    let ended = || {
        let told = dev.json(&["runs", "show", &run]).ok().object();
        let state = told["runs"][0]["state"].as_str().unwrap().to_owned();
        (!["queued", "running"].contains(&&*state)).then_some(state)
    };
    // A run that was still queued is given to the agent again: it may well be done.
    let state = wait_until("the run ends", Duration::from_secs(60), ended);
    assert!(["done", "interrupted", "failed"].contains(&&*state), "{state}");
    dev.json(&["backup", "--path", path]).ok();
}
