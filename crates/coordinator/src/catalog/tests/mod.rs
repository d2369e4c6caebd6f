//! What an index promises when files, segments and locations go wrong.

mod figures;
mod model;
mod scene;
mod settling;
mod sharing;

use super::{Catalog, Progress};
use holdfast_common::Code;
use holdfast_ledger::row::{PackRow, PackState, TakenRun};
use holdfast_repository::layout;
use scene::{LONG, VAULT, Vaulted, chunk, run};
use std::{
    fs,
    sync::{Arc, atomic::Ordering::Relaxed},
};

/// Three segments of a pack each, and a fourth pack that is in none.
async fn settled() -> Arc<Vaulted> {
    let vault = Vaulted::new();
    let catalog = vault.restart();
    vault.load(&catalog).await;
    for number in 0..4 {
        let (row, footer) = vault.store(&[chunk(number), chunk(100)]).await;
        catalog.add(&row, &footer);
        if number < 3 {
            vault.settle(&catalog).await.unwrap();
        }
    }
    vault
}

fn lose_files(vault: &Vaulted) {
    fs::remove_dir_all(vault.directory.path().join(VAULT.to_string())).unwrap();
}

async fn assert_whole(vault: &Arc<Vaulted>) -> Arc<Catalog> {
    let catalog = vault.restart();
    vault.load(&catalog).await;
    assert!(catalog.is_loaded());
    assert_eq!(catalog.find(&chunk(100)).unwrap().len(), 4);
    for number in 0..4 {
        assert_eq!(catalog.find(&chunk(number)).unwrap().len(), 1, "chunk {number}");
    }
    assert!(catalog.find(&chunk(5)).unwrap().is_empty());
    catalog
}

#[test]
fn an_index_without_files_is_read_from_segments_and_only_the_rest_from_footers() {
    run(async {
        let vault = settled().await;
        lose_files(&vault);
        // No pack that is in a segment can be read at all.
        let packs = vault.packs.lock().unwrap().clone();
        let last = packs.iter().map(|(row, _)| row.base).max();
        for (row, _) in packs.iter().filter(|(row, _)| Some(row.base) != last) {
            vault.replace(layout::ObjectName::pack(&row.id).as_str(), None).await;
        }
        assert_whole(&vault).await;
        assert_eq!(vault.settled.load(Relaxed), 4, "what came from a footer was settled");
    });
}

#[test]
fn a_missing_or_damaged_segment_is_only_a_slower_start() {
    run(async {
        let vault = settled().await;
        lose_files(&vault);
        let segments = vault.segments.lock().unwrap().clone();
        let names: Vec<_> =
            segments.iter().map(|row| layout::ObjectName::segment(&row.id).into_string()).collect();
        vault.replace(&names[0], None).await;
        vault.replace(&names[1], Some(vec![7; segments[1].length as usize])).await;
        assert_whole(&vault).await;
    });
}

#[test]
fn what_files_have_is_not_fetched_again_whatever_they_were_merged_from() {
    run(async {
        let vault = settled().await;
        let catalog = assert_whole(&vault).await;
        for _ in 0..5 {
            let (row, footer) = vault.store(&[chunk(200)]).await;
            catalog.add(&row, &footer);
            vault.settle(&catalog).await.unwrap();
        }
        assert!(vault.files().len() < 8, "{:?}", vault.files());
        vault.store(&[chunk(200)]).await;
        let catalog = vault.restart();
        vault.load(&catalog).await;
        assert_eq!(catalog.find(&chunk(200)).unwrap().len(), 6);
        let rows: usize = catalog.files().iter().map(|file| file.len()).sum();
        assert_eq!(rows, 4 * 2 + 6, "each row once, the one from a footer too");
    });
}

#[test]
fn a_merge_of_small_files_leaves_large_ones_alone() {
    run(async {
        let vault = Vaulted::new();
        let catalog = vault.restart();
        for pack in 0..2u64 {
            let chunks: Vec<_> = (0..40_000).map(|n| chunk(1000 + pack * 100_000 + n)).collect();
            let (row, footer) = vault.store(&chunks).await;
            catalog.add(&row, &footer);
        }
        vault.settle(&catalog).await.unwrap();
        let large = vault.files();
        for number in 0..8 {
            let (row, footer) = vault.store(&[chunk(number)]).await;
            catalog.add(&row, &footer);
            vault.settle(&catalog).await.unwrap();
        }
        let files = vault.files();
        assert!(files.len() == 2 && files.contains(&large[0]), "{files:?}");
        assert_eq!(catalog.files().len(), 2);
        for number in (0..8).chain([1000, 101_000]) {
            assert_eq!(catalog.find(&chunk(number)).unwrap().len(), 1, "chunk {number}");
        }
    });
}

#[test]
fn a_damaged_file_takes_no_other_with_it() {
    run(async {
        let vault = settled().await;
        let catalog = assert_whole(&vault).await;
        drop(catalog);
        let files = vault.files();
        let mut bytes = fs::read(&files[0]).unwrap();
        bytes[100] ^= 1;
        fs::write(&files[0], bytes).unwrap();
        fs::write(files[0].with_file_name("part-1"), b"torn").unwrap();
        vault.is_down.store(true, Relaxed);
        let catalog = vault.restart();
        catalog.open_files().unwrap();
        let known =
            vault.packs.lock().unwrap().iter().filter(|(p, _)| catalog.knows(&p.id)).count();
        assert_eq!(known, 3, "one pack is in the damaged file");
        assert_eq!(vault.files(), files[1..]);
        vault.is_down.store(false, Relaxed);
        assert_whole(&vault).await;
    });
}

#[test]
fn a_reader_waits_for_a_location_that_is_away_and_then_knows() {
    run(async {
        let vault = settled().await;
        lose_files(&vault);
        vault.is_down.store(true, Relaxed);
        let catalog = vault.restart();
        let loader = vault.loader(&catalog);
        let reader = async {
            let error = catalog.loaded(0).await.unwrap_err();
            assert_eq!(error.code, Code::IndexLoading);
            assert!(error.is_retryable() && error.cause.is_some(), "{error}");
            assert!(matches!(catalog.progress(), Progress::Waiting { packs: 4, .. }));
            vault.is_down.store(false, Relaxed);
            catalog.loaded(0).await.unwrap();
            assert_eq!(catalog.find(&chunk(100)).unwrap().len(), 4);
        };
        let both = async { tokio::join!(loader.load(), reader) };
        tokio::time::timeout(LONG, both).await.expect("a load that ends");
    });
}

#[test]
fn a_pack_that_is_whole_nowhere_is_not_waited_for_and_is_asked_for_until_it_is_lost() {
    run(async {
        let vault = settled().await;
        lose_files(&vault);
        vault.segments.lock().unwrap().clear();
        let (victim, _) = vault.packs.lock().unwrap()[0].clone();
        let name = layout::ObjectName::pack(&victim.id);
        let whole = vault.store.get(&name.as_str().parse().unwrap(), 1 << 20).await.unwrap();
        let mut torn = whole.to_vec();
        *torn.last_mut().unwrap() ^= 1;
        vault.replace(name.as_str(), Some(torn)).await;
        let catalog = vault.restart();
        let loader = vault.loader(&catalog);
        catalog.begin_at(7);
        let reader = async {
            catalog.loaded(7).await.unwrap();
            assert_eq!(catalog.find(&chunk(100)).unwrap().len(), 3);
            vault.replace(name.as_str(), Some(whole.to_vec())).await;
        };
        tokio::join!(loader.load(), reader);
        assert_eq!(catalog.find(&chunk(100)).unwrap().len(), 4, "healed and read");
        vault.replace(name.as_str(), None).await;
        lose_files(&vault);
        vault.segments.lock().unwrap().clear();
        vault.packs.lock().unwrap()[0].0.state = PackState::Lost;
        let catalog = vault.restart();
        vault.load(&catalog).await;
        assert_eq!(catalog.find(&chunk(100)).unwrap().len(), 3);
    });
}

#[test]
fn the_rows_of_a_lost_pack_stay() {
    run(async {
        let vault = settled().await;
        let (row, _) = {
            let mut packs = vault.packs.lock().unwrap();
            packs[0].0.state = PackState::Lost;
            packs[0].clone()
        };
        vault.replace(layout::ObjectName::pack(&row.id).as_str(), None).await;
        vault.segments.lock().unwrap().clear();
        let catalog = vault.restart();
        vault.load(&catalog).await;
        let known = catalog.chunks_of(&row.id).unwrap();
        let base_of_last = vault.packs.lock().unwrap().iter().map(|(row, _)| row.base).max();
        let was_settled = Some(row.base) != base_of_last;
        assert_eq!(known.len(), if was_settled { 2 } else { 0 });
    });
}

#[test]
fn a_load_settles_as_it_goes() {
    run(async {
        let vault = Vaulted::new();
        for pack in 0..9u64 {
            let chunks: Vec<_> = (0..20_000).map(|n| chunk(pack * 100_000 + n)).collect();
            vault.store(&chunks).await;
        }
        let catalog = vault.restart();
        vault.load(&catalog).await;
        assert_eq!(vault.settled.load(Relaxed), 3, "65,536 rows are as many as are kept fresh");
        assert!(catalog.read().fresh.is_empty());
        assert_eq!(catalog.find(&chunk(800_000 + 19_999)).unwrap().len(), 1);
    });
}

#[test]
fn what_is_being_settled_is_found_all_the_while() {
    run(async {
        let vault = Vaulted::new();
        let catalog = vault.restart();
        let (row, footer) = vault.store(&[chunk(1)]).await;
        catalog.add(&row, &footer);
        let (frozen, is_all) = catalog.freeze().unwrap();
        assert!(frozen.rows() == 1 && is_all);
        assert!(catalog.knows(&row.id));
        assert_eq!(catalog.find(&chunk(1)).unwrap().len(), 1);
        let (second, footer) = vault.store(&[chunk(1)]).await;
        catalog.add(&second, &footer);
        assert_eq!(catalog.find(&chunk(1)).unwrap().len(), 2);
        // What a failed settling left goes first, and what came meanwhile with it.
        vault.settle(&catalog).await.unwrap();
        assert!(catalog.read().fresh.is_empty() && catalog.read().settling.is_none());
        assert_eq!(vault.settled.load(Relaxed), 2);
        assert_eq!(catalog.find(&chunk(1)).unwrap().len(), 2);
    });
}

#[test]
fn numbers_that_a_pack_took_over_are_found_by_its_row_and_from_segments() {
    run(async {
        let vault = Vaulted::new();
        let catalog = vault.restart();
        vault.load(&catalog).await;
        vault.store(&[chunk(9)]).await;
        let (row, footer) = vault.store(&[chunk(1), chunk(2), chunk(3)]).await;
        let taken = Some(vec![TakenRun { number: 7, slot: 1, count: 2 }]);
        let row = PackRow { taken, ..row };
        catalog.add(&row, &footer);
        let numbers = |catalog: &Catalog, of| -> Vec<u64> {
            let places = catalog.find(&chunk(of)).unwrap();
            let mut all: Vec<_> =
                places.iter().map(|place| place.number().unwrap().as_u64()).collect();
            all.sort_unstable();
            assert!(places.iter().all(|place| place.pack == row.id));
            all
        };
        assert_eq!(numbers(&catalog, 1), [row.base]);
        assert_eq!(numbers(&catalog, 2), [7, row.base + 1]);
        assert_eq!(numbers(&catalog, 3), [8, row.base + 2]);
        vault.settle(&catalog).await.unwrap();
        lose_files(&vault);
        let catalog = vault.restart();
        vault.load(&catalog).await;
        assert_eq!(numbers(&catalog, 2), [7, row.base + 1], "from its segment");
    });
}
