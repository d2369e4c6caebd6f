//! The log alone: a bit flips in it after a kill or a stop, or the power goes after a kill and a
//! start. Its newest commit is not taken back.
//!
//! A follower's vote and the entries it acknowledged are promises that nobody else may know of.
//! After a kill the log may end with a group that is torn, and that is left out; to leave out one
//! that was promised and damaged since would be a lie, where a refusal is a nuisance.

use super::{
    super::{log, log_store::LogStore, types::Vote},
    Dice, Recording, Workplace, copy,
    disk::{Loss, Syncs},
    record::Event,
    repeat, rounds, seed,
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

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

async fn term(log: &mut LogStore) -> u64 {
    log.read_vote().await.unwrap().map_or(0, |vote| vote.leader_id.term)
}

/// Votes a few times.
pub(super) fn work(mut workplace: Workplace) {
    runtime().block_on(async {
        let mut log = open(&workplace.directory).await.unwrap();
        for term in 1..=3 {
            log.save_vote(&Vote::new(term, 1)).await.unwrap();
            workplace.acknowledge(usize::try_from(term).unwrap());
        }
    });
}

/// Starts, says whom it voted for (nobody writes an equal vote again), and votes once more.
pub(super) fn work_again(mut workplace: Workplace) {
    runtime().block_on(async {
        let mut log = open(&workplace.directory).await.unwrap();
        workplace.acknowledge(usize::try_from(term(&mut log).await).unwrap());
        log.save_vote(&Vote::new(TERMS, 1)).await.unwrap();
        workplace.acknowledge(usize::try_from(TERMS).unwrap());
    });
}

#[test]
fn what_a_start_found_unsynced_is_there_after_the_power_goes() {
    let first = Recording::of("log", |_| {});
    let mut disk = first.before.clone();
    let mut kills = 0;
    for (at, event) in first.events.iter().enumerate() {
        if matches!(event, Event::Sync { .. }) {
            kills += 1;
            let story = format!("killed at event {at}, {event:?}");
            assert_start_is_durable(&disk.clone().killed(), &story);
        }
        disk.happen(event, Syncs::All);
    }
    assert!(kills >= 5, "{kills} syncs: two at the beginning, one a vote");
}

/// The process that filled `disk` is gone; another starts, and then the power goes.
fn assert_start_is_durable(disk: &super::disk::Disk, story: &str) {
    let seen = tempfile::tempdir().unwrap();
    disk.cut(Loss::Nothing, &mut Dice(seed()), seen.path());
    let again = Recording::of("log again", |directory| copy(seen.path(), directory));
    let (mut disk, mut said) = (disk.clone(), 0);
    for event in &again.events {
        disk.happen(event, Syncs::All);
        let Event::Acknowledge(term_said) = event else { continue };
        let term_said: u64 = term_said.parse().unwrap();
        let left = tempfile::tempdir().unwrap();
        disk.cut(Loss::Everything, &mut Dice(seed()), left.path());
        let kept = runtime().block_on(async {
            match open(left.path()).await {
                Some(mut log) => term(&mut log).await,
                None => panic!("{story}: no start after {term_said} was said"),
            }
        });
        assert_eq!(kept, term_said, "{story}");
        said += 1;
    }
    assert_eq!(said, 2, "{story}");
}
