//! Rows that have left memory get into the locations, whatever fails on the way.

use super::{
    lose_files,
    scene::{LONG, VAULT, Vaulted, chunk, run},
};
use crate::catalog::Catalog;
use holdfast_common::Code;
use holdfast_ledger::row::PackState;
use holdfast_repository::layout;
use holdfast_storage::layers::unreliable::{Faults, Unreliable};
use std::{
    fs,
    sync::{Arc, atomic::Ordering::Relaxed},
};

/// No put of a segment gets through before it has failed so often, some of them after the work.
fn failing(streak_max: u32) -> Arc<Vaulted> {
    let mut vault = Vaulted::new();
    let faults =
        Faults { fail_before_permille: 500, fail_after_permille: 500, streak_max, ..Faults::NONE };
    let shore = Arc::new(Unreliable::new(vault.store.clone(), faults, 11));
    Arc::get_mut(&mut vault).unwrap().shore = shore;
    vault
}

async fn add(vault: &Vaulted, catalog: &Catalog, number: u64) {
    let (row, footer) = vault.store(&[chunk(number)]).await;
    catalog.add(&row, &footer);
}

/// From segments alone: no pack can be read.
async fn assert_all_in_segments(vault: &Arc<Vaulted>, count: u64) {
    lose_files(vault);
    let packs = vault.packs.lock().unwrap().clone();
    for (row, _) in packs {
        vault.replace(layout::ObjectName::pack(&row.id).as_str(), None).await;
    }
    let catalog = vault.restart();
    vault.load(&catalog).await;
    for number in 0..count {
        assert_eq!(catalog.find(&chunk(number)).unwrap().len(), 1, "chunk {number}");
    }
}

#[test]
fn a_segment_that_did_not_get_out_goes_out_later() {
    run(async {
        let vault = failing(3);
        let catalog = vault.restart();
        vault.load(&catalog).await;
        add(&vault, &catalog, 0).await;
        for round in 1..4 {
            let error = vault.settle(&catalog).await.unwrap_err();
            assert_eq!(error.code, Code::LocationIoFailed);
            assert!(catalog.read().fresh.is_empty() && !catalog.is_shipped());
            assert_eq!(vault.segments.lock().unwrap().len(), 0, "it is not in the ledger");
            assert_eq!(catalog.find(&chunk(0)).unwrap().len(), 1);
            add(&vault, &catalog, round).await;
        }
        // The first is through, and each of the others fails as often.
        let mut rounds = 0;
        while vault.settle(&catalog).await.is_err() {
            rounds += 1;
            assert!(rounds < 100);
        }
        assert!(catalog.is_shipped());
        assert_eq!(vault.files().len(), vault.segments.lock().unwrap().len());
        assert_all_in_segments(&vault, 4).await;
    });
}

#[test]
fn an_end_of_the_process_does_not_keep_a_segment_in() {
    run(async {
        let vault = failing(2);
        let catalog = vault.restart();
        vault.load(&catalog).await;
        for number in 0..2 {
            add(&vault, &catalog, number).await;
            vault.settle(&catalog).await.unwrap_err();
        }
        drop(catalog);
        let catalog = vault.restart();
        // The load itself tries until they are out.
        vault.load(&catalog).await;
        assert!(catalog.is_shipped());
        assert_all_in_segments(&vault, 2).await;
    });
}

#[test]
fn the_keeper_ships_what_somebody_else_could_not() {
    run(async {
        let vault = failing(4);
        let catalog = vault.restart();
        let loader = vault.loader(&catalog);
        let other = async {
            catalog.loaded(0).await.unwrap();
            add(&vault, &catalog, 0).await;
            vault.settle(&catalog).await.unwrap_err();
            catalog.look_again();
            while !catalog.is_shipped() {
                tokio::task::yield_now().await;
                tokio::time::advance(std::time::Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            () = loader.keep() => unreachable!("it never ends"),
            waited = tokio::time::timeout(LONG, other) => waited.expect("it gets out"),
        }
        assert_all_in_segments(&vault, 1).await;
    });
}

#[test]
fn a_segment_that_is_damaged_before_it_is_out_does_not_hold_up_the_others() {
    run(async {
        let vault = failing(1);
        let catalog = vault.restart();
        vault.load(&catalog).await;
        add(&vault, &catalog, 0).await;
        vault.settle(&catalog).await.unwrap_err();
        let is_unshipped =
            |path: &&std::path::PathBuf| path.to_str().unwrap().contains("unshipped");
        let files = vault.files();
        fs::write(files.iter().find(is_unshipped).unwrap(), b"torn").unwrap();
        add(&vault, &catalog, 1).await;
        vault.settle(&catalog).await.unwrap_err();
        vault.settle(&catalog).await.unwrap();
        assert!(catalog.is_shipped());
        assert_eq!(vault.settled.load(Relaxed), 1);
        lose_files(&vault);
        let catalog = vault.restart();
        vault.load(&catalog).await;
        assert_eq!(catalog.find(&chunk(0)).unwrap().len(), 1, "the footer has it");
    });
}

#[test]
fn what_was_settled_before_the_load_is_opened_once() {
    run(async {
        let vault = Vaulted::new();
        let catalog = vault.restart();
        add(&vault, &catalog, 0).await;
        vault.settle(&catalog).await.unwrap();
        vault.load(&catalog).await;
        assert_eq!(catalog.files().len(), 1);
    });
}

#[test]
fn an_index_that_cannot_be_opened_is_tried_again() {
    run(async {
        let vault = Vaulted::new();
        vault.store(&[chunk(0)]).await;
        let in_the_way = vault.directory.path().join(VAULT.to_string());
        fs::write(&in_the_way, b"").unwrap();
        let catalog = vault.restart();
        let loader = vault.loader(&catalog);
        let reader = async {
            let error = catalog.loaded(0).await.unwrap_err();
            assert!(error.code == Code::IndexLoading && error.cause.is_some(), "{error}");
            fs::remove_file(&in_the_way).unwrap();
        };
        let both = async { tokio::join!(loader.load(), reader) };
        tokio::time::timeout(LONG, both).await.expect("a load that ends");
        assert_eq!(catalog.find(&chunk(0)).unwrap().len(), 1);
    });
}

#[test]
fn a_lost_pack_that_is_found_again_joins_the_index() {
    run(async {
        let vault = Vaulted::new();
        let (row, _) = vault.store(&[chunk(0)]).await;
        let name = layout::ObjectName::pack(&row.id);
        let whole = vault.store.get(&name.as_str().parse().unwrap(), 1 << 20).await.unwrap();
        vault.replace(name.as_str(), None).await;
        vault.packs.lock().unwrap()[0].0.state = PackState::Lost;
        let catalog = vault.restart();
        let loader = vault.loader(&catalog);
        let verifier = async {
            catalog.loaded(0).await.unwrap();
            assert!(catalog.find(&chunk(0)).unwrap().is_empty());
            vault.replace(name.as_str(), Some(whole.to_vec())).await;
            vault.packs.lock().unwrap()[0].0.state = PackState::Stored;
            catalog.look_again();
            while !catalog.knows(&row.id) {
                tokio::task::yield_now().await;
                tokio::time::advance(std::time::Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            () = loader.keep() => unreachable!("it never ends"),
            waited = tokio::time::timeout(LONG, verifier) => waited.expect("it is found"),
        }
        assert_eq!(catalog.find(&chunk(0)).unwrap().len(), 1);
    });
}
