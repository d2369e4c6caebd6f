//! Two regions: one is lost, the other takes the lead, and what comes back is fenced.

use super::{
    losing::{fill, restored},
    scene::{Members, PATIENCE},
};
use crate::{
    cluster::Cluster,
    harness::{Scratch, Service, Tree, binary, wait_until, write},
    retaining,
};
use rustix::process::Signal;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// `eu` with voters, `dr` with two learners, and a required location in each.
pub(super) struct Regions {
    pub(super) members: Members,
    pub(super) agent: Service,
    pub(super) source: PathBuf,
}

pub(super) const DR: [&str; 2] = ["four", "five"];

impl Regions {
    pub(super) fn start(voters: &[&str]) -> Self {
        Self::start_in(Scratch::new(), voters)
    }

    /// The same where something is already.
    pub(super) fn start_in(scratch: Scratch, voters: &[&str]) -> Self {
        Self::grown(Self::founded(scratch), voters)
    }

    /// `one` alone, and both locations.
    pub(super) fn founded(scratch: Scratch) -> Members {
        let Cluster { scratch, coordinator } = Cluster::start_in(scratch, &["location", "far"]);
        let running = [("one".to_owned(), coordinator)].into();
        let mut members = Members::none(scratch);
        members.running = running;
        let file = members.scratch.join("far.toml");
        let url = format!("local:{}", members.scratch.join("far").display());
        let text = format!(
            "kind = \"location\"\nname = \"far\"\n[spec]\nurl = \"{url}\"\nregion = \"dr\"\n"
        );
        write(&file, text);
        members.run(&["apply", "--file", file.to_str().unwrap()]).ok();
        members
    }

    /// With voters beside those that are there, and all the rest.
    pub(super) fn grown(mut members: Members, voters: &[&str]) -> Self {
        let count = members.running.len() + voters.len();
        for name in voters {
            members.add(name, &[]);
        }
        members.wait_for_voters(count);
        Self::followed(members)
    }

    /// By learners in `dr`, and with an agent.
    pub(super) fn followed(mut members: Members) -> Self {
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
        let agent = match members.scratch.join("host").exists() {
            true => members.joined_agent("host"),
            false => members.agent("host"),
        };
        let source = members.scratch.join("source");
        fill(&source, 1, 2);
        Self { members, agent, source }
    }

    pub(super) fn backup(&self) -> String {
        let path = self.source.to_str().unwrap();
        let made = || {
            let done = self.members.run(&["backup", "--path", path]);
            // The agent may not have found the side that leads yet.
            let is_away = done.code == 5 && done.error()["code"] == "agent.connection_absent";
            (!is_away).then(|| done.ok().object()["point"].as_str().unwrap().to_owned())
        };
        wait_until("the agent is attached", PATIENCE, made)
    }

    pub(super) fn lose_eu(&mut self) {
        let names: Vec<String> = self.members.running.keys().cloned().collect();
        for name in names.iter().filter(|name| !DR.contains(&name.as_str())) {
            self.members.kill(name);
        }
    }

    pub(super) fn promote(&self) -> Value {
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

    /// Through one member, where others would hang.
    pub(super) fn promote_from(&self, name: &str) -> Value {
        let promoted = || {
            let done = self.members.run_at(name, &["region", "promote", "dr", "--yes"]);
            if done.code != 0 {
                eprintln!("{}", done.stderr);
            }
            (done.code == 0).then(|| done.object())
        };
        wait_until("dr leads", PATIENCE, promoted)
    }

    /// How long ago a leader spoke to a member.
    fn heard_ms(&self, name: &str) -> Option<u64> {
        let told = self.regions();
        let rows = told["regions"].as_array().unwrap().clone();
        let rows = rows.iter().flat_map(|row| row["members"].as_array().unwrap().clone());
        rows.into_iter().find(|row| row["name"] == name)?["contact_ms"].as_u64()
    }

    pub(super) fn regions(&self) -> Value {
        self.members.run(&["region", "status"]).ok().object()
    }

    pub(super) fn role(&self, region: &str) -> String {
        let told = self.regions();
        let rows = told["regions"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == region).unwrap();
        row["role"].as_str().unwrap().to_owned()
    }

    pub(super) fn points_at(&self, name: &str) -> Vec<String> {
        let told = self.members.run_at(name, &["points"]).ok().object();
        let rows = told["points"].as_array().unwrap();
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    }

    pub(super) fn is_whole(&self, point: &str, tree: &Tree, name: &str) {
        tree.assert_same(&restored(&self.members, point, &self.source, name), name);
    }

    /// Whatever it takes, and why.
    pub(super) fn force(&self, region: &str) -> Value {
        let why = ["--force", "--reason", "a test of two sides", "--yes"];
        self.members.run(&[&["region", "promote", region][..], &why].concat()).ok().object()
    }

    /// The points of the side that leads.
    pub(super) fn points(&self) -> Vec<String> {
        self.points_at("four")
    }

    /// A member of the old side says so, and takes nothing.
    pub(super) fn assert_fenced(&self, name: &str) {
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

pub(super) fn epochs(location: &Path) -> usize {
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

#[test]
fn a_side_that_still_lives_is_given_up_only_by_force_and_fences_itself() {
    let regions = Regions::start(&[]);
    let (before, tree) = (regions.backup(), Tree::of(&regions.source));
    let promote = ["region", "promote", "dr", "--yes"];
    regions.members.run(&promote).fails(4, "region.primary_alive");
    let check = regions.members.run(&["region", "check", "dr"]).ok().object();
    assert_eq!(check["obstacles"], serde_json::json!([]), "a rehearsal does not mind");
    assert_eq!(epochs(&regions.members.scratch.join("far")), 0, "nothing was claimed");
    let told = regions.force("dr");
    assert_eq!(told["epoch"], 2);
    regions.assert_fenced("one");
    // The agent was attached to the old side, and is told where the new one is.
    fill(&regions.source, 3, 2);
    let after = regions.backup();
    regions.is_whole(&before, &tree, "before");
    assert_eq!(regions.points(), [after, before.clone()]);
    assert_eq!(regions.points_at("one"), [before]);
    let why = regions.regions();
    assert_eq!(
        (&why["reason"], &why["operator"]),
        (&"a test of two sides".into(), &"admin".into())
    );
    assert_eq!(why["unaware"], serde_json::json!([]));
    regions.members.run(&promote).fails(4, "region.lead_held");
}

#[test]
fn a_leader_that_was_away_all_the_while_never_takes_the_lead_back() {
    let regions = Regions::start(&[]);
    let before = regions.backup();
    let old = &regions.members.running["one"];
    old.signal(Signal::STOP);
    let told = regions.promote_from("four");
    assert_eq!(told["epoch"], 2);
    old.signal(Signal::CONT);
    // It may answer an old question before it hears anything: what it says, it does not keep.
    regions.assert_fenced("one");
    let after = regions.backup();
    assert_eq!(regions.points(), [after, before.clone()]);
    assert_eq!(regions.points_at("one"), [before]);
}

#[test]
fn a_side_that_was_fenced_by_hand_stops_and_may_be_taken_back_in_a_newer_epoch() {
    let regions = Regions::start(&[]);
    let before = regions.backup();
    let fence = ["region", "fence", "eu", "--by", "dr", "--yes"];
    regions
        .members
        .run(&["region", "fence", "eu", "--by", "eu", "--yes"])
        .fails(3, "region.name_unknown");
    assert_eq!(regions.members.run(&fence).ok().object()["epoch"], 2);
    regions.assert_fenced("one");
    assert_eq!(regions.members.run(&fence).ok().object()["epoch"], 2, "once is enough");
    let told = regions.force("eu");
    assert_eq!(told["epoch"], 3, "{told}");
    assert_eq!(told["lost"]["members"], serde_json::json!(["four", "five"]));
    for name in DR {
        regions.assert_fenced(name);
    }
    let after = regions.backup();
    assert_eq!(regions.points_at("one"), [after, before]);
    assert_eq!(epochs(&regions.members.scratch.join("location")), 1);
}

#[test]
fn a_promotion_that_is_killed_at_any_step_goes_on_when_its_member_is_back() {
    type Step = fn(&Members, &str) -> bool;
    let steps: [(&str, Step); 3] = [
        ("claimed", |members, _| epochs(&members.scratch.join("far")) > 0),
        // Whoever looks late sees what comes after it.
        ("intended", |members, name| {
            let data = members.dir(name).join("data");
            data.join("promotion").exists() || data.join("epoch").exists()
        }),
        ("written", |members, name| members.dir(name).join("data/epoch").exists()),
    ];
    for (what, is_there) in steps {
        let mut regions = Regions::start(&[]);
        let before = regions.backup();
        regions.members.kill("one");
        let ready = || (regions.heard_ms("four")? > 3_000).then_some(());
        wait_until("the old side is silent", PATIENCE, ready);
        let leads = regions.members.run(&["region", "check", "dr"]).ok().object();
        let leads = leads["member"].as_str().unwrap().to_owned();
        let context = regions.members.scratch.join("c/operator.toml");
        let mut promote = Command::new(binary())
            .args(["--context", context.to_str().unwrap(), "region", "promote", "dr", "--yes"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let step = || (is_there(&regions.members, &leads)).then_some(());
        wait_until(what, PATIENCE, step);
        regions.members.kill(&leads);
        promote.kill().unwrap();
        promote.wait().unwrap();
        regions.members.start(&leads);
        let on =
            || (regions.role("dr") == "primary" && regions.regions()["epoch"] == 2).then_some(());
        wait_until("it goes on by itself", PATIENCE, on);
        let after = regions.backup();
        assert_eq!(regions.points(), [after, before], "{what}");
        assert!(!regions.members.dir(&leads).join("data/promotion").exists(), "{what}");
    }
}

#[test]
fn of_two_who_promote_at_once_one_leads_and_nothing_is_claimed_twice() {
    let mut regions = Regions::start(&[]);
    let before = regions.backup();
    regions.members.kill("one");
    for name in DR {
        let ready = || (regions.heard_ms(name)? > 3_000).then_some(());
        wait_until("the old side is silent", PATIENCE, ready);
    }
    let members = &regions.members;
    let asked = std::thread::scope(|scope| {
        let ask =
            |name| scope.spawn(move || members.run_at(name, &["region", "promote", "dr", "--yes"]));
        DR.map(ask).map(|asked| asked.join().unwrap())
    });
    for told in &asked {
        if told.code == 0 {
            assert_eq!(told.object()["epoch"], 2);
        } else {
            let code = told.error()["code"].as_str().unwrap().to_owned();
            assert!(LATE.contains(&&*code), "{}", told.stderr);
        }
    }
    assert!(asked.iter().any(|told| told.code == 0), "{}", asked[0].stderr);
    let leads = || (regions.role("dr") == "primary").then_some(());
    wait_until("dr leads", PATIENCE, leads);
    assert_eq!(epochs(&regions.members.scratch.join("far")), 1, "one claim");
    let after = regions.backup();
    for name in DR {
        let told = || (regions.points_at(name) == [after.clone(), before.clone()]).then_some(());
        wait_until("both have both", PATIENCE, told);
        assert_eq!(regions.members.run_at(name, &["cluster", "status"]).ok().object()["epoch"], 2);
    }
    regions.members.run(&["audit", "verify"]).ok();
}

/// Everything up to now is in the ledger of `five`, and `four` hears of nothing more.
pub(super) fn wait_for_five(regions: &Regions, has_news: impl Fn() -> bool) {
    wait_until("five has it", PATIENCE, || has_news().then_some(()));
    let applied = |name: &str| {
        let told = regions.regions();
        let rows = told["regions"].as_array().unwrap().clone();
        let mut rows = rows.iter().flat_map(|row| row["members"].as_array().unwrap().clone());
        rows.find(|row| row["name"] == name).unwrap()["applied"].as_u64()
    };
    let same = || (applied("one")? == applied("five")?).then_some(());
    wait_until("five has all", PATIENCE, same);
}

#[test]
fn what_was_reported_committed_is_not_lost_with_whoever_was_ahead() {
    let mut regions = Regions::start(&[]);
    let before = regions.backup();
    regions.members.running["four"].signal(Signal::STOP);
    fill(&regions.source, 5, 1);
    let (ahead, tree) = (regions.backup(), Tree::of(&regions.source));
    wait_for_five(&regions, || regions.points_at("five").contains(&ahead));
    regions.members.kill("five");
    regions.members.kill("one");
    regions.members.running["four"].signal(Signal::CONT);
    let told = regions.promote();
    assert_eq!(told["newest"][0]["id"], *ahead, "it lay in the location: {told}");
    regions.is_whole(&ahead, &tree, "ahead");
    regions.members.start("five");
    let after = regions.backup();
    let all = [after, ahead, before];
    wait_until("all have it", PATIENCE, || (regions.points_at("five") == all).then_some(()));
}

#[test]
fn a_member_that_has_more_than_the_new_epoch_puts_it_aside() {
    let mut regions = Regions::start(&[]);
    let before = regions.backup();
    // The log cannot be shipped: what is agreed now is reported to nobody as safe.
    let log = regions.members.scratch.join("far/cluster/log");
    let away = regions.members.scratch.join("away");
    regions.members.running["four"].signal(Signal::STOP);
    std::fs::rename(&log, &away).unwrap();
    write(&log, "in the way");
    for _ in 0..5 {
        regions.members.run_at("one", &["agent", "token"]).ok();
    }
    wait_for_five(&regions, || true);
    regions.members.kill("five");
    regions.members.kill("one");
    std::fs::remove_file(&log).unwrap();
    std::fs::rename(&away, &log).unwrap();
    regions.members.running["four"].signal(Signal::CONT);
    regions.promote();
    regions.members.start("five");
    let aside = regions.members.dir("five").join("data/ledger.before-epoch-2");
    wait_until("it is put aside", PATIENCE, || aside.join("log").exists().then_some(()));
    let after = regions.backup();
    // Until it is brought anew it knows no operators, and answers nobody.
    let answers = || (regions.members.run_at("five", &["points"]).code == 0).then_some(());
    wait_until("it is brought anew", PATIENCE, answers);
    let same = || (regions.points_at("five") == [after.clone(), before.clone()]).then_some(());
    wait_until("it has what the new side has", PATIENCE, same);
    regions.members.run_at("five", &["audit", "verify"]).ok();
}

#[test]
fn three_regions_lose_any_one_without_a_person() {
    let mut members = Members::founded();
    for (region, name) in [("us", "two"), ("dr", "three")] {
        members.join_in(region, name, &members.token(), &[]).ok();
        members.start(name);
    }
    members.wait_for_voters(3);
    let agent = members.agent("host");
    let source = members.scratch.join("source");
    fill(&source, 1, 1);
    let path = source.to_str().unwrap();
    for name in ["one", "two", "three"] {
        members.kill(name);
        let saved = || (members.run(&["backup", "--path", path]).code == 0).then_some(());
        wait_until("the agent has found another region", PATIENCE, saved);
        let told = members.run(&["region", "status"]).ok().object();
        assert_eq!(told["epoch"], 1, "{told}");
        members.start(name);
        members.wait_for_voters(3);
    }
    drop(agent);
}

/// What whoever comes too late may hear, by how late it is.
const LATE: [&str; 6] = [
    "cluster.endpoint_unreachable",
    "cluster.leader_unknown",
    "cluster.member_busy",
    "epoch.number_taken",
    "region.lead_held",
    "region.member_behind",
];

#[test]
fn nothing_is_forgotten_while_a_region_is_parted() {
    let mut regions = Regions::start(&[]);
    let file = regions.members.scratch.join("docs.toml");
    let rules = "retention = { last = 1, protect_for = \"0s\" }";
    write(&file, retaining::policy("host", &regions.source, rules));
    regions.members.run(&["apply", "-f", file.to_str().unwrap()]).ok();
    for number in 0..2 {
        write(&regions.source.join("number"), number.to_string());
        regions.members.run(&["backup", "docs"]).ok();
    }
    regions.lose_eu();
    regions.promote();
    let retain = ["retain", "docs", "--yes"];
    let plan = regions.members.run(&["retain", "docs", "--dry-run"]).ok().object();
    assert!(plan["suspended"].as_str().unwrap().contains("eu"), "{plan:#}");
    regions.members.run(&retain).fails(4, "region.side_parted");
    regions.members.run(&["region", "forget", "eu", "--yes"]).ok();
    let done = regions.members.run(&retain).ok().object();
    assert_eq!(done["forgotten"].as_array().unwrap().len(), 1, "{done:#}");
}
