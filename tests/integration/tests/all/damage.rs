//! Damaged locations: verification finds what was damaged, a restore never writes a wrong byte.

use crate::harness::{Damage, Dev, Objects, Scratch, Tree, noise, wait_until, write};
use serde_json::Value;
use std::{
    ffi::OsStr,
    fs::{self, Permissions},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

struct Damaged {
    scratch: Scratch,
    dev: Dev,
    source: PathBuf,
    point: String,
    objects: Objects,
}

/// A point whose data fill packs of their own, and whose manifest does too.
fn prepare() -> Damaged {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    for number in 0..8 {
        write(&source.join(format!("file-{number}")), noise(number, 900_000));
    }
    let dev = Dev::start(&scratch.join("d"));
    let point = dev.backup(&source);
    let objects = Objects::of(&dev.dir.join("location"));
    Damaged { scratch, dev, source, point, objects }
}

impl Damaged {
    fn verify(&self, level: &str, exit: i32) -> Vec<Value> {
        let told = self.dev.json(&["verify", "--all", "--level", level]).ends(exit).object();
        told["damaged"].as_array().unwrap().clone()
    }

    /// Restores somewhere new; whatever is there afterwards is right, and the code says the rest.
    fn restore(&self, name: &str) -> i32 {
        let to = self.scratch.join(name);
        let told = self.dev.json(&["restore", &self.point, "--to", to.to_str().unwrap()]);
        let back = to.join(self.source.strip_prefix("/").unwrap());
        let (right, what) = (Tree::of(&self.source), format!("{name}: {}", told.stderr));
        match told.code {
            0 => right.assert_same(&Tree::of(&back), &what),
            7 if back.exists() => Tree::of(&back).assert_no_wrong_bytes(&right, &what),
            7 => {}
            other => panic!("exit {other}: {what}"),
        }
        told.code
    }

    fn damage_each(&self, prefix: &str, mut check: impl FnMut(&Path, Damage, &[Value])) {
        let victim = self.objects.below(prefix).remove(0);
        let name = self.objects.name(&victim);
        for how in Damage::ALL {
            let _undo = self.objects.damage(&victim, how);
            let damaged = self.verify("storage", 7);
            let found = damaged.iter().find(|row| row["object"] == name.as_str());
            let row = found.unwrap_or_else(|| panic!("{how:?} of {name} in {damaged:?}"));
            assert_eq!(row["location"], "main");
            let problem = row["problem"].as_str().unwrap();
            match how {
                Damage::Delete => assert_eq!(problem, "missing"),
                _ => assert!(["truncated", "hash"].contains(&problem), "{how:?}: {problem}"),
            }
            check(&victim, how, &damaged);
        }
        assert_eq!(self.verify("storage", 0), Vec::<Value>::new(), "undone");
    }
}

#[test]
fn a_damaged_pack_is_found_with_the_paths_it_takes_away() {
    let damaged = prepare();
    let mut round = 0;
    damaged.damage_each("packs", |_, how, rows| {
        let paths = |row: &Value| row["paths"].as_array().unwrap().clone();
        let all: Vec<_> = rows.iter().flat_map(paths).collect();
        let expected = damaged.source.join("file-");
        let ours = |path: &&Value| path.as_str().unwrap().starts_with(expected.to_str().unwrap());
        assert!(all.iter().any(|path| ours(&path)), "{how:?} names paths: {rows:?}");
        let points: Vec<_> = rows.iter().flat_map(|r| r["points"].as_array().unwrap()).collect();
        assert!(points.iter().any(|point| **point == damaged.point.as_str()), "{rows:?}");
        round += 1;
        let code = damaged.restore(&format!("back-{round}"));
        // A flipped bit outside the frames (the footer, the magic) takes no content away.
        let may_pass = matches!(how, Damage::FlipFirst | Damage::FlipLast);
        assert!(code == 7 || may_pass, "{how:?} restored with {code}");
    });
    assert_eq!(damaged.restore("healthy"), 0);
}

#[test]
fn a_point_relies_on_nothing_that_was_lost_while_it_was_made() {
    let damaged = prepare();
    let packs = || damaged.objects.below("packs");
    let (before, victim) = (packs(), packs().remove(0));
    // Slow, and behind what was saved already.
    write(&damaged.source.join("z"), noise(99, 50_000_000));
    let file = damaged.scratch.join("slow.toml");
    let policy = format!(
        "kind=\"policy\"\nname=\"slow\"\n[spec]\nagent=\"local\"\nvault=\"main\"\n\
         source={{type=\"files\", paths=[\"{}\"]}}\nlocations={{required=[\"main\"]}}\n\
         backup={{bytes_per_second_max=5000000}}\n",
        damaged.source.display()
    );
    write(&file, policy);
    damaged.dev.json(&["apply", "-f", file.to_str().unwrap()]).ok();
    let begun = damaged.dev.json(&["backup", "slow", "--detach"]).ok().object();
    let sends = || packs().iter().any(|pack| !before.contains(pack)).then_some(());
    wait_until("a new pack", Duration::from_secs(60), sends);
    fs::remove_file(&victim).unwrap();
    assert!(!damaged.verify("structure", 7).is_empty());
    let alarms = damaged.dev.json(&["status"]).ends(1).object()["alarms"].to_string();
    assert!(alarms.contains("pack.missing"), "{alarms}");
    let run = begun["run"].as_str().unwrap();
    damaged.dev.json(&["runs", "follow", run]).ok();
    let shown = damaged.dev.json(&["runs", "show", run]).ok().object();
    assert_eq!(shown["runs"][0]["state"], "done", "{shown}");
    let made = Damaged { point: shown["runs"][0]["point"].as_str().unwrap().into(), ..damaged };
    assert_eq!(made.restore("after"), 0, "the new point is whole");
}

#[test]
fn a_full_verification_finds_damage_and_names_paths_too() {
    let damaged = prepare();
    let victim = damaged.objects.below("packs").remove(0);
    {
        let _undo = damaged.objects.damage(&victim, Damage::FlipMiddle);
        let rows = damaged.verify("full", 7);
        let named = rows.iter().any(|row| !row["paths"].as_array().unwrap().is_empty());
        assert!(named, "{rows:?}");
    }
    assert!(damaged.verify("full", 0).is_empty());
}

#[test]
fn a_damaged_point_object_is_found() {
    let damaged = prepare();
    let mut round = 0;
    damaged.damage_each("points", |_, _, _| {
        round += 1;
        damaged.restore(&format!("back-{round}"));
    });
}

#[test]
fn a_damaged_reach_is_found() {
    let damaged = prepare();
    let mut round = 0;
    damaged.damage_each("reach", |_, _, _| {
        round += 1;
        damaged.restore(&format!("back-{round}"));
    });
}

#[test]
fn a_damaged_index_segment_is_found_and_takes_nothing_away() {
    let damaged = prepare();
    let mut round = 0;
    damaged.damage_each("index", |_, how, _| {
        round += 1;
        let code = damaged.restore(&format!("back-{round}"));
        assert_eq!(code, 0, "{how:?}: the index is a cache");
    });
}

#[test]
fn structure_finds_what_is_missing_and_what_is_cut_short() {
    let damaged = prepare();
    let victim = damaged.objects.below("packs").remove(0);
    for (how, problem) in [(Damage::Delete, "missing"), (Damage::Truncate, "truncated")] {
        let _undo = damaged.objects.damage(&victim, how);
        let rows = damaged.verify("structure", 7);
        let name = damaged.objects.name(&victim);
        let row = rows.iter().find(|row| row["object"] == name.as_str()).unwrap();
        assert_eq!(row["problem"], problem);
    }
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_verified() {
    let scratch = Scratch::new();
    let (source, dir) = (scratch.join("source"), scratch.join("d"));
    for number in 0..8 {
        write(&source.join(format!("file-{number}")), noise(number, 900_000));
    }
    std::fs::create_dir(&dir).unwrap();
    std::fs::set_permissions(scratch.path(), Permissions::from_mode(0o755)).unwrap();
    let dev = Dev::start_as_nobody(&dir);
    dev.backup(&source);
    let objects = Objects::of(&dir.join("location"));
    let victim = objects.below("packs").remove(0);
    let verify = |exit| dev.json(&["verify", "--all", "--level", "storage"]).ends(exit).object();
    let sound = verify(0);
    std::fs::set_permissions(&victim, Permissions::from_mode(0o000)).unwrap();
    let told = verify(7);
    assert_eq!(told["objects"], sound["objects"], "all were looked at");
    let rows = told["damaged"].as_array().unwrap();
    assert_eq!((rows.len(), &rows[0]["problem"]), (1, &"unreadable".into()), "{told}");
    assert_eq!(rows[0]["object"], objects.name(&victim));
    let first = rows[0]["paths"][0].as_str().unwrap();
    assert!(first.starts_with(source.join("file-").to_str().unwrap()), "{told}");

    // A location of which nothing can be read is another matter: none of its objects is damaged.
    let vault = dir.join("location/vault");
    std::fs::set_permissions(&vault, Permissions::from_mode(0o000)).unwrap();
    dev.json(&["verify", "--all", "--level", "storage"]).fails(4, "location.access_refused");
    for path in [&victim, &vault] {
        std::fs::set_permissions(path, Permissions::from_mode(0o640)).unwrap();
    }
    assert_eq!(verify(0)["damaged"], serde_json::json!([]), "and relied on again");
}

#[test]
fn a_damaged_name_that_is_not_utf8_is_told_exactly() {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    write(&source.join(OsStr::from_bytes(b"caf\xe9")), noise(1, 900_000));
    let dev = Dev::start(&scratch.join("d"));
    let point = dev.backup(&source);
    let listed = dev.json(&["ls", &point]).ok().object();
    let rows = listed["entries"].as_array().unwrap();
    let exact = rows.iter().find_map(|row| row["path_base64"].as_str()).unwrap();
    let objects = Objects::of(&dev.dir.join("location"));
    let _undo = objects.damage(&objects.below("packs").remove(0), Damage::FlipMiddle);
    let told = dev.json(&["verify", "--all", "--level", "storage"]).ends(7).object();
    let row = &told["damaged"][0];
    assert!(row["paths"][0].as_str().unwrap().ends_with("caf\u{fffd}"), "{told}");
    assert_eq!(row["paths_base64"], serde_json::json!([exact]), "{told}");
}

#[test]
fn the_damage_of_one_point_does_not_stop_another() {
    let damaged = prepare();
    let other = damaged.scratch.join("other");
    write(&other.join("alone"), noise(99, 900_000));
    let healthy = damaged.dev.backup(&other);
    let victim = damaged.objects.below("packs").remove(0);
    let _undo = damaged.objects.damage(&victim, Damage::Delete);
    let to = damaged.scratch.join("other-back");
    damaged.dev.run(&["restore", &healthy, "--to", to.to_str().unwrap()]).ok();
    let back = to.join(other.strip_prefix("/").unwrap());
    Tree::of(&other).assert_same(&Tree::of(&back), "the other point");
}
