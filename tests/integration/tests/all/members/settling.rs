//! What a region did alone is kept and shown until somebody has settled it, and is not given up by
//! whoever forgets to ask.

use super::{regions::Regions, returning::EU};
use crate::harness::write;
use serde_json::{Value, json};
use std::{fs, path::PathBuf};

fn policy(regions: &Regions) -> PathBuf {
    let file = regions.members.scratch.join("policy.toml");
    write(
        &file,
        "kind = \"policy\"\nname = \"docs\"\n[spec]\nagent = \"host\"\nvault = \"main\"\n\
         source = { type = \"files\", paths = [\"/srv\"] }\n",
    );
    file
}

/// The policies that are to be decided.
fn policies(report: &Value) -> Vec<&Value> {
    let all = report["differences"].as_array().unwrap().iter();
    all.filter(|other| other["action"] == "policy.put").collect()
}

#[test]
fn what_is_to_be_decided_outlives_a_failback_that_breaks_off() {
    let mut regions = Regions::start(&["two", "three"]);
    regions.backup();
    let file = policy(&regions);
    regions.alone(|regions| {
        regions.members.run_at("one", &["apply", "--file", file.to_str().unwrap()]).ok();
    });
    regions.promote();
    for name in ["two", "three"] {
        fs::remove_dir_all(regions.members.dir(name)).unwrap();
    }
    regions.start_eu();
    assert_eq!(regions.regions()["unsettled"], json!([]));
    // It is back, and too few of it can vote: its ledger is put aside by then.
    let broken = regions.fail_back(&["--yes"]);
    assert!(broken.stderr.contains("TO DECIDE policy.put docs"), "{}", broken.stderr);
    assert_eq!(broken.ends(8).error()["code"], "member.log_behind");
    let told = regions.regions();
    assert_eq!(told["unsettled"][0]["region"], "eu", "{told}");
    assert_eq!(policies(&told["unsettled"][0])[0]["subject"], "docs", "{told}");
    for name in ["two", "three"] {
        regions.members.run(&["cluster", "remove", name, "--yes"]).ok();
    }
    let done = regions.fail_back(&["--yes"]).ok().object();
    assert_eq!(policies(&done)[0]["resource"]["spec"]["agent"], "host", "{done}");
    assert_eq!((&done["leader"], &done["asked"]), (&"one".into(), &json!(["one"])), "{done}");
    for name in ["one", "four"] {
        let told = regions.members.run_at(name, &["region", "status"]).ok().object();
        assert_eq!(policies(&told["unsettled"][0]).len(), 1, "{name}: {told}");
    }
    regions.members.run(&["region", "settle", "eu"]).fails(4, "confirm.answer_missing");
    regions.members.run(&["region", "settle", "eu", "--yes"]).ok();
    assert_eq!(regions.regions()["unsettled"], json!([]));
    let again = regions.fail_back(&["--yes"]).ok().object();
    assert_eq!(again["differences"], json!([]), "{again}");
}

#[test]
fn a_region_of_which_nobody_was_asked_comes_back_only_with_a_reason() {
    let mut regions = Regions::start(&[]);
    regions.backup();
    regions.lose_eu();
    regions.promote();
    let found = regions.fail_back(&["--dry-run"]).ok().object();
    assert_eq!(found["silent"], json!([EU[0]]), "{found}");
    regions.fail_back(&["--yes"]).fails(4, "region.members_silent");
    assert_eq!(regions.role("eu"), "superseded", "nothing was changed");
    assert_eq!(regions.regions()["unsettled"], json!([]));
    regions.fail_back(&["--yes", "--force"]).ends(2);
    let forced = ["--yes", "--force", "--reason", "it burnt down"];
    regions.fail_back(&forced).fails(8, "member.log_behind");
    let told = regions.regions();
    assert_eq!(told["unsettled"][0]["unasked_reason"], "it burnt down", "{told}");
    assert_eq!(told["unsettled"][0]["asked"], json!([]), "{told}");
}
