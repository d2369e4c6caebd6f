//! Three coordinators on ports of their own, and what is asked of them.

use crate::{
    cluster::Cluster,
    harness::{Outcome, Scratch, Service, holdfast, wait_until},
};
use serde_json::Value;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Members {
    pub(super) scratch: Scratch,
    /// By name; one that is down is not here.
    pub(super) running: BTreeMap<String, Service>,
}

impl Members {
    /// `one`, `two` and `three`, all of them voters.
    pub(super) fn three() -> Self {
        let mut members = Self::founded();
        for name in ["two", "three"] {
            members.add(name, &[]);
        }
        members.wait_for_voters(3);
        members
    }

    /// `one` alone.
    pub(super) fn founded() -> Self {
        let Cluster { scratch, coordinator } = Cluster::start();
        Self { scratch, running: [("one".to_owned(), coordinator)].into() }
    }

    pub(super) fn dir(&self, name: &str) -> PathBuf {
        self.scratch.join(if name == "one" { "c" } else { name })
    }

    /// Through whichever member answers.
    pub(super) fn run(&self, arguments: &[&str]) -> Outcome {
        let context = self.scratch.join("c/operator.toml");
        holdfast(Some(&context), &[&["--output", "json"], arguments].concat())
    }

    /// Through one member only.
    pub(super) fn run_at(&self, name: &str, arguments: &[&str]) -> Outcome {
        let text = std::fs::read_to_string(self.scratch.join("c/operator.toml")).unwrap();
        let own = format!("endpoints = [\"{}\"]", self.running[name].address);
        let rest = text.lines().filter(|line| !line.starts_with("endpoints"));
        let lines: Vec<&str> = std::iter::once(&*own).chain(rest).collect();
        let context = self.scratch.join(&format!("c/only-{name}.toml"));
        std::fs::write(&context, lines.join("\n")).unwrap();
        holdfast(Some(&context), &[&["--output", "json"], arguments].concat())
    }

    pub(super) fn token(&self) -> String {
        let told = self.run(&["cluster", "token"]).ok().object();
        told["token"].as_str().unwrap().to_owned()
    }

    pub(super) fn join(&self, name: &str, token: &str, more: &[&str]) -> Outcome {
        self.join_in("eu", name, token, more)
    }

    pub(super) fn join_in(&self, region: &str, name: &str, token: &str, more: &[&str]) -> Outcome {
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

    pub(super) fn add(&mut self, name: &str, more: &[&str]) {
        self.join(name, &self.token(), more).ok();
        self.start(name);
    }

    pub(super) fn start(&mut self, name: &str) {
        let config = self.dir(name).join("coordinator.toml");
        let arguments = ["coordinator", "--config", config.to_str().unwrap()];
        let log = self.scratch.join(&format!("{name}.coordinator.log"));
        self.running.insert(name.to_owned(), Service::start(&arguments, &log));
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self, name: &str) {
        self.running.remove(name).unwrap().kill();
    }

    /// SIGTERM, and its exit code.
    pub(super) fn stop(&mut self, name: &str) -> Option<i32> {
        self.running.remove(name).unwrap().stop().code()
    }

    /// An agent that has just joined.
    pub(super) fn agent(&self, name: &str) -> Service {
        let told = self.run(&["agent", "token"]).ok().object();
        let (token, dir) = (told["token"].as_str().unwrap(), self.scratch.join(name));
        let coordinator = &self.running.values().next().unwrap().address;
        let dir = dir.to_str().unwrap();
        let join = ["agent", "join", "--coordinator", coordinator, "--token", token];
        holdfast(None, &[&join[..], &["--dir", dir, "--name", name]].concat()).ok();
        let config = format!("{dir}/agent.toml");
        let log = self.scratch.join(&format!("{name}.log"));
        Service::start(&["agent", "--config", &config], &log)
    }

    pub(super) fn status(&self) -> Value {
        self.run(&["cluster", "status"]).ok().object()
    }

    pub(super) fn rows(&self) -> Vec<Value> {
        self.status()["members"].as_array().unwrap().clone()
    }

    pub(super) fn row(&self, name: &str) -> Option<Value> {
        self.rows().into_iter().find(|row| row["name"] == name)
    }

    /// The name of whoever leads.
    pub(super) fn leader(&self) -> String {
        let found = || {
            let status = self.run(&["cluster", "status"]);
            let status = (status.code == 0).then(|| status.object())?;
            let rows = status["members"].as_array().unwrap().clone();
            let leads = |row: &&Value| row["id"] == status["leader"] && row["state"] == "leader";
            Some(rows.iter().find(leads)?["name"].as_str().unwrap().to_owned())
        };
        wait_until("somebody leads", PATIENCE, found)
    }

    pub(super) fn wait_for_voters(&self, count: usize) {
        let is_voter = |row: &&Value| row["role"] == "voter" && row["lag"].is_u64();
        let voters = || (self.rows().iter().filter(is_voter).count() == count).then_some(());
        wait_until("so many voters", PATIENCE, voters);
    }
}
