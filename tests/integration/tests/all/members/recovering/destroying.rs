//! A version of the keys that was destroyed stays so when all coordinators are lost, whatever
//! brings the cluster back.

use super::scene::{Lost, backup, source};
use crate::{
    cluster::Cluster,
    harness::{noise, wait_until, write},
    operators::{admin, as_whom, issued},
};
use serde_json::json;
use std::{fs, time::Duration};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_recovery_from_a_log_that_has_the_entry_brings_no_destroyed_version_back() {
    let cluster = Cluster::start();
    let agent = cluster.agent("host");
    let source = source(&cluster.scratch, "a", 1);
    let point = || backup(&cluster, &source, "host")["point"].as_str().unwrap().to_owned();
    let first = point();
    cluster.run(&["keys", "rotate", "main"]).ok();
    let (secret, bundle) = (cluster.scratch.join("secret"), cluster.scratch.join("b.hfbd"));
    write(&secret, "correct horse battery");
    let (secret, bundle) = (secret.to_str().unwrap(), bundle.to_str().unwrap());
    cluster.run(&["keys", "export", "--to", bundle, "--passphrase-file", secret]).ok();
    cluster.run(&["keys", "close", "--vault", "main", "1", "--yes"]).ok();
    write(&source.join("new"), noise(9, 300_000));
    let second = point();
    let people = ["alice", "bob"].map(|name| issued(&admin(&cluster), &cluster.scratch, name, &[]));
    let destroy = ["keys", "destroy", "1", "--vault", "main", "--yes"];
    let ask = [&destroy[..], &["--lose-points", "1"]].concat();
    let asked = as_whom(&people[0], &ask).ok().object();
    let agree = [&destroy[..], &["--approve", asked["id"].as_str().unwrap()]].concat();
    as_whom(&people[1], &agree).ok();
    let keys = |cluster: &Cluster| cluster.run(&["keys", "list"]).ok().object()["keys"][0].clone();
    wait_until("the location is clear", PATIENCE, || {
        let gone = keys(&cluster)["destroyed"][0]["locations"][0]["gone"].clone();
        (!gone.is_null()).then_some(())
    });
    drop(agent);

    // With the KEK; then with a bundle that has the version still.
    let mut lost = Lost::of(cluster);
    let by_bundle = ["--bundle", bundle, "--passphrase-file", secret];
    let ways: [&[&str]; 2] = [&[], &by_bundle];
    for more in ways {
        match more.is_empty() {
            true => lost.recover(&[]).ok(),
            false => {
                fs::remove_file(lost.scratch.join("kek")).unwrap();
                lost.recover_with(more).ok()
            }
        };
        let cluster = lost.started();
        let told = keys(&cluster);
        assert_eq!(told["destroyed"][0]["agreed_by"], "bob", "{told}");
        let versions: Vec<_> = told["versions"].as_array().unwrap().clone();
        assert_eq!(versions.len(), 1, "{told}");
        assert_eq!(versions[0]["version"], json!(2), "{told}");
        let of_first = cluster.scratch.join("location/keys/00000001");
        assert_eq!(fs::read_dir(of_first).map_or(0, Iterator::count), 0);
        let to = cluster.scratch.join("back");
        let to = to.to_str().unwrap();
        cluster.run(&["restore", &first, "--to", to]).fails(4, "point.key_destroyed");
        cluster.run(&["restore", &second, "--to", to]).ok();
        fs::remove_dir_all(to).unwrap();
        lost = Lost::of(cluster);
    }
}
