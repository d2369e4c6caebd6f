//! How a member takes the lead without those it followed: on its closed ledger, once.
//!
//! ```text
//!   … last entry ─→ members: this one alone votes, its region follows
//!   vote ─────────→ of the same term, higher than all it has seen
//! ```
//!
//! Started again, the member elects itself, commits what its log holds, and goes on. Nobody else
//! can have written an entry of this name: it never led in a term as high as its own vote. Done a
//! second time it changes nothing.

use super::{
    log_store::LogStore,
    machine, open_tables, snapshot,
    types::{LogId, Member, StoredLogId, StoredVote, Vote, membership_entry},
};
use crate::{region::Intent, store::DirectoryLock};
use holdfast_common::{Code, Error, Result};
use openraft::storage::{RaftLogReader, RaftLogStorage};
use std::path::Path;

pub(crate) async fn lead_alone(directory: &Path, me: u64, intent: &Intent) -> Result<()> {
    let io = |error: std::io::Error| Error::io("the log cannot be changed", &error);
    let snapshots = directory.join("snapshots");
    let lock = DirectoryLock::take(directory)?;
    let released = lock.release();
    let tables = open_tables(&directory.join("tables"), &snapshots, &lock)?;
    let mut log = LogStore::open(directory, tables.clone(), lock)?;
    let head = machine::head_of(tables.as_ref())?;
    let applied = head.applied.map(LogId::from);
    let mut last = log.get_log_state().await.map_err(io)?.last_log_id;
    if applied.map(|id| id.index) > last.map(|id| id.index) {
        // The log lost its end in a crash: the tables stand in for it.
        snapshot::write(&snapshots, &head, tables.as_ref())?;
        log.truncate_after(None).await.map_err(io)?;
        if let Some(applied) = applied {
            log.purge(applied).await.map_err(io)?;
        }
        last = applied;
    }
    let Some(last) = last else {
        return Err(Error::new(Code::LogDamaged, "there is no log to go on from"));
    };
    if !is_done(last, me, intent) {
        let vote = log.read_vote().await.map_err(io)?;
        let seen = vote.map_or(0, |vote| StoredVote::from(&vote).parts().0);
        let term = intent.term.max(seen + 1);
        let nodes = intent.nodes.iter().map(|node| {
            let (name, region) = (node.name.to_string(), node.region.to_string());
            (node.id, Member { name, region, address: node.address.clone() })
        });
        let id = StoredLogId::of(term, me, last.index + 1);
        let entry = membership_entry(id, me, nodes.collect())?;
        log.save_vote(&Vote::from(StoredVote::of(term, me, false))).await.map_err(io)?;
        log.append_alone(&entry).await.map_err(io)?;
    }
    drop((log, tables));
    released.await;
    Ok(())
}

/// Whether the entry is there: since the claim nobody else appended anything.
fn is_done(last: LogId, me: u64, intent: &Intent) -> bool {
    let (_, node, index) = StoredLogId::from(&last).parts();
    node == me && index > intent.claim.base
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        raft::tests::{founded, location, open},
        region::{Claim, Epoch, IntendedNode},
    };
    use holdfast_common::{Name, Timestamp};
    use holdfast_ledger::Actor;

    fn intent(base: u64) -> Intent {
        let (name, region): (Name, Name) = ("one".parse().unwrap(), "dr".parse().unwrap());
        let address = "127.0.0.1:1".to_owned();
        let node = IntendedNode { id: 1, name: name.clone(), region: region.clone(), address };
        let epoch = Epoch { number: 2, regions: vec![region.clone()], member: 1, applied: base };
        Intent {
            claim: Claim {
                epoch,
                base_term: 1,
                base,
                time: Timestamp::ZERO,
                operator: "admin".to_owned(),
                reason: None,
                name,
                region,
                taken: None,
            },
            term: 40,
            nodes: vec![node],
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn done_again_at_any_step_it_adds_one_entry_and_the_log_before_it_counts() {
        let scratch = tempfile::tempdir().unwrap();
        let ledger = founded(scratch.path()).await;
        ledger.propose(Actor::System, location(1)).await.unwrap();
        let (_, base) = ledger.end_of_log().await.unwrap();
        ledger.close().await.await;
        let intent = intent(base);
        for _ in 0..3 {
            lead_alone(scratch.path(), 1, &intent).await.unwrap();
        }
        let ledger = open(scratch.path()).await.unwrap();
        assert_eq!(ledger.end_of_log().await.unwrap(), (40, base + 1), "one entry, of its term");
        assert!(ledger.is_alone());
        ledger.wait_for_leader().await.unwrap();
        ledger.propose(Actor::System, location(2)).await.unwrap();
        assert!(ledger.state().term > 40, "and it leads in a term above that");
        assert_eq!(ledger.query().locations().unwrap().len(), 2);
        ledger.close().await.await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_log_that_lost_its_end_goes_on_behind_what_was_applied() {
        let scratch = tempfile::tempdir().unwrap();
        let ledger = founded(scratch.path()).await;
        ledger.propose(Actor::System, location(1)).await.unwrap();
        let (_, base) = ledger.end_of_log().await.unwrap();
        ledger.close().await.await;
        let lock = DirectoryLock::take(scratch.path()).unwrap();
        let released = lock.release();
        let snapshots = scratch.path().join("snapshots");
        let tables = open_tables(&scratch.path().join("tables"), &snapshots, &lock).unwrap();
        let mut log = LogStore::open(scratch.path(), tables.clone(), lock).unwrap();
        let first = StoredLogId::of(1, 1, base - 1);
        log.truncate_after(Some(first.into())).await.unwrap();
        drop((log, tables));
        released.await;
        let intent = intent(base);
        lead_alone(scratch.path(), 1, &intent).await.unwrap();
        let ledger = open(scratch.path()).await.unwrap();
        assert_eq!(ledger.end_of_log().await.unwrap(), (40, base + 1));
        ledger.wait_for_leader().await.unwrap();
        ledger.propose(Actor::System, location(2)).await.unwrap();
        assert_eq!(ledger.query().locations().unwrap().len(), 2);
        ledger.close().await.await;
    }
}
