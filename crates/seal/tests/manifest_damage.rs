//! Damage: a page that is not what was built gives an error of the manifest, never other entries.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests may")]

#[allow(dead_code, reason = "each test binary uses its part")]
mod fixture;

use fixture::{Pages, Seeded, build, chunk, tree};
use holdfast_common::{ChunkId, Code, ContentHash, Error, limits};
use holdfast_seal::Root;
use holdfast_seal::manifest::entry::{Content, Entry, Profile};
use holdfast_seal::manifest::page::{Page, Row};
use proptest::prelude::*;

/// Every way of reading, up to its first error.
fn read_all(pages: &Pages, root: Root) -> Result<Vec<Entry>, Error> {
    let reader = pages.reader(root);
    reader.pages()?.collect::<Result<Vec<_>, _>>()?;
    reader.list(b"/")?.collect::<Result<Vec<_>, _>>()?;
    let entries = reader.entries()?.collect::<Result<Vec<_>, _>>()?;
    for entry in &entries {
        for chunk in entry.content.iter().flat_map(|content| reader.chunks(content)) {
            chunk?;
        }
    }
    Ok(entries)
}

fn with(pages: &Pages, id: ChunkId, bytes: Vec<u8>) -> Pages {
    let mut damaged = Pages { pages: pages.pages.clone(), ..Pages::default() };
    damaged.pages.insert(id, bytes);
    damaged
}

/// All page ids, so that picks do not depend on the order of a hash map.
fn sorted_ids(pages: &Pages) -> Vec<ChunkId> {
    let mut ids: Vec<ChunkId> = pages.pages.keys().copied().collect();
    ids.sort_unstable();
    ids
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_truncated_or_swapped_page_is_damage(
        seed: u64, count in 2usize..400, pick: prop::sample::Index, other: prop::sample::Index,
        cut: prop::sample::Index,
    ) {
        let (root, pages) = build(&tree(seed, count, 20));
        let ids = sorted_ids(&pages);
        let (id, other) = (ids[pick.index(ids.len())], ids[other.index(ids.len())]);
        let bytes = &pages.pages[&id];
        let truncated = with(&pages, id, bytes[..cut.index(bytes.len())].to_vec());
        let refused = read_all(&truncated, root).unwrap_err();
        prop_assert_eq!(refused.code, Code::ManifestDamaged);
        let swapped = with(&pages, id, pages.pages[&other].clone());
        match read_all(&swapped, root) {
            Ok(_) => prop_assert_eq!(id, other),
            Err(refused) => prop_assert_eq!(refused.code, Code::ManifestDamaged),
        }
    }

    /// Below the seal's authentication a flip may still give a manifest: another mode, say. It must
    /// never give a panic, another order or another number of entries.
    #[test]
    fn a_flipped_bit_never_breaks_the_order(
        seed: u64, count in 1usize..100, pick: prop::sample::Index, at: prop::sample::Index,
        bit in 0u8..8,
    ) {
        let (root, pages) = build(&tree(seed, count, 20));
        let ids = sorted_ids(&pages);
        let id = ids[pick.index(ids.len())];
        let mut bytes = pages.pages[&id].clone();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        match read_all(&with(&pages, id, bytes), root) {
            Ok(entries) => {
                prop_assert_eq!(entries.len() as u64, root.entries);
                prop_assert!(at >= 2, "version and type are always checked");
            }
            Err(refused) => prop_assert!(
                matches!(refused.code, Code::ManifestDamaged | Code::ChunkMissing),
                "{}", refused
            ),
        }
    }

    #[test]
    fn parsing_arbitrary_bytes_never_panics(
        kind in 0u8..5, rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = [&[1, kind], rest.as_slice()].concat();
        let _either = Page::parse(&bytes);
        let _either = Page::parse(&rest);
        let _either = holdfast_common::record::from_bytes::<Entry>("entry", &rest);
    }
}

#[test]
fn a_root_that_lies_is_damage() {
    let (root, pages) = build(&tree(1, 500, 10));
    assert!(root.height > 1);
    for lie in [
        Root { height: root.height + 1, ..root },
        Root { height: root.height - 1, ..root },
        Root { height: 0, ..root },
        Root { height: u32::MAX, ..root },
        Root { entries: root.entries + 1, ..root },
        Root { bytes: root.bytes + 1, ..root },
    ] {
        assert_eq!(read_all(&pages, lie).unwrap_err().code, Code::ManifestDamaged, "{lie:?}");
    }
    assert!(read_all(&pages, root).is_ok());
}

/// Pages that are each well formed, with the right counts, and contradict each other.
#[test]
fn pages_that_overlap_or_begin_elsewhere_are_damage() {
    let template = Entry { content: None, ..tree(1, 1, 0).remove(0) };
    let leaf = |paths: &[&str]| {
        let named =
            |path: &&str| Entry { path: path.as_bytes().to_vec().into(), ..template.clone() };
        Page::Leaf(paths.iter().map(named).collect()).to_bytes()
    };
    let row = |first: &str, page, entries| Row {
        first: first.as_bytes().to_vec().into(),
        page,
        entries,
        bytes: 0,
    };
    let [a, b, top] = [1, 2, 3].map(|byte| ChunkId::from_bytes([byte; 32]));
    let root = Root { page: top, height: 2, entries: 4, bytes: 0 };
    let read = |left: &[&str], right: &[&str]| {
        let mut pages = Pages::default();
        pages.pages.insert(a, leaf(left));
        pages.pages.insert(b, leaf(right));
        let rows = vec![row("/a", a, 2), row("/c", b, 2)];
        pages.pages.insert(top, Page::Branch(rows).to_bytes());
        read_all(&pages, root).map(|entries| entries.len()).map_err(|error| error.code)
    };
    assert_eq!(read(&["/a", "/b"], &["/c", "/d"]), Ok(4));
    assert_eq!(read(&["/a", "/d"], &["/c", "/d"]), Err(Code::ManifestDamaged), "overlap");
    assert_eq!(read(&["/a", "/c"], &["/c", "/d"]), Err(Code::ManifestDamaged), "twice");
    assert_eq!(read(&["/aa", "/b"], &["/c", "/d"]), Err(Code::ManifestDamaged), "begins later");
    assert_eq!(read(&["/a", "/b"], &["/b", "/d"]), Err(Code::ManifestDamaged), "begins earlier");
    assert_eq!(read(&["/a"], &["/c", "/d", "/e"]), Err(Code::ManifestDamaged), "other counts");
}

#[test]
fn a_missing_page_is_named_missing_and_ends_the_reading() {
    let (root, mut pages) = build(&tree(2, 500, 10));
    let second = pages.reader(root).pages().unwrap().map(Result::unwrap);
    let leaf = second.filter(|page| page.height == 1).nth(1).unwrap();
    pages.pages.remove(&leaf.id);
    let mut entries = pages.reader(root).entries().unwrap();
    let error = entries.by_ref().find_map(Result::err).unwrap();
    assert_eq!(error.code, Code::ChunkMissing);
    assert!(entries.next().is_none(), "nothing comes after an error");
}

#[test]
fn rows_out_of_order_repeated_or_impossible_are_not_parsed() {
    let (root, pages) = build(&tree(3, 60, 30));
    let Page::Branch(rows) = Page::parse(&pages.pages[&root.page]).unwrap() else {
        panic!("the root is a leaf")
    };
    let with = |edit: &dyn Fn(&mut Vec<_>)| {
        let mut rows = rows.clone();
        edit(&mut rows);
        Page::parse(&Page::Branch(rows).to_bytes())
    };
    assert!(with(&|_| ()).is_ok());
    assert!(with(&|rows| rows.reverse()).is_err());
    assert!(with(&|rows| rows[1].first = rows[0].first.clone()).is_err());
    assert!(with(&|rows| rows[0].entries = 0).is_err());
    assert!(with(&|rows| rows[0].first = b"relative".to_vec().into()).is_err());
    assert!(with(&|rows| rows.clear()).is_err());
    assert!(Page::parse(&[1, 3]).is_err(), "an empty chunk list");
    assert!(Page::parse(&[]).is_err() && Page::parse(&[2, 1]).is_err());
    let huge = [&[1, 1], vec![0; limits::PAGE_BYTES_MAX].as_slice()].concat();
    assert_eq!(Page::parse(&huge).unwrap_err(), "it is longer than pages may be");
}

#[test]
fn a_wrong_chunk_list_page_is_damage() {
    let chance = Seeded::new(8);
    let mut long = tree(4, 3, 0).remove(1);
    long.content = Some(Content {
        profile: Profile::Fixed,
        hash: ContentHash::from_bytes([1; 32]),
        chunks: Some((0..9000).map(|_| chunk(&chance)).collect()),
        lists: None,
        ranges: None,
    });
    let (root, pages) = build(&[long]);
    let entry = pages.reader(root).entries().unwrap().next().unwrap().unwrap();
    let lists = entry.content.unwrap().lists.unwrap();
    let (first, second, last) = (lists[0].page, lists[1].page, lists[2].page);
    assert!(read_all(&pages, root).is_ok());
    for (id, bytes) in [
        (first, pages.pages[&last].clone()),
        (first, pages.pages[&second].clone()),
        (first, pages.pages[&root.page].clone()),
        (first, pages.pages[&first][..500].to_vec()),
    ] {
        let refused = read_all(&with(&pages, id, bytes), root).unwrap_err();
        assert_eq!(refused.code, Code::ManifestDamaged);
    }
}
