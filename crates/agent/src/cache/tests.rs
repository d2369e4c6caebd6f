//! The cache gives back what was put in, or nothing: never something else.

use super::*;
use holdfast_common::SystemEntropy;
use holdfast_common::{ChunkId, ContentHash};
use holdfast_seal::manifest::entry::{Content, EntryKind, Profile};

const BASIS: Basis = Basis { cutting: [7; 32], read_at: Timestamp::from_nanos(5) };

fn remembered(number: u32) -> Remembered {
    let chunk = ChunkRef { id: ChunkId::from_bytes([number as u8; 32]), length: 9 };
    Remembered {
        entry: Entry {
            path: format!("/d/{number:06}").into_bytes().into(),
            kind: EntryKind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            user: None,
            group: None,
            mtime_ns: 1,
            ctime_ns: 2,
            size: 9,
            xattrs: None,
            link_target: None,
            device: None,
            hardlink_group: None,
            inode: None,
            content: Some(Content {
                profile: Profile::Whole,
                hash: ContentHash::from_bytes([1; 32]),
                chunks: Some(vec![chunk]),
                lists: None,
                ranges: None,
            }),
            flags: None,
        },
        rows: None,
    }
}

fn store(folder: &tempfile::TempDir) -> CacheStore {
    CacheStore::open(folder.path(), &SystemEntropy).unwrap()
}

fn written(store: &CacheStore, count: u32) -> SourceKey {
    let source = SourceKey::of(&[b"a", b"b"]);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let mut writer = store.write(&source, BASIS, &entropy).unwrap();
    (0..count).for_each(|number| writer.push(&remembered(number * 2)).unwrap());
    writer.keep().unwrap();
    source
}

#[test]
fn a_merge_finds_what_was_remembered_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let source = written(&store(&folder), 3000);
    let mut reader = store(&folder).read(&source, &BASIS.cutting).unwrap();
    assert_eq!(reader.basis(), &BASIS);
    for number in 0..6000 {
        let found = reader.find(&remembered(number).entry.path);
        assert_eq!(found, (number % 2 == 0).then(|| remembered(number)), "{number}");
    }
    assert_eq!(reader.find(b"/e"), None);
}

#[test]
fn a_cache_of_other_cuts_or_of_another_host_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let source = written(&store(&folder), 1);
    assert!(store(&folder).read(&source, &[8; 32]).is_none());
    files::write_private(&folder.path().join(KEY_FILE), &[0; 32]).unwrap();
    assert!(store(&folder).read(&source, &BASIS.cutting).is_none());
}

#[test]
fn behind_damage_nothing_is_known_and_nothing_wrong_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let source = written(&store(&folder), 3000);
    let file = store(&folder).path(&source);
    let good = std::fs::read(&file).unwrap();
    for at in (0..good.len()).step_by(good.len() / 40) {
        for bytes in [flipped(&good, at), good[..at].to_vec()] {
            std::fs::write(&file, bytes).unwrap();
            let Some(mut reader) = store(&folder).read(&source, &BASIS.cutting) else { continue };
            let mut last_found = None;
            for number in (0..6000).step_by(2) {
                if let Some(found) = reader.find(&remembered(number).entry.path) {
                    assert_eq!(found, remembered(number), "damage at {at}");
                    last_found = Some(number);
                }
            }
            assert!(last_found < Some(5998), "damage at {at} went unnoticed");
        }
    }
}

#[test]
fn a_block_that_was_dropped_moved_or_taken_from_another_cache_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let source = written(&store(&folder), 3000);
    let file = store(&folder).path(&source);
    let (opening, good) = split(&std::fs::read(&file).unwrap());
    written(&store(&folder), 3000);
    let (_, others) = split(&std::fs::read(&file).unwrap());
    let altered = |alter: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut blocks = good.clone();
        alter(&mut blocks);
        std::fs::write(&file, [opening.clone(), blocks.concat()].concat()).unwrap();
        let mut reader = store(&folder).read(&source, &BASIS.cutting).unwrap();
        reader.find(&remembered(5998).entry.path).is_some()
    };
    assert!(altered(&|_| {}), "as it was written, all is known to the last");
    assert!(!altered(&|blocks| drop(blocks.remove(2))), "dropped");
    assert!(!altered(&|blocks| blocks.swap(2, 3)), "moved");
    assert!(!altered(&|blocks| blocks[2].clone_from(&others[2])), "taken from another cache");
}

#[test]
fn a_run_that_came_to_nothing_leaves_the_old_cache() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let source = written(&store, 2);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let mut writer = store.write(&source, BASIS, &entropy).unwrap();
    writer.push(&remembered(40)).unwrap();
    drop(writer);
    let mut reader = store.read(&source, &BASIS.cutting).unwrap();
    assert_eq!(reader.find(b"/d/000002"), Some(remembered(2)));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "the key and one cache");
}

#[test]
fn two_runs_of_one_source_write_at_once_without_disturbing_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let source = SourceKey::of(&[b"a", b"b"]);
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let write = || store.write(&source, BASIS, &entropy).unwrap();
    let (mut first, mut second) = (write(), write());
    for number in 0..3000 {
        first.push(&remembered(number * 2)).unwrap();
        second.push(&remembered(number * 2 + 1)).unwrap();
    }
    let known = |odd: u32| {
        let mut reader = store.read(&source, &BASIS.cutting).unwrap();
        (0..3000).all(|number| {
            let wanted = remembered(number * 2 + odd);
            reader.find(&wanted.entry.path) == Some(wanted)
        })
    };
    first.keep().unwrap();
    assert!(known(0), "the first is whole");
    second.keep().unwrap();
    assert!(known(1), "the last one kept is what is remembered");
}

#[test]
fn what_a_killed_process_had_begun_to_write_is_gone_when_the_next_one_opens() {
    let folder = tempfile::tempdir().unwrap();
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let source = written(&store(&folder), 2);
    let begun = store(&folder).write(&source, BASIS, &entropy).unwrap();
    std::mem::forget(begun);
    let names = || std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(names(), 3, "it is there under a name of its own");
    let mut reader = store(&folder).read(&source, &BASIS.cutting).unwrap();
    assert_eq!(names(), 2, "the key and one cache");
    assert_eq!(reader.find(b"/d/000002"), Some(remembered(2)));
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

/// The opening of a cache file, and its blocks, each with its length before it.
fn split(file: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (opening, mut rest) = file.split_at(block::OPENING_BYTES);
    let mut blocks = Vec::new();
    while let Some(length) = rest.first_chunk::<4>() {
        let (one, after) = rest.split_at(4 + u32::from_le_bytes(*length) as usize);
        blocks.push(one.to_vec());
        rest = after;
    }
    assert!(blocks.len() > 4, "there is something to drop and to move");
    (opening.to_vec(), blocks)
}
