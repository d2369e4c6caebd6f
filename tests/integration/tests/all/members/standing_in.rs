//! Two regions of which the second one's location only follows: when the first is lost with what
//! the vault requires, it stands in. It takes backups at once, says what is out of reach, and
//! follows again when the lost one is back with all it had.

use super::{
    losing::fill,
    regions::{DR, Regions, epochs},
    returning::objects,
    scene::PATIENCE,
};
use crate::harness::{Outcome, Tree, binary, holdfast, wait_until, write};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

impl Regions {
    /// `far` follows what lies in `location`.
    pub(super) fn that_follow() -> Self {
        let regions = Self::start(&[]);
        let file = regions.members.scratch.join("vault.toml");
        let locations = r#"required = ["location"], following = ["far"]"#;
        let spec = format!("[spec]\nlocations = {{ {locations} }}\n");
        write(&file, format!("kind = \"vault\"\nname = \"main\"\n{spec}"));
        regions.members.run(&["apply", "-f", file.to_str().unwrap()]).ok();
        regions
    }

    pub(super) fn at(&self, location: &str) -> PathBuf {
        self.members.scratch.join(location)
    }

    /// What is said of the copies in `far`.
    fn copies(&self) -> Value {
        self.copies_in("far")
    }

    pub(super) fn copies_in(&self, location: &str) -> Value {
        let told = self.members.run(&["location", "list"]).ok().object();
        let rows = told["locations"].as_array().unwrap().clone();
        rows.iter().find(|row| row["name"] == location).unwrap()["copies"][0].clone()
    }

    pub(super) fn wait_for_copies(&self, state: &str) -> Value {
        wait_until(&format!("`far` is {state}"), PATIENCE, || {
            Some(self.copies()).filter(|copies| copies["state"] == state)
        })
    }

    /// Where a point is confirmed to lie.
    fn holding(&self, point: &str) -> Vec<String> {
        let told = self.members.run(&["points"]).ok().object();
        let rows = told["points"].as_array().unwrap().clone();
        let found = rows.iter().find(|row| row["id"] == point).unwrap();
        let there = found["locations"].as_array().unwrap().iter();
        let there = there.filter(|location| location["confirmed"] == true);
        there.map(|location| location["name"].as_str().unwrap().to_owned()).collect()
    }

    pub(super) fn wait_until_in_far(&self, point: &str) {
        self.wait_until_in("far", point);
    }

    pub(super) fn wait_until_in(&self, location: &str, point: &str) {
        wait_until(&format!("it lies in `{location}`"), PATIENCE, || {
            self.holding(point).iter().any(|name| name == location).then_some(())
        });
    }

    /// Nothing can be put below this directory of `far`, or it can again.
    pub(super) fn block(&self, part: &str, is_blocked: bool) {
        self.block_in("far", part, is_blocked);
    }

    pub(super) fn block_in(&self, location: &str, part: &str, is_blocked: bool) {
        let there = self.at(location).join(part);
        let away = self.at(&format!("{location}-away"));
        if is_blocked {
            fs::rename(&there, &away).unwrap();
            write(&there, "in the way");
        } else {
            fs::remove_file(&there).unwrap();
            fs::rename(&away, &there).unwrap();
        }
    }

    /// `eu` is lost with its location.
    pub(super) fn lose_eu_with_its_location(&mut self) {
        self.lose_eu();
        fs::rename(self.at("location"), self.at("burnt")).unwrap();
    }

    pub(super) fn restore(&self, point: &str, name: &str) -> Outcome {
        let to = self.at(name);
        self.members.run(&["restore", point, "--to", to.to_str().unwrap()])
    }

    /// From one directory, without a cluster.
    pub(super) fn is_whole_in(&self, location: &str, point: &str, tree: &Tree) {
        let to = self.at("alone");
        let url = format!("local:{}", self.at(location).display());
        let kek = format!("file:{}", self.at("kek").display());
        let from = ["--from-location", &url, "--kek", &kek, "--output", "json"];
        let restore = ["restore", point, "--to", to.to_str().unwrap()];
        holdfast(None, &[&restore, &from[..]].concat()).ok();
        tree.assert_same(&Tree::of(&to.join(self.source.strip_prefix("/").unwrap())), location);
        fs::remove_dir_all(to).unwrap();
    }

    /// Through one member, where others would hang.
    pub(super) fn backup_at(&self, name: &str) -> String {
        let path = self.source.to_str().unwrap();
        let made = || {
            let done = self.members.run_at(name, &["backup", "--path", path]);
            // The agent may not have found this member yet.
            (done.code == 0).then(|| done.object()["point"].as_str().unwrap().to_owned())
        };
        wait_until("a backup is made", PATIENCE, made)
    }

    fn applied(&self, name: &str) -> u64 {
        let told = self.regions();
        let rows = told["regions"].as_array().unwrap().clone();
        let mut rows = rows.iter().flat_map(|row| row["members"].as_array().unwrap().clone());
        rows.find(|row| row["name"] == name).unwrap()["applied"].as_u64().unwrap()
    }
}

#[test]
fn a_location_that_follows_stands_in_for_a_lost_one_until_that_is_back() {
    let mut regions = Regions::that_follow();
    let (first, tree) = (regions.backup(), Tree::of(&regions.source));
    regions.wait_until_in_far(&first);
    let ready = regions.members.run(&["region", "check", "dr"]).ok().object();
    assert_eq!(ready["ready"], true, "{ready:#}");
    assert_eq!(ready["locations"], json!(["far"]), "{ready:#}");
    assert_eq!(ready["taken"][0]["points"], 0, "{ready:#}");
    // What comes now lies at home alone.
    regions.block("packs", true);
    fill(&regions.source, 2, 3);
    let (second, tree_of_second) = (regions.backup(), Tree::of(&regions.source));
    let knows = || regions.points_at("four").contains(&second).then_some(());
    wait_until("`dr` knows of it", PATIENCE, knows);
    regions.lose_eu_with_its_location();
    regions.block("packs", false);
    let told = regions.promote();
    assert_eq!(told["lost"]["locations"], json!(["location"]), "{told:#}");
    let taken = &told["taken"][0];
    assert_eq!((&taken["location"], &taken["points"]), (&json!("far"), &json!(1)), "{told:#}");
    assert_eq!(taken["sources"][0]["ids"], json!([second]), "{told:#}");
    assert_eq!(taken["sources"][0]["reachable"]["id"], *first, "{told:#}");
    assert_eq!(epochs(&regions.at("far")), 1);
    // It has what was copied, and takes what comes.
    regions.is_whole(&first, &tree, "first");
    regions.restore(&second, "second").fails(5, "point.location_lost");
    let third = regions.backup();
    regions.is_whole(&third, &tree_of_second, "third");
    regions.is_whole_in("far", &third, &tree_of_second);
    let copies = regions.wait_for_copies("away");
    assert_eq!(copies["problem"]["code"], "location.copies_behind", "{copies:#}");
    // Whoever looks for it finds it nowhere, and does not say that it is lost.
    regions.members.run(&["verify", "--all", "--level", "storage"]).ends(7);
    let alarms = regions.alarms();
    assert!(alarms.iter().all(|code| code != "source.point_lost"), "{alarms:?}");
    regions.restore(&second, "second").fails(5, "point.location_lost");
    fill(&regions.source, 3, 1);
    let (fourth, tree_of_fourth) = (regions.backup(), Tree::of(&regions.source));
    // The disk was saved.
    fs::rename(regions.at("burnt"), regions.at("location")).unwrap();
    regions.start_eu();
    let back = regions.fail_back(&["--yes"]).ok().object();
    assert_eq!(back["leader"], "one", "{back:#}");
    assert_eq!(back["differences"], json!([]), "{back:#}");
    let alarms = regions.alarms();
    assert!(alarms.iter().all(|code| code != "pack.missing"), "{alarms:?}");
    let vault = regions.members.run(&["get", "vault", "main"]).ok().object().to_string();
    assert!(vault.contains(r#""required":["location"]"#), "{vault}");
    regions.wait_for_copies("current");
    let all = [
        (&first, &tree),
        (&second, &tree_of_second),
        (&third, &tree_of_second),
        (&fourth, &tree_of_fourth),
    ];
    for (number, (point, tree)) in all.into_iter().enumerate() {
        regions.is_whole(point, tree, &format!("back-{number}"));
        regions.wait_until_in_far(point);
    }
    regions.members.run(&["verify", "--all", "--level", "storage"]).ok();
    assert_eq!(objects(&regions.at("location")), objects(&regions.at("far")));
    for location in ["location", "far"] {
        for (point, tree) in all {
            regions.is_whole_in(location, point, tree);
        }
    }
}

#[test]
fn what_was_made_alone_on_what_the_other_side_lacks_is_taken_in() {
    let mut regions = Regions::that_follow();
    let first = regions.backup();
    regions.wait_until_in_far(&first);
    regions.block("packs", true);
    fill(&regions.source, 4, 2);
    let (second, tree) = (regions.backup(), Tree::of(&regions.source));
    let knows = || regions.points_at("four").contains(&second).then_some(());
    wait_until("`dr` knows of it", PATIENCE, knows);
    // Behind the cut `eu` goes on, and what it makes rests on what never came to `far`.
    for name in DR {
        regions.members.running[name].signal(Signal::STOP);
    }
    let alone = regions.backup_at("one");
    regions.lose_eu();
    regions.block("packs", false);
    for name in DR {
        regions.members.running[name].signal(Signal::CONT);
    }
    let told = regions.promote();
    assert_eq!(told["taken"][0]["points"], 1, "{told:#}");
    assert!(!regions.points().contains(&alone));
    regions.start_eu();
    let back = regions.fail_back(&["--yes"]).ok().object();
    assert_eq!(back["imported"], json!([alone]), "{back:#}");
    assert_eq!(back["left"], json!([]), "{back:#}");
    for (name, point) in [("second", &second), ("alone", &alone)] {
        regions.is_whole(point, &tree, name);
    }
}

#[test]
fn a_side_that_reaches_only_the_location_finds_the_claim_there() {
    let mut regions = Regions::that_follow();
    let first = regions.backup();
    regions.wait_until_in_far(&first);
    regions.wait_for_copies("current");
    regions.members.running["one"].signal(Signal::STOP);
    regions.promote_from("four");
    for name in DR {
        regions.members.kill(name);
    }
    // It is the majority of what it knows, and nobody tells it anything.
    regions.members.running["one"].signal(Signal::CONT);
    let superseded = || {
        let done = regions.members.run_at("one", &["agent", "token"]);
        (done.code == 4).then(|| done.error())
    };
    let told = wait_until("it finds the claim", PATIENCE, superseded);
    assert_eq!(told["code"], "epoch.superseded", "{told:#}");
    regions.assert_fenced("one");
}

#[test]
fn all_is_recovered_from_a_location_that_stands_in() {
    let mut regions = Regions::that_follow();
    let (first, tree) = (regions.backup(), Tree::of(&regions.source));
    regions.wait_until_in_far(&first);
    regions.wait_for_copies("current");
    // The log goes on at home, and `dr` hears that it lies there.
    regions.block("cluster/log", true);
    for _ in 0..5 {
        regions.members.run_at("one", &["agent", "token"]).ok();
    }
    let applied = regions.applied("one");
    let hint = |name: &str| {
        let text = fs::read_to_string(regions.members.dir(name).join("data/shipped"));
        text.ok()?.parse::<u64>().ok()
    };
    for name in DR {
        let knows = || (hint(name)? >= applied).then_some(());
        wait_until("it knows what is shipped", PATIENCE, knows);
    }
    regions.lose_eu_with_its_location();
    regions.block("cluster/log", false);
    regions.promote();
    fill(&regions.source, 6, 1);
    let (second, tree_of_second) = (regions.backup(), Tree::of(&regions.source));
    for name in DR {
        regions.members.kill(name);
    }
    let told = recovered(&regions.at("far"), &regions.at("again"), &regions.at("kek"));
    let told = told.ok().object();
    assert_eq!((&told["missing"], &told["points"]), (&Value::Null, &json!(2)), "{told:#}");
    for (point, tree) in [(&first, &tree), (&second, &tree_of_second)] {
        regions.is_whole_in("far", point, tree);
    }
}

fn recovered(location: &Path, dir: &Path, kek: &Path) -> Outcome {
    let from = format!("local:{}", location.display());
    let kek = format!("file:{}", kek.display());
    let mut command = Command::new(binary());
    command.args(["--output", "json", "cluster", "recover", "--from", &from, "--kek", &kek]);
    command.args(["--dir", dir.to_str().unwrap(), "--name", "again", "--region", "dr"]);
    command.args(["--listen", "127.0.0.1:0"]);
    Outcome::of(None, &mut command)
}
