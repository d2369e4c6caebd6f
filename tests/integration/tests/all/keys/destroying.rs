//! A version of the keys is destroyed: by two people, with what needs it and nothing else, and
//! nothing brings it back.

use super::{House, Stopped};
use crate::harness::{Outcome, noise, wait_until, write};
use serde_json::{Value, json};
use std::{fs, path::PathBuf, time::Duration};

const PATIENCE: Duration = Duration::from_secs(60);

impl House {
    /// A further person, and the context of that name.
    fn person(&self, name: &str) -> PathBuf {
        let to = self.path(name);
        self.asked(&["operator", "issue", name, "--to", &to]).ok();
        PathBuf::from(to).join("operator.toml")
    }

    fn keys(&self) -> Value {
        self.asked(&["keys", "list"]).ok().object()
    }

    /// How many objects of a version lie in the location.
    fn objects_of(&self, version: u32) -> usize {
        let at = self.cluster.scratch.join(format!("location/keys/{version:08}"));
        fs::read_dir(at).map_or(0, Iterator::count)
    }

    fn wait_until_shredded(&self) {
        wait_until("the objects of version 1 are gone", PATIENCE, || {
            let keys = self.keys();
            let places = keys["keys"][0]["destroyed"][0]["locations"].as_array().cloned();
            let is_gone = |places: Vec<Value>| {
                !places.is_empty() && places.iter().all(|place| !place["gone"].is_null())
            };
            places.is_some_and(is_gone).then_some(())
        });
        assert_eq!(self.objects_of(1), 0);
    }

    fn destroy(&self, who: &PathBuf, more: &[&str]) -> Outcome {
        let destroy = ["keys", "destroy", "1", "--vault", "main", "--yes"];
        self.keyed(Some(who), &[&destroy[..], more].concat())
    }

    /// Version 1 is closed, the first point needs it, and the newest does not.
    fn closed() -> (Self, String, String) {
        let mut house = Self::start("coordinator");
        let agent = house.cluster.agent("files-1");
        let first = house.backup();
        house.asked(&["keys", "rotate", "main"]).ok();
        let bundle = house.path("old.hfbd");
        house.asked(&["keys", "export", "--to", &bundle]).ok();
        house.asked(&["keys", "close", "--vault", "main", "1", "--yes"]).ok();
        write(&house.source.join("new"), noise(9, 300_000));
        house.point = house.backup();
        drop(agent);
        (house, first, bundle)
    }
}

fn id_of(asked: &Outcome) -> String {
    asked.object()["id"].as_str().unwrap().to_owned()
}

#[test]
fn two_people_destroy_a_version_and_nothing_brings_it_back() {
    let (house, first, bundle) = House::closed();
    let (alice, bob) = (house.person("alice"), house.person("bob"));

    // One asks, and says what it costs.
    house.destroy(&alice, &[]).fails(4, "point.removal_refused");
    let asked = house.destroy(&alice, &["--lose-points", "1"]).ok();
    let id = id_of(&asked);
    assert_eq!(house.keys()["requests"][0]["id"], json!(id));
    house.destroy(&bob, &["--lose-points", "1"]).fails(8, "resource.change_refused");
    house.cluster.run(&["restore", &first, "--to", &house.path("still")]).ok();

    // Neither he, nor who made him an operator, nor anybody by another id agrees.
    house.destroy(&alice, &["--approve", &id]).fails(4, "key.second_refused");
    let admin = house.cluster.scratch.join("c/operator.toml");
    house.destroy(&admin, &["--approve", &id]).fails(4, "key.second_refused");
    house.destroy(&bob, &["--approve", "00"]).fails(3, "key.request_unknown");
    let agreed = house.destroy(&bob, &["--approve", &id[..8]]).ok().object();
    assert_eq!(agreed["points_lost"], 1, "{agreed}");

    // What needed it is gone, and says why; what did not is there.
    let to = house.path("gone");
    house.cluster.run(&["restore", &first, "--to", &to]).fails(4, "point.key_destroyed");
    house.assert_online("online", &house.point);
    house.wait_until_shredded();
    let destroyed = house.keys()["keys"][0]["destroyed"][0].clone();
    assert_eq!((&destroyed["asked_by"], &destroyed["agreed_by"]), (&json!("alice"), &json!("bob")));
    assert_eq!(house.keys()["requests"], json!([]));
    house.destroy(&alice, &["--lose-points", "1"]).fails(4, "key.version_destroyed");
    // The KEK and the location alone open the rest, and a bundle of before still opens all of it.
    let kek = house.kek.clone();
    house.assert_offline("by-kek", &["--kek", &kek]);
    assert_ne!(house.offline(&first, "first-by-kek", &["--kek", &kek]).code, 0);
    house.offline(&first, "first-by-bundle", &["--bundle", &bundle]).ok();

    nothing_brings_it_back(house, &first, &bundle);
}

/// Neither a new start, nor another KEK, nor a bundle of before, nor filling the location.
fn nothing_brings_it_back(house: House, first: &str, bundle: &str) {
    let point = house.point.clone();
    let house = house.stop(false).start();
    house.assert_online("after", &point);
    let new = format!("file:{}", house.path("kek-2"));
    let told = house.asked(&["keys", "rewrap", "--yes", "--to", &new]).ok().object();
    assert_eq!(told["objects"], json!(["keys/00000002/00000002"]));
    house.asked(&["location", "rebuild", "main", "--yes"]);
    assert_eq!(house.objects_of(1), 0);
    // An import wraps what the ledger has, whatever else is in the bundle.
    let stopped: Stopped = house.stop(false);
    let config = stopped.scratch.join("c/coordinator.toml");
    let other = format!("file:{}", stopped.scratch.join("kek-3").display());
    let arguments =
        ["keys", "import", bundle, "--config", config.to_str().unwrap(), "--kek", &other];
    let mut command = std::process::Command::new(crate::harness::binary());
    command.args(["--output", "json"]).args(arguments);
    command.env("HOLDFAST_PASSPHRASE", super::PASSPHRASE);
    Outcome::of(None, &mut command).ok();
    let house = stopped.start();
    assert_eq!(house.objects_of(1), 0);
    house.assert_online("imported", &point);
    let to = house.path("gone-still");
    house.cluster.run(&["restore", first, "--to", &to]).fails(4, "point.key_destroyed");
    house.asked(&["audit", "verify"]).ok();
}

#[test]
fn a_request_is_taken_back_and_what_is_held_is_lost_by_nobody() {
    let (house, first, _) = House::closed();
    let (alice, bob) = (house.person("alice"), house.person("bob"));
    house.asked(&["keys", "destroy", "1", "--vault", "main"]).fails(4, "confirm.answer_missing");
    let id = id_of(&house.destroy(&alice, &["--lose-points", "1"]).ok());
    house.asked(&["hold", "add", &first, "--reason", "a lawsuit"]).ok();
    house.destroy(&bob, &["--approve", &id]).fails(4, "point.removal_refused");
    house.keyed(Some(&bob), &["keys", "destroy", "--withdraw", &id]).ok();
    house.destroy(&bob, &["--approve", &id]).fails(3, "key.request_unknown");
    house.destroy(&alice, &["--lose-points", "1"]).fails(4, "point.removal_refused");
    house.cluster.run(&["restore", &first, "--to", &house.path("there")]).ok();
    assert_eq!(house.objects_of(1), 1);
    // The newest is not destroyed, nor one that is not closed, nor one that is none.
    let version = |version: &str| {
        let destroy = ["keys", "destroy", version, "--vault", "main", "--yes"];
        house.keyed(Some(&alice), &destroy)
    };
    version("2").fails(8, "resource.change_refused");
    version("7").fails(3, "key.version_unknown");
    version("none").fails(2, "usage.argument_malformed");
}
