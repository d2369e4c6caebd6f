//! An agent, a coordinator, or both are killed at any moment, again and again, each a process of
//! its own: what was reported committed restores bit for bit, and the next run completes.
//!
//! The moment is a number of files that the backup has put into the location, temporary ones
//! among them: before the session, in it, around the commit, and after it.

use crate::{
    cluster::Cluster,
    harness::{Chance, Service, Tree, binary, kills, noise, wait_until, write},
};
use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

const AGENT: &str = "files-1";
const KILLS: u64 = 3;
const PATIENCE: Duration = Duration::from_secs(90);
const SEED_USUAL: u64 = 0xDEAD;
/// A round of this test puts fewer files than that into the location.
const FILES_MAX: u64 = 9;

#[derive(Clone, Copy, Debug)]
enum Victim {
    Agent,
    Both,
    Coordinator,
}

/// What is killed, and started again.
struct Stage {
    cluster: Cluster,
    agent: Option<Service>,
}

impl Stage {
    fn set() -> Self {
        // Free a moment ago, and ours from now on: the agent knows the coordinator by it.
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let cluster = Cluster::start_at(&free.to_string(), "coordinator", &["location"]);
        let agent = Some(cluster.agent(AGENT));
        Self { cluster, agent }
    }

    fn kill(&mut self, victim: Victim) {
        if matches!(victim, Victim::Agent | Victim::Both) {
            self.agent.take().unwrap().kill();
        }
        if matches!(victim, Victim::Coordinator | Victim::Both) {
            self.cluster.coordinator.kill_in_place();
            self.cluster.coordinator = Cluster::coordinator(&self.cluster.scratch);
        }
        if self.agent.is_none() {
            self.agent = Some(self.cluster.joined_agent(AGENT));
        }
        let back = || (self.cluster.state_of(AGENT) == "connected").then_some(());
        wait_until("the agent is connected", PATIENCE, back);
    }

    fn backup(&self, source: &Path) -> Child {
        let context = self.cluster.scratch.join("c/operator.toml");
        Command::new(binary())
            .args(["--context", context.to_str().unwrap(), "--output", "json"])
            .args(["backup", "--path", source.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// A whole backup, once the agent has ended the run that it took up again.
    fn next_backup(&self, source: &Path) -> String {
        let run = || {
            let told = self.cluster.run(&["backup", "--path", source.to_str().unwrap()]);
            let is_busy = told.code == 8 && told.stderr.contains("run.policy_busy");
            (!is_busy).then_some(told)
        };
        let told = wait_until("the next backup", PATIENCE, run).ok().object();
        told["point"].as_str().unwrap().to_owned()
    }

    /// Returns when so many files were added, or the backup ended before.
    fn wait_for(&self, files: u64, backup: &mut Child) {
        let location = self.cluster.scratch.join("location");
        let before = count(&location);
        let there = || {
            let done = backup.try_wait().unwrap().is_some();
            (done || count(&location) >= before + files).then_some(())
        };
        look_often(there);
    }

    fn points(&self) -> Vec<String> {
        let told = self.cluster.run(&["points"]).ok().object();
        let rows = told["points"].as_array().unwrap().clone();
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    }

    fn restored(&self, point: &str, source: &Path) -> Tree {
        let to = self.cluster.scratch.join("back");
        self.cluster.run(&["restore", point, "--to", to.to_str().unwrap()]).ok();
        let tree = Tree::of(&to.join(source.strip_prefix("/").unwrap()));
        fs::remove_dir_all(to).unwrap();
        tree
    }
}

fn look_often(mut condition: impl FnMut() -> Option<()>) {
    while condition().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn count(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let count_of = |path: PathBuf| if path.is_dir() { count(&path) } else { 1 };
    entries.map_while(Result::ok).map(|entry| count_of(entry.path())).sum()
}

/// Some new content each round, so that each round has packs to lose.
fn renew(source: &Path, round: u64, chance: &mut Chance) {
    for number in 0..8 {
        let path = source.join(format!("part-{number}"));
        if round == 0 || chance.below(3) == 0 {
            write(&path, noise(round * 100 + number, 2_500_000));
        }
    }
    write(&source.join(format!("kept/{round}")), format!("round {round}"));
}

#[test]
fn every_committed_point_survives_the_kill_of_either_side() {
    let rounds = kills(KILLS);
    let name = "every_committed_point_survives_the_kill_of_either_side";
    let mut chance = Chance::of(name, SEED_USUAL, rounds);
    let mut stage = Stage::set();
    let source = stage.cluster.scratch.join("source");
    let mut right: BTreeMap<String, Tree> = BTreeMap::new();
    for round in 0..rounds {
        renew(&source, round, &mut chance);
        let tree = Tree::of(&source);
        let victim = [Victim::Agent, Victim::Both, Victim::Coordinator][chance.below(3) as usize];
        let files = chance.below(FILES_MAX);
        eprintln!("round {round}: {victim:?} is killed after {files} files");
        let mut backup = stage.backup(&source);
        stage.wait_for(files, &mut backup);
        stage.kill(victim);
        let _it_may_have_ended = backup.kill();
        backup.wait().unwrap();
        // Of what was interrupted, what is listed is a point of this round.
        for point in stage.points() {
            right.entry(point).or_insert_with(|| tree.clone());
        }
        right.insert(stage.next_backup(&source), tree.clone());
        // The interrupted run may have been taken up again and committed meanwhile.
        for point in stage.points() {
            right.entry(point).or_insert_with(|| tree.clone());
        }
    }
    let listed = stage.points();
    assert_eq!(listed.len(), right.len(), "no point went away");
    for (point, tree) in &right {
        tree.assert_same(&stage.restored(point, &source), point);
    }
    let told = stage.cluster.run(&["verify", "--all", "--level", "storage"]).ok().object();
    assert_eq!(told["points"].as_u64().unwrap(), listed.len() as u64);
}
