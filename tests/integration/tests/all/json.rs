//! The fields that scripts rely on: each command's JSON has them, with their types.

use crate::{
    cluster::Cluster,
    harness::{Damage, Dev, Objects, Scratch, holdfast, noise, write},
};
use serde_json::Value;

/// Names and types: `s` string, `n` number, `b` boolean, `l` list, `o` object; `?` may be null.
#[track_caller]
fn assert_shape(value: &Value, fields: &[&str]) {
    for field in fields {
        let (name, form) = field.split_once(':').unwrap();
        let found = value.get(name).unwrap_or_else(|| panic!("`{name}` is missing in {value}"));
        let fits = match form.chars().next().unwrap() {
            's' => found.is_string(),
            'n' => found.is_u64(),
            'b' => found.is_boolean(),
            'l' => found.is_array(),
            'o' => found.is_object(),
            other => panic!("{other}"),
        };
        assert!(fits || (form.ends_with('?') && found.is_null()), "`{name}` is {found}");
    }
}

const BACKUP: &[&str] = &[
    "run:s",
    "point:s",
    "state:s",
    "entries:n",
    "bytes_read:n",
    "bytes_new:n",
    "bytes_stored:n",
    "chunks_new:n",
    "chunks_reused:n",
    "duration_ms:n",
    "skipped:l",
];
const POINT: &[&str] = &[
    "id:s",
    "policy:s?",
    "agent:s",
    "vault:s",
    "source:s",
    "time:s",
    "state:s",
    "entries:n",
    "bytes:n",
    "locations:l",
];
const ENTRY: &[&str] = &[
    "path:s",
    "kind:s",
    "mode:n",
    "uid:n",
    "gid:n",
    "size:n",
    "mtime:s",
    "link_target:s?",
    "hardlink_group:n?",
];
const RESTORE: &[&str] = &[
    "run:s",
    "point:s",
    "target:s",
    "entries:n",
    "bytes_written:n",
    "bytes_reused:n",
    "safety_point:s?",
    "verified:b",
    "skipped:l",
    "duration_ms:n",
];
const VERIFY: &[&str] = &["level:s", "points:n", "objects:n", "bytes:n", "damaged:l", "unproven:l"];
const STATUS: &[&str] = &["protected:b", "cluster:o", "agents:l", "sources:l", "alarms:l"];
const CLUSTER: &[&str] = &["id:s", "leader:s?", "epoch:n", "term:n", "members:l"];
const MEMBER: &[&str] =
    &["id:s", "name:s", "region:s", "role:s", "state:s", "applied:n", "replicated:n?", "lag:n?"];
const DAMAGED: &[&str] = &[
    "object:s",
    "location:s?",
    "problem:s",
    "healed_from:s?",
    "points:l",
    "paths:l",
    "paths_complete:b",
];
const SOURCE: &[&str] = &["policy:s?", "newest_point:s?", "rpo_s:n?", "target_s:n?", "ok:b"];
const ALARM: &[&str] = &["code:s", "subject:s", "since:s?", "next:s"];
const RUN: &[&str] = &[
    "id:s",
    "kind:s",
    "state:s",
    "policy:s?",
    "agent:s?",
    "point:s?",
    "started:s?",
    "ended:s?",
    "error:o?",
];

#[test]
fn every_command_has_the_fields_of_the_contract() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    write(&source.join("a"), noise(1, 900_000));
    let dev = Dev::start(&scratch.join("d"));
    let path = source.to_str().unwrap();
    let made = dev.json(&["backup", "--path", path]).ok().object();
    assert_shape(&made, BACKUP);
    let point = made["point"].as_str().unwrap();
    assert_eq!(point.len(), 32);

    let points = dev.json(&["points"]).ok().object();
    assert_shape(&points["points"][0], POINT);
    assert_shape(&points["points"][0]["locations"][0], &["name:s", "confirmed:b"]);
    let time = points["points"][0]["time"].as_str().unwrap();
    assert_eq!(time.len(), "2026-11-21T10:00:00.000000000Z".len(), "{time}");

    let listed = dev.json(&["ls", point]).ok().object();
    assert_shape(&listed["entries"][0], ENTRY);
    let found = dev.json(&["find", "a"]).ok().object();
    assert_shape(&found["entries"][0], ENTRY);

    let to = scratch.join("back");
    let restored = dev.json(&["restore", point, "--to", to.to_str().unwrap()]).ok().object();
    assert_shape(&restored, RESTORE);

    for level in ["structure", "storage", "full"] {
        let verified = dev.json(&["verify", "--all", "--level", level]).ok().object();
        assert_shape(&verified, VERIFY);
        assert_eq!((&verified["level"], &verified["points"]), (&level.into(), &1.into()));
        assert_eq!(verified["damaged"], serde_json::json!([]));
    }

    let runs = dev.json(&["runs"]).ok().object();
    let rows = runs["runs"].as_array().unwrap();
    rows.iter().for_each(|row| assert_shape(row, RUN));
    // The newest was done by the caller, the one before by an agent.
    assert_eq!((&rows[0]["kind"], &rows[0]["agent"]), (&"restore".into(), &Value::Null));
    assert_eq!((&rows[1]["kind"], &rows[1]["agent"]), (&"backup".into(), &"local".into()));
    let run = made["run"].as_str().unwrap();
    let shown = dev.json(&["runs", "show", run]).ok().object();
    assert_eq!(
        (&shown["runs"][0]["id"], &shown["runs"][0]["state"]),
        (&run.into(), &"done".into())
    );
}

#[test]
fn status_has_the_fields_of_the_contract() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch.join("d"));
    let told = dev.json(&["status"]);
    let status = told.object();
    assert_shape(&status, STATUS);
    assert_shape(&status["cluster"], CLUSTER);
    assert_shape(&status["cluster"]["members"][0], MEMBER);
    assert_shape(&status["agents"][0], &["name:s", "state:s", "last_seen:s?"]);
    assert_eq!(status["agents"][0]["name"], "local");
    let protected = status["protected"].as_bool().unwrap();
    assert_eq!(told.code, i32::from(!protected));
    let cluster = dev.json(&["cluster", "status"]).ok().object();
    assert_shape(&cluster, CLUSTER);
}

#[test]
fn a_row_of_damage_has_the_fields_of_the_contract() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    write(&source.join("a"), noise(1, 900_000));
    let dev = Dev::start(&scratch.join("d"));
    let point = dev.backup(&source);
    let objects = Objects::of(&dev.dir.join("location"));
    let _undo = objects.damage(&objects.below("packs").remove(0), Damage::Delete);
    let told = dev.json(&["verify", "--all", "--level", "storage"]).ends(7).object();
    let [row] = &told["damaged"].as_array().unwrap()[..] else { panic!("one row: {told}") };
    assert_shape(row, DAMAGED);
    assert_eq!((&row["location"], &row["healed_from"]), (&"main".into(), &Value::Null));
    let path = source.join("a").to_str().unwrap().to_owned();
    assert_eq!((&row["points"], &row["paths"]), (&vec![point].into(), &vec![path].into()));
}

#[test]
fn a_source_tells_its_newest_point_and_how_old_it_is() {
    let scratch = Scratch::new();
    let (source, file) = (scratch.join("source"), scratch.join("nightly.toml"));
    write(&source.join("a"), "a");
    let paths = format!("source={{type=\"files\", paths=[\"{}\"]}}\n", source.display());
    let required = "locations={required=[\"main\"]}\n";
    let head = "kind=\"policy\"\nname=\"nightly\"\n[spec]\nagent=\"local\"\n";
    write(&file, [head, &paths, required].concat());
    let dev = Dev::start(&scratch.join("d"));
    dev.json(&["apply", "-f", file.to_str().unwrap()]).ok();
    let row = || {
        let status = dev.json(&["status"]).object();
        let rows = status["sources"].as_array().unwrap();
        let row = rows.iter().find(|row| row["policy"] == "nightly").unwrap().clone();
        assert_shape(&row, SOURCE);
        row
    };
    let before = row();
    assert_eq!((&before["newest_point"], &before["rpo_s"]), (&Value::Null, &Value::Null));
    assert_eq!(before["ok"], false, "nothing was saved: {before}");
    let made = dev.json(&["backup", "nightly"]).ok().object();
    let after = row();
    assert_eq!((&after["newest_point"], &after["ok"]), (&made["point"], &true.into()));
    assert!(after["rpo_s"].as_u64().unwrap() < 600, "{after}");
    assert_eq!(after["target_s"], Value::Null, "no policy asks for one today");
}

#[test]
fn an_alarm_says_what_since_when_and_what_to_type() {
    let cluster = Cluster::start();
    let status = cluster.run(&["status"]).ends(1).object();
    let [alarm] = &status["alarms"].as_array().unwrap()[..] else { panic!("one: {status}") };
    assert_shape(alarm, ALARM);
    assert_eq!(alarm["code"], "bundle.export_absent");
    assert!(alarm["next"].as_str().unwrap().contains("keys export"), "{alarm}");
    let since = alarm["since"].as_str().unwrap();
    assert_eq!(since.len(), "2026-11-21T10:00:00.000000000Z".len(), "{since}");
}

#[test]
fn an_alarm_that_has_no_time_of_its_own_says_none() {
    let scratch = Scratch::new();
    let (dev, file) = (Dev::start(&scratch.join("d")), scratch.join("nightly.toml"));
    let source = "source={type=\"files\", paths=[\"/srv\"]}";
    let spec = format!("[spec]\nagent=\"local\"\nvault=\"main\"\n{source}\n");
    write(&file, format!("kind=\"policy\"\nname=\"nightly\"\n{spec}"));
    dev.run(&["apply", "-f", file.to_str().unwrap()]).ok();
    let status = dev.json(&["status"]).ends(1).object();
    let [alarm] = &status["alarms"].as_array().unwrap()[..] else { panic!("one: {status}") };
    assert_shape(alarm, ALARM);
    assert_eq!(alarm["code"], "source.point_absent");
    assert_eq!(alarm["since"], Value::Null, "nobody wrote down when it began");
    let told = dev.run(&["status"]).ends(1);
    assert!(told.text().contains("ALARM source.point_absent nightly\n"), "{}", told.text());
}

#[test]
fn a_backup_ends_with_the_id_of_its_point_alone() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    write(&source.join("a"), "a");
    let dev = Dev::start(&scratch.join("d"));
    let told = dev.run(&["backup", "--path", source.to_str().unwrap()]).ok();
    let last = told.text().lines().last().unwrap().to_owned();
    assert_eq!(last.len(), 32, "`{last}`");
    dev.run(&["ls", &last]).ok();
}

#[test]
fn the_audit_log_names_what_was_done_and_is_unbroken() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    write(&source.join("a"), "a");
    let dev = Dev::start(&scratch.join("d"));
    dev.backup(&source);
    let rows = dev.json(&["audit", "list"]).ok().object();
    let rows = rows["entries"].as_array().unwrap();
    assert!(!rows.is_empty());
    assert_shape(&rows[0], &["number:n", "time:s", "actor:s", "action:s", "subject:s", "hash:s"]);
    let verified = dev.json(&["audit", "verify"]).ok().object();
    assert!(verified["rows"].as_u64().unwrap() >= rows.len() as u64);
    let kept = scratch.join("audit.jsonl");
    dev.run(&["audit", "export", "--to", kept.to_str().unwrap()]).ok();
    let exported = std::fs::read_to_string(&kept).unwrap();
    assert!(exported.lines().count() >= rows.len());
    let told: Vec<Value> =
        exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(told.windows(2).all(|two| two[0]["hash"] == two[1]["previous"]));
    // What may be nowhere else is not written over.
    dev.json(&["audit", "export", "--to", kept.to_str().unwrap()]).fails(4, "file.target_exists");
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), exported);
}

#[test]
fn how_long_the_audit_log_is_kept_is_asked_said_and_bounded() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch.join("d"));
    let told = dev.json(&["audit", "keep"]).ok().object();
    assert_shape(&told, &["first:n", "rows:n", "first_time:s"]);
    assert_eq!((&told["kept_secs"], &told["since"]), (&Value::Null, &Value::Null));
    dev.json(&["audit", "keep", "--for", "500d"]).fails(4, "confirm.answer_missing");
    dev.json(&["audit", "keep", "--for", "399d", "--yes"]).fails(4, "limit.size_exceeded");
    dev.json(&["audit", "keep", "--for", "500d", "--forever"]).ends(2);
    let told = dev.json(&["audit", "keep", "--for", "500d", "--yes"]).ok().object();
    assert_eq!(told["kept_secs"], 500 * 24 * 3600);
    assert_shape(&told, &["since:s"]);
    let has_alarm = || {
        let status = dev.json(&["status"]).object();
        let mut alarms = status["alarms"].as_array().unwrap().iter();
        alarms.any(|alarm| alarm["code"] == "audit.rule_changed")
    };
    assert!(has_alarm(), "while it settles");
    let told = dev.run(&["audit", "keep"]).ok();
    assert!(told.text().contains("kept for 500"), "{}", told.text());
    let told = dev.json(&["audit", "keep", "--forever"]).ok().object();
    assert_eq!(told["kept_secs"], Value::Null);
    assert!(!has_alarm());
    let rows = dev.json(&["audit", "list"]).ok().object();
    let of_rules = |row: &&Value| row["action"] == "audit.keep";
    let said = rows["entries"].as_array().unwrap().iter().filter(of_rules);
    let said: Vec<_> = said.map(|row| (&row["subject"], &row["result"])).collect();
    let refused = (&Value::from("for 399 days"), &Value::from("limit.size_exceeded"));
    assert_eq!(said[0], refused);
    assert_eq!(said[1], (&Value::from("for 500 days"), &Value::from("ok")));
    assert_eq!(said[2], (&Value::from("for ever"), &Value::from("ok")));
    let verified = dev.json(&["audit", "verify"]).ok().object();
    assert_eq!((&verified["first"], &verified["intact"]), (&Value::from(0), &Value::from(true)));
}

#[test]
fn completions_and_explanations_need_no_cluster() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(holdfast(None, &["completions", shell]).ok().text().contains("holdfast"));
    }
    for kind in ["policy", "vault", "location"] {
        let page = holdfast(None, &["--output", "json", "explain", kind]).ok().object();
        assert_shape(&page, &["kind:s", "about:s", "fields:l", "example:s"]);
    }
}
