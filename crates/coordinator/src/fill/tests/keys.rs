//! The keys that the ledger has lie in every location, and those that another side made are kept.

use super::{
    super::Mended,
    scene::{Leaving, Scene, holds, of, place, put, put_all},
};
use bytes::Bytes;
use holdfast_common::{Code, limits};
use holdfast_repository::layout::ObjectName;

/// Where keys of this name lie when others took the name.
fn aside((name, bytes): &(ObjectName, Bytes)) -> String {
    format!("aside/{name}/{}", blake3::hash(bytes).to_hex())
}

#[tokio::test]
async fn keys_that_another_side_made_are_put_aside_before_those_that_the_ledger_has_take_the_name()
{
    let mut scene = Scene::new();
    let (ours, theirs) = (scene.rotated(2), scene.rotated(2));
    (scene.vault.key_version, scene.vault.key_object) = (2, ours.1.to_vec().into());
    let from = [place("near").await];
    put(&from[0].1, &ours).await;
    for problem in ["stale", "differs", "hash"] {
        let to = place("far").await;
        put(&to.1, &theirs).await;
        // Somebody foresaw the name.
        put(&to.1, &(aside(&theirs).parse().unwrap(), Bytes::from_static(b"in the way"))).await;
        let mended = scene.mend((&from, &to), (&ours.0, problem)).await.unwrap().unwrap();
        assert_eq!(mended.from.as_str(), "near", "{problem}");
        assert_eq!(mended.aside.unwrap().as_str(), aside(&theirs));
        let held = holds(&to).await;
        assert_eq!((&held[ours.0.as_str()], &held[&aside(&theirs)]), (&ours.1, &theirs.1));
    }
}

#[tokio::test]
async fn keys_of_another_name_that_the_ledger_does_not_have_are_left_where_they_are() {
    let mut scene = Scene::new();
    let (ours, theirs) = (scene.keys(1), scene.rotated(2));
    scene.vault.key_object = ours.1.to_vec().into();
    let (from, to) = ([place("near").await], place("far").await);
    put_all(&to, &[ours, theirs.clone()]).await;
    put(&from[0].1, &scene.rotated(2)).await;
    let mended = scene.mend((&from, &to), (&theirs.0, "differs")).await.unwrap();
    assert_eq!(mended, None);
    assert_eq!(holds(&to).await[theirs.0.as_str()], theirs.1);
}

#[tokio::test]
async fn nobody_takes_the_name_while_other_keys_cannot_be_put_aside() {
    let mut scene = Scene::new();
    let (ours, theirs) = (scene.rotated(2), scene.rotated(2));
    (scene.vault.key_version, scene.vault.key_object) = (2, ours.1.to_vec().into());
    // It can still be read, and its first write fails.
    let store = Leaving::after(usize::MAX, false);
    let to = of("far", store.clone()).await;
    put(&to.1, &theirs).await;
    store.allow(2);
    scene.bring_keys(&to).await.unwrap_err();
    store.allow(usize::MAX);
    assert_eq!(holds(&to).await[theirs.0.as_str()], theirs.1);
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
        let near = Mended { from: "near".parse().unwrap(), aside: None };
        assert_eq!(mended, Some(near), "{problem}");
        assert_eq!(holds(&to).await[ours.0.as_str()], ours.1);
    }
}

#[tokio::test]
async fn a_place_with_keys_that_the_ledger_does_not_have_is_refused() {
    let mut scene = Scene::new();
    let first = scene.keys(1);
    scene.vault.key_object = first.1.to_vec().into();
    let (from, to) = ([place("near").await], place("far").await);
    for known in [&first, &scene.keys(2)] {
        put(&to.1, known).await;
    }
    scene.insist_on_known_keys(&from, &to).await.unwrap();
    let (ours, theirs) = (scene.rotated(2), scene.rotated(2));
    put(&to.1, &theirs).await;
    put(&from[0].1, &ours).await;
    let refused = scene.insist_on_known_keys(&from, &to).await.unwrap_err();
    assert_eq!(refused.code, Code::ObjectConflict);
    assert!(refused.message.contains(theirs.0.as_str()), "{refused}");
    let same = [place("near").await];
    put(&same[0].1, &theirs).await;
    scene.insist_on_known_keys(&same, &to).await.unwrap();
    (scene.vault.key_version, scene.vault.key_object) = (2, ours.1.to_vec().into());
    assert!(scene.insist_on_known_keys(&from, &to).await.is_err(), "another pair of that version");
}

#[tokio::test]
async fn keys_that_points_need_are_brought_from_the_ledger_whatever_lies_there() {
    let mut scene = Scene::new();
    let (keys, others, again) = (scene.keys(1), scene.rotated(2), scene.keys(1));
    scene.vault.key_object = keys.1.to_vec().into();
    // Of another pair, under the name of those in use; cut short; the same pair, wrapped again.
    let foreign = Some(others.1.clone());
    let torn = Some(keys.1.slice(..keys.1.len() / 2));
    let long = Some(Bytes::from(vec![7; limits::KEY_OBJECT_BYTES_MAX + 1]));
    for there in [None, foreign, torn, long, Some(again.1)] {
        let to = place("far").await;
        if let Some(there) = &there {
            put(&to.1, &(keys.0.clone(), there.clone())).await;
        }
        let [(name, done)] = &scene.bring_keys(&to).await.unwrap()[..] else { panic!("{there:?}") };
        assert_eq!((name, done.is_instead), (&keys.0, there.is_some()));
        assert_eq!(holds(&to).await[keys.0.as_str()], keys.1);
        let is_foreign = there.as_ref() == Some(&others.1);
        assert_eq!(done.aside.is_some(), is_foreign, "{there:?}");
        assert_eq!(scene.bring_keys(&to).await.unwrap(), [], "once");
    }
}

#[tokio::test]
async fn keys_that_are_gone_everywhere_are_mended_by_what_the_ledger_has() {
    let mut scene = Scene::new();
    let keys = scene.keys(1);
    scene.vault.key_object = keys.1.to_vec().into();
    let (from, to) = ([place("near").await], place("far").await);
    let mended = scene.mend((&from, &to), (&keys.0, "missing")).await.unwrap().unwrap();
    assert_eq!(mended, Mended { from: "ledger".parse().unwrap(), aside: None });
    assert_eq!(holds(&to).await[keys.0.as_str()], keys.1);
    assert!(!holds(&from[0]).await.contains_key(keys.0.as_str()), "that one has its own scrub");
}

#[tokio::test]
async fn a_destroyed_version_is_brought_nowhere_whoever_has_it_still() {
    let mut scene = Scene::new();
    let (gone, newest) = (scene.keys(1), scene.rotated(2));
    (scene.vault.key_version, scene.vault.key_object) = (2, newest.1.to_vec().into());
    scene.destroy(&gone);
    let (from, to) = ([place("near").await], place("far").await);
    put_all(&from[0], &[gone.clone(), newest.clone()]).await;
    scene.fill(&from, &to).await.unwrap();
    scene.copy(&from, &to, &[gone.0.clone(), newest.0.clone()]).await.unwrap();
    assert_eq!(scene.mend((&from, &to), (&gone.0, "missing")).await.unwrap(), None);
    let held = holds(&to).await;
    assert!(held.contains_key(newest.0.as_str()), "{:?}", held.keys());
    assert!(!held.contains_key(gone.0.as_str()), "{:?}", held.keys());
    // A location that has it is not one with keys that nobody knows.
    scene.insist_on_known_keys(&[], &from[0]).await.unwrap();
}

#[tokio::test]
async fn what_is_destroyed_while_keys_are_brought_is_not_put() {
    let mut scene = Scene::new();
    let gone = scene.keys(1);
    // Whoever brings them looked at the ledger before.
    scene.vault.key_object = gone.1.to_vec().into();
    scene.destroy(&gone);
    let to = place("far").await;
    assert_eq!(scene.bring_keys(&to).await.unwrap(), []);
    let from = [place("near").await];
    put(&from[0].1, &gone).await;
    assert_eq!(scene.mend((&from, &to), (&gone.0, "missing")).await.unwrap(), None);
    assert!(!holds(&to).await.contains_key(gone.0.as_str()));
}
