//! The cache: bounded whatever is asked of it, once for all who ask, and never a wrong byte.

use super::*;
use crate::double::{Double, Made, noise};
use std::{sync::atomic::Ordering::Relaxed, thread};

/// A point of so many chunks of that size.
fn chunks(count: u64, bytes: usize) -> (Arc<Double>, Vec<ChunkRef>) {
    let mut made = Made::default();
    let chunks = (0..count).map(|seed| made.chunk(&noise(seed, bytes))).collect();
    (made.point(), chunks)
}

fn fetch(cache: &Cache, point: &Double, chunks: &[ChunkRef]) -> Result<Vec<Vec<u8>>> {
    let mut found = vec![Vec::new(); chunks.len()];
    cache.fetch(point, chunks, &mut |at, bytes| found[at] = bytes.to_vec())?;
    Ok(found)
}

#[test]
fn chunks_are_fetched_once_and_then_at_hand() {
    let (cache, (point, chunks)) = (Cache::new(0), chunks(5, 1000));
    for _ in 0..2 {
        let found = fetch(&cache, &point, &chunks).unwrap();
        assert!((0..5).all(|at| found[at as usize] == noise(at, 1000)));
    }
    assert_eq!(point.opened.load(Relaxed), 5);
    let twice = [chunks[0], chunks[0], chunks[4], chunks[0]];
    assert_eq!(fetch(&cache, &point, &twice).unwrap()[3], noise(0, 1000));
    assert_eq!(point.opened.load(Relaxed), 5);
}

/// Until one fetches a chunk, and all the others of so many wait for it.
fn wait_for(cache: &Cache, chunk: &ChunkRef, readers: usize) {
    let holders = || match lock(&cache.state).chunks.get(&chunk.id) {
        Some(Slot::Coming(flight)) => Arc::strong_count(flight),
        _ => 0,
    };
    while holders() < 1 + readers {
        thread::yield_now();
    }
}

#[test]
fn many_who_want_one_chunk_fetch_it_once() {
    let (cache, (point, chunks)) = (Cache::new(0), chunks(3, 1000));
    thread::scope(|scope| {
        let closed = lock(&point.gate);
        let readers: Vec<_> =
            (0..8).map(|_| scope.spawn(|| fetch(&cache, &point, &chunks).unwrap())).collect();
        wait_for(&cache, &chunks[0], 8);
        drop(closed);
        for reader in readers {
            assert_eq!(reader.join().unwrap()[2], noise(2, 1000));
        }
    });
    assert_eq!(point.opened.load(Relaxed), 3);
}

#[test]
fn whoever_waits_hears_why_it_did_not_come() {
    let (cache, (point, chunks)) = (Cache::new(0), chunks(1, 1000));
    *lock(&point.away) = Some(Error::new(Code::ClusterUnreachable, "nobody answers"));
    thread::scope(|scope| {
        let closed = lock(&point.gate);
        let readers: Vec<_> =
            (0..3).map(|_| scope.spawn(|| fetch(&cache, &point, &chunks).unwrap_err())).collect();
        wait_for(&cache, &chunks[0], 3);
        drop(closed);
        for reader in readers {
            assert_eq!(reader.join().unwrap().code, Code::ClusterUnreachable);
        }
    });
    assert_eq!(lock(&cache.state).bytes, 0);
}

#[test]
fn whoever_waits_for_a_chunk_of_another_point_asks_for_it_himself_when_that_fails() {
    let cache = Cache::new(0);
    let ((theirs, wanted), (ours, _)) = (chunks(2, 1000), chunks(2, 1000));
    *lock(&theirs.away) = Some(Error::new(Code::PointMissing, "it was forgotten"));
    thread::scope(|scope| {
        let closed = lock(&theirs.gate);
        let first = scope.spawn(|| fetch(&cache, &theirs, &wanted).unwrap_err());
        wait_for(&cache, &wanted[0], 0);
        let second = scope.spawn(|| fetch(&cache, &ours, &wanted).unwrap());
        wait_for(&cache, &wanted[0], 2);
        drop(closed);
        assert_eq!(first.join().unwrap().code, Code::PointMissing);
        assert_eq!(second.join().unwrap()[1], noise(1, 1000));
    });
}

#[test]
fn memory_has_a_bound_however_many_read() {
    let (cache, (point, chunks)) = (Cache::new(0), chunks(40, 1 << 20));
    let bound = limits::MOUNT_CACHE_BYTES_MIN;
    thread::scope(|scope| {
        for reader in 0..8 {
            let (cache, point, chunks) = (&cache, &point, &chunks);
            scope.spawn(move || {
                for at in (reader..chunks.len()).step_by(3) {
                    let end = chunks.len().min(at + 9);
                    let found = fetch(cache, point, &chunks[at..end]).unwrap();
                    assert_eq!(found[0], noise(at as u64, 1 << 20));
                    assert!(lock(&cache.state).bytes <= bound);
                }
            });
        }
    });
    let state = lock(&cache.state);
    let kept: usize = state
        .chunks
        .values()
        .map(|slot| match slot {
            Slot::Here { bytes, .. } => weight(bytes.len()),
            Slot::Coming(_) => panic!("nothing is on its way any more"),
        })
        .sum();
    assert_eq!(kept, state.bytes, "what is counted is what is there");
    assert!(kept > bound / 2 && state.used.len() == state.chunks.len());
}

#[test]
fn a_damaged_chunk_is_an_error_and_its_neighbours_are_right() {
    let (cache, (point, chunks)) = (Cache::new(0), chunks(3, 1000));
    lock(&point.damaged).insert(chunks[1].id);
    let refused = fetch(&cache, &point, &chunks).unwrap_err();
    assert_eq!(refused.code, Code::ChunkDamaged);
    assert_eq!(fetch(&cache, &point, &[chunks[0], chunks[2]]).unwrap()[1], noise(2, 1000));
    assert_eq!(point.opened.load(Relaxed), 3);
    // It is not kept: once it was healed it can be read.
    lock(&point.damaged).clear();
    assert_eq!(fetch(&cache, &point, &chunks[1..2]).unwrap()[0], noise(1, 1000));
}

#[test]
fn a_chunk_of_another_length_than_its_row_says_is_refused() {
    let (cache, (point, chunks)) = (Cache::new(0), chunks(1, 1000));
    let longer = ChunkRef { length: 1001, ..chunks[0] };
    assert_eq!(fetch(&cache, &point, &[longer]).unwrap_err().code, Code::ManifestDamaged);
    fetch(&cache, &point, &chunks).unwrap();
    assert_eq!(fetch(&cache, &point, &[longer]).unwrap_err().code, Code::ManifestDamaged);
    assert_eq!(lock(&cache.state).bytes, weight(1000));
}

/// Answers nothing that it is asked for.
struct Silent(Arc<Double>);

impl Point for Silent {
    fn manifest(&self) -> holdfast_seal::ManifestReader<'_> {
        self.0.manifest()
    }

    fn open(&self, _: &[ChunkRef], _: &mut dyn FnMut(usize, Result<Vec<u8>>)) -> Result<()> {
        Ok(())
    }

    fn keep(&self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_chunk_that_is_not_answered_is_an_error_for_all_who_wait() {
    let (cache, (point, chunks)) = (Cache::new(0), chunks(2, 1000));
    let silent = Silent(point);
    for _ in 0..2 {
        let refused = cache.fetch(&silent, &chunks, &mut |_, _| {}).unwrap_err();
        assert_eq!(refused.code, Code::ChunkMissing);
    }
    assert_eq!(lock(&cache.state).bytes, 0);
}
