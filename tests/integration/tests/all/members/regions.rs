//! Two regions: one is lost, the other takes the lead, and what comes back is fenced.

use super::{
    losing::{fill, restored},
    scene::{Members, PATIENCE},
};
use crate::{
    cluster::Cluster,
    harness::{Scratch, Service, Tree, wait_until, write},
};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// `eu` with voters, `dr` with two learners, and a required location in each.
struct Regions {
    members: Members,
    agent: Service,
    source: PathBuf,
}

const DR: [&str; 2] = ["four", "five"];

impl Regions {
    fn start(voters: &[&str]) -> Self {
        let Cluster { scratch, coordinator } =
            Cluster::start_in(Scratch::new(), &["location", "far"]);
        let running = [("one".to_owned(), coordinator)].into();
        let mut members = Members { scratch, running };
        let file = members.scratch.join("far.toml");
        let url = format!("local:{}", members.scratch.join("far").display());
        let text = format!(
            "kind = \"location\"\nname = \"far\"\n[spec]\nurl = \"{url}\"\nregion = \"dr\"\n"
        );
        write(&file, text);
        members.run(&["apply", "--file", file.to_str().unwrap()]).ok();
        for name in voters {
            members.add(name, &[]);
        }
        members.wait_for_voters(1 + voters.len());
        for name in DR {
            members.join_in("dr", name, &members.token(), &["--learner"]).ok();
            members.start(name);
        }
        let follow = || {
            let rows = members.rows();
            let rows = rows.iter().filter(|row| row["region"] == "dr");
            (rows.filter(|row| row["state"] == "follower").count() == 2).then_some(())
        };
        wait_until("the learners follow", PATIENCE, follow);
        let agent = members.agent("host");
        let source = members.scratch.join("source");
        fill(&source, 1, 2);
        Self { members, agent, source }
    }

    fn backup(&self) -> String {
        let path = self.source.to_str().unwrap();
        let told = self.members.run(&["backup", "--path", path]).ok().object();
        told["point"].as_str().unwrap().to_owned()
    }

    fn lose_eu(&mut self) {
        let names: Vec<String> = self.members.running.keys().cloned().collect();
        for name in names.iter().filter(|name| !DR.contains(&name.as_str())) {
            self.members.kill(name);
        }
    }

    fn promote(&self) -> Value {
        let promoted = || {
            let done = self.members.run(&["region", "promote", "dr", "--yes"]);
            match done.code {
                0 => Some(done.object()),
                // A leader spoke a moment ago.
                _ if done.error()["code"] == "region.primary_alive" => None,
                _ => Some(done.ok().object()),
            }
        };
        wait_until("dr leads", PATIENCE, promoted)
    }

    fn regions(&self) -> Value {
        self.members.run(&["region", "status"]).ok().object()
    }

    fn role(&self, region: &str) -> String {
        let told = self.regions();
        let rows = told["regions"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == region).unwrap();
        row["role"].as_str().unwrap().to_owned()
    }

    fn points_at(&self, name: &str) -> Vec<String> {
        let told = self.members.run_at(name, &["points"]).ok().object();
        let rows = told["points"].as_array().unwrap();
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    }

    fn is_whole(&self, point: &str, tree: &Tree, name: &str) {
        tree.assert_same(&restored(&self.members, point, &self.source, name), name);
    }

    /// A member of the old side says so, and takes nothing.
    fn assert_fenced(&self, name: &str) {
        let fenced = || {
            let done = self.members.run_at(name, &["status"]);
            let told = (done.code == 1).then(|| done.object())?;
            let alarms = told["alarms"].as_array().unwrap().clone();
            alarms.iter().any(|alarm| alarm["code"] == "epoch.superseded").then_some(())
        };
        wait_until("it says that it was superseded", PATIENCE, fenced);
        let path = self.source.to_str().unwrap();
        for command in [&["agent", "token"][..], &["backup", "--path", path]] {
            self.members.run_at(name, command).fails(4, "epoch.superseded");
        }
    }
}

fn epochs(location: &Path) -> usize {
    std::fs::read_dir(location.join("epochs")).map_or(0, Iterator::count)
}

#[test]
fn when_a_region_is_lost_the_other_takes_the_lead_and_what_comes_back_is_fenced() {
    let mut regions = Regions::start(&["two", "three"]);
    let (before, tree) = (regions.backup(), Tree::of(&regions.source));
    assert_eq!((regions.role("eu").as_str(), regions.role("dr").as_str()), ("primary", "standby"));
    regions.members.run(&["region", "promote", "dr", "--yes"]).fails(4, "region.primary_alive");
    regions.members.run(&["region", "promote", "eu", "--yes"]).fails(4, "region.lead_held");
    regions.members.run(&["region", "promote", "us", "--yes"]).fails(3, "region.name_unknown");
    let ready = regions.members.run(&["region", "check", "dr"]).ok().object();
    assert_eq!(ready["ready"], true, "{ready}");
    assert_eq!(ready["locations"], serde_json::json!(["far"]));
    regions.lose_eu();
    let told = regions.promote();
    assert_eq!(told["epoch"], 2, "{told}");
    assert_eq!(told["lost"]["locations"], serde_json::json!(["location"]));
    assert_eq!(told["newest"][0]["id"], *before, "{told}");
    let (near, far) =
        (regions.members.scratch.join("location"), regions.members.scratch.join("far"));
    assert_eq!((epochs(&near), epochs(&far)), (0, 1));
    regions.is_whole(&before, &tree, "before");
    fill(&regions.source, 2, 3);
    let (after, tree) = (regions.backup(), Tree::of(&regions.source));
    regions.is_whole(&after, &tree, "after");
    regions.members.run(&["verify", "--all", "--level", "storage"]).ok();
    regions.members.run(&["audit", "verify"]).ok();
    let status = regions.members.run(&["status"]).ends(1).object();
    assert_eq!(status["cluster"]["epoch"], 2);
    let codes: Vec<&Value> =
        status["alarms"].as_array().unwrap().iter().map(|alarm| &alarm["code"]).collect();
    assert!(codes.contains(&&Value::from("region.copies_absent")), "{codes:?}");
    assert_eq!(
        (regions.role("eu").as_str(), regions.role("dr").as_str()),
        ("superseded", "primary")
    );
    let leader = regions.members.leader();
    // The old side comes back, in terms of its own, and is a majority of what it knows.
    for name in ["one", "two", "three"] {
        regions.members.start(name);
    }
    for name in ["one", "two", "three"] {
        regions.assert_fenced(name);
        assert!(!regions.points_at(name).contains(&after), "{name} has what it had");
    }
    assert_eq!(regions.members.run_at("four", &["cluster", "status"]).ok().object()["epoch"], 2);
    assert_eq!(regions.members.leader(), leader);
    assert_eq!(regions.points_at("five"), [after.clone(), before]);
    regions.backup();
    drop(regions.agent);
}
