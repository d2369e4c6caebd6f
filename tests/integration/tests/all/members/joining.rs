//! Who may become a member, and who may not.

use super::scene::{Members, PATIENCE};
use crate::{
    cluster::Cluster,
    harness::{holdfast, wait_until},
};
use std::{fs, path::Path};

#[test]
fn three_members_are_one_cluster_and_the_operator_finds_all_of_them() {
    let members = Members::three();
    let status = members.status();
    assert_eq!(status["epoch"], 1);
    assert!(status["term"].as_u64().unwrap() >= 1);
    assert!(status["leader_since"].is_string(), "{status}");
    let rows = members.rows();
    assert_eq!(rows.len(), 3);
    for row in &rows {
        assert_eq!((&row["role"], &row["region"]), (&"voter".into(), &"eu".into()), "{row}");
        assert!(row["applied"].as_u64().unwrap() > 0 && row["lag"].is_u64(), "{row}");
        assert!(row["replicated"].as_u64() > Some(0), "{row}");
        assert!(["leader", "follower"].contains(&row["state"].as_str().unwrap()), "{row}");
    }
    let context = members.scratch.join("c/operator.toml");
    let table = holdfast(Some(&context), &["cluster", "status"]).ok().text().to_owned();
    let first = table.lines().next().unwrap();
    let says = |part: &str| assert!(first.contains(part), "{part}: {table}");
    says(&format!("`{}` leads since 20", members.leader()));
    says(&format!("(term {}, epoch 1, level {})", status["term"], status["level"]));
    assert!(table.contains("REPLICATED") && table.contains("CONTACT"), "{table}");
    let context = fs::read_to_string(context).unwrap();
    for service in members.running.values() {
        assert!(context.contains(&service.address), "{context}");
    }
    // What a new member must not give away.
    let mode = |path: &str| {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(members.dir("two").join(path)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode("kek"), mode("data/cluster")), (0o600, 0o600));
}

#[test]
fn a_learner_follows_and_does_not_vote() {
    let mut members = Members::founded();
    members.add("two", &["--learner"]);
    let follows = || {
        let row = members.row("two")?;
        (row["state"] == "follower" && row["lag"] == 0).then_some(row)
    };
    let row = wait_until("it follows", PATIENCE, follows);
    assert_eq!((&row["role"], &row["wanted"]), (&"learner".into(), &"learner".into()));
}

#[test]
fn two_members_do_not_vote_against_each_other_before_a_third_is_there() {
    let mut members = Members::founded();
    members.add("two", &[]);
    let follows = || (members.row("two")?["lag"] == 0).then_some(());
    wait_until("it follows", PATIENCE, follows);
    assert_eq!(members.row("two").unwrap()["role"], "learner");
    members.add("three", &[]);
    members.wait_for_voters(3);
}

#[test]
fn a_token_makes_one_member_and_only_of_its_kind() {
    let members = Members::founded();
    let token = members.token();
    members.join("two", &token, &[]).ok();
    members.join("three", &token, &[]).fails(4, "token.used");
    let (secret, pin) = token.strip_prefix("hf1-").unwrap().split_once('-').unwrap();
    let wrong = format!("hf1-{}-{pin}", "a".repeat(secret.len()));
    members.join("three", &wrong, &[]).ends(4);
    members.join("three", "no token", &[]).fails(2, "usage.argument_malformed");
    let told = members.run(&["agent", "token"]).ok().object();
    let refused = members.join("three", told["token"].as_str().unwrap(), &[]);
    let error = refused.ends(4).error();
    assert!(error["next"].as_str().unwrap().contains("cluster token"), "{error}");
    let told = members.run(&["cluster", "token", "--ttl", "1ms"]).ok().object();
    let expired = members.join("three", told["token"].as_str().unwrap(), &[]).ends(4).error();
    assert_eq!(expired["code"], "token.expired", "{expired}");
    let used = members.join("three", &token, &["--witness"]).ends(4).error();
    for (error, wanted) in [(expired, "cluster token`"), (used, "cluster token --witness`")] {
        assert!(error["next"].as_str().unwrap().ends_with(wanted), "{error}");
    }
    let agent = members.scratch.join("agent");
    let coordinator = &members.running["one"].address;
    let (dir, for_member) = (agent.to_str().unwrap(), members.token());
    let join = ["agent", "join", "--coordinator", coordinator, "--dir", dir, "--token"];
    let refused = holdfast(None, &[&["--output", "json"], &join[..], &[&for_member]].concat());
    let error = refused.ends(4).error();
    assert!(error["next"].as_str().unwrap().contains("agent token"), "{error}");
    assert!(!members.dir("three").join("coordinator.toml").exists(), "nothing was left behind");
    members.join("two", &members.token(), &[]).fails(8, "resource.change_refused");
}

/// What is left where the answer never came: the key.
fn forget_the_answer(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        match path.is_dir() {
            _ if entry.file_name() == "member.key" => {}
            true => fs::remove_dir_all(path).unwrap(),
            false => fs::remove_file(path).unwrap(),
        }
    }
}

#[test]
fn whoever_did_not_hear_the_answer_joins_again_and_is_the_same_member() {
    let mut members = Members::founded();
    let witness = members.run(&["cluster", "token", "--witness"]).ok().object();
    let tokens = [members.token(), witness["token"].as_str().unwrap().to_owned()];
    for (name, token, more) in [("two", &tokens[0], &[][..]), ("three", &tokens[1], &["--witness"])]
    {
        members.join(name, token, more).ok();
        let first = members.row(name).unwrap();
        forget_the_answer(&members.dir(name));
        // As somebody else it is not the same question.
        members.join_in("us", name, token, more).fails(4, "token.used");
        members.join(name, token, more).ok();
        assert_eq!(members.row(name).unwrap()["id"], first["id"]);
        assert_eq!(members.rows().iter().filter(|row| row["name"] == name).count(), 1);
        members.join(name, token, more).fails(8, "resource.change_refused");
    }
    members.start("two");
    members.start("three");
    members.wait_for_voters(3);
}

#[test]
fn a_member_that_has_no_ledger_yet_says_so_and_not_that_it_knows_nobody() {
    let mut members = Members::founded();
    members.join("two", &members.token(), &[]).ok();
    members.kill("one");
    members.start("two");
    members.run_at("two", &["status"]).fails(5, "cluster.leader_unknown");
}

#[test]
fn another_clusters_token_and_data_are_refused() {
    let (members, other) = (Members::founded(), Cluster::start());
    let told = other.run(&["cluster", "token"]).ok().object();
    let token = told["token"].as_str().unwrap();
    members.join("two", token, &[]).fails(4, "certificate.pin_wrong");
    // The directory of another cluster under this one's configuration.
    members.join("two", &members.token(), &[]).ok();
    let seed = other.scratch.join("c/data/cluster");
    fs::copy(seed, members.dir("two").join("data/cluster")).unwrap();
    let config = members.dir("two").join("coordinator.toml");
    let arguments = ["--output", "json", "coordinator", "--config", config.to_str().unwrap()];
    holdfast(None, &arguments).fails(2, "config.file_malformed");
}

#[test]
fn whoever_joins_late_gets_a_snapshot_and_is_none_the_worse_for_it() {
    let mut members = Members::founded();
    assert_eq!(members.stop("one"), Some(0));
    let config = members.dir("one").join("coordinator.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("snapshot_every = 30\n{text}")).unwrap();
    members.start("one");
    let snapshots = |name: &str| {
        let listed = fs::read_dir(members.dir(name).join("data/ledger/snapshots")).unwrap();
        let names = listed.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("snapshot-0")).collect::<Vec<_>>()
    };
    // One at a time: each is an entry.
    for _ in 0..80 {
        members.token();
    }
    wait_until("a snapshot", PATIENCE, || (!snapshots("one").is_empty()).then_some(()));
    let taken = snapshots("one").len();
    assert!(taken > 0);
    for name in ["two", "three"] {
        members.add(name, &[]);
    }
    members.wait_for_voters(3);
    let two = fs::read_dir(members.dir("two").join("data/ledger/snapshots")).unwrap();
    assert!(two.count() > 0, "it came by a snapshot");
    let heads = ["one", "two", "three"].map(|name| {
        members.run_at(name, &["audit", "verify"]).ok().object()["rows"].as_u64().unwrap()
    });
    assert!(heads[0] > 80, "{heads:?}");
    members.kill("one");
    members.leader();
    members.run(&["audit", "verify"]).ok();
    members.run(&["agent", "token"]).ok();
}
