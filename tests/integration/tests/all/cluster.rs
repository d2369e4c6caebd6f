//! Separate processes: a coordinator, agents that join it with tokens, agents that may not.

use crate::harness::{Outcome, Scratch, Service, Tree, holdfast, noise, wait_until, write};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

struct Cluster {
    scratch: Scratch,
    coordinator: Service,
}

impl Cluster {
    fn start() -> Self {
        Self::start_in_custody("coordinator")
    }

    fn start_in_custody(custody: &str) -> Self {
        let scratch = Scratch::new();
        let (dir, kek) = (scratch.join("c"), scratch.join("kek"));
        let location = format!("main=local:{}", scratch.join("location").display());
        holdfast(
            None,
            &[
                "cluster",
                "init",
                "--dir",
                dir.to_str().unwrap(),
                "--name",
                "one",
                "--region",
                "eu",
                "--listen",
                "127.0.0.1:0",
                "--location",
                &location,
                "--kek",
                &format!("file:{}", kek.display()),
                "--custody",
                custody,
            ],
        )
        .ok();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (config, listen) = (dir.join("coordinator.toml"), free.to_string());
        let arguments = ["coordinator", "--config", config.to_str().unwrap(), "--listen", &listen];
        let coordinator = Service::start(&arguments, &scratch.join("coordinator.log"));
        // Init knew port 0 only: the operator writes down where the coordinator really is.
        let context = dir.join("operator.toml");
        let text = std::fs::read_to_string(&context).unwrap();
        let text = text.replace("127.0.0.1:0", &coordinator.address);
        std::fs::write(&context, text).unwrap();
        Self { scratch, coordinator }
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        let context = self.scratch.join("c/operator.toml");
        holdfast(Some(&context), &[&["--output", "json"], arguments].concat())
    }

    fn token(&self, more: &[&str]) -> String {
        let context = self.scratch.join("c/operator.toml");
        let told = holdfast(Some(&context), &[&["agent", "token"], more].concat()).ok();
        let token = told.text().trim_end();
        assert_eq!(token.lines().count(), 1, "the token alone");
        token.to_owned()
    }

    fn join(&self, name: &str, token: &str) -> Outcome {
        let dir = self.scratch.join(name);
        holdfast(
            None,
            &[
                "--output",
                "json",
                "agent",
                "join",
                "--coordinator",
                &self.coordinator.address,
                "--token",
                token,
                "--dir",
                dir.to_str().unwrap(),
                "--name",
                name,
            ],
        )
    }

    fn agent(&self, name: &str) -> Service {
        self.join(name, &self.token(&[])).ok();
        let config = self.scratch.join(name).join("agent.toml");
        let log = self.scratch.join(&format!("{name}.log"));
        Service::start(&["agent", "--config", config.to_str().unwrap()], &log)
    }

    fn state_of(&self, name: &str) -> String {
        let told = self.run(&["agent", "list"]).ok().object();
        let rows = told["agents"].as_array().unwrap().clone();
        let row = rows.iter().find(|row| row["name"] == name);
        row.map(|row| row["state"].as_str().unwrap().to_owned()).unwrap_or_default()
    }
}

fn source(cluster: &Cluster, name: &str, seed: u64) -> PathBuf {
    let source = cluster.scratch.join(&format!("source-{name}"));
    for number in 0..5 {
        write(&source.join(number.to_string()), noise(seed + number, 1_500_000));
    }
    source
}

fn assert_restores(cluster: &Cluster, point: &Value, source: &Path, name: &str) {
    let to = cluster.scratch.join(&format!("back-{name}"));
    let point = point.as_str().unwrap();
    cluster.run(&["restore", point, "--to", to.to_str().unwrap()]).ok();
    let back = to.join(source.strip_prefix("/").unwrap());
    Tree::of(source).assert_same(&Tree::of(&back), name);
}

#[test]
fn an_agent_of_its_own_process_joins_and_backs_up() {
    let cluster = Cluster::start();
    let agent = cluster.agent("files-1");
    let source = source(&cluster, "a", 1);
    let path = source.to_str().unwrap();
    let made = cluster.run(&["backup", "--path", path]).ok().object();
    assert_restores(&cluster, &made["point"], &source, "files-1");
    assert_eq!(agent.stop().code(), Some(0));
    let away = || (cluster.state_of("files-1") == "away").then_some(());
    wait_until("the agent is away", Duration::from_secs(30), away);
    cluster.run(&["backup", "--path", path]).fails(5, "agent.connection_absent");
    assert_eq!(cluster.coordinator.stop().code(), Some(0));
}

#[test]
fn two_agents_back_up_at_once() {
    let cluster = Cluster::start();
    let (_one, _two) = (cluster.agent("one"), cluster.agent("two"));
    let sources = [source(&cluster, "one", 10), source(&cluster, "two", 12)];
    let made: Vec<Value> = std::thread::scope(|scope| {
        let cluster = &cluster;
        let backup = |(name, path): (&'static str, &PathBuf)| {
            let path = path.to_str().unwrap().to_owned();
            scope.spawn(move || {
                cluster.run(&["backup", "--path", &path, "--agent", name]).ok().object()
            })
        };
        let running: Vec<_> = ["one", "two"].into_iter().zip(&sources).map(backup).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (name, (told, source)) in ["one", "two"].iter().zip(made.iter().zip(&sources)) {
        assert_restores(&cluster, &told["point"], source, name);
    }
    let path = sources[0].to_str().unwrap();
    cluster.run(&["backup", "--path", path]).fails(2, "agent.name_ambiguous");
}

#[test]
fn a_token_is_good_for_one_host_and_for_its_time_only() {
    let cluster = Cluster::start();
    let token = cluster.token(&["--label", "role=files", "--ttl", "1h"]);
    cluster.join("first", &token).ok();
    cluster.join("second", &token).fails(4, "token.used");
    let brief = cluster.token(&["--ttl", "1s"]);
    std::thread::sleep(Duration::from_millis(1500));
    cluster.join("third", &brief).fails(4, "token.expired");
    let mut forged = token.clone().into_bytes();
    let last = forged.len() - 1;
    forged[last] = if forged[last] == b'0' { b'1' } else { b'0' };
    let told = cluster.join("fourth", std::str::from_utf8(&forged).unwrap());
    assert_eq!(told.code, 4, "{}", told.stderr);
    let told = cluster.run(&["agent", "list"]).ok().object();
    assert_eq!(told["agents"].as_array().unwrap().len(), 1, "only the first: {told}");
}

#[test]
fn a_revoked_agent_is_shut_out_at_once() {
    let cluster = Cluster::start();
    let _agent = cluster.agent("lost");
    let source = source(&cluster, "lost", 30);
    let path = source.to_str().unwrap();
    let made = cluster.run(&["backup", "--path", path]).ok().object();
    cluster.run(&["agent", "revoke", "lost", "--yes"]).ok();
    assert_eq!(cluster.state_of("lost"), "revoked");
    let told = cluster.run(&["backup", "--path", path, "--agent", "lost"]);
    assert_eq!(told.code, 4, "{}", told.stderr);
    assert_restores(&cluster, &made["point"], &source, "what it made before stays");
}

#[test]
fn in_operator_custody_only_the_operator_key_brings_data_back() {
    let cluster = Cluster::start_in_custody("operator");
    let _agent = cluster.agent("files-1");
    let source = source(&cluster, "a", 40);
    let made = cluster.run(&["backup", "--path", source.to_str().unwrap()]).ok().object();
    let point = made["point"].as_str().unwrap();
    let to = cluster.scratch.join("refused");
    let online = ["restore", point, "--to", to.to_str().unwrap()];
    cluster.run(&online).fails(4, "key.custody_refused");
    assert!(!to.exists() || std::fs::read_dir(&to).unwrap().next().is_none());

    let url = format!("local:{}", cluster.scratch.join("location").display());
    let kek = format!("file:{}", cluster.scratch.join("kek").display());
    let operator = format!("file:{}", cluster.scratch.join("c/operator.kek").display());
    let to = cluster.scratch.join("back");
    let offline = ["--output", "json", "restore", point, "--to", to.to_str().unwrap()];
    let from = ["--from-location", &url, "--kek", &kek];
    holdfast(None, &[&offline[..], &from].concat()).fails(4, "key.custody_refused");
    let both = ["--kek", &operator];
    holdfast(None, &[&offline[..], &from, &both].concat()).ok();
    let back = to.join(source.strip_prefix("/").unwrap());
    Tree::of(&source).assert_same(&Tree::of(&back), "with the operator's key");
}
