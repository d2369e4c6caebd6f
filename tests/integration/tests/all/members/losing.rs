//! Members that are lost, and what goes on without them.

use super::scene::{Members, PATIENCE};
use crate::harness::{Chance, Tree, binary, kills, noise, wait_until, write};
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

pub(super) fn fill(source: &Path, seed: u64, files: u64) {
    for number in 0..files {
        write(&source.join(number.to_string()), noise(seed * 1000 + number, 4_000_000));
    }
}

/// A backup that goes on by itself.
fn begun(members: &Members, source: &Path) -> Child {
    let context = members.scratch.join("c/operator.toml");
    let child = Command::new(binary())
        .args(["--context", context.to_str().unwrap(), "--output", "json"])
        .args(["backup", "--path", source.to_str().unwrap()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let packs = members.scratch.join("location/packs");
    let before = count(&packs);
    wait_until("packs are coming", PATIENCE, || (count(&packs) > before).then_some(()));
    child
}

pub(super) fn count(packs: &Path) -> usize {
    let Ok(folders) = std::fs::read_dir(packs) else { return 0 };
    folders.map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap().count()).sum()
}

pub(super) fn restored(members: &Members, point: &str, source: &Path, name: &str) -> Tree {
    let to: PathBuf = members.scratch.join(name);
    members.run(&["restore", point, "--to", to.to_str().unwrap()]).ok();
    Tree::of(&to.join(source.strip_prefix("/").unwrap()))
}

#[test]
fn every_member_serves_every_call() {
    let members = Members::three();
    let agent = members.agent("host");
    let source = members.scratch.join("source");
    fill(&source, 1, 2);
    let path = source.to_str().unwrap();
    let mut points = Vec::new();
    for name in ["one", "two", "three"] {
        let told = members.run_at(name, &["backup", "--path", path]).ok().object();
        points.push(told["point"].as_str().unwrap().to_owned());
    }
    for name in ["three", "two", "one"] {
        let told = members.run_at(name, &["points"]).ok().object();
        let listed: Vec<_> = told["points"].as_array().unwrap().iter().collect();
        let ids: Vec<_> = listed.iter().rev().map(|row| row["id"].as_str().unwrap()).collect();
        assert_eq!(ids, points, "{name} answers with what was agreed");
        let (to, point) = (members.scratch.join(name.repeat(2).as_str()), &points[0]);
        members.run_at(name, &["restore", point, "--to", to.to_str().unwrap()]).ok();
        Tree::of(&source).assert_same(&Tree::of(&to.join(source.strip_prefix("/").unwrap())), name);
        members.run_at(name, &["verify", "--all", "--level", "storage"]).ok();
        members.run_at(name, &["audit", "verify"]).ok();
    }
    drop(agent);
}

#[test]
fn a_backup_goes_on_when_the_leader_or_its_own_member_is_killed() {
    let mut members = Members::three();
    let agent = members.agent("host");
    let source = members.scratch.join("source");
    let mut chance = Chance::of("a_backup_goes_on", 0xC0DE, 3);
    for round in 0..kills(3) {
        fill(&source, round, 12);
        let tree = Tree::of(&source);
        let backup = begun(&members, &source);
        let names: Vec<String> = members.running.keys().cloned().collect();
        // Now the leader, now any other.
        let victim = match round % 3 {
            0 => members.leader(),
            _ => names[chance.below(names.len() as u64) as usize].clone(),
        };
        members.kill(&victim);
        let ended = backup.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(0), "without {victim}: {told}");
        let told: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!(told["state"], "done", "{told}");
        let point = told["point"].as_str().unwrap();
        let back = restored(&members, point, &source, &format!("back-{round}"));
        tree.assert_same(&back, &victim);
        // Everything is known to those who are left: nothing is sent twice.
        let again = members.run(&["backup", "--path", source.to_str().unwrap()]).ok().object();
        assert_eq!(again["chunks_new"], 0, "{again}");
        members.start(&victim);
        members.wait_for_voters(3);
    }
    drop(agent);
}

#[test]
fn a_restore_goes_on_when_a_member_is_killed() {
    let mut members = Members::three();
    let agent = members.agent("host");
    let source = members.scratch.join("source");
    fill(&source, 11, 40);
    let path = source.to_str().unwrap();
    let made = members.run(&["backup", "--path", path]).ok().object();
    let (point, tree) = (made["point"].as_str().unwrap(), Tree::of(&source));
    for (name, more) in [("here", &[][..]), ("there", &["--agent", "host"])] {
        let to = members.scratch.join(name);
        let context = members.scratch.join("c/operator.toml");
        let restore = Command::new(binary())
            .args(["--context", context.to_str().unwrap(), "--output", "json", "restore", point])
            .args(["--to", to.to_str().unwrap()])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let below = to.join(source.strip_prefix("/").unwrap());
        let begun = || below.join("0").exists().then_some(());
        wait_until("a first file is in place", PATIENCE, begun);
        // The first one that is tried, which is the one that serves it.
        let text = std::fs::read_to_string(&context).unwrap();
        let at = |service: &crate::harness::Service| text.find(&service.address).unwrap();
        let first = members.running.iter().min_by_key(|(_, service)| at(service));
        let victim = first.unwrap().0.clone();
        members.kill(&victim);
        let ended = restore.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(0), "{name} without {victim}: {told}");
        tree.assert_same(&Tree::of(&below), name);
        members.start(&victim);
        members.wait_for_voters(3);
    }
    drop(agent);
}

#[test]
fn without_a_majority_nothing_is_agreed_and_nothing_is_lost() {
    let mut members = Members::three();
    let agent = members.agent("host");
    let source = members.scratch.join("source");
    fill(&source, 7, 1);
    let path = source.to_str().unwrap();
    let made = members.run(&["backup", "--path", path]).ok().object();
    let names: Vec<String> = members.running.keys().cloned().collect();
    members.kill(&names[0]);
    members.kill(&names[1]);
    members.run_at(&names[2], &["agent", "token"]).fails(5, "cluster.leader_unknown");
    members.run_at(&names[2], &["points"]).fails(5, "cluster.leader_unknown");
    members.start(&names[0]);
    let leads = members.leader();
    assert_ne!(leads, names[1]);
    let points = members.run(&["points"]).ok().object();
    assert_eq!(points["points"][0]["id"], made["point"]);
    members.run(&["backup", "--path", path]).ok();
    members.start(&names[1]);
    members.wait_for_voters(3);
    drop(agent);
}

#[test]
fn members_that_are_restarted_in_turn_lose_nothing_and_are_found_again() {
    let mut members = Members::three();
    let agent = members.agent("host");
    let source = members.scratch.join("source");
    let path = source.to_str().unwrap().to_owned();
    let mut points = Vec::new();
    for name in ["one", "two", "three"] {
        fill(&source, points.len() as u64, 1);
        assert_eq!(members.stop(name), Some(0));
        let told = members.run(&["backup", "--path", &path]).ok().object();
        points.push(told["point"].clone());
        // On another port.
        members.start(name);
        members.wait_for_voters(3);
        let address = members.running[name].address.clone();
        let found = || (members.row(name)?["address"] == *address).then_some(());
        wait_until("it is found where it is", PATIENCE, found);
    }
    let told = members.run(&["points"]).ok().object();
    let ids = told["points"].as_array().unwrap().iter().rev().map(|row| row["id"].clone());
    assert_eq!(ids.collect::<Vec<_>>(), points);
    let seen = || {
        let told = members.run(&["agent", "list"]).ok().object();
        (told["agents"][0]["state"] == "connected").then_some(())
    };
    wait_until("the agent found them", PATIENCE, seen);
    drop(agent);
}

#[test]
fn five_voters_go_on_without_any_two_and_agree_on_nothing_with_two_alone() {
    let mut members = Members::founded();
    for name in ["two", "three", "four", "five"] {
        members.add(name, &[]);
    }
    members.wait_for_voters(5);
    let agent = members.agent("host");
    let source = members.scratch.join("source");
    let mut lost = Vec::new();
    for round in 1..=2 {
        lost.push(members.leader());
        members.kill(lost.last().unwrap());
        assert!(!lost.contains(&members.leader()));
        fill(&source, round, 2);
        let saved = || {
            let made = members.run(&["backup", "--path", source.to_str().unwrap()]);
            (made.code == 0).then(|| made.object())
        };
        let made = wait_until("the agent has found another one", PATIENCE, saved);
        let point = made["point"].as_str().unwrap();
        let back = restored(&members, point, &source, &format!("back-{round}"));
        Tree::of(&source).assert_same(&back, &format!("without {lost:?}"));
    }
    lost.push(members.leader());
    members.kill(lost.last().unwrap());
    members.run(&["agent", "token"]).fails(5, "cluster.leader_unknown");
    for name in &lost {
        members.start(name);
    }
    members.wait_for_voters(5);
    let whole = || members.rows().iter().all(|row| row["lag"] == 0).then_some(());
    wait_until("all five have everything", PATIENCE, whole);
    members.run(&["agent", "token"]).ok();
    drop(agent);
}
