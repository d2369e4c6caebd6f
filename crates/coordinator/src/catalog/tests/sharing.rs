//! Many indexes that load at once, with less memory than they would like.

use super::{
    lose_files,
    scene::{LONG, Vaulted, chunk, run},
};
use crate::budget::Budget;
use futures::future::join_all;
use holdfast_common::limits;
use std::sync::Arc;

const LOADERS: usize = 8;
const SEGMENTS: u64 = 6;

#[test]
fn loaders_that_share_little_memory_do_not_wait_for_each_other_for_ever() {
    // A segment takes a KiB twice: one loader alone would like more than there is.
    for kib in 1..=LOADERS {
        run(async {
            let budget = Arc::new(Budget::new(kib * limits::KIB));
            let vaults = join_all((0..LOADERS).map(|_| of_segments(budget.clone()))).await;
            let catalogs: Vec<_> = vaults.iter().map(|vault| vault.restart()).collect();
            let loads = vaults.iter().zip(&catalogs).map(|(vault, catalog)| vault.load(catalog));
            tokio::time::timeout(LONG, join_all(loads)).await.expect("all of them end");
            for catalog in catalogs {
                for number in 0..SEGMENTS {
                    assert_eq!(catalog.find(&chunk(number)).unwrap().len(), 1, "chunk {number}");
                }
            }
            assert!(budget.try_reserve(kib * limits::KIB).is_some(), "all was given back");
        });
    }
}

/// A vault with some segments and no file of its own.
async fn of_segments(budget: Arc<Budget>) -> Arc<Vaulted> {
    let mut vault = Vaulted::new();
    Arc::get_mut(&mut vault).unwrap().budget = budget;
    let catalog = vault.restart();
    for number in 0..SEGMENTS {
        let (row, footer) = vault.store(&[chunk(number)]).await;
        catalog.add(&row, &footer);
        vault.settle(&catalog).await.unwrap();
    }
    lose_files(&vault);
    vault
}
