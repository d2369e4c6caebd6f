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
    let mut log = LogStore::open(&directory.join("log.redb"), tables.clone(), lock)?;
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
