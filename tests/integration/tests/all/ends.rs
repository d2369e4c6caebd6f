//! The end of a run that its agent told to a coordinator which then died.

use crate::{
    cluster::Cluster,
    harness::{noise, wait_until, write},
};
use rustix::process::Signal;
use std::{path::Path, time::Duration};

const PATIENCE: Duration = Duration::from_secs(60);
const FILES: u64 = 16;

fn placed(directory: &Path) -> usize {
    let whole = |number: &u64| {
        let file = directory.join(number.to_string()).metadata();
        file.is_ok_and(|file| file.len() == 4_000_000)
    };
    (0..FILES).filter(whole).count()
}

#[test]
fn a_restore_that_ended_while_its_coordinator_died_is_told_as_it_ended() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut cluster = Cluster::start_at(&free.to_string(), "coordinator", &["location"]);
    let agent = cluster.agent("one");
    let source = cluster.scratch.join("source");
    for number in 0..FILES {
        write(&source.join(number.to_string()), noise(number, 4_000_000));
    }
    let made = cluster.run(&["backup", "--path", source.to_str().unwrap()]).ok().object();
    let (point, to) = (made["point"].as_str().unwrap(), cluster.scratch.join("back"));
    // All of it is there, and is still being read back, when the coordinator stands still.
    let below = to.join(source.strip_prefix("/").unwrap());
    let restore = ["restore", point, "--to", to.to_str().unwrap(), "--agent", "one"];
    cluster.run(&[&restore[..], &["--verify", "--detach"]].concat()).ok();
    let there = || (placed(&below) == FILES as usize).then_some(());
    wait_until("everything is in place", PATIENCE, there);
    cluster.coordinator.signal(Signal::STOP);
    let restored = || agent.log().contains("restored").then_some(());
    wait_until("the agent has restored", PATIENCE, restored);
    // What was told to it is lost with it.
    cluster.coordinator.kill_in_place();
    cluster.coordinator = Cluster::coordinator(&cluster.scratch);
    let newest = || cluster.run(&["runs"]).ok().object()["runs"][0].clone();
    let over = || Some(newest()).filter(|run| run["ended"].is_string());
    let run = wait_until("the restore has ended", PATIENCE, over);
    assert_eq!((&run["kind"], &run["state"]), (&"restore".into(), &"done".into()), "{run}");
    assert_eq!(run["restored"]["bytes_written"], FILES * 4_000_000);
}
