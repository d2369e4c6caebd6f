//! A bit flips in the log of a member that was killed or stopped: its newest commit is not taken
//! back.
//!
//! A follower's vote and the entries it acknowledged are promises that nobody else may know of.
//! After a kill the log may end with a group that is torn, and that is left out; to leave out one
//! that was promised and damaged since would be a lie, where a refusal is a nuisance.

use super::{
    super::{log, log_store::LogStore, types::Vote},
    Dice, repeat, rounds, seed,
};
use crate::store::DirectoryLock;
use holdfast_ledger::MemoryKv;
use openraft::storage::{RaftLogReader, RaftLogStorage};
use std::{ffi::OsString, fs, path::Path, sync::Arc};

/// Enough that the commit before the newest could be gone back to.
const TERMS: u64 = 21;
/// Zeros behind the last group that are aimed at too: nothing was promised there.
const BEHIND: usize = 16;

async fn open(directory: &Path) -> Option<LogStore> {
    let lock = DirectoryLock::take(directory).unwrap();
    LogStore::open(directory, Arc::new(MemoryKv::default()), lock).ok()
}

/// What lies on the disk right after a last vote was promised.
struct Voted {
    name: OsString,
    log: Vec<u8>,
    generation: Vec<u8>,
    /// Where that vote changed the log, and a little behind it.
    changed: Vec<usize>,
}

async fn voted(stopped: bool) -> Voted {
    let directory = tempfile::tempdir().unwrap();
    let path = || log::files(&directory.path().join("log")).pop().unwrap();
    let read = || fs::read(path()).unwrap();
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
    let differs = |at: &usize| before.get(*at) != Some(&after[*at]);
    let mut changed: Vec<usize> = (0..after.len()).filter(differs).collect();
    let end = changed.last().unwrap() + 1;
    changed.extend(end.next_multiple_of(8)..end + BEHIND);
    let generation = fs::read(directory.path().join("log.generation")).unwrap();
    let name = path().file_name().unwrap().to_owned();
    Voted { name, log: after, generation, changed }
}

#[tokio::test]
async fn a_vote_is_never_taken_back_by_a_flipped_bit_after_a_kill() {
    assert_votes_stay(&voted(false).await).await;
}

#[tokio::test]
async fn a_vote_is_never_taken_back_by_a_flipped_bit_after_a_stop() {
    assert_votes_stay(&voted(true).await).await;
}

async fn assert_votes_stay(Voted { name, log: good, generation, changed }: &Voted) {
    let mut dice = Dice(seed());
    let (mut kept, mut refused) = (0, 0);
    for number in 0..rounds(60) {
        let (at, bit) = (changed[dice.below(changed.len())], dice.below(8));
        let mut bad = good.clone();
        bad[at] ^= 1 << bit;
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("log")).unwrap();
        fs::write(directory.path().join("log").join(name), bad).unwrap();
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
