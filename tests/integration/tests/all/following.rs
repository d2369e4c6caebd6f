//! Locations that follow a vault: they are brought everything a moment later, whatever happens in
//! between, and whoever has only one of them restores from it. A required location that is away is
//! waited for, or passed over where the vault says so; it is required again when it has everything.

use crate::harness::{
    Dev, Objects, Outcome, Scratch, Tree, holdfast, kills, noise, wait_until, write,
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A `dev` whose vault lies in `main`, and a further location, `far`.
pub(crate) struct Scene {
    pub(crate) scratch: Scratch,
    pub(crate) dev: Dev,
    pub(crate) source: PathBuf,
    pub(crate) far: PathBuf,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let scratch = Scratch::new();
        let dev = Dev::start(&scratch.join("d"));
        let (source, far) = (scratch.join("source"), scratch.join("far"));
        write(&source.join("small"), "a few words");
        write(&source.join("large"), noise(1, 3_000_000));
        let url = format!("local:{}", far.display());
        dev.json(&["location", "add", "far", &url]).ok();
        Self { scratch, dev, source, far }
    }

    pub(crate) fn declare(&self, locations: &str) -> Outcome {
        let file = self.scratch.join("vault.toml");
        let spec = format!("[spec]\nlocations = {{ {locations} }}\n");
        write(&file, format!("kind = \"vault\"\nname = \"main\"\n{spec}"));
        self.dev.json(&["apply", "-f", file.to_str().unwrap()])
    }

    pub(crate) fn backup(&self, seed: u64) -> String {
        write(&self.source.join(format!("more-{seed}")), noise(seed, 1_500_000));
        self.dev.backup(&self.source)
    }

    /// What is said of the copies of a location; null when it lacks nothing that it must have.
    pub(crate) fn copies(&self, location: &str) -> Value {
        let told = self.dev.json(&["location", "list"]).ok().object();
        let locations = told["locations"].as_array().unwrap().clone();
        let found = locations.iter().find(|row| row["name"] == location).unwrap();
        found["copies"][0].clone()
    }

    pub(crate) fn wait_for(&self, location: &str, state: &str) -> Value {
        wait_until(&format!("{location} is {state}"), PATIENCE, || {
            Some(self.copies(location)).filter(|copies| copies["state"] == state)
        })
    }

    /// The locations that are confirmed to hold a point.
    pub(crate) fn holding(&self, point: &str) -> Vec<String> {
        let told = self.dev.json(&["points"]).ok().object();
        let points = told["points"].as_array().unwrap().clone();
        let found = points.iter().find(|row| row["id"] == point).unwrap();
        let confirmed = found["locations"].as_array().unwrap().iter();
        let confirmed = confirmed.filter(|location| location["confirmed"] == true);
        confirmed.map(|location| location["name"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn wait_until_held(&self, point: &str, locations: &[&str]) {
        wait_until(&format!("{point} lies in {locations:?}"), PATIENCE, || {
            (self.holding(point) == locations).then_some(())
        });
    }

    pub(crate) fn alarms(&self) -> Vec<String> {
        let told = self.dev.json(&["status"]).object();
        let alarms = told["alarms"].as_array().unwrap();
        alarms.iter().map(|alarm| alarm["code"].as_str().unwrap().to_owned()).collect()
    }

    /// Restores from one directory alone, without any cluster.
    pub(crate) fn restore_from(&self, location: &Path, point: &str) {
        let to = self.scratch.join("restored");
        if to.exists() {
            fs::remove_dir_all(&to).unwrap();
        }
        let url = format!("local:{}", location.display());
        let kek = format!("file:{}", self.dev.dir.join("kek").display());
        let arguments = ["restore", point, "--to", to.to_str().unwrap()];
        let from = ["--from-location", &url, "--kek", &kek];
        holdfast(None, &[&["--output", "json"], &arguments[..], &from].concat()).ok();
        let there = to.join(self.source.strip_prefix("/").unwrap());
        Tree::of(&self.source).assert_same(&Tree::of(&there), "from that location alone");
    }

    pub(crate) fn restart(&mut self) {
        self.dev.service.kill_in_place();
        self.dev = Dev::start(&self.dev.dir);
    }
}

/// What a location has beside the ledger's log, which grows while one looks.
fn held(location: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for prefix in ["vault", "keys", "packs", "points", "reach"] {
        found.extend(Objects::of(location).below(prefix));
    }
    let names = found.iter().map(|path| path.strip_prefix(location).unwrap().to_owned());
    names.collect()
}

#[test]
fn a_location_that_follows_is_brought_everything_and_is_enough_by_itself() {
    let scene = Scene::new();
    let before = scene.dev.backup(&scene.source);
    scene.declare(r#"required = ["main"], following = ["far"]"#).ok();
    let same = scene.declare(r#"required = ["main"], following = ["far"]"#).ok().object();
    assert_eq!(same["resources"][0]["result"], "unchanged", "{same:#}");
    scene.wait_until_held(&before, &["main", "far"]);
    let point = scene.backup(7);
    assert_eq!(scene.holding(&point)[0], "main", "nobody waited for `far`");
    scene.wait_until_held(&point, &["main", "far"]);
    let copies = scene.wait_for("far", "current");
    assert_eq!((&copies["role"], &copies["vault"]), (&"follows".into(), &"main".into()));
    assert_eq!((&copies["lag_ms"], &copies["lag_bytes"]), (&0.into(), &0.into()));
    assert!(copies["whole"].is_string() && copies["problem"].is_null(), "{copies:#}");
    assert_eq!(held(&scene.far), held(&scene.dev.dir.join("location")));
    scene.dev.json(&["verify", "--all", "--level", "storage"]).ok();
    let ledgers_log = || (!Objects::of(&scene.far).below("cluster/log").is_empty()).then_some(());
    wait_until("the ledger's log lies there too", PATIENCE, ledgers_log);
    scene.dev.json(&["location", "remove", "far", "--yes"]).fails(8, "resource.change_refused");
    let mut scene = scene;
    fs::remove_dir_all(scene.dev.dir.join("location")).unwrap();
    scene.restore_from(&scene.far, &point);
    // And by the cluster, which has lost what it requires; its index too is read from there.
    fs::remove_dir_all(scene.dev.dir.join("data/index")).unwrap();
    scene.restart();
    let to = scene.scratch.join("again");
    let restored = scene.dev.json(&["restore", &point, "--to", to.to_str().unwrap()]).ok().object();
    assert_eq!(restored["skipped"], Value::Array(Vec::new()));
}

#[test]
fn one_that_is_away_is_told_of_and_catches_up_and_no_backup_waits_for_it() {
    let scene = Scene::new();
    scene.declare(r#"required = ["main"], following = ["far"]"#).ok();
    scene.wait_for("far", "current");
    // What is mounted there goes away.
    let away = scene.scratch.join("away");
    fs::rename(scene.far.join("vault"), &away).unwrap();
    let points = [3, 4].map(|seed| scene.backup(seed));
    let copies = wait_until("both points are missed", PATIENCE, || {
        let copies = scene.wait_for("far", "away");
        (copies["lag_points"] == 2).then_some(copies)
    });
    assert_eq!(copies["problem"]["code"], "location.vault_absent", "{copies:#}");
    assert!(copies["lag_ms"].as_u64().unwrap() > 0, "{copies:#}");
    assert_eq!(scene.holding(&points[1]), ["main"]);
    assert_eq!(scene.alarms(), ["location.copies_behind"]);
    assert_eq!(scene.dev.json(&["status"]).code, 1);
    // Nothing there is damaged, since nothing is said to lie there.
    scene.dev.json(&["verify", "--all", "--level", "structure"]).ok();
    fs::rename(&away, scene.far.join("vault")).unwrap();
    for point in &points {
        scene.wait_until_held(point, &["main", "far"]);
    }
    scene.wait_for("far", "current");
    assert_eq!(scene.alarms(), [""; 0]);
    scene.restore_from(&scene.far, &points[1]);
}

#[test]
fn a_slow_line_is_told_of_and_copies_go_on_where_they_were_after_any_kill() {
    let mut scene = Scene::new();
    let slow = r#"required = ["main"], following = ["far"], copy_bytes_per_second_max = 400000"#;
    scene.declare(slow).ok();
    let point = scene.backup(5);
    let behind = wait_until("it is seen to be behind", PATIENCE, || {
        let copies = scene.copies("far");
        (copies["lag_points"] == 1).then_some(copies)
    });
    assert!(behind["lag_bytes"].as_u64().unwrap() > 0, "{behind:#}");
    scene.dev.json(&["verify", "--all", "--level", "storage"]).ok();
    assert_eq!(scene.holding(&point), ["main"]);
    for _ in 0..kills(3) {
        let there = held(&scene.far).len();
        let further = || (held(&scene.far).len() > there).then_some(());
        let done = || (scene.holding(&point).len() == 2).then_some(());
        wait_until("one more object is there", PATIENCE, || further().or_else(done));
        scene.restart();
    }
    scene.declare(r#"required = ["main"], following = ["far"]"#).ok();
    let last = scene.backup(6);
    for point in [&point, &last] {
        scene.wait_until_held(point, &["main", "far"]);
    }
    scene.wait_for("far", "current");
    scene.restore_from(&scene.far, &last);
}

#[test]
fn damage_in_a_location_that_follows_is_found_and_healed_and_heals_others() {
    let scene = Scene::new();
    scene.declare(r#"required = ["main"], following = ["far"]"#).ok();
    let point = scene.backup(9);
    scene.wait_until_held(&point, &["main", "far"]);
    let packs = Objects::of(&scene.far).below("packs");
    fs::remove_file(&packs[0]).unwrap();
    let verify = ["verify", "--all", "--level", "storage"];
    let found = scene.dev.json(&verify).ends(7).object();
    let damaged = &found["damaged"][0];
    assert_eq!((&damaged["location"], &damaged["problem"]), (&"far".into(), &"missing".into()));
    assert_eq!(damaged["healed_from"], "main", "{found:#}");
    assert!(packs[0].exists());
    // The only whole copy is the one that follows.
    let own = Objects::of(&scene.dev.dir.join("location")).below("packs");
    fs::write(&own[0], "nothing of it").unwrap();
    let found = scene.dev.json(&verify).ends(7).object();
    assert_eq!(found["damaged"][0]["healed_from"], "far", "{found:#}");
    scene.dev.json(&verify).ok();
}

#[test]
fn a_location_that_lost_everything_is_filled_again() {
    let mut scene = Scene::new();
    scene.declare(r#"required = ["main"], following = ["far"]"#).ok();
    let point = scene.backup(2);
    scene.wait_until_held(&point, &["main", "far"]);
    fs::remove_dir_all(&scene.far).unwrap();
    scene.restart();
    scene.wait_for("far", "away");
    scene.dev.json(&["location", "rebuild", "far"]).fails(4, "confirm.answer_missing");
    let told = scene.dev.json(&["location", "rebuild", "far", "--yes"]).ok().object();
    assert_eq!(told["vaults"], Value::Array(vec!["main".into()]));
    scene.wait_for("far", "current");
    assert_eq!(scene.holding(&point), ["main", "far"]);
    scene.restore_from(&scene.far, &point);
    // The one that is required, from the one that follows.
    let main = scene.dev.dir.join("location");
    for entry in fs::read_dir(&main).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
    }
    scene.dev.json(&["location", "rebuild", "main", "--yes"]).ok();
    wait_until("`main` lacks nothing", PATIENCE, || scene.copies("main").is_null().then_some(()));
    scene.restore_from(&main, &point);
    scene.dev.json(&["verify", "--all", "--level", "storage"]).ok();
    let next = scene.backup(8);
    scene.wait_until_held(&next, &["main", "far"]);
    // Somebody else's things are not taken for an empty place.
    fs::remove_dir_all(&scene.far).unwrap();
    write(&scene.far.join("points").join("00".repeat(16)), "another vault's");
    let refused = scene.dev.json(&["location", "rebuild", "far", "--yes"]);
    refused.fails(8, "object.name_taken");
}

#[test]
fn the_only_required_location_is_gone_for_good_and_another_place_takes_its_name() {
    let mut scene = Scene::new();
    scene.declare(r#"required = ["main"], following = ["far"]"#).ok();
    let point = scene.backup(2);
    scene.wait_until_held(&point, &["main", "far"]);
    fs::remove_dir_all(scene.dev.dir.join("location")).unwrap();
    scene.restart();
    let new = scene.scratch.join("new");
    let url = format!("local:{}", new.display());
    let replace =
        |flags: &[&str]| scene.dev.json(&[&["location", "replace", "main", &url], flags].concat());
    replace(&["--empty"]).fails(4, "location.vault_absent");
    assert!(!new.exists(), "nothing was made");
    replace(&["--old-is-gone"]).fails(3, "file.path_missing");
    replace(&["--old-is-gone", "--empty"]).ok();
    wait_until("`main` lacks nothing", PATIENCE, || scene.copies("main").is_null().then_some(()));
    scene.restore_from(&new, &point);
    let next = scene.backup(8);
    scene.wait_until_held(&next, &["main", "far"]);
    // What of the ledger's log was not copied yet is gone: a new snapshot makes up for it.
    wait_until("all is well", PATIENCE, || {
        let told = scene.dev.json(&["verify", "--all", "--level", "storage"]);
        for row in told.object()["damaged"].as_array().unwrap() {
            assert!(row["object"].to_string().contains("cluster/log/"), "{row}");
        }
        (told.code == 0).then_some(())
    });
}

#[test]
fn what_was_lost_with_the_only_required_location_is_found_out_and_backups_do_not_rest_on_it() {
    let mut scene = Scene::new();
    scene.declare(r#"required = ["main"], following = ["far"]"#).ok();
    let kept = scene.backup(2);
    let large = scene.scratch.join("large");
    scene.wait_until_held(&kept, &["main", "far"]);
    // `far` is away while more is stored, and then that is all there is.
    let vault = scene.scratch.join("vault");
    fs::rename(scene.far.join("vault"), &vault).unwrap();
    write(&large, noise(77, 2_000_000));
    fs::copy(&large, scene.source.join("lost-with-main")).unwrap();
    let lost = scene.dev.backup(&scene.source);
    scene.wait_for("far", "away");
    fs::remove_dir_all(scene.dev.dir.join("location")).unwrap();
    fs::rename(&vault, scene.far.join("vault")).unwrap();
    scene.restart();
    let url = format!("local:{}", scene.scratch.join("new").display());
    let gone = ["--empty", "--old-is-gone"];
    scene.dev.json(&[&["location", "replace", "main", &url], &gone[..]].concat()).ok();
    wait_until("`main` has what there is", PATIENCE, || {
        scene.copies("main").is_null().then_some(())
    });
    assert_eq!(scene.holding(&kept), ["main", "far"]);
    let told = scene.dev.json(&["verify", "--all", "--level", "storage"]).ends(7).object();
    assert!(told["damaged"].to_string().contains(&lost), "{told:#}");
    wait_until("`main` has what there is", PATIENCE, || {
        scene.copies("main").is_null().then_some(())
    });
    // What was lost is sent again.
    let next = scene.dev.backup(&scene.source);
    scene.wait_until_held(&next, &["main", "far"]);
    scene.restore_from(&scene.far, &next);
    scene.restore_from(&scene.scratch.join("new"), &next);
}

#[test]
fn one_that_was_dropped_and_emptied_confirms_nothing_when_it_follows_again() {
    let scene = Scene::new();
    scene.declare(r#"required = ["main"], following = ["far"]"#).ok();
    let point = scene.backup(2);
    scene.wait_until_held(&point, &["main", "far"]);
    scene.declare(r#"required = ["main"]"#).ok();
    assert_eq!(scene.holding(&point), ["main"]);
    for entry in fs::read_dir(&scene.far).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
    }
    let slow = r#"required = ["main"], following = ["far"], copy_bytes_per_second_max = 300000"#;
    scene.declare(slow).ok();
    assert_eq!(scene.holding(&point), ["main"], "not one byte is there");
    scene.dev.json(&["verify", "--all", "--level", "structure"]).ok();
    // A bound that is lifted is lifted for what is on its way.
    scene.declare(r#"required = ["main"], following = ["far"]"#).ok();
    scene.wait_until_held(&point, &["main", "far"]);
    scene.restore_from(&scene.far, &point);
}

#[test]
fn what_no_other_location_could_show_is_missing_all_the_same() {
    let mut scene = Scene::new();
    let third = scene.scratch.join("third");
    scene.dev.json(&["location", "add", "third", &format!("local:{}", third.display())]).ok();
    scene.declare(r#"required = ["main"], following = ["far", "third"]"#).ok();
    scene.wait_for("far", "current");
    scene.wait_for("third", "current");
    // `third` misses a point, and is then the only one that can be read.
    let away = scene.scratch.join("away");
    fs::rename(third.join("vault"), &away).unwrap();
    let point = scene.backup(5);
    scene.wait_until_held(&point, &["main", "far"]);
    scene.wait_for("third", "away");
    let hidden = [scene.dev.dir.join("location/vault"), scene.far.join("vault")];
    let put_by = [scene.scratch.join("by-main"), scene.scratch.join("by-far")];
    for (from, to) in hidden.iter().zip(&put_by) {
        fs::rename(from, to).unwrap();
    }
    fs::rename(&away, third.join("vault")).unwrap();
    scene.restart();
    let copies = scene.wait_for("third", "away");
    assert_eq!(scene.holding(&point), ["main", "far"], "{copies:#}");
    fs::rename(&put_by[1], &hidden[1]).unwrap();
    scene.wait_until_held(&point, &["main", "far", "third"]);
    fs::rename(&put_by[0], &hidden[0]).unwrap();
    scene.restore_from(&third, &point);
}

#[test]
fn a_location_becomes_required_only_when_it_lacks_nothing() {
    let scene = Scene::new();
    let before = scene.dev.backup(&scene.source);
    let both = r#"required = ["main", "far"]"#;
    scene.declare(both).fails(8, "resource.change_refused");
    assert_eq!(held(&scene.far), [] as [PathBuf; 0], "nothing was written");
    scene.declare(r#"required = ["main"], following = ["far"]"#).ok();
    scene.wait_for("far", "current");
    scene.declare(both).ok();
    let point = scene.backup(4);
    assert_eq!(scene.holding(&point), ["main", "far"], "from the moment of its commit");
    assert_eq!(scene.holding(&before), ["main", "far"]);
    wait_until("it lacks nothing", PATIENCE, || scene.copies("far").is_null().then_some(()));
    assert_eq!(scene.alarms(), [""; 0]);
    scene.restore_from(&scene.far, &point);
    scene.restore_from(&scene.dev.dir.join("location"), &point);
}

/// The vault requires both, and `far` is away.
fn without_far(locations: &str) -> Scene {
    let mut scene = Scene::new();
    scene.declare(r#"required = ["main"], following = ["far"]"#).ok();
    scene.wait_for("far", "current");
    scene.declare(locations).ok();
    wait_until("it lacks nothing", PATIENCE, || scene.copies("far").is_null().then_some(()));
    scene.backup(1);
    fs::rename(&scene.far, scene.scratch.join("away")).unwrap();
    scene.restart();
    scene
}

#[test]
fn a_required_location_that_is_away_fails_the_backup_unless_the_vault_may_go_on() {
    let scene = without_far(r#"required = ["main", "far"]"#);
    let backup = ["backup", "--path", scene.source.to_str().unwrap()];
    scene.dev.json(&backup).fails(4, "location.vault_absent");
    assert_eq!(scene.copies("far"), Value::Null, "it stays required");
}

#[test]
fn a_backup_waits_for_a_required_location_as_long_as_the_vault_says() {
    let scene = without_far(r#"required = ["main", "far"], wait_secs = 90"#);
    let main = scene.dev.dir.join("location");
    let before = held(&main).len();
    let backup = std::thread::scope(|scope| {
        let backup = scope.spawn(|| scene.backup(3));
        // Whoever puts has found the other one away by then.
        wait_until("one location has it", PATIENCE, || (held(&main).len() > before).then_some(()));
        fs::rename(scene.scratch.join("away"), &scene.far).unwrap();
        backup.join().unwrap()
    });
    assert_eq!(scene.holding(&backup), ["main", "far"]);
}

#[test]
fn a_vault_goes_on_without_one_that_is_away_and_requires_it_again_when_it_has_everything() {
    let scene = without_far(r#"required = ["main", "far"], enough = 1"#);
    // Too small for a pack of its own: the location is found away when the point itself is put.
    write(&scene.source.join("tiny"), "a few more words");
    let alone = scene.dev.backup(&scene.source);
    assert_eq!(scene.holding(&alone), ["main"]);
    assert!(scene.alarms().contains(&"location.passed_over".to_owned()), "{:?}", scene.alarms());
    assert_eq!(scene.copies("far")["role"], "returns");
    let shown = scene.dev.json(&["get", "vault", "main"]).ok().object();
    let required = &shown["resources"][0]["spec"]["locations"]["required"];
    assert_eq!(required, &Value::Array(vec!["main".into(), "far".into()]), "as it was declared");
    fs::rename(scene.scratch.join("away"), &scene.far).unwrap();
    scene.wait_until_held(&alone, &["main", "far"]);
    wait_until("it is required again", PATIENCE, || scene.copies("far").is_null().then_some(()));
    assert_eq!(scene.alarms(), [""; 0]);
    let both = scene.backup(4);
    assert_eq!(scene.holding(&both), ["main", "far"]);
    scene.restore_from(&scene.far, &both);
}

#[test]
fn what_makes_no_sense_is_refused_and_says_why() {
    let scene = Scene::new();
    let malformed = "resource.field_malformed";
    scene.declare(r#"required = ["main"], following = ["main"]"#).fails(2, malformed);
    scene.declare(r#"required = ["main"], following = ["far"], enough = 2"#).fails(2, malformed);
    let unknown = scene.declare(r#"required = ["main"], following = ["nowhere"]"#);
    unknown.fails(3, "location.name_unknown");
    assert_eq!(held(&scene.far), [] as [PathBuf; 0], "nothing was written");
}
