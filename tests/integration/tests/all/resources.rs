//! Declared things: applied, shown, exported, deleted; a policy is what a backup can be named by.

use crate::harness::{Dev, Scratch, write};

fn policy(source: &std::path::Path) -> String {
    format!(
        "kind=\"policy\"\nname=\"nightly\"\n[spec]\nagent=\"local\"\nvault=\"main\"\n\
         source={{type=\"files\", paths=[\"{}\"], exclude=[], one_file_system=false}}\n\
         locations={{required=[\"main\"]}}\n",
        source.display()
    )
}

#[test]
fn a_policy_is_applied_used_exported_and_deleted() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    write(&source.join("a"), "a");
    let file = scratch.join("nightly.toml");
    write(&file, policy(&source));
    let dev = Dev::start(&scratch.join("d"));
    let apply = |more: &[&str]| {
        let told = dev.json(&[&["apply", "-f", file.to_str().unwrap()], more].concat()).ok();
        told.object()["resources"][0]["result"].as_str().unwrap().to_owned()
    };
    assert_eq!(apply(&["--dry-run"]), "created");
    dev.json(&["backup", "nightly"]).fails(3, "policy.name_unknown");
    assert_eq!(apply(&[]), "created");
    assert_eq!(apply(&[]), "unchanged");

    let made = dev.json(&["backup", "nightly"]).ok().object();
    let points = dev.json(&["points", "--policy", "nightly"]).ok().object();
    assert_eq!(points["points"][0]["id"], made["point"]);
    assert_eq!(points["points"][0]["policy"], "nightly");
    dev.json(&["ls", "latest"]).ok();

    let exported = dev.run(&["export"]).ok();
    write(&file, exported.text());
    assert_eq!(apply(&["--dry-run"]), "unchanged");
    let shown = dev.json(&["get", "policy", "nightly"]).ok().object();
    assert_eq!(shown["resources"][0]["name"], "nightly");

    dev.json(&["delete", "policy", "nightly"]).fails(4, "confirm.answer_missing");
    dev.json(&["delete", "policy", "nightly", "--yes"]).ok();
    dev.json(&["backup", "nightly"]).fails(3, "policy.name_unknown");
    let points = dev.json(&["points"]).ok().object();
    assert_eq!(points["points"].as_array().unwrap().len(), 1, "the backup stays");
}

#[test]
fn a_file_that_is_not_right_is_refused_and_changes_nothing() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch.join("d"));
    let file = scratch.join("bad.toml");
    let good = policy(&scratch.join("source"));
    for (from, to) in [
        ("agent=", "agnet="),
        ("kind=\"policy\"", "kind=\"polisy\""),
        ("type=\"files\"", "type=\"flies\""),
        ("\"nightly\"", "\"Nightly!\""),
    ] {
        write(&file, good.replace(from, to));
        dev.json(&["apply", "-f", file.to_str().unwrap()]).ends(2).error();
    }
    let found = dev.json(&["get", "policy"]).ok().object();
    assert_eq!(found["resources"], serde_json::json!([]));
}
