//! Nothing goes anywhere while nothing is heard of another region: it may have been promoted, and
//! rely on what this side gave up.

use super::{
    regions::{DR, Regions},
    scene::PATIENCE,
};
use crate::{
    clock::{by_file, set_offset},
    harness::{Objects, noise, wait_until, write},
    retaining,
};

#[test]
fn nothing_is_deleted_while_the_other_region_is_silent() {
    let mut regions = Regions::start(&[]);
    let clock = regions.members.scratch.join("clock");
    set_offset(&clock, "+0");
    regions.members.set_environment("one", &by_file(&clock));
    assert_eq!(regions.members.stop("one"), Some(0));
    regions.members.start("one");
    let file = regions.members.scratch.join("docs.toml");
    let rules = "retention = { last = 1, protect_for = \"0s\" }";
    write(&file, retaining::policy("host", &regions.source, rules));
    regions.members.run(&["apply", "-f", file.to_str().unwrap()]).ok();
    for seed in [1, 2] {
        write(&regions.source.join("large"), noise(seed, 700_000));
        let made = || {
            let made = regions.members.run(&["backup", "docs"]);
            (made.code == 0).then_some(())
        };
        wait_until("a backup is made", PATIENCE, made);
    }
    regions.members.run(&["retain", "docs", "--yes"]).ok();
    let places = ["location", "far"].map(|place| regions.members.scratch.join(place));
    let packs = |place: &std::path::Path| Objects::of(place).below("packs").len();
    let all = places.each_ref().map(|place| packs(place));
    let told = regions.members.run(&["collect", "--yes"]).ok().object();
    let given_up = told["vaults"][0]["round"]["doomed"].as_u64().unwrap();
    assert!(given_up > 0, "{told:#}");

    // This side sees nobody of the other one, nor that its location is the vault's.
    for name in DR {
        regions.members.kill(name);
    }
    let (shown, aside) = (places[1].join("vault"), regions.members.scratch.join("aside"));
    std::fs::rename(&shown, &aside).unwrap();
    set_offset(&clock, "+25h");
    regions.members.run(&["cluster", "confirm-clock", "--yes"]).ok();
    let is_told = || {
        let told = regions.members.run(&["status"]).object();
        let mut alarms = told["alarms"].as_array().unwrap().iter();
        alarms.any(|alarm| alarm["code"] == "region.members_silent").then_some(())
    };
    wait_until("it is told that the region is silent", PATIENCE, is_told);
    assert_eq!(packs(&places[0]), all[0], "nothing goes from where this side sees");

    std::fs::rename(&aside, &shown).unwrap();
    for name in DR {
        regions.members.start(name);
    }
    for (place, all) in places.iter().zip(all) {
        let gone = || (packs(place) < all).then_some(());
        wait_until("it goes when the region is heard of", PATIENCE, gone);
    }
}
