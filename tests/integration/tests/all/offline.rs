//! The worst day: no cluster, only a location and a key.

use crate::harness::{Damage, Dev, Objects, Outcome, Scratch, Tree, binary, noise, write};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

const PASSPHRASE: &str = "correct horse battery staple";

struct Lost {
    scratch: Scratch,
    source: PathBuf,
    point: String,
    url: String,
    bundle: String,
    kek: String,
}

/// A cluster that was backed up, exported, and is gone.
fn lose() -> Lost {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    write(&source.join("large"), noise(1, 6_000_000));
    write(&source.join("small"), "small");
    let dev = Dev::start(&scratch.join("d"));
    dev.backup(&source);
    write(&source.join("tiny"), "fits into the point's own object");
    let point = dev.backup(&source);
    let bundle = scratch.join("bundle.hfbd").to_str().unwrap().to_owned();
    let context = dev.context();
    offline(Some(&context), PASSPHRASE, &["keys", "export", "--to", &bundle]).ok();
    dev.service.kill();
    let gone = scratch.join("gone");
    std::fs::rename(dev.dir.join("location"), &gone).unwrap();
    let url = format!("local:{}", gone.display());
    let kek = format!("file:{}", dev.dir.join("kek").display());
    Lost { scratch, source, point, url, bundle, kek }
}

fn offline(context: Option<&Path>, passphrase: &str, arguments: &[&str]) -> Outcome {
    let mut command = Command::new(binary());
    command.args(["--output", "json"]).args(arguments).env("HOLDFAST_PASSPHRASE", passphrase);
    Outcome::of(context, &mut command)
}

impl Lost {
    fn with_bundle(&self, arguments: &[&str]) -> Outcome {
        let from = ["--from-location", &self.url, "--bundle", &self.bundle];
        offline(None, PASSPHRASE, &[arguments, &from].concat())
    }

    fn with_kek(&self, arguments: &[&str]) -> Outcome {
        let from = ["--from-location", &self.url, "--kek", &self.kek];
        offline(None, "", &[arguments, &from].concat())
    }

    #[track_caller]
    fn assert_back(&self, to: &Path) {
        let back = to.join(self.source.strip_prefix("/").unwrap());
        Tree::of(&self.source).assert_same(&Tree::of(&back), "restored with no cluster");
    }
}

#[test]
fn a_location_and_a_bundle_are_enough() {
    let lost = lose();
    let points = lost.with_bundle(&["points"]).ok().object();
    assert_eq!(points["points"].as_array().unwrap().len(), 2);
    assert_eq!(points["points"][0]["id"], lost.point.as_str());
    let listed = lost.with_bundle(&["ls", "latest"]).ok().object();
    assert!(listed["entries"].as_array().unwrap().len() >= 3);
    let to = lost.scratch.join("back");
    let told = lost.with_bundle(&["restore", "latest", "--to", to.to_str().unwrap()]).ok().object();
    assert_eq!(told["point"], lost.point.as_str());
    lost.assert_back(&to);
}

#[test]
fn a_location_and_the_kek_are_enough() {
    let lost = lose();
    let to = lost.scratch.join("back");
    lost.with_kek(&["restore", &lost.point, "--to", to.to_str().unwrap()]).ok();
    lost.assert_back(&to);
}

#[test]
fn the_index_is_not_needed() {
    let lost = lose();
    std::fs::remove_dir_all(lost.scratch.join("gone/index")).unwrap();
    let to = lost.scratch.join("back");
    lost.with_bundle(&["restore", &lost.point, "--to", to.to_str().unwrap()]).ok();
    lost.assert_back(&to);
}

#[test]
fn a_wrong_passphrase_or_key_opens_nothing() {
    let lost = lose();
    let from = ["--from-location", &lost.url, "--bundle", &lost.bundle];
    offline(None, "wrong", &[&["points"], &from[..]].concat()).fails(4, "key.unwrap_refused");
    offline(None, "wrong", &["keys", "verify", &lost.bundle]).fails(4, "key.unwrap_refused");
    offline(None, PASSPHRASE, &["keys", "verify", &lost.bundle]).ok();
    let other = lost.scratch.join("other-kek");
    write(&other, "11".repeat(32));
    let kek = format!("file:{}", other.display());
    let from = ["--from-location", &lost.url, "--kek", &kek];
    offline(None, "", &[&["points"], &from[..]].concat()).fails(4, "key.unwrap_refused");
    let from = ["--from-location", &lost.url, "--bundle", "/nowhere.hfbd"];
    offline(None, PASSPHRASE, &[&["points"], &from[..]].concat()).fails(3, "file.path_missing");
}

#[test]
fn a_damaged_bundle_is_refused() {
    let lost = lose();
    let bytes = std::fs::read(&lost.bundle).unwrap();
    for at in [0, 5, 40, bytes.len() / 2, bytes.len() - 1] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        let bundle = lost.scratch.join("flipped");
        write(&bundle, flipped);
        let told = offline(None, PASSPHRASE, &["keys", "verify", bundle.to_str().unwrap()]);
        assert!([1, 2, 4, 7].contains(&told.code), "byte {at}: {}", told.code);
    }
}

#[test]
fn damage_is_said_and_never_written() {
    let lost = lose();
    let objects = Objects::of(&lost.scratch.join("gone"));
    let victim = objects.below("packs").remove(0);
    for (round, how) in Damage::ALL.into_iter().enumerate() {
        let _undo = objects.damage(&victim, how);
        let to = lost.scratch.join(&format!("back-{round}"));
        let told = lost.with_bundle(&["restore", &lost.point, "--to", to.to_str().unwrap()]);
        assert!([0, 7].contains(&told.code), "{how:?}: {} {}", told.code, told.stderr);
        let back = to.join(lost.source.strip_prefix("/").unwrap());
        if back.exists() {
            let right = Tree::of(&lost.source);
            Tree::of(&back).assert_no_wrong_bytes(&right, &format!("{how:?}"));
        }
        if matches!(how, Damage::Delete | Damage::Truncate) {
            assert_eq!(told.code, 7, "{how:?}");
        }
    }
}

#[test]
fn a_point_that_its_agent_did_not_sign_is_refused() {
    let lost = lose();
    let object = lost.scratch.join("gone/points").join(&lost.point);
    let signed = std::fs::read(&object).unwrap();
    let record = u32::from_le_bytes(signed[8..12].try_into().unwrap()) as usize;
    for at in [20, 12 + record + 7] {
        let mut forged = signed.clone();
        forged[at] ^= 1;
        write(&object, forged);
        let to = lost.scratch.join("back");
        let told = lost.with_bundle(&["restore", &lost.point, "--to", to.to_str().unwrap()]);
        assert_ne!(told.code, 0, "byte {at}: {}", told.stderr);
        assert!(!to.exists(), "byte {at}: something was restored");
    }
    // What is left of a forged signature is no reason to stop: the other point is there.
    let points = lost.with_bundle(&["points"]).object();
    assert!(!points.to_string().contains(&lost.point), "the forged point is listed");
}

#[test]
fn keys_are_imported_under_a_new_kek_when_the_old_one_is_lost() {
    let lost = lose();
    let kek = format!("file:{}", lost.scratch.join("new-kek").display());
    let import = ["keys", "import", &lost.bundle, "--location", &lost.url, "--kek", &kek];
    offline(None, PASSPHRASE, &import).fails(4, "confirm.answer_missing");
    offline(None, PASSPHRASE, &[&import[..], &["--yes"]].concat()).ok();
    let to = lost.scratch.join("back");
    let from = ["--from-location", &lost.url, "--kek", &kek];
    let restore = ["restore", &lost.point, "--to", to.to_str().unwrap()];
    offline(None, "", &[&restore[..], &from].concat()).ok();
    lost.assert_back(&to);
}
