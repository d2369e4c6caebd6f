//! What is missing or damaged is said, and never gone without unasked.

use super::scene::{Lost, backup, repointed, source};
use crate::{
    cluster::Cluster,
    harness::{Damage, Objects, Scratch, holdfast, write},
};
use serde_json::Value;
use std::path::PathBuf;

/// A cluster with a few extents, and the point of each of some backups.
fn with_backups(cluster: Cluster, count: u64) -> (Lost, Vec<Value>) {
    let agent = cluster.agent("host");
    let source = source(&cluster.scratch, "a", 7);
    let mut points = Vec::new();
    for round in 0..count {
        write(&source.join("round"), format!("{round}"));
        points.push(backup(&cluster, &source, "host")["point"].clone());
    }
    drop(agent);
    (Lost::of(cluster), points)
}

/// In the order of their names, which is that of their entries.
fn extents(objects: &Objects) -> Vec<PathBuf> {
    let mut extents = objects.below("cluster/log");
    extents.sort();
    assert!(extents.len() >= 4, "{extents:?}");
    extents
}

#[test]
fn a_gap_is_refused_unless_somebody_says_why() {
    let (lost, points) = with_backups(Cluster::start(), 4);
    let objects = lost.objects();
    let extents = extents(&objects);
    let middle = extents.len() / 2;
    let undo = objects.damage(&extents[middle], Damage::Delete);
    let refused = lost.recover(&[]).ends(7).error();
    assert_eq!(refused["code"], "history.entries_missing", "{refused}");
    assert!(refused["next"].as_str().unwrap().contains("--up-to-gap"), "{refused}");
    assert!(!lost.scratch.join("c/coordinator.toml").exists());
    // A try that ended half-way is made again, here with all that there is.
    drop(undo);
    let whole = lost.recover(&[]).ok().object();
    assert_eq!((&whole["missing"], whole["points"].as_u64()), (&Value::Null, Some(4)));
    std::fs::remove_dir_all(lost.scratch.join("c")).unwrap();

    let undo = objects.damage(&extents[middle], Damage::Delete);
    let up_to = ["--up-to-gap", "the array burnt"];
    lost.recover(&up_to).ends(4);
    let told = lost.recover(&[&up_to[..], &["--yes"]].concat()).ok().object();
    let from: u64 = extents[middle].file_name().unwrap().to_str().unwrap()[11..].parse().unwrap();
    assert_eq!(told["missing"]["from"], from, "{told}");
    assert_eq!(told["index"], from - 1, "{told}");
    // Their objects are whole, so points of after the gap come back as what they are.
    let (found, left) = (told["imported"].as_array().unwrap(), told["left"].as_array().unwrap());
    assert_eq!(left.len(), 0, "{told}");
    assert!(!found.is_empty(), "{told}");
    drop(undo);
    let cluster = lost.started();
    let listed = cluster.run(&["points"]).ok().object();
    assert_eq!(listed["points"].as_array().unwrap().len(), points.len(), "{listed}");
    for (at, point) in points.iter().enumerate() {
        let to = cluster.scratch.join(&format!("back-{at}"));
        let point = point.as_str().unwrap();
        cluster.run(&["restore", point, "--to", to.to_str().unwrap()]).ok();
        let path = cluster.scratch.join("source-a/round");
        let note = to.join(path.strip_prefix("/").unwrap());
        assert_eq!(std::fs::read_to_string(note).unwrap(), at.to_string());
    }
    let log = cluster.run(&["audit", "list"]).ok();
    assert!(log.text().contains("the array burnt"), "{}", log.text());
    cluster.run(&["verify", "--all", "--level", "storage"]).ok();
    drop(repointed(&cluster, "host"));
}

#[test]
fn the_last_extent_is_not_forgotten_because_it_is_damaged() {
    let (lost, _) = with_backups(Cluster::start(), 3);
    let objects = lost.objects();
    let last = extents(&objects).pop().unwrap();
    for how in [Damage::FlipFirst, Damage::FlipMiddle, Damage::FlipLast, Damage::Truncate] {
        let undo = objects.damage(&last, how);
        let refused = lost.recover(&[]).ends(7).error();
        assert_eq!(refused["code"], "history.entries_missing", "{how:?}: {refused}");
        drop(undo);
    }
    lost.recover(&[]).ok();
}

#[test]
fn what_one_location_lacks_another_has() {
    let scratch = Scratch::new();
    let (lost, points) = with_backups(Cluster::start_in(scratch, &["location", "second"]), 3);
    let (first, second) = (lost.objects(), Objects::of(&lost.scratch.join("second")));
    let (here, there) = (extents(&first), extents(&second));
    let _undone_at_the_end = (
        first.damage(&here[1], Damage::FlipMiddle),
        first.damage(&here[2], Damage::Delete),
        second.damage(&there[0], Damage::Truncate),
    );
    lost.recover(&[]).fails(7, "history.entries_missing");
    let also = format!("local:{}", lost.scratch.join("second").display());
    let told = lost.recover(&["--from", &also]).ok().object();
    assert_eq!(told["missing"], Value::Null, "{told}");
    let damaged = told["damaged"].as_array().unwrap();
    assert!(damaged.iter().any(|one| one["object"] == first.name(&here[1])), "{told}");
    assert_eq!(told["points"], points.len(), "{told}");
}

#[test]
fn a_key_or_a_location_of_another_cluster_is_refused() {
    let (lost, _) = with_backups(Cluster::start(), 1);
    let other = Cluster::start();
    let (secret, bundle) = (other.scratch.join("secret"), other.scratch.join("b.hfbd"));
    write(&secret, "correct horse battery");
    let (secret, bundle) = (secret.to_str().unwrap(), bundle.to_str().unwrap());
    let export = ["keys", "export", "--to", bundle, "--passphrase-file", secret];
    other.run(&export).ok();
    let kek = format!("file:{}", other.scratch.join("kek").display());
    lost.recover_with(&["--kek", &kek]).fails(4, "key.unwrap_refused");
    let by_bundle = ["--bundle", bundle, "--passphrase-file", secret];
    lost.recover_with(&by_bundle).fails(4, "vault.id_foreign");
    let theirs = format!("local:{}", other.scratch.join("location").display());
    lost.recover(&["--from", &theirs]).fails(4, "vault.id_foreign");
    let nowhere = format!("local:{}", lost.scratch.join("nowhere").display());
    assert_ne!(lost.recover(&["--from", &nowhere]).code, 0);
    assert!(!lost.scratch.join("c/coordinator.toml").exists(), "nothing was made of it");
    lost.recover(&[]).ok();
}

#[test]
fn a_directory_with_a_ledger_is_left_alone() {
    let cluster = Cluster::start();
    let (dir, scratch) = (cluster.scratch.join("c"), &cluster.scratch);
    let (kek, from) = (scratch.join("kek"), scratch.join("location"));
    let (kek, from) = (format!("file:{}", kek.display()), format!("local:{}", from.display()));
    let recover = |dir: &str| {
        let arguments = [
            &["--output", "json", "cluster", "recover", "--from", &from, "--kek", &kek][..],
            &["--dir", dir, "--name", "again", "--region", "eu", "--listen", "127.0.0.1:0"][..],
        ];
        holdfast(None, &arguments.concat())
    };
    recover(dir.to_str().unwrap()).fails(8, "resource.change_refused");
    let data = scratch.join("other/data");
    write(&data.join("anything"), "of somebody");
    recover(scratch.join("other").to_str().unwrap()).fails(8, "resource.change_refused");
    assert!(data.join("anything").exists());
}
