//! Copies that are not what they seem: what was lost before it was copied, what came back older,
//! and places that hang. None is called current while it lacks what the vault relies on.

use crate::{
    following::{PATIENCE, Scene},
    harness::{FailingDisk, Objects, wait_until, write},
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

#[test]
fn what_a_location_has_that_was_declared_while_another_was_looked_through_is_not_lost() {
    let scene = Scene::new();
    let third = scene.scratch.join("third");
    scene.dev.json(&["location", "add", "third", &format!("local:{}", third.display())]).ok();
    scene.declare(r#"required = ["main"], following = ["far"]"#).ok();
    scene.backup(4);
    let point = scene.backup(5);
    scene.wait_until_held(&point, &["main", "far"]);
    scene.wait_for("far", "current");
    scene.declare(r#"required = ["main"]"#).ok();
    // One pack is left in `far` alone, of which the vault knows nothing for a moment.
    let own = Objects::of(&scene.dev.dir.join("location")).below("packs");
    fs::remove_file(&own[0]).unwrap();
    let slow = "copy_bytes_per_second_max = 200000";
    scene.declare(&format!(r#"required = ["main"], following = ["third"], {slow}"#)).ok();
    wait_until("`third` is filled", PATIENCE, || {
        (scene.copies("third")["state"] == "copying").then_some(())
    });
    scene.declare(&format!(r#"required = ["main"], following = ["third", "far"], {slow}"#)).ok();
    scene.wait_until_held(&point, &["main", "far", "third"]);
    assert_eq!(scene.alarms(), [""; 0], "no pack is lost");
    scene.restore_from(&third, &point);
}

/// Puts other bytes in the place of an object.
fn spoil(object: &Path) {
    let mut bytes = fs::read(object).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(object, bytes).unwrap();
}

#[test]
fn a_point_that_was_lost_before_it_was_copied_is_not_said_to_be_and_nothing_that_rests_on_it() {
    let scene = Scene::new();
    let before = scene.dev.backup(&scene.source);
    scene.declare(r#"required = ["main"], following = ["far"]"#).ok();
    scene.wait_until_held(&before, &["main", "far"]);
    scene.wait_for("far", "current");
    let slow = r#"required = ["main"], following = ["far"], copy_bytes_per_second_max = 100000"#;
    scene.declare(slow).ok();
    scene.backup(5);
    // While that is on its way: too small for packs of their own.
    let points = ["tiny", "small-too"].map(|name| {
        write(&scene.source.join(name), "a few words more");
        scene.dev.backup(&scene.source)
    });
    let records = Objects::of(&scene.dev.dir.join("location")).below("points");
    let is_first = |path: &&PathBuf| path.to_string_lossy().ends_with(&points[0]);
    fs::remove_file(records.iter().find(is_first).unwrap()).unwrap();
    assert_eq!(scene.holding(&points[1]), ["main"], "it is not copied yet");
    scene.declare(r#"required = ["main"], following = ["far"]"#).ok();
    scene.wait_for("far", "current");
    assert_eq!(scene.holding(&points[0]), [""; 0], "it is lost");
    assert_eq!(scene.holding(&points[1]), ["main"], "it needs what was lost with the other one");
    // The next one brings again what was lost.
    let next = scene.dev.backup(&scene.source);
    scene.wait_until_held(&next, &["main", "far"]);
    scene.restore_from(&scene.far, &next);
}

#[test]
fn what_is_damaged_in_all_places_is_given_up_before_a_copy_is_called_current() {
    let scene = Scene::new();
    write(&scene.source.join("tiny"), "a few words more");
    let first = scene.dev.backup(&scene.source);
    let main = Objects::of(&scene.dev.dir.join("location"));
    // What lies within it is needed by whatever comes later; a segment is made anew from packs.
    spoil(&main.below("points")[0]);
    main.below("index").iter().for_each(|segment| spoil(segment));
    scene.declare(r#"required = ["main"], following = ["far"]"#).ok();
    scene.wait_for("far", "current");
    assert_eq!(scene.holding(&first), [""; 0], "it is lost");
    write(&scene.source.join("tiny-too"), "a few other words");
    let second = scene.dev.backup(&scene.source);
    scene.wait_until_held(&second, &["main", "far"]);
    scene.restore_from(&scene.far, &second);
    // A pack too.
    let packs = Objects::of(&scene.far).below("packs");
    let own = scene.dev.dir.join("location").join(packs[0].strip_prefix(&scene.far).unwrap());
    [&own, &packs[0]].iter().for_each(|pack| spoil(pack));
    let third = scene.scratch.join("third");
    scene.dev.json(&["location", "add", "third", &format!("local:{}", third.display())]).ok();
    scene.declare(r#"required = ["main"], following = ["far", "third"]"#).ok();
    scene.wait_for("third", "current");
    assert_eq!(scene.holding(&second), ["main", "far"], "not all of it is there");
    let again = scene.dev.backup(&scene.source);
    let is_everywhere = || (scene.holding(&again).len() == 3).then_some(());
    wait_until("all have it", PATIENCE, is_everywhere);
    scene.restore_from(&third, &again);
}

/// `far` follows, and lacks nothing.
fn current() -> Scene {
    let scene = Scene::new();
    let point = scene.backup(5);
    scene.declare(r#"required = ["main"], following = ["far"]"#).ok();
    scene.wait_until_held(&point, &["main", "far"]);
    scene.wait_for("far", "current");
    scene
}

fn errors(scene: &Scene, name: &str) -> u64 {
    let told = scene.dev.json(&["location", "list"]).ok().object();
    let locations = told["locations"].as_array().unwrap();
    let found = locations.iter().find(|location| location["name"] == name).unwrap();
    found["errors"].as_u64().unwrap()
}

#[test]
fn what_a_location_may_have_that_does_not_open_is_damaged_and_not_lost() {
    let mut scene = current();
    let aside = scene.scratch.join("aside");
    fs::rename(&scene.far, &aside).unwrap();
    // What was open there would follow it.
    scene.restart();
    write(&scene.source.join("tiny"), "a few words more");
    scene.dev.backup(&scene.source);
    scene.wait_for("far", "away");
    let pack = Objects::of(&scene.dev.dir.join("location")).below("packs").remove(0);
    spoil(&pack);
    let verify = || {
        let told = scene.dev.json(&["verify", "--all", "--level", "storage"]).ends(7).object();
        told["damaged"].as_array().unwrap().clone()
    };
    // It is not there, and then its disk is not mounted.
    for is_made in [false, true] {
        if is_made {
            fs::create_dir_all(scene.far.join("tmp")).unwrap();
        }
        let rows = verify();
        assert_eq!((rows.len(), &rows[0]["healed_from"]), (1, &Value::Null), "{rows:?}");
        assert_eq!(rows[0]["paths"], serde_json::json!([]), "made: {is_made}: none is lost");
        assert!(!scene.alarms().contains(&"pack.missing".to_owned()), "made: {is_made}");
    }
    fs::remove_dir_all(&scene.far).unwrap();
    fs::rename(&aside, &scene.far).unwrap();
    scene.wait_for("far", "current");
    assert_eq!(verify()[0]["healed_from"], "far");
    scene.dev.json(&["verify", "--all", "--level", "storage"]).ok();
}

#[test]
fn one_that_was_away_for_more_than_a_moment_is_looked_through_again() {
    let scene = current();
    // It can be read, and nothing can be put there.
    let (tmp, aside) = (scene.far.join("tmp"), scene.scratch.join("tmp"));
    fs::rename(&tmp, &aside).unwrap();
    write(&tmp, "in the way");
    write(&scene.source.join("tiny"), "a few words more");
    let point = scene.dev.backup(&scene.source);
    let away = scene.wait_for("far", "away");
    assert_eq!(away["problem"]["code"], "location.io_failed", "{away:#}");
    wait_until("it was tried again", PATIENCE, || (errors(&scene, "far") > 40).then_some(()));
    // What comes back is as it was some days before.
    let packs = Objects::of(&scene.far).below("packs");
    fs::remove_file(&packs[0]).unwrap();
    fs::remove_file(&tmp).unwrap();
    fs::rename(&aside, &tmp).unwrap();
    scene.wait_until_held(&point, &["main", "far"]);
    scene.wait_for("far", "current");
    assert!(packs[0].exists(), "it lacked what it had before");
    scene.restore_from(&scene.far, &point);
}

#[test]
fn one_that_came_back_older_while_nothing_was_put_there_is_found_out() {
    let scene = current();
    let logs = |place: &Path| Objects::of(place).below("cluster/log").len();
    let main = scene.dev.dir.join("location");
    let has_log = || (logs(&scene.far) == logs(&main)).then_some(());
    wait_until("the log follows", PATIENCE, has_log);
    let packs = Objects::of(&scene.far).below("packs");
    let extents = Objects::of(&scene.far).below("cluster/log");
    fs::remove_file(extents.iter().max().unwrap()).unwrap();
    fs::remove_file(&packs[0]).unwrap();
    // Anything that is agreed on brings another extent.
    scene.dev.json(&["agent", "token"]).ok();
    wait_until("what it lacks is brought", PATIENCE, || packs[0].exists().then_some(()));
    wait_until("the log follows", PATIENCE, has_log);
    scene.wait_for("far", "current");
}

#[test]
fn one_that_hangs_while_nothing_is_stored_is_not_called_current() {
    let scene = Scene::new();
    let (at, image) = (scene.scratch.join("disk"), scene.scratch.join("image"));
    let disk = FailingDisk::mount(&at, &image, 64);
    let url = format!("local:{}", at.join("hung").display());
    scene.dev.json(&["location", "add", "hung", &url]).ok();
    scene.declare(r#"required = ["main"], following = ["hung"]"#).ok();
    scene.wait_for("hung", "current");
    let frozen = disk.freeze();
    scene.dev.json(&["agent", "token"]).ok();
    let away = scene.wait_for("hung", "away");
    assert_eq!(away["problem"]["code"], "location.io_failed", "{away:#}");
    drop(frozen);
    scene.wait_for("hung", "current");
    let point = scene.backup(5);
    scene.wait_until_held(&point, &["main", "hung"]);
}

/// Takes everything out of a directory, which stays.
fn empty(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status();
    assert!(copied.unwrap().success());
}

#[test]
fn a_required_location_that_is_emptied_is_told_of_and_nothing_more_is_put_there() {
    let scene = Scene::new();
    let point = scene.backup(5);
    let (main, aside) = (scene.dev.dir.join("location"), scene.scratch.join("aside"));
    fs::create_dir(&aside).unwrap();
    copy(&main, &aside);
    assert_eq!(scene.alarms(), [""; 0]);
    empty(&main);
    fs::create_dir(main.join("tmp")).unwrap();
    // By itself: nobody stores anything.
    wait_until("it is told", PATIENCE, || {
        let told = "location.vault_absent".to_owned();
        scene.alarms().contains(&told).then_some(())
    });
    write(&scene.source.join("later"), "a few words more");
    let backup = ["backup", "--path", scene.source.to_str().unwrap()];
    scene.dev.json(&backup).fails(4, "location.vault_absent");
    assert_eq!(Objects::of(&main).below("points"), [] as [PathBuf; 0], "nothing was put there");
    empty(&main);
    copy(&aside, &main);
    wait_until("all is well", PATIENCE, || scene.alarms().is_empty().then_some(()));
    let second = scene.dev.backup(&scene.source);
    assert_eq!(scene.holding(&point), ["main"]);
    scene.restore_from(&main, &second);
}

#[test]
fn a_required_location_that_comes_back_older_is_brought_what_it_lacks_unasked() {
    let scene = Scene::new();
    let (main, aside) = (scene.dev.dir.join("location"), scene.scratch.join("aside"));
    scene.declare(r#"required = ["main"], following = ["far"]"#).ok();
    scene.backup(5);
    fs::create_dir(&aside).unwrap();
    copy(&main, &aside);
    let point = scene.backup(6);
    scene.wait_until_held(&point, &["main", "far"]);
    empty(&main);
    copy(&aside, &main);
    let next = scene.backup(7);
    let is_filled = |copies: Value| copies.is_null().then_some(());
    wait_until("it lacks nothing", PATIENCE, || is_filled(scene.copies("main")));
    let audit = scene.dev.run(&["audit", "list"]).ok();
    assert!(audit.text().contains("location.doubt"), "{}", audit.text());
    scene.wait_until_held(&point, &["main", "far"]);
    scene.wait_until_held(&next, &["main", "far"]);
    scene.restore_from(&main, &next);
}

#[test]
fn what_only_a_location_had_that_comes_back_older_is_given_up_and_sent_again() {
    let scene = Scene::new();
    let (main, aside) = (scene.dev.dir.join("location"), scene.scratch.join("aside"));
    scene.backup(5);
    fs::create_dir(&aside).unwrap();
    copy(&main, &aside);
    let lost = scene.backup(6);
    empty(&main);
    copy(&aside, &main);
    write(&scene.source.join("tiny"), "a few words more");
    scene.dev.backup(&scene.source);
    wait_until("it is told", PATIENCE, || {
        scene.alarms().contains(&"pack.missing".to_owned()).then_some(())
    });
    assert_eq!(scene.dev.json(&["status"]).code, 1);
    assert_eq!(scene.holding(&lost), [""; 0]);
    let next = scene.dev.backup(&scene.source);
    wait_until("it lacks nothing", PATIENCE, || scene.copies("main").is_null().then_some(()));
    scene.restore_from(&main, &next);
}

#[test]
fn of_another_vault_too_a_location_that_comes_back_older_is_found_out_at_rest() {
    let scene = Scene::new();
    let (third, aside) = (scene.scratch.join("third"), scene.scratch.join("aside"));
    scene.dev.json(&["location", "add", "third", &format!("local:{}", third.display())]).ok();
    let file = scene.scratch.join("docs.toml");
    let spec = r#"sharing = "agent"
custody = "coordinator"
locations = { required = ["far"], following = ["third"] }
"#;
    write(&file, format!("kind = \"vault\"\nname = \"docs\"\n[spec]\n{spec}"));
    scene.dev.json(&["apply", "-f", file.to_str().unwrap()]).ok();
    let backup = |name: &str| {
        write(&scene.source.join(name), "a few words more");
        let path = scene.source.to_str().unwrap();
        let told = scene.dev.json(&["backup", "--path", path, "--vault", "docs"]).ok().object();
        told["point"].as_str().unwrap().to_owned()
    };
    backup("first");
    fs::create_dir(&aside).unwrap();
    copy(&scene.far, &aside);
    let point = backup("second");
    scene.wait_until_held(&point, &["far", "third"]);
    empty(&scene.far);
    copy(&aside, &scene.far);
    // By itself: nobody stores anything.
    wait_until("what it lacks is brought", PATIENCE, || {
        let records = Objects::of(&scene.far).below("points");
        records.iter().any(|record| record.to_string_lossy().ends_with(&point)).then_some(())
    });
    let audit = scene.dev.run(&["audit", "list"]).ok();
    assert!(audit.text().contains("location.doubt"), "{}", audit.text());
    wait_until("it lacks nothing", PATIENCE, || scene.copies("far").is_null().then_some(()));
    scene.wait_until_held(&point, &["far", "third"]);
    scene.restore_from(&scene.far, &point);
}
