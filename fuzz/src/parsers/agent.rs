//! What an agent keeps on its host: its configuration, and what it remembers of the last backup.
//!
//! The cache is built here from its description (`agent/cache/block.rs`), so that the form is told
//! twice: `"HFCA" ‖ 1 ‖ 16 bytes`, then `length ‖ field` with the opening, the block's number and
//! whether it is the last as additional data.

use crate::{
    Refused,
    examples::{CLUSTER, NOW, dice, secret},
};
use holdfast_agent::{
    cache::{Basis, CacheReader, Remembered},
    line::{parse_told, render_told},
    options::AgentConfig,
    restore::{RestoreReport, parse_paths, parse_report},
};
use holdfast_common::{AgentId, record};
use holdfast_keyring::aead;
use holdfast_seal::manifest::page::Page;
use holdfast_wire::v1::Told;
use std::{io::Cursor, path::Path, sync::Arc};

const BASIS: Basis = Basis { cutting: [7; 32], read_at: NOW };
const FOLDER: &str = "/etc/holdfast";
const OPENING: &[u8; 21] = b"HFCA\x01................";

/// A cache as it lies in its file: only blocks that we sealed are read.
pub fn cache(bytes: &[u8]) -> Result<(), Refused> {
    let mut reader = CacheReader::over(Cursor::new(bytes.to_vec()), &Arc::new(secret(3)))?;
    assert_eq!(*reader.basis(), BASIS, "a forged cache was believed");
    while let Some(next) = reader.find(b"/d/f") {
        assert!(next.entry.path.as_slice() == b"/d/f");
    }
    Ok(())
}

/// The rows of a block, sealed by somebody who has the host's key and means harm.
pub fn cache_rows(plaintext: &[u8]) -> Result<(), Refused> {
    let file = cache_of(plaintext);
    let mut reader = CacheReader::over(Cursor::new(file), &Arc::new(secret(3)))?;
    let found = reader.find(b"/d/f").ok_or(Refused)?;
    assert!(found.entry.path.as_slice() == b"/d/f");
    Ok(())
}

pub fn agent_toml(bytes: &[u8]) -> Result<(), Refused> {
    let folder = Path::new(FOLDER);
    let config = AgentConfig::parse(core::str::from_utf8(bytes)?, folder)?;
    let again = AgentConfig::parse(&config.render(folder)?, folder).expect("it was just written");
    assert_eq!(again, config);
    Ok(())
}

/// The wanted paths of a restore, sealed by somebody who has the run's key and means harm.
pub fn restore_paths(list: &[u8]) -> Result<(), Refused> {
    let paths = parse_paths(list)?;
    assert!(paths.iter().map(Vec::len).sum::<usize>() <= list.len());
    Ok(())
}

/// What a restore could not do, told by a host that means harm.
pub fn restore_report(list: &[u8]) -> Result<(), Refused> {
    let mut report = RestoreReport::default();
    parse_report(list, &mut report)?;
    assert!(report.skipped.len() + report.notes.iter().count() <= list.len());
    Ok(())
}

pub fn told_toml(bytes: &[u8]) -> Result<(), Refused> {
    let told = parse_told(core::str::from_utf8(bytes)?).ok_or(Refused)?;
    assert_eq!(parse_told(&render_told(&told)).expect("it was just written"), told);
    Ok(())
}

fn cache_of(rows: &[u8]) -> Vec<u8> {
    let mut file = OPENING.to_vec();
    let blocks = [(record::to_bytes(&BASIS), 0u8), (rows.to_vec(), 1)];
    for (number, (plain, last)) in (0u64..).zip(blocks) {
        let binding = [&OPENING[..], &number.to_le_bytes(), &[last]].concat();
        let field = aead::seal(secret(3).expose(), &binding, &plain, &dice());
        file.extend_from_slice(&u32::try_from(field.len()).expect("short").to_le_bytes());
        file.extend_from_slice(&field);
    }
    file
}

pub fn caches() -> Vec<Vec<u8>> {
    vec![cache_of(&rows_of_caches()[0])]
}

pub fn rows_of_caches() -> Vec<Vec<u8>> {
    let Ok(Page::Leaf(entries)) = Page::parse(&super::manifest::pages()[0]) else {
        unreachable!("the first page is a leaf")
    };
    let (mut folder, mut file) = (entries[0].clone(), entries[1].clone());
    folder.path = b"/d".to_vec().into();
    file.path = b"/d/f".to_vec().into();
    let rows = file.content.as_ref().and_then(|content| content.chunks.clone());
    let remembered = [Remembered { entry: folder, rows: None }, Remembered { entry: file, rows }];
    vec![remembered.iter().flat_map(record::to_bytes).collect()]
}

pub fn lists_of_paths() -> Vec<Vec<u8>> {
    vec![b"\x46/srv/a\x46/srv/b".to_vec()]
}

pub fn reports() -> Vec<Vec<u8>> {
    vec![b"\x84\x01\x6efile.io_failed\x42/a\x03\x82\x42/b\x6efile.io_failed".to_vec()]
}

pub fn tolds() -> Vec<Vec<u8>> {
    let audit_hash = vec![0xab; 32].into();
    let told = Told { epoch: 2, index: 98, audit_rows: 40, audit_hash, time_ns: NOW.as_nanos() };
    vec![render_told(&told).into_bytes()]
}

pub fn configs() -> Vec<Vec<u8>> {
    let text = format!(
        "cluster_id = \"{CLUSTER}\"\nagent_id = \"{}\"\nname = \"pacs-1\"\n\
         endpoints = [\"127.0.0.1:7000\"]\nca = \"ca.pem\"\ncert = \"agent.pem\"\n\
         key = \"/elsewhere/agent.key\"\ncache = \"cache\"\n",
        AgentId::from_bytes([2; 16])
    );
    vec![text.into_bytes()]
}
