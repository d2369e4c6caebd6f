//! `holdfast location …`: a place is tried before anything relies on it, and what is taken out of
//! use is neither written nor read.

use crate::{
    cluster::Cluster,
    harness::{Dev, Objects, Outcome, Scratch, Service, Tree, binary, noise, write},
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn local(path: &Path) -> String {
    format!("local:{}", path.display())
}

/// What `location list` says of one.
fn listed(told: &Value, name: &str) -> Value {
    let locations = told["locations"].as_array().unwrap();
    let found = locations.iter().find(|location| location["name"] == name);
    found.unwrap_or_else(|| panic!("`{name}` is listed: {told:#}")).clone()
}

/// Its checks by name; each is well formed.
fn checks(trial: &Value) -> Vec<(String, bool)> {
    let checks = trial["checks"].as_array().unwrap();
    let told = |check: &Value| {
        let ok = check["ok"].as_bool().unwrap();
        assert_eq!(check["code"].is_null(), ok, "a code says why: {check}");
        (check["name"].as_str().unwrap().to_owned(), ok)
    };
    checks.iter().map(told).collect()
}

#[test]
fn a_location_is_tried_declared_and_listed() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch.join("d"));
    let far = scratch.join("deep/far");
    let url = local(&far);
    let added = dev.json(&["location", "add", "far", &url, "--region", "west"]).ok().object();
    assert_eq!((&added["url"], &added["region"]), (&url.as_str().into(), &"west".into()));
    assert!(far.is_dir(), "it was made");

    let trial = dev.json(&["location", "test", "far"]).ok().object();
    let names = ["write", "read", "list", "delete", "create_only"];
    assert_eq!(checks(&trial), names.map(|name| (name.to_owned(), true)));
    for (field, value) in [
        ("location", Value::from("far")),
        ("url", url.as_str().into()),
        ("usable", true.into()),
        ("create_only", true.into()),
        ("object_lock", "off".into()),
        ("permissions_missing", Value::Array(Vec::new())),
        ("clock_skew_ms", Value::Null),
    ] {
        assert_eq!(trial[field], value, "{field}: {trial:#}");
    }
    assert!(trial["free_bytes"].as_u64().unwrap() > 0);
    assert!(trial["checks"][0]["ms"].is_u64(), "{trial:#}");
    let left = Objects::of(&far).below("");
    assert_eq!(left, [] as [PathBuf; 0], "nothing is left of what was tried");

    let told = dev.json(&["location", "list"]).ok().object();
    let (far, main) = (listed(&told, "far"), listed(&told, "main"));
    assert_eq!((&far["state"], &far["region"]), (&"enabled".into(), &"west".into()));
    assert_eq!(far["required_by"], Value::Array(Vec::new()));
    assert_eq!(main["required_by"], Value::Array(vec!["main".into()]));
    assert!(main["calls"].as_u64().unwrap() > far["calls"].as_u64().unwrap(), "{told:#}");
    assert!(far["free_bytes"].is_u64() && far["last_error"].is_null(), "{told:#}");

    let other = local(&scratch.join("other"));
    dev.json(&["location", "add", "far", &other]).fails(8, "resource.change_refused");
    dev.json(&["location", "add", "again", &url]).fails(4, "location.place_shared");
    let region = dev.json(&["location", "add", "here", &other]).ok().object()["region"].clone();
    assert_eq!(region, listed(&told, "main")["region"], "the asked member's own");
}

/// A disk that cannot be written, until the test is over.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn mount(at: PathBuf) -> Self {
        std::fs::create_dir(&at).unwrap();
        let options = ["-t", "tmpfs", "-o", "ro", "disk"];
        let mounted = Command::new("mount").args(options).arg(&at).status().unwrap();
        assert!(mounted.success(), "`make test` runs this as root");
        Self(at)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let gone = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(std::thread::panicking() || gone.unwrap().success());
    }
}

#[test]
fn a_place_that_cannot_be_used_is_refused_with_the_finding() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch.join("d"));
    let disk = ReadOnly::mount(scratch.join("disk"));
    let locked = local(&disk.0);
    let trial = dev.json(&["location", "test", "--url", &locked]).ends(4).object();
    assert_eq!(checks(&trial), [("write".to_owned(), false)]);
    assert_eq!(trial["checks"][0]["code"], "location.access_refused", "{trial:#}");
    assert_eq!(trial["permissions_missing"], Value::Array(vec!["write".into()]));
    assert_eq!((&trial["usable"], &trial["location"]), (&false.into(), &Value::Null));
    let noted = |dev: &Dev| {
        let audit = dev.run(&["audit", "list"]).ok();
        audit.text().matches(&format!("location.test: {locked}")).count()
    };
    assert_eq!(noted(&dev), 1, "who had a coordinator go there is known");
    let refused = dev.json(&["location", "add", "locked", &locked]).ends(4).error();
    assert_eq!(noted(&dev), 2);
    assert_eq!(refused["code"], "location.access_refused", "{refused}");
    assert!(refused["cause"].as_str().unwrap().contains("Read-only"), "{refused}");
    let told = dev.json(&["location", "list"]).ok().object();
    assert_eq!(told["locations"].as_array().unwrap().len(), 1, "it was not declared: {told:#}");
    dev.json(&["location", "add", "locked", &locked, "--untested"]).ok();

    let absent = scratch.join("absent");
    let trial = dev.json(&["location", "test", "--url", &local(&absent)]).ends(3).object();
    assert_eq!(checks(&trial), [("open".to_owned(), false)]);
    assert!(!absent.exists(), "a test makes nothing");
    dev.json(&["location", "test", "absent"]).fails(3, "location.name_unknown");
    dev.json(&["location", "test", "--url", "ftp:there"]).fails(2, "usage.argument_malformed");
}

/// A cluster whose vault requires `first` and `second`, and one point of a source.
struct Scene {
    cluster: Cluster,
    agent: Service,
    source: PathBuf,
    point: String,
}

impl Scene {
    fn new() -> Self {
        let cluster = Cluster::start_in(Scratch::new(), &["first", "second"]);
        let agent = cluster.agent("host");
        let source = cluster.scratch.join("source");
        write(&source.join("file"), noise(1, 900_000));
        let mut scene = Self { cluster, agent, source, point: String::new() };
        scene.point = scene.backup();
        scene
    }

    fn place(&self, name: &str) -> PathBuf {
        self.cluster.scratch.join(name)
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        self.cluster.run(arguments)
    }

    fn backup(&self) -> String {
        let told = self.run(&["backup", "--path", text(&self.source)]).ok().object();
        told["point"].as_str().unwrap().to_owned()
    }

    fn restore(&self, to: &str) -> Outcome {
        self.run(&["restore", &self.point, "--to", text(&self.cluster.scratch.join(to))])
    }

    fn insist_on_restored(&self, to: &str) {
        let back = self.cluster.scratch.join(to).join(self.source.strip_prefix("/").unwrap());
        Tree::of(&self.source).assert_same(&Tree::of(&back), to);
    }

    /// The names of all objects of a location.
    fn names(&self, place: &str) -> BTreeSet<String> {
        let objects = Objects::of(&self.place(place));
        let found = objects.below("");
        let names = found.iter().map(|path| objects.name(path));
        names.filter(|name| !name.starts_with("tmp/")).collect()
    }
}

#[test]
fn a_disabled_location_stops_backups_and_is_neither_written_nor_read() {
    let scene = Scene::new();
    scene.run(&["location", "disable", "first"]).fails(4, "confirm.answer_missing");
    let told = scene.run(&["location", "disable", "first", "--yes"]).ok().object();
    assert_eq!(told["required_by"], Value::Array(vec!["main".into()]), "{told:#}");
    let before = scene.names("first");
    let refused = scene.run(&["backup", "--path", text(&scene.source)]).ends(4).error();
    assert_eq!(refused["code"], "location.use_disabled", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("`first`"), "{refused}");
    let status = scene.run(&["status"]).ends(1).object();
    let alarms = status["alarms"].as_array().unwrap();
    let alarm = alarms.iter().find(|alarm| alarm["code"] == "location.use_disabled");
    assert!(alarm.is_some_and(|alarm| alarm["since"].is_string()), "{status:#}");

    // The log goes on to the other one, and what is there is read and verified.
    let begun = Instant::now();
    scene.run(&["agent", "token"]).ok();
    assert!(begun.elapsed() < Duration::from_secs(3), "nobody waits for it");
    assert_eq!(scene.names("first"), before, "nothing was written");
    assert!(scene.names("second").len() > before.len());
    std::fs::rename(scene.place("first"), scene.place("aside")).unwrap();
    scene.restore("one").ok();
    scene.insist_on_restored("one");
    scene.run(&["verify", "--all", "--level", "storage"]).ok();
    std::fs::rename(scene.place("aside"), scene.place("first")).unwrap();

    // Although it has all that the other one lost.
    let packs = scene.place("second/packs");
    std::fs::rename(&packs, scene.place("packs")).unwrap();
    scene.restore("two").ends(7);
    scene.run(&["location", "enable", "first"]).ok();
    scene.restore("three").ok();
    scene.insist_on_restored("three");
    std::fs::rename(scene.place("packs"), packs).unwrap();
    drop(scene.agent);
}

#[test]
fn a_location_that_is_enabled_is_brought_what_it_lacks_and_takes_backups_again() {
    let scene = Scene::new();
    scene.run(&["location", "disable", "first", "--yes"]).ok();
    for _ in 0..3 {
        scene.run(&["agent", "token"]).ok();
    }
    let missed: Vec<String> =
        scene.names("second").difference(&scene.names("first")).cloned().collect();
    assert!(missed.iter().any(|name| name.starts_with("cluster/log/")), "{missed:?}");

    // The wrong disk, or none, is not put to use.
    std::fs::rename(scene.place("first"), scene.place("aside")).unwrap();
    std::fs::create_dir(scene.place("first")).unwrap();
    scene.run(&["location", "enable", "first"]).fails(4, "location.vault_absent");
    std::fs::remove_dir_all(scene.place("first")).unwrap();
    std::fs::rename(scene.place("aside"), scene.place("first")).unwrap();

    let told = scene.run(&["location", "enable", "first"]).ok().object();
    assert_eq!((&told["state"], &told["changed"]), (&"enabled".into(), &true.into()));
    assert!(told["objects"].as_u64().unwrap() >= missed.len() as u64, "{told}");
    let there = scene.names("first");
    assert!(missed.iter().all(|name| there.contains(name)), "{missed:?}");
    write(&scene.source.join("file"), noise(2, 900_000));
    scene.backup();
    let packs = |place: &str| {
        let names = scene.names(place).into_iter();
        names.filter(|name| !name.starts_with("cluster/")).collect::<Vec<_>>()
    };
    assert_eq!(packs("first"), packs("second"));
    let again = scene.run(&["location", "enable", "first"]).ok().object();
    assert_eq!(again["changed"], false, "{again}");
    drop(scene.agent);
}

#[test]
fn a_location_that_moved_is_replaced_by_what_holds_its_vaults_and_by_nothing_else() {
    let mut scene = Scene::new();
    let (empty, copy) = (scene.place("empty"), scene.place("copy"));
    std::fs::create_dir(&empty).unwrap();
    let to = |place: &Path| scene.run(&["location", "replace", "second", &local(place)]);
    to(&empty).fails(4, "location.vault_absent");
    to(&scene.place("absent")).fails(3, "file.path_missing");
    to(&scene.place("first")).fails(4, "location.place_shared");
    let other = Dev::start(&scene.place("d"));
    to(&scene.place("d/location")).fails(4, "vault.id_foreign");
    drop(other);
    assert!(Objects::of(&empty).below("").is_empty(), "it was not touched");
    let told = scene.run(&["location", "list"]).ok().object();
    let url = listed(&told, "second")["url"].clone();
    assert_eq!(url, local(&scene.place("second")).as_str(), "nothing was changed");

    let copied = Command::new("cp").arg("-a").arg(scene.place("second")).arg(&copy).status();
    assert!(copied.unwrap().success());
    let told = to(&copy).ok().object();
    assert_eq!(told["url"], local(&copy).as_str(), "{told:#}");
    assert_eq!(told["old_url"], local(&scene.place("second")).as_str(), "{told:#}");
    assert_eq!(told["vaults"], Value::Array(vec!["main".into()]), "{told:#}");
    assert!(told["next"].as_str().unwrap().contains("verify --all"), "{told:#}");
    // From here on the copy is the location, and the old place is nobody's.
    let before = scene.names("second");
    std::fs::rename(scene.place("first"), scene.place("aside")).unwrap();
    scene.restore("one").ok();
    scene.insist_on_restored("one");
    std::fs::rename(scene.place("aside"), scene.place("first")).unwrap();
    write(&scene.source.join("file"), noise(2, 900_000));
    scene.point = scene.backup();
    assert_eq!(scene.names("second"), before, "the old place is not touched");
    assert!(scene.names("copy").len() > before.len());
    scene.run(&["verify", "--all", "--level", "storage"]).ok();
    drop(scene.agent);
}

#[test]
fn a_place_that_cannot_be_read_is_left_only_when_somebody_says_that_it_is_gone() {
    let scene = Scene::new();
    let (second, copy) = (scene.place("second"), scene.place("copy"));
    let copied = Command::new("cp").arg("-a").arg(&second).arg(&copy).status();
    assert!(copied.unwrap().success());
    let replace = |flags: &[&str]| {
        scene.run(&[&["location", "replace", "second", &local(&copy)], flags].concat())
    };
    // Whoever is wrong about that would lose what only the old place has.
    let refused = replace(&["--old-is-gone"]).ends(4).error();
    assert_eq!(refused["code"], "location.place_readable", "{refused}");
    assert!(refused["next"].to_string().contains("leave --old-is-gone out"), "{refused}");
    // It is not mounted, for a moment; then it is not even there.
    for (from, aside) in [(second.join("vault"), "vault"), (second.clone(), "aside")] {
        std::fs::rename(&from, scene.place(aside)).unwrap();
        let refused = replace(&[]).ends(4).error();
        assert_eq!(refused["code"], "location.vault_absent", "{refused}");
        assert!(refused["message"].to_string().contains(&local(&second)), "{refused}");
        assert!(refused["next"].to_string().contains("--old-is-gone"), "{refused}");
        let told = scene.run(&["location", "list"]).ok().object();
        assert_eq!(listed(&told, "second")["url"], local(&second).as_str(), "it lies there still");
        if aside == "vault" {
            std::fs::rename(scene.place(aside), from).unwrap();
        }
    }
    let told = replace(&["--old-is-gone"]).ok().object();
    assert_eq!(told["url"], local(&copy).as_str(), "{told:#}");
    replace(&["--old-is-gone"]).ok();
    write(&scene.source.join("file"), noise(2, 900_000));
    scene.backup();
    scene.run(&["verify", "--all", "--level", "storage"]).ok();
    drop(scene.agent);
}

#[test]
fn a_location_is_removed_when_no_vault_requires_it_and_its_objects_stay() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch.join("d"));
    let far = scratch.join("far");
    dev.json(&["location", "add", "far", &local(&far)]).ok();
    write(&far.join("kept"), "somebody's");
    dev.json(&["location", "remove", "main", "--yes"]).fails(8, "resource.change_refused");
    dev.json(&["location", "remove", "far"]).fails(4, "confirm.answer_missing");
    dev.json(&["location", "remove", "far", "--yes"]).ok();
    dev.json(&["location", "remove", "far", "--yes"]).fails(3, "resource.name_unknown");
    assert_eq!(std::fs::read_to_string(far.join("kept")).unwrap(), "somebody's");
    let told = dev.json(&["location", "list"]).ok().object();
    assert_eq!(told["locations"].as_array().unwrap().len(), 1, "{told:#}");
    let audit = dev.run(&["audit", "list"]).ok();
    assert!(audit.text().contains("location/far"), "{}", audit.text());
}

#[test]
fn a_location_without_its_vaults_own_object_does_not_look_healthy() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch.join("d"));
    let listed = |name: &str| listed(&dev.json(&["location", "list"]).ok().object(), name);
    let main = listed("main");
    let root = PathBuf::from(main["url"].as_str().unwrap().strip_prefix("local:").unwrap());
    assert_eq!(main["answers"], Value::Bool(true));
    std::fs::rename(root.join("vault"), scratch.join("aside")).unwrap();
    let lost = listed("main");
    assert_eq!(lost["answers"], Value::Bool(false), "{lost:#}");
    assert_eq!(lost["last_error"]["code"], "location.vault_absent", "{lost:#}");
    std::fs::rename(scratch.join("aside"), root.join("vault")).unwrap();
    assert_eq!(listed("main")["answers"], Value::Bool(true));
}

#[test]
fn a_location_that_hangs_does_not_hang_the_list() {
    let scratch = Scratch::new();
    // The kernel takes calls for it, and nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = scratch.join("d");
    let mut command = Command::new(binary());
    command.args(["dev", "--dir", text(&dir)]).env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "secret");
    let service = Service::start_command(&mut command, &scratch.join("d.log"));
    service.line();
    let dev = Dev { dir, service };
    let endpoint = silent.local_addr().unwrap();
    let url = format!("s3:bucket/vault?endpoint=http://{endpoint}&path_style=true&region=eu");
    dev.json(&["location", "add", "hung", &url, "--untested"]).ok();
    let begun = Instant::now();
    let told = dev.json(&["location", "list"]).ok().object();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let (hung, main) = (listed(&told, "hung"), listed(&told, "main"));
    assert_eq!((&hung["answers"], &main["answers"]), (&false.into(), &true.into()), "{told:#}");
    assert_eq!(hung["last_error"]["code"], "location.io_failed", "{told:#}");
    assert!(hung["last_error"]["time"].is_string(), "{told:#}");
    let shown = dev.run(&["location", "list"]).ok();
    assert!(shown.text().contains("does not answer"), "{}", shown.text());
}
