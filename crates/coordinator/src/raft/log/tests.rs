//! The log as a whole: volumes follow each other, what is not needed goes, and nothing that was
//! promised is ever left out.

use super::*;
use std::collections::BTreeMap;

const VOLUME_BYTES: usize = 2_000;

fn log(directory: &Path) -> Result<Writer> {
    open_with(&directory.join("log"), VOLUME_BYTES)
}

fn group(records: &[Record<'_>]) -> Group {
    let mut group = Group::default();
    records.iter().for_each(|record| group.push(*record));
    group
}

fn bytes_of(index: u64) -> Vec<u8> {
    format!("entry {index} ").repeat(20).into_bytes()
}

fn append(writer: &mut Writer, indexes: impl IntoIterator<Item = u64>) {
    for index in indexes {
        writer.write(&group(&[Record::Entry(index, &bytes_of(index))])).unwrap();
    }
}

fn all(reader: &Reader) -> BTreeMap<u64, Vec<u8>> {
    reader.entries(..).unwrap().into_iter().collect()
}

fn expected(indexes: impl IntoIterator<Item = u64>) -> BTreeMap<u64, Vec<u8>> {
    indexes.into_iter().map(|index| (index, bytes_of(index))).collect()
}

#[test]
fn a_log_of_many_volumes_is_the_same_after_every_start() {
    let directory = tempfile::tempdir().unwrap();
    for start in 0..5 {
        let mut writer = log(directory.path()).unwrap();
        assert_eq!(all(&writer.reader()), expected(0..start * 20));
        append(&mut writer, start * 20..start * 20 + 20);
        writer.write(&group(&[Record::Note("vote", &start.to_le_bytes())])).unwrap();
        assert_eq!(all(&writer.reader()), expected(0..start * 20 + 20));
        let last = start * 20 + 19;
        assert_eq!(writer.reader().last().unwrap(), Some((last, bytes_of(last))));
    }
    let writer = log(directory.path()).unwrap();
    assert_eq!(writer.reader().note("vote").unwrap(), 4u64.to_le_bytes());
    assert!(files(&directory.path().join("log")).len() > 5);
}

#[test]
fn what_is_removed_takes_its_volumes_along_and_the_notes_stay() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = log(directory.path()).unwrap();
    writer.write(&group(&[Record::Note("vote", b"mine")])).unwrap();
    append(&mut writer, 0..60);
    let before = files(&directory.path().join("log")).len();
    writer.write(&group(&[Record::Remove(40), Record::Note("purged", b"40")])).unwrap();
    let after = files(&directory.path().join("log"));
    assert!(after.len() < before, "{before}, then {}", after.len());
    assert_eq!(all(&writer.reader()), expected(41..60));
    drop(writer);
    let mut writer = log(directory.path()).unwrap();
    assert_eq!(all(&writer.reader()), expected(41..60));
    let note = |writer: &Writer, name| writer.reader().note(name).unwrap();
    assert_eq!((note(&writer, "vote"), note(&writer, "purged")), (b"mine".into(), b"40".into()));
    writer.write(&group(&[Record::Remove(u64::MAX)])).unwrap();
    drop(writer);
    assert_eq!(files(&directory.path().join("log")).len(), 1);
    let writer = log(directory.path()).unwrap();
    assert_eq!((all(&writer.reader()), note(&writer, "vote")), (expected([]), b"mine".into()));
}

#[test]
fn entries_that_were_truncated_are_not_there_and_those_that_took_their_place_are() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = log(directory.path()).unwrap();
    append(&mut writer, 0..30);
    writer.write(&group(&[Record::Truncate(10), Record::Entry(10, b"another")])).unwrap();
    for _ in 0..2 {
        let mut found = expected(0..10);
        found.insert(10, b"another".into());
        assert_eq!(all(&writer.reader()), found);
        drop(writer);
        writer = log(directory.path()).unwrap();
    }
}

#[test]
fn a_last_group_that_nobody_was_promised_is_left_out_and_one_that_was_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = log(directory.path()).unwrap();
    append(&mut writer, 0..5);
    let (path, end) = (files(&directory.path().join("log")).pop().unwrap(), writer.end);
    let mut torn = fs::read(&path).unwrap();
    let told = fs::read(directory.path().join("log.generation")).unwrap();
    append(&mut writer, [5]);
    let whole = fs::read(&path).unwrap();
    drop(writer);
    torn[end..end + 100].copy_from_slice(&whole[end..end + 100]);
    fs::write(&path, &torn).unwrap();
    let error = log(directory.path()).err().unwrap();
    assert_eq!(error.code, Code::LogDamaged, "it was promised");
    fs::write(directory.path().join("log.generation"), told).unwrap();
    let mut writer = log(directory.path()).unwrap();
    assert_eq!(all(&writer.reader()), expected(0..5));
    append(&mut writer, 5..40);
    drop(writer);
    assert_eq!(all(&log(directory.path()).unwrap().reader()), expected(0..40));
}

#[test]
fn a_volume_that_is_missing_or_of_another_time_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = log(directory.path()).unwrap();
    append(&mut writer, 0..20);
    let early = fs::read(files(&directory.path().join("log")).pop().unwrap()).unwrap();
    append(&mut writer, 20..60);
    drop(writer);
    let paths = files(&directory.path().join("log"));
    for (number, path) in paths.iter().enumerate() {
        let bytes = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        let error = log(directory.path()).err().unwrap();
        assert_eq!(error.code, Code::LogDamaged, "without {number}");
        fs::write(path, &early).unwrap();
        if bytes != early {
            let error = log(directory.path()).err().unwrap();
            assert_eq!(error.code, Code::LogDamaged, "an early one at {number}");
        }
        fs::write(path, bytes).unwrap();
    }
    assert_eq!(all(&log(directory.path()).unwrap().reader()), expected(0..60));
    for path in paths {
        fs::remove_file(path).unwrap();
    }
    for _ in 0..2 {
        let error = log(directory.path()).err().unwrap();
        assert_eq!(error.code, Code::LogDamaged, "without any");
    }
}

#[test]
fn every_flipped_bit_is_damage_or_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = log(directory.path()).unwrap();
    writer.write(&group(&[Record::Note("vote", b"mine")])).unwrap();
    append(&mut writer, 0..14);
    drop(writer);
    let told = fs::read(directory.path().join("log.generation")).unwrap();
    for path in files(&directory.path().join("log")) {
        let good = fs::read(&path).unwrap();
        let written = good.iter().rposition(|byte| *byte != 0).unwrap() + 16;
        for at in 0..written.min(good.len()) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, bad).unwrap();
            match log(directory.path()) {
                Ok(writer) => {
                    assert_eq!(all(&writer.reader()), expected(0..14), "byte {at}");
                    assert_eq!(writer.reader().note("vote").unwrap(), b"mine");
                }
                Err(error) => assert_eq!(error.code, Code::LogDamaged, "byte {at}"),
            }
            fs::write(&path, &good).unwrap();
            fs::write(directory.path().join("log.generation"), &told).unwrap();
        }
    }
}

#[test]
fn a_reader_goes_on_while_volumes_are_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = log(directory.path()).unwrap();
    append(&mut writer, 0..40);
    let reader = writer.reader();
    let reading = std::thread::spawn(move || {
        for _ in 0..300 {
            for (index, bytes) in reader.entries(0..1000).unwrap() {
                assert_eq!(bytes, bytes_of(index));
            }
        }
    });
    for index in 40..140 {
        append(&mut writer, [index]);
        writer.write(&group(&[Record::Remove(index - 20)])).unwrap();
    }
    reading.join().unwrap();
}
