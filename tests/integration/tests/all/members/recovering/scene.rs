//! A cluster whose coordinators can be lost, disks and all, and what a recovery is told.

use crate::{
    cluster::Cluster,
    harness::{Objects, Outcome, Scratch, Service, binary, holdfast, noise, write},
};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

pub(super) struct Lost {
    pub(super) scratch: Scratch,
}

impl Lost {
    /// Kills the coordinator and takes its disk away.
    pub(super) fn of(cluster: Cluster) -> Self {
        let Cluster { scratch, coordinator } = cluster;
        coordinator.kill();
        std::fs::remove_dir_all(scratch.join("c")).unwrap();
        Self { scratch }
    }

    pub(super) fn location(&self) -> PathBuf {
        self.scratch.join("location")
    }

    pub(super) fn objects_of(cluster: &Cluster) -> Objects {
        Objects::of(&cluster.scratch.join("location"))
    }

    pub(super) fn objects(&self) -> Objects {
        Objects::of(&self.location())
    }

    /// With the KEK, unless something else is said to open it.
    pub(super) fn recover(&self, more: &[&str]) -> Outcome {
        let kek = format!("file:{}", self.scratch.join("kek").display());
        self.recover_with(&[&["--kek", &kek], more].concat())
    }

    pub(super) fn recover_with(&self, more: &[&str]) -> Outcome {
        Outcome::of(None, &mut self.command(more))
    }

    pub(super) fn command(&self, more: &[&str]) -> Command {
        let from = format!("local:{}", self.location().display());
        let dir = self.scratch.join("c");
        let arguments = [
            &["--output", "json", "cluster", "recover", "--from", &from],
            &["--dir", dir.to_str().unwrap(), "--name", "again", "--region", "eu"],
            &["--listen", "127.0.0.1:0"][..],
            more,
        ];
        let mut command = Command::new(binary());
        command.args(arguments.concat());
        command
    }

    /// The recovered coordinator runs.
    pub(super) fn started(self) -> Cluster {
        let coordinator = Cluster::coordinator(&self.scratch);
        Cluster { scratch: self.scratch, coordinator }
    }
}

pub(super) fn source(scratch: &Scratch, name: &str, seed: u64) -> PathBuf {
    let source = scratch.join(&format!("source-{name}"));
    for number in 0..3 {
        write(&source.join(number.to_string()), noise(seed * 100 + number, 700_000));
    }
    write(&source.join("small/note"), format!("{seed}"));
    source
}

pub(super) fn backup(cluster: &Cluster, source: &Path, agent: &str) -> Value {
    let path = source.to_str().unwrap();
    cluster.run(&["backup", "--path", path, "--agent", agent]).ok().object()
}

/// Tells an agent where the recovered coordinator is.
pub(super) fn repoint(cluster: &Cluster, name: &str) {
    let dir = cluster.scratch.join(name);
    let arguments = ["--output", "json", "agent", "repoint", "--dir", dir.to_str().unwrap()];
    let address = ["--coordinator", &cluster.coordinator.address];
    holdfast(None, &[&arguments[..], &address].concat()).ok();
}

/// The same, and the agent runs again.
pub(super) fn repointed(cluster: &Cluster, name: &str) -> Service {
    repoint(cluster, name);
    cluster.joined_agent(name)
}
