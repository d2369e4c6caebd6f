//! What no point needs goes, a day after it was given up, and nothing else: not while a backup runs
//! through it, and whoever is killed.

use crate::{
    clock::Clocked,
    harness::{
        Chance, Objects, Outcome, Scratch, Service, Tree, holdfast, kills, noise, wait_until, write,
    },
    retaining,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

pub const PATIENCE: Duration = Duration::from_secs(120);
const KILLS: u64 = 6;
const SEED_USUAL: u64 = 0xC011EC7;
const RULES: &str = "retention = { last = 1, protect_for = \"0s\" }";

/// A coordinator and an agent in one process, whose wall clock the test sets.
pub struct Scene {
    pub scratch: Scratch,
    pub clocked: Clocked,
    dev: Option<Service>,
    hours: u64,
}

impl Scene {
    pub fn start() -> Self {
        let scratch = Scratch::new();
        let clocked = Clocked::new(scratch.join("clock"));
        clocked.set("+0");
        let mut scene = Self { scratch, clocked, dev: None, hours: 0 };
        scene.start_dev();
        scene.keep_last(&scene.source());
        scene
    }

    pub fn start_dev(&mut self) {
        let dir = self.scratch.join("d");
        let mut command = self.clocked.command(&["dev", "--dir", dir.to_str().unwrap()]);
        let service = Service::start_command(&mut command, &self.scratch.join("dev.log"));
        service.line();
        self.dev = Some(service);
    }

    pub fn kill_dev(&mut self) {
        self.dev.take().unwrap().kill();
    }

    pub fn source(&self) -> PathBuf {
        self.scratch.join("source")
    }

    /// The policy `docs`, which keeps its newest point.
    pub fn keep_last(&self, source: &Path) {
        let file = self.scratch.join("docs.toml");
        write(&file, retaining::policy("local", source, RULES));
        self.run(&["apply", "-f", file.to_str().unwrap()]).ok();
    }

    pub fn context(&self) -> PathBuf {
        self.scratch.join("d/operator.toml")
    }

    pub fn run(&self, arguments: &[&str]) -> Outcome {
        self.clocked.run(&self.context(), arguments)
    }

    /// So much time goes by for the ledger, since a person says so.
    pub fn pass_hours(&mut self, hours: u64) {
        self.hours += hours;
        self.clocked.set(&format!("+{}h", self.hours));
        self.run(&["cluster", "confirm-clock", "--yes"]).ok();
    }

    /// A point in which `large` differs from every other one.
    pub fn back_up(&self, seed: u64) -> String {
        write(&self.source().join("large"), noise(seed, 700_000));
        let made = self.run(&["backup", "docs"]).ok().object();
        made["point"].as_str().unwrap().to_owned()
    }

    pub fn restores(&self, point: &str, source: &Path) {
        let to = self.scratch.join(&format!("back-{point}"));
        self.run(&["restore", point, "--to", to.to_str().unwrap()]).ok();
        let back = to.join(source.strip_prefix("/").unwrap());
        Tree::of(source).assert_same(&Tree::of(&back), point);
        std::fs::remove_dir_all(to).unwrap();
    }

    /// A location that follows.
    pub fn add_far(&self) {
        let url = format!("local:{}", self.scratch.join("far").display());
        self.run(&["location", "add", "far", &url]).ok();
        let spec = "[spec]\nlocations = { required = [\"main\"], following = [\"far\"] }\n";
        let file = self.scratch.join("vault.toml");
        write(&file, format!("kind = \"vault\"\nname = \"main\"\n{spec}"));
        self.run(&["apply", "-f", file.to_str().unwrap()]).ok();
    }

    /// From each location alone, without a cluster.
    pub fn restores_from_each(&self, point: &str, source: &Path, right: &Tree) {
        for location in ["d/location", "far"] {
            let to = self.scratch.join("alone");
            let url = format!("local:{}", self.scratch.join(location).display());
            let kek = format!("file:{}", self.scratch.join("d/kek").display());
            let restore = ["restore", point, "--to", to.to_str().unwrap()];
            let from = ["--from-location", &url, "--kek", &kek];
            holdfast(None, &[&restore[..], &from].concat()).ok();
            let back = to.join(source.strip_prefix("/").unwrap());
            right.assert_same(&Tree::of(&back), &format!("{point} from {location}"));
            std::fs::remove_dir_all(to).unwrap();
        }
    }

    pub fn is_in_far(&self, point: &str) -> bool {
        let told = self.run(&["points"]).ok().object();
        let points = told["points"].as_array().unwrap();
        let row = points.iter().find(|row| row["id"] == point).unwrap();
        let mut locations = row["locations"].as_array().unwrap().iter();
        locations.any(|location| location["name"] == "far" && location["confirmed"] == true)
    }

    pub fn nothing_waits(&self) {
        let gone = || (self.found()["newest"]["waiting"]["packs"] == 0).then_some(());
        wait_until("all that was given up is gone from everywhere", PATIENCE, gone);
    }

    /// A vault of its own in `second`, of which two packs are given up: the ledger's log lies
    /// elsewhere.
    pub fn second_vault(&self) -> PathBuf {
        let there = self.scratch.join("second");
        let url = format!("local:{}", there.display());
        self.run(&["location", "add", "second", &url]).ok();
        let file = self.scratch.join("applied.toml");
        let spec = "[spec]\nlocations = { required = [\"second\"] }\n";
        write(&file, format!("kind = \"vault\"\nname = \"other\"\n{spec}"));
        self.run(&["apply", "-f", file.to_str().unwrap()]).ok();
        let rules = format!("vault = \"other\"\n{RULES}");
        let policy = retaining::policy("local", &self.source(), &rules);
        write(&file, policy.replace("\"docs\"", "\"others\""));
        self.run(&["apply", "-f", file.to_str().unwrap()]).ok();
        for seed in [1, 2] {
            write(&self.source().join("large"), noise(seed, 700_000));
            self.run(&["backup", "others"]).ok();
        }
        self.run(&["retain", "others", "--yes"]).ok();
        there
    }

    pub fn waits_in_second(&self) -> u64 {
        let told = self.run(&["collect", "--vault", "other", "--dry-run"]).ok().object();
        told["vaults"][0]["newest"]["waiting"]["packs"].as_u64().unwrap()
    }

    pub fn has_logged(&self, text: &str) -> Option<()> {
        self.dev.as_ref().unwrap().log().contains(text).then_some(())
    }

    pub fn objects(&self, below: &str) -> Vec<PathBuf> {
        Objects::of(&self.scratch.join("d/location")).below(below)
    }

    /// What is found in the one vault.
    pub fn found(&self) -> Value {
        self.run(&["collect", "--dry-run"]).ok().object()["vaults"][0].clone()
    }

    pub fn collect(&self) -> Value {
        self.run(&["collect", "--yes"]).ok().object()["vaults"][0]["round"].clone()
    }

    pub fn is_whole(&self) {
        self.run(&["verify", "--all", "--level", "storage"]).ok();
    }
}

#[test]
fn what_no_point_needs_goes_a_day_after_it_was_given_up_and_nothing_else() {
    let mut scene = Scene::start();
    write(&scene.source().join("small"), "what is small lies in the first point's own object");
    let first = scene.run(&["backup", "docs"]).ok().object();
    let first = first["point"].as_str().unwrap().to_owned();
    let made: Vec<String> = (2..=4).map(|seed| scene.back_up(seed)).collect();
    let found = scene.found();
    assert_eq!(
        (&found["points"], &found["unneeded"]["packs"]),
        (&json!(4), &json!(0)),
        "{found:#}"
    );
    assert_eq!(found["newest"], Value::Null);

    scene.run(&["retain", "docs", "--yes"]).ok();
    let all = ["packs", "points", "reach"].map(|below| scene.objects(below));
    let told = scene.run(&["collect", "--dry-run"]).ok().object();
    let frees = told["frees_bytes"].as_u64().unwrap();
    assert!((1_400_000..1_500_000).contains(&frees), "{told:#}");
    assert_eq!(told["vaults"][0]["locations"][0]["frees_bytes"], frees, "{told:#}");
    scene.run(&["collect"]).fails(4, "confirm.answer_missing");
    assert_eq!(scene.found()["newest"], Value::Null, "nothing was begun");
    let round = scene.collect();
    assert_eq!((&round["stage"], &round["doomed_bytes"]), (&json!("over"), &json!(frees)));
    // Of each forgotten point with objects of its own one of data and one of pages.
    assert_eq!((&round["doomed"], &round["waiting"]["packs"]), (&json!(5), &json!(4)), "{round:#}");
    assert_eq!(scene.found()["unneeded"]["packs"], 0);

    // Not before a day is over, whatever the wall clock says.
    scene.clocked.set("+30h");
    let refused = scene.run(&["collect", "--yes"]).ends(4).error();
    assert_eq!(refused["code"], "clock.time_doubtful");
    scene.clocked.set("+0");
    scene.pass_hours(22);
    scene.restores(&made[2], &scene.source());
    let now = ["packs", "points", "reach"].map(|below| scene.objects(below));
    assert!(all.iter().flatten().all(|object| now.iter().flatten().any(|kept| kept == object)));
    scene.pass_hours(3);
    let gone = || (scene.objects("points").len() == 1).then_some(());
    wait_until("records of forgotten points go", PATIENCE, gone);
    // Of each point one of data and one of pages.
    assert_eq!(all[0].len(), 6);
    // And a third one has what the newest needs of what lay in the first one's object.
    let gone = || (scene.objects("packs").len() == 3).then_some(());
    wait_until("packs go", PATIENCE, gone);
    scene.nothing_waits();
    assert!(!scene.objects("points").iter().any(|path| path.ends_with(&first)));
    scene.restores(&made[2], &scene.source());
    scene.is_whole();
    // What went is sent again.
    let again = scene.back_up(2);
    scene.restores(&again, &scene.source());
    scene.is_whole();
}

#[test]
fn a_backup_that_runs_through_a_collection_keeps_what_it_found() {
    let mut scene = Scene::start();
    scene.add_far();
    scene.back_up(1);
    let newest = scene.back_up(2);
    scene.run(&["retain", "docs", "--yes"]).ok();
    // What only the forgotten point had is found by a backup that takes long.
    let slow = scene.scratch.join("slow");
    write(&slow.join("a"), noise(1, 700_000));
    write(&slow.join("b"), noise(9, 40_000_000));
    let file = scene.scratch.join("slow.toml");
    let policy = retaining::policy("local", &slow, "backup = { bytes_per_second_max = 4000000 }");
    write(&file, policy.replace("\"docs\"", "\"slow\""));
    scene.run(&["apply", "-f", file.to_str().unwrap()]).ok();
    let before = scene.objects("packs").len();
    let run = scene.run(&["backup", "slow", "--detach"]).ok().object()["run"].clone();
    let began = || (scene.objects("packs").len() > before).then_some(());
    wait_until("its first pack is stored", PATIENCE, began);

    scene.run(&["collect", "--yes", "--detach"]).ok();
    let waits = || {
        let newest = scene.found()["newest"].clone();
        assert_ne!(newest["stage"], "over", "it waits for the backup: {newest:#}");
        (newest["waits_for"] == 1).then_some(newest)
    };
    let round = wait_until("the round waits for the backup", PATIENCE, waits);
    assert!(round["condemned"].as_u64().unwrap() > 0, "{round:#}");
    let run = run.as_str().unwrap();
    let ended = || {
        let told = scene.run(&["runs", "show", run]).ok().object()["runs"][0].clone();
        (!told["ended"].is_null()).then_some(told)
    };
    let run = wait_until("the backup ends", PATIENCE, ended);
    assert_eq!(run["state"], "done", "{run:#}");
    let point = run["point"].as_str().unwrap().to_owned();
    let over = || Some(scene.found()["newest"].clone()).filter(|round| round["stage"] == "over");
    let round = wait_until("the round is over", PATIENCE, over);
    assert!(round["spared"].as_u64().unwrap() > 0, "{round:#}");
    assert!(round["doomed"].as_u64().unwrap() > 0, "{round:#}");
    wait_until("it is in the other location", PATIENCE, || scene.is_in_far(&point).then_some(()));
    scene.pass_hours(25);
    scene.nothing_waits();
    scene.restores_from_each(&point, &slow, &Tree::of(&slow));
    scene.restores_from_each(&newest, &scene.source(), &Tree::of(&scene.source()));
    scene.is_whole();
}

#[test]
fn every_point_survives_kills_at_any_moment_of_collections() {
    let mut scene = Scene::start();
    scene.add_far();
    let (source, kills) = (scene.source(), kills(KILLS));
    let name = "every_point_survives_kills_at_any_moment_of_collections";
    let mut chance = Chance::of(name, SEED_USUAL, kills);
    let mut right: BTreeMap<String, Tree> = BTreeMap::new();
    for round in 0..kills {
        // What an older point had comes back, while it is being given up.
        write(&source.join("kept"), noise(100 + round / 2, 500_000));
        write(&source.join(format!("now-{}", round % 3)), noise(200 + round, 400_000));
        let docs = scene.back_up(round);
        right.insert(docs, Tree::of(&source));
        if round % 3 == 0 {
            // No rule lets it go.
            let aside = scene.run(&["backup", "--path", source.to_str().unwrap()]).ok().object();
            right.insert(aside["point"].as_str().unwrap().to_owned(), Tree::of(&source));
        }
        scene.run(&["retain", "docs", "--yes"]).ok();
        let (context, arguments) = (scene.context(), ["collect", "--yes"]);
        let mut collect = scene.clocked.command(&arguments);
        collect.env("HOLDFAST_CONTEXT", context).stdin(Stdio::null());
        let mut collect = collect.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(chance.below(4000)));
        scene.kill_dev();
        let _it_lost_its_cluster = collect.kill();
        collect.wait().unwrap();
        scene.start_dev();
        // What was given up a day ago goes, until the next kill.
        scene.pass_hours(25);
    }
    // The first one may be a round that was begun before the last kill.
    scene.collect();
    scene.collect();
    scene.pass_hours(25);
    scene.nothing_waits();
    assert_eq!(scene.found()["unneeded"]["packs"], 0);
    let listed = scene.run(&["points"]).ok().object();
    let listed = listed["points"].as_array().unwrap();
    assert_eq!(listed.len() as u64, 1 + kills.div_ceil(3));
    for point in listed {
        let id = point["id"].as_str().unwrap();
        wait_until("it is in both", PATIENCE, || scene.is_in_far(id).then_some(()));
        scene.restores_from_each(id, &source, &right[id]);
    }
    scene.is_whole();
    let records = scene.objects("points").len();
    assert!(records < right.len(), "{records} records are left of {}", right.len());
}

#[test]
fn a_reach_that_cannot_be_read_ends_the_round_and_nothing_is_given_up() {
    let mut scene = Scene::start();
    scene.back_up(1);
    let newest = scene.back_up(2);
    scene.run(&["retain", "docs", "--yes"]).ok();
    let reach = scene.scratch.join("d/location/reach").join(&newest);
    let aside = scene.scratch.join("aside");
    std::fs::rename(&reach, &aside).unwrap();
    let told = scene.run(&["collect", "--dry-run"]).ends(7).error();
    assert!(told["message"].as_str().unwrap().contains(&newest), "{told}");
    // A round begins by itself a day after the newest point.
    scene.pass_hours(25);
    let ended = || {
        let audit = scene.run(&["audit", "list"]).ok().object();
        let mut rows = audit["entries"].as_array().unwrap().iter();
        rows.any(|row| row["action"] == "collection.end").then_some(())
    };
    wait_until("the round ends", PATIENCE, ended);
    std::fs::rename(&aside, &reach).unwrap();
    let found = scene.found();
    assert!(found["unneeded"]["packs"].as_u64().unwrap() > 0, "{found:#}");
    let round = &found["newest"];
    assert_eq!((&round["stage"], &round["condemned"]), (&json!("over"), &json!(0)), "{round:#}");
    let status = scene.run(&["status"]).ends(1).object();
    let mut alarms = status["alarms"].as_array().unwrap().iter();
    let is_told = alarms.any(|alarm| alarm["subject"].as_str().unwrap().contains(&newest));
    assert!(is_told, "{status:#}");
    let problem = &round["problem"];
    assert!(problem["message"].as_str().unwrap().contains(&newest), "{problem:#}");
    assert_eq!(scene.collect()["problem"], Value::Null);
    scene.restores(&newest, &scene.source());
}

#[test]
fn a_disabled_location_keeps_what_was_given_up_until_it_is_in_use_again() {
    let mut scene = Scene::start();
    scene.add_far();
    scene.back_up(1);
    let newest = scene.back_up(2);
    wait_until("it is in both", PATIENCE, || scene.is_in_far(&newest).then_some(()));
    let far = Objects::of(&scene.scratch.join("far"));
    let before = far.below("packs").len();
    scene.run(&["location", "disable", "far", "--yes"]).ok();
    scene.run(&["retain", "docs", "--yes"]).ok();
    let given_up = scene.collect()["waiting"]["packs"].as_u64().unwrap();
    assert_eq!(given_up, 2);
    scene.pass_hours(25);
    let gone = || (scene.objects("packs").len() == 2).then_some(());
    wait_until("they go from where they can", PATIENCE, gone);
    assert_eq!(scene.found()["newest"]["waiting"]["packs"], 2, "they lie in the other one");
    assert_eq!(far.below("packs").len(), before);

    scene.run(&["location", "enable", "far"]).ok();
    scene.nothing_waits();
    assert_eq!(far.below("packs").len(), 2);
    scene.restores_from_each(&newest, &scene.source(), &Tree::of(&scene.source()));
}

#[test]
fn what_is_not_mounted_is_not_taken_for_empty() {
    let mut scene = Scene::start();
    let (there, aside) = (scene.second_vault(), scene.scratch.join("aside"));
    scene.run(&["collect", "--vault", "other", "--yes"]).ok();
    assert_eq!(scene.waits_in_second(), 2);
    // Another directory lies where the location was, for as long as that is away.
    scene.kill_dev();
    std::fs::rename(&there, &aside).unwrap();
    std::fs::create_dir(&there).unwrap();
    scene.start_dev();
    scene.pass_hours(25);
    let tried = || scene.has_logged("what was collected is not all deleted there yet");
    wait_until("it was tried", PATIENCE, tried);
    std::fs::remove_dir(&there).unwrap();
    std::fs::rename(&aside, &there).unwrap();
    let packs = Objects::of(&there);
    assert_eq!(packs.below("packs").len(), 4);
    scene.kill_dev();
    scene.start_dev();
    let gone = || (scene.waits_in_second() == 0).then_some(());
    wait_until("they go when it is back", PATIENCE, gone);
    assert_eq!(packs.below("packs").len(), 2);
    scene.run(&["verify", "--all", "--level", "storage"]).ok();
}

#[test]
fn nothing_is_deleted_until_the_log_that_gives_it_up_lies_in_the_locations() {
    let mut scene = Scene::start();
    let there = scene.second_vault();
    // The log cannot be shipped to where it goes; the other location is there all the while.
    let (log, aside) = (scene.scratch.join("d/location/cluster/log"), scene.scratch.join("aside"));
    std::fs::rename(&log, &aside).unwrap();
    write(&log, "no directory");
    scene.run(&["collect", "--vault", "other", "--yes"]).ok();
    assert_eq!(scene.waits_in_second(), 2);
    scene.pass_hours(25);
    let waits = || scene.has_logged("what was collected waits for the log");
    wait_until("it waits for the log", PATIENCE, waits);
    let packs = Objects::of(&there);
    assert_eq!(packs.below("packs").len(), 4);
    std::fs::remove_file(&log).unwrap();
    std::fs::rename(&aside, &log).unwrap();
    let gone = || (scene.waits_in_second() == 0).then_some(());
    wait_until("they go when it was shipped", PATIENCE, gone);
    assert_eq!(packs.below("packs").len(), 2);
}
