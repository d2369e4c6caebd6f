//! Any history, however it was cut into extents and snapshots, comes back row by row.

use super::{read::read, source::Sources, unlock::Opening};
use crate::{
    raft::{Rebuild, entry_of_command, tests_location},
    shipped::ship,
    shipped::snapshot::{PartHead, seal},
};
use bytes::Bytes;
use holdfast_common::{Clock, ClusterId, Code, Secret, SystemClock, SystemEntropy, Timestamp};
use holdfast_keyring::ClusterRecoveryKey;
use holdfast_ledger::{
    Actor, Command, Envelope, MemoryKv, StateKv,
    command::{CreateToken, DeleteResource},
    envelope::ENVELOPE_VERSION,
    row::TokenRow,
};
use holdfast_repository::layout::ObjectName;
use holdfast_storage::{MemoryStore, ObjectStore};
use proptest::prelude::*;
use std::sync::Arc;

const EPOCH: u32 = 1;
const CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);
const TERM: u64 = 3;

fn recovery_key() -> ClusterRecoveryKey {
    ClusterRecoveryKey::from_secret(Secret::take(&mut [9; 32]))
}

fn opening() -> Opening {
    Opening { cluster: CLUSTER, recovery: recovery_key(), kek: None }
}

fn command(what: u8, number: u8) -> Command {
    match what {
        0 | 1 => tests_location(usize::from(number)).into(),
        2 => {
            let name = format!("place-{number}").parse().unwrap();
            DeleteResource { kind: "location".into(), name }.into()
        }
        _ => {
            let token = TokenRow {
                hash: [number; 32],
                labels: Default::default(),
                expires: Timestamp::from_nanos(i64::MAX),
                used_by: None,
                kind: None,
                used_by_member: None,
                duty: None,
                made_by: None,
            };
            CreateToken { token }.into()
        }
    }
}

/// Entry `index` of a history.
fn entry(index: u64, (what, number): (u8, u8)) -> (u64, Vec<u8>) {
    let envelope = Envelope {
        version: ENVELOPE_VERSION,
        key: u128::from(index / 2).to_be_bytes(),
        actor: Actor::System,
        time: Timestamp::from_nanos(i64::try_from(index).unwrap()),
        epoch: 1,
        traceparent: None,
        command: command(what, number),
    };
    (index, entry_of_command(TERM, 1, index, &envelope))
}

fn history(script: &[(u8, u8)]) -> Vec<(u64, Vec<u8>)> {
    (1..).zip(script).map(|(index, what)| entry(index, *what)).collect()
}

fn applied(entries: &[(u64, Vec<u8>)]) -> Rebuild<MemoryKv> {
    let mut rebuild = Rebuild::over(MemoryKv::default());
    rebuild.replay(1, entries).unwrap();
    rebuild
}

async fn put(store: &Arc<dyn ObjectStore>, name: &ObjectName, bytes: Bytes) {
    store.put_new(&name.as_str().parse().unwrap(), bytes).await.unwrap();
}

/// As `ship` puts it.
async fn put_extent(store: &Arc<dyn ObjectStore>, entries: &[(u64, Vec<u8>)]) {
    let (from, to) = (entries[0].0, entries[entries.len() - 1].0);
    let plaintext: Vec<u8> = entries.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    let header = ship::header(&CLUSTER, EPOCH, from, to);
    let extent = ship::sealed(&recovery_key().log_key(), header, &plaintext, &SystemEntropy);
    put(store, &ObjectName::log(EPOCH, from), extent.into()).await;
}

async fn put_snapshot(store: &Arc<dyn ObjectStore>, rebuild: &Rebuild<MemoryKv>) {
    let directory = tempfile::tempdir().unwrap();
    let file = std::fs::read(rebuild.snapshot_in(directory.path())).unwrap();
    let index = rebuild.next() - 1;
    let pieces: Vec<&[u8]> = file.chunks(700).collect();
    let parts = u32::try_from(pieces.len()).unwrap();
    for (part, piece) in (0..).zip(pieces) {
        let head = PartHead { cluster: CLUSTER, epoch: u64::from(EPOCH), index, part, parts };
        let sealed = seal(&recovery_key().snapshot_key(), head, piece, &SystemEntropy);
        put(store, &ObjectName::snapshot(EPOCH, index, part), sealed).await;
    }
}

fn stores(count: usize) -> Vec<Arc<dyn ObjectStore>> {
    (0..count).map(|_| Arc::new(MemoryStore::new(clock())) as Arc<dyn ObjectStore>).collect()
}

fn rows(tables: &Rebuild<MemoryKv>) -> Vec<(Vec<u8>, Vec<u8>)> {
    tables.tables().scan(&[], None, usize::MAX).unwrap()
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::start())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_history_comes_back_however_it_was_cut(
        script in proptest::collection::vec((0u8..4, 0u8..12), 1..120),
        cuts in proptest::collection::vec((0usize..120, 1usize..40, 0usize..2), 0..12),
        step in 1usize..30,
        snapshots in proptest::collection::vec((0usize..120, 0usize..2), 0..3),
    ) {
        let log = history(&script);
        let stores = stores(2);
        let recovered = runtime().block_on(async {
            // One leader's extents without a gap, now in the one location and now in the other.
            for (at, extent) in log.chunks(step).enumerate() {
                put_extent(&stores[at % 2], extent).await;
            }
            // Another's, over them; of one beginning only where there is none yet.
            for (from, length, store) in cuts {
                let Some(rest) = log.get(from..) else { continue };
                let Some(extent) = rest.get(..length.min(rest.len())).filter(|e| !e.is_empty())
                else { continue };
                let name = ObjectName::log(EPOCH, extent[0].0).as_str().parse().unwrap();
                if stores[store].head(&name).await.unwrap().is_none() {
                    put_extent(&stores[store], extent).await;
                }
            }
            for (upto, store) in snapshots {
                let upto = upto.min(log.len() - 1);
                let name = ObjectName::snapshot(EPOCH, log[upto].0, 0);
                if stores[store].head(&name.as_str().parse().unwrap()).await.unwrap().is_none() {
                    put_snapshot(&stores[store], &applied(&log[..=upto])).await;
                }
            }
            let mut rebuild = Rebuild::over(MemoryKv::default());
            let directory = tempfile::tempdir().unwrap();
            let sources = Sources::of(stores);
            let part = directory.path().join("part");
            let read = read(&sources, &opening(), &mut rebuild, &part).await.unwrap();
            assert_eq!(read.missing, None);
            rebuild
        });
        prop_assert_eq!(rows(&recovered), rows(&applied(&log)));
        recovered.reached().unwrap();
    }
}

async fn told(stores: Vec<Arc<dyn ObjectStore>>) -> (Option<(u64, u64)>, Option<u64>, u64) {
    let mut rebuild = Rebuild::over(MemoryKv::default());
    let directory = tempfile::tempdir().unwrap();
    let part = directory.path().join("part");
    let read = read(&Sources::of(stores), &opening(), &mut rebuild, &part).await.unwrap();
    (read.missing, read.snapshot, rebuild.next() - 1)
}

#[tokio::test]
async fn a_snapshot_that_lacks_a_part_is_not_used_and_stands_for_nothing() {
    let log = history(&[(0, 1); 40]);
    let store = stores(1).remove(0);
    put_snapshot(&store, &applied(&log[..30])).await;
    for extent in log[20..].chunks(5) {
        put_extent(&store, extent).await;
    }
    assert_eq!(told(vec![store.clone()]).await, (None, Some(30), 40));
    let part = ObjectName::snapshot(EPOCH, 30, 1).as_str().parse().unwrap();
    assert!(store.delete(&part).await.unwrap());
    assert_eq!(told(vec![store.clone()]).await, (Some((1, 20)), None, 0));
    // An older one is as good, with more of the log.
    put_snapshot(&store, &applied(&log[..25])).await;
    assert_eq!(told(vec![store]).await, (None, Some(25), 40));
}

#[tokio::test]
async fn another_clusters_objects_are_refused_as_such() {
    let log = history(&[(0, 1); 4]);
    let store = stores(1).remove(0);
    put_extent(&store, &log).await;
    let opening = Opening { cluster: ClusterId::from_bytes([8; 16]), ..opening() };
    let mut rebuild = Rebuild::over(MemoryKv::default());
    let directory = tempfile::tempdir().unwrap();
    let part = directory.path().join("part");
    let refused = read(&Sources::of(vec![store]), &opening, &mut rebuild, &part).await;
    assert_eq!(refused.unwrap_err().code, Code::VaultForeign);
}

#[tokio::test]
async fn an_empty_location_holds_no_ledger() {
    let mut rebuild = Rebuild::over(MemoryKv::default());
    let directory = tempfile::tempdir().unwrap();
    let part = directory.path().join("part");
    let refused = read(&Sources::of(stores(1)), &opening(), &mut rebuild, &part).await;
    assert_eq!(refused.unwrap_err().code, Code::HistoryMissing);
}

/// Names are anybody's who can write in a location.
#[tokio::test]
async fn a_name_with_the_last_of_all_numbers_is_a_gap_and_no_fault() {
    const LAST: u64 = u64::MAX - 1;
    let log = history(&[(0, 1); 4]);
    let store = stores(1).remove(0);
    put_extent(&store, &log).await;
    for name in [ObjectName::log(EPOCH, LAST), ObjectName::snapshot(EPOCH, LAST, u32::MAX)] {
        put(&store, &name, Bytes::from_static(b"junk")).await;
    }
    assert_eq!(told(vec![store]).await, (Some((5, u64::MAX)), None, 4));
}
