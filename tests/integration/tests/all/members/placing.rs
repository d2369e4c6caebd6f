//! Promoted, demoted, removed, replaced; and who leads.

use super::scene::{Members, PATIENCE};
use crate::harness::wait_until;
use rustix::process::Signal;

#[test]
fn a_vote_is_given_and_taken_and_the_last_one_stays() {
    let mut members = Members::three();
    members.run(&["cluster", "demote", "three"]).ok();
    assert_eq!(members.row("three").unwrap()["role"], "learner");
    members.run(&["cluster", "demote", "three"]).ok();
    members.run(&["cluster", "promote", "three"]).ok();
    members.wait_for_voters(3);
    members.run(&["cluster", "promote", "four"]).fails(3, "member.name_unknown");
    for name in ["two", "three"] {
        members.run(&["cluster", "remove", name]).ends(4);
        members.run(&["cluster", "remove", name, "--yes"]).ok();
    }
    let alone = || (members.rows().len() == 1).then_some(());
    wait_until("one is left", PATIENCE, alone);
    members.run(&["cluster", "remove", "one", "--yes"]).fails(4, "cluster.last_voter");
    members.run(&["cluster", "demote", "one"]).fails(4, "cluster.last_voter");
    members.kill("two");
    members.kill("three");
    members.run(&["agent", "token"]).ok();
}

#[test]
fn a_member_that_lacks_the_log_is_not_promoted() {
    let mut members = Members::founded();
    members.add("two", &["--learner"]);
    let follows = || (members.row("two")?["lag"] == 0).then_some(());
    wait_until("it follows", PATIENCE, follows);
    members.running["two"].signal(Signal::STOP);
    let silent = || {
        let row = members.row("two")?;
        (row["last_contact_ms"].as_u64()? > 3_000).then_some(())
    };
    wait_until("it is silent", PATIENCE, silent);
    let refused = members.run(&["cluster", "promote", "two"]).ends(8).error();
    assert_eq!(refused["code"], "member.log_behind", "{refused}");
    assert!(refused["next"].as_str().unwrap().contains("cluster status"), "{refused}");
    members.running["two"].signal(Signal::CONT);
    let again = || (members.row("two")?["state"] == "follower").then_some(());
    wait_until("it answers", PATIENCE, again);
    members.run(&["cluster", "promote", "two"]).ok();
    members.wait_for_voters(2);
}

#[test]
fn a_lost_member_is_replaced_by_another_of_its_name() {
    let mut members = Members::three();
    members.kill("three");
    let lost = members.row("three").unwrap()["id"].clone();
    members.run(&["cluster", "remove", "three", "--yes"]).ok();
    std::fs::rename(members.dir("three"), members.scratch.join("lost")).unwrap();
    members.add("three", &[]);
    members.wait_for_voters(3);
    assert_ne!(members.row("three").unwrap()["id"], lost, "a number is given once");
}

#[test]
fn the_lead_is_handed_over_when_asked_and_at_a_stop() {
    let mut members = Members::three();
    let first = members.leader();
    let told = members.run(&["cluster", "transfer"]).ok().object();
    assert_ne!(told["leader"], *first);
    members.run(&["cluster", "transfer", &first]).ok();
    assert_eq!(members.leader(), first);
    members.run(&["cluster", "transfer", "nobody"]).fails(3, "member.name_unknown");
    let term = members.status()["term"].as_u64().unwrap();
    assert_eq!(members.stop(&first), Some(0));
    assert_ne!(members.leader(), first);
    assert_eq!(members.status()["term"].as_u64().unwrap(), term + 1, "one election, no waiting");
    members.start(&first);
    members.wait_for_voters(3);
}
