//! How fast an index is loaded and asked, and what it takes. Run by hand:
//! `cargo test --release -p holdfast-coordinator figures -- --ignored --nocapture`.

use super::scene::{VAULT, Vaulted, chunk};
use crate::catalog::Catalog;
use holdfast_common::{ChunkId, Clock, PackId, SegmentId, SystemClock, SystemEntropy, limits};
use holdfast_ledger::row::SegmentRow;
use holdfast_repository::{
    layout,
    number::{ChunkNumber, Slot},
    segment::{ChunkLocation, Home, SegmentBuilder},
};
use holdfast_storage::url;
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

const ROWS_A_PACK: u64 = 128;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn figures_of_segments() {
    for rows in [1_000_000, 20_000_000] {
        let mut vault = Vaulted::new();
        let place = tempfile::tempdir().unwrap();
        let url = format!("local:{}", place.path().display()).parse().unwrap();
        Arc::get_mut(&mut vault).unwrap().store = url::create(&url).unwrap();
        write_segments(&vault, rows).await;
        // One pack that no segment has: only then are segments asked for.
        vault.store(&[chunk(u64::MAX)]).await;
        let catalog = vault.restart();
        measure("segments", rows, vault.load(&catalog)).await;
        ask(&catalog, rows);
        println!("  {} files of our own", vault.files().len());
        drop(catalog);
        let again = vault.restart();
        measure("own files", rows, vault.load(&again)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn figures_of_footers() {
    let rows = 1_000_000;
    let vault = Vaulted::new();
    for pack in 0..rows / ROWS_A_PACK {
        let first = pack * ROWS_A_PACK;
        vault.store(&(first..first + ROWS_A_PACK).map(chunk).collect::<Vec<_>>()).await;
    }
    let catalog = vault.restart();
    measure("footers", rows, vault.load(&catalog)).await;
    ask(&catalog, rows);
}

async fn write_segments(vault: &Vaulted, rows: u64) {
    let mut next = 0;
    while next < rows {
        let id = SegmentId::random(&SystemEntropy);
        let mut builder = SegmentBuilder::new(VAULT, id);
        while next < rows && !builder.is_full() {
            builder.push(chunk(next), &place_of(next)).unwrap();
            next += 1;
        }
        let object = builder.build().to_object(vault.custody.as_ref()).unwrap();
        let row = SegmentRow {
            id,
            vault: VAULT,
            rows: 0,
            length: object.len() as u64,
            hash: *blake3::hash(&object).as_bytes(),
        };
        vault.replace(layout::ObjectName::segment(&id).as_str(), Some(object)).await;
        vault.segments.lock().unwrap().push(row);
    }
    vault.segments.lock().unwrap().sort_by_key(|row| row.id);
}

fn place_of(row: u64) -> ChunkLocation {
    let pack = row / ROWS_A_PACK;
    ChunkLocation {
        pack: PackId::from_bytes(blake3::hash(&pack.to_be_bytes()).into()),
        home: Home::Pack,
        base: ChunkNumber::from_u64(pack * ROWS_A_PACK),
        offset: 60,
        length: 1 << 17,
        slot: Slot::new((row % ROWS_A_PACK) as u16),
        capsule: 0,
    }
}

fn ask(catalog: &Catalog, rows: u64) {
    let (asked, clock) = (100_000, SystemClock::start());
    for (what, first) in [("present", 0), ("absent", rows), ("absent again", rows)] {
        let ids: Vec<ChunkId> = (first..first + asked).map(chunk).collect();
        let begun = clock.elapsed();
        let found = ids.iter().filter(|id| !catalog.find(id).unwrap().is_empty()).count();
        let each = (clock.elapsed() - begun) / asked as u32;
        println!("  {each:?} to find out about a chunk that is {what} ({found} found)");
    }
}

/// Time, and the most memory that was ours alone meanwhile, above what was there before.
async fn measure(what: &str, rows: u64, work: impl Future<Output = ()>) {
    let clock = SystemClock::start();
    let (before, file_before) = (kib("RssAnon"), kib("RssFile"));
    let (peak, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let watch = {
        let (peak, ended) = (peak.clone(), ended.clone());
        std::thread::spawn(move || {
            while !ended.load(Relaxed) {
                peak.fetch_max(kib("RssAnon"), Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        })
    };
    let begun = clock.elapsed();
    work.await;
    let took = clock.elapsed() - begun;
    ended.store(true, Relaxed);
    watch.join().unwrap();
    let mib = |kib: u64| kib * limits::KIB as u64 / limits::MIB as u64;
    println!(
        "{what}: {rows} rows in {took:?}, {:.0} rows/s; \
         memory {} MiB at most, {} MiB after, {} MiB mapped in",
        rows as f64 / took.as_secs_f64(),
        mib(peak.load(Relaxed).saturating_sub(before)),
        mib(kib("RssAnon").saturating_sub(before)),
        mib(kib("RssFile").saturating_sub(file_before)),
    );
}

fn kib(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
