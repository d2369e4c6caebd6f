//! Clocks that are wrong by days: nothing is lost, nothing expires early, points stay in order, and
//! `status` says so until the clock is right or a person confirmed it.
//!
//! The coordinator runs under `libfaketime`, which leaves its monotonic clock alone and reads the
//! offset of its wall clock from a file, so that the clock can step while it runs.

use crate::{
    harness::{Outcome, Scratch, Service, Tree, binary, holdfast, noise, wait_until, write},
    retaining,
};
use holdfast_common::{Clock, SystemClock, Timestamp};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);
/// In so long the leader looks more than twice for what goes by itself.
const LOOKS: Duration = Duration::from_secs(6);
const LIBRARIES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
];

/// The environment of a process whose wall clock is off by what stands in a file.
pub fn by_file(offset: &Path) -> [(&'static str, String); 4] {
    let library = LIBRARIES.into_iter().find(|path| Path::new(path).exists());
    let library = library.expect("libfaketime: `make test` installs it").to_owned();
    [
        ("LD_PRELOAD", library),
        ("FAKETIME_TIMESTAMP_FILE", offset.to_str().unwrap().to_owned()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

/// The file in which the offset stands, renamed into place: a reader sees the old one or the new.
pub fn set_offset(file: &Path, offset: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, offset).unwrap();
    std::fs::rename(new, file).unwrap();
}

/// Processes whose wall clock the test sets, by a file.
pub struct Clocked {
    file: PathBuf,
}

impl Clocked {
    pub fn new(file: PathBuf) -> Self {
        Self { file }
    }

    pub fn set(&self, offset: &str) {
        set_offset(&self.file, offset);
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).envs(by_file(&self.file));
        command
    }

    /// An operator's command at that time, in JSON mode.
    pub fn run(&self, context: &Path, arguments: &[&str]) -> Outcome {
        let arguments = [&["--output", "json"], arguments].concat();
        Outcome::of(Some(context), &mut self.command(&arguments))
    }
}

/// A coordinator whose wall clock the test sets, and an agent whose clock is right.
struct Scene {
    scratch: Scratch,
    clocked: Clocked,
    coordinator: Option<Service>,
    agent: Option<Service>,
    rounds: u64,
}

impl Scene {
    fn start() -> Self {
        let scratch = Scratch::new();
        let clocked = Clocked::new(scratch.join("clock"));
        let (dir, kek) = (scratch.join("c"), format!("file:{}", scratch.join("kek").display()));
        // A fixed port: the agent finds the coordinator again after a restart.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let location = format!("main=local:{}", scratch.join("location").display());
        let listen = free.to_string();
        let (dir, custody) = (dir.to_str().unwrap(), "coordinator");
        let named = ["cluster", "init", "--dir", dir, "--name", "one", "--region", "eu"];
        let rest = ["--listen", &listen, "--location", &location, "--kek", &kek];
        holdfast(None, &[&named[..], &rest, &["--custody", custody]].concat()).ok();
        let mut scene = Self { scratch, clocked, coordinator: None, agent: None, rounds: 0 };
        scene.set_clock("+0");
        scene.start_coordinator();
        let token = holdfast(Some(&scene.context()), &["agent", "token"]).ok();
        let (host, token) = (scene.scratch.join("host"), token.text().trim_end().to_owned());
        let at = ["agent", "join", "--coordinator", &listen, "--token", &token];
        let into = ["--dir", host.to_str().unwrap(), "--name", "host"];
        holdfast(None, &[&at[..], &into].concat()).ok();
        let config = host.join("agent.toml");
        let log = scene.scratch.join("agent.log");
        let agent = Service::start(&["agent", "--config", config.to_str().unwrap()], &log);
        scene.agent = Some(agent);
        scene
    }

    fn context(&self) -> PathBuf {
        self.scratch.join("c/operator.toml")
    }

    fn set_clock(&self, offset: &str) {
        self.clocked.set(offset);
    }

    fn start_coordinator(&mut self) {
        let config = self.scratch.join("c/coordinator.toml");
        let arguments = ["coordinator", "--config", config.to_str().unwrap()];
        let mut command = self.clocked.command(&arguments);
        let log = self.scratch.join("coordinator.log");
        self.coordinator = Some(Service::start_command(&mut command, &log));
    }

    fn stop_coordinator(&mut self) {
        assert_eq!(self.coordinator.take().unwrap().stop().code(), Some(0));
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        holdfast(Some(&self.context()), &[&["--output", "json"], arguments].concat())
    }

    fn wait_for_agent(&self) {
        let connected = || {
            let told = self.run(&["agent", "list"]).ok().object();
            (told["agents"][0]["state"] == "connected").then_some(())
        };
        wait_until("the agent is connected", PATIENCE, connected);
    }

    /// Changes the source, backs it up, restores the point and compares.
    fn back_up_and_restore(&mut self) -> String {
        self.wait_for_agent();
        self.rounds += 1;
        let source = self.scratch.join("source");
        write(&source.join(self.rounds.to_string()), noise(self.rounds, 700_000));
        let made = self.run(&["backup", "--path", source.to_str().unwrap()]).ok().object();
        let point = made["point"].as_str().unwrap().to_owned();
        let to = self.scratch.join(&format!("back-{}", self.rounds));
        self.run(&["restore", &point, "--to", to.to_str().unwrap()]).ok();
        let back = to.join(source.strip_prefix("/").unwrap());
        Tree::of(&source).assert_same(&Tree::of(&back), &point);
        point
    }

    /// Whether `status` has the alarm.
    fn says_jumped(&self) -> bool {
        let told = self.run(&["status"]).object();
        let alarms = told["alarms"].as_array().unwrap();
        let found = alarms.iter().find(|alarm| alarm["code"] == "clock.jumped");
        assert!(found.is_none() || told["protected"] == false, "{told}");
        found.is_some()
    }

    fn points(&self) -> Vec<Value> {
        self.run(&["points"]).ok().object()["points"].as_array().unwrap().clone()
    }

    /// Newest first is the order in which they were made, and no two are far apart.
    fn assert_in_order(&self, made: &[String]) {
        let points = self.points();
        let listed: Vec<_> =
            points.iter().rev().map(|point| point["id"].as_str().unwrap()).collect();
        assert_eq!(listed, made, "{points:?}");
        let times: Vec<_> = points.iter().map(|point| point["time"].as_str().unwrap()).collect();
        assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
        let now = SystemClock::start().now();
        for time in times {
            let time: Timestamp = time.parse().unwrap();
            let apart = now.since(time).max(time.since(now));
            assert!(apart < Duration::from_secs(3600), "{time} is not what time it was: {now}");
        }
    }
}

#[test]
fn a_wall_clock_that_steps_by_a_day_loses_nothing_and_is_told() {
    let mut scene = Scene::start();
    let mut made = vec![scene.back_up_and_restore()];
    assert!(!scene.says_jumped());
    for offset in ["+1d", "-1d"] {
        scene.set_clock(offset);
        assert!(scene.says_jumped(), "{offset}");
        made.push(scene.back_up_and_restore());
        scene.set_clock("+0");
        assert!(!scene.says_jumped(), "back again from {offset}");
        made.push(scene.back_up_and_restore());
    }
    scene.assert_in_order(&made);
}

#[test]
fn a_wall_clock_a_day_off_at_a_restart_is_not_believed() {
    let mut scene = Scene::start();
    let mut made = vec![scene.back_up_and_restore()];
    for offset in ["+1d", "-1d"] {
        scene.stop_coordinator();
        scene.set_clock(offset);
        scene.start_coordinator();
        assert!(scene.says_jumped(), "{offset}");
        made.push(scene.back_up_and_restore());
    }
    scene.assert_in_order(&made);
    scene.stop_coordinator();
    scene.set_clock("+0");
    scene.start_coordinator();
    assert!(!scene.says_jumped());
    scene.run(&["audit", "verify"]).ok();
}

#[test]
fn a_clock_that_is_right_after_all_is_confirmed_by_a_person() {
    let mut scene = Scene::start();
    scene.back_up_and_restore();
    scene.set_clock("+2d");
    assert!(scene.says_jumped());
    scene.run(&["cluster", "confirm-clock"]).fails(4, "confirm.answer_missing");
    assert!(scene.says_jumped());
    scene.run(&["cluster", "confirm-clock", "--yes"]).ok();
    assert!(!scene.says_jumped());
    scene.stop_coordinator();
    scene.start_coordinator();
    assert!(!scene.says_jumped(), "it stays confirmed");
    scene.back_up_and_restore();
}

impl Scene {
    /// Points of a policy that keeps the last one.
    fn back_up_docs(&self, count: u64) {
        self.wait_for_agent();
        let (source, file) = (self.scratch.join("docs"), self.scratch.join("docs.toml"));
        write(&source.join("a"), "a");
        let rules = "retention = { last = 1, protect_for = \"0s\" }";
        write(&file, retaining::policy("host", &source, rules));
        self.run(&["apply", "-f", file.to_str().unwrap()]).ok();
        for number in 0..count {
            write(&source.join("a"), number.to_string());
            self.run(&["backup", "docs"]).ok();
        }
    }
}

#[test]
fn nothing_is_forgotten_while_nobody_knows_what_time_it_is() {
    let scene = Scene::start();
    scene.back_up_docs(2);
    for offset in ["+1d", "-1d"] {
        scene.set_clock(offset);
        let plan = scene.run(&["retain", "docs", "--dry-run"]).ok().object();
        assert!(plan["suspended"].as_str().unwrap().contains("clock"), "{plan:#}");
        scene.run(&["retain", "docs", "--yes"]).fails(4, "clock.time_doubtful");
        assert_eq!(scene.points().len(), 2);
    }
    scene.set_clock("+0");
    let done = scene.run(&["retain", "docs", "--yes"]).ok().object();
    assert_eq!(done["suspended"], Value::Null);
    assert_eq!(scene.points().len(), 1);
}

#[test]
fn what_goes_by_rules_that_have_settled_goes_by_itself_but_not_while_the_clock_is_wrong() {
    let mut scene = Scene::start();
    scene.back_up_docs(2);
    scene.stop_coordinator();
    let config = scene.scratch.join("c/coordinator.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("retention_settles_secs = 0\n{text}")).unwrap();
    scene.set_clock("+1d");
    scene.start_coordinator();
    scene.back_up_docs(1);
    let begun = Instant::now();
    let has_looked = || {
        assert_eq!(scene.points().len(), 3);
        (begun.elapsed() > LOOKS).then_some(())
    };
    wait_until("it was looked several times", PATIENCE, has_looked);
    scene.set_clock("+0");
    let gone = || (scene.points().len() == 1).then_some(());
    wait_until("what goes is forgotten", PATIENCE, gone);
    let audit = scene.run(&["audit", "list"]).ok().object();
    let rows = audit["entries"].as_array().unwrap();
    let forgot = |row: &&Value| row["action"] == "points.forget" && row["result"] == "ok";
    let row = rows.iter().find(forgot).unwrap_or_else(|| panic!("it is told: {audit:#}"));
    assert_eq!(row["actor"], "system");
}

#[test]
fn a_clock_past_the_certificates_refuses_and_everything_works_again_when_it_is_right() {
    let mut scene = Scene::start();
    scene.back_up_and_restore();
    // Certificates that were good on an open connection are looked at per call.
    let source = scene.scratch.join("source");
    let backup = ["backup", "--path", source.to_str().unwrap()];
    scene.set_clock("+30d");
    scene.run(&backup).fails(4, "auth.identity_missing");
    scene.set_clock("+0");
    scene.back_up_and_restore();
    // A certificate that begins in a week is refused, and the refusal speaks of clocks.
    scene.stop_coordinator();
    scene.set_clock("+10d");
    scene.start_coordinator();
    let told = scene.run(&["points"]).ends(4).error();
    assert!(told["next"].as_str().unwrap().contains("clocks"), "{told}");
    scene.stop_coordinator();
    scene.set_clock("+0");
    scene.start_coordinator();
    scene.back_up_and_restore();
    let agent = scene.agent.take().unwrap();
    assert_eq!(agent.stop().code(), Some(0));
}
