//! The index against a naive map of all footers, whatever happened to files and segments before.

use super::scene::{LONG, Vaulted, chunk, run};
use crate::catalog::Catalog;
use holdfast_common::{ChunkId, PackId};
use holdfast_ledger::row::PackState;
use holdfast_repository::{
    layout,
    number::ChunkNumber,
    segment::{ChunkLocation, Home},
};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{Arc, atomic::Ordering::Relaxed},
};

#[derive(Clone, Debug)]
enum Op {
    Store(Vec<u64>),
    /// Stored, and the process ends before the index hears of it.
    StoreUnheard(Vec<u64>),
    Settle,
    LoseFile(usize),
    DamageFile(usize, usize),
    LoseSegment(usize),
    DamageSegment(usize),
    /// Ends the process at some moment of the load that follows.
    RestartInLoad(usize),
    Restart,
    LosePack(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let chunks = || {
        proptest::collection::btree_set(0..CHUNKS, 1..6).prop_map(|set| set.into_iter().collect())
    };
    let any = 0usize..1000;
    let op = prop_oneof![
        6 => chunks().prop_map(Op::Store),
        2 => chunks().prop_map(Op::StoreUnheard),
        6 => Just(Op::Settle),
        1 => any.clone().prop_map(Op::LoseFile),
        1 => (any.clone(), any.clone()).prop_map(|(file, at)| Op::DamageFile(file, at)),
        1 => any.clone().prop_map(Op::LoseSegment),
        1 => any.clone().prop_map(Op::DamageSegment),
        2 => (0usize..60).prop_map(Op::RestartInLoad),
        1 => Just(Op::Restart),
        1 => any.prop_map(Op::LosePack),
    ];
    proptest::collection::vec(op, 1..50)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_loaded_index_is_the_map_of_all_footers(ops in ops()) {
        run(async {
            let vault = Vaulted::new();
            let mut catalog = vault.restart();
            for op in ops {
                apply(&vault, &mut catalog, op).await;
            }
            // As it is, and from nothing but what a restart leaves.
            vault.load(&catalog).await;
            assert_same(&vault, &catalog);
            vault.settle(&catalog).await.unwrap();
            let after = vault.restart();
            vault.is_down.store(true, Relaxed);
            vault.load(&after).await;
            assert_same(&vault, &after);
        });
    }
}

async fn apply(vault: &Arc<Vaulted>, catalog: &mut Arc<Catalog>, op: Op) {
    let pick = |of: usize, choice: usize| (of > 0).then(|| choice % of.max(1));
    let segment = |choice: usize| {
        let segments = vault.segments.lock().unwrap();
        let at = pick(segments.len(), choice)?;
        Some(layout::ObjectName::segment(&segments[at].id).into_string())
    };
    match op {
        Op::Store(chunks) => {
            let chunks: Vec<_> = chunks.into_iter().map(chunk).collect();
            let (row, footer) = vault.store(&chunks).await;
            catalog.add(&row, &footer);
        }
        Op::StoreUnheard(chunks) => {
            let chunks: Vec<_> = chunks.into_iter().map(chunk).collect();
            vault.store(&chunks).await;
        }
        Op::Settle => vault.settle(catalog).await.unwrap(),
        Op::LoseFile(choice) => {
            let files = vault.files();
            if let Some(at) = pick(files.len(), choice) {
                fs::remove_file(&files[at]).unwrap();
                *catalog = vault.restart();
            }
        }
        Op::DamageFile(choice, byte) => {
            let files = vault.files();
            if let Some(at) = pick(files.len(), choice) {
                let mut bytes = fs::read(&files[at]).unwrap();
                let byte = byte % bytes.len();
                bytes[byte] ^= 1;
                fs::remove_file(&files[at]).unwrap();
                fs::write(&files[at], bytes).unwrap();
                *catalog = vault.restart();
            }
        }
        Op::LoseSegment(choice) => {
            if let Some(name) = segment(choice) {
                vault.replace(&name, None).await;
            }
        }
        Op::DamageSegment(choice) => {
            if let Some(name) = segment(choice) {
                vault.replace(&name, Some(vec![1, 2, 3])).await;
            }
        }
        Op::RestartInLoad(steps) => {
            end_in_load(vault, steps).await;
            *catalog = vault.restart();
        }
        Op::Restart => *catalog = vault.restart(),
        Op::LosePack(choice) => {
            let mut packs = vault.packs.lock().unwrap();
            if let Some(at) = pick(packs.len(), choice) {
                packs[at].0.state = PackState::Lost;
            }
        }
    }
}

async fn end_in_load(vault: &Arc<Vaulted>, steps: usize) {
    let loader = vault.loader(&vault.restart());
    let steps = async {
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = steps => {}
        () = loader.load() => {}
    }
    loader.tasks.shutdown(LONG).await;
}

fn assert_same(vault: &Vaulted, catalog: &Catalog) {
    let mut places: BTreeMap<ChunkId, BTreeSet<ChunkLocation>> = BTreeMap::new();
    let mut chunks: BTreeMap<PackId, BTreeSet<ChunkId>> = BTreeMap::new();
    for (row, footer) in vault.packs.lock().unwrap().iter() {
        assert!(catalog.knows(&row.id));
        let base = ChunkNumber::from_u64(row.base);
        for (chunk, place) in footer.locations(row.id, Home::Pack, base) {
            places.entry(chunk).or_default().insert(place);
            chunks.entry(row.id).or_default().insert(chunk);
        }
    }
    for number in 0..CHUNKS {
        let (found, chunk) = (catalog.find(&chunk(number)).unwrap(), chunk(number));
        let expected: Vec<_> = places.get(&chunk).into_iter().flatten().copied().collect();
        assert_eq!(found, expected, "chunk {number}");
    }
    for (pack, expected) in chunks {
        let found: BTreeSet<_> = catalog.chunks_of(&pack).unwrap().into_iter().collect();
        assert_eq!(found, expected, "pack {pack}");
    }
    assert!(!catalog.knows(&PackId::from_bytes([3; 32])));
}

const CHUNKS: u64 = 40;
