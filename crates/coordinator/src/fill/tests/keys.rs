//! Keys that were made on two sides: none takes the place of the other.

use super::scene::{Scene, holds, place, put, spoil};
use bytes::Bytes;
use holdfast_common::Code;

#[tokio::test]
async fn keys_that_another_side_made_are_not_replaced_by_those_that_the_ledger_has() {
    let mut scene = Scene::new();
    let (ours, theirs) = (scene.rotated(2), scene.rotated(2));
    (scene.vault.key_version, scene.vault.key_object) = (2, ours.1.to_vec().into());
    let (from, to) = ([place("near").await], place("far").await);
    put(&from[0].1, &ours).await;
    put(&to.1, &theirs).await;
    for problem in ["stale", "differs", "hash"] {
        let mended = scene.mend((&from, &to), (&ours.0, problem)).await.unwrap();
        assert_eq!(mended, None, "{problem}");
    }
    assert_eq!(holds(&to).await[ours.0.as_str()], theirs.1);
}

#[tokio::test]
async fn keys_of_the_same_pair_and_damaged_ones_are_replaced() {
    let mut scene = Scene::new();
    let (ours, before) = (scene.keys(1), scene.keys(1));
    scene.vault.key_object = ours.1.to_vec().into();
    let from = [place("near").await];
    put(&from[0].1, &ours).await;
    let public = holdfast_keyring::KeyObject::from_bytes(&ours.1).unwrap().public().key;
    let at = ours.1.windows(32).position(|found| found == public).unwrap();
    let mut flipped = ours.1.to_vec();
    flipped[at] ^= 1;
    for (bytes, problem) in [(before.1, "stale"), (Bytes::from(flipped), "hash")] {
        let to = place("far").await;
        put(&to.1, &(ours.0.clone(), bytes)).await;
        let mended = scene.mend((&from, &to), (&ours.0, problem)).await.unwrap();
        assert_eq!(mended, Some("near".parse().unwrap()), "{problem}");
        assert_eq!(holds(&to).await[ours.0.as_str()], ours.1);
    }
}

#[tokio::test]
async fn a_place_with_keys_that_the_ledger_does_not_have_is_refused() {
    let mut scene = Scene::new();
    let first = scene.keys(1);
    scene.vault.key_object = first.1.to_vec().into();
    let to = place("far").await;
    for known in [&first, &scene.keys(2)] {
        put(&to.1, known).await;
    }
    scene.insist_on_known_keys(&to).await.unwrap();
    let (ours, theirs) = (scene.rotated(2), scene.rotated(2));
    put(&to.1, &theirs).await;
    let refused = scene.insist_on_known_keys(&to).await.unwrap_err();
    assert_eq!(refused.code, Code::ObjectConflict);
    assert!(refused.message.contains(theirs.0.as_str()), "{refused}");
    (scene.vault.key_version, scene.vault.key_object) = (2, ours.1.to_vec().into());
    assert!(scene.insist_on_known_keys(&to).await.is_err(), "another pair of that version");
}

#[tokio::test]
async fn keys_that_points_need_are_brought_or_it_is_said_that_nobody_has_them() {
    let mut scene = Scene::new();
    let keys = scene.keys(1);
    scene.vault.key_object = keys.1.to_vec().into();
    let (from, to) = ([place("near").await], place("far").await);
    let refused = scene.bring_keys(&from, &to).await.unwrap_err();
    assert_eq!(refused.code, Code::ObjectDamaged, "no place has them: {refused}");
    put(&from[0].1, &(keys.0.clone(), Bytes::from_static(b"rotten"))).await;
    let refused = scene.bring_keys(&from, &to).await.unwrap_err();
    assert!(refused.message.contains(keys.0.as_str()), "{refused}");
    assert!(!holds(&to).await.contains_key(keys.0.as_str()));
    spoil(&from[0], &keys.0, &keys.1).await;
    for _again in 0..2 {
        scene.bring_keys(&from, &to).await.unwrap();
        assert_eq!(holds(&to).await[keys.0.as_str()], keys.1);
    }
}
