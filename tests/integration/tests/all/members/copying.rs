//! A location that follows, while members that lead come and go: whoever leads next goes on, and
//! nothing is said to lie there that does not.

use super::{
    losing::fill,
    scene::{Members, PATIENCE},
};
use crate::harness::{Tree, holdfast, kills, wait_until, write};
use serde_json::Value;
use std::path::Path;

fn declare(members: &Members, rate: u64) {
    let file = members.scratch.join("vault.toml");
    let (required, following) = (r#"required = ["location"]"#, r#"following = ["far"]"#);
    let rate = format!("copy_bytes_per_second_max = {rate}");
    let spec = format!("[spec]\nlocations = {{ {required}, {following}, {rate} }}\n");
    write(&file, format!("kind = \"vault\"\nname = \"main\"\n{spec}"));
    members.run(&["apply", "-f", file.to_str().unwrap()]).ok();
}

/// The points that are confirmed to lie in `far`.
fn confirmed(members: &Members) -> Vec<String> {
    let told = members.run(&["points"]).ok().object();
    let lies_there = |point: &&Value| {
        let locations = point["locations"].as_array().unwrap();
        locations.iter().any(|row| row["name"] == "far" && row["confirmed"] == true)
    };
    let points = told["points"].as_array().unwrap().iter().filter(lies_there);
    points.map(|point| point["id"].as_str().unwrap().to_owned()).collect()
}

fn assert_restores_alone(members: &Members, far: &Path, point: &str, source: &Path) {
    let to = members.scratch.join(&format!("back-{point}"));
    let url = format!("local:{}", far.display());
    let kek = format!("file:{}", members.scratch.join("kek").display());
    let arguments = ["restore", point, "--to", to.to_str().unwrap()];
    let from = ["--from-location", &url, "--kek", &kek];
    holdfast(None, &[&["--output", "json"], &arguments[..], &from].concat()).ok();
    let back = Tree::of(&to.join(source.strip_prefix("/").unwrap()));
    Tree::of(source).assert_same(&back, "what is confirmed restores from there alone");
}

#[test]
fn whoever_leads_next_goes_on_bringing_a_location_what_it_lacks() {
    let mut members = Members::three();
    let agent = members.agent("host");
    let far = members.scratch.join("far");
    members.run(&["location", "add", "far", &format!("local:{}", far.display())]).ok();
    declare(&members, 3_000_000);
    let mut backed_up = Vec::new();
    for round in 0..kills(2) {
        let source = members.scratch.join(&format!("source-{round}"));
        fill(&source, round, 3);
        let told = members.run(&["backup", "--path", source.to_str().unwrap()]).ok().object();
        backed_up.push((told["point"].as_str().unwrap().to_owned(), source));
        let packs = far.join("packs");
        let before = super::losing::count(&packs);
        let further = || (super::losing::count(&packs) > before).then_some(());
        wait_until("one more pack is there", PATIENCE, further);
        // What is confirmed at this very moment is there.
        for point in confirmed(&members) {
            let (_, source) = backed_up.iter().find(|(id, _)| *id == point).unwrap();
            assert_restores_alone(&members, &far, &point, source);
            std::fs::remove_dir_all(members.scratch.join(&format!("back-{point}"))).unwrap();
        }
        let leader = members.leader();
        members.kill(&leader);
        wait_until("another one leads", PATIENCE, || (members.leader() != leader).then_some(()));
        members.start(&leader);
    }
    declare(&members, 0);
    let all = || (confirmed(&members).len() == backed_up.len()).then_some(());
    wait_until("every point lies in `far`", PATIENCE, all);
    for (point, source) in &backed_up {
        assert_restores_alone(&members, &far, point, source);
    }
    let told = members.run(&["verify", "--all", "--level", "storage"]).ok().object();
    assert_eq!(told["damaged"], Value::Array(Vec::new()), "{told}");
    drop(agent);
}
