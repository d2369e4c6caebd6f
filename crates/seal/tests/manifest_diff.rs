//! Diff: the same answer as comparing everything with everything, for a fraction of the pages.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests may")]

#[allow(dead_code, reason = "each test binary uses its part")]
mod fixture;

use fixture::{Seeded, build, entry, paths, tree};
use holdfast_common::ContentHash;
use holdfast_seal::manifest::entry::{Entry, EntryKind};
use holdfast_seal::manifest::{Change, ChangeKind, diff, path};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn changes(old: &[Entry], new: &[Entry]) -> Vec<Change> {
    let ((old_root, old_pages), (new_root, new_pages)) = (build(old), build(new));
    let (old, new) = (old_pages.reader(old_root), new_pages.reader(new_root));
    diff(&old, &new).unwrap().map(Result::unwrap).collect()
}

/// Marks what the test did to a path; the expected answer is made from these marks alone.
fn edit(chance: &Seeded, entries: &[Entry], fresh: &[Vec<u8>]) -> (Vec<Entry>, Vec<Change>) {
    let (mut after, mut expected) = (Vec::new(), Vec::new());
    let mut note = |path: &[u8], change| expected.push(Change { path: path.to_vec(), change });
    for entry in entries {
        let mut entry = entry.clone();
        match chance.below(30) {
            0 => {
                note(&entry.path, ChangeKind::Removed);
                continue;
            }
            1 => {
                note(&entry.path, ChangeKind::Metadata);
                entry.uid += 1;
            }
            2 => {
                note(&entry.path, ChangeKind::Content);
                entry.size += 1;
                entry.mtime_ns ^= 1;
            }
            3 => entry.ctime_ns += 1,
            _ => {}
        }
        after.push(entry);
    }
    let known: BTreeMap<&[u8], ()> = entries.iter().map(|e| (e.path.as_slice(), ())).collect();
    for path in fresh.iter().filter(|path| !known.contains_key(path.as_slice())) {
        note(path, ChangeKind::Added);
        after.push(entry(chance, path));
    }
    after.sort_by(|a, b| path::order(&a.path, &b.path));
    expected.sort_by(|a, b| path::order(&a.path, &b.path));
    (after, expected)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_diff_equals_what_was_done(
        seed: u64, count in 0usize..700, cutters in 0usize..60, added in 0usize..40,
    ) {
        let chance = Seeded::new(seed ^ 3);
        let old = tree(seed, count, cutters);
        let fresh = paths(seed ^ 4, added, cutters);
        let (new, expected) = edit(&chance, &old, &fresh);
        prop_assert_eq!(changes(&old, &new), expected);
        prop_assert_eq!(changes(&new, &new), vec![]);
    }

    #[test]
    fn from_nothing_all_is_added_and_to_nothing_all_is_removed(seed: u64, count in 0usize..300) {
        let tree = tree(seed, count, 20);
        let all = |change| -> Vec<Change> {
            tree.iter().map(|e| Change { path: e.path.to_vec(), change }).collect()
        };
        prop_assert_eq!(changes(&[], &tree), all(ChangeKind::Added));
        prop_assert_eq!(changes(&tree, &[]), all(ChangeKind::Removed));
    }
}

#[test]
fn shared_subtrees_are_not_read() {
    let old = tree(11, 20_000, 3);
    let mut new = old.clone();
    let middle = new.len() / 2;
    new[middle].mode ^= 1;
    new.remove(middle / 2);
    let extra = [new[middle].path.as_slice(), b"/zz"].concat();
    let at = new.partition_point(|e| path::order(&e.path, &extra).is_lt());
    new.insert(at, entry(&Seeded::new(1), &extra));
    let ((old_root, old_pages), (new_root, new_pages)) = (build(&old), build(&new));
    let changes = diff(&old_pages.reader(old_root), &new_pages.reader(new_root)).unwrap().count();
    assert_eq!(changes, 3);
    let (total, read) = (old_pages.pages.len(), old_pages.reads());
    assert!(total > 400, "{total}");
    assert!(read < 30, "{read} of {total} pages were read");
    assert!(new_pages.reads() < 30);
}

#[test]
fn each_field_is_content_metadata_or_neither() {
    let chance = Seeded::new(5);
    let mut file = entry(&chance, b"/f");
    while file.kind != EntryKind::File || file.hardlink_group.is_some() {
        file = entry(&chance, b"/f");
    }
    let changed = |edit: &dyn Fn(&mut Entry)| {
        let mut new = file.clone();
        edit(&mut new);
        changes(&[file.clone()], &[new]).first().map(|change| change.change)
    };
    let hash = ContentHash::from_bytes([9; 32]);
    let content = Some(ChangeKind::Content);
    assert_eq!(changed(&|e| e.content.as_mut().unwrap().hash = hash), content);
    assert_eq!(changed(&|e| e.kind = EntryKind::Fifo), content);
    assert_eq!(changed(&|e| e.content = None), content);
    assert_eq!(changed(&|e| e.link_target = Some(b"x".to_vec().into())), content);
    let metadata = Some(ChangeKind::Metadata);
    assert_eq!(changed(&|e| e.mode ^= 1), metadata);
    assert_eq!(changed(&|e| e.mtime_ns ^= 1), metadata);
    assert_eq!(changed(&|e| e.group = Some("x".into())), metadata);
    assert_eq!(changed(&|e| e.xattrs = Some(vec![])), metadata);
    assert_eq!(changed(&|e| e.hardlink_group = Some(1)), metadata);
    assert_eq!(changed(&|e| e.inode = None), None);
    assert_eq!(changed(&|e| e.ctime_ns = 5), None);
    assert_eq!(changed(&|e| e.flags = Some(1)), None);
    assert_eq!(changed(&|e| e.content.as_mut().unwrap().chunks = Some(vec![])), None);
}

#[test]
fn a_hard_link_that_becomes_the_first_of_its_group_has_not_changed() {
    let chance = Seeded::new(6);
    let mut first = entry(&chance, b"/a");
    while first.kind != EntryKind::File {
        first = entry(&chance, b"/a");
    }
    first.hardlink_group = Some(1);
    let second = Entry { path: b"/b".to_vec().into(), content: None, ..first.clone() };
    let alone = Entry { path: b"/b".to_vec().into(), hardlink_group: Some(7), ..first.clone() };
    let removed = Change { path: b"/a".to_vec(), change: ChangeKind::Removed };
    assert_eq!(changes(&[first, second], &[alone]), [removed]);
}
