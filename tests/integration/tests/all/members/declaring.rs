//! What is declared while a location that follows stands in, or just before: wherever the vault is
//! to lie from then on, nothing that lies in the lost location alone is dropped, and who takes the
//! lead takes what follows by what it heard last. Who does not, and copies on, finds the claim.

use super::{
    losing::fill,
    regions::{DR, Regions},
    scene::PATIENCE,
};
use crate::harness::{Tree, wait_until};
use rustix::process::Signal;
use serde_json::json;
use std::{fs, path::Path};

impl Regions {
    /// Where a vault lies from now on.
    fn lie(&self, vault: &str, locations: &str) {
        let spec = format!("[spec]\nlocations = {{ {locations} }}\n");
        self.apply(format!("kind = \"vault\"\nname = \"{vault}\"\n{spec}"));
    }
}

#[test]
fn what_was_made_alone_is_taken_in_although_the_vault_lies_elsewhere_by_then() {
    let mut regions = Regions::that_follow();
    regions.declare("third", "dr");
    let first = regions.backup();
    regions.wait_until_in_far(&first);
    regions.block("packs", true);
    fill(&regions.source, 4, 2);
    let (second, tree) = (regions.backup(), Tree::of(&regions.source));
    let knows = || regions.points_at("four").contains(&second).then_some(());
    wait_until("`dr` knows of it", PATIENCE, knows);
    // What `eu` makes behind the cut rests on what never came to `far`.
    for name in DR {
        regions.members.running[name].signal(Signal::STOP);
    }
    let alone = regions.backup_at("one");
    regions.lose_eu();
    regions.block("packs", false);
    for name in DR {
        regions.members.running[name].signal(Signal::CONT);
    }
    regions.promote();
    regions.lie("main", r#"required = ["far"], following = ["third"]"#);
    regions.start_eu();
    let back = regions.fail_back(&["--yes"]).ok().object();
    assert_eq!((&back["imported"], &back["left"]), (&json!([alone]), &json!([])), "{back:#}");
    for (name, point) in [("second", &second), ("alone", &alone)] {
        regions.is_whole(point, &tree, name);
        regions.is_whole_in("far", point, &tree);
    }
    let vault = regions.members.run(&["get", "vault", "main"]).ok().object().to_string();
    assert!(vault.contains(r#""required":["far","location"]"#), "as it was declared: {vault}");
}

#[test]
fn a_side_that_copies_for_hours_finds_the_claim_meanwhile() {
    let mut regions = Regions::that_follow();
    let first = regions.backup();
    regions.wait_until_in_far(&first);
    regions.wait_for_copies("current");
    let slow = "copy_bytes_per_second_max = 20000";
    regions.lie("main", &format!(r#"required = ["location"], following = ["far"], {slow}"#));
    fill(&regions.source, 2, 2);
    regions.backup();
    regions.wait_for_copies("copying");
    regions.members.running["one"].signal(Signal::STOP);
    regions.promote_from("four");
    for name in DR {
        regions.members.kill(name);
    }
    regions.members.running["one"].signal(Signal::CONT);
    let superseded = || {
        let done = regions.members.run_at("one", &["agent", "token"]);
        (done.code == 4).then(|| done.error())
    };
    let told = wait_until("it finds the claim", PATIENCE, superseded);
    assert_eq!(told["code"], "epoch.superseded", "{told:#}");
}

#[test]
fn what_is_heard_of_the_lost_side_decides_what_is_taken() {
    let mut regions = Regions::that_follow();
    for (name, region) in [("near", "eu"), ("third", "dr"), ("fourth", "dr")] {
        regions.declare(name, region);
    }
    regions.lie("other", r#"required = ["near"], following = ["third"]"#);
    let first = regions.backup();
    regions.wait_until_in_far(&first);
    let knows = || regions.points_at("four").contains(&first).then_some(());
    wait_until("`dr` knows of it", PATIENCE, knows);
    for name in DR {
        regions.members.kill(name);
    }
    // Of this `dr` hears from the log in `far` alone.
    regions.lie("other", r#"required = ["near"], following = ["fourth"]"#);
    let log = |location: &str| extents(&regions.at(location));
    let declared = log("location").last().cloned().unwrap();
    wait_until("it is copied", PATIENCE, || {
        let copied = log("far").last().cloned()?;
        (copied >= declared).then_some(())
    });
    regions.lose_eu_with_its_location();
    for name in DR {
        regions.members.start(name);
    }
    let told = regions.promote_from("four");
    let taken = told["taken"].as_array().unwrap();
    let of_other = taken.iter().find(|taken| taken["vault"] == "other").unwrap();
    assert_eq!(of_other["location"], "fourth", "{told:#}");
    let vault = wait_until("the epoch begins", PATIENCE, || {
        let done = regions.members.run_at("four", &["get", "vault", "other"]);
        (done.code == 0).then(|| done.object().to_string())
    });
    assert!(vault.contains(r#""required":["fourth"]"#), "{vault}");
}

/// The names of what lies there of the log, in order.
fn extents(location: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(location.join("cluster/log"))
        .map(|found| found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
        .unwrap_or_default();
    names.sort();
    names
}
