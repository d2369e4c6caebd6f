//! Two regions that live and are cut apart: each sees its own members and its own location. One is
//! given up by force; when the cut heals it is fenced, and comes back with what it did alone.

use super::{
    losing::fill,
    regions::{DR, Regions, epochs},
    returning::EU,
    scene::{PATIENCE, number},
};
use crate::harness::{Flow, Lines, Scratch, Tree, wait_until, write};
use serde_json::{Value, json};
use std::fs;

/// Longer than a leader may be silent.
const SILENT_MS: u64 = 3_000;
/// What a location consists of, as far as it matters here.
const PARTS: [&str; 4] = ["cluster", "epochs", "packs", "points"];

impl Regions {
    /// Three voters and two learners whose lines and mounts are in the test's hands.
    pub(super) fn that_can_be_cut(seed: u64) -> Self {
        Self::that_can_be_cut_in(Scratch::new(), seed)
    }

    /// The same where something is already.
    pub(super) fn that_can_be_cut_in(scratch: Scratch, seed: u64) -> Self {
        let mut members = Self::founded(scratch);
        members.has_own_mounts = true;
        members.put_on_lines(Lines::between(&[1, 2, 3, 4, 5], seed));
        for name in ["two", "three"] {
            members.add(name, &[]);
        }
        members.wait_for_voters(3);
        // The agent is one of `eu`.
        members.join_agent("host");
        let regions = Self::followed(members);
        for location in ["location", "far"] {
            fs::create_dir(regions.members.scratch.join(location).join("epochs")).unwrap();
        }
        regions
    }

    pub(super) fn cut_lines(&self, flow: Flow) {
        for eu in EU {
            for dr in DR {
                self.members.lines().set(number(eu), number(dr), flow);
            }
        }
    }

    /// Nobody sees the location of the other region, or everybody sees all again.
    fn cut_locations(&self, is_cut: bool) {
        for (names, location) in [(&EU[..], "far"), (&DR[..], "location")] {
            for (name, part) in names.iter().flat_map(|name| PARTS.map(|part| (name, part))) {
                let path = self.members.scratch.join(location).join(part);
                self.members.cut_off(name, &path, is_cut);
            }
        }
    }

    /// One member sees no location at all, or all again.
    pub(super) fn cut_from_locations(&self, name: &str, is_cut: bool) {
        for (location, part) in ["location", "far"].into_iter().flat_map(|l| PARTS.map(|p| (l, p)))
        {
            self.members.cut_off(name, &self.members.scratch.join(location).join(part), is_cut);
        }
    }

    /// What `dr` knows of how long it has heard nobody.
    pub(super) fn is_silent(&self) -> Option<()> {
        let told = self.members.run(&["region", "check", "dr"]).object();
        (told["contact_ms"].as_u64()? > SILENT_MS).then_some(())
    }
}

#[test]
fn a_region_behind_a_cut_is_given_up_by_force_fenced_when_it_heals_and_brought_back() {
    let regions = Regions::that_can_be_cut(71);
    let before = regions.backup();
    regions.cut_lines(Flow::Still);
    // `eu` alone, with both locations: what it says is safe, is.
    fill(&regions.source, 2, 2);
    let (behind, tree) = (regions.backup(), Tree::of(&regions.source));
    wait_until("`dr` hears nobody", PATIENCE, || regions.is_silent());
    regions.cut_locations(true);
    // Without the other location it takes no data, and its operators may still decide.
    fill(&regions.source, 3, 1);
    let path = regions.source.to_str().unwrap();
    let backup = ["backup", "--path", path];
    regions.members.run_at("one", &backup).fails(4, "location.access_refused");
    let policy = regions.members.scratch.join("policy.toml");
    write(
        &policy,
        "kind = \"policy\"\nname = \"docs\"\n[spec]\nagent = \"host\"\nvault = \"main\"\n\
         source = { type = \"files\", paths = [\"/srv\"] }\n",
    );
    regions.members.run_at("one", &["apply", "--file", policy.to_str().unwrap()]).ok();

    // `dr` sees nobody of `eu`; whoever asks sees both.
    let promote = ["region", "promote", "dr", "--yes"];
    let refused = regions.members.run(&promote).ends(4).error();
    assert_eq!(refused["code"], "region.primary_alive", "{refused}");
    assert!(refused["next"].as_str().unwrap().contains("--force --reason"), "{refused}");
    let forced = [&promote[..], &["--force"]].concat();
    assert_ne!(regions.members.run(&forced).code, 0, "a reason is wanted");
    assert_eq!(epochs(&regions.members.scratch.join("far")), 0, "nothing was claimed");
    let told = regions.force("dr");
    assert_eq!(told["epoch"], 2, "{told}");
    assert_eq!(told["newest"][0]["id"], *behind, "{told}");
    assert_eq!(told["lost"]["members"], json!(EU));
    regions.is_whole(&behind, &tree, "behind");
    // The other side cannot know, and cannot say of any data that it is safe.
    assert_eq!(regions.members.run_at("one", &["cluster", "status"]).ok().object()["epoch"], 1);
    assert_ne!(regions.members.run_at("one", &backup).code, 0);

    regions.cut_locations(false);
    regions.members.lines().clear();
    for name in EU {
        regions.assert_fenced(name);
    }
    let (after, newest) = (regions.backup(), Tree::of(&regions.source));
    assert_eq!(regions.points(), [after.clone(), behind.clone(), before.clone()]);
    let back = regions.fail_back(&["--yes"]).ok().object();
    let decide: Vec<&Value> = back["differences"].as_array().unwrap().iter().collect();
    let policies: Vec<_> = decide.iter().filter(|other| other["action"] == "policy.put").collect();
    assert_eq!((policies.len(), &policies[0]["subject"]), (1, &"docs".into()), "{back}");
    assert_eq!(back["voters"], json!(EU), "{back}");
    for name in EU.iter().chain(&DR) {
        let all = [after.clone(), behind.clone(), before.clone()];
        wait_until("all have it", PATIENCE, || (regions.points_at(name) == all).then_some(()));
    }
    regions.is_whole(&after, &newest, "after");
    regions.members.run(&["verify", "--all", "--level", "storage"]).ok();
}
