//! What is acknowledged while an epoch is claimed: it is in the new epoch, or nobody was answered.

use super::{
    losing::fill,
    regions::{Regions, epochs, wait_for_five},
    returning::EU,
    scene::PATIENCE,
};
use crate::harness::{FailingDisk, Flow, Scratch, Tree, wait_until};
use rustix::process::Signal;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Extents of the first epoch's log.
fn extents(location: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(location.join("cluster/log")).unwrap();
    let names = names.map(|entry| entry.unwrap().path());
    let is_first =
        |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("0000000001-");
    let mut names: Vec<PathBuf> = names.filter(is_first).collect();
    names.sort();
    names
}

impl Regions {
    /// The members of `eu` do not see what is claimed in `far`; or they do again.
    fn blindfold(&self, is_on: bool) {
        for name in EU {
            self.members.cut_off(name, &self.members.scratch.join("far/epochs"), is_on);
        }
    }

    /// How far a member knows that everything lies in the locations.
    fn shipped(&self, name: &str) -> u64 {
        let hint = self.members.dir(name).join("data/shipped");
        fs::read_to_string(hint).unwrap().parse().unwrap()
    }
}

#[test]
fn what_is_put_after_the_claim_is_answered_to_nobody() {
    let scratch = Scratch::new();
    let near = FailingDisk::mount(&scratch.join("location"), &scratch.join("location.image"), 512);
    fs::remove_dir(near.path.join("lost+found")).unwrap();
    let regions = Regions::that_can_be_cut_in(scratch, 81);
    regions.backup();
    let leads = regions.members.leader();
    regions.cut_lines(Flow::Still);
    wait_until("`dr` hears nobody", PATIENCE, || regions.is_silent());
    regions.blindfold(true);
    assert_eq!(regions.force("dr")["epoch"], 2);
    // Before it put anything it saw no claim; now one is there, and its put hangs.
    let far = regions.members.scratch.join("far");
    let token = || regions.members.run_at(&leads, &["agent", "token"]);
    token().ok();
    std::thread::scope(|scope| {
        let frozen = near.freeze();
        let there = extents(&far).len();
        let asked = scope.spawn(token);
        wait_until("it is put there", PATIENCE, || (extents(&far).len() > there).then_some(()));
        regions.blindfold(false);
        drop(frozen);
        // Whoever is fast enough hears it; after three seconds nobody waits for the locations.
        drop(asked.join().unwrap());
    });
    regions.assert_fenced(&leads);
    let newest = extents(&far).pop().unwrap();
    let from = newest.file_name().unwrap().to_str().unwrap().split_once('-').unwrap().1;
    let shipped = regions.shipped(&leads);
    assert!(shipped < from.parse().unwrap(), "{from} counts as shipped: up to {shipped}");
    drop((regions, near));
}

#[test]
fn what_was_acknowledged_until_the_claim_is_in_the_new_epoch() {
    let mut regions = Regions::that_can_be_cut_in(Scratch::new(), 82);
    let before = regions.backup();
    regions.cut_lines(Flow::Still);
    wait_until("`dr` hears nobody", PATIENCE, || regions.is_silent());
    let check = regions.members.run(&["region", "check", "dr"]).ok().object();
    let claims = check["member"].as_str().unwrap().to_owned();
    // It claims, and comes no further.
    let in_the_way = regions.members.dir(&claims).join("data/promotion");
    fs::create_dir(&in_the_way).unwrap();
    // What this side puts now it might as well have put a moment before the claim.
    regions.blindfold(true);
    let why = ["--force", "--reason", "a test of two sides", "--yes"];
    let stopped = regions.members.run(&[&["region", "promote", "dr"][..], &why].concat());
    assert_ne!(stopped.code, 0, "{}", stopped.stderr);
    assert_eq!(epochs(&regions.members.scratch.join("far")), 1, "it is claimed");
    fill(&regions.source, 2, 1);
    let (late, tree) = (regions.backup(), Tree::of(&regions.source));
    regions.members.kill(&claims);
    fs::remove_dir(in_the_way).unwrap();
    regions.members.start(&claims);
    let leads = || (regions.role("dr") == "primary").then_some(());
    wait_until("it goes on by itself", PATIENCE, leads);
    assert_eq!(regions.points_at(&claims), [late.clone(), before]);
    regions.blindfold(false);
    regions.members.lines().clear();
    for name in EU {
        regions.assert_fenced(name);
    }
    regions.is_whole(&late, &tree, "late");
}

#[test]
fn without_what_was_shipped_nobody_leads_who_was_not_told_to() {
    let mut regions = Regions::start(&[]);
    let before = regions.backup();
    regions.members.running["four"].signal(Signal::STOP);
    fill(&regions.source, 5, 1);
    let ahead = regions.backup();
    wait_for_five(&regions, || regions.points_at("five").contains(&ahead));
    regions.members.kill("five");
    regions.members.kill("one");
    let newest = extents(&regions.members.scratch.join("far")).pop().unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&newest, bytes).unwrap();
    regions.members.running["four"].signal(Signal::CONT);
    let promote = |more: &[&str]| {
        let all = [&["region", "promote", "dr", "--reason", "a test", "--yes"], more].concat();
        let asked = || {
            let done = regions.members.run(&all);
            let is_early = done.code != 0 && done.error()["code"] == "region.primary_alive";
            (!is_early).then_some(done)
        };
        wait_until("the old side is silent", PATIENCE, asked)
    };
    for more in [&[][..], &["--force"]] {
        let refused = promote(more).error();
        assert!(refused["message"].as_str().unwrap().contains("had shipped"), "{refused}");
        let next = refused["next"].as_str().unwrap();
        assert!(next.contains("--without-shipped-log"), "{refused}");
        assert!(refused["cause"].is_string(), "{refused}");
    }
    assert_eq!(epochs(&regions.members.scratch.join("far")), 0, "nothing was claimed");
    let told = promote(&["--without-shipped-log"]).ok().object();
    assert!(told["shipped_log_error"].is_string(), "{told}");
    assert_eq!(regions.points(), [before], "{ahead} is given up");
    let told: Value = regions.regions();
    assert_eq!((&told["epoch"], &told["reason"]), (&2.into(), &"a test".into()));
}
