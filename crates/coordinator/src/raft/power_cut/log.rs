//! A bit flips in the log of a member that was killed or stopped: its newest commit is not taken
//! back.
//!
//! A follower's vote and the entries it acknowledged are promises that nobody else may know of.
//! After a kill the engine repairs its file, and a repair that meets a damaged newest commit may go
//! back to the one before: for a member of a cluster that is a lie, where a refusal is a nuisance.

use super::{
    super::{log_store::LogStore, types::Vote},
    Dice, repeat, rounds, seed,
};
use crate::store::DirectoryLock;
use holdfast_ledger::MemoryKv;
use openraft::storage::{RaftLogReader, RaftLogStorage};
use std::{fs, path::Path, sync::Arc};

/// Enough that the commit before the newest could be gone back to.
const TERMS: u64 = 21;
/// Where redb's header says which of its two commits is the newest.
const GOD_BYTE: usize = 9;

async fn open(directory: &Path) -> Option<LogStore> {
    let lock = DirectoryLock::take(directory).unwrap();
    LogStore::open(&directory.join("log.redb"), Arc::new(MemoryKv::default()), lock).ok()
}

/// What lies on the disk right after a last vote was promised.
struct Voted {
    log: Vec<u8>,
    generation: Vec<u8>,
    /// Where that vote changed the log.
    changed: Vec<usize>,
}

async fn voted(stopped: bool) -> Voted {
    let directory = tempfile::tempdir().unwrap();
    let read = || fs::read(directory.path().join("log.redb")).unwrap();
    let mut log = open(directory.path()).await.unwrap();
    let mut before = Vec::new();
    for term in 1..=TERMS {
        before = read();
        log.save_vote(&Vote::new(term, 1)).await.unwrap();
    }
    if stopped {
        let release = log.release();
        drop(log);
        release.await;
    }
    let after = read();
    let changed = (0..after.len()).filter(|at| before.get(*at) != Some(&after[*at])).collect();
    let generation = fs::read(directory.path().join("log.generation")).unwrap();
    Voted { log: after, generation, changed }
}

#[tokio::test]
async fn a_vote_is_never_taken_back_by_a_flipped_bit_after_a_kill() {
    assert_votes_stay(&voted(false).await).await;
}

#[tokio::test]
async fn a_vote_is_never_taken_back_by_a_flipped_bit_after_a_stop() {
    assert_votes_stay(&voted(true).await).await;
}

async fn assert_votes_stay(Voted { log: good, generation, changed }: &Voted) {
    let mut dice = Dice(seed());
    let (mut kept, mut refused) = (0, 0);
    for number in 0..rounds(60) {
        // First the one bit that says which commit is the newest, then wherever dice fall.
        let at = if number == 0 { GOD_BYTE } else { changed[dice.below(changed.len())] };
        let bit = if number == 0 { 0 } else { dice.below(8) };
        let mut bad = good.clone();
        bad[at] ^= 1 << bit;
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("log.redb"), bad).unwrap();
        fs::write(directory.path().join("log.generation"), generation).unwrap();
        // Who was refused tries again: a repair in between must not have made it wrong.
        for _ in 0..2 {
            let Some(mut log) = open(directory.path()).await else { continue };
            let story = format!("{}: flip {number}: bit {bit} of byte {at}", repeat());
            match log.read_vote().await {
                Ok(vote) => {
                    assert_eq!(vote.map(|vote| vote.leader_id.term), Some(TERMS), "{story}")
                }
                Err(_) => continue,
            }
            kept += 1;
            break;
        }
        refused = number + 1 - kept;
    }
    assert!(kept > 0 && refused > 0, "kept {kept}, refused {refused}: the flips must matter");
}
