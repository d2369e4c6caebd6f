//! Two hosts with one identity, each attached to another member.

use super::scene::{Members, PATIENCE};
use crate::{
    doubles::{alarm, copied},
    harness::{Service, holdfast, wait_until, write},
};

/// An agent's directory from which its process comes to one member first.
fn comes_to(members: &Members, dir: &str, member: &str) {
    let (dir, address) = (members.scratch.join(dir), &members.running[member].address);
    let dir = dir.to_str().unwrap();
    holdfast(None, &["agent", "repoint", "--dir", dir, "--coordinator", address]).ok();
}

fn is_connected(members: &Members, at: &str) -> Option<()> {
    let told = members.run_at(at, &["agent", "list"]).ok().object();
    (told["agents"][0]["state"] == "connected").then_some(())
}

#[test]
fn a_clone_at_another_member_is_an_alarm_and_gets_no_work() {
    let members = Members::three();
    members.join_agent("host");
    let config = copied(&members.scratch.join("host"), &members.scratch.join("clone"));
    comes_to(&members, "host", "one");
    comes_to(&members, "clone", "two");
    let _host = members.joined_agent("host");
    wait_until("the others know", PATIENCE, || is_connected(&members, "two"));
    let log = members.scratch.join("clone.log");
    let clone = Service::start(&["agent", "--config", config.to_str().unwrap()], &log);
    for member in ["one", "two", "three"] {
        let told = || alarm(&members.run_at(member, &["status"]));
        let alarm = wait_until("an alarm tells of the clone", PATIENCE, told);
        assert_eq!(alarm["subject"], "host");
    }
    let source = members.scratch.join("source");
    write(&source.join("file"), "content");
    let path = source.to_str().unwrap();
    let told = members.run(&["backup", "--path", path, "--detach"]).ok().object();
    let run = told["run"].as_str().unwrap();
    let state = || {
        let told = members.run(&["runs", "show", run]).ok().object();
        told["runs"][0]["state"].as_str().unwrap().to_owned()
    };
    assert!(alarm(&members.run(&["status"])).is_some());
    assert_eq!(state(), "queued", "neither gets it");
    clone.kill();
    wait_until("whoever is left gets its work", PATIENCE, || (state() == "done").then_some(()));
    let quiet = || alarm(&members.run(&["status"])).is_none().then_some(());
    wait_until("no alarm is left", PATIENCE, quiet);
}
