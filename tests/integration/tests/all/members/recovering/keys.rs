//! Whose key brings a lost cluster back: coordinators that may not open data are recovered all the
//! same, and a passphrase is a KEK like any other.

use super::scene::{Lost, backup, repointed, source};
use crate::{
    cluster::Cluster,
    harness::{Scratch, Tree, holdfast, wait_until, write},
};
use std::{path::Path, time::Duration};

const PATIENCE: Duration = Duration::from_secs(60);

/// By hand and without a coordinator, with these options naming the keys.
fn offline(scratch: &Scratch, (point, to): (&str, &str), keys: &[&str], source: &Path) {
    let (url, to) = (format!("local:{}", scratch.join("location").display()), scratch.join(to));
    let restore = ["restore", point, "--to", to.to_str().unwrap(), "--from-location", &url];
    holdfast(None, &[&restore[..], keys].concat()).ok();
    let back = Tree::of(&to.join(source.strip_prefix("/").unwrap()));
    Tree::of(source).assert_same(&back, "offline");
}

fn backup_when_attached(cluster: &Cluster, source: &Path) -> String {
    let seen = || (cluster.state_of("host") == "connected").then_some(());
    wait_until("the agent is back", PATIENCE, seen);
    backup(cluster, source, "host")["point"].as_str().unwrap().to_owned()
}

#[test]
fn in_operator_custody_a_recovery_opens_no_data_and_loses_none() {
    let cluster = Cluster::start_at("127.0.0.1:0", "operator", &["location"]);
    let agent = cluster.agent("host");
    let source = source(&cluster.scratch, "a", 7);
    let before = backup(&cluster, &source, "host")["point"].as_str().unwrap().to_owned();
    let operator = cluster.scratch.join("operator.kek");
    std::fs::rename(cluster.scratch.join("c/operator.kek"), &operator).unwrap();
    let operator = format!("file:{}", operator.display());
    let (secret, bundle) = (cluster.scratch.join("secret"), cluster.scratch.join("b.hfbd"));
    write(&secret, "correct horse battery");
    let (secret, bundle) = (secret.to_str().unwrap(), bundle.to_str().unwrap());
    let export = ["keys", "export", "--to", bundle, "--passphrase-file", secret];
    cluster.run(&[&export[..], &["--kek", &operator]].concat()).ok();
    drop(agent);

    // The coordinators' own key is enough for a ledger, and for nothing else.
    let lost = Lost::of(cluster);
    let told = lost.recover(&[]).ok().object();
    assert_eq!((&told["points"], &told["missing"]), (&1.into(), &serde_json::Value::Null));
    let cluster = lost.started();
    let agent = repointed(&cluster, "host");
    let after = backup_when_attached(&cluster, &source);
    let to = cluster.scratch.join("refused");
    let online = ["restore", &after, "--to", to.to_str().unwrap()];
    cluster.run(&online).fails(4, "key.custody_refused");
    drop(agent);
    let kek = format!("file:{}", cluster.scratch.join("kek").display());
    let both = ["--kek", &kek, "--kek", &operator];
    offline(&cluster.scratch, (&before, "before"), &both, &source);
    offline(&cluster.scratch, (&after, "after"), &both, &source);

    // And with that one lost too, a bundle.
    let lost = Lost::of(cluster);
    std::fs::remove_file(lost.scratch.join("kek")).unwrap();
    let by = ["--bundle", bundle, "--passphrase-file", secret, "--operator-kek", &operator];
    let told = lost.recover_with(&by).ok().object();
    assert_eq!(told["points"], 2, "{told}");
    let kek = format!("file:{}", lost.scratch.join("c/kek").display());
    let cluster = lost.started();
    let agent = repointed(&cluster, "host");
    let last = backup_when_attached(&cluster, &source);
    cluster.run(&["restore", &last, "--to", "/nowhere"]).fails(4, "key.custody_refused");
    drop(agent);
    let both = ["--kek", &kek, "--kek", &operator];
    offline(&cluster.scratch, (&last, "last"), &both, &source);
}

#[test]
fn a_passphrase_brings_the_cluster_back_and_a_wrong_one_does_not() {
    let scratch = Scratch::new();
    let (right, wrong) = (scratch.join("phrase"), scratch.join("wrong"));
    write(&right, "a long sentence that nobody guesses\n");
    write(&wrong, "another long sentence\n");
    let source_of = |file: &Path| format!("passphrase-file:{}", file.display());
    let (right, wrong) = (source_of(&right), source_of(&wrong));
    let (dir, location) = (scratch.join("c"), scratch.join("location"));
    let location = format!("location=local:{}", location.display());
    let named = ["cluster", "init", "--name", "one", "--region", "eu", "--listen", "127.0.0.1:0"];
    let rest = ["--dir", dir.to_str().unwrap(), "--kek", &right, "--location", &location];
    holdfast(None, &[&named[..], &rest, &["--custody", "coordinator"]].concat()).ok();
    let coordinator = Cluster::coordinator(&scratch);
    let cluster = Cluster { scratch, coordinator };
    let agent = cluster.agent("host");
    let source = source(&cluster.scratch, "a", 8);
    let before = backup(&cluster, &source, "host")["point"].as_str().unwrap().to_owned();
    drop(agent);

    let lost = Lost::of(cluster);
    lost.recover_with(&["--kek", &wrong]).fails(4, "key.unwrap_refused");
    let told = lost.recover_with(&["--kek", &right]).ok().object();
    assert_eq!(told["points"], 1, "{told}");
    let cluster = lost.started();
    let agent = repointed(&cluster, "host");
    let after = backup_when_attached(&cluster, &source);
    for (point, name) in [(&before, "before"), (&after, "after")] {
        let to = cluster.scratch.join(name);
        cluster.run(&["restore", point, "--to", to.to_str().unwrap()]).ok();
        let back = Tree::of(&to.join(source.strip_prefix("/").unwrap()));
        Tree::of(&source).assert_same(&back, name);
    }
    drop(agent);
}
