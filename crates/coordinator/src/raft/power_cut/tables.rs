//! The tables alone under power cuts: what was flushed is there, and batches are whole.
//!
//! Batch `n` overwrites a few of the same rows and the row `mark` with `n`. After a cut the mark
//! names the batch that was last, and every row must be what the batches up to it make.

use super::{Cut, Dice, Recording, Workplace, disk::Syncs, rounds};
use crate::store::SledKv;
use holdfast_ledger::{Batch, MemoryKv, StateKv};

const BATCHES: usize = 240;
const ROWS: usize = 60;
const MARK: &[u8] = b"mark";

pub(super) fn work(mut workplace: Workplace) {
    let tables = SledKv::open(&workplace.directory.join("tables"), None).unwrap();
    workplace.acknowledge(0);
    for number in 1..=BATCHES {
        tables.write(batch(number)).unwrap();
        if number % 3 != 1 {
            tables.flush().unwrap();
            workplace.acknowledge(number);
        }
    }
}

fn batch(number: usize) -> Batch {
    let mut dice = Dice(number as u64);
    let mut batch = Batch::default();
    for _ in 0..8 {
        let key = format!("row-{:02}", dice.below(ROWS)).into_bytes();
        let length = dice.below(3000);
        let value = format!("{number}-").repeat(length / 4 + 1).into_bytes();
        batch.changes.insert(key, (dice.below(8) > 0).then_some(value));
    }
    batch.changes.insert(MARK.to_vec(), Some(number.to_le_bytes().to_vec()));
    batch
}

fn check(cut: &Cut) -> Result<(), String> {
    let path = cut.directory.path().join("tables");
    let opened = SledKv::open(&path, None);
    let Some(acknowledged) = cut.acknowledged else { return Ok(()) };
    let compared = opened.map_err(|error| error.to_string()).and_then(|tables| {
        compare(&tables, acknowledged)?;
        drop(tables);
        let again = SledKv::open(&path, None).map_err(|error| error.to_string())?;
        let value = again.read(b"new").map_err(|error| error.to_string())?;
        if value.as_deref() == Some(b"row") { Ok(()) } else { Err("lost the new row".to_owned()) }
    });
    compared.map_err(|error| format!("{}: {error}", cut.story))
}

/// Compares with the batches up to the mark, then writes one more row.
fn compare(tables: &SledKv, acknowledged: usize) -> Result<(), String> {
    let text = |error: holdfast_common::Error| error.to_string();
    let mark = tables.read(MARK).map_err(text)?;
    let last = mark.map_or(0, |mark| usize::from_le_bytes(mark.try_into().unwrap()));
    if last < acknowledged {
        return Err(format!("lost batches {last}..={acknowledged}"));
    }
    let model = MemoryKv::default();
    (1..=last).for_each(|number| model.write(batch(number)).unwrap());
    let (found, wanted) = (tables.scan(&[], None, 1000), model.scan(&[], None, 1000));
    if found.map_err(text)? != wanted.unwrap() {
        return Err(format!("batch {last} is there by half"));
    }
    let changes = [(b"new".to_vec(), Some(b"row".to_vec()))].into_iter().collect();
    tables.write(Batch { changes }).map_err(text)?;
    tables.flush().map_err(text)
}

fn failures(recording: &Recording, count: usize, syncs: Syncs) -> Vec<String> {
    let mut failures = Vec::new();
    recording.cut(count, syncs, |cut| failures.extend(check(cut).err()));
    failures
}

#[test]
fn every_flushed_batch_survives_a_power_cut_whole() {
    let recording = Recording::of("tables", |_| {});
    let failures = failures(&recording, rounds(60), Syncs::All);
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn the_engines_own_flush_alone_loses_batches_and_the_check_sees_it() {
    let recording = Recording::of("tables", |_| {});
    let failures = failures(&recording, 15, Syncs::NotOfData);
    assert!(failures.iter().any(|failure| failure.contains("lost batches")), "{failures:#?}");
}
