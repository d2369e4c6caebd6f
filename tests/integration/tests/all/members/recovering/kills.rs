//! Killed at any moment: whatever was answered before is there after the recovery.

use super::scene::{Lost, backup, repointed, source};
use crate::{
    cluster::Cluster,
    harness::{Chance, binary, holdfast, kills, wait_until, write},
    members::scene::Members,
};
use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// What the coordinator says when it did not wait to the end.
const LATE: &str = "answered before it was in the locations";

/// Whether a policy of this name was answered for.
fn declared(cluster: &Cluster, name: &str) -> bool {
    let file = cluster.scratch.join(&format!("{name}.toml"));
    let text = format!(
        "kind = \"policy\"\nname = \"{name}\"\n[spec]\nagent = \"host\"\nvault = \"main\"\n\
         source = {{ type = \"files\", paths = [\"/srv\"] }}\n"
    );
    write(&file, text);
    cluster.run(&["apply", "-f", file.to_str().unwrap()]).code == 0
}

/// Killing seldom hits the moment between an answer and its shipping: here it lasts.
#[test]
fn what_people_change_is_in_the_locations_before_it_is_answered_or_took_long() {
    let cluster = Cluster::start();
    let agent = cluster.agent("host");
    let (log, aside) =
        (cluster.scratch.join("location/cluster/log"), cluster.scratch.join("aside"));
    wait_until("the log is shipped", PATIENCE, || log.exists().then_some(()));
    let late = || cluster.coordinator.log().matches(LATE).count();
    let before = late();
    // A file lies where the log's directory was.
    std::fs::rename(&log, &aside).unwrap();
    std::fs::write(&log, b"in the way").unwrap();
    assert!(declared(&cluster, "while-away"), "a location that is away stops nobody");
    assert!(late() > before, "it waited for the location, and said so");
    std::fs::remove_file(&log).unwrap();
    std::fs::rename(&aside, &log).unwrap();
    // Without a word, once the location takes everything again.
    let soon = || {
        let before = late();
        (declared(&cluster, "when-back") && late() == before).then_some(())
    };
    wait_until("answered as ever", PATIENCE, soon);
    drop(agent);
    let lost = Lost::of(cluster);
    lost.recover(&[]).ok();
    let cluster = lost.started();
    let told = cluster.run(&["get", "policy"]).ok();
    for name in ["while-away", "when-back"] {
        assert!(told.text().contains(&format!("\"{name}\"")), "{}", told.text());
    }
}

#[test]
fn what_was_answered_before_the_kill_is_there_after_the_recovery() {
    let mut chance = Chance::of("what_was_answered_before_the_kill", 0x5EED, 3);
    let mut cluster = Cluster::start();
    let mut agent = cluster.agent("host");
    let source = source(&cluster.scratch, "a", 5);
    let (mut points, mut policies) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..kills(3) {
        let (stop, told) = (AtomicBool::new(false), Mutex::new((Vec::new(), Vec::new())));
        let after = 1 + chance.below(4) as usize;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..1_000 {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let name = format!("p-{round}-{number}");
                    if declared(&cluster, &name) {
                        told.lock().unwrap().1.push(name);
                    }
                }
            });
            scope.spawn(|| {
                for number in 0..1_000 {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    write(&source.join("now"), format!("{round} {number}"));
                    let path = source.to_str().unwrap();
                    let made = cluster.run(&["backup", "--path", path, "--agent", "host"]);
                    if made.code == 0 {
                        let point = made.object()["point"].as_str().unwrap().to_owned();
                        told.lock().unwrap().0.push(point);
                    }
                }
            });
            let made = || (told.lock().unwrap().0.len() >= after).then_some(());
            wait_until("some backups", PATIENCE, made);
            // Wherever the others are just now.
            cluster.coordinator.signal(rustix::process::Signal::KILL);
            stop.store(true, Ordering::Relaxed);
        });
        drop(agent);
        let (new_points, new_policies) = told.into_inner().unwrap();
        points.extend(new_points);
        policies.extend(new_policies);
        let lost = Lost::of(cluster);
        let recovered = lost.recover(&[]).ok().object();
        cluster = lost.started();
        let listed = cluster.run(&["points"]).ok().object();
        let listed: BTreeSet<_> = listed["points"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["id"].as_str().unwrap().to_owned())
            .collect();
        let lacking: Vec<_> = points.difference(&listed).collect();
        assert!(lacking.is_empty(), "round {round}: {lacking:?} after {recovered}");
        let declared = cluster.run(&["get", "policy"]).ok();
        let text = declared.text();
        let lacking: Vec<_> =
            policies.iter().filter(|name| !text.contains(&format!("\"{name}\""))).collect();
        assert!(lacking.is_empty(), "round {round}: {lacking:?} after {recovered}");
        cluster.run(&["audit", "verify"]).ok();
        cluster.run(&["verify", "--all", "--level", "storage"]).ok();
        agent = repointed(&cluster, "host");
        backup(&cluster, &source, "host");
    }
}

#[test]
fn a_recovery_that_was_killed_is_made_again() {
    let cluster = Cluster::start();
    let agent = cluster.agent("host");
    let source = source(&cluster.scratch, "a", 6);
    backup(&cluster, &source, "host");
    drop(agent);
    let lost = Lost::of(cluster);
    let mut chance = Chance::of("a_recovery_that_was_killed", 0xDEAD, 4);
    let kek = format!("file:{}", lost.scratch.join("kek").display());
    let from = format!("local:{}", lost.location().display());
    let dir = lost.scratch.join("c");
    for _ in 0..kills(4) {
        let mut recovery = Command::new(binary())
            .args(["cluster", "recover", "--from", &from, "--kek", &kek])
            .args(["--dir", dir.to_str().unwrap(), "--name", "again", "--region", "eu"])
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // At one of the files that it makes, whichever comes.
        let files = ["data/unfinished", "data/ledger/tables", "operator.toml", "data/ledger/log"];
        let file = dir.join(files[chance.below(4) as usize]);
        wait_until("it has begun", PATIENCE, || file.exists().then_some(()));
        let _may_be_done = recovery.kill();
        recovery.wait().unwrap();
        if dir.join("coordinator.toml").exists() {
            std::fs::remove_dir_all(&dir).unwrap();
        }
    }
    let told = lost.recover(&[]).ok().object();
    assert_eq!(told["points"], 1, "{told}");
    lost.started().run(&["audit", "verify"]).ok();
}

#[test]
fn members_of_before_are_not_heard_any_more() {
    let mut members = Members::three();
    let agent = members.agent("host");
    let path = members.scratch.join("source");
    write(&path.join("a"), "a");
    members.run(&["backup", "--path", path.to_str().unwrap()]).ok();
    // Two are lost for good; one was only away.
    for name in ["one", "two", "three"] {
        members.kill(name);
    }
    drop(agent);
    for gone in ["c", "two"] {
        std::fs::remove_dir_all(members.scratch.join(gone)).unwrap();
    }
    let kek = format!("file:{}", members.scratch.join("kek").display());
    let from = format!("local:{}", members.scratch.join("location").display());
    let dir = members.scratch.join("c");
    let arguments = [
        &["--output", "json", "cluster", "recover", "--from", &from, "--kek", &kek][..],
        &["--dir", dir.to_str().unwrap(), "--name", "again", "--region", "eu"],
        &["--listen", "127.0.0.1:0"][..],
    ];
    let told = holdfast(None, &arguments.concat()).ok().object();
    assert_eq!(told["members_removed"].as_array().unwrap().len(), 3, "{told}");
    members.start("one");
    let term = members.status()["term"].as_u64().unwrap();
    assert!(term > told["term"].as_u64().unwrap() + 1_000, "{term} after {told}");
    // The one that comes back knows where nobody is any more, and nothing of the operator that the
    // recovery made; it leads nobody and is not led.
    members.start("three");
    members.run_at("three", &["agent", "token"]).fails(4, "auth.permission_denied");
    let after = members.run_at("one", &["cluster", "status"]).ok().object();
    assert_eq!(after["term"].as_u64().unwrap(), term, "nobody had to vote again");
    assert_eq!(after["members"].as_array().unwrap().len(), 1, "{after}");
    members.run_at("one", &["agent", "token"]).ok();
}
