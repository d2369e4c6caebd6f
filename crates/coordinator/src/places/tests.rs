//! Locations that are no fence, cannot be tried, or never answer.

use super::*;
use crate::crowd::name;
use bytes::Bytes;
use holdfast_common::VaultId;
use holdfast_ledger::row::{Custody, Sharing};
use holdfast_storage::{Unreliable, layers::unreliable::Faults};

#[test]
fn a_vault_may_not_require_a_place_where_a_name_is_written_twice() {
    let vault = vault("far");
    insist_on_fence(&vault, &name("far"), Keeps::ALL).unwrap();
    let read_back = Keeps { checked: false, ..Keeps::ALL };
    insist_on_fence(&vault, &name("far"), read_back).unwrap();
    let no_fence = Keeps { create_only: false, ..Keeps::ALL };
    let error = insist_on_fence(&vault, &name("far"), no_fence).unwrap_err();
    assert_eq!(error.code, Code::LocationUnfenced);
    assert!(error.message.contains("`main` requires `far`"), "{error}");
}

fn vault(required: &str) -> VaultRow {
    VaultRow {
        id: VaultId::from_bytes([1; 16]),
        name: name("main"),
        sharing: Sharing::Agent,
        custody: Custody::Coordinator,
        required: vec![name(required)],
        key_version: 1,
        key_object: Vec::new().into(),
        created: holdfast_common::Timestamp::ZERO,
        revision: 1,
        next_number: 0,
        packs: 0,
        grown: None,
        beside: None,
        lock: None,
        checks: None,
        losses: None,
    }
}

/// Places over one location, `far`, in a directory.
async fn over(directory: &std::path::Path) -> (Places, LocationRow) {
    let root = directory.join("place");
    make(root.to_str().unwrap(), directory).unwrap();
    let ledger = crate::raft::tests::founded(&directory.join("ledger")).await;
    let mut put = crate::raft::tests::location(1);
    (put.location.name, put.location.url) = (name("far"), format!("local:{}", root.display()));
    ledger.propose(holdfast_ledger::Actor::System, put).await.unwrap();
    let entropy = Arc::new(holdfast_common::SystemEntropy);
    let places = Places::new(ledger, directory.to_owned(), entropy, Tasks::new("test"));
    let row = places.row(&name("far")).unwrap();
    (places, row)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_location_that_hangs_is_asked_by_one_however_often_it_is_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let (places, row) = over(directory.path()).await;
    let hour = Duration::from_secs(3600);
    let faults = Faults { delay_permille: 1000, delay_max: hour, ..Faults::NONE };
    let opened = places.opened(&row.name).await.unwrap();
    let hung: Arc<dyn ObjectStore> = Arc::new(Unreliable::new(opened.store.clone(), faults, 1));
    places.lock().insert(standing(&row), Opened { once: hung, ..opened });
    for _ in 0..5 {
        let moment = Duration::from_millis(50);
        assert!(tokio::time::timeout(moment, places.look(&row)).await.is_err());
    }
    let looks = places.tasks.running().into_iter().filter(|kind| *kind == LOOK).count();
    assert_eq!(looks, 1);
    places.tasks.shutdown(Duration::from_secs(10)).await;
    places.ledger.close().await.await;
}

/// It holds the vault's own object.
async fn own(places: &Places, vault: &VaultRow) {
    let far = places.location(&vault.required[0]).await.unwrap();
    let created = vault.created;
    let object = VaultObject { id: vault.id, created, chunks: Default::default() };
    let of_vault = layout::ObjectName::vault().as_str().parse().unwrap();
    far.put_new(&of_vault, object.to_bytes().into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_leads_to_a_disk_that_is_gone_is_opened_anew_for_the_next_put() {
    let directory = tempfile::tempdir().unwrap();
    let (places, row) = over(directory.path()).await;
    let vault = vault("far");
    own(&places, &vault).await;
    places.prove_all(&vault).await.unwrap();
    let faults = Faults { fail_before_permille: 1000, ..Faults::NONE };
    let opened = places.opened(&row.name).await.unwrap();
    let dead: Arc<dyn ObjectStore> = Arc::new(Unreliable::new(opened.store.clone(), faults, 1));
    places.lock().insert(standing(&row), Opened { store: dead, ..opened });
    let put = || places.put(&vault, "points/a", Bytes::from_static(b"p"));
    let refused = put().await.unwrap_err();
    assert_eq!(refused.code, Code::LocationIoFailed, "{refused}");
    put().await.unwrap();
    // And it is asked whose it is, once more.
    places.distrust(&row.name);
    std::fs::remove_file(directory.path().join("place/vault")).unwrap();
    let refused = put().await.unwrap_err();
    assert_eq!(refused.code, Code::LocationEmpty, "{refused}");
    places.ledger.close().await.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_tried_is_read_and_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let (places, _) = over(directory.path()).await;
    let root = directory.path().join("place");
    let vault = vault("far");
    own(&places, &vault).await;
    // Nothing is written where `tmp` is no folder.
    std::fs::remove_dir(root.join("tmp")).unwrap();
    std::fs::write(root.join("tmp"), "in the way").unwrap();

    places.show_all(&vault).await.unwrap();
    let refused = places.prove_all(&vault).await.unwrap_err();
    assert_eq!(refused.code, Code::LocationIoFailed, "{refused}");
    let refused = places.put(&vault, "points/a", Bytes::from_static(b"p")).await.unwrap_err();
    assert_eq!(refused.code, Code::LocationIoFailed, "{refused}");
    places.ledger.close().await.await;
}
