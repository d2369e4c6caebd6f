//! Members that live and cannot hear each other: whatever is cut, nothing is acknowledged without a
//! majority, and a majority that hears each other goes on.

use super::{
    losing::fill,
    scene::{Members, OPERATOR, PATIENCE, number, others},
};
use crate::harness::{Flow, Lines, Tree, binary, kills, noise, wait_until, write};
use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// A member finds out that a line is dead, and the others agree without it.
const GOES_ON: Duration = Duration::from_secs(12);
/// A leader that a busy machine makes late is replaced, whoever is away meanwhile: that nobody is
/// elected is seen in one of so many.
const TRIES: usize = 4;

fn agree_at(members: &Members, name: &str) -> Option<()> {
    (members.run_at(name, &["agent", "token"]).code == 0).then_some(())
}

/// All three follow one leader, and have the same audit chain.
fn are_whole(members: &Members) {
    members.wait_for_voters(3);
    members.run(&["agent", "token"]).ok();
    let level = || members.rows().iter().all(|row| row["lag"] == 0).then_some(());
    wait_until("all have everything", PATIENCE, level);
    members.wait_for_one_chain();
}

#[test]
fn a_leader_alone_acknowledges_nothing_while_the_others_go_on() {
    let members = Members::three_on_lines(1);
    for flow in [Flow::Still, Flow::Torn] {
        let alone = members.leader();
        let before = members.run(&["audit", "verify"]).ok().object()["rows"].as_u64().unwrap();
        members.lines().part(number(&alone), flow);
        std::thread::scope(|scope| {
            for question in [&["agent", "token"][..], &["points"], &["audit", "verify"]] {
                let (members, alone) = (&members, &alone);
                scope.spawn(move || {
                    members.run_at(alone, question).fails(5, "cluster.leader_unknown");
                });
            }
            let [other, _] = others(&alone);
            wait_until("the others go on", GOES_ON, || agree_at(&members, other));
            let silent = || {
                let told = members.run_at(other, &["cluster", "status"]).ok().object();
                let rows = told["members"].as_array().unwrap().clone();
                let row = rows.iter().find(|row| row["name"] == *alone).unwrap().clone();
                (row["state"] == "silent").then_some(())
            };
            wait_until("it is told as silent", PATIENCE, silent);
        });
        members.lines().clear();
        are_whole(&members);
        let after = members.run(&["audit", "verify"]).ok().object()["rows"].as_u64().unwrap();
        assert!(after > before, "{before} {after}");
    }
}

#[test]
fn a_follower_alone_disturbs_nobody_and_comes_back_as_one() {
    let members = Members::three_on_lines(2);
    let is_unnoticed = || {
        let (leader, term) = (members.leader(), members.status()["term"].clone());
        let [alone, other] = others(&leader);
        members.lines().part(number(alone), Flow::Still);
        std::thread::scope(|scope| {
            for question in [&["agent", "token"][..], &["points"]] {
                let members = &members;
                scope.spawn(move || {
                    members.run_at(alone, question).fails(5, "cluster.leader_unknown");
                });
            }
        });
        wait_until("the others go on", GOES_ON, || agree_at(&members, other));
        members.lines().clear();
        are_whole(&members);
        members.status()["term"] == term && members.leader() == leader
    };
    assert!((0..TRIES).any(|_| is_unnoticed()), "each time somebody had to be elected");
}

#[test]
fn nobody_agrees_while_nobody_hears_another_and_all_agree_again_after() {
    let members = Members::three_on_lines(3);
    for flow in [Flow::Still, Flow::Torn] {
        for name in ["one", "two", "three"] {
            members.lines().part(number(name), flow);
        }
        std::thread::scope(|scope| {
            for name in ["one", "two", "three"] {
                let members = &members;
                scope.spawn(move || {
                    members.run_at(name, &["agent", "token"]).fails(5, "cluster.leader_unknown");
                });
            }
        });
        members.lines().clear();
        wait_until("they agree", GOES_ON, || agree_at(&members, "one"));
        are_whole(&members);
    }
}

#[test]
fn a_leader_that_is_heard_and_hears_nothing_does_not_hold_the_others_up() {
    let members = Members::three_on_lines(4);
    let deaf = members.leader();
    let [other, third] = others(&deaf);
    for from in [other, third] {
        members.lines().set_one_way(number(from), number(&deaf), Flow::Still);
    }
    let start = Instant::now();
    wait_until("the others go on", GOES_ON, || agree_at(&members, other));
    eprintln!("with a deaf leader: {:?}", start.elapsed());
    members.run_at(&deaf, &["points"]).fails(5, "cluster.leader_unknown");
    members.lines().clear();
    are_whole(&members);
}

#[test]
fn a_leader_that_hears_and_is_not_heard_does_not_hold_the_others_up() {
    let members = Members::three_on_lines(5);
    let mute = members.leader();
    let [other, third] = others(&mute);
    for to in [other, third] {
        members.lines().set_one_way(number(&mute), number(to), Flow::Still);
    }
    wait_until("the others go on", GOES_ON, || agree_at(&members, other));
    members.run_at(&mute, &["points"]).fails(5, "cluster.leader_unknown");
    members.lines().clear();
    are_whole(&members);
}

#[test]
fn in_a_ring_of_one_way_lines_nothing_is_agreed_and_nothing_is_lost() {
    let members = Members::three_on_lines(6);
    let ring = ["one", "two", "three", "one"];
    for pair in ring.windows(2) {
        members.lines().set_one_way(number(pair[1]), number(pair[0]), Flow::Still);
    }
    std::thread::scope(|scope| {
        for name in ["one", "two", "three"] {
            let members = &members;
            // What was asked before may have been agreed to: the answer is what cannot come.
            scope.spawn(move || {
                members.run_at(name, &["points"]).fails(5, "cluster.leader_unknown");
            });
        }
    });
    members.lines().clear();
    wait_until("they agree", GOES_ON, || agree_at(&members, "one"));
    are_whole(&members);
}

#[test]
fn two_that_cannot_hear_each_other_are_no_harm_to_who_hears_both() {
    let members = Members::three_on_lines(7);
    let leader = members.leader();
    let [middle, cut] = others(&leader);
    members.lines().set(number(&leader), number(cut), Flow::Still);
    for _ in 0..5 {
        wait_until("the middle goes on", GOES_ON, || agree_at(&members, middle));
    }
    members.lines().clear();
    are_whole(&members);
}

#[test]
fn connections_that_die_without_a_word_are_given_up_for_new_ones() {
    let members = Members::three_on_lines(8);
    let leader = members.leader();
    let made = members.lines().count();
    for name in ["one", "two", "three"] {
        members.lines().forget(number(name));
    }
    let start = Instant::now();
    wait_until("they agree", GOES_ON, || agree_at(&members, &leader));
    eprintln!("after all connections died without a word: {:?}", start.elapsed());
    assert!(members.lines().count() > made, "over new connections");
    are_whole(&members);
}

#[test]
fn an_agent_leaves_a_member_that_is_cut_off_and_its_backup_goes_on() {
    let members = Members::three_on_lines(9);
    let agent = members.agent("host");
    // It came to whichever of them was named to it first.
    let cut = "one";
    if members.leader() == cut {
        members.run(&["cluster", "transfer"]).ok();
    }
    let source = members.scratch.join("source");
    for number in 0..20 {
        write(&source.join(number.to_string()), noise(number, 4_000_000));
    }
    let path = source.to_str().unwrap();
    let [other, _] = others(cut);
    let begun = members.run_at(other, &["backup", "--path", path, "--detach"]).ok().object();
    let packs = members.scratch.join("location/packs");
    wait_until("packs are coming", PATIENCE, || packs.exists().then_some(()));
    members.lines().part(number(cut), Flow::Still);
    let run = begun["run"].as_str().unwrap();
    let is_done = || {
        let shown = members.run_at(other, &["runs", "show", run]).ok().object();
        (shown["runs"][0]["state"] == "done").then_some(())
    };
    wait_until("the backup goes on elsewhere", PATIENCE, is_done);
    // And orders reach it where it is now.
    let again = ["backup", "--path", path];
    let comes = || (members.run_at(other, &again).code == 0).then_some(());
    wait_until("the agent is at another member", PATIENCE, comes);
    members.lines().clear();
    are_whole(&members);
    drop(agent);
}

/// A context by which the operator reaches members over lines of the test's, `first` before others.
fn behind_lines(members: &Members, first: &str) -> PathBuf {
    let [second, third] = others(first);
    let dial = |to| format!("\"{}\"", members.lines().address(OPERATOR, number(to)));
    let endpoints = [first, second, third].map(dial).join(", ");
    let text = std::fs::read_to_string(members.scratch.join("c/operator.toml")).unwrap();
    let rest = text.lines().filter(|line| !line.starts_with("endpoints"));
    let own = format!("endpoints = [{endpoints}]");
    let lines: Vec<&str> = std::iter::once(&*own).chain(rest).collect();
    let context = members.scratch.join(&format!("c/behind-{first}.toml"));
    write(&context, lines.join("\n"));
    context
}

#[test]
fn a_restore_goes_on_when_the_lines_of_its_coordinator_are_cut_in_the_middle() {
    let mut members = Members::founded();
    members.put_on_lines(Lines::between(&[1, 2, 3, OPERATOR], 10));
    for name in ["two", "three"] {
        members.add(name, &[]);
    }
    members.wait_for_voters(3);
    let agent = members.agent("host");
    let source = members.scratch.join("source");
    fill(&source, 12, 30);
    let made = members.run(&["backup", "--path", source.to_str().unwrap()]).ok().object();
    let (point, tree) = (made["point"].as_str().unwrap(), Tree::of(&source));
    // That nothing comes any more is noticed after half a minute: only in the long run.
    let flows = [Flow::Torn, Flow::Still];
    for flow in &flows[..kills(1).min(2) as usize] {
        // Whoever leads serves it, and is cut off from the operator and from the others.
        let cut = members.leader();
        let context = behind_lines(&members, &cut);
        let to = members.scratch.join(&format!("{flow:?}"));
        let restore = Command::new(binary())
            .args(["--context", context.to_str().unwrap(), "--output", "json", "restore", point])
            .args(["--to", to.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let below = to.join(source.strip_prefix("/").unwrap());
        wait_until("a first file is in place", PATIENCE, || below.join("0").exists().then_some(()));
        let start = Instant::now();
        members.lines().part(number(&cut), *flow);
        let is_whole = below.join("29").exists();
        assert!(!is_whole, "it was cut in the middle");
        let ended = restore.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(0), "{flow:?} without {cut}: {told}");
        tree.assert_same(&Tree::of(&below), &cut);
        eprintln!("{flow:?}: whole {:?} after the cut", start.elapsed());
        members.lines().clear();
        are_whole(&members);
    }
    drop(agent);
}
