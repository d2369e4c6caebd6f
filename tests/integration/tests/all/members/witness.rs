//! A voter that holds no data and no key: what it lets the others survive, and what it cannot do.

use super::scene::{Members, PATIENCE};
use crate::{
    clock::Clocked,
    harness::{Outcome, Tree, holdfast, noise, wait_until, write},
};
use holdfast_keyring::bundle;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const WITNESS: &str = "w";

pub(super) fn witness_token(members: &Members) -> String {
    let told = members.run(&["cluster", "token", "--witness"]).ok().object();
    told["token"].as_str().unwrap().to_owned()
}

/// `one` and `two` with data, and a witness.
fn two_and_a_witness() -> Members {
    let mut members = Members::founded();
    members.add("two", &[]);
    members.join(WITNESS, &witness_token(&members), &["--witness"]).ok();
    members.start(WITNESS);
    members.wait_for_voters(3);
    members
}

/// Everybody has applied what everybody has.
fn wait_for_no_lag(members: &Members) {
    let rows = || members.rows().iter().all(|row| row["lag"] == 0).then_some(());
    wait_until("nobody is behind", PATIENCE, rows);
}

#[test]
fn with_a_witness_either_member_with_data_may_be_lost() {
    let mut members = two_and_a_witness();
    let duties: Vec<_> = members.rows().iter().map(|row| row["duty"].clone()).collect();
    assert_eq!(duties, ["data", "data", "witness"]);
    let agent = members.agent("host");
    let source = members.scratch.join("source");
    let witness = members.running[WITNESS].address.clone();
    for name in ["one", "two"] {
        members.kill(name);
        // The witness may have to lead for a moment; it hands over.
        let leads = || (![name, WITNESS].contains(&&*members.leader())).then_some(());
        wait_until("the other one with data leads", PATIENCE, leads);
        write(&source.join(name), noise(name.len() as u64 + u64::from(name == "two"), 900_000));
        let saved = || {
            let made = members.run(&["backup", "--path", source.to_str().unwrap()]);
            (made.code == 0).then(|| made.object())
        };
        let made = wait_until("the agent has found the other one", PATIENCE, saved);
        let (point, to) =
            (made["point"].as_str().unwrap(), members.scratch.join(&format!("b-{name}")));
        members.run(&["restore", point, "--to", to.to_str().unwrap()]).ok();
        let back = to.join(source.strip_prefix("/").unwrap());
        Tree::of(&source).assert_same(&Tree::of(&back), name);
        members.start(name);
        members.wait_for_voters(3);
        wait_for_no_lag(&members);
    }
    // Nobody is sent to it.
    let told = |path: &str| fs::read_to_string(members.scratch.join(path)).unwrap();
    for path in ["c/operator.toml", "host/agent.toml"] {
        assert!(!told(path).contains(&witness), "{path}");
    }
    drop(agent);
}

#[test]
fn a_witness_leads_only_to_bring_the_others_what_it_alone_has() {
    let mut members = two_and_a_witness();
    members.run(&["cluster", "transfer", "one"]);
    members.run(&["cluster", "transfer", WITNESS]).fails(8, "resource.change_refused");
    assert_eq!(members.leader(), "one");
    wait_for_no_lag(&members);
    members.kill("two");
    // Agreed by `one` and the witness; then only the witness is left that has it.
    for _ in 0..5 {
        members.run_at("one", &["agent", "token"]).ok();
    }
    let rows = members.run_at("one", &["audit", "verify"]).ok().object()["rows"].clone();
    members.kill("one");
    members.start("two");
    let leads = || {
        let status = members.run_at("two", &["cluster", "status"]);
        let status = (status.code == 0).then(|| status.object())?;
        let own = status["members"].as_array()?.iter().find(|row| row["name"] == "two")?;
        (status["leader"] == own["id"]).then_some(())
    };
    wait_until("`two` leads", PATIENCE, leads);
    let log = members.running[WITNESS].log();
    assert!(log.contains("a witness hands over"), "{log}");
    let now = members.run_at("two", &["audit", "verify"]).ok().object()["rows"].clone();
    assert!(now.as_u64() >= rows.as_u64(), "{now} of {rows}");
    members.run_at("two", &["agent", "token"]).ok();
}

/// The files below a directory that hold these bytes.
fn holding(dir: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, bytes));
        } else if fs::read(&path).unwrap().windows(bytes.len()).any(|window| window == bytes) {
            found.push(path);
        }
    }
    found
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

/// What the cluster's secrets are, each by a name.
fn secrets(members: &Members) -> Vec<(&'static str, Vec<u8>)> {
    let (file, passphrase) = (members.scratch.join("bundle"), "correct horse battery");
    let mut export = Command::new(crate::harness::binary());
    export
        .args(["--output", "json", "keys", "export", "--to", file.to_str().unwrap()])
        .env("HOLDFAST_PASSPHRASE", passphrase);
    Outcome::of(Some(&members.scratch.join("c/operator.toml")), &mut export).ok();
    let contents = bundle::open(&fs::read(&file).unwrap(), passphrase.as_bytes()).unwrap();
    fs::remove_file(&file).unwrap();
    let kek = fs::read_to_string(members.scratch.join("kek")).unwrap();
    vec![
        ("the KEK", unhex(kek.trim_end())),
        ("the KEK as its file has it", kek.trim_end().as_bytes().to_vec()),
        ("the authority's key", contents.ca_key[contents.ca_key.len() - 32..].to_vec()),
        ("the recovery key", contents.recovery.secret().expose().to_vec()),
    ]
}

#[test]
fn a_witness_has_nothing_that_opens_anything_and_needs_no_key_to_run() {
    let mut members = two_and_a_witness();
    let secrets = secrets(&members);
    let dir = members.dir(WITNESS);
    assert!(!dir.join("kek").exists());
    let config = fs::read_to_string(dir.join("coordinator.toml")).unwrap();
    assert!(config.contains("duty = \"witness\"") && !config.contains("kek"), "{config}");
    // No process can open what is not there.
    assert_eq!(members.stop(WITNESS), Some(0));
    for kek in [members.scratch.join("kek"), members.dir("two").join("kek")] {
        fs::rename(&kek, kek.with_extension("away")).unwrap();
    }
    members.start(WITNESS);
    members.wait_for_voters(3);
    wait_for_no_lag(&members);
    assert_eq!(members.stop(WITNESS), Some(0));
    for (what, secret) in &secrets {
        assert_eq!(holding(&dir, secret), Vec::<PathBuf>::new(), "{what}");
    }
    // The search finds what is there.
    assert_eq!(holding(&members.dir("two"), &secrets[1].1).len(), 1);
    assert!(!holding(&dir, b"witness").is_empty());
}

#[test]
fn a_witness_says_who_can_help_and_shows_the_cluster() {
    let members = two_and_a_witness();
    for call in [&["points"][..], &["agent", "token"], &["cluster", "token"]] {
        let refused = members.run_at(WITNESS, call).ends(5).error();
        assert_eq!(refused["code"], "member.duty_witness", "{refused}");
        let next = refused["next"].as_str().unwrap();
        for name in ["one", "two"] {
            assert!(next.contains(&members.running[name].address), "{next}");
        }
    }
    let status = members.run_at(WITNESS, &["cluster", "status"]).ok().object();
    assert_eq!(status["members"].as_array().unwrap().len(), 3);
}

#[test]
fn a_witness_comes_by_its_own_token_and_goes_as_others_do_and_never_votes_alone() {
    let mut members = two_and_a_witness();
    members.join("three", &witness_token(&members), &[]).fails(4, "token.unknown");
    let refused = members.join("three", &members.token(), &["--witness"]).ends(4).error();
    assert!(refused["next"].as_str().unwrap().contains("--witness"), "{refused}");
    let dir = members.dir("three");
    assert!(!dir.join("coordinator.toml").exists() && !dir.join("member.pem").exists());
    members.run(&["cluster", "remove", "two", "--yes"]).ok();
    members.kill("two");
    members.run(&["cluster", "demote", "one"]).fails(4, "cluster.last_voter");
    members.run(&["cluster", "remove", "one", "--yes"]).fails(4, "cluster.last_voter");
    members.run(&["cluster", "demote", WITNESS]).ok();
    assert_eq!(members.row(WITNESS).unwrap()["role"], "learner");
    members.run(&["cluster", "remove", WITNESS, "--yes"]).ok();
    let alone = || (members.rows().len() == 1).then_some(());
    wait_until("one is left", PATIENCE, alone);
}

#[test]
fn the_certificate_of_a_witness_is_renewed_by_others_also_when_it_has_expired() {
    let mut members = two_and_a_witness();
    let clocked = Clocked::new(members.scratch.join("clock"));
    clocked.set("+0");
    // Each stays where it is, so that all of them are found again.
    let at: Vec<(String, String)> =
        members.running.iter().map(|(name, now)| (name.clone(), now.address.clone())).collect();
    let pem = members.dir(WITNESS).join("member.pem");
    let mut shown = vec![fs::read(&pem).unwrap()];
    // Past two thirds of its life, and past its end.
    for offset in ["+5d", "+20d"] {
        for (name, _) in &at {
            assert_eq!(members.stop(name), Some(0));
        }
        clocked.set(offset);
        for (name, address) in &at {
            let config = members.dir(name).join("coordinator.toml");
            let config = config.to_str().unwrap();
            let arguments = ["coordinator", "--config", config, "--listen", address];
            members.start_command(name, &mut clocked.command(&arguments));
        }
        let old = shown.last().unwrap().clone();
        let renewed = || (fs::read(&pem).unwrap() != old).then_some(());
        wait_until("it has a new certificate", PATIENCE, renewed);
        shown.push(fs::read(&pem).unwrap());
        // And is heard again: without it two of three are a majority no more.
        wait_until_heard(&clocked, &members);
    }
    let audit = clocked.run(&members.scratch.join("c/operator.toml"), &["audit", "list"]).ok();
    let told = audit.object()["entries"].to_string();
    assert_eq!(told.matches("member.certify").count(), 2, "{told}");
}

fn wait_until_heard(clocked: &Clocked, members: &Members) {
    let context = members.scratch.join("c/operator.toml");
    let follows = || {
        let status = clocked.run(&context, &["cluster", "status"]);
        let status = (status.code == 0).then(|| status.object())?;
        let rows = status["members"].as_array()?.clone();
        let row = rows.into_iter().find(|row| row["name"] == WITNESS)?;
        (row["lag"] == 0 && row["state"] == "follower").then_some(())
    };
    wait_until("the witness follows", PATIENCE, follows);
}

#[test]
fn what_is_no_witness_cannot_be_made_one_by_its_file() {
    let mut members = Members::founded();
    members.add("two", &["--learner"]);
    // It has applied that it was admitted, and as what.
    let follows = || {
        let (one, two) = (members.row("one")?, members.row("two")?);
        (two["lag"] == 0 && two["applied"] == one["applied"]).then_some(())
    };
    wait_until("it follows", PATIENCE, follows);
    members.kill("two");
    let file = members.dir("two").join("coordinator.toml");
    let text = fs::read_to_string(&file).unwrap();
    let start = || {
        let config = file.to_str().unwrap();
        holdfast(None, &["--output", "json", "coordinator", "--config", config])
    };
    fs::write(&file, format!("duty = \"witness\"\n{text}")).unwrap();
    start().fails(2, "config.file_malformed");
    let without: Vec<&str> = text.lines().filter(|line| !line.starts_with("kek")).collect();
    fs::write(&file, without.join("\n")).unwrap();
    start().fails(2, "config.file_malformed");
    fs::write(&file, format!("duty = \"witness\"\n{}", without.join("\n"))).unwrap();
    let refused = start().ends(2).error();
    assert!(refused["message"].as_str().unwrap().contains("admitted"), "{refused}");
}
