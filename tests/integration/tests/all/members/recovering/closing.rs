//! A commit is refused while the objects of its point lie in the locations already. When a version
//! of the keys was closed meanwhile, no recovery takes that point in.

use super::scene::{Lost, backup, source};
use crate::cluster::Cluster;
use serde_json::json;
use std::{fs, path::Path};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

/// A cluster whose ledger knows one point, and the objects of a second one that rests on the same
/// version of the keys, which is not the newest any more.
fn with_an_orphan() -> (Lost, String) {
    let cluster = Cluster::start();
    let agent = cluster.agent("host");
    let source = source(&cluster.scratch, "a", 1);
    backup(&cluster, &source, "host");
    cluster.run(&["keys", "rotate", "main"]).ok();
    let (location, before) = (cluster.scratch.join("location"), cluster.scratch.join("before"));
    copy(&location, &before);
    let second = backup(&cluster, &source, "host");
    assert_eq!(second["chunks_new"], json!(0), "{second}");
    let second = second["point"].as_str().unwrap().to_owned();
    drop(agent);
    let lost = Lost::of(cluster);
    fs::rename(&location, lost.scratch.join("after")).unwrap();
    fs::rename(&before, &location).unwrap();
    (lost, second)
}

/// Its objects are there from now on, as they are when its commit was refused.
fn put(lost: &Lost, point: &str) {
    for folder in ["reach", "points"] {
        let name = Path::new(folder).join(point);
        fs::copy(lost.scratch.join("after").join(&name), lost.location().join(&name)).unwrap();
    }
}

#[test]
fn a_point_that_was_refused_for_a_closed_version_does_not_come_back() {
    let (lost, point) = with_an_orphan();
    lost.recover(&[]).ok();
    let cluster = lost.started();
    cluster.run(&["keys", "close", "--vault", "main", "1", "--yes"]).ok();
    let lost = Lost::of(cluster);
    put(&lost, &point);
    let told = lost.recover(&[]).ok().object();
    assert_eq!((&told["points"], &told["imported"]), (&json!(1), &json!([])), "{told}");
    assert!(told.to_string().contains(&point), "it is told of: {told}");
    assert!(told.to_string().contains("vault.keys_closed"), "{told}");
    let cluster = lost.started();
    let points = cluster.run(&["points"]).ok().object();
    assert_eq!(points["points"].as_array().unwrap().len(), 1, "{points}");
}

#[test]
fn the_same_point_is_taken_in_where_nothing_was_closed() {
    let (lost, point) = with_an_orphan();
    lost.recover(&[]).ok();
    let lost = Lost::of(lost.started());
    put(&lost, &point);
    let told = lost.recover(&[]).ok().object();
    assert_eq!(told["imported"], json!([point]), "{told}");
}
