//! What was shipped and is gone again: those who were told of it say so. And snapshots, so that a
//! recovery need not begin with the first entry of all.

use super::scene::{Lost, backup, repointed, source};
use crate::{
    cluster::Cluster,
    harness::{Damage, wait_until, write},
};
use std::{path::Path, time::Duration};

const PATIENCE: Duration = Duration::from_secs(60);

fn alarms(cluster: &Cluster, code: &str) -> Vec<serde_json::Value> {
    let status = cluster.run(&["status"]).object();
    let alarms = status["alarms"].as_array().unwrap().clone();
    alarms.into_iter().filter(|alarm| alarm["code"] == code).collect()
}

/// Up to which audit row an agent was told of the ledger.
fn rows_told(file: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let told = text.lines().find_map(|line| line.strip_prefix("audit_rows = "))?;
    Some(told.parse().unwrap())
}

#[test]
fn an_agent_that_was_told_more_than_was_recovered_is_an_alarm() {
    let cluster = Cluster::start();
    let (agent, other) = (cluster.agent("host"), cluster.agent("other"));
    let source = source(&cluster.scratch, "a", 4);
    backup(&cluster, &source, "other");
    let kept = {
        let mut names = Lost::objects_of(&cluster).below("cluster/log");
        names.sort();
        names
    };
    let rows = cluster.run(&["audit", "verify"]).ok().object()["rows"].as_u64().unwrap();
    drop(other);
    write(&source.join("later"), "later");
    backup(&cluster, &source, "host");
    let told = cluster.scratch.join("host/told.toml");
    let is_told = || (rows_told(&told)? > rows).then_some(());
    wait_until("it was told of what is lost then", PATIENCE, is_told);
    drop(agent);
    let lost = Lost::of(cluster);
    // The end of the log goes, as if it had never come: nothing in the location says so.
    for extent in lost.objects().below("cluster/log") {
        if !kept.contains(&extent) {
            std::fs::remove_file(extent).unwrap();
        }
    }
    let recovered = lost.recover(&[]).ok().object();
    assert_eq!(recovered["missing"], serde_json::Value::Null, "{recovered}");
    assert_eq!(recovered["imported"].as_array().unwrap().len(), 1, "the point itself is whole");
    let cluster = lost.started();
    let other = repointed(&cluster, "other");
    let seen = || (cluster.state_of("other") == "connected").then_some(());
    wait_until("the other is back", PATIENCE, seen);
    assert!(alarms(&cluster, "ledger.history_lost").is_empty(), "it was told no more than is here");
    let agent = repointed(&cluster, "host");
    let seen = || alarms(&cluster, "ledger.history_lost").pop();
    let alarm = wait_until("the alarm", PATIENCE, seen);
    let subject = alarm["subject"].as_str().unwrap();
    let index = recovered["index"].as_u64().unwrap();
    assert!(
        subject.starts_with("host ") && subject.contains(&format!("entry {index} ")),
        "{alarm}"
    );
    // Once it has a new point, nothing of it is missing any more.
    backup(&cluster, &source, "host");
    assert!(alarms(&cluster, "ledger.history_lost").is_empty());
    drop((agent, other));
}

#[test]
fn snapshots_are_shipped_and_a_recovery_begins_with_one() {
    let mut cluster = Cluster::start();
    assert_eq!(cluster.coordinator.stop().code(), Some(0));
    let config = cluster.scratch.join("c/coordinator.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("snapshot_every = 20\n{text}")).unwrap();
    cluster.coordinator = Cluster::coordinator(&cluster.scratch);
    let agent = cluster.agent("host");
    let source = source(&cluster.scratch, "a", 8);
    backup(&cluster, &source, "host");
    let parts = || Lost::objects_of(&cluster).below("cluster/snapshot");
    let shipped = || {
        cluster.run(&["agent", "token"]).ok();
        (!parts().is_empty()).then_some(())
    };
    wait_until("a snapshot is in the location", PATIENCE, shipped);
    let later = backup(&cluster, &source, "host");
    drop(agent);
    let lost = Lost::of(cluster);
    let told = lost.recover(&[]).ok().object();
    let (snapshot, index) = (told["snapshot"].as_u64().unwrap(), told["index"].as_u64().unwrap());
    assert!(snapshot >= 20 && told["entries"] == index - snapshot, "{told}");
    assert_eq!(told["points"], 2, "{told}");
    std::fs::remove_dir_all(lost.scratch.join("c")).unwrap();
    // Damaged, it is as if it were not there: the log has all of it.
    let objects = lost.objects();
    let parts = objects.below("cluster/snapshot");
    let damage: Vec<_> =
        parts.iter().map(|part| objects.damage(part, Damage::FlipMiddle)).collect();
    let without = lost.recover(&[]).ok().object();
    assert_eq!(
        (&without["snapshot"], &without["index"]),
        (&serde_json::Value::Null, &told["index"])
    );
    assert_eq!(without["audit"], told["audit"], "the same ledger either way");
    assert_eq!(without["damaged"].as_array().unwrap().len(), parts.len(), "{without}");
    drop(damage);
    let cluster = lost.started();
    let to = cluster.scratch.join("back");
    let point = later["point"].as_str().unwrap();
    cluster.run(&["restore", point, "--to", to.to_str().unwrap()]).ok();
}
