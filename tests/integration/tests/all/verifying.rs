//! Points that are opened by a verifier: an agent that does nothing else, and is believed only what
//! it was given.

use crate::{
    cluster::Cluster,
    harness::{Damage, Objects, Outcome, Service, holdfast, noise, wait_until, write},
};
use serde_json::Value;
use std::{fs, path::PathBuf, process::Child, time::Duration};

const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster with a point that the agent `one` made, and a verifier.
struct Scene {
    cluster: Cluster,
    one: Service,
    verifier: Service,
    source: PathBuf,
    point: String,
}

impl Scene {
    fn start(locations: &[&str], files: u64, bytes: usize) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let cluster = Cluster::start_at(&free.to_string(), "coordinator", locations);
        let one = cluster.agent("one");
        let verifier = verifier(&cluster, "verifier-1");
        let source = cluster.scratch.join("source");
        for number in 0..files {
            write(&source.join(number.to_string()), noise(number, bytes));
        }
        let path = source.to_str().unwrap();
        let made = cluster.run(&["backup", "--path", path, "--agent", "one"]).ok().object();
        let point = made["point"].as_str().unwrap().to_owned();
        Self { cluster, one, verifier, source, point }
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        self.cluster.run(arguments)
    }

    fn verify(&self, agent: &str) -> Outcome {
        self.run(&["verify", &self.point, "--level", "full", "--agent", agent])
    }

    fn point(&self) -> Value {
        let told = self.run(&["points"]).ok().object();
        let points = told["points"].as_array().unwrap().clone();
        points.into_iter().find(|point| point["id"] == *self.point).unwrap()
    }

    fn newest_run(&self) -> Value {
        self.run(&["runs"]).ok().object()["runs"][0].clone()
    }

    /// A verification that is still going on.
    fn begun(&self) -> Child {
        let context = self.cluster.scratch.join("c/operator.toml");
        let child = std::process::Command::new(crate::harness::binary())
            .args(["--context", context.to_str().unwrap(), "--output", "json"])
            .args(["verify", &self.point, "--level", "full", "--agent", "any"])
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let running = || {
            let run = self.newest_run();
            (run["kind"] == "verify" && run["state"] == "running").then_some(())
        };
        wait_until("the verification is running", PATIENCE, running);
        child
    }

    fn ended(&self) -> Value {
        let over = || Some(self.newest_run()).filter(|run| run["ended"].is_string());
        wait_until("the verification has ended", PATIENCE, over)
    }
}

/// As soon as the cluster knows verifiers: when it was founded it says what its members know.
fn verifier(cluster: &Cluster, name: &str) -> Service {
    let context = cluster.scratch.join("c/operator.toml");
    let token = || {
        let told = holdfast(Some(&context), &["agent", "token", "--verifier"]);
        (told.code == 0).then(|| told.text().trim_end().to_owned())
    };
    let token = wait_until("a token for a verifier", PATIENCE, token);
    cluster.join(name, &token).ok();
    cluster.joined_agent(name)
}

fn wait(child: Child) -> std::process::Output {
    child.wait_with_output().unwrap()
}

#[test]
fn a_point_that_a_verifier_opened_is_proven() {
    let scene = Scene::start(&["location"], 5, 1_500_000);
    assert_eq!(scene.point()["verified"], Value::Null);
    let told = scene.verify("any").ok().object();
    assert_eq!((&told["level"], &told["damaged"]), (&"full".into(), &Value::Array(vec![])));
    assert_eq!(told["agents"], serde_json::json!(["verifier-1"]));
    assert_eq!(told["points"], 1);
    let point = scene.point();
    assert_eq!(point["verified_by"], "verifier-1");
    assert!(point["verified"].is_string(), "{point}");
    let run = scene.newest_run();
    assert_eq!((&run["kind"], &run["state"]), (&"verify".into(), &"done".into()));
    assert_eq!(run["agent"], "verifier-1");
    assert_eq!(run["point"], *scene.point);
    assert_eq!(run["verified"]["bytes"], 7_500_000);
    let agents = scene.run(&["agent", "list"]).ok().object();
    let duty = |name: &str| {
        let all = agents["agents"].as_array().unwrap();
        all.iter().find(|agent| agent["name"] == name).unwrap()["duty"].clone()
    };
    assert_eq!((duty("one"), duty("verifier-1")), (Value::Null, "verifier".into()));
    let audit = scene.run(&["audit", "list"]).ok();
    assert!(audit.text().contains("point.read") && audit.text().contains("run.verified"));
}

#[test]
fn status_says_whether_the_newest_point_of_a_policy_was_fully_verified() {
    let scene = Scene::start(&["location"], 1, 1000);
    let policy = scene.cluster.scratch.join("policy.toml");
    let source = scene.source.to_str().unwrap();
    let text = format!(
        "kind = \"policy\"\nname = \"nightly\"\n[spec]\nagent = \"one\"\nvault = \"main\"\n\
         source = {{ type = \"files\", paths = [\"{source}\"] }}\n"
    );
    write(&policy, text.as_bytes());
    scene.run(&["apply", "-f", policy.to_str().unwrap()]).ok();
    let proven = || {
        let told = scene.run(&["status"]).object();
        told["sources"][0]["verified"].clone()
    };
    scene.run(&["backup", "nightly"]).ok();
    assert_eq!(proven(), Value::Null);
    let newest = ["verify", "latest", "--policy", "nightly", "--level", "full", "--agent", "any"];
    scene.run(&newest).ok();
    assert!(proven().is_string());
    scene.run(&["backup", "nightly"]).ok();
    assert_eq!(proven(), Value::Null, "another one is the newest");
    let policy = text.replace("\"one\"", "\"verifier-1\"").replace("nightly", "other");
    let file = scene.cluster.scratch.join("other.toml");
    write(&file, policy.as_bytes());
    scene.run(&["apply", "-f", file.to_str().unwrap()]).fails(4, "agent.duty_other");
}

#[test]
fn damage_is_told_with_its_paths_and_takes_the_proof_away() {
    let scene = Scene::start(&["location"], 8, 900_000);
    scene.verify("verifier-1").ok();
    let objects = Objects::of(&scene.cluster.scratch.join("location"));
    let victim = objects.below("packs/").remove(0);
    let undo = objects.damage(&victim, Damage::FlipMiddle);
    let told = scene.verify("any").ends(7).object();
    let damaged = told["damaged"].as_array().unwrap();
    assert!(!damaged.is_empty(), "{told}");
    let points = damaged.iter().flat_map(|one| one["points"].as_array().unwrap());
    assert!(points.into_iter().all(|point| *point == *scene.point), "{told}");
    let paths: usize = damaged.iter().map(|one| one["paths"].as_array().unwrap().len()).sum();
    assert!(paths > 0, "{told}");
    assert_eq!(scene.point()["verified"], Value::Null);
    let run = scene.newest_run();
    assert_eq!((&run["kind"], &run["state"]), (&"verify".into(), &"failed".into()), "{run}");
    assert!(run["verified"]["damaged_count"].as_u64().unwrap() > 0, "{run}");
    drop(undo);
    scene.verify("any").ok();
    assert!(scene.point()["verified"].is_string());
}

#[test]
fn what_one_location_lost_is_healed_from_another_and_the_point_is_proven() {
    let scene = Scene::start(&["first", "second"], 4, 900_000);
    let objects = Objects::of(&scene.cluster.scratch.join("first"));
    let victim = objects.below("packs/").remove(0);
    fs::remove_file(&victim).unwrap();
    let told = scene.verify("any").ends(7).object();
    let damaged = &told["damaged"][0];
    assert_eq!(
        (&damaged["location"], &damaged["healed_from"]),
        (&"first".into(), &"second".into())
    );
    assert!(victim.exists());
    assert!(scene.point()["verified"].is_string(), "all of it can be restored");
}

#[test]
fn whoever_may_not_verify_is_refused_and_it_is_said_why() {
    let scene = Scene::start(&["location"], 1, 1000);
    let two = scene.cluster.agent("two");
    scene.verify("one").fails(4, "agent.source_own");
    scene.verify("two").fails(4, "agent.duty_other");
    scene.verify("nobody").fails(3, "agent.name_unknown");
    let verify = |more: &[&str]| scene.run(&[&["verify", &scene.point][..], more].concat());
    verify(&["--agent", "any"]).fails(2, "usage.argument_malformed");
    let path = scene.source.to_str().unwrap();
    let backup = ["backup", "--path", path, "--agent", "verifier-1"];
    scene.run(&backup).fails(4, "agent.duty_other");
    let to = scene.cluster.scratch.join("to");
    let restore = ["restore", &scene.point, "--to", to.to_str().unwrap(), "--agent", "verifier-1"];
    scene.run(&restore).fails(4, "agent.duty_other");
    assert!(!to.exists());
    scene.run(&["agent", "revoke", "verifier-1", "--yes"]).ok();
    scene.verify("verifier-1").fails(4, "agent.identity_revoked");
    scene.verify("any").fails(3, "agent.name_unknown");
    drop(two);
}

#[test]
fn a_vault_that_only_operators_open_is_verified_by_no_agent() {
    let cluster = Cluster::in_operator_custody();
    let one = cluster.agent("one");
    let verifier = verifier(&cluster, "verifier-1");
    let source = cluster.scratch.join("source");
    write(&source.join("file"), noise(1, 1000));
    let path = source.to_str().unwrap();
    let made = cluster.run(&["backup", "--path", path, "--agent", "one"]).ok().object();
    let point = made["point"].as_str().unwrap();
    let verify = ["verify", point, "--level", "full", "--agent", "any"];
    cluster.run(&verify).fails(4, "key.custody_refused");
    drop((one, verifier));
}

#[test]
fn a_verification_whose_verifier_was_killed_ends_and_another_can_be_had() {
    let mut scene = Scene::start(&["location"], 40, 4_000_000);
    let child = scene.begun();
    scene.verifier.kill_in_place();
    scene.verifier = scene.cluster.joined_agent("verifier-1");
    let run = scene.ended();
    assert_eq!(run["state"], "interrupted", "{run}");
    assert_eq!(wait(child).status.code(), Some(1));
    assert_eq!(scene.point()["verified"], Value::Null);
    scene.verify("any").ok();
    assert!(scene.point()["verified"].is_string());
}

#[test]
fn a_verification_goes_on_when_its_coordinator_was_killed() {
    let mut scene = Scene::start(&["location"], 40, 4_000_000);
    let child = scene.begun();
    scene.cluster.coordinator.kill_in_place();
    scene.cluster.coordinator = Cluster::coordinator(&scene.cluster.scratch);
    let run = scene.ended();
    assert_eq!(run["state"], "done", "{run}");
    let output = wait(child);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(scene.point()["verified"].is_string());
}

#[test]
fn a_verification_that_is_cancelled_proves_nothing() {
    let scene = Scene::start(&["location"], 40, 4_000_000);
    let child = scene.begun();
    let run = scene.newest_run()["id"].as_str().unwrap().to_owned();
    scene.run(&["runs", "cancel", &run]).ok();
    assert_eq!(scene.ended()["state"], "cancelled");
    assert_eq!(wait(child).status.code(), Some(1));
    assert_eq!(scene.point()["verified"], Value::Null);
    // So does one whose command is stopped.
    let child = scene.begun();
    let id = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert_eq!(scene.ended()["state"], "cancelled");
    assert_eq!(wait(child).status.code(), Some(143));
    assert_eq!(scene.point()["verified"], Value::Null);
    assert!(scene.one.ended().is_none() && scene.verifier.ended().is_none());
}
