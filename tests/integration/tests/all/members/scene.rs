//! Three coordinators on ports of their own, and what is asked of them.

use crate::{
    cluster::Cluster,
    harness::{Lines, Outcome, Scratch, Service, binary, holdfast, wait_until},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Members {
    pub(crate) scratch: Scratch,
    /// By name; one that is down is not here.
    pub(crate) running: BTreeMap<String, Service>,
    /// What they hear each other by, where the test has it in hand.
    pub(crate) lines: Option<Lines>,
    /// The environment of a member's process.
    environment: BTreeMap<String, Vec<(String, String)>>,
    /// Whether members that start from here on have mounts of their own.
    pub(crate) has_own_mounts: bool,
}

impl Members {
    /// `one`, `two` and `three`, all of them voters.
    pub(crate) fn three() -> Self {
        let mut members = Self::founded();
        for name in ["two", "three"] {
            members.add(name, &[]);
        }
        members.wait_for_voters(3);
        members
    }

    /// `one` alone.
    pub(crate) fn founded() -> Self {
        let Cluster { scratch, coordinator } = Cluster::start();
        let running = [("one".to_owned(), coordinator)].into();
        Self { running, ..Self::none(scratch) }
    }

    /// Nobody yet.
    pub(crate) fn none(scratch: Scratch) -> Self {
        let (running, environment) = (BTreeMap::new(), BTreeMap::new());
        Self { scratch, running, lines: None, environment, has_own_mounts: false }
    }

    /// Three voters that hear each other by lines of the test's.
    pub(crate) fn three_on_lines(seed: u64) -> Self {
        let mut members = Self::founded();
        members.put_on_lines(Lines::between(&[1, 2, 3], seed));
        for name in ["two", "three"] {
            members.add(name, &[]);
        }
        members.wait_for_voters(3);
        members
    }

    /// Of `one` and of all that are started later.
    pub(crate) fn put_on_lines(&mut self, lines: Lines) {
        assert_eq!(self.stop("one"), Some(0));
        self.lines = Some(lines);
        self.start("one");
    }

    pub(crate) fn lines(&self) -> &Lines {
        self.lines.as_ref().unwrap()
    }

    /// From its next start on, a member's process has this in its environment.
    pub(crate) fn set_environment(&mut self, name: &str, variables: &[(&'static str, String)]) {
        let owned = variables.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        self.environment.insert(name.to_owned(), owned.collect());
    }

    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        self.scratch.join(if name == "one" { "c" } else { name })
    }

    /// Through whichever member answers.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        let context = self.scratch.join("c/operator.toml");
        holdfast(Some(&context), &[&["--output", "json"], arguments].concat())
    }

    /// Through one member only.
    pub(crate) fn run_at(&self, name: &str, arguments: &[&str]) -> Outcome {
        let text = std::fs::read_to_string(self.scratch.join("c/operator.toml")).unwrap();
        let address = &self.running[name].address;
        let own = format!("endpoints = [\"{address}\"]");
        let rest = text.lines().filter(|line| !line.starts_with("endpoints"));
        let lines: Vec<&str> = std::iter::once(&*own).chain(rest).collect();
        // Several may ask at once: each finds a whole file.
        let new = format!("c/only-{name}-{:?}.new", std::thread::current().id());
        let (new, context) =
            (self.scratch.join(&new), self.scratch.join(&format!("c/only-{name}")));
        std::fs::write(&new, lines.join("\n")).unwrap();
        std::fs::rename(&new, &context).unwrap();
        holdfast(Some(&context), &[&["--output", "json"], arguments].concat())
    }

    /// What a member sees in this directory is nothing, and it can put nothing there; or all is as
    /// it was.
    pub(crate) fn cut_off(&self, name: &str, path: &Path, is_cut: bool) {
        let id = self.running[name].id().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &id]);
        match is_cut {
            true => command.args(["mount", "-t", "tmpfs", "-o", "ro", "holdfast-test"]),
            false => command.args(["umount", "--lazy"]),
        };
        assert!(command.arg(path).status().unwrap().success(), "{command:?}");
    }

    pub(crate) fn token(&self) -> String {
        let told = self.run(&["cluster", "token"]).ok().object();
        told["token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn join(&self, name: &str, token: &str, more: &[&str]) -> Outcome {
        self.join_in("eu", name, token, more)
    }

    pub(crate) fn join_in(&self, region: &str, name: &str, token: &str, more: &[&str]) -> Outcome {
        let dir = self.dir(name);
        let coordinator = &self.running.values().next().unwrap().address;
        let arguments = [
            &["--output", "json", "cluster", "join", "--dir", dir.to_str().unwrap()],
            &["--name", name, "--region", region, "--listen", "127.0.0.1:0"],
            &["--coordinator", coordinator, "--token", token][..],
            more,
        ];
        holdfast(None, &arguments.concat())
    }

    pub(crate) fn add(&mut self, name: &str, more: &[&str]) {
        self.join(name, &self.token(), more).ok();
        self.start(name);
    }

    pub(crate) fn start(&mut self, name: &str) {
        self.use_lines(name);
        let log = self.scratch.join(&format!("{name}.coordinator.log"));
        let mut command = self.command(name);
        if let Some(lines) = &self.lines {
            // It waits to hear of a leader before it says that it is ready: whoever leads must find
            // it before that.
            let address = free_address();
            lines.reach(number(name), &address);
            command.args(["--listen", &address]);
        }
        let service = Service::start_command(&mut command, &log);
        self.running.insert(name.to_owned(), service);
    }

    /// What runs a member.
    pub(crate) fn command(&self, name: &str) -> Command {
        let config = self.dir(name).join("coordinator.toml");
        let mut command = match self.has_own_mounts {
            true => Command::new("unshare"),
            false => Command::new(binary()),
        };
        if self.has_own_mounts {
            command.args(["--mount", "--propagation", "private"]).arg(binary());
        }
        command.args(["coordinator", "--config", config.to_str().unwrap()]);
        command.envs(self.environment.get(name).into_iter().flatten().cloned());
        command
    }

    fn use_lines(&self, name: &str) {
        let config = self.dir(name).join("coordinator.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let Some(lines) = self.lines.as_ref().filter(|_| !text.contains("[peers]")) else { return };
        let own = number(name);
        let others = lines.pairs().into_iter().filter(|(from, to)| *from == own && *to != OPERATOR);
        let rows = others.map(|(_, to)| format!("{to} = \"{}\"\n", lines.address(own, to)));
        let peers: String = rows.collect();
        std::fs::write(&config, format!("{text}\n[peers]\n{peers}")).unwrap();
    }

    /// The same by a command that was prepared otherwise.
    pub(crate) fn start_command(&mut self, name: &str, command: &mut Command) {
        let log = self.scratch.join(&format!("{name}.coordinator.log"));
        self.running.insert(name.to_owned(), Service::start_command(command, &log));
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, name: &str) {
        self.running.remove(name).unwrap().kill();
    }

    /// SIGTERM, and its exit code.
    pub(crate) fn stop(&mut self, name: &str) -> Option<i32> {
        self.running.remove(name).unwrap().stop().code()
    }

    /// An agent that has just joined.
    pub(crate) fn agent(&self, name: &str) -> Service {
        self.join_agent(name);
        self.joined_agent(name)
    }

    /// One that has joined before.
    pub(crate) fn joined_agent(&self, name: &str) -> Service {
        let config = self.scratch.join(name).join("agent.toml");
        let log = self.scratch.join(&format!("{name}.log"));
        Service::start(&["agent", "--config", config.to_str().unwrap()], &log)
    }

    /// One that does not run.
    pub(crate) fn join_agent(&self, name: &str) {
        let told = self.run(&["agent", "token"]).ok().object();
        let (token, dir) = (told["token"].as_str().unwrap(), self.scratch.join(name));
        let coordinator = &self.running.values().next().unwrap().address;
        let dir = dir.to_str().unwrap();
        let join = ["agent", "join", "--coordinator", coordinator, "--token", token];
        holdfast(None, &[&join[..], &["--dir", dir, "--name", name]].concat()).ok();
    }

    pub(crate) fn status(&self) -> Value {
        self.run(&["cluster", "status"]).ok().object()
    }

    pub(crate) fn rows(&self) -> Vec<Value> {
        self.status()["members"].as_array().unwrap().clone()
    }

    pub(crate) fn row(&self, name: &str) -> Option<Value> {
        self.rows().into_iter().find(|row| row["name"] == name)
    }

    /// The name of whoever leads.
    pub(crate) fn leader(&self) -> String {
        let found = || {
            let status = self.run(&["cluster", "status"]);
            let status = (status.code == 0).then(|| status.object())?;
            let rows = status["members"].as_array().unwrap().clone();
            let leads = |row: &&Value| row["id"] == status["leader"] && row["state"] == "leader";
            Some(rows.iter().find(leads)?["name"].as_str().unwrap().to_owned())
        };
        wait_until("somebody leads", PATIENCE, found)
    }

    pub(crate) fn wait_for_voters(&self, count: usize) {
        let is_voter = |row: &&Value| row["role"] == "voter" && row["lag"].is_u64();
        let voters = || (self.rows().iter().filter(is_voter).count() == count).then_some(());
        wait_until("so many voters", PATIENCE, voters);
    }

    /// All three have the same audit chain, whole.
    pub(crate) fn wait_for_one_chain(&self) {
        let head = |name| self.run_at(name, &["audit", "verify"]).ok().object()["head"].clone();
        let same = || {
            let heads = ["one", "two", "three"].map(head);
            heads.iter().all(|head| *head == heads[0]).then_some(())
        };
        wait_until("one chain", PATIENCE, same);
    }
}

/// Where nobody listens.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Whoever asks the members, where that goes by lines of the test's too.
pub(crate) const OPERATOR: u64 = 99;

/// Numbers are given in the order of joining.
const NUMBERED: [&str; 5] = ["one", "two", "three", "four", "five"];

pub(crate) fn number(name: &str) -> u64 {
    1 + NUMBERED.iter().position(|known| *known == name).unwrap() as u64
}

/// The other two of three.
pub(crate) fn others(name: &str) -> [&'static str; 2] {
    let mut others = NUMBERED.into_iter().take(3).filter(|other| *other != name);
    [others.next().unwrap(), others.next().unwrap()]
}
