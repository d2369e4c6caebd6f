//! The worst day: no cluster, only a location and a key.

use crate::harness::{Damage, Dev, Objects, Outcome, Scratch, Service, Tree};
use crate::harness::{binary, noise, wait_until, write};
use bytes::Bytes;
use holdfast_keyring::IdentityKey;
use holdfast_repository::{PointObject, VaultObject};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

const PASSPHRASE: &str = "correct horse battery staple";

struct Lost {
    scratch: Scratch,
    source: PathBuf,
    /// The first point of the source.
    first: String,
    /// The last one.
    point: String,
    url: String,
    bundle: String,
    kek: String,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    /// Then the object does not parse at all.
    Opening,
    Signature,
}

/// A cluster that was backed up, exported, and is gone.
fn lose() -> Lost {
    lose_after(|_, _| None)
}

/// The same after more has happened since the export, the last point of it perhaps.
fn lose_after(more: impl FnOnce(&Dev, &Path) -> Option<String>) -> Lost {
    let scratch = Scratch::new();
    let source = scratch.join("source");
    write(&source.join("large"), noise(1, 6_000_000));
    write(&source.join("small"), "small");
    let dev = Dev::start(&scratch.join("d"));
    let first = dev.backup(&source);
    write(&source.join("tiny"), "fits into the point's own object");
    let point = dev.backup(&source);
    let bundle = scratch.join("bundle.hfbd").to_str().unwrap().to_owned();
    let context = dev.context();
    offline(Some(&context), PASSPHRASE, &["keys", "export", "--to", &bundle]).ok();
    let point = more(&dev, &source).unwrap_or(point);
    dev.service.kill();
    let gone = scratch.join("gone");
    std::fs::rename(dev.dir.join("location"), &gone).unwrap();
    let url = format!("local:{}", gone.display());
    let kek = format!("file:{}", dev.dir.join("kek").display());
    Lost { scratch, source, first, point, url, bundle, kek }
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

    fn object(&self, point: &str) -> PathBuf {
        self.scratch.join("gone/points").join(point)
    }

    /// Changes one byte of what the point's agent signed, or of the signature.
    fn flip(&self, point: &str, what: Part) {
        let mut bytes = std::fs::read(self.object(point)).unwrap();
        let record = u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
        let at = match what {
            Part::Opening => 0,
            Part::Signature => 12 + record + 7,
        };
        bytes[at] ^= 1;
        write(&self.object(point), bytes);
    }

    /// Signs the point again as its agent would have with a clock that is ahead.
    fn put_ahead(&self, point: &str, span: Duration) {
        let vault = std::fs::read(self.scratch.join("gone/vault")).unwrap();
        let vault = VaultObject::from_bytes(&vault).unwrap().id;
        let bytes = Bytes::from(std::fs::read(self.object(point)).unwrap());
        let object = PointObject::parse(&vault, &point.parse().unwrap(), &bytes).unwrap();
        let mut record = object.record().clone();
        record.started = record.started.plus(span);
        record.ended = record.ended.plus(span);
        let pem = std::fs::read_to_string(self.scratch.join("d/agent/agent.key")).unwrap();
        let key = IdentityKey::from_pkcs8_pem(&pem).unwrap();
        let record = Bytes::from(record.to_bytes());
        let signature = key.sign_point(&record);
        let again = PointObject::new(record, signature, object.inline().to_vec()).unwrap();
        write(&self.object(point), again.to_object());
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
fn points_are_searched_and_compared_without_a_cluster() {
    let lost = lose();
    let paths = |told: &serde_json::Value, list: &str| -> Vec<String> {
        let rows = told[list].as_array().unwrap().iter();
        rows.map(|row| row["path"].as_str().unwrap().to_owned()).collect()
    };
    let tiny = lost.source.join("tiny").to_str().unwrap().to_owned();
    let small = lost.source.join("small").to_str().unwrap().to_owned();
    let newest = lost.with_bundle(&["find", "tiny"]).ok().object();
    assert_eq!(paths(&newest, "entries"), [tiny.as_str()]);
    assert_eq!(newest["point"], lost.point.as_str());
    let old = lost.with_bundle(&["find", "tiny", "--point", &lost.first]).ok().object();
    assert_eq!(paths(&old, "entries"), [""; 0]);
    let all = lost.with_kek(&["find", "small", "--all"]).ok().objects();
    let found: Vec<String> = all.iter().flat_map(|one| paths(one, "entries")).collect();
    assert_eq!(found, [small.as_str(); 2], "in both points");

    let changes = lost.with_bundle(&["diff", &lost.first, "latest"]).ok().object();
    assert!(paths(&changes, "changes").contains(&tiny), "{changes}");
    assert!(!paths(&changes, "changes").contains(&small), "{changes}");
    let none = lost.with_bundle(&["diff", &lost.first, &lost.first]).ok().object();
    assert_eq!(none["changes"], serde_json::json!([]));

    // The newest cannot be told from a point that does not open.
    lost.flip(&lost.point, Part::Opening);
    assert_eq!(lost.with_bundle(&["find", "small"]).code, 7);
    lost.with_bundle(&["find", "small", "--point", &lost.first]).ok();
}

#[test]
fn a_location_is_verified_to_the_last_byte_without_a_cluster() {
    let lost = lose();
    let full = ["verify", "--all", "--level", "full"];
    let told = lost.with_bundle(&full).ok().object();
    assert_eq!((told["points"].as_u64(), &told["damaged"]), (Some(2), &serde_json::json!([])));
    assert!(told["bytes"].as_u64().unwrap() > 12_000_000, "every byte of both: {told}");
    lost.with_bundle(&["verify", "latest"]).fails(2, "usage.argument_malformed");

    let victim = Objects::of(&lost.scratch.join("gone")).below("packs").remove(0);
    let whole = std::fs::read(&victim).unwrap();
    let problems = || {
        let told = lost.with_kek(&full).ends(7).object();
        let rows = told["damaged"].as_array().unwrap().clone();
        assert!(!rows.is_empty(), "{told}");
        let mut problems: Vec<_> =
            rows.iter().map(|row| row["problem"].as_str().unwrap().to_owned()).collect();
        problems.dedup();
        problems
    };
    std::fs::remove_file(&victim).unwrap();
    assert_eq!(problems(), ["missing"]);
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    write(&victim, bytes);
    assert_eq!(problems(), ["hash"]);
    write(&victim, whole);
    lost.with_kek(&full).ok();

    lost.flip(&lost.first, Part::Opening);
    let told = lost.with_bundle(&full).ends(7).object();
    let objects: Vec<_> = told["damaged"].as_array().unwrap().iter().collect();
    assert!(objects.iter().any(|row| row["object"] == format!("points/{}", lost.first)), "{told}");
    // It may be of any policy: what tells of which is damaged.
    let of_policy = ["verify", "--policy", "any", "--level", "full"];
    let told = lost.with_bundle(&of_policy).ends(7).object();
    assert_eq!(told["damaged"].as_array().unwrap().len(), 1, "{told}");
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

#[test]
fn latest_is_the_end_of_the_chain_whatever_the_hosts_clock_said() {
    let lost = lose();
    lost.put_ahead(&lost.first, Duration::from_secs(365 * 86_400));
    let points = lost.with_bundle(&["points"]).ok().object();
    assert_eq!(points["points"][0]["id"], lost.point.as_str(), "{points}");
    assert_eq!(points["points"][1]["id"], lost.first.as_str());
    assert_eq!(points["points"][1]["signature"], "checked", "it was signed again");
    assert!(points["points"][1]["time"].as_str() > points["points"][0]["time"].as_str());
    let newest = lost.with_bundle(&["points", "--latest"]).ok().object();
    assert_eq!(newest["points"][0]["id"], lost.point.as_str());
    let to = lost.scratch.join("back");
    for restored in [Lost::with_bundle, Lost::with_kek] {
        let told = restored(&lost, &["restore", "latest", "--to", to.to_str().unwrap(), "--force"]);
        assert_eq!(told.ok().object()["point"], lost.point.as_str());
    }
    lost.assert_back(&to);
}

#[test]
fn latest_is_refused_when_the_newest_point_cannot_be_trusted() {
    for (what, code) in
        [(Part::Opening, "object.content_damaged"), (Part::Signature, "point.signature_wrong")]
    {
        let lost = lose();
        lost.flip(&lost.point, what);
        let to = lost.scratch.join("back");
        let to = to.to_str().unwrap();
        for arguments in [&["restore", "latest", "--to", to][..], &["points", "--latest"]] {
            let told = lost.with_bundle(arguments);
            let error = told.error();
            let message = error["message"].as_str().unwrap();
            assert!(message.contains(&lost.point), "{what:?}: {message}");
            told.fails(7, code);
            assert!(!Path::new(to).exists(), "{what:?}: something was restored");
        }
        // The one before it comes back for whoever asks for it.
        lost.with_bundle(&["restore", &lost.first, "--to", to]).ok();
        std::fs::remove_file(lost.source.join("tiny")).unwrap();
        lost.assert_back(Path::new(to));
    }
}

#[test]
fn a_damaged_point_that_was_not_the_newest_does_not_hinder_latest() {
    for what in [Part::Opening, Part::Signature] {
        let lost = lose();
        lost.flip(&lost.first, what);
        let to = lost.scratch.join("back");
        let told = lost.with_bundle(&["restore", "latest", "--to", to.to_str().unwrap()]).ok();
        assert_eq!(told.object()["point"], lost.point.as_str());
        assert!(told.stderr.contains(&lost.first), "{}", told.stderr);
        lost.assert_back(&to);
        let accepted = lost.with_bundle(&["points", "--latest", "--accept-unsigned"]).ok();
        assert_eq!(accepted.object()["points"][0]["id"], lost.point.as_str(), "{what:?}");
        lost.with_bundle(&["ls", "latest", "--accept-unsigned"]).ok();
    }
}

#[test]
fn chunks_in_a_refused_point_come_back_through_the_points_that_reuse_them() {
    let lost = lose_after(|dev, source| {
        write(&source.join("later"), "a third point, whose `tiny` lies in the second");
        Some(dev.backup(source))
    });
    let listed = lost.with_bundle(&["points"]).ok().object();
    let second = listed["points"][1]["id"].as_str().unwrap();
    lost.flip(second, Part::Signature);
    for index in ["with the index", "without the index"] {
        let to = lost.scratch.join(index);
        lost.with_bundle(&["restore", "latest", "--to", to.to_str().unwrap()]).ok();
        lost.assert_back(&to);
        let _was_removed = std::fs::remove_dir_all(lost.scratch.join("gone/index"));
    }
}

/// Joins after the bundle was exported, and backs up.
fn late(dev: &Dev, source: &Path) -> Option<String> {
    let bundle = source.with_file_name("bundle.hfbd");
    let verify = ["keys", "verify", bundle.to_str().unwrap()];
    offline(Some(&dev.context()), PASSPHRASE, &verify).ok();
    let notes = || dev.json(&["status"]).object()["notes"].to_string();
    assert!(!notes().contains("bundle.agents_behind"), "{}", notes());
    let dir = dev.dir.join("late");
    let (dir, token) = (dir.to_str().unwrap(), dev.run(&["agent", "token"]).ok());
    let (to, token) = (&*dev.service.address, token.text().trim_end());
    let join = ["agent", "join", "--coordinator", to, "--token", token, "--dir", dir];
    dev.run(&[&join[..], &["--name", "late"]].concat()).ok();
    assert!(notes().contains("bundle.agents_behind"), "{}", notes());
    let config = format!("{dir}/agent.toml");
    let _agent = Service::start(&["agent", "--config", &config], &dev.dir.join("late.log"));
    let backup = ["backup", "--path", source.to_str().unwrap(), "--agent", "late"];
    Some(dev.json(&backup).ok().object()["point"].as_str().unwrap().to_owned())
}

#[test]
fn a_bundle_older_than_an_agent_opens_its_points_when_that_is_accepted() {
    let lost = lose_after(late);
    let to = lost.scratch.join("back");
    let to = to.to_str().unwrap();
    for point in ["latest", &lost.point] {
        let told = lost.with_bundle(&["restore", point, "--to", to]);
        let next = told.error()["next"].to_string();
        assert!(next.contains("--accept-unsigned"), "{point}: {next}");
        told.fails(7, "point.signature_wrong");
        assert!(!Path::new(to).exists(), "something was restored");
    }
    let accept = ["restore", &lost.point, "--to", to, "--accept-unsigned"];
    let told = lost.with_bundle(&accept).ok();
    assert!(told.stderr.contains(&format!("warning: points/{}", lost.point)), "{}", told.stderr);
    assert!(!told.stderr.contains(&lost.first), "what is proven is not warned of");
    assert_eq!(told.object()["signature"], "not_checked");
    lost.assert_back(Path::new(to));
    let listed = lost.with_bundle(&["points", "--accept-unsigned"]).ok().object();
    for row in listed["points"].as_array().unwrap() {
        let expected = if row["id"] == lost.point.as_str() { "not_checked" } else { "checked" };
        assert_eq!(row["signature"], expected, "{row}");
    }
    let listed = lost.with_bundle(&["ls", &lost.point, "--accept-unsigned"]).ok();
    assert_eq!(listed.object()["signature"], "not_checked");
    let small = format!("{}/small", lost.source.display());
    let read = lost.with_bundle(&["cat", &lost.point, &small, "--accept-unsigned"]).ok();
    assert_eq!(read.text(), "small");
}

#[test]
fn what_is_not_what_its_agent_signed_is_never_latest_even_when_accepted() {
    let lost = lose();
    lost.flip(&lost.point, Part::Signature);
    let to = lost.scratch.join("back");
    let to = to.to_str().unwrap();
    let latest = ["restore", "latest", "--to", to, "--accept-unsigned"];
    lost.with_bundle(&latest).fails(7, "point.signature_wrong");
    assert!(!Path::new(to).exists());
    let named = ["restore", &lost.point, "--to", to, "--accept-unsigned"];
    let told = lost.with_bundle(&named).ok();
    assert!(told.stderr.contains("NOT what its agent signed"), "{}", told.stderr);
    assert_eq!(told.object()["signature"], "wrong");
    lost.assert_back(Path::new(to));
}

#[test]
fn a_passphrase_that_is_piped_is_read_once_and_is_enough() {
    let lost = lose();
    let from = ["--from-location", &lost.url, "--bundle", &lost.bundle];
    let to = lost.scratch.join("back");
    let small = lost.source.join("small");
    let (to_text, small) = (to.to_str().unwrap(), small.to_str().unwrap());
    for more in [&[][..], &["--passphrase-file", "-"]] {
        let piped = |arguments: &[&str]| {
            let mut command = Command::new(binary());
            command.env_remove("HOLDFAST_PASSPHRASE").args(arguments).args(from).args(more);
            Outcome::fed(None, &mut command, &format!("{PASSPHRASE}\n")).ok()
        };
        piped(&["points"]);
        piped(&["ls", "latest"]);
        assert_eq!(piped(&["cat", "latest", small]).text(), "small");
        piped(&["restore", "latest", "--to", to_text, "--verify", "--force"]);
        lost.assert_back(&to);
        let mut verify = Command::new(binary());
        verify.env_remove("HOLDFAST_PASSPHRASE").args(["keys", "verify", &lost.bundle]).args(more);
        Outcome::fed(None, &mut verify, PASSPHRASE).ok();
    }
}

/// Blocks that all differ and cost little to keep.
fn write_countless(path: &Path, blocks: std::ops::Range<u64>) {
    write(path, b"");
    let mut out = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let mut block = [0; 4096];
    for number in blocks {
        block[..8].copy_from_slice(&number.to_le_bytes());
        std::io::Write::write_all(&mut out, &block).unwrap();
    }
}

#[test]
fn a_checkpoint_comes_back_by_the_id_of_its_run_with_a_cluster_and_without() {
    const PATIENCE: Duration = Duration::from_secs(240);
    let scratch = Scratch::new();
    let source = scratch.join("source");
    write(&source.join("a/first"), noise(1, 3_000_000));
    // A checkpoint comes with so much that is new; then there is still something to read.
    for number in 0..18 {
        let blocks = number << 14..(number + 1) << 14;
        write_countless(&source.join(format!("b/{number:02}")), blocks);
    }
    for number in 0..60 {
        write(&source.join(format!("c/{number}")), noise(10 + number, 4_000_000));
    }
    let dev = Dev::start(&scratch.join("d"));
    let begun = dev.json(&["backup", "--path", source.to_str().unwrap(), "--detach"]).ok();
    let run = begun.object()["run"].as_str().unwrap().to_owned();
    let made = || dev.service.log().contains("checkpoint committed").then_some(());
    wait_until("a checkpoint is there", PATIENCE, made);
    dev.service.kill();

    let dev = Dev::start(&scratch.join("d"));
    let over = || {
        let told = dev.json(&["runs"]).ok().object();
        let state = told["runs"][0]["state"].as_str().unwrap().to_owned();
        (!["queued", "running"].contains(&&*state)).then_some(state)
    };
    assert_eq!(wait_until("the run has ended", PATIENCE, over), "interrupted");
    let listed = dev.json(&["points", "--checkpoints"]).ok().object();
    let point = listed["points"][0]["id"].clone();
    assert_eq!(listed["points"][0]["state"], "checkpoint");
    dev.json(&["restore", "latest", "--to", "/nowhere"]).fails(3, "point.id_unknown");
    let first = source.join("a");
    let part = first.to_str().unwrap();
    let (with, without) = (scratch.join("with"), scratch.join("without"));
    let told = dev.json(&["restore", &run, "--to", with.to_str().unwrap()]).ok().object();
    assert_eq!((&told["point"], &told["skipped_count"]), (&point, &0.into()));
    let (right, back) = (Tree::of(&source), with.join(source.strip_prefix("/").unwrap()));
    let brought = Tree::of(&back);
    brought.assert_no_wrong_bytes(&right, "by the run's id");
    assert!(brought.0.contains_key(Path::new("b/00")) && brought.0.len() > 10);
    assert!(brought.0.len() < right.0.len(), "it is a checkpoint");
    dev.service.kill();
    std::fs::remove_dir_all(&with).unwrap();

    let url = format!("local:{}", scratch.join("d/location").display());
    let kek = format!("file:{}", scratch.join("d/kek").display());
    let from = ["--from-location", &url, "--kek", &kek];
    let restore = |id: &str| {
        let arguments = ["restore", id, "--to", without.to_str().unwrap(), part];
        offline(None, "", &[&arguments[..], &from].concat())
    };
    assert_eq!(restore(&run[..8]).ok().object()["point"], point);
    let back = without.join(first.strip_prefix("/").unwrap());
    Tree::of(&first).assert_same(&Tree::of(&back), "with no cluster");
    restore("00000000").fails(3, "point.id_unknown");
}

#[test]
fn a_pack_that_may_not_be_read_is_not_called_damaged() {
    use std::os::unix::{fs::PermissionsExt, process::CommandExt};
    assert!(rustix::process::geteuid().is_root(), "`make test` runs this as root");
    let lost = lose();
    let objects = Objects::of(&lost.scratch.join("gone"));
    for pack in objects.below("packs") {
        std::fs::set_permissions(pack, PermissionsExt::from_mode(0o000)).unwrap();
    }
    let chowned = Command::new("chown").args(["-R", "65534"]).arg(lost.scratch.path()).status();
    assert!(chowned.unwrap().success());
    let to = lost.scratch.join("back");
    let restore = || {
        let mut command = Command::new(binary());
        command.args(["--output", "json", "restore", &lost.point, "--to", to.to_str().unwrap()]);
        command.args(["--from-location", &lost.url, "--bundle", &lost.bundle]);
        command.env("HOLDFAST_PASSPHRASE", PASSPHRASE).uid(65534).gid(65534);
        Outcome::of(None, &mut command)
    };
    for index in ["with the index", "without it"] {
        let told = restore();
        assert!(told.stderr.contains("Permission denied"), "{index}: {}", told.stderr);
        assert!(!told.stderr.contains("damaged"), "{index}: {}", told.stderr);
        told.fails(4, "location.access_refused");
        let _was_removed = std::fs::remove_dir_all(lost.scratch.join("gone/index"));
    }
    for pack in objects.below("packs") {
        std::fs::set_permissions(pack, PermissionsExt::from_mode(0o400)).unwrap();
    }
    let told = restore().ok();
    assert_eq!(told.object()["skipped_count"], 0);
}
