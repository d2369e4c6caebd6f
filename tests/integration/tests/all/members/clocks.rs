//! Members whose wall clocks are a day apart: elections, leases and tokens go by ledger time, and
//! any member tells whose clock is wrong.

use super::scene::{Members, PATIENCE};
use crate::{
    clock::{by_file, set_offset},
    harness::{Outcome, holdfast, noise, wait_until, write},
};
use holdfast_common::{Clock, SystemClock, Timestamp};
use std::{collections::BTreeSet, time::Duration};

const HOUR: Duration = Duration::from_secs(3600);

/// Joins with a token that was made some time before.
fn join(members: &Members, name: &str, token: &str) -> Outcome {
    let dir = members.scratch.join(name);
    let coordinator = &members.running["one"].address;
    let join = ["--output", "json", "agent", "join", "--coordinator", coordinator];
    let rest = ["--token", token, "--dir", dir.to_str().unwrap(), "--name", name];
    holdfast(None, &[&join[..], &rest].concat())
}

fn whose_clock_is_wrong(members: &Members, asked: &str) -> BTreeSet<String> {
    let told = members.run_at(asked, &["status"]).object();
    let alarms = told["alarms"].as_array().unwrap();
    let of_clocks = alarms.iter().filter(|alarm| alarm["code"] == "clock.jumped");
    of_clocks.map(|alarm| alarm["subject"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn clocks_a_day_apart_expire_nothing_and_any_member_tells_whose_are_wrong() {
    let mut members = Members::three();
    let agent = members.agent("host");
    let source = members.scratch.join("source");
    let tokens = [(); 3].map(|()| {
        let told = members.run(&["agent", "token", "--ttl", "1h"]).ok().object();
        told["token"].as_str().unwrap().to_owned()
    });
    let offsets = [("two", "+12h"), ("three", "-12h")];
    for (name, offset) in offsets {
        let file = members.scratch.join(&format!("clock-{name}"));
        set_offset(&file, "+0");
        members.set_environment(name, &by_file(&file));
        assert_eq!(members.stop(name), Some(0));
        members.start(name);
        members.wait_for_voters(3);
        set_offset(&file, offset);
    }
    // Whoever leads, a token of an hour is good, and what is stamped is what time it is.
    for (number, (leader, token)) in ["two", "three", "one"].iter().zip(&tokens).enumerate() {
        if members.leader() != *leader {
            members.run(&["cluster", "transfer", leader]).ok();
        }
        for asked in ["one", "two", "three"] {
            let wrong = whose_clock_is_wrong(&members, asked);
            assert_eq!(wrong, ["three", "two"].map(str::to_owned).into(), "asked {asked}");
            // Nothing goes by its age while the leader's clock is wrong; another one's is nothing.
            let plan = members.run_at(asked, &["retain", "--dry-run"]).ok().object();
            assert_eq!(plan["suspended"].is_null(), *leader == "one", "asked {asked}: {plan:#}");
        }
        join(&members, &format!("late-{number}"), token).ok();
        write(&source.join(number.to_string()), noise(number as u64, 300_000));
        let path = source.to_str().unwrap();
        let made = members.run(&["backup", "--path", path, "--agent", "host"]).ok().object();
        let points = members.run(&["points"]).ok().object();
        let newest = &points["points"][0];
        assert_eq!(newest["id"], made["point"], "in the order in which they were made");
        let time: Timestamp = newest["time"].as_str().unwrap().parse().unwrap();
        let now = SystemClock::start().now();
        assert!(now.since(time).max(time.since(now)) < HOUR, "{time} is not {now}");
    }
    // One is elected, and not by hand.
    let leader = members.leader();
    members.kill(&leader);
    assert_ne!(members.leader(), leader);
    members.run(&["agent", "token"]).ok();
    members.start(&leader);
    members.wait_for_voters(3);
    for (name, _) in offsets {
        set_offset(&members.scratch.join(&format!("clock-{name}")), "+0");
    }
    let right = || whose_clock_is_wrong(&members, "one").is_empty().then_some(());
    wait_until("all clocks are right", PATIENCE, right);
    drop(agent);
}

#[test]
fn a_clock_is_confirmed_for_the_cluster_through_any_member() {
    let mut members = Members::three();
    let file = members.scratch.join("clock");
    set_offset(&file, "+0");
    for name in ["one", "two", "three"] {
        members.set_environment(name, &by_file(&file));
        assert_eq!(members.stop(name), Some(0));
        members.start(name);
        members.wait_for_voters(3);
    }
    // As if all hosts had been off for that long.
    set_offset(&file, "+5h");
    let leader = members.leader();
    let all: BTreeSet<String> = ["one", "two", "three"].map(str::to_owned).into();
    assert_eq!(whose_clock_is_wrong(&members, &leader), all);
    let follower = all.iter().find(|name| **name != leader).unwrap();
    let told = members.run_at(follower, &["cluster", "confirm-clock", "--yes"]).ok().object();
    let time: Timestamp = told["now"].as_str().unwrap().parse().unwrap();
    let now = SystemClock::start().now();
    assert!(time.since(now) > 4 * HOUR, "{time} is not five hours after {now}");
    let right = || whose_clock_is_wrong(&members, &leader).is_empty().then_some(());
    wait_until("the cluster goes by the clocks of its hosts", PATIENCE, right);
}
