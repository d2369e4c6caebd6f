//! Manifests: what was built is what is read, by every way of reading; an edit changes little.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests may")]

#[allow(dead_code, reason = "each test binary uses its part")]
mod fixture;

use fixture::{Pages, Seeded, build, chunk, entry, ids, paths, tree};
use holdfast_common::{ChunkId, ChunkKind, Code, ContentHash, limits};
use holdfast_seal::manifest::entry::{ChunkRef, Content, Entry, Profile};
use holdfast_seal::manifest::page::Page;
use holdfast_seal::manifest::{ChunkList, ChunkTable, PageRef, path};
use holdfast_seal::{ManifestBuilder, ManifestReader, PageSource, PlainChunk};
use proptest::prelude::*;
use std::cmp::Ordering;
use std::collections::HashSet;

fn read(entries: impl Iterator<Item = holdfast_common::Result<Entry>>) -> Vec<Entry> {
    entries.map(Result::unwrap).collect()
}

fn kept(entries: &[Entry], keep: impl Fn(&[u8]) -> bool) -> Vec<Entry> {
    entries.iter().filter(|entry| keep(&entry.path)).cloned().collect()
}

/// What a directory lists, by the definition: one more part, and nothing after it.
fn is_child(dir: &[u8], path: &[u8]) -> bool {
    let parent = &path[..path.iter().rposition(|b| *b == b'/').unwrap()];
    path != b"/" && parent == dir.strip_suffix(b"/").unwrap_or(dir)
}

/// What a directory holds, by the definition, whole and from any of them on.
fn names_are_as_defined(
    reader: &ManifestReader<'_>,
    entries: &[Entry],
    top: &[u8],
    pick: prop::sample::Index,
) {
    let below = entries.iter().filter(|entry| path::is_below(top, &entry.path));
    let mut expected: Vec<Vec<u8>> =
        below.map(|entry| path::child(top, &entry.path).to_vec()).collect();
    expected.dedup();
    let whole: Vec<_> = reader.names(top, None).unwrap().map(Result::unwrap).collect();
    let paths: Vec<_> = whole.iter().map(|name| name.path.clone()).collect();
    assert_eq!(paths, expected);
    for name in &whole {
        let entry = entries.iter().find(|entry| entry.path.as_slice() == name.path);
        assert_eq!(name.entry.as_ref(), entry);
    }
    if !whole.is_empty() {
        let at = pick.index(whole.len());
        let rest = reader.names(top, Some(&whole[at].path)).unwrap().map(Result::unwrap);
        assert_eq!(rest.collect::<Vec<_>>(), whole[at + 1..]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_was_built_is_read(seed: u64, count in 0usize..1500, cutters in 0usize..30) {
        let entries = tree(seed, count, cutters);
        let (root, pages) = build(&entries);
        prop_assert_eq!(root.entries, entries.len() as u64);
        prop_assert_eq!(root.bytes, entries.iter().map(Entry::content_bytes).sum::<u64>());
        prop_assert_eq!(read(pages.reader(root).entries().unwrap()), entries);
        for page in pages.pages.values() {
            prop_assert!(page.len() <= limits::PAGE_BYTES_MAX);
            prop_assert_eq!(&Page::parse(page).unwrap().to_bytes(), page);
        }
    }

    #[test]
    fn every_path_is_found_and_no_other(seed: u64, count in 1usize..600, cutters in 0usize..40) {
        let entries = tree(seed, count, cutters);
        let (root, pages) = build(&entries);
        let reader = pages.reader(root);
        for entry in &entries {
            let before = pages.reads();
            let found = reader.get(&entry.path).unwrap();
            prop_assert_eq!(found.as_ref(), Some(entry));
            prop_assert!(pages.reads() - before <= root.height as usize);
            let absent = [entry.path.as_slice(), b"\x01"].concat();
            let expected = entries.iter().find(|other| other.path.as_slice() == absent);
            let found = reader.get(&absent).unwrap();
            prop_assert_eq!(found.as_ref(), expected);
        }
    }

    #[test]
    fn listing_subtrees_and_starting_points_equal_a_filter(
        seed: u64, count in 1usize..600, cutters in 0usize..40, pick: prop::sample::Index,
    ) {
        // Some directories of the tree are not entries themselves: drop a part of them.
        let chance = Seeded::new(seed ^ 1);
        let mut entries = tree(seed, count, cutters);
        entries.retain(|_| chance.below(10) > 0);
        let all = paths(seed, count, cutters);
        let (root, pages) = build(&entries);
        let reader = pages.reader(root);
        let picked = all[pick.index(all.len())].clone();
        for top in [b"/".to_vec(), picked.clone(), [&picked, b"/x".as_slice()].concat()] {
            let children = kept(&entries, |path| is_child(&top, path));
            prop_assert_eq!(read(reader.list(&top).unwrap()), children);
            names_are_as_defined(&reader, &entries, &top, pick);
            let below = kept(&entries, |path| path == top || path::is_below(&top, path));
            prop_assert_eq!(read(reader.subtree(&top).unwrap()), below);
            let rest = kept(&entries, |path| path::order(path, &top) != Ordering::Less);
            prop_assert_eq!(read(reader.entries_from(&top).unwrap()), rest);
        }
    }

    #[test]
    fn an_edit_changes_the_pages_on_its_path_and_no_others(
        seed: u64, count in 1usize..1000, cutters in 0usize..40, pick: prop::sample::Index,
    ) {
        let mut entries = tree(seed, count, cutters);
        let (root, pages) = build(&entries);
        let picked = pick.index(entries.len());
        entries[picked].mtime_ns ^= 1;
        let (edited, after) = build(&entries);
        let fresh = after.pages.keys().filter(|id| !pages.pages.contains_key(*id)).count();
        prop_assert_eq!(fresh, root.height as usize);
        prop_assert_eq!(edited.height, root.height);
        prop_assert_eq!(after.pages.len(), pages.pages.len());
    }

    #[test]
    fn pages_come_level_by_level_in_order(seed: u64, count in 0usize..800, cutters in 0usize..50) {
        let (root, pages) = build(&tree(seed, count, cutters));
        let listed: Vec<PageRef> =
            pages.reader(root).pages().unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(listed[0], PageRef { id: root.page, height: root.height });
        prop_assert!(listed.windows(2).all(|pair| pair[0].height >= pair[1].height));
        let ids: HashSet<ChunkId> = listed.iter().map(|page| page.id).collect();
        prop_assert_eq!(ids, pages.pages.keys().copied().collect::<HashSet<_>>());
        let leaves = listed.iter().filter(|page| page.height == 1);
        let entries: usize = leaves.map(|leaf| {
            let Page::Leaf(rows) = Page::parse(&pages.page(&leaf.id).unwrap()).unwrap() else {
                panic!("no leaf at height 1");
            };
            rows.len()
        }).sum();
        prop_assert_eq!(entries as u64, root.entries);
    }
}

#[test]
fn a_manifest_of_cutting_paths_is_high_and_still_ends() {
    let entries = tree(5, 400, 100);
    let (root, pages) = build(&entries);
    assert!(root.height >= 8, "{}", root.height);
    assert!(root.height <= limits::MANIFEST_HEIGHT_MAX);
    assert_eq!(read(pages.reader(root).entries().unwrap()), entries);
}

#[test]
fn a_first_path_that_ends_its_page_does_not_raise_a_level_for_ever() {
    let mut byte = 0u32;
    let ids = loop {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&byte.to_le_bytes());
        let ids =
            holdfast_keyring::id_key::IdKey::from_secret(holdfast_common::Secret::take(&mut key));
        if ids.page_cut_hash(b"/") & 511 == 0 {
            break ids;
        }
        byte += 1;
    };
    let (mut pages, chance) = (Pages::default(), Seeded::new(1));
    let mut sink = |page| {
        pages.keep(page);
        Ok(())
    };
    let mut builder = ManifestBuilder::new(&ids);
    for path in ["/", "/a", "/b"] {
        builder.push(entry(&chance, path.as_bytes()), &mut sink).unwrap();
    }
    let root = builder.finish(&mut sink).unwrap();
    assert_eq!((root.height, root.entries), (2, 3));
    assert_eq!(pages.pages.len(), 3);
}

#[test]
fn an_empty_manifest_is_one_empty_leaf() {
    let (root, pages) = build(&[]);
    assert_eq!((root.height, root.entries, root.bytes), (1, 0, 0));
    assert_eq!(pages.pages[&root.page], [1, 1]);
    let reader = pages.reader(root);
    assert_eq!(reader.entries().unwrap().count(), 0);
    assert_eq!(reader.list(b"/").unwrap().count(), 0);
    assert_eq!(reader.get(b"/").unwrap(), None);
}

#[test]
fn entries_out_of_order_twice_or_impossible_are_refused() {
    let (ids, chance) = (ids(), Seeded::new(1));
    let mut sink = |_| Ok(());
    let mut builder = ManifestBuilder::new(&ids);
    let mut push = |entry| builder.push(entry, &mut sink).map_err(|error| error.code);
    push(entry(&chance, b"/b")).unwrap();
    for path in [b"/b".as_slice(), b"/a", b"/", b"/c/", b"/c/../d", b"c", b""] {
        assert_eq!(push(entry(&chance, path)), Err(Code::InternalBug), "{path:?}");
    }
    push(entry(&chance, b"/b/x")).unwrap();
    push(entry(&chance, b"/b!")).unwrap();
    let content = |chunks, lists| Content {
        profile: Profile::Whole,
        hash: ContentHash::from_bytes([0; 32]),
        chunks,
        lists,
        ranges: None,
    };
    let none = ChunkRef { length: 0, ..chunk(&chance) };
    for bad in
        [content(None, None), content(Some(vec![]), Some(vec![])), content(Some(vec![none]), None)]
    {
        let bad = Entry { content: Some(bad), ..entry(&chance, b"/c") };
        assert_eq!(push(bad), Err(Code::InternalBug));
    }
    assert_eq!(push(Entry { mode: 0o10000, ..entry(&chance, b"/c") }), Err(Code::InternalBug));
    let large = Entry {
        link_target: Some(vec![b'x'; limits::ENTRY_BYTES_MAX].into()),
        ..entry(&chance, b"/c")
    };
    assert_eq!(push(large), Err(Code::LimitExceeded));
    push(entry(&chance, b"/c")).unwrap();
}

#[test]
fn long_chunk_lists_move_to_pages_of_their_own() {
    let chance = Seeded::new(8);
    for count in [0usize, 1, 4096, 4097, 10_000] {
        let chunks: Vec<ChunkRef> = (0..count).map(|_| chunk(&chance)).collect();
        let mut long = entry(&chance, b"/long");
        long.content = Some(Content {
            profile: Profile::Fixed,
            hash: ContentHash::from_bytes([1; 32]),
            chunks: Some(chunks.clone()),
            lists: None,
            ranges: None,
        });
        let (root, pages) = build(&[long.clone()]);
        let reader = pages.reader(root);
        let stored = reader.get(b"/long").unwrap().unwrap();
        let content = stored.content.as_ref().unwrap();
        let expected: u64 = chunks.iter().map(|chunk| u64::from(chunk.length)).sum();
        assert_eq!((stored.content_bytes(), root.bytes), (expected, expected));
        let read: Vec<ChunkRef> = reader.chunks(content).map(Result::unwrap).collect();
        assert_eq!(read, chunks);
        match count {
            0..=4096 => assert_eq!(stored, long),
            _ => {
                let lists = content.lists.as_ref().unwrap();
                assert_eq!(content.chunks, None);
                assert_eq!(lists.len(), count.div_ceil(4096));
                assert!(lists[..lists.len() - 1].iter().all(|list| list.chunks == 4096));
            }
        }
    }
}

#[test]
fn a_growing_chunk_list_gives_the_same_pages_as_a_whole_one() {
    let (ids, chance) = (ids(), Seeded::new(8));
    let mut sent: Vec<PlainChunk> = Vec::new();
    let mut list = ChunkList::new();
    for _ in 0..9000 {
        let mut sink = |page| {
            sent.push(page);
            Ok(())
        };
        list.push(chunk(&chance), &ids, &mut sink).unwrap();
    }
    assert_eq!(sent.len(), 2, "full pages leave at once");
    let mut sink = |page| {
        sent.push(page);
        Ok(())
    };
    let ChunkTable::Pages(lists) = list.finish(&ids, &mut sink).unwrap() else { panic!("inline") };
    assert_eq!(lists.iter().map(|list| list.chunks).collect::<Vec<_>>(), [4096, 4096, 808]);
    assert!(sent.iter().zip(&lists).all(|(page, list)| page.id == list.page));
    assert!(sent.iter().all(|page| page.kind == ChunkKind::Page));
}

#[test]
fn a_failing_sink_fails_the_build() {
    let (ids, chance) = (ids(), Seeded::new(1));
    let mut builder = ManifestBuilder::new(&ids);
    builder.push(entry(&chance, b"/"), &mut |_| Ok(())).unwrap();
    let full = || holdfast_common::Error::new(Code::DiskFull, "full");
    assert_eq!(builder.finish(&mut |_| Err(full())).unwrap_err().code, Code::DiskFull);
}

#[test]
fn pages_of_long_paths_stay_within_their_bound() {
    let chance = Seeded::new(4);
    let long = |n: usize| [format!("/{n:05}").as_bytes(), &[b'x'; 60_000]].concat();
    let entries: Vec<Entry> = (0..300).map(|n| entry(&chance, &long(n))).collect();
    let (root, pages) = build(&entries);
    assert!(pages.pages.values().all(|page| page.len() <= limits::PAGE_BYTES_MAX));
    assert!(pages.pages.len() < 14, "pages are filled: {}", pages.pages.len());
    assert_eq!(read(pages.reader(root).entries().unwrap()), entries);
}

#[test]
fn readers_and_builders_may_move_between_threads() {
    fn is_send<T: Send>() {}
    fn is_sync<T: Sync>() {}
    is_send::<ManifestReader<'_>>();
    is_sync::<ManifestReader<'_>>();
    is_send::<holdfast_seal::manifest::read::Entries<'_>>();
    is_send::<ManifestBuilder<'_>>();
    is_send::<holdfast_seal::Sealer>();
    is_send::<holdfast_seal::Opener>();
}
