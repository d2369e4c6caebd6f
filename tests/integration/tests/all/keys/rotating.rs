//! New versions of a vault's keys: new sessions are sealed to them, what was sealed before opens as
//! it did, nothing is sent again, and a bundle is due.

use super::House;
use crate::harness::{Tree, noise, write};
use serde_json::{Value, json};
use std::{fs, path::Path};

impl House {
    fn rotate(&self) -> Value {
        self.cluster.run(&["keys", "rotate", "main"]).ok().object()
    }

    /// Version, and what it is wrapped under.
    fn versions(&self) -> Vec<u64> {
        let told = self.cluster.run(&["keys", "list"]).ok().object();
        let versions = told["keys"][0]["versions"].as_array().unwrap().clone();
        versions.iter().map(|row| row["version"].as_u64().unwrap()).collect()
    }

    fn bundle(&self, name: &str) -> String {
        let bundle = self.path(name);
        self.asked(&["keys", "export", "--to", &bundle]).ok();
        self.asked(&["keys", "verify", &bundle]).ok();
        bundle
    }

    /// The version that the agent seals to.
    fn pinned(&self, agent: &str) -> String {
        fs::read_to_string(self.cluster.scratch.join(agent).join("vaults.toml")).unwrap()
    }
}

/// What was backed up before stays aside, to be compared with later.
fn copy_of(house: &House, name: &str) -> Tree {
    let aside = house.cluster.scratch.join(name);
    fs::create_dir(&aside).unwrap();
    for entry in fs::read_dir(&house.source).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), aside.join(entry.file_name())).unwrap();
    }
    Tree::of(&house.source)
}

fn assert_is(house: &House, to: &str, expected: &Tree) {
    let back = Path::new(to).join(house.source.strip_prefix("/").unwrap());
    expected.assert_same(&Tree::of(&back), to);
}

#[test]
fn a_new_version_seals_what_comes_and_the_old_one_opens_what_was() {
    let mut house = House::start("coordinator");
    let agent = house.cluster.agent("files-1");
    let first = house.backup();
    let before = copy_of(&house, "aside");
    let old_bundle = house.bundle("old.hfbd");
    house.assert_alarm(None);

    let told = house.rotate();
    assert_eq!((&told["before"], &told["version"]), (&json!(1), &json!(2)), "{told}");
    assert_eq!(told["object"], "keys/00000002/00000001");
    house.assert_alarm(Some("bundle.export_absent"));
    write(&house.source.join("new"), noise(9, 900_000));
    let made = house.back_up();
    let sent = made["bytes_new"].as_u64().unwrap();
    assert!(sent < 1_200_000, "nothing that was there is sent again: {made}");
    assert_eq!(made["state"], "done");
    house.point = made["point"].as_str().unwrap().to_owned();
    assert!(house.pinned("files-1").contains("version = 2"), "{}", house.pinned("files-1"));

    house.assert_online("online", &house.point);
    let to = house.path("first");
    house.cluster.run(&["restore", &first, "--to", &to]).ok();
    assert_is(&house, &to, &before);
    let kek = house.kek.clone();
    house.assert_offline("by-kek", &["--kek", &kek]);
    // A bundle of before opens what was sealed before, and says what it lacks for the rest.
    house.offline(&first, "first-by-old", &["--bundle", &old_bundle]).ok();
    assert_is(&house, &house.path("first-by-old"), &before);
    let refused = house.offline(&house.point, "by-old", &["--bundle", &old_bundle]);
    assert_ne!(refused.code, 0);
    let bundle = house.bundle("new.hfbd");
    house.assert_alarm(None);
    house.assert_offline("by-bundle", &["--bundle", &bundle]);
    assert_eq!(house.versions(), [1, 2]);

    // All of it comes back with the coordinator.
    let point = house.point.clone();
    let house = house.stop(false).start();
    house.assert_online("after", &point);
    house.cluster.run(&["restore", &first, "--to", &house.path("first-after")]).ok();
    assert_is(&house, &house.path("first-after"), &before);
    house.cluster.run(&["verify", "--all", "--level", "full"]).ok();
    drop(agent);
}

#[test]
fn in_operator_custody_only_the_operators_key_makes_a_version_that_agents_believe() {
    let mut house = House::start("operator");
    let _agent = house.cluster.agent("files-1");
    let first = house.backup();
    let operator = house.path("operator.kek");
    fs::rename(house.path("c/operator.kek"), &operator).unwrap();
    house.asked(&["keys", "rotate", "main"]).fails(4, "key.custody_refused");
    let wrong = ["keys", "rotate", "main", "--kek", &house.kek];
    house.asked(&wrong).fails(4, "key.unwrap_refused");
    let named = format!("file:{operator}");
    let told = house.asked(&["keys", "rotate", "main", "--kek", &named]).ok().object();
    assert_eq!(told["version"], 2, "{told}");
    write(&house.source.join("new"), noise(9, 900_000));
    house.point = house.backup();
    assert!(house.pinned("files-1").contains("version = 2"));
    // Coordinators hold nothing that opens it.
    let to = house.path("refused");
    let online = ["restore", &house.point, "--to", &to];
    house.cluster.run(&online).fails(4, "key.custody_refused");
    let kek = house.kek.clone();
    house.assert_offline("both", &["--kek", &kek, "--kek", &named]);
    let bundle = house.path("b.hfbd");
    house.asked(&["keys", "export", "--to", &bundle, "--kek", &named]).ok();
    house.assert_offline("bundle", &["--bundle", &bundle]);
    house.offline(&first, "first", &["--bundle", &bundle]).ok();
}

#[test]
fn what_an_attempt_left_behind_takes_a_number_and_nothing_else() {
    let mut house = House::start("coordinator");
    let _agent = house.cluster.agent("files-1");
    house.backup();
    let left = house.cluster.scratch.join("location/keys/00000002/00000001");
    let first = house.cluster.scratch.join("location/keys/00000001/00000001");
    fs::create_dir_all(left.parent().unwrap()).unwrap();
    fs::copy(first, &left).unwrap();
    assert_eq!(house.rotate()["version"], 3);
    assert_eq!(house.rotate()["version"], 4);
    assert_eq!(house.versions(), [1, 3, 4]);
    write(&house.source.join("new"), noise(9, 900_000));
    // The agent goes from the first to the last in one step.
    house.point = house.backup();
    assert!(house.pinned("files-1").contains("version = 4"));
    let kek = house.kek.clone();
    house.assert_offline("by-kek", &["--kek", &kek]);
}

#[test]
fn a_host_that_knows_a_newer_version_does_not_go_back() {
    let house = House::start("coordinator");
    let _agent = house.cluster.agent("files-1");
    house.backup();
    let pins = house.cluster.scratch.join("files-1/vaults.toml");
    // As if the coordinator told of version 1 again after version 2.
    let known = house.pinned("files-1").replace("version = 1", "version = 2");
    fs::write(&pins, known).unwrap();
    let backup = ["backup", "--path", house.source.to_str().unwrap()];
    house.cluster.run(&backup).fails(4, "key.vault_changed");
    let points = house.cluster.run(&["points"]).ok().object();
    assert_eq!(points["points"].as_array().unwrap().len(), 1);
}
