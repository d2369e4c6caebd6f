//! The three ways to lose keys, after a rotation: what is left opens everything, or it is said
//! plainly that nothing does.

use super::{House, assert_does_not_start};
use crate::harness::{noise, wait_until, write};
use std::{fs, path::Path, process::Command, time::Duration};

const PATIENCE: Duration = Duration::from_secs(60);

/// With a point of each version.
fn furnished() -> (House, crate::harness::Service, String) {
    let mut house = House::start("coordinator");
    let agent = house.cluster.agent("files-1");
    let first = house.backup();
    house.cluster.run(&["keys", "rotate", "main"]).ok();
    write(&house.source.join("new"), noise(9, 900_000));
    house.point = house.backup();
    (house, agent, first)
}

#[test]
fn the_kek_is_lost_and_a_bundle_kept() {
    let (house, agent, first) = furnished();
    let bundle = house.path("bundle.hfbd");
    house.asked(&["keys", "export", "--to", &bundle]).ok();
    drop(agent);
    let stopped = house.stop(true);
    assert_does_not_start(&stopped.scratch, 1);
    let new = format!("file:{}", stopped.scratch.join("new-kek").display());
    let told = stopped.import(&bundle, &["--kek", &new, "--yes"]).ok().object();
    let objects = serde_json::json!(["keys/00000001/00000002", "keys/00000002/00000002"]);
    assert_eq!(told["objects"], objects, "{told}");
    let mut house = stopped.start();
    house.assert_online("newest", &house.point);
    house.cluster.run(&["restore", &first, "--to", &house.path("first")]).ok();
    house.assert_offline("offline", &["--kek", &new]);
    let listed = house.cluster.run(&["keys", "list"]).ok().object();
    let states: Vec<_> =
        listed["keks"].as_array().unwrap().iter().map(|kek| kek["state"].clone()).collect();
    assert_eq!(states, ["former", "current"], "{listed}");
    // And it goes on: agents know the key still, and follow the next.
    let agent = house.cluster.joined_agent("files-1");
    wait_until("the agent is back", PATIENCE, || {
        (house.cluster.state_of("files-1") == "connected").then_some(())
    });
    house.cluster.run(&["keys", "rotate", "main"]).ok();
    write(&house.source.join("newer"), noise(10, 900_000));
    house.point = house.backup();
    house.assert_online("third", &house.point);
    drop(agent);
}

#[test]
fn every_bundle_is_lost_and_the_kek_kept() {
    let (house, _agent, first) = furnished();
    let lost = house.path("lost.hfbd");
    house.asked(&["keys", "export", "--to", &lost]).ok();
    fs::remove_file(&lost).unwrap();
    let bundle = house.path("bundle.hfbd");
    house.asked(&["keys", "export", "--to", &bundle]).ok();
    house.asked(&["keys", "verify", &bundle]).ok();
    house.assert_alarm(None);
    let status = house.cluster.run(&["status"]).ok().object();
    assert!(status["bundle"]["verified"].is_string(), "{status}");
    assert!(status["bundle"]["age_ms"].as_u64().unwrap() < 600_000, "{status}");
    let listed = house.cluster.run(&["keys", "list"]).ok().object();
    let bundles = listed["bundles"].as_array().unwrap();
    assert_eq!((bundles.len(), &bundles[0]["opens_all"]), (2, &true.into()), "{listed}");
    house.assert_offline("newest", &["--bundle", &bundle]);
    house.offline(&first, "first", &["--bundle", &bundle]).ok();
}

#[test]
fn both_are_lost_and_it_is_said_that_nothing_opens_the_data() {
    let (house, agent, _first) = furnished();
    drop(agent);
    let (url, point) = (house.url(), house.point.clone());
    let other = format!("file:{}", house.path("other-kek"));
    fs::write(house.path("other-kek"), "11".repeat(32)).unwrap();
    let stopped = house.stop(true);
    let mut command = Command::new(super::binary());
    command.args(["--output", "json", "coordinator", "--config"]);
    command.arg(stopped.scratch.join("c/coordinator.toml"));
    let told = crate::harness::Outcome::of(None, &mut command);
    let stderr = told.stderr.clone();
    told.fails(1, "kek.provider_unavailable");
    for part in ["keys import BUNDLE", "nobody can open what was backed up", "it is gone"] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    let to = stopped.scratch.join("back");
    let restore = ["restore", &point, "--to", to.to_str().unwrap(), "--from-location", &url];
    let mut command = Command::new(super::binary());
    command.args(["--output", "json"]).args(restore).args(["--kek", &other]);
    let told = crate::harness::Outcome::of(None, &mut command);
    let stderr = told.stderr.clone();
    told.fails(4, "key.unwrap_refused");
    assert!(stderr.contains("it is gone"), "{stderr}");
    assert!(!Path::new(&to).exists(), "something was restored");
}

#[test]
fn while_a_coordinator_runs_its_lost_kek_is_replaced_without_a_bundle() {
    let (house, agent, first) = furnished();
    fs::remove_file(house.path("kek")).unwrap();
    let new = format!("file:{}", house.path("new-kek"));
    house.asked(&["keys", "rewrap", "--to", &new, "--yes"]).ok();
    drop(agent);
    let house = house.stop(false).start();
    house.assert_online("newest", &house.point);
    house.cluster.run(&["restore", &first, "--to", &house.path("first")]).ok();
    house.assert_offline("offline", &["--kek", &new]);
}
