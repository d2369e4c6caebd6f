//! Three regions that vote, and a required location in the one that is lost: nobody has to promote
//! anybody, and somebody has to say that nothing is waited for.

use super::{losing::fill, regions::Regions, scene::PATIENCE};
use crate::harness::{FailingDisk, Scratch, Tree, wait_until, write};
use std::fs;

#[test]
fn a_required_location_that_is_lost_with_its_region_is_given_up_by_a_new_vault_text() {
    let scratch = Scratch::new();
    let disk = FailingDisk::mount(&scratch.join("far"), &scratch.join("far.image"), 256);
    fs::remove_dir(disk.path.join("lost+found")).unwrap();
    let mut members = Regions::founded(scratch);
    for (region, name) in [("us", "two"), ("dr", "three")] {
        members.join_in(region, name, &members.token(), &[]).ok();
        members.start(name);
    }
    members.wait_for_voters(3);
    let agent = members.agent("host");
    let source = members.scratch.join("source");
    fill(&source, 1, 1);
    let regions = Regions { members, agent, source };
    let before = regions.backup();
    let mut regions = regions;
    regions.members.kill("three");
    disk.fail();
    fill(&regions.source, 2, 1);
    let path = regions.source.to_str().unwrap().to_owned();
    // The one that leads may change once more before it says what is missing.
    let named = || {
        let refused = regions.members.run(&["backup", "--path", &path]);
        assert_ne!(refused.code, 0, "it lies in one location only");
        let told = refused.error();
        told["code"].as_str().unwrap().starts_with("location.").then_some(())
    };
    wait_until("the location is named", PATIENCE, named);
    for region in ["eu", "us"] {
        let promote = ["region", "promote", region, "--force", "--reason", "a test", "--yes"];
        let refused = regions.members.run(&promote);
        assert_ne!(refused.code, 0, "{region}");
    }
    let file = regions.members.scratch.join("vault.toml");
    let text = regions.members.run(&["get", "vault", "main"]).ok().object();
    let vault = |required: &str| {
        let text = format!(
            "kind = \"vault\"\nname = \"main\"\n[spec]\nsharing = {}\ncustody = {}\n\
             locations = {{ required = [{required}] }}\n",
            text["resources"][0]["spec"]["sharing"], text["resources"][0]["spec"]["custody"]
        );
        write(&file, text);
        regions.members.run(&["apply", "--file", file.to_str().unwrap()])
    };
    vault("\"location\"").ok();
    let (after, tree) = (regions.backup(), Tree::of(&regions.source));
    regions.is_whole(&after, &tree, "after");
    assert_eq!(regions.points_at("one"), [after, before]);
    let refused = vault("\"location\", \"far\"").ends(8).error();
    assert_eq!(refused["code"], "resource.change_refused", "it is one way only: {refused}");
    drop((regions, disk));
}
