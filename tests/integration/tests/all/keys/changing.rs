//! Another KEK while everything goes on: nothing is sent again, the old one is not needed any more,
//! and every member comes to the new one or says that it lacks it.

use super::{House, VARIABLE, assert_does_not_start, coordinator};
use crate::harness::wait_until;
use crate::{
    harness::{noise, write},
    members::scene::{Members, PATIENCE},
};
use std::{fs, path::Path};

impl House {
    fn rewrap(&self, more: &[&str]) -> crate::harness::Outcome {
        self.asked(&[&["keys", "rewrap", "--yes"], more].concat())
    }
}

#[test]
fn after_a_change_the_old_kek_is_not_needed_and_the_new_one_opens_everything() {
    let mut house = House::start("coordinator");
    let agent = house.cluster.agent("files-1");
    let first = house.backup();
    house.cluster.run(&["keys", "rotate", "main"]).ok();
    write(&house.source.join("new"), noise(9, 900_000));
    house.point = house.backup();
    let new = format!("file:{}", house.path("kek-2"));
    house.asked(&["keys", "rewrap", "--to", &new]).fails(4, "confirm.answer_missing");
    assert!(!Path::new(&house.path("kek-2")).exists(), "nothing was agreed to");
    house.rewrap(&["--to", "file:kek-2"]).fails(2, "usage.argument_malformed");
    let told = house.rewrap(&["--to", &new]).ok().object();
    let objects = serde_json::json!(["keys/00000001/00000002", "keys/00000002/00000002"]);
    assert_eq!(told["objects"], objects, "{told}");
    house.rewrap(&["--to", &new]).fails(8, "resource.change_refused");
    let listed = house.cluster.run(&["keys", "list"]).ok().object();
    let states: Vec<_> =
        listed["keks"].as_array().unwrap().iter().map(|kek| kek["state"].clone()).collect();
    assert_eq!(states, ["former", "current"], "{listed}");
    // The bundle of before opens what it did: it knows no KEK.
    house.assert_online("online", &house.point);

    // The old one is gone for good, here and in the process.
    let point = house.point.clone();
    let config = house.path("c/coordinator.toml");
    assert!(fs::read_to_string(&config).unwrap().contains("kek-2"));
    let house = house.stop(true).start();
    house.assert_online("after", &point);
    house.cluster.run(&["restore", &first, "--to", &house.path("first")]).ok();
    house.assert_offline("offline", &["--kek", &new]);
    house.cluster.run(&["audit", "verify"]).ok();
    let house = House { kek: new, ..house };
    wait_until("the agent is back", PATIENCE, || {
        (house.cluster.state_of("files-1") == "connected").then_some(())
    });
    house.cluster.run(&["keys", "rotate", "main"]).ok();
    write(&house.source.join("newer"), noise(10, 900_000));
    let house = House { point: house.backup(), ..house };
    let kek = house.kek.clone();
    house.assert_offline("rotated", &["--kek", &kek]);
    drop(agent);
}

#[test]
fn a_change_in_operator_custody_takes_the_operators_key_and_can_bring_it_a_new_one() {
    let mut house = House::start("operator");
    let _agent = house.cluster.agent("files-1");
    house.point = house.backup();
    let (new, own) = (format!("file:{}", house.path("kek-2")), house.path("own.kek"));
    fs::rename(house.path("c/operator.kek"), &own).unwrap();
    house.rewrap(&["--to", &new]).fails(4, "key.custody_refused");
    let (own, next) = (format!("file:{own}"), format!("file:{}", house.path("own-2.kek")));
    house.rewrap(&["--to", &new, "--kek", &own, "--to-operator", &next]).ok();
    fs::remove_file(house.path("kek")).unwrap();
    fs::remove_file(house.path("own.kek")).unwrap();
    house.offline(&house.point, "one", &["--kek", &new]).fails(4, "key.custody_refused");
    house.assert_offline("both", &["--kek", &new, "--kek", &next]);
}

#[test]
fn a_change_to_a_passphrase_is_found_again_after_a_restart() {
    let mut house = House::start("coordinator");
    let _agent = house.cluster.agent("files-1");
    house.point = house.backup();
    let phrase = house.path("phrase");
    write(Path::new(&phrase), "a long sentence that nobody guesses\n");
    let phrase = format!("passphrase-file:{phrase}");
    house.rewrap(&["--to", &phrase]).ok();
    let point = house.point.clone();
    let house = house.stop(true).start();
    house.assert_online("after", &point);
    house.assert_offline("offline", &["--kek", &phrase]);
    // One that is in no file.
    house.rewrap(&["--to", &format!("env:{VARIABLE}")]).ok();
    let stopped = house.stop(false);
    assert_does_not_start(&stopped.scratch, 1);
    drop(coordinator(&stopped.scratch));
}

#[test]
fn every_member_has_the_new_kek_before_it_counts_and_takes_it_by_itself() {
    let mut members = Members::three();
    let kek = members.scratch.join("kek-2");
    write(&kek, "77".repeat(32));
    let to = |name: &str| format!("file:{}", members.scratch.join(name).display());
    let (absent, new) = (to("absent/kek"), to("kek-2"));
    // Who is down may lack it.
    let down = members.running.keys().find(|name| **name != members.leader()).unwrap().clone();
    assert_eq!(members.stop(&down), Some(0));
    let rewrap = ["keys", "rewrap", "--to", &new, "--yes"];
    members.run(&rewrap).fails(1, "kek.provider_unavailable");
    members.start(&down);
    members.run(&["keys", "rewrap", "--to", &absent, "--yes"]).fails(3, "file.path_missing");
    wait_until("it is there again", PATIENCE, || (members.run(&rewrap).code == 0).then_some(()));
    for name in ["one", "two", "three"] {
        wait_until("the member has taken it", PATIENCE, || {
            let text = fs::read_to_string(members.dir(name).join("coordinator.toml")).unwrap();
            text.contains("kek-2").then_some(())
        });
    }
    // Each starts without the old one.
    for name in ["one", "two", "three"] {
        let _may_have_none = fs::remove_file(members.dir(name).join("kek"));
    }
    fs::remove_file(members.scratch.join("kek")).unwrap();
    for name in ["one", "two", "three"] {
        assert_eq!(members.stop(name), Some(0));
        members.start(name);
    }
    wait_until("somebody leads", PATIENCE, || {
        (members.run(&["keys", "list"]).code == 0).then_some(())
    });
}

#[test]
fn a_kek_that_a_coordinator_could_not_write_down_is_not_changed() {
    let house = House::start("coordinator");
    let new = format!("file:{}", house.path("kek-2"));
    let (config, away) = (house.path("c/coordinator.toml"), house.path("away.toml"));
    fs::rename(&config, &away).unwrap();
    house.rewrap(&["--to", &new]).fails(3, "file.path_missing");
    let listed = house.cluster.run(&["keys", "list"]).ok().object();
    assert_eq!(listed["keks"].as_array().unwrap().len(), 1, "{listed}");
    fs::rename(&away, &config).unwrap();
    house.rewrap(&["--to", &new]).ok();
    assert!(fs::read_to_string(&config).unwrap().contains("kek-2"));
    // What it does not need is not taken in silence.
    let own = house.kek.clone();
    house.rewrap(&["--to", &new, "--kek", &own]).fails(2, "usage.argument_malformed");
    house.asked(&["keys", "rotate", "main", "--kek", &own]).fails(2, "usage.argument_malformed");
}

/// The next start puts the cluster's recovery key where it lies already.
#[test]
fn a_change_that_is_run_again_or_taken_back_leaves_a_cluster_that_starts_and_backs_up() {
    let mut house = House::start("coordinator");
    let agent = house.cluster.agent("files-1");
    house.point = house.backup();
    let (first, second) = (house.kek.clone(), format!("file:{}", house.path("kek-2")));
    let (config, away) = (house.path("c/coordinator.toml"), house.path("away.toml"));
    fs::rename(&config, &away).unwrap();
    house.rewrap(&["--to", &second]).fails(3, "file.path_missing");
    fs::rename(&away, &config).unwrap();
    house.rewrap(&["--to", &second]).ok();
    let mut house = starts_and_backs_up(house, 1, &second);
    house.rewrap(&["--to", &first]).ok();
    house = starts_and_backs_up(house, 2, &first);
    // The same by an import.
    let bundle = house.path("bundle.hfbd");
    house.asked(&["keys", "export", "--to", &bundle]).ok();
    let stopped = house.stop(false);
    stopped.import(&bundle, &["--kek", &second, "--yes"]).ok();
    starts_and_backs_up(stopped.start(), 3, &second);
    drop(agent);
}

fn starts_and_backs_up(house: House, time: u64, kek: &str) -> House {
    let mut house = house.stop(false).start();
    write(&house.source.join(format!("more-{time}")), noise(20 + time, 300_000));
    house.point = wait_until("a backup", PATIENCE, || {
        let told = house.cluster.run(&["backup", "--path", house.source.to_str().unwrap()]);
        (told.code == 0).then(|| told.object()["point"].as_str().unwrap().to_owned())
    });
    house.assert_offline(&format!("offline-{time}"), &["--kek", kek]);
    house
}
