//! Members of two versions in one cluster: it goes on while they are replaced one by one, and what
//! the older ones do not know waits until there is none of them.
//!
//! The older version is this binary at the first level, or, where `HOLDFAST_OLD_BINARY` names one,
//! a real one (`make torture ONLY=versions`).

use super::scene::{Members, PATIENCE};
use crate::harness::{Outcome, Scratch, Service, Tree, binary, holdfast, noise, wait_until, write};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

const LEVEL: u64 = holdfast_ledger::LEVEL as u64;
/// From which level on there are witnesses.
const WITNESSES: u64 = 2;
/// Of what was there before the upgrade.
const OLD_BYTES: u64 = 8_000_000;
const NAMES: [&str; 3] = ["one", "two", "three"];

fn is_real() -> bool {
    std::env::var_os("HOLDFAST_OLD_BINARY").is_some()
}

fn old_binary() -> PathBuf {
    std::env::var_os("HOLDFAST_OLD_BINARY").map_or_else(binary, PathBuf::from)
}

/// A member's command of the older version.
fn old(arguments: &[&str]) -> Command {
    let mut command = Command::new(old_binary());
    command.args(arguments);
    if !is_real() {
        command.args(["--max-level", "1"]);
    }
    command
}

/// An agent of the older version that has just joined: agents are upgraded after members.
fn old_agent(members: &Members, name: &str) -> Service {
    let told = members.run(&["agent", "token"]).ok().object();
    let (token, dir) = (told["token"].as_str().unwrap(), members.scratch.join(name));
    let coordinator = &members.running.values().next().unwrap().address;
    let mut join = Command::new(old_binary());
    join.args(["agent", "join", "--coordinator", coordinator, "--token", token, "--name", name]);
    Outcome::of(None, join.arg("--dir").arg(&dir)).ok();
    let mut agent = Command::new(old_binary());
    agent.args(["agent", "--config"]).arg(dir.join("agent.toml"));
    Service::start_command(&mut agent, &members.scratch.join(&format!("{name}.log")))
}

fn start_old(members: &mut Members, name: &str) {
    let config = members.dir(name).join("coordinator.toml");
    let mut command = old(&["coordinator", "--config", config.to_str().unwrap()]);
    members.start_command(name, &mut command);
}

fn join(members: &Members, name: &str) -> Command {
    let (dir, token) = (members.dir(name), members.token());
    let coordinator = &members.running.values().next().unwrap().address;
    old(&[
        &["--output", "json", "cluster", "join", "--dir", dir.to_str().unwrap()],
        &["--name", name, "--region", "eu", "--listen", "127.0.0.1:0"],
        &["--coordinator", coordinator, "--token", &token][..],
    ]
    .concat())
}

/// Three members, all of the older version.
fn three_old() -> Members {
    let mut members = Members::none(Scratch::new());
    let path = |name: &str| members.scratch.join(name).display().to_string();
    let (location, kek) = (format!("main=local:{}", path("location")), path("kek"));
    let arguments = [
        &["cluster", "init", "--name", "one", "--region", "eu", "--listen", "127.0.0.1:0"][..],
        &["--dir", &path("c"), "--location", &location, "--kek", &format!("file:{kek}")],
        &["--custody", "coordinator"],
    ];
    Outcome::of(None, &mut old(&arguments.concat())).ok();
    start_old(&mut members, "one");
    for name in ["two", "three"] {
        Outcome::of(None, &mut join(&members, name)).ok();
        start_old(&mut members, name);
    }
    members.wait_for_voters(3);
    members
}

/// What the ledger is at; a real old version does not say.
fn level(members: &Members) -> u64 {
    members.status()["level"].as_u64().unwrap().max(1)
}

/// Who asked a member that stopped before it answered is told to ask again. One of the older
/// version tells an agent now and then that its run is cancelled.
fn is_cut_short(outcome: &Outcome) -> bool {
    let is_cancelled = || outcome.error()["code"] == "run.request_cancelled";
    outcome.code == 5 || is_real() && outcome.code != 0 && is_cancelled()
}

/// Backups, one after the other, until it is told to stop; what came of each.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    thread: JoinHandle<Vec<Outcome>>,
}

impl Load {
    fn start(members: &Members, source: &Path) -> Self {
        let (stop, context) =
            (Arc::<AtomicBool>::default(), members.scratch.join("c/operator.toml"));
        let (stopped, source) = (stop.clone(), source.to_owned());
        let done = Arc::<AtomicUsize>::default();
        let counted = done.clone();
        let thread = std::thread::spawn(move || {
            let mut made = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let number = made.len() as u64;
                write(&source.join(number.to_string()), noise(number, 300_000));
                let path = source.to_str().unwrap();
                made.push(holdfast(
                    Some(&context),
                    &["--output", "json", "backup", "--path", path],
                ));
                counted.fetch_add(1, Ordering::Relaxed);
            }
            made
        });
        Self { stop, done, thread }
    }

    /// A backup was begun and done since: the agent is attached to a member that runs now, and was
    /// told where the others are. (Members come back on other ports here: an agent that sleeps
    /// until all of them moved would find none.)
    fn goes_on(&self) {
        let before = self.done.load(Ordering::Relaxed);
        let two_more = || (self.done.load(Ordering::Relaxed) >= before + 2).then_some(());
        wait_until("the load goes on", PATIENCE, two_more);
    }

    /// The answers, each of which said that it was done.
    fn end(self) -> Vec<Value> {
        self.stop.store(true, Ordering::Relaxed);
        let made = self.thread.join().unwrap().into_iter();
        made.filter(|outcome| !is_cut_short(outcome)).map(|made| made.ok().object()).collect()
    }
}

#[test]
fn a_cluster_is_upgraded_member_by_member_under_load_and_knows_more_at_the_end() {
    let mut members = three_old();
    let agent = old_agent(&members, "host");
    let source = members.scratch.join("source");
    write(&source.join("first"), noise(77, OLD_BYTES as usize));
    let first = members.run(&["backup", "--path", source.to_str().unwrap()]).ok().object();
    let tree = Tree::of(&source);
    let load = Load::start(&members, &source);
    let old = level(&members);
    assert!(old < LEVEL, "the older version knows less: {old}");
    for name in NAMES {
        assert_eq!(level(&members), old, "`{name}` and others do not know more");
        if old < WITNESSES {
            members.run(&["cluster", "token", "--witness"]).fails(4, "cluster.level_low");
        }
        assert_eq!(members.stop(name), Some(0));
        members.start(name);
        members.wait_for_voters(3);
        load.goes_on();
    }
    wait_until("the level goes up", PATIENCE, || (level(&members) == LEVEL).then_some(()));
    let made = load.end();
    assert!(made.len() >= 3, "there was load: {}", made.len());
    assert!(made.iter().all(|made| made["state"] == "done"), "{made:?}");
    // What was made before restores after, and what was refused before is done now.
    let to = members.scratch.join("back");
    let point = first["point"].as_str().unwrap();
    members.run(&["restore", point, "--to", to.to_str().unwrap()]).ok();
    tree.assert_same(&Tree::of(&to.join(source.strip_prefix("/").unwrap())), "of the old version");
    members.run(&["cluster", "token", "--witness"]).ok();
    members.run(&["verify", "--all", "--level", "storage"]).ok();
    let rows = NAMES.map(|name| members.run_at(name, &["audit", "verify"]).ok().object());
    assert!(rows.iter().all(|row| row["intact"] == true), "{rows:?}");
    // What the older agent remembers of its host is good enough for the newer one.
    assert_eq!(agent.stop().code(), Some(0));
    let agent = members.joined_agent("host");
    let again = members.run(&["backup", "--path", source.to_str().unwrap()]).ok().object();
    // (Files of the last seconds are read again: they might have changed unseen.)
    assert!(again["bytes_read"].as_u64().unwrap() < OLD_BYTES, "what is old is not read: {again}");
    drop(agent);
}

#[test]
fn who_knows_less_than_the_ledger_may_hold_neither_joins_nor_starts() {
    if is_real() {
        return; // Those that knew no levels do not look.
    }
    let mut members = Members::three();
    assert_eq!(level(&members), LEVEL, "a new cluster begins with what its founder knows");
    let refused = Outcome::of(None, &mut join(&members, "four")).ends(4).error();
    assert_eq!(refused["code"], "cluster.level_unknown", "{refused}");
    assert!(refused["next"].as_str().unwrap().contains("newer"), "{refused}");
    assert!(!members.dir("four").join("coordinator.toml").exists());
    assert_eq!(members.stop("two"), Some(0));
    let config = members.dir("two").join("coordinator.toml");
    let config = config.to_str().unwrap();
    let mut command = old(&["--output", "json", "coordinator", "--config", config]);
    Outcome::of(None, &mut command).fails(4, "cluster.level_unknown");
    members.start("two");
    members.wait_for_voters(3);
}

#[test]
fn one_member_that_does_not_answer_holds_the_level() {
    if is_real() {
        return;
    }
    let mut members = three_old();
    for name in ["one", "two"] {
        assert_eq!(members.stop(name), Some(0));
        members.start(name);
        members.wait_for_voters(3);
    }
    members.kill("three");
    members.leader();
    members.run(&["agent", "token"]).ok();
    assert_eq!(level(&members), 1);
    // Gone for good, it is asked no more.
    members.run(&["cluster", "remove", "three", "--yes"]).ok();
    wait_until("the level goes up", PATIENCE, || (level(&members) == LEVEL).then_some(()));
}
