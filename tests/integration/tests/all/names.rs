//! How a file is cut goes by what is in it, never by what it is called: the same contents under
//! other names become the same chunks, to the byte, in a vault that has seen none of them.
//!
//! Both vaults are one: founded once, and taken back to how it was before the second backup. So
//! keys and parameters are the same, and nothing is known of the first one.

use crate::harness::{Dev, Objects, Scratch, noise, write};
use holdfast_common::{ChunkId, ChunkKind, Result, VaultId};
use holdfast_keyring::{BundleContents, bundle};
use holdfast_repository::{PackView, VaultObject};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const PASSPHRASE: &str = "correct horse battery";
/// The fixed profile's cut, as it is stored: with what sealing adds, before compression.
const FIXED_BYTES: usize = 128 << 10;

/// Each kind under the name that fits it, and under one that fits another.
fn contents() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    vec![
        ("src/main.rs", "src/main.qcow2", text(1, 40)),
        ("src/notes.txt", "db/16384", text(2, 60_000)),
        ("scans/one.dcm", "scans/one.sqlite", image(3, 700_000)),
        ("scans/two.dcm", "two.vmdk", image(4, 900_000)),
        ("db/16384", "src/notes.txt", database(5, 300)),
        ("db/16385.db", "old/16385.tar.gz", database(6, 500)),
        ("old/2024.tar.gz", "old/2024.img", archive(7, 3_000_000)),
        ("old/2025.zip", "db/2025.db", archive(8, 1_200_000)),
    ]
}

fn text(seed: u64, lines: usize) -> Vec<u8> {
    let dice = noise(seed, 8 * lines);
    let word = |byte: &u8| {
        ["let", "place", "of", "=", "chunk", "return", "index", "page"][usize::from(byte % 8)]
    };
    let line = |bytes: &[u8]| bytes.iter().map(word).collect::<Vec<_>>().join(" ");
    dice.chunks(8).map(line).collect::<Vec<_>>().join("\n").into_bytes()
}

/// Samples of 12 bits under a short header.
fn image(seed: u64, length: usize) -> Vec<u8> {
    let sample =
        |(at, byte): (usize, u8)| ((at / 700 % 3000) as u16 + u16::from(byte % 16)).to_le_bytes();
    let samples = noise(seed, length / 2).into_iter().enumerate().flat_map(sample);
    b"IMG0".iter().copied().chain(samples).collect()
}

/// Heap pages as PostgreSQL lays them out: header, line pointers, rows from the end.
fn database(seed: u64, pages: usize) -> Vec<u8> {
    let page = |number: usize| {
        let mut page = noise(seed * 1000 + number as u64, 8192);
        page[..24].fill(0);
        for (at, value) in [(12, 24 + 4 * 30), (14, 4000), (16, 8192), (18, 0x2004u16)] {
            page[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        page
    };
    (0..pages).flat_map(page).collect()
}

fn archive(seed: u64, length: usize) -> Vec<u8> {
    [&b"\x1f\x8b\x08\0\0\0\0\0\0\x03"[..], &noise(seed, length)].concat()
}

/// The chunks of the contents that a location holds, each with the length of its frame.
fn data_chunks(location: &Path, keys: &BundleContents) -> BTreeMap<ChunkId, u32> {
    let objects = Objects::of(location);
    let vault: VaultId =
        VaultObject::from_bytes(&fs::read(location.join("vault")).unwrap()).unwrap().id;
    let open = |version: u32, digest: &[u8; 32], sealed: &[u8]| -> Result<Vec<u8>> {
        keys.vaults[0].keys.index_private(version)?.open_footer(digest, sealed)
    };
    let mut found = BTreeMap::new();
    for path in objects.below("packs") {
        let pack = PackView::parse(&vault, fs::read(path).unwrap().into()).unwrap();
        if pack.kind() == ChunkKind::Data {
            let footer = pack.open_footer(&open).unwrap();
            found.extend(footer.rows.iter().map(|row| (row.id, row.length)));
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(done.success());
}

/// What a backup of these files makes of the vault as it was founded.
fn backed_up(scratch: &Scratch, files: &[(&str, &[u8])]) -> BTreeMap<ChunkId, u32> {
    let (dir, founded) = (scratch.join("d"), scratch.join("founded"));
    fs::remove_dir_all(&dir).unwrap();
    copy(&founded, &dir);
    let source = scratch.join("source");
    let _nothing_yet = fs::remove_dir_all(&source);
    for (name, bytes) in files {
        write(&source.join(name), bytes);
    }
    let dev = Dev::start(&dir);
    let told = dev.json(&["backup", "--path", source.to_str().unwrap()]).ok().object();
    assert_eq!(told["chunks_reused"], 0, "nothing is known: {told}");
    let file: PathBuf = scratch.join("bundle.hfbd");
    let secret = scratch.join("passphrase");
    write(&secret, PASSPHRASE);
    let _older = fs::remove_file(&file);
    let export = ["keys", "export", "--to", file.to_str().unwrap()];
    dev.json(&[&export[..], &["--passphrase-file", secret.to_str().unwrap()]].concat()).ok();
    dev.service.kill();
    let keys = bundle::open(&fs::read(&file).unwrap(), PASSPHRASE.as_bytes()).unwrap();
    data_chunks(&dir.join("location"), &keys)
}

#[test]
fn the_same_contents_under_other_names_become_the_same_chunks() {
    let scratch = Scratch::new();
    let dev = Dev::start(&scratch.join("d"));
    dev.service.kill();
    copy(&scratch.join("d"), &scratch.join("founded"));
    let contents = contents();
    let fitting: Vec<_> = contents.iter().map(|(name, _, bytes)| (*name, &bytes[..])).collect();
    let misleading: Vec<_> = contents.iter().map(|(_, name, bytes)| (*name, &bytes[..])).collect();
    let first = backed_up(&scratch, &fitting);
    let second = backed_up(&scratch, &misleading);
    assert_eq!(first, second);

    // All ways to cut are in it, or the names could not have misled: pages of databases by their
    // place, which does not shrink here, and the rest by content or not at all.
    let pages = 300 * 8192 / FIXED_BYTES + 500 * 8192 / FIXED_BYTES;
    let fixed = first.values().filter(|length| **length as usize / FIXED_BYTES == 1).count();
    assert!(fixed >= pages, "{fixed} chunks of {pages} are pages");
    let others: Vec<_> =
        first.values().filter(|length| **length as usize > 2 * FIXED_BYTES).collect();
    assert!(others.len() >= 3, "{others:?}");
}
