//! Declared things: applied, shown, exported, deleted; a policy is what a backup can be named by.

use crate::harness::{Dev, Scratch, Tree, noise, write};
use std::time::{Duration, Instant};

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

#[test]
fn a_bandwidth_at_which_no_backup_could_end_is_refused_with_the_least_that_works() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch.join("d"));
    let file = scratch.join("nightly.toml");
    let limited = |rate: u64| {
        let more = format!("backup={{bytes_per_second_max={rate}}}\n");
        write(&file, policy(&scratch.join("source")) + &more);
        dev.json(&["apply", "-f", file.to_str().unwrap()])
    };
    let least = holdfast_common::limits::POLICY_BYTES_PER_SECOND_MIN;
    for rate in [1, 2048, least - 1] {
        let error = limited(rate).ends(2).error();
        assert_eq!(error["code"], "resource.field_malformed");
        assert!(error["next"].as_str().unwrap().contains(&least.to_string()), "{error}");
    }
    assert_eq!(dev.json(&["get", "policy"]).ok().object()["resources"], serde_json::json!([]));
    limited(least).ok();
    limited(0).ok();
}

#[test]
fn a_backup_takes_as_long_as_its_bandwidth_makes_it_and_restores_the_same() {
    let scratch = Scratch::new();
    let (source, file) = (scratch.join("source"), scratch.join("nightly.toml"));
    let (bytes, rate) = (3_000_000, 1_000_000);
    // Several at once: the bound is on all of them together.
    for number in 0..3 {
        write(&source.join(number.to_string()), noise(number, bytes / 3));
    }
    let dev = Dev::start(&scratch.join("d"));
    let backup = |more: &str| {
        write(&file, policy(&source) + more);
        dev.json(&["apply", "-f", file.to_str().unwrap()]).ok();
        let begun = Instant::now();
        let made = dev.json(&["backup", "nightly"]).ok().object();
        (made, begun.elapsed())
    };
    let restored = |point: &serde_json::Value, name: &str| {
        let to = scratch.join(name);
        let point = point.as_str().unwrap();
        dev.json(&["restore", point, "--to", to.to_str().unwrap()]).ok();
        Tree::of(&source).assert_same(&Tree::of(&to.join(source.strip_prefix("/").unwrap())), name);
    };
    let (made, took) = backup(&format!("backup={{bytes_per_second_max={rate}}}\n"));
    let sent = made["bytes_stored"].as_u64().unwrap();
    assert!(sent >= bytes as u64, "noise does not shrink: {made}");
    // What a bucket that is full at the beginning gives away, twice.
    let burst = 2 * holdfast_common::limits::STREAM_FRAME_BYTES as u64;
    let least = Duration::from_millis((sent - burst) * 1000 / rate);
    assert!(took >= least, "{sent} bytes at {rate} a second within {took:?}");
    restored(&made["point"], "bounded");
    // Other bytes, as many, and no bound.
    for number in 0..3 {
        write(&source.join(number.to_string()), noise(10 + number, bytes / 3));
    }
    let (made, _) = backup("");
    assert!(made["bytes_stored"].as_u64().unwrap() >= bytes as u64, "{made}");
    restored(&made["point"], "unbounded");
}

#[test]
fn of_what_is_not_excluded_only_what_is_included_is_taken() {
    let scratch = Scratch::new();
    let (source, file) = (scratch.join("source"), scratch.join("scans.toml"));
    for name in ["a.dcm", "b.txt", "deep/c.dcm", "deep/d.txt", "config/e", "config/old.dcm"] {
        write(&source.join(name), name);
    }
    write(
        &file,
        policy(&source)
            .replace("nightly", "scans")
            .replace("exclude=[],", "exclude=[\"old.*\"], include=[\"*.dcm\", \"config/\"],"),
    );
    let dev = Dev::start(&scratch.join("d"));
    let files = |point: &serde_json::Value| -> Vec<String> {
        let told = dev.json(&["ls", point.as_str().unwrap()]).ok().object();
        let rows = told["entries"].as_array().unwrap().clone();
        let files = rows.iter().filter(|row| row["kind"] == "file");
        let below = |row: &serde_json::Value| {
            let path = std::path::PathBuf::from(row["path"].as_str().unwrap());
            path.strip_prefix(&source).unwrap().to_str().unwrap().to_owned()
        };
        files.map(below).collect()
    };
    let expected = ["a.dcm", "config/e", "deep/c.dcm"];
    dev.json(&["apply", "-f", file.to_str().unwrap()]).ok();
    let made = dev.json(&["backup", "scans"]).ok().object();
    assert_eq!(files(&made["point"]), expected);
    let path = ["backup", "--path", source.to_str().unwrap(), "--exclude", "old.*"];
    let include = ["--include", "*.dcm", "--include", "config/"];
    let made = dev.json(&[&path[..], &include].concat()).ok().object();
    assert_eq!(files(&made["point"]), expected);
    let made = dev.json(&path).ok().object();
    assert_eq!(files(&made["point"]).len(), 5, "without the list all that is not excluded");

    // What is exported is what was applied, the list included.
    write(&file, dev.run(&["export"]).ok().text());
    let again = dev.json(&["apply", "-f", file.to_str().unwrap(), "--dry-run"]).ok().object();
    let rows = again["resources"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["result"] == "unchanged"), "{again}");
    assert!(std::fs::read_to_string(&file).unwrap().contains("config/"));
    let negated = dev.json(&[&path[..], &["--include", "!x"]].concat());
    assert_eq!(negated.ends(2).error()["code"], "resource.field_malformed");
    dev.json(&["backup", "scans", "--include", "x"]).ends(2);
}
