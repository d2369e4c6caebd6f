//! Manifest pages, whole trees of them, and the difference of two trees.
//!
//! A tree comes as `height ‖ entries ‖ bytes`, then pages as `id ‖ length ‖ page`; the first one is
//! the root. Ids are taken at their word here, so that every lie about pages can be told. Readers
//! must end, stay in order, and agree with each other.

use crate::{
    Dice, Refused,
    examples::{dice, ids, unhex},
};
use holdfast_agent::pipeline::parse_skipped;
use holdfast_common::{ChunkId, Code, ContentHash, Error, Result};
use holdfast_seal::{
    ManifestBuilder, ManifestReader, PageSource, PlainChunk, Root,
    manifest::{
        diff,
        entry::{ChunkRef, Content, Entry, EntryKind, Profile},
        page::Page,
        path,
    },
};
use std::{cmp::Ordering, collections::HashMap};

const LEAF: &str = include_str!("../../../crates/seal/tests/golden/page-leaf.hex");
const BRANCH: &str = include_str!("../../../crates/seal/tests/golden/page-branch.hex");
const LIST: &str = include_str!("../../../crates/seal/tests/golden/page-list.hex");
/// No page is read so often by one walk, whatever its pages say.
const ENTRIES_MAX: usize = 1 << 16;

pub fn page(bytes: &[u8]) -> core::result::Result<(), Refused> {
    let page = Page::parse(bytes)?;
    let again = page.to_bytes();
    assert!(Page::parse(&again)? == page, "a page says the same when it is written anew");
    Ok(())
}

pub fn skipped_page(bytes: &[u8]) -> core::result::Result<(), Refused> {
    let rows = parse_skipped(bytes)?;
    assert!(rows.len() <= bytes.len());
    Ok(())
}

pub fn tree(bytes: &[u8]) -> core::result::Result<(), Refused> {
    let (root, pages) = pages_of(bytes).ok_or(Refused)?;
    read_all_ways(&ManifestReader::new(&pages, root))?;
    Ok(())
}

/// Two trees over the same pages: the second root is the second page.
pub fn tree_pair(bytes: &[u8]) -> core::result::Result<(), Refused> {
    let (root, pages) = pages_of(bytes).ok_or(Refused)?;
    let second = Root { page: *pages.order.get(1).ok_or(Refused)?, ..root };
    let (old, new) = (ManifestReader::new(&pages, root), ManifestReader::new(&pages, second));
    let none = diff(&old, &old)?.take(ENTRIES_MAX).find(Result::is_ok);
    assert!(none.is_none(), "a tree does not differ from itself");
    for change in diff(&old, &new)?.take(ENTRIES_MAX) {
        change?;
    }
    Ok(())
}

fn read_all_ways(reader: &ManifestReader<'_>) -> Result<()> {
    let mut last: Option<Vec<u8>> = None;
    let mut count = 0;
    let mut damage = None;
    for entry in reader.entries()? {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                damage = Some(error);
                break;
            }
        };
        let before = last.replace(entry.path.to_vec());
        let ascends = before.is_none_or(|before| path::order(&before, &entry.path).is_lt());
        assert!(ascends && path::check(&entry.path).is_ok(), "entries ascend");
        let found = reader.get(&entry.path)?.expect("what is listed is found");
        assert!(found == entry);
        if let Some(content) = &entry.content {
            reader.chunks(content).take(ENTRIES_MAX).try_for_each(|chunk| chunk.map(drop))?;
        }
        count += 1;
        assert!(count < ENTRIES_MAX, "a walk ends");
    }
    reader.pages()?.take(ENTRIES_MAX).try_for_each(|page| page.map(drop))?;
    for dir in [&b"/"[..], b"/d", last.as_deref().unwrap_or_default()] {
        reader.list(dir)?.take(ENTRIES_MAX).try_for_each(|entry| entry.map(drop))?;
        reader.subtree(dir)?.take(ENTRIES_MAX).try_for_each(|entry| entry.map(drop))?;
    }
    damage.map_or(Ok(()), Err)
}

#[derive(Default)]
struct Pages {
    order: Vec<ChunkId>,
    bytes: HashMap<ChunkId, Vec<u8>>,
}

impl PageSource for Pages {
    fn page(&self, id: &ChunkId) -> Result<Vec<u8>> {
        self.bytes.get(id).cloned().ok_or_else(|| Error::new(Code::ChunkMissing, "no such page"))
    }
}

fn pages_of(bytes: &[u8]) -> Option<(Root, Pages)> {
    let (height, rest) = bytes.split_first()?;
    let (entries, rest) = rest.split_first_chunk::<8>()?;
    let (content, mut rest) = rest.split_first_chunk::<8>()?;
    let mut pages = Pages::default();
    while let Some((id, tail)) = rest.split_first_chunk::<32>() {
        let (length, tail) = tail.split_first_chunk::<2>()?;
        let (page, tail) = tail.split_at_checked(u16::from_le_bytes(*length).into())?;
        pages.order.push(ChunkId::from_bytes(*id));
        pages.bytes.insert(ChunkId::from_bytes(*id), page.to_vec());
        rest = tail;
    }
    let root = Root {
        page: *pages.order.first()?,
        height: (*height).into(),
        entries: u64::from_le_bytes(*entries),
        bytes: u64::from_le_bytes(*content),
    };
    Some((root, pages))
}

/// The root first, then `second` if it is there, then whatever else.
fn bytes_of(root: &Root, second: Option<ChunkId>, pages: &HashMap<ChunkId, Vec<u8>>) -> Vec<u8> {
    let mut out = vec![root.height as u8];
    out.extend_from_slice(&root.entries.to_le_bytes());
    out.extend_from_slice(&root.bytes.to_le_bytes());
    let first = [Some(root.page), second];
    let mut others: Vec<ChunkId> = pages.keys().copied().collect();
    others.sort_unstable();
    others.retain(|id| !first.contains(&Some(*id)));
    for id in first.into_iter().flatten().chain(others) {
        let page = &pages[&id];
        out.extend_from_slice(id.as_bytes());
        out.extend_from_slice(&u16::try_from(page.len()).unwrap().to_le_bytes());
        out.extend_from_slice(page);
    }
    out
}

fn entry(path: Vec<u8>, seed: u8) -> Entry {
    let is_file = seed != 0;
    let chunk = ChunkRef { id: ChunkId::from_bytes([seed; 32]), length: 9 };
    Entry {
        path: path.into(),
        kind: if is_file { EntryKind::File } else { EntryKind::Directory },
        mode: 0o644,
        uid: 0,
        gid: 0,
        user: None,
        group: None,
        mtime_ns: 1,
        ctime_ns: 2,
        size: if is_file { chunk.length.into() } else { 0 },
        xattrs: None,
        link_target: None,
        device: None,
        hardlink_group: None,
        inode: None,
        content: is_file.then(|| Content {
            profile: Profile::Whole,
            hash: ContentHash::from_bytes([seed; 32]),
            chunks: Some(vec![chunk]),
            lists: None,
            ranges: None,
        }),
        flags: None,
    }
}

/// Names that end their page, so that few of them make a high tree.
fn cutting_name(chance: &Dice) -> Vec<u8> {
    loop {
        let name = format!("/d/{:x}", chance.word()).into_bytes();
        if ids().page_cut_hash(&name) & 511 == 0 {
            return name;
        }
    }
}

fn built(count: usize, touched: Option<usize>, pages: &mut HashMap<ChunkId, Vec<u8>>) -> Root {
    let chance = dice();
    let mut paths: Vec<Vec<u8>> = (0..count).map(|_| cutting_name(&chance)).collect();
    paths.extend([b"/".to_vec(), b"/d".to_vec()]);
    paths.sort_by(|a, b| path::order(a, b));
    paths.dedup_by(|a, b| path::order(a, b) == Ordering::Equal);
    let ids = ids();
    let mut sink = |page: PlainChunk| {
        pages.insert(page.id, page.bytes.to_vec());
        Ok(())
    };
    let mut builder = ManifestBuilder::new(&ids);
    for (number, path) in paths.into_iter().enumerate() {
        let seed = if path.len() < 3 { 0 } else { 7 + u8::from(touched == Some(number)) };
        builder.push(entry(path, seed), &mut sink).unwrap();
    }
    builder.finish(&mut sink).unwrap()
}

pub fn pages() -> Vec<Vec<u8>> {
    [LEAF, BRANCH, LIST].map(unhex).to_vec()
}

pub fn skipped_pages() -> Vec<Vec<u8>> {
    let mut page = vec![1, 4];
    for (path, code) in [(&b"/a\xff"[..], "file.missing"), (b"/b", "unknown.code")] {
        page.extend(
            minicbor::to_vec((minicbor::bytes::ByteVec::from(path.to_vec()), code)).unwrap(),
        );
    }
    vec![page]
}

pub fn trees() -> Vec<Vec<u8>> {
    [0, 3, 20]
        .map(|count| {
            let mut pages = HashMap::new();
            let root = built(count, None, &mut pages);
            bytes_of(&root, None, &pages)
        })
        .to_vec()
}

pub fn tree_pairs() -> Vec<Vec<u8>> {
    [(3, 3), (20, 9)]
        .map(|(count, touched)| {
            let mut pages = HashMap::new();
            let root = built(count, None, &mut pages);
            let other = built(count, Some(touched), &mut pages);
            assert_eq!(Root { page: other.page, ..root }, other);
            bytes_of(&root, Some(other.page), &pages)
        })
        .to_vec()
}
