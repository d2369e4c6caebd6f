//! The ledger as a service: what was acknowledged is there after a stop, and damage stops it.

use super::*;
use holdfast_common::{ClusterId, Entropy, SystemClock, SystemEntropy, Timestamp};
use holdfast_ledger::{
    audit::{self, AuditHead},
    command::PutLocation,
    row::LocationRow,
};
use std::{fs, os::unix::fs::FileExt};

fn node() -> Node {
    Node {
        id: 1,
        name: "one".parse().unwrap(),
        region: "here".parse().unwrap(),
        address: "127.0.0.1:1".to_owned(),
        snapshot_every: holdfast_common::limits::SNAPSHOT_ENTRIES,
        duty: Duty::Data,
        level_max: holdfast_ledger::LEVEL,
    }
}

pub(super) async fn open(directory: &Path) -> Result<Ledger> {
    open_knowing(directory, holdfast_ledger::LEVEL).await
}

pub(super) async fn open_knowing(directory: &Path, level_max: u32) -> Result<Ledger> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let peers = Peers::new(ClusterId::from_bytes([1; 16]), node().id, Default::default());
    let node = Node { level_max, ..node() };
    Ledger::open(directory, &node, peers, Room::open(directory, 0), (clock, entropy)).await
}

pub(crate) async fn founded(directory: &Path) -> Ledger {
    let ledger = open(directory).await.unwrap();
    ledger.found(&node()).await.unwrap();
    ledger.wait_for_leader().await.unwrap();
    ledger
}

pub(crate) fn location(number: usize) -> PutLocation {
    PutLocation {
        location: LocationRow {
            name: format!("place-{number}").parse().unwrap(),
            url: format!("local:/srv/{number}"),
            region: "here".parse().unwrap(),
            revision: 0,
            disabled: None,
        },
    }
}

async fn reopened(directory: &Path) -> Ledger {
    let ledger = open(directory).await.unwrap();
    ledger.wait_for_leader().await.unwrap();
    ledger.catch_up().await.unwrap();
    ledger
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founding_is_durable_when_it_is_done() {
    for _ in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let ledger = open(directory.path()).await.unwrap();
        ledger.found(&node()).await.unwrap();
        // What is applied is on the disk; `power_cut` looks what a cut leaves of it.
        let applied = ledger.raft.metrics().borrow_watched().last_applied;
        assert!(applied.is_some(), "a vote without the entry that makes it a member");
        ledger.close().await.await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_agreed_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = founded(directory.path()).await;
    for number in 0..20 {
        ledger.propose(Actor::System, location(number)).await.unwrap();
    }
    let before = ledger.query().audit_head().unwrap();
    ledger.close().await.await;
    let ledger = reopened(directory.path()).await;
    assert_eq!(ledger.query().locations().unwrap().len(), 20);
    assert_eq!(ledger.query().audit_head().unwrap(), before);
    ledger.propose(Actor::System, location(20)).await.unwrap();
    ledger.close().await.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_goes_on_when_it_is_to_hand_over_to_itself_or_to_one_that_does_not_vote() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = founded(directory.path()).await;
    ledger.hand_over(node().id).await.unwrap();
    ledger.propose(Actor::System, location(1)).await.unwrap();
    let refused = ledger.hand_over(node().id + 1).await.unwrap_err();
    assert_eq!(refused.code, Code::ResourceConflict, "{refused}");
    ledger.propose(Actor::System, location(2)).await.unwrap();
    ledger.close().await.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_applied_once_across_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = founded(directory.path()).await;
    ledger.propose_as([3; 16], Actor::System, location(1)).await.unwrap();
    ledger.close().await.await;
    let ledger = reopened(directory.path()).await;
    let rows = ledger.query().audit_head().unwrap().rows;
    ledger.propose_as([3; 16], Actor::System, location(1)).await.unwrap();
    assert_eq!(ledger.query().audit_head().unwrap().rows, rows);
    ledger.close().await.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_are_gone_are_filled_again_from_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = founded(directory.path()).await;
    for number in 0..5 {
        ledger.propose(Actor::System, location(number)).await.unwrap();
    }
    let before = ledger.query().audit_head().unwrap();
    ledger.close().await.await;
    fs::remove_dir_all(directory.path().join("tables")).unwrap();
    let ledger = reopened(directory.path()).await;
    assert_eq!(ledger.query().audit_head().unwrap(), before);
    assert_eq!(ledger.query().locations().unwrap().len(), 5);
    ledger.close().await.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_in_a_log_record_stops_the_member() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = founded(directory.path()).await;
    let marker = "local:/a-place-to-find-again-in-the-file";
    let mut put = location(1);
    put.location.url = marker.to_owned();
    ledger.propose(Actor::System, put).await.unwrap();
    ledger.close().await.await;
    // The tables are taken away so that the log must be read again.
    fs::remove_dir_all(directory.path().join("tables")).unwrap();
    let path = log::files(&directory.path().join("log")).pop().unwrap();
    let bytes = fs::read(&path).unwrap();
    let places: Vec<usize> = bytes
        .windows(marker.len())
        .enumerate()
        .filter(|(_, window)| *window == marker.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty(), "the record is in the file");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    for at in places {
        file.write_all_at(&[bytes[at] ^ 1], at as u64).unwrap();
    }
    let opened = async {
        let ledger = open(directory.path()).await?;
        ledger.wait_for_leader().await?;
        ledger.catch_up().await
    };
    let error = opened.await.unwrap_err();
    assert!(
        [Code::LogDamaged, Code::ClusterLeaderless].contains(&error.code),
        "a changed record must never be applied: {error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_gone_is_damage_and_not_a_fresh_start() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = founded(directory.path()).await;
    ledger.propose(Actor::System, location(1)).await.unwrap();
    ledger.close().await.await;
    fs::remove_dir_all(directory.path().join("log")).unwrap();
    for attempt in 0..2 {
        let opened = open(directory.path()).await;
        let code = opened.err().map(|error| error.code);
        assert_eq!(code, Some(Code::LogDamaged), "attempt {attempt}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_proposers_at_once_are_all_applied_in_one_order() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = founded(directory.path()).await;
    let proposals = (0..200).map(|number| ledger.propose(Actor::System, location(number)));
    for outcome in futures::future::join_all(proposals).await {
        outcome.unwrap();
    }
    assert_eq!(ledger.query().locations().unwrap().len(), 200);
    let head = ledger.query().audit_head().unwrap();
    let rows = ledger.query().audit(0, 1000).unwrap();
    audit::verify(rows.into_iter().map(Ok), &AuditHead::default(), &head).unwrap();
    assert!(ledger.now() > Timestamp::ZERO);
    ledger.close().await.await;
}
