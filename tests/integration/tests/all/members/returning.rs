//! A region that was given up comes back: what it did alone, its locations, its members, the lead.
//! Or it never does, and is forgotten.

use super::{
    losing::{count, fill},
    regions::{DR, Regions},
    scene::PATIENCE,
};
use crate::harness::{Outcome, Tree, binary, wait_until, write};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
};

pub(super) const EU: [&str; 3] = ["one", "two", "three"];

/// All objects below a location, but for those of the ledger's log: leaders cut that differently.
/// What a killed put left in `tmp` is none.
pub(super) fn objects(location: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut next = vec![location.to_path_buf()];
    while let Some(folder) = next.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(location).unwrap().to_str().unwrap().to_owned();
            match path.is_dir() {
                true if !["cluster", "tmp"].contains(&&*name) => next.push(path),
                true => {}
                false => found.push(name),
            }
        }
    }
    found.sort();
    found
}

impl Regions {
    pub(super) fn fail_back(&self, more: &[&str]) -> Outcome {
        self.members.run(&[&["region", "failback", "eu"][..], more].concat())
    }

    pub(super) fn start_eu(&mut self) {
        for name in EU {
            if self.members.dir(name).exists() {
                self.members.start(name);
            }
        }
        self.assert_fenced("one");
    }

    pub(super) fn alarms(&self) -> Vec<String> {
        let told = self.members.run(&["status"]).object();
        let alarms = told["alarms"].as_array().unwrap().clone();
        alarms.iter().map(|alarm| alarm["code"].as_str().unwrap().to_owned()).collect()
    }

    /// What `eu` agrees now is in nobody else's log, and no answer says that it is safe.
    pub(super) fn alone(&mut self, work: impl FnOnce(&mut Self)) {
        let log = self.members.scratch.join("far/cluster/log");
        let away = self.members.scratch.join("away");
        for name in DR {
            self.members.running[name].signal(Signal::STOP);
        }
        fs::rename(&log, &away).unwrap();
        write(&log, "in the way");
        work(self);
        self.lose_eu();
        fs::remove_file(&log).unwrap();
        fs::rename(&away, &log).unwrap();
        for name in DR {
            self.members.running[name].signal(Signal::CONT);
        }
    }

    /// The same, and a hold on it.
    fn back_up_and_hold(&self) -> String {
        let point = self.back_up_unheard();
        self.members.run_at("one", &["hold", "add", &point, "--reason", "claim 4711"]).ok();
        point
    }

    /// What a region held alone is held, and nobody has to decide on it.
    fn assert_held(&self, point: &str, done: &Value) {
        let told = self.members.run(&["hold", "list"]).ok().object();
        assert_eq!(told["holds"][0]["point"], point, "{told}");
        let mut left = done["differences"].as_array().unwrap().iter();
        assert!(left.all(|other| other["action"] != "hold.add"), "{done}");
    }

    /// A backup that is agreed, and of which nobody hears that it is safe.
    fn back_up_unheard(&self) -> String {
        let known = self.points_at("one");
        let context = self.members.scratch.join("c/operator.toml");
        let mut backup = Command::new(binary())
            .args(["--context", context.to_str().unwrap(), "backup", "--path"])
            .arg(&self.source)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let new = || self.points_at("one").into_iter().find(|point| !known.contains(point));
        let point = wait_until("the point is agreed", PATIENCE, new);
        backup.kill().unwrap();
        backup.wait().unwrap();
        point
    }
}

#[test]
fn a_region_comes_back_with_all_it_did_alone_and_leads_again() {
    let mut regions = Regions::start(&["two", "three"]);
    let (before, first) = (regions.backup(), Tree::of(&regions.source));
    regions.fail_back(&["--yes"]).fails(4, "region.lead_held");
    fill(&regions.source, 7, 1);
    let second = Tree::of(&regions.source);
    let policy = regions.members.scratch.join("policy.toml");
    write(
        &policy,
        "kind = \"policy\"\nname = \"docs\"\n[spec]\nagent = \"host\"\nvault = \"main\"\n\
         source = { type = \"files\", paths = [\"/srv\"] }\n",
    );
    let mut lone = String::new();
    let far = regions.members.scratch.join("far");
    let there = objects(&far);
    regions.alone(|regions| {
        lone = regions.back_up_and_hold();
        regions.members.run_at("one", &["apply", "--file", policy.to_str().unwrap()]).ok();
    });
    // What it put into the other location before it agreed is gone from there.
    let lone_there = objects(&far).into_iter().filter(|name| !there.contains(name));
    let of_point =
        |name: &String| ["points/", "packs/", "reach/"].iter().any(|at| name.starts_with(at));
    let gone: Vec<String> = lone_there.filter(of_point).collect();
    assert!(gone.len() >= 2, "{gone:?}");
    gone.iter().for_each(|name| fs::remove_file(far.join(name)).unwrap());
    regions.promote();
    fill(&regions.source, 8, 2);
    let (after, third) = (regions.backup(), Tree::of(&regions.source));
    assert_eq!(regions.points(), [after.clone(), before.clone()], "nobody heard of the other");
    regions.start_eu();

    regions.fail_back(&[]).fails(4, "confirm.answer_missing");
    let found = regions.fail_back(&["--dry-run"]).ok().object();
    assert_eq!(found["imported"], json!([lone]), "{found}");
    assert_eq!(found["left"], json!([]), "{found}");
    let decide = found["differences"].as_array().unwrap();
    let policies: Vec<&Value> =
        decide.iter().filter(|other| other["action"] == "policy.put").collect();
    assert_eq!(policies.len(), 1, "{found}");
    assert_eq!(policies[0]["subject"], "docs");
    assert_eq!(policies[0]["resource"]["spec"]["agent"], "host", "{found}");
    assert_eq!(regions.role("eu"), "superseded", "it was only looked");

    let done = regions.fail_back(&["--yes"]).ok().object();
    assert_eq!(done["imported"], json!([lone]), "{done}");
    regions.assert_held(&lone, &done);
    assert!(EU.contains(&done["leader"].as_str().unwrap()), "{done}");
    assert_eq!(done["voters"], json!(EU), "{done}");
    assert_eq!((regions.role("eu").as_str(), regions.role("dr").as_str()), ("primary", "standby"));
    assert_eq!(regions.regions()["epoch"], 2);
    assert!(!regions.alarms().contains(&"region.copies_absent".to_owned()));
    let near = objects(&regions.members.scratch.join("location"));
    assert_eq!(near, objects(&far), "both have everything");
    for name in EU.iter().chain(&DR) {
        let all = || (regions.points_at(name).len() == 3).then_some(());
        wait_until("everybody has all points", PATIENCE, all);
    }
    regions.members.run(&["verify", "--all", "--level", "storage"]).ok();
    regions.members.run(&["audit", "verify"]).ok();
    fill(&regions.source, 9, 1);
    let (newest, fourth) = (regions.backup(), Tree::of(&regions.source));
    // All of it is in `eu` itself.
    for name in DR {
        regions.members.kill(name);
    }
    fs::rename(&far, regions.members.scratch.join("gone")).unwrap();
    let trees = [(&before, &first), (&lone, &second), (&after, &third), (&newest, &fourth)];
    for (number, (point, tree)) in trees.into_iter().enumerate() {
        regions.is_whole(point, tree, &format!("restored-{number}"));
    }
    let again = || regions.fail_back(&["--yes"]).ok().object()["imported"].clone();
    assert_eq!(again(), json!([lone]), "it is told again");
    regions.members.run(&["region", "settle", "eu", "--yes"]).ok();
    assert_eq!(again(), json!([]), "until it is settled");
}

#[test]
fn a_region_that_came_back_can_be_lost_again() {
    let mut regions = Regions::start(&[]);
    let before = regions.backup();
    regions.lose_eu();
    regions.promote();
    let between = regions.backup();
    regions.start_eu();
    regions.fail_back(&["--yes"]).ok();
    let back = regions.backup();
    regions.lose_eu();
    let told = regions.promote();
    assert_eq!(told["epoch"], 3, "{told}");
    let after = regions.backup();
    assert_eq!(regions.points(), [after, back.clone(), between.clone(), before.clone()]);
    regions.start_eu();
    assert_eq!(regions.points_at("one"), [back, between, before]);
}

#[test]
fn a_failback_whose_coordinator_is_killed_is_typed_again_and_goes_on() {
    let mut regions = Regions::start(&[]);
    regions.backup();
    regions.lose_eu();
    let told = regions.promote();
    for seed in 20..23 {
        fill(&regions.source, seed, 2);
        regions.backup();
    }
    regions.start_eu();
    let leads = told["member"].as_str().unwrap().to_owned();
    let packs = regions.members.scratch.join("location/packs");
    let before = count(&packs);
    let context = regions.members.scratch.join("c/operator.toml");
    let mut first = Command::new(binary())
        .args(["--context", context.to_str().unwrap(), "region", "failback", "eu", "--yes"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("something was copied", PATIENCE, || (count(&packs) > before).then_some(()));
    // Where it was: by what it knows of the old side, it cannot be found elsewhere.
    let address = regions.members.running[&leads].address.clone();
    regions.members.kill(&leads);
    first.kill().unwrap();
    first.wait().unwrap();
    let mut command = regions.members.command(&leads);
    command.args(["--listen", &address]);
    regions.members.start_command(&leads, &mut command);
    let again = || {
        let done = regions.fail_back(&["--yes"]);
        (done.code == 0).then(|| done.object())
    };
    let done = wait_until("it goes on", PATIENCE, again);
    assert_eq!(done["leader"], "one", "{done}");
    let near = objects(&regions.members.scratch.join("location"));
    assert_eq!(near, objects(&regions.members.scratch.join("far")), "both have everything");
    regions.members.run(&["verify", "--all", "--level", "storage"]).ok();
}

#[test]
fn a_region_whose_location_is_not_there_does_not_come_back() {
    let mut regions = Regions::start(&[]);
    regions.backup();
    regions.lose_eu();
    regions.promote();
    regions.start_eu();
    regions.members.run(&["region", "failback", "us", "--yes"]).fails(3, "region.name_unknown");
    regions.members.run(&["region", "failback", "dr", "--yes"]).fails(4, "region.lead_held");
    let (location, away) =
        (regions.members.scratch.join("location"), regions.members.scratch.join("unmounted"));
    fs::rename(&location, &away).unwrap();
    fs::create_dir(&location).unwrap();
    let refused = regions.fail_back(&["--yes"]).error();
    assert!(refused["message"].as_str().unwrap().contains("`location`"), "{refused}");
    assert_eq!(regions.role("eu"), "superseded");
    fs::remove_dir(&location).unwrap();
    fs::rename(&away, &location).unwrap();
    regions.fail_back(&["--yes"]).ok();
    assert_eq!(regions.role("eu"), "primary");
}

#[test]
fn all_who_come_back_to_find_their_region_forgotten_are_fenced() {
    let mut regions = Regions::start(&["two", "three"]);
    regions.backup();
    regions.lose_eu();
    regions.promote();
    let forget = ["region", "forget", "eu", "--reason", "the building is gone", "--yes"];
    regions.members.run(&forget).ok();
    // They do not find the claim, and are a majority of what they know.
    let epochs = regions.members.scratch.join("far/epochs");
    fs::rename(epochs, regions.members.scratch.join("epochs-away")).unwrap();
    for name in EU {
        regions.members.start(name);
    }
    for name in EU {
        let standing = regions.members.dir(name).join("data/epoch");
        wait_until("it is fenced", PATIENCE, || standing.exists().then_some(()));
        let token = regions.members.run_at(name, &["agent", "token"]);
        assert_ne!(token.code, 0, "{name} decides nothing");
        // And it ends, since nobody waits for it.
        let is_gone =
            || (regions.members.run_at(name, &["region", "status"]).code == 5).then_some(());
        wait_until("it has ended", PATIENCE, is_gone);
    }
    assert_eq!(regions.members.run_at("four", &["cluster", "status"]).ok().object()["epoch"], 2);
}

#[test]
fn a_location_that_waits_for_its_region_stays_declared_until_that_is_settled() {
    let mut regions = Regions::start(&[]);
    regions.backup();
    regions.lose_eu();
    regions.promote();
    let delete = ["delete", "location", "location", "--yes"];
    regions.members.run(&delete).fails(8, "resource.change_refused");
    let file = regions.members.scratch.join("moved.toml");
    let url = format!("local:{}", regions.members.scratch.join("elsewhere").display());
    let text = format!(
        "kind = \"location\"\nname = \"location\"\n[spec]\nurl = \"{url}\"\nregion = \"eu\"\n"
    );
    write(&file, text);
    let moved = ["apply", "--file", file.to_str().unwrap()];
    let refused = regions.members.run(&moved).ends(8).error();
    assert!(refused["next"].as_str().unwrap().contains("region forget eu"), "{refused}");
    let forget = ["region", "forget", "eu", "--reason", "the building is gone", "--yes"];
    regions.members.run(&forget).ok();
    regions.members.run(&delete).ok();
    assert!(!regions.alarms().contains(&"region.copies_absent".to_owned()));
}

#[test]
fn what_a_region_did_alone_is_told_behind_a_snapshot_of_its_own() {
    const DECIDED: usize = 48;
    let mut regions = Regions::start(&[]);
    let config = regions.members.dir("one").join("coordinator.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("snapshot_every = 20\n{text}")).unwrap();
    regions.members.stop("one");
    regions.members.start("one");
    regions.backup();
    let snapshots = regions.members.dir("one").join("data/ledger/snapshots");
    regions.alone(|regions| {
        let there = || {
            let all = fs::read_dir(&snapshots).unwrap().map(|entry| entry.unwrap().file_name());
            all.collect::<BTreeSet<_>>()
        };
        let before = there();
        // Each waits three seconds for the locations.
        let members = &regions.members;
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    (0..DECIDED / 8).for_each(|_| {
                        members.run_at("one", &["agent", "token"]).ok();
                    });
                });
            }
        });
        let new = || (there() != before).then_some(());
        wait_until("a snapshot of its own", PATIENCE, new);
    });
    regions.promote();
    regions.start_eu();
    let found = regions.fail_back(&["--dry-run"]).ok().object();
    assert_eq!(found["unread"], Value::Null, "{found}");
    let tokens = found["differences"].as_array().unwrap().iter();
    let tokens = tokens.filter(|other| other["action"] == "token.create").count();
    assert_eq!(tokens, DECIDED, "{found}");
}

#[test]
fn a_region_that_is_forgotten_stays_away_and_nobody_waits_for_it() {
    let mut regions = Regions::start(&[]);
    let before = regions.backup();
    let forget = ["region", "forget", "eu", "--reason", "the building is gone"];
    regions.members.run(&[&forget[..], &["--yes"]].concat()).fails(4, "region.lead_held");
    regions.lose_eu();
    regions.promote();
    regions.members.run(&forget).fails(4, "confirm.answer_missing");
    assert!(regions.alarms().contains(&"region.copies_absent".to_owned()));
    regions.members.run(&[&forget[..], &["--yes"]].concat()).ok();
    assert!(!regions.alarms().contains(&"region.copies_absent".to_owned()));
    let after = regions.backup();
    assert_eq!(regions.points(), [after, before]);
    regions.fail_back(&["--yes"]).fails(4, "region.lead_held");
    let told = regions.members.run(&["cluster", "status"]).ok().object();
    assert_eq!(told["members"].as_array().unwrap().len(), 2, "{told}");
    assert!(objects(&regions.members.scratch.join("location")).len() > 3, "it stays as it is");
}
