//! What lies in the locations is read back by itself: every kind of damage is found and healed from
//! elsewhere, what cannot be healed is told until it is whole again, and the budget is kept.

use crate::{
    cluster::Cluster,
    harness::{Damage, Objects, Outcome, Scratch, Service, Tree, noise, wait_until, write},
    retaining,
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(120);
/// Everything at once, and again as soon as it is done.
const EAGER: &str = "storage_bytes_per_day = 1000000000000000, storage_every_hours = 0";

struct Scene {
    cluster: Cluster,
    _agent: Service,
    source: PathBuf,
    points: Vec<String>,
}

impl Scene {
    /// So many points, each with packs of its own.
    fn new(locations: &[&str], points: u64) -> Self {
        let cluster = Cluster::start_in(Scratch::new(), locations);
        let agent = cluster.agent("files-1");
        let source = cluster.scratch.join("source");
        let mut scene = Self { cluster, _agent: agent, source, points: Vec::new() };
        scene.declare("storage_bytes_per_day = 0").ok();
        for number in 0..points {
            write(&scene.source.join(number.to_string()), noise(number, 700_000));
            let path = scene.source.to_str().unwrap().to_owned();
            let told = scene.cluster.run(&["backup", "--path", &path]).ok().object();
            scene.points.push(told["point"].as_str().unwrap().to_owned());
        }
        scene
    }

    fn declare(&self, verify: &str) -> Outcome {
        let told = self.cluster.run(&["location", "list"]).ok().object();
        let rows = told["locations"].as_array().unwrap().iter();
        let names: Vec<String> = rows.map(|row| row["name"].to_string()).collect();
        self.declare_in(&format!("required = [{}]", names.join(", ")), verify)
    }

    fn declare_in(&self, locations: &str, verify: &str) -> Outcome {
        let file = self.cluster.scratch.join("vault.toml");
        let spec = format!("[spec]\nlocations = {{ {locations} }}\nverify = {{ {verify} }}\n");
        write(&file, format!("kind = \"vault\"\nname = \"main\"\n{spec}"));
        self.cluster.run(&["apply", "-f", file.to_str().unwrap()])
    }

    /// A further location, an empty directory.
    fn add(&self, name: &str) -> PathBuf {
        let at = self.cluster.scratch.join(name);
        self.cluster.run(&["location", "add", name, &format!("local:{}", at.display())]).ok();
        at
    }

    /// A point that was forgotten, and the one that rests on what lies in its object.
    fn forget_what_another_rests_on(&self) -> (String, String) {
        write(&self.source.join("small"), "it lies in the object of the first point");
        let file = self.cluster.scratch.join("docs.toml");
        let rules = "retention = { last = 1, protect_for = \"0s\" }";
        write(&file, retaining::policy("files-1", &self.source, rules));
        self.cluster.run(&["apply", "-f", file.to_str().unwrap()]).ok();
        let back_up = || {
            let made = self.cluster.run(&["backup", "docs"]).ok().object();
            made["point"].as_str().unwrap().to_owned()
        };
        let first = back_up();
        write(&self.source.join("large"), noise(1001, 700_000));
        let second = back_up();
        let plan = self.cluster.run(&["retain", "docs", "--yes"]).ok().object();
        assert_eq!(plan["forgotten"], serde_json::json!([first]), "{plan:#}");
        (first, second)
    }

    fn objects(&self, location: &str) -> Objects {
        Objects::of(&self.cluster.scratch.join(location))
    }

    /// What is told of a location.
    fn location(&self, name: &str) -> Value {
        let told = self.cluster.run(&["location", "list"]).ok().object();
        let rows = told["locations"].as_array().unwrap().clone();
        rows.into_iter().find(|row| row["name"] == name).unwrap()
    }

    fn check(&self, location: &str) -> Value {
        self.location(location)["checks"][0].clone()
    }

    /// Returns when a pass came to its end that began after now; what is told of it.
    fn wait_for_a_pass(&self, location: &str) -> Value {
        let began = |check: &Value| check["last"]["began"].as_str().map(str::to_owned);
        let first = wait_until("a pass is made", PATIENCE, || {
            Some(self.check(location)).filter(|check| began(check).is_some())
        });
        // The one that goes on then may have begun before.
        let mut seen = began(&first);
        for _ in 0..2 {
            let next = wait_until("another pass is made", PATIENCE, || {
                Some(self.check(location)).filter(|check| began(check) > seen)
            });
            seen = began(&next);
        }
        self.check(location)
    }

    fn damage_alarms(&self) -> Vec<Value> {
        let told = self.cluster.run(&["status"]).object();
        let alarms = told["alarms"].as_array().unwrap().clone();
        let is_damage = |row: &Value| row["code"].as_str().unwrap().starts_with("object.");
        alarms.into_iter().filter(is_damage).collect()
    }

    fn healed(&self) -> Vec<String> {
        let told = self.cluster.run(&["audit", "list"]).ok().text().to_owned();
        told.lines().filter(|line| line.contains("object.heal")).map(str::to_owned).collect()
    }
}

/// What is damaged, and what its bytes must be.
struct Victim {
    name: String,
    path: PathBuf,
    right: Vec<u8>,
}

impl Victim {
    fn is_whole(&self) -> bool {
        fs::read(&self.path).is_ok_and(|bytes| bytes == self.right)
    }
}

/// Damages objects of each kind in each way: missing, flipped, truncated, swapped with another one
/// of its kind, and come back old.
fn damage_all(objects: &Objects) -> Vec<Victim> {
    let mut victims = Vec::new();
    let mut hit = |path: &Path, damage: &dyn Fn(&Path)| {
        let (name, path) = (objects.name(path), path.to_owned());
        let right = fs::read(&path).unwrap();
        damage(&path);
        victims.push(Victim { name, path, right });
    };
    for kind in ["packs", "points", "reach"] {
        let all = objects.below(kind);
        assert!(all.len() >= 9, "{kind}: {all:?}");
        for (path, how) in all.iter().zip(Damage::ALL) {
            hit(path, &|path| std::mem::forget(objects.damage(path, how)));
        }
        let [one, other, old] = [&all[6], &all[7], &all[8]];
        let swapped = [fs::read(other).unwrap(), fs::read(one).unwrap()];
        for (path, bytes) in [one, other].into_iter().zip(swapped) {
            hit(path, &|path| fs::write(path, &bytes).unwrap());
        }
        // What an earlier generation had under this name.
        let earlier = fs::read(&all[0]).unwrap_or_else(|_| fs::read(&all[1]).unwrap());
        hit(old, &|path| fs::write(path, &earlier).unwrap());
    }
    for kind in ["index", "keys", "cluster/key"] {
        let path = objects.below(kind).remove(0);
        hit(&path, &|path| std::mem::forget(objects.damage(path, Damage::Truncate)));
    }
    // Extents of the log: one is missing, one is flipped, two are swapped.
    let mut log = objects.below("cluster/log");
    log.sort();
    assert!(log.len() >= 5, "{log:?}");
    hit(&log[1], &|path| fs::remove_file(path).unwrap());
    hit(&log[2], &|path| std::mem::forget(objects.damage(path, Damage::FlipMiddle)));
    let swapped = [fs::read(&log[4]).unwrap(), fs::read(&log[3]).unwrap()];
    for (path, bytes) in [&log[3], &log[4]].into_iter().zip(swapped) {
        hit(path, &|path| fs::write(path, &bytes).unwrap());
    }
    victims
}

#[test]
fn every_kind_of_damage_is_found_and_healed_by_itself() {
    let scene = Scene::new(&["east", "west"], 10);
    let west = Tree::of(&scene.cluster.scratch.join("west").join("packs"));
    let victims = damage_all(&scene.objects("east"));
    scene.declare(EAGER).ok();
    for victim in &victims {
        wait_until(&victim.name, PATIENCE, || victim.is_whole().then_some(()));
    }
    let said = scene.healed().join("\n");
    for victim in &victims {
        assert!(said.contains(&format!("{} in east", victim.name)), "{}: {said}", victim.name);
    }
    let now = Tree::of(&scene.cluster.scratch.join("west").join("packs"));
    west.assert_same(&now, "what is whole is left alone");
    scene.wait_for_a_pass("east");
    assert_eq!(scene.damage_alarms(), Vec::<Value>::new());
    let told = scene.cluster.run(&["verify", "--all", "--level", "storage"]).ok().object();
    assert_eq!(told["damaged"], Value::Array(Vec::new()), "{told}");
    // Nobody who is well is told to be ill.
    let check = scene.wait_for_a_pass("west");
    assert_eq!((&check["last"]["damaged"], &check["damage"]), (&0.into(), &0.into()), "{check}");
}

/// The same by a verification that somebody asks for.
#[test]
fn every_kind_of_damage_is_found_and_healed_when_it_is_asked_for() {
    let scene = Scene::new(&["east", "west"], 10);
    let verify = ["verify", "--all", "--level", "storage"];
    let told = scene.cluster.run(&verify).ok().object();
    assert_eq!(told["damaged"], Value::Array(Vec::new()), "{told}");
    assert_eq!(
        (&told["before"][0]["location"], &told["before"][0]["oldest"]),
        (&"east".into(), &Value::Null)
    );
    // A whole run counts as a pass.
    let (check, packs) = (scene.check("east"), scene.objects("east").below("packs").len());
    assert!(check["last"]["objects"].as_u64().unwrap() > packs as u64, "{check}");
    assert_eq!((&check["oldest"], &check["state"]), (&check["last"]["began"], &"off".into()));
    let victims = damage_all(&scene.objects("east"));
    let told = scene.cluster.run(&verify).ends(7).object();
    assert_eq!(told["before"][0]["oldest"], check["oldest"], "{told}");
    let rows = told["damaged"].as_array().unwrap();
    for victim in &victims {
        let row = rows.iter().find(|row| row["object"] == victim.name.as_str());
        let row = row.unwrap_or_else(|| panic!("{} in {rows:?}", victim.name));
        assert_eq!(
            (&row["location"], &row["healed_from"]),
            (&"east".into(), &"west".into()),
            "{row}"
        );
        assert!(victim.is_whole(), "{row}");
    }
    assert_eq!(rows.len(), victims.len(), "{rows:?}");
    let told = scene.cluster.run(&verify).ok().object();
    assert_eq!(told["damaged"], Value::Array(Vec::new()), "{told}");
    let last = scene.check("east")["last"].clone();
    assert_eq!(last["damaged"], 0, "{last}");
}

/// A location that follows has the same checks, and is not said to lack what is on its way.
#[test]
fn a_location_that_follows_is_read_back_and_lacks_nothing_that_is_still_to_come() {
    let scene = Scene::new(&["main"], 9);
    scene.add("far");
    let locations = r#"required = ["main"], following = ["far"]"#;
    let declare = |verify: &str| drop(scene.declare_in(locations, verify).ok());
    declare(EAGER);
    let is_current = || (scene.location("far")["copies"][0]["state"] == "current").then_some(());
    wait_until("it has everything", PATIENCE, is_current);
    // Backups go on while it is read back.
    for seed in 50..54 {
        write(&scene.source.join(format!("more-{seed}")), noise(seed, 700_000));
        scene.cluster.run(&["backup", "--path", scene.source.to_str().unwrap()]).ok();
    }
    wait_until("it has that too", PATIENCE, is_current);
    let check = scene.wait_for_a_pass("far");
    assert_eq!((&check["last"]["damaged"], &check["damage"]), (&0.into(), &0.into()), "{check}");
    assert!(scene.healed().is_empty(), "{:?}", scene.healed());
    declare("storage_bytes_per_day = 0");
    let objects = scene.objects("far");
    let mut victims = Vec::new();
    for (kind, at, how) in [
        ("packs", 0, Damage::Delete),
        ("packs", 1, Damage::FlipMiddle),
        ("packs", 2, Damage::Truncate),
        ("points", 0, Damage::Delete),
        ("points", 1, Damage::FlipLast),
        ("reach", 0, Damage::Delete),
        ("cluster/log", 2, Damage::FlipMiddle),
        ("keys", 0, Damage::FlipMiddle),
    ] {
        let path = objects.below(kind).remove(at);
        let (name, right) = (objects.name(&path), fs::read(&path).unwrap());
        std::mem::forget(objects.damage(&path, how));
        victims.push(Victim { name, path, right });
    }
    declare(EAGER);
    for victim in &victims {
        wait_until(&victim.name, PATIENCE, || victim.is_whole().then_some(()));
    }
    let said = scene.healed().join("\n");
    for victim in &victims {
        assert!(said.contains(&format!("{} in far", victim.name)), "{}: {said}", victim.name);
    }
}

const KEYS: &str = "keys/00000001/00000001";
const OFF: &str = "storage_bytes_per_day = 0";

#[test]
fn keys_that_are_gone_everywhere_are_put_again_from_the_ledger() {
    let scene = Scene::new(&["east", "west"], 1);
    let right = fs::read(scene.cluster.scratch.join("east").join(KEYS)).unwrap();
    let path = |location: &str| scene.cluster.scratch.join(location).join(KEYS);
    let wait_until_there = |location: &str| {
        let is_there = || (fs::read(path(location)).ok()? == right).then_some(());
        wait_until(location, PATIENCE, is_there);
    };
    for location in ["east", "west"] {
        fs::remove_file(path(location)).unwrap();
    }
    // One that comes to follow has them from nobody else.
    scene.add("far");
    let locations = r#"required = ["east", "west"], following = ["far"]"#;
    scene.declare_in(locations, OFF).ok();
    let is_current = || (scene.location("far")["copies"][0]["state"] == "current").then_some(());
    wait_until("it has everything", PATIENCE, is_current);
    wait_until_there("far");
    fs::remove_file(path("far")).unwrap();
    scene.declare_in(locations, EAGER).ok();
    for location in ["east", "west", "far"] {
        wait_until_there(location);
    }
    let said = scene.healed().join("\n");
    for location in ["east", "west", "far"] {
        assert!(said.contains(&format!("{KEYS} in {location}")), "{said}");
    }
    scene.declare_in(locations, OFF).ok();
    // And by whoever asks for it.
    for location in ["east", "west", "far"] {
        fs::remove_file(path(location)).unwrap();
    }
    let told = scene.cluster.run(&["verify", "--all", "--level", "storage"]).ends(7).object();
    let rows = told["damaged"].as_array().unwrap();
    let found: Vec<(&str, &str)> = rows
        .iter()
        .map(|row| (row["object"].as_str().unwrap(), row["problem"].as_str().unwrap()))
        .collect();
    assert_eq!(found, [(KEYS, "missing"); 3], "{told}");
    assert_eq!(rows[0]["healed_from"], "ledger", "{told}");
    for location in ["east", "west", "far"] {
        assert_eq!(fs::read(path(location)).unwrap(), right);
    }
}

#[test]
fn other_keys_under_the_name_of_those_in_use_are_put_aside_and_the_right_ones_take_it() {
    let scene = Scene::new(&["main"], 1);
    scene.cluster.run(&["keys", "rotate", "main"]).ok();
    let path = |location: &str| scene.cluster.scratch.join(location).join(KEYS);
    let right = fs::read(path("main")).unwrap();
    // Well-formed, and of this vault; whoever can write there can put them.
    let newer = scene.cluster.scratch.join("main").join("keys/00000002/00000001");
    let others = fs::read(newer).unwrap();
    let far = scene.add("far");
    write(&path("far"), &others);
    let locations = r#"required = ["main"], following = ["far"]"#;
    scene.declare_in(locations, OFF).ok();
    let is_current = || (scene.location("far")["copies"][0]["state"] == "current").then_some(());
    wait_until("it has everything", PATIENCE, is_current);
    assert_eq!(fs::read(path("far")).unwrap(), right, "before any point is said to lie there");
    let kept = |location: &Path| -> Vec<Vec<u8>> {
        let kept = Objects::of(location).below("aside").into_iter();
        kept.map(|path| fs::read(path).unwrap()).collect()
    };
    assert_eq!(kept(&far), vec![others.clone()]);
    // In one that is in use.
    fs::remove_file(path("main")).unwrap();
    write(&path("main"), &others);
    scene.declare_in(locations, EAGER).ok();
    let is_whole = || (fs::read(path("main")).ok()? == right).then_some(());
    wait_until("it is healed", PATIENCE, is_whole);
    assert_eq!(kept(&scene.cluster.scratch.join("main")), [others]);
    let said = scene.healed().join("\n");
    for location in ["main", "far"] {
        assert!(said.contains(&format!("{KEYS} in {location}; other keys")), "{said}");
    }
    scene.wait_for_a_pass("main");
    assert_eq!(scene.damage_alarms(), Vec::<Value>::new());
}

#[test]
fn what_nobody_can_heal_is_told_with_its_points_until_it_is_whole() {
    let scene = Scene::new(&["main"], 2);
    let objects = scene.objects("main");
    let pack = objects.below("packs").remove(0);
    let name = objects.name(&pack);
    let undo = objects.damage(&pack, Damage::FlipMiddle);
    scene.declare(EAGER).ok();
    let told = wait_until("the damage is told", PATIENCE, || {
        scene.damage_alarms().into_iter().find(|row| row["subject"].to_string().contains(&name))
    });
    let subject = told["subject"].as_str().unwrap();
    assert!(subject.contains("`main`: hash"), "{subject}");
    assert!(subject.contains("files-1") && subject.contains("source"), "{subject}");
    let next = told["next"].as_str().unwrap();
    let named = scene.points.iter().find(|point| next.contains(*point)).expect(next);
    assert!(subject.contains(named), "{subject}");
    assert_eq!(scene.cluster.run(&["status"]).code, 1);
    assert_eq!(scene.check("main")["damage"], 1);
    // The paths are for whoever has the key, and `next` says how.
    assert_eq!(told["next"], format!("holdfast verify {named} names the paths"));
    let found = scene.cluster.run(&["verify", named]).ends(7).object();
    assert!(found["damaged"][0]["paths"].to_string().contains("source/"), "{found}");
    // A gap in the only copy of the log.
    let mut log = objects.below("cluster/log");
    log.sort();
    let gone = objects.damage(&log[1], Damage::Delete);
    let extent = objects.name(&log[1]);
    wait_until("the gap is told", PATIENCE, || {
        let is_told = |row: &Value| row["subject"].to_string().contains(&extent);
        scene.damage_alarms().iter().any(is_told).then_some(())
    });
    drop((undo, gone));
    wait_until("it is whole again", PATIENCE, || scene.damage_alarms().is_empty().then_some(()));
    scene.wait_for_a_pass("main");
    assert_eq!(scene.check("main")["damage"], 0);
    let to = scene.cluster.scratch.join("back");
    scene.cluster.run(&["restore", &scene.points[1], "--to", to.to_str().unwrap()]).ok();
    let back = to.join(scene.source.strip_prefix("/").unwrap());
    Tree::of(&scene.source).assert_same(&Tree::of(&back), "restored");
}

#[test]
fn what_others_rest_on_is_read_back_though_its_point_was_forgotten() {
    let scene = Scene::new(&["east", "west"], 0);
    let (first, second) = scene.forget_what_another_rests_on();
    let path = |location| scene.cluster.scratch.join(location).join("points").join(&first);
    let right = fs::read(path("east")).unwrap();
    fs::remove_file(path("east")).unwrap();
    scene.declare(EAGER).ok();
    let is_whole = || (fs::read(path("east")).ok()? == right).then_some(());
    wait_until("it is healed", PATIENCE, is_whole);
    scene.declare("storage_bytes_per_day = 0").ok();
    for location in ["east", "west"] {
        fs::remove_file(path(location)).unwrap();
    }
    scene.declare(EAGER).ok();
    let told = wait_until("it is told", PATIENCE, || {
        scene.damage_alarms().into_iter().find(|row| row["subject"].to_string().contains(&first))
    });
    // Of the point that is kept, and not of the one that nobody can ask for.
    assert_eq!(told["next"], format!("holdfast verify {second} names the paths"));
    scene.wait_for_a_pass("east");
    assert_eq!(scene.check("east")["damage"], 1, "and it stays told");
}

#[test]
fn what_a_location_that_came_later_needs_of_forgotten_points_is_verified_there() {
    let scene = Scene::new(&["main"], 10);
    let (first, _) = scene.forget_what_another_rests_on();
    let far = scene.add("far");
    let locations = r#"required = ["main"], following = ["far"]"#;
    scene.declare_in(locations, OFF).ok();
    let is_current = || (scene.location("far")["copies"][0]["state"] == "current").then_some(());
    wait_until("it has everything", PATIENCE, is_current);
    let home = far.join("points").join(&first);
    let segment = scene.objects("far").below("index").remove(0);
    let victims = [home, segment].map(|path| {
        let (name, right) = (scene.objects("far").name(&path), fs::read(&path).unwrap());
        std::mem::forget(scene.objects("far").damage(&path, Damage::Truncate));
        Victim { name, path, right }
    });
    let verify = ["verify", "--all", "--level", "storage"];
    let told = scene.cluster.run(&verify).ends(7).object();
    let rows = told["damaged"].as_array().unwrap();
    for victim in &victims {
        let row = rows.iter().find(|row| row["object"] == victim.name.as_str());
        let row = row.unwrap_or_else(|| panic!("{} in {rows:?}", victim.name));
        assert_eq!((&row["location"], &row["healed_from"]), (&"far".into(), &"main".into()));
        assert!(victim.is_whole(), "{row}");
    }
    assert_eq!(rows.len(), victims.len(), "{rows:?}");
    assert_eq!(scene.check("far")["last"]["damaged"], 2, "and it counts as a pass");
    // One that follows need not have it.
    fs::remove_file(&victims[1].path).unwrap();
    scene.cluster.run(&verify).ok();
}

#[test]
fn no_more_is_read_than_the_budget_gives_and_the_rest_is_read_later() {
    let scene = Scene::new(&["main"], 8);
    let (rate, span) = (400_000_u64, Duration::from_secs(6));
    scene
        .declare(&format!("storage_bytes_per_day = {}, storage_every_hours = 0", rate * 86_400))
        .ok();
    let read = || scene.location("main")["bytes_read"].as_u64().unwrap();
    let is_reading = || (scene.check("main")["pass"]["bytes"].as_u64() > Some(0)).then_some(());
    wait_until("it reads", PATIENCE, is_reading);
    let (begun, before) = (Instant::now(), read());
    wait_until("some time went by", PATIENCE, || (begun.elapsed() > span).then_some(()));
    let (now, took) = (read(), begun.elapsed());
    // One object more than its time gives, and the log that is shipped meanwhile.
    let given = (took.as_secs_f64() * rate as f64) as u64;
    let largest = 1_500_000;
    assert!(now - before < given + largest, "{} bytes in {took:?}", now - before);
    assert!(now - before > given / 4, "{} bytes in {took:?}", now - before);
    let check = scene.wait_for_a_pass("main");
    let packs = scene.objects("main").below("packs");
    let all: u64 = packs.iter().map(|pack| fs::metadata(pack).unwrap().len()).sum();
    assert!(check["last"]["bytes"].as_u64().unwrap() >= all, "{check}");
    scene.declare("storage_bytes_per_day = 0").ok();
    assert_eq!(scene.check("main")["state"], "off");
}
