//! A version of the keys is destroyed: by two people, with what needs it and nothing else, and
//! nothing brings it back.

use super::{House, Stopped};
use crate::{
    harness::{Outcome, noise, wait_until, write},
    operators::issued,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(90);

impl House {
    /// A further person, whom the one who came with the cluster lets in.
    fn person(&self, name: &str) -> PathBuf {
        issued(Path::new(&self.path("c/operator.toml")), &self.cluster.scratch, name, &[])
    }

    fn keys(&self) -> Value {
        self.asked(&["keys", "list"]).ok().object()
    }

    /// What is left of version 1.
    fn destroyed(&self) -> Value {
        self.keys()["keys"][0]["destroyed"][0].clone()
    }

    /// How many objects of a version lie in a directory.
    fn objects_of(&self, dir: &str, version: u32) -> usize {
        let at = PathBuf::from(self.path(dir)).join(format!("keys/{version:08}"));
        fs::read_dir(at).map_or(0, Iterator::count)
    }

    /// From a location, and from the directory that it is.
    fn wait_until_gone(&self, (location, dir): (&str, &str)) {
        wait_until(&format!("nothing of version 1 is in {location}"), PATIENCE, || {
            let places = self.destroyed()["locations"].as_array().unwrap().clone();
            let place = places.into_iter().find(|place| place["location"] == location).unwrap();
            (!place["gone"].is_null()).then_some(())
        });
        assert_eq!(self.objects_of(dir, 1), 0);
    }

    fn destroy(&self, who: &Path, more: &[&str]) -> Outcome {
        let destroy = ["keys", "destroy", "1", "--vault", "main", "--yes"];
        self.keyed(Some(who), &[&destroy[..], more].concat())
    }

    /// Two versions, one point, and a bundle that opens both.
    fn rotated() -> (Self, crate::harness::Service, String) {
        let mut house = Self::start("coordinator");
        let agent = house.cluster.agent("files-1");
        house.point = house.backup();
        house.asked(&["keys", "rotate", "main"]).ok();
        let bundle = house.path("old.hfbd");
        house.asked(&["keys", "export", "--to", &bundle]).ok();
        (house, agent, bundle)
    }

    /// Version 1 is closed, the first point needs it, and the newest does not.
    fn closed() -> (Self, String, String) {
        let (mut house, _agent, bundle) = Self::rotated();
        let first = house.point.clone();
        house.asked(&["keys", "close", "--vault", "main", "1", "--yes"]).ok();
        write(&house.source.join("new"), noise(9, 300_000));
        house.point = house.backup();
        (house, first, bundle)
    }

    fn notes(&self) -> Vec<(String, String)> {
        let status = self.cluster.run(&["status"]).object();
        let notes = status["notes"].as_array().unwrap().clone();
        let text = |note: &Value, field: &str| note[field].as_str().unwrap().to_owned();
        notes.iter().map(|note| (text(note, "code"), text(note, "subject"))).collect()
    }

    fn notes_of(&self, code: &str) -> Vec<String> {
        let notes = self.notes().into_iter().filter(|(told, _)| told == code);
        notes.map(|(_, subject)| subject).collect()
    }
}

fn id_of(asked: &Outcome) -> String {
    asked.object()["id"].as_str().unwrap().to_owned()
}

#[test]
fn two_people_destroy_a_version_and_nothing_brings_it_back() {
    let (house, first, bundle) = House::closed();
    let (alice, bob) = (house.person("alice"), house.person("bob"));

    // What is beyond reach is said before anybody agrees.
    let plan = ["keys", "destroy", "--vault", "main", "1", "--dry-run"];
    let plan = house.keyed(Some(&alice), &plan).ok().object();
    let stays = plan["stays"].to_string();
    for told in ["bundles", "rewrap", "recovery", plan["keks"][0].as_str().unwrap()] {
        assert!(stays.contains(told), "{told}: {plan}");
    }
    assert_eq!(plan["bundles"].as_array().unwrap().len(), 1, "{plan}");

    // One asks, and says what it costs.
    house.destroy(&alice, &[]).fails(4, "point.removal_refused");
    let asked = house.destroy(&alice, &["--lose-points", "1"]).ok();
    let id = id_of(&asked);
    assert_eq!(house.keys()["requests"][0]["id"], json!(id));
    let notes = house.notes_of("key.destroy_asked");
    assert!(notes.len() == 1 && notes[0].contains("`alice`"), "{notes:?}");
    house.destroy(&bob, &["--lose-points", "1"]).fails(8, "resource.change_refused");
    house.cluster.run(&["restore", &first, "--to", &house.path("still")]).ok();

    // Neither he, nor who made him an operator, nor anybody by another id agrees.
    house.destroy(&alice, &["--approve", &id]).fails(4, "key.second_refused");
    let admin = house.cluster.scratch.join("c/operator.toml");
    house.destroy(&admin, &["--approve", &id]).fails(4, "key.second_refused");
    house.destroy(&bob, &["--approve", "00"]).fails(3, "key.request_unknown");
    let agreed = house.destroy(&bob, &["--approve", &id[..8]]).ok().object();
    assert_eq!(agreed["points_lost"], 1, "{agreed}");

    // What needed it is gone, and says when and by whom; what did not is there.
    house.assert_gone("gone", &first);
    house.assert_online("online", &house.point);
    house.wait_until_gone(("main", "location"));
    let destroyed = house.destroyed();
    assert_eq!((&destroyed["asked_by"], &destroyed["agreed_by"]), (&json!("alice"), &json!("bob")));
    assert_eq!(destroyed["bundles"].as_array().unwrap().len(), 1, "{destroyed}");
    assert_eq!(house.keys()["requests"], json!([]));
    assert_eq!(house.notes_of("key.destroy_asked"), [""; 0]);
    assert_eq!(house.notes_of("key.destroy_unfinished"), [""; 0]);
    house.destroy(&alice, &["--lose-points", "1"]).fails(4, "key.version_destroyed");
    let close = ["keys", "close", "--vault", "main", "1", "--yes"];
    house.asked(&close).fails(4, "key.version_destroyed");
    // The KEK and the location alone open the rest, and a bundle of before still opens all of it.
    let kek = house.kek.clone();
    house.assert_offline("by-kek", &["--kek", &kek]);
    assert_ne!(house.offline(&first, "first-by-kek", &["--kek", &kek]).code, 0);
    house.offline(&first, "first-by-bundle", &["--bundle", &bundle]).ok();

    nothing_brings_it_back(house, &first, &bundle);
}

impl House {
    #[track_caller]
    fn assert_gone(&self, name: &str, point: &str) {
        let to = self.path(name);
        let outcome = self.cluster.run(&["restore", point, "--to", &to]).ends(4);
        let error = outcome.error();
        assert_eq!(error["code"], "point.key_destroyed", "{error}");
        for told in ["version 1", "`alice`", "operator:bob"] {
            assert!(error["message"].as_str().unwrap().contains(told), "{error}");
        }
        assert!(!Path::new(&to).exists(), "something was restored");
    }
}

/// Neither a new start, nor another KEK, nor a bundle of before.
fn nothing_brings_it_back(house: House, first: &str, bundle: &str) {
    let point = house.point.clone();
    let house = house.stop(false).start();
    house.assert_online("after", &point);
    let new = format!("file:{}", house.path("kek-2"));
    let told = house.asked(&["keys", "rewrap", "--yes", "--to", &new]).ok().object();
    assert_eq!(told["objects"], json!(["keys/00000002/00000002"]), "{told}");
    // An import wraps what the ledger has, whatever else is in the bundle.
    let stopped = house.stop(false);
    let other = format!("file:{}", stopped.scratch.join("kek-3").display());
    let told = stopped.import(bundle, &["--kek", &other, "--yes"]).ok().object();
    assert_eq!(told["objects"], json!(["keys/00000002/00000003"]), "{told}");
    let house = stopped.start();
    assert_eq!(house.objects_of("location", 1), 0);
    house.assert_online("imported", &point);
    house.assert_gone("gone-still", first);
    // A bundle that is made now has it no more.
    let later = house.path("later.hfbd");
    house.asked(&["keys", "export", "--to", &later]).ok();
    assert_ne!(house.offline(first, "first-by-later", &["--bundle", &later]).code, 0);
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
    assert_eq!(house.objects_of("location", 1), 1);
    // The newest is not destroyed, nor one that is not closed, nor one that is none.
    let version = |version: &str| {
        let destroy = ["keys", "destroy", version, "--vault", "main", "--yes"];
        house.keyed(Some(&alice), &destroy)
    };
    version("2").fails(8, "resource.change_refused");
    version("7").fails(3, "key.version_unknown");
    version("none").fails(2, "usage.argument_malformed");
    house.keyed(Some(&alice), &["keys", "destroy"]).ends(2);
    let both = ["--dry-run", "--lose-points", "1"];
    house.destroy(&alice, &both).ends(2);
    let strange = ["keys", "destroy", "1", "--vault", "other", "--yes"];
    house.keyed(Some(&alice), &strange).ends(3);
}

#[test]
fn nobody_asks_before_it_lies_in_the_locations_that_it_is_closed() {
    let (house, agent, _) = House::rotated();
    let alice = house.person("alice");
    drop(agent);
    // Nothing of the log goes where it should.
    let (log, away) = (house.path("location/cluster/log"), house.path("away"));
    fs::rename(&log, &away).unwrap();
    fs::write(&log, "in the way").unwrap();
    // It is closed all the same: whoever has lost a key waits for no disk.
    house.asked(&["keys", "close", "--vault", "main", "1", "--yes"]).ok();
    house.destroy(&alice, &["--lose-points", "1"]).fails(1, "location.copies_behind");
    assert_eq!(house.keys()["requests"], json!([]));
    fs::remove_file(&log).unwrap();
    fs::rename(&away, &log).unwrap();
    wait_until("it may be asked for", PATIENCE, || {
        let asked = house.destroy(&alice, &["--lose-points", "1"]);
        (asked.code == 0).then_some(())
    });
}

#[test]
fn a_host_that_knows_an_older_version_follows_past_one_that_was_destroyed() {
    let mut house = House::start("coordinator");
    let _agent = house.cluster.agent("files-1");
    let first = house.backup();
    let (alice, bob) = (house.person("alice"), house.person("bob"));
    for _ in 0..2 {
        house.asked(&["keys", "rotate", "main"]).ok();
    }
    house.asked(&["keys", "close", "--vault", "main", "2", "--yes"]).ok();
    let destroy = ["keys", "destroy", "2", "--vault", "main", "--yes"];
    // Nothing needs it, and nothing is lost.
    let id = id_of(&house.keyed(Some(&alice), &destroy).ok());
    let agree = [&destroy[..], &["--approve", &id]].concat();
    let told = house.keyed(Some(&bob), &agree).ok().object();
    assert_eq!(told["points_lost"], 0, "{told}");
    write(&house.source.join("new"), noise(9, 300_000));
    house.point = house.backup();
    house.assert_online("second", &house.point);
    house.cluster.run(&["restore", &first, "--to", &house.path("first")]).ok();
}

/// Two locations of which one is away while the other is cleared, and a kill in between.
#[test]
fn what_is_cleared_is_gone_on_with_after_a_kill_and_in_a_location_that_comes_back() {
    let (house, first, _) = House::closed();
    let (alice, bob) = (house.person("alice"), house.person("bob"));
    let (far, away) = (house.path("far"), house.path("vault-of-far"));
    let mounted = house.path("far/vault");
    house.asked(&["location", "add", "far", &format!("local:{far}")]).ok();
    let spec = "[spec]\nlocations = { required = [\"main\"], following = [\"far\"] }\n";
    let file = house.path("vault.toml");
    write(Path::new(&file), format!("kind = \"vault\"\nname = \"main\"\n{spec}"));
    house.asked(&["apply", "-f", &file]).ok();
    wait_until("`far` has the keys", PATIENCE, || {
        (house.objects_of("far", 1) == 1 && house.objects_of("far", 2) == 1).then_some(())
    });
    fs::rename(&mounted, &away).unwrap();
    let id = id_of(&house.destroy(&alice, &["--lose-points", "1"]).ok());
    house.destroy(&bob, &["--approve", &id]).ok();
    let House { cluster, source, point, kek } = house;
    cluster.coordinator.kill();
    let stopped = Stopped { scratch: cluster.scratch, source, point, kek };
    let house = stopped.start();
    house.wait_until_gone(("main", "location"));
    wait_until("it is told of `far`", PATIENCE, || {
        let notes = house.notes_of("key.destroy_unfinished");
        (notes.len() == 1 && notes[0].contains("`far`")).then_some(())
    });
    assert_eq!(house.objects_of("far", 1), 1);
    // Somebody who was slow, or put it there by hand.
    fs::create_dir_all(house.path("location/keys/00000001")).unwrap();
    let object = "keys/00000001/00000001";
    fs::copy(format!("{far}/{object}"), house.path(&format!("location/{object}"))).unwrap();
    fs::rename(&away, &mounted).unwrap();
    house.wait_until_gone(("far", "far"));
    wait_until("what came later is gone", PATIENCE, || {
        (house.objects_of("location", 1) == 0).then_some(())
    });
    assert_eq!(house.notes_of("key.destroy_unfinished"), [""; 0]);
    let told = house.asked(&["verify", "--all", "--level", "storage"]).ok().object();
    assert_eq!(told["damaged"], json!([]), "{told}");
    house.assert_gone("gone", &first);
    house.assert_online("there", &house.point);
}

#[test]
fn why_nothing_is_cleared_is_told_where_it_should_have_been() {
    let (house, first, _) = House::closed();
    let (alice, bob) = (house.person("alice"), house.person("bob"));
    let id = id_of(&house.destroy(&alice, &["--lose-points", "1"]).ok());
    // From here on nothing of the log goes where it should.
    let (log, away) = (house.path("location/cluster/log"), house.path("away"));
    fs::rename(&log, &away).unwrap();
    fs::write(&log, "in the way").unwrap();
    house.destroy(&bob, &["--approve", &id]).ok();
    let place = |house: &House| house.destroyed()["locations"][0].clone();
    wait_until("the location says why", PATIENCE, || {
        (place(&house)["problem"] == "location.copies_behind").then_some(())
    });
    let notes = house.notes_of("key.destroy_unfinished");
    assert!(notes.len() == 1 && notes[0].contains("location.copies_behind"), "{notes:?}");
    assert_eq!(house.objects_of("location", 1), 1);
    house.assert_gone("gone", &first);
    fs::remove_file(&log).unwrap();
    fs::rename(&away, &log).unwrap();
    house.wait_until_gone(("main", "location"));
    assert_eq!(place(&house)["problem"], json!(null));
    assert_eq!(house.notes_of("key.destroy_unfinished"), [""; 0]);
}
