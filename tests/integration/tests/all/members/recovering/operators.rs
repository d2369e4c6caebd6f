//! Who may act after all coordinators were lost.

use super::scene::Lost;
use crate::{
    cluster::Cluster,
    operators::{admin, as_whom, at, issued},
};
use std::fs;

#[test]
fn a_recovery_brings_an_operator_of_its_own_and_no_one_back_who_was_shut_out() {
    let cluster = Cluster::start();
    let ben = issued(&admin(&cluster), &cluster.scratch, "ben", &[]);
    let eve = issued(&admin(&cluster), &cluster.scratch, "eve", &[]);
    cluster.run(&["operator", "revoke", "ben", "--yes"]).ok();
    let before = admin(&cluster).with_file_name("kept");
    fs::create_dir(&before).unwrap();
    for file in ["ca.pem", "operator.pem", "operator.key"] {
        fs::copy(admin(&cluster).with_file_name(file), before.join(file)).unwrap();
    }
    fs::copy(admin(&cluster), before.join("operator.toml")).unwrap();
    let kept = cluster.scratch.join("kept");
    fs::rename(&before, &kept).unwrap();
    let lost = Lost::of(cluster);
    lost.recover(&[]).ok();
    let cluster = lost.started();
    let told = cluster.run(&["operator", "list"]).ok().object();
    let states: Vec<_> = told["operators"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["name"].as_str().unwrap(), row["state"].as_str().unwrap()))
        .collect();
    let own = states.iter().find(|(name, _)| name.starts_with("recovered-")).unwrap();
    assert_eq!(own.1, "active");
    for stands in [("admin", "active"), ("ben", "revoked"), ("eve", "active")] {
        assert!(states.contains(&stands), "{told}");
    }
    let there = |context: &std::path::Path| at(context, &cluster.coordinator);
    as_whom(&there(&ben), &["operator", "list"]).fails(4, "operator.identity_revoked");
    as_whom(&there(&eve), &["operator", "list"]).ok();
    as_whom(&there(&kept.join("operator.toml")), &["operator", "list"]).ok();
}
