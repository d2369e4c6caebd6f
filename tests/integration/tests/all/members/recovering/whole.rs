//! Nothing that was reported done is lost, and what was decided stays decided.

use super::scene::{Lost, backup, repoint, repointed, source};
use crate::{
    clock::{by_file, set_offset},
    cluster::Cluster,
    harness::{Outcome, Service, Tree, holdfast, wait_until, write},
    retaining,
};
use serde_json::Value;
use std::{path::Path, time::Duration};

const PATIENCE: Duration = Duration::from_secs(60);

fn restores(cluster: &Cluster, point: &str, tree: &Tree, source: &Path, name: &str) {
    let to = cluster.scratch.join(name);
    cluster.run(&["restore", point, "--to", to.to_str().unwrap()]).ok();
    let back = Tree::of(&to.join(source.strip_prefix("/").unwrap()));
    tree.assert_same(&back, name);
}

fn policy(cluster: &Cluster, source: &Path) -> Outcome {
    let file = cluster.scratch.join("policy.toml");
    let path = source.to_str().unwrap();
    let text = format!(
        "kind = \"policy\"\nname = \"nightly\"\n[spec]\nagent = \"host\"\nvault = \"main\"\n\
         source = {{ type = \"files\", paths = [\"{path}\"] }}\n"
    );
    write(&file, text);
    cluster.run(&["apply", "-f", file.to_str().unwrap()])
}

#[test]
fn with_the_kek_everything_that_was_promised_is_there_again() {
    let cluster = Cluster::start();
    let agent = cluster.agent("host");
    let stolen = cluster.agent("stolen");
    let source = source(&cluster.scratch, "a", 1);
    policy(&cluster, &source).ok();
    let mut points = Vec::new();
    for round in 0..3 {
        write(&source.join("round"), format!("{round}"));
        let made = cluster.run(&["backup", "nightly"]).ok().object();
        points.push((made["point"].as_str().unwrap().to_owned(), Tree::of(&source)));
    }
    cluster.run(&["agent", "revoke", "stolen", "--yes"]).ok();
    let audit = cluster.run(&["audit", "verify"]).ok().object();
    let id = cluster.run(&["status"]).object()["cluster"]["id"].clone();
    drop((agent, stolen));

    let lost = Lost::of(cluster);
    let told = lost.recover(&[]).ok().object();
    assert_eq!(told["cluster"], id, "{told}");
    assert_eq!((&told["missing"], &told["damaged"]), (&Value::Null, &serde_json::json!([])));
    assert_eq!(told["members_removed"], serde_json::json!(["one"]), "{told}");
    assert_eq!(told["points"], 3, "{told}");
    let rows = told["audit"]["rows"].as_u64().unwrap();
    assert!(rows >= audit["rows"].as_u64().unwrap(), "{told} after {audit}");
    assert!(told["base"].as_u64().unwrap() > told["index"].as_u64().unwrap() + (1 << 20));
    lost.recover(&[]).fails(8, "resource.change_refused");

    let cluster = lost.started();
    cluster.run(&["audit", "verify"]).ok();
    for (at, (point, tree)) in points.iter().enumerate() {
        restores(&cluster, point, tree, &source, &format!("back-{at}"));
    }
    assert_eq!(cluster.state_of("stolen"), "revoked");
    let config = cluster.scratch.join("stolen/agent.toml");
    repoint(&cluster, "stolen");
    holdfast(None, &["--output", "json", "agent", "--config", config.to_str().unwrap()])
        .fails(4, "agent.identity_revoked");
    // The agent goes on where it was: nothing is sent a second time.
    let agent = repointed(&cluster, "host");
    let seen = || (cluster.state_of("host") == "connected").then_some(());
    wait_until("the agent is back", PATIENCE, seen);
    let again = cluster.run(&["backup", "nightly"]).ok().object();
    assert_eq!(again["chunks_new"], 0, "{again}");
    let point = again["point"].as_str().unwrap().to_owned();
    restores(&cluster, &point, &points[2].1, &source, "after");
    drop(agent);

    // What was done since outlives the recovered coordinator as well.
    let lost = Lost::of(cluster);
    let told = lost.recover(&[]).ok().object();
    assert!(told["snapshot"].is_u64(), "it begins with what the first recovery shipped: {told}");
    assert_eq!(told["points"], 4, "{told}");
    let cluster = lost.started();
    cluster.run(&["audit", "verify"]).ok();
    restores(&cluster, &point, &points[2].1, &source, "after-both");
}

#[test]
fn what_was_forgotten_is_not_taken_in_by_a_recovery() {
    let cluster = Cluster::start();
    let agent = cluster.agent("host");
    let made = retaining::two_points(&cluster);
    let done = cluster.run(&["retain", "docs", "--yes"]).ok().object();
    assert_eq!(done["forgotten"], serde_json::json!([made[0]]));
    drop(agent);
    let lost = Lost::of(cluster);
    let lies_there = lost.location().join("points").join(&made[0]);
    assert!(lies_there.exists(), "its objects are there: {}", lies_there.display());
    let told = lost.recover(&[]).ok().object();
    assert_eq!((&told["points"], &told["imported"]), (&1.into(), &serde_json::json!([])));
    let cluster = lost.started();
    let points = cluster.run(&["points"]).ok().object();
    assert_eq!(points["points"].as_array().unwrap().len(), 1, "{points}");
    cluster.run(&["ls", &made[0]]).fails(3, "point.id_unknown");
}

#[test]
fn with_a_bundle_the_keys_are_wrapped_anew() {
    let cluster = Cluster::start();
    let agent = cluster.agent("host");
    let source = source(&cluster.scratch, "a", 2);
    let made = backup(&cluster, &source, "host");
    let (secret, bundle) = (cluster.scratch.join("secret"), cluster.scratch.join("b.hfbd"));
    write(&secret, "correct horse battery");
    let (secret, bundle) = (secret.to_str().unwrap(), bundle.to_str().unwrap());
    let export = ["keys", "export", "--to", bundle, "--passphrase-file", secret];
    cluster.run(&export).ok();
    // What came after the bundle comes back as well.
    let tree = Tree::of(&source);
    let later = backup(&cluster, &source, "host");
    drop(agent);

    let lost = Lost::of(cluster);
    std::fs::remove_file(lost.scratch.join("kek")).unwrap();
    lost.recover(&[]).fails(1, "kek.provider_unavailable");
    let wrong = lost.scratch.join("wrong");
    write(&wrong, "another passphrase");
    let by = |file: &str| lost.recover_with(&["--bundle", bundle, "--passphrase-file", file]);
    by(wrong.to_str().unwrap()).fails(4, "key.unwrap_refused");
    let told = by(secret).ok().object();
    assert_eq!(told["rewrapped"].as_array().unwrap().len(), 1, "{told}");
    assert_eq!(told["points"], 2, "{told}");
    let new_kek = std::fs::read(lost.scratch.join("c/kek")).unwrap();
    let cluster = lost.started();
    let agent = repointed(&cluster, "host");
    for (point, name) in [(&made["point"], "first"), (&later["point"], "later")] {
        restores(&cluster, point.as_str().unwrap(), &tree, &source, name);
    }
    backup(&cluster, &source, "host");
    drop(agent);
    // The new KEK opens the location from now on.
    let lost = Lost::of(cluster);
    write(&lost.scratch.join("kek"), new_kek);
    lost.recover(&[]).ok();
}

#[test]
fn a_location_that_is_found_elsewhere_is_used_there() {
    let cluster = Cluster::start();
    let agent = cluster.agent("host");
    let source = source(&cluster.scratch, "a", 3);
    let made = backup(&cluster, &source, "host");
    drop(agent);
    let lost = Lost::of(cluster);
    let elsewhere = lost.scratch.join("mnt");
    std::fs::rename(lost.location(), &elsewhere).unwrap();
    let url = format!("local:{}", elsewhere.display());
    let kek = format!("file:{}", lost.scratch.join("kek").display());
    let dir = lost.scratch.join("c");
    let arguments = [
        &["--output", "json", "cluster", "recover", "--from", &url, "--kek", &kek][..],
        &["--dir", dir.to_str().unwrap(), "--name", "again", "--region", "eu"],
        &["--listen", "127.0.0.1:0", "--location"][..],
    ];
    let location = format!("location={url}");
    holdfast(None, &[&arguments.concat()[..], &[&location]].concat()).ok();
    let cluster = lost.started();
    let point = made["point"].as_str().unwrap();
    restores(&cluster, point, &Tree::of(&source), &source, "back");
    cluster.run(&["verify", "--all", "--level", "storage"]).ok();
}

#[test]
fn an_old_coordinator_that_still_runs_is_over() {
    let cluster = Cluster::start();
    cluster.run(&["agent", "token"]).ok();
    let is_there = |prefix| !Lost::objects_of(&cluster).below(prefix).is_empty();
    let shipped = || (is_there("cluster/key") && is_there("cluster/log")).then_some(());
    wait_until("the log and its key are shipped", PATIENCE, shipped);
    let Cluster { scratch, coordinator } = cluster;
    coordinator.kill();
    let (new, old) = (scratch.join("c"), scratch.join("old"));
    std::fs::rename(&new, &old).unwrap();
    let lost = Lost { scratch };
    lost.recover(&[]).ok();
    let cluster = lost.started();
    assert_eq!(cluster.run(&["region", "status"]).ok().object()["epoch"], 2);
    let config = old.join("coordinator.toml");
    let back = Service::start(
        &["coordinator", "--config", config.to_str().unwrap()],
        &cluster.scratch.join("old.log"),
    );
    let aside = || old.join("data/ledger.before-epoch-2").exists().then_some(());
    wait_until("the old one puts its ledger aside", PATIENCE, aside);
    let code = holdfast(Some(&old.join("operator.toml")), &["agent", "token"]).code;
    assert_ne!(code, 0, "nothing is given out by what was superseded");
    cluster.run(&["agent", "token"]).ok();
    drop(back);
}

#[test]
fn a_clock_that_the_ledger_contradicts_is_not_taken_over_unasked() {
    let cluster = Cluster::start();
    cluster.run(&["agent", "token"]).ok();
    let lost = Lost::of(cluster);
    let kek = format!("file:{}", lost.scratch.join("kek").display());
    let file = lost.scratch.join("clock");
    let recover = |offset: &str, more: &[&str]| {
        set_offset(&file, offset);
        let mut command = lost.command(&[&["--kek", &kek], more].concat());
        Outcome::of(None, command.envs(by_file(&file)))
    };
    for offset in ["-1h", "+3d"] {
        let refused = recover(offset, &[]).ends(4).error();
        assert_eq!(refused["code"], "clock.time_doubtful", "{offset}: {refused}");
        assert!(!lost.scratch.join("c/coordinator.toml").exists(), "{offset}");
    }
    recover("+3d", &["--confirm-clock"]).ok();
}
