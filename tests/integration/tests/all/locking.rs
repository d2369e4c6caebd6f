//! Locks, on the one server here that enforces them as Amazon does: whoever has every key of the
//! coordinators takes nothing away, and what is said to be locked is.

use crate::{
    buckets::{Cluster, assert_same, url},
    harness::{Scratch, wait_until, write},
};
use holdfast_common::{Clock, SystemClock, Timestamp};
use holdfast_testkit_servers::{Ceph, Ministack};
use serde_json::Value;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(150);

fn lock(cluster: &Cluster, following: &str, terms: &str) {
    let vault = cluster.scratch.join("vault.toml");
    let locations = format!("locations = {{ required = [\"main\"], following = [{following}] }}");
    let text = format!("kind = \"vault\"\nname = \"main\"\n[spec]\n{locations}\nlock = {terms}\n");
    write(&vault, text);
    cluster.run(&["apply", "-f", vault.to_str().unwrap()]).ok();
}

/// Until when a point is locked in a location, as `points` says.
fn locked_until(cluster: &Cluster, point: &str, location: &str) -> Option<Timestamp> {
    let told = cluster.run(&["points"]).ok().object();
    let points = told["points"].as_array().unwrap();
    let point = points.iter().find(|row| row["id"] == point).unwrap();
    let places = point["locations"].as_array().unwrap();
    let place = places.iter().find(|place| place["name"] == location)?;
    Some(place["locked_until"].as_str()?.parse().unwrap())
}

fn alarms(cluster: &Cluster) -> Vec<Value> {
    let told = cluster.run(&["status"]).object();
    let alarms = told["alarms"].as_array().unwrap().iter();
    alarms.filter(|alarm| alarm["code"] == "location.lock_absent").cloned().collect()
}

fn now() -> Timestamp {
    SystemClock::start().now()
}

#[test]
fn what_is_locked_outlives_whoever_has_the_keys_of_the_coordinators() {
    let (bucket, disk) = (Ceph::shared().locking_bucket("locked"), Scratch::new());
    let main = format!("local:{}", disk.join("main").display());
    let cluster = Cluster::over(&bucket, &[("main", main)]);
    cluster.run(&["location", "add", "cloud", &url(&bucket), "--untested"]).ok();
    let (first, second) = (cluster.source("first", 1), cluster.source("second", 20));
    let early = cluster.backup(&first);
    lock(&cluster, "\"cloud\"", "{ class = \"compliance\", for = \"60s\" }");
    let of = |point: &str| {
        wait_until("it is locked", PATIENCE, || locked_until(&cluster, point, "cloud"))
    };
    let until = of(&early);
    // What comes later is locked as it comes, and everything anew when half of it is over.
    let late = cluster.backup(&second);
    of(&late);
    wait_until("the locks are made longer", PATIENCE, || {
        let is_longer = |point: &str| of(point) > until;
        (is_longer(&early) && is_longer(&late)).then_some(())
    });
    assert_eq!(locked_until(&cluster, &early, "main"), None, "a directory locks nothing");
    assert_eq!(alarms(&cluster), [0; 0].map(Value::from));
    let told = cluster.run(&["location", "list"]).ok().object();
    let places = told["locations"].as_array().unwrap();
    let main = places.iter().find(|place| place["name"] == "main").unwrap();
    assert_eq!(main["locks"][0]["problem"]["code"], "location.lock_absent", "{told}");

    let before = now();
    // Times of objects are told by the second.
    wait_until("a second is over", PATIENCE, || {
        (now().since(before) > Duration::from_secs(2)).then_some(())
    });
    let kept = bucket.ravage();
    for part in ["/vault/vault", "/keys/", "/packs/", "/points/", "/reach/"] {
        assert!(kept.iter().any(|key| key.contains(part)), "nothing of {part}: {kept:?}");
    }
    std::fs::remove_dir_all(disk.join("main")).unwrap();
    let kek = format!("file:{}", cluster.scratch.join("kek").display());
    let restore = |point: &str, from: &str, to: &str| {
        let to = cluster.scratch.join(to);
        let to = to.to_str().unwrap();
        cluster.alone(&["restore", point, "--to", to, "--from-location", from, "--kek", &kek])
    };
    assert_ne!(restore(&early, &url(&bucket), "now").code, 0, "it was ravaged");
    let at = format!("{}&at={before}", url(&bucket));
    for (point, source) in [(&early, &first), (&late, &second)] {
        restore(point, &at, point).ok();
        assert_same(source, &cluster.scratch.join(point), "as it was before");
    }
}

#[test]
fn where_nothing_can_be_locked_nothing_is_claimed_and_status_says_so() {
    let (bucket, disk) = (Ceph::shared().bucket("lockless"), Scratch::new());
    let main = format!("local:{}", disk.join("main").display());
    let cluster = Cluster::over(&bucket, &[("main", main)]);
    cluster.run(&["location", "add", "cloud", &url(&bucket), "--untested"]).ok();
    let point = cluster.backup(&cluster.source("source", 1));
    assert_eq!(alarms(&cluster), [0; 0].map(Value::from), "nobody wanted locks");
    lock(&cluster, "\"cloud\"", "{ class = \"governance\", for = \"30d\" }");
    wait_until("it is said of both places", PATIENCE, || {
        let told = cluster.run(&["location", "list"]).ok().object();
        let is_said =
            |place: &Value| place["locks"][0]["problem"]["code"] == "location.lock_absent";
        told["locations"].as_array().unwrap().iter().all(is_said).then_some(())
    });
    for place in ["main", "cloud"] {
        assert_eq!(locked_until(&cluster, &point, place), None, "{place}");
    }
    assert_eq!(alarms(&cluster).len(), 1);
    let told = cluster.run(&["status"]);
    assert_eq!(told.code, 1, "it is not protected as asked");
    lock(&cluster, "\"cloud\"", "{ class = \"governance\", for = \"60s\" }");
}

#[test]
fn a_point_is_not_said_to_be_locked_before_all_of_it_is() {
    let (bucket, disk) = (Ministack::shared().locking_bucket("partly"), Scratch::new());
    let main = format!("local:{}", disk.join("main").display());
    let cluster = Cluster::over(&bucket, &[("main", main)]);
    cluster.run(&["location", "add", "cloud", &url(&bucket)]).ok();
    let vault = cluster.scratch.join("plain.toml");
    let spec = "locations = { required = [\"main\"], following = [\"cloud\"] }";
    write(&vault, format!("kind = \"vault\"\nname = \"main\"\n[spec]\n{spec}\n"));
    cluster.run(&["apply", "-f", vault.to_str().unwrap()]).ok();
    let point = cluster.backup(&cluster.source("source", 1));
    wait_until("it lies in the bucket", PATIENCE, || {
        let told = cluster.run(&["points"]).ok().object();
        let found = told["points"][0]["locations"].as_array().unwrap().len();
        (found == 2).then_some(())
    });
    let keys = bucket.keys();
    let pack = keys.iter().find(|key| key.contains("/packs/")).unwrap();
    bucket.delete(pack);
    lock(&cluster, "\"cloud\"", "{ class = \"governance\", for = \"60s\" }");
    let said = wait_until("it is said how far locks are", PATIENCE, || {
        let told = cluster.run(&["location", "list"]).ok().object();
        let places = told["locations"].as_array().unwrap();
        let cloud = places.iter().find(|place| place["name"] == "cloud").unwrap();
        let lock = cloud["locks"][0].clone();
        (!lock["problem"].is_null() || !lock["until"].is_null()).then_some(lock)
    });
    assert_eq!(said["problem"]["code"], "location.copies_behind", "{said}");
    assert_eq!(locked_until(&cluster, &point, "cloud"), None);
    // What is missing keeps nothing else from being locked.
    let later = cluster.backup(&cluster.source("later", 40));
    wait_until("all that is there is locked", PATIENCE, || {
        let (kept, open) = (bucket.keys(), bucket.unlocked());
        let is_needed = |key: &String| {
            ["/packs/", "/points/", "/reach/", "/keys/"].iter().any(|part| key.contains(part))
        };
        let has_later = kept.iter().any(|key| key.ends_with(&format!("/reach/{later}")));
        (has_later && !open.iter().any(is_needed)).then_some(())
    });
    assert_eq!(locked_until(&cluster, &later, "cloud"), None, "not all of it up to there is");
    cluster.run(&["verify", "--all"]);
    for point in [&point, &later] {
        wait_until("it is locked", PATIENCE, || locked_until(&cluster, point, "cloud"));
    }
}

#[test]
fn terms_that_make_no_sense_are_refused() {
    let disk = Scratch::new();
    let bucket = Ceph::shared().bucket("terms");
    let main = format!("local:{}", disk.join("main").display());
    let cluster = Cluster::over(&bucket, &[("main", main)]);
    for terms in [
        "{ class = \"forever\", for = \"30d\" }",
        "{ class = \"compliance\", for = \"1s\" }",
        "{ class = \"compliance\", for = \"40000d\" }",
        "{ class = \"compliance\" }",
    ] {
        let vault = cluster.scratch.join("vault.toml");
        let spec = format!("locations = {{ required = [\"main\"] }}\nlock = {terms}");
        write(&vault, format!("kind = \"vault\"\nname = \"main\"\n[spec]\n{spec}\n"));
        let refused = cluster.run(&["apply", "-f", vault.to_str().unwrap()]);
        refused.fails(2, "resource.field_malformed");
    }
}
