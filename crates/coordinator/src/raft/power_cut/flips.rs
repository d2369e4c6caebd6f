//! A bit flips in a stored file: the ledger answers right, mends itself or refuses; never wrong.
//!
//! Flips are aimed at bytes that are not zero, after a clean stop (nothing makes the engines look
//! closer then) and after a kill (they repair, and might mend too much). Those in the log are
//! tried without tables, so that every entry must be read again.

use super::{Dice, copy, files, ledger, repeat, rounds, seed};
use std::{fs, path::Path, time::Duration};

const COMMANDS: usize = 36;
const PATIENCE: Duration = Duration::from_secs(30);

/// What a ledger says after a flip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Hang,
    Refused,
    Right,
    Wrong,
}

fn ask(directory: &Path) -> (Answer, String) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let compared = runtime.block_on(async {
        tokio::time::timeout(PATIENCE, ledger::compare(directory, COMMANDS)).await
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    match compared {
        Ok(Ok(())) => (Answer::Right, String::new()),
        Ok(Err(error)) if error.starts_with("refused") => (Answer::Refused, error),
        Ok(Err(error)) => (Answer::Wrong, error),
        Err(_) => (Answer::Hang, String::new()),
    }
}

/// What is flipped, and what else the ledger has to live with.
#[derive(Clone, Copy)]
struct Aim {
    /// In the path of every file aimed at.
    part: &'static str,
    /// Only bytes below this offset.
    below: usize,
    /// The process was killed, so that the engines look closer.
    killed: bool,
    /// There are no tables to fall back on: the log is read again.
    without_tables: bool,
}

/// Flips one bit at a time, and asks.
fn flip(aim: Aim, count: usize) -> Vec<(Answer, String)> {
    let base = tempfile::tempdir().unwrap();
    if aim.killed {
        let running = tempfile::tempdir().unwrap();
        ledger::worked_until(running.path(), || copy(running.path(), base.path()));
    } else {
        ledger::worked_until(base.path(), || {});
    }
    let within = files(base.path());
    let places: Vec<_> = within
        .iter()
        .filter(|(path, _)| path.to_string_lossy().contains(aim.part))
        .flat_map(|(path, bytes)| {
            let used = bytes.iter().take(aim.below).enumerate().filter(|(_, byte)| **byte != 0);
            used.map(move |(at, _)| (path, at))
        })
        .collect();
    let mut dice = Dice(seed());
    let answers = (0..count).map(|number| {
        let (path, at) = places[dice.below(places.len())];
        let bit = dice.below(8);
        let relative = path.strip_prefix(base.path()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        copy(base.path(), directory.path());
        if aim.without_tables {
            fs::remove_dir_all(directory.path().join("ledger/tables")).unwrap();
        }
        let mut bytes = within[path].clone();
        bytes[at] ^= 1 << bit;
        fs::write(directory.path().join(relative), bytes).unwrap();
        let ledger = directory.path().join("ledger");
        // Who was refused tries again: a repair in between must not have made it wrong.
        let first = ask(&ledger);
        let (answer, error) = if first.0 == Answer::Refused { ask(&ledger) } else { first };
        let place = format!("{}: flip {number}: bit {bit} of byte {at}", repeat());
        (answer, format!("{answer:?}: {place} of {}: {error}", relative.display()))
    });
    answers.collect()
}

fn assert_never_wrong(answers: &[(Answer, String)]) {
    let count = |wanted| answers.iter().filter(|(answer, _)| *answer == wanted).count();
    let (right, refused) = (count(Answer::Right), count(Answer::Refused));
    let bad: Vec<&str> = answers
        .iter()
        .filter(|(answer, _)| [Answer::Hang, Answer::Wrong].contains(answer))
        .map(|(_, story)| story.as_str())
        .collect();
    println!("right {right}, refused {refused}, bad {}", bad.len());
    assert!(bad.is_empty(), "right {right}, refused {refused}, bad:\n{}", bad.join("\n"));
}

const TABLES: Aim =
    Aim { part: "/tables/", below: usize::MAX, killed: false, without_tables: false };
const LOG: Aim = Aim { part: "/log/", below: usize::MAX, killed: false, without_tables: true };
/// The head of the first file, and the first groups.
const HEADER_BYTES: usize = 320;

#[test]
fn a_flipped_bit_in_the_log_is_never_a_wrong_answer() {
    assert_never_wrong(&flip(LOG, rounds(30)));
    assert_never_wrong(&flip(Aim { killed: true, ..LOG }, rounds(30)));
}

#[test]
fn a_flipped_bit_in_the_logs_header_is_never_a_wrong_answer() {
    let header = Aim { below: HEADER_BYTES, ..LOG };
    assert_never_wrong(&flip(header, rounds(30)));
    assert_never_wrong(&flip(Aim { killed: true, ..header }, rounds(30)));
}

#[test]
fn a_flipped_bit_in_the_tables_is_mended_from_the_snapshot_and_the_log() {
    for killed in [false, true] {
        let answers = flip(Aim { killed, ..TABLES }, rounds(30));
        assert_never_wrong(&answers);
        let refused: Vec<_> = answers.iter().filter(|(a, _)| *a != Answer::Right).collect();
        assert!(refused.is_empty(), "{refused:#?}");
    }
}
