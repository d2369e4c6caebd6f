//! Frozen bytes of format §6 and §7. A golden file is never edited: a form that changes gets a new
//! version and a new file beside the old one, which must decode for ever.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests may")]

#[allow(dead_code, reason = "each test binary uses its part")]
mod fixture;

use fixture::{Seeded, VAULT, data_key, gear, ids};
use holdfast_common::record::{from_bytes, to_bytes};
use holdfast_common::{ChunkId, ChunkKind, ContentHash};
use holdfast_seal::chunk::Profile;
use holdfast_seal::manifest::entry::{
    ChunkRef, Content, Device, Entry, EntryKind, FLAG_CHANGED_WHILE_READ, Inode, ListRef, Range,
    Xattr,
};
use holdfast_seal::manifest::page::{Page, Row};
use holdfast_seal::{ChunkParameters, Chunker, PlainChunk, Sealer, frame};
use std::sync::Arc;

/// Golden files hold hex, broken into lines.
fn parse(golden: &str) -> Vec<u8> {
    hex::decode(golden.split_whitespace().collect::<String>()).unwrap()
}

fn assert_golden(name: &str, golden: &str, bytes: &[u8]) {
    let lines: Vec<String> = bytes.chunks(48).map(hex::encode).collect();
    assert!(parse(golden) == bytes, "{name}.hex would now be:\n{}\n", lines.join("\n"));
}

/// What is sealed today, and whether the golden frame still opens to the same plaintext.
fn sealed_and_opens(golden: &str, kind: ChunkKind, plain: &[u8]) -> (Vec<u8>, bool) {
    let chunk = PlainChunk::new(&ids(), kind, plain.to_vec().into());
    let key = data_key().chunk_key(kind, &chunk.id);
    let opened = frame::open(VAULT, kind, &chunk.id, &key, &ids(), &parse(golden));
    let mut sealer = Sealer::new(VAULT, Arc::new(data_key()), 3).unwrap();
    let sealed = sealer.seal(&chunk, &Seeded::new(1)).unwrap();
    (sealed.frame, opened.is_ok_and(|opened| opened == plain))
}

#[test]
fn frame_raw() {
    let plain: Vec<u8> = (0..100).collect();
    let golden = include_str!("golden/frame-raw.hex");
    let (sealed, opens) = sealed_and_opens(golden, ChunkKind::Data, &plain);
    assert_golden("frame-raw", golden, &sealed);
    assert!(opens);
}

/// Another release of zstd may compress otherwise: the frozen bytes must open, no more.
#[test]
fn frame_zstd() {
    let plain = b"holdfast ".repeat(50);
    let golden = include_str!("golden/frame-zstd.hex");
    let (sealed, opens) = sealed_and_opens(golden, ChunkKind::Page, &plain);
    assert!(opens, "frame-zstd.hex does not open; a frame of today is {}", hex::encode(sealed));
    assert!(sealed.len() < plain.len() / 4);
}

#[test]
fn leaf_page() {
    let page = Page::Leaf(vec![directory(), file(), sparse_file(), device(), link()]);
    let golden = include_str!("golden/page-leaf.hex");
    assert_golden("page-leaf", golden, &page.to_bytes());
    assert_eq!(Page::parse(&parse(golden)).unwrap(), page);
}

#[test]
fn branch_page() {
    let row = |first: &[u8], byte, entries, bytes| Row {
        first: first.to_vec().into(),
        page: ChunkId::from_bytes([byte; 32]),
        entries,
        bytes,
    };
    let page = Page::Branch(vec![
        row(b"/", 1, 512, 0),
        row(b"/srv/\xff\n", 2, 1, 1 << 40),
        row(b"/srv.old", 3, u64::MAX, u64::MAX),
    ]);
    let golden = include_str!("golden/page-branch.hex");
    assert_golden("page-branch", golden, &page.to_bytes());
    assert_eq!(Page::parse(&parse(golden)).unwrap(), page);
}

#[test]
fn chunk_list_page() {
    let page = Page::ChunkList(vec![chunk(1, 1), chunk(2, 131_072), chunk(3, 4 << 20)]);
    let golden = include_str!("golden/page-list.hex");
    assert_golden("page-list", golden, &page.to_bytes());
    assert_eq!(Page::parse(&parse(golden)).unwrap(), page);
}

#[test]
fn chunk_parameters() {
    let golden = include_str!("golden/chunk-parameters.hex");
    assert_golden("chunk-parameters", golden, &to_bytes(&ChunkParameters::default()));
    let parsed = from_bytes::<ChunkParameters>("chunk parameters", &parse(golden)).unwrap();
    assert_eq!(parsed, ChunkParameters::default());
}

/// The lengths of the chunks of a generated buffer, each as a u32.
#[test]
fn cut_points() {
    let content = Seeded::new(2026).bytes(24 << 20);
    let chunker = Chunker::new(&ChunkParameters::default(), &gear(4));
    let (mut rest, mut lengths) = (content.as_slice(), Vec::new());
    while let Some(length) = chunker.next_cut(Profile::ContentDefined, rest, true) {
        lengths.extend_from_slice(&(length as u32).to_be_bytes());
        rest = &rest[length..];
    }
    assert_golden("cut-points", include_str!("golden/cut-points.hex"), &lengths);
}

fn chunk(byte: u8, length: u32) -> ChunkRef {
    ChunkRef { id: ChunkId::from_bytes([byte; 32]), length }
}

fn directory() -> Entry {
    Entry {
        path: b"/srv".to_vec().into(),
        kind: EntryKind::Directory,
        mode: 0o2755,
        uid: 0,
        gid: 8,
        user: Some("root".into()),
        group: Some("mail".into()),
        mtime_ns: 1_795_255_200_000_000_001,
        ctime_ns: -1,
        size: 0,
        xattrs: None,
        link_target: None,
        device: None,
        hardlink_group: None,
        inode: None,
        content: None,
        flags: None,
    }
}

fn file() -> Entry {
    let acl =
        Xattr { name: b"system.posix_acl_access".to_vec().into(), value: vec![2, 0, 0, 0].into() };
    Entry {
        path: b"/srv/a\xff".to_vec().into(),
        kind: EntryKind::File,
        size: 300_000,
        xattrs: Some(vec![acl]),
        hardlink_group: Some(7),
        inode: Some(Inode { device: 2049, number: 1 << 40 }),
        content: Some(Content {
            profile: Profile::ContentDefined,
            hash: ContentHash::from_bytes([0xcc; 32]),
            chunks: Some(vec![chunk(1, 262_144), chunk(2, 37_856)]),
            lists: None,
            ranges: None,
        }),
        flags: Some(FLAG_CHANGED_WHILE_READ),
        ..directory()
    }
}

fn sparse_file() -> Entry {
    let list =
        |byte, chunks, bytes| ListRef { page: ChunkId::from_bytes([byte; 32]), chunks, bytes };
    Entry {
        path: b"/srv/disk".to_vec().into(),
        kind: EntryKind::File,
        size: 1 << 40,
        content: Some(Content {
            profile: Profile::Fixed,
            hash: ContentHash::from_bytes([0xdd; 32]),
            chunks: None,
            lists: Some(vec![list(5, 4096, 4096 << 17), list(6, 1, 100)]),
            ranges: Some(vec![
                Range { offset: 0, length: 4096 << 17 },
                Range { offset: 1 << 39, length: 100 },
            ]),
        }),
        ..directory()
    }
}

fn device() -> Entry {
    Entry {
        path: b"/srv/null".to_vec().into(),
        kind: EntryKind::CharDevice,
        device: Some(Device { major: 1, minor: 3 }),
        ..directory()
    }
}

fn link() -> Entry {
    Entry {
        path: b"/srv.link".to_vec().into(),
        kind: EntryKind::Symlink,
        link_target: Some(b"../\xfe".to_vec().into()),
        ..directory()
    }
}
