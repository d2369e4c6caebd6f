//! A machine that was cloned with its agent's directory: two hosts with one identity.

use crate::{
    cluster::Cluster,
    harness::{Outcome, Service, noise, wait_until, write},
};
use rustix::process::Signal;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(90);

/// What a clone of the agent's host would have.
pub(crate) fn copied(from: &Path, to: &Path) -> PathBuf {
    std::fs::create_dir(to).unwrap();
    for entry in walkdir(from) {
        let path = to.join(entry.strip_prefix(from).unwrap());
        match entry.is_dir() {
            true => std::fs::create_dir_all(path).unwrap(),
            false => drop(std::fs::copy(&entry, path).unwrap()),
        }
    }
    to.join("agent.toml")
}

fn walkdir(from: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| {
        let deeper = if path.is_dir() { walkdir(&path) } else { Vec::new() };
        std::iter::once(path).chain(deeper)
    };
    entries.flat_map(below).collect()
}

fn clone_of(cluster: &Cluster, name: &str) -> Service {
    let (from, to) = (cluster.scratch.join(name), cluster.scratch.join("clone"));
    let config = if to.exists() { to.join("agent.toml") } else { copied(&from, &to) };
    let log = cluster.scratch.join("clone.log");
    Service::start(&["agent", "--config", config.to_str().unwrap()], &log)
}

pub(crate) fn alarm(status: &Outcome) -> Option<Value> {
    let status = status.object();
    let alarms = status["alarms"].as_array().unwrap().clone();
    let mut doubled = alarms.into_iter().filter(|alarm| alarm["code"] == "source.agent_doubled");
    let first = doubled.next();
    assert!(doubled.next().is_none(), "it is said once: {status}");
    first
}

/// A backup that goes on for a minute by itself.
fn slow_backup(cluster: &Cluster, agent: &str) -> String {
    let source = cluster.scratch.join("slow");
    write(&source.join("file"), noise(1, 60_000_000));
    let file = cluster.scratch.join("slow.toml");
    write(
        &file,
        format!(
            "kind=\"policy\"\nname=\"slow\"\n[spec]\nagent=\"{agent}\"\nvault=\"main\"\n\
             source={{type=\"files\", paths=[{:?}]}}\nbackup={{bytes_per_second_max=1000000}}\n",
            source.display()
        ),
    );
    cluster.run(&["apply", "-f", file.to_str().unwrap()]).ok();
    let told = cluster.run(&["backup", "slow", "--detach"]).ok().object();
    let run = told["run"].as_str().unwrap().to_owned();
    let begun = || (state_of(cluster, &run) == "running").then_some(());
    wait_until("the backup has begun", PATIENCE, begun);
    run
}

fn state_of(cluster: &Cluster, run: &str) -> String {
    let told = cluster.run(&["runs", "show", run]).ok().object();
    told["runs"][0]["state"].as_str().unwrap().to_owned()
}

#[test]
fn two_hosts_with_one_identity_are_an_alarm_and_get_no_work() {
    let cluster = Cluster::start();
    let _first = cluster.agent("one");
    let run = slow_backup(&cluster, "one");
    let clone = clone_of(&cluster, "one");
    let told = || alarm(&cluster.run(&["status"]));
    let alarm = wait_until("an alarm tells of the clone", PATIENCE, told);
    assert_eq!(alarm["subject"], "one");
    assert!(alarm["next"].as_str().unwrap().contains("holdfast agent token"), "{alarm}");
    assert!(alarm["since"].is_string(), "{alarm}");
    assert_eq!(state_of(&cluster, &run), "running", "the clone says nothing about it");
    // What is wanted now waits until it is clear whose work it is; what goes on can be stopped.
    let small = cluster.scratch.join("small");
    write(&small.join("file"), "content");
    let path = small.to_str().unwrap();
    let told = cluster.run(&["backup", "--path", path, "--detach"]).ok().object();
    let waiting = told["run"].as_str().unwrap();
    cluster.run(&["runs", "cancel", &run]).ok();
    let stopped = || (state_of(&cluster, &run) == "cancelled").then_some(());
    wait_until("the first run is stopped", PATIENCE, stopped);
    assert_eq!(state_of(&cluster, waiting), "queued");
    clone.kill();
    let done = || (state_of(&cluster, waiting) == "done").then_some(());
    wait_until("whoever is left gets its work", PATIENCE, done);
    assert_eq!(told_of(&cluster), None);
}

fn told_of(cluster: &Cluster) -> Option<Value> {
    alarm(&cluster.run(&["status"]))
}

#[test]
fn a_process_that_stands_still_is_replaced_and_a_double_when_it_goes_on() {
    let cluster = Cluster::start();
    let first = cluster.agent("one");
    first.signal(Signal::STOP);
    // Its line stands; the next one is there before that is found to be dead, and gets the work.
    let _clone = clone_of(&cluster, "one");
    let small = cluster.scratch.join("small");
    write(&small.join("file"), "content");
    cluster.run(&["backup", "--path", small.to_str().unwrap()]).ok();
    assert_eq!(told_of(&cluster), None);
    first.signal(Signal::CONT);
    wait_until("both live", PATIENCE, || told_of(&cluster));
}

/// At an address that it has again when it starts anew.
fn cluster_that_restarts() -> Cluster {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    Cluster::start_at(&free.to_string(), "coordinator", &["location"])
}

#[test]
fn a_clone_that_comes_first_after_a_restart_ends_no_run_of_its_double() {
    let mut cluster = cluster_that_restarts();
    let first = cluster.agent("one");
    let run = slow_backup(&cluster, "one");
    // The coordinator that knew whose run it is dies, and whoever does it is late.
    first.signal(Signal::STOP);
    cluster.coordinator.kill_in_place();
    cluster.coordinator = Cluster::coordinator(&cluster.scratch);
    let clone = clone_of(&cluster, "one");
    assert_eq!(state_of(&cluster, &run), "running", "the clone cannot know");
    first.signal(Signal::CONT);
    wait_until("both live", PATIENCE, || told_of(&cluster));
    assert_eq!(state_of(&cluster, &run), "running", "whoever does it is there");
    cluster.run(&["runs", "cancel", &run]).ok();
    let stopped = || (state_of(&cluster, &run) == "cancelled").then_some(());
    wait_until("the run is stopped", PATIENCE, stopped);
    assert!(!clone.log().contains(&run), "it was never the clone's: {}", clone.log());
}

#[test]
fn a_run_that_was_lost_with_both_of_its_processes_ends_soon() {
    let mut cluster = cluster_that_restarts();
    let first = cluster.agent("one");
    let run = slow_backup(&cluster, "one");
    first.kill();
    cluster.coordinator.kill_in_place();
    cluster.coordinator = Cluster::coordinator(&cluster.scratch);
    let _second = cluster.joined_agent("one");
    let over = || (state_of(&cluster, &run) == "interrupted").then_some(());
    wait_until("the lost run has ended", PATIENCE, over);
    assert_eq!(told_of(&cluster), None);
}
