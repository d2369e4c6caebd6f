//! A location that was filled up holds what the others hold, whole; and nothing is put that was not
//! looked at, nor where it does not belong.

mod absent;
mod keys;
mod lying;
mod scene;

use super::{Filled, Left, LeftObject};
use crate::{house::House, places::Place};
use bytes::Bytes;
use holdfast_common::{Code, PointId, SystemClock, VaultId, limits};
use holdfast_keyring::identity::IdentityKey;
use holdfast_ledger::row::{GoneRow, PackHome, PackRow, PackState, VaultRow};
use holdfast_repository::layout::{self, ObjectName};
use holdfast_storage::{
    MemoryStore, Meter, ObjectStore, Unreliable,
    layers::{Operation, unreliable::Faults},
};
use proptest::prelude::*;
use scene::{
    Leaving, Object, Scene, agent, cluster_key, epoch, extent, holds, of, pack, place, put,
    put_all, snapshot_part, spoil, stored, vault_object,
};
use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

fn point_id(number: u64) -> PointId {
    PointId::from_bytes(crate::crowd::id(number))
}

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(MemoryStore::new(Arc::new(SystemClock::start())))
}

/// A location that counts what it is asked.
async fn metered(called: &str) -> (Place, Arc<Meter>) {
    let meter = Arc::new(Meter::new(memory()));
    (of(called, meter.clone()).await, meter)
}

/// Objects that were put since the vault's own.
fn puts(meter: &Meter) -> (u64, u64) {
    let figures = meter.snapshot();
    (figures.of(Operation::Put).calls - 1, figures.of(Operation::Replace).calls)
}

fn packs(numbers: std::ops::Range<u64>) -> Vec<Object> {
    numbers.map(pack).collect()
}

fn bytes_of(objects: &[Object]) -> u64 {
    objects.iter().map(|(_, bytes)| bytes.len() as u64).sum()
}

#[tokio::test]
async fn every_kind_of_object_goes_and_none_goes_twice() {
    let scene = Scene::new();
    let (from, (to, meter)) = ([place("near").await], metered("far").await);
    let objects = scene.one_of_each();
    put_all(&from[0], &objects).await;
    let filled = scene.fill(&from, &to).await.unwrap();
    let (objects, bytes) = (objects.len() as u64, bytes_of(&objects));
    assert_eq!(filled, Filled { objects, bytes, ..Filled::default() });
    assert_eq!(holds(&to).await, holds(&from[0]).await);
    assert_eq!(puts(&meter), (objects, 0));
    let told = scene.told.lock().unwrap().clone();
    assert_eq!(told.len() as u64, objects);
    assert!(told.iter().all(|told| told.of_objects_hint == Some(objects)));
    assert_eq!(told.last().map(|told| (told.objects, told.bytes)), Some((objects, bytes)));
    assert_eq!(scene.fill(&from, &to).await.unwrap(), Filled::default());
    assert_eq!(puts(&meter), (objects, 0), "the second call had nothing to do");
}

#[tokio::test]
async fn what_no_name_of_ours_says_is_left_alone() {
    let scene = Scene::new();
    let (from, to) = ([place("near").await], place("far").await);
    let odd = ("odd/thing".parse().unwrap(), Bytes::from_static(b"somebody's"));
    put_all(&from[0], &[odd, pack(1)]).await;
    assert_eq!(scene.fill(&from, &to).await.unwrap().objects, 1);
    assert!(!holds(&to).await.contains_key("odd/thing"));
}

#[tokio::test]
async fn a_truncated_object_is_put_anew_and_no_other_is_touched() {
    let scene = Scene::new();
    let (from, (to, meter)) = ([place("near").await], metered("far").await);
    let objects = packs(0..5);
    put_all(&from[0], &objects).await;
    put_all(&to, &objects).await;
    spoil(&to, &objects[2].0, b"short").await;
    let before = puts(&meter);
    let filled = scene.fill(&from, &to).await.unwrap();
    assert_eq!((filled.objects, filled.first_left()), (1, None));
    assert_eq!(puts(&meter), (before.0, before.1 + 1));
    assert_eq!(holds(&to).await, holds(&from[0]).await);
}

#[tokio::test]
async fn a_whole_object_stays_whatever_a_damaged_source_has() {
    let scene = Scene::new();
    let (from, (to, meter)) = ([place("near").await], metered("far").await);
    let object = pack(1);
    put_all(&from[0], std::slice::from_ref(&object)).await;
    put(&to.1, &object).await;
    spoil(&from[0], &object.0, b"short").await;
    assert_eq!(scene.fill(&from, &to).await.unwrap(), Filled::default());
    assert_eq!(puts(&meter), (1, 0));
}

#[tokio::test]
async fn an_extent_that_ends_elsewhere_is_the_locations_own() {
    let scene = Scene::new();
    let (from, to) = ([place("near").await], place("far").await);
    let name = ObjectName::log(1, 7);
    put(&from[0].1, &(name.clone(), Bytes::from_static(b"seven to nine"))).await;
    put(&to.1, &(name.clone(), Bytes::from_static(b"seven"))).await;
    assert_eq!(scene.fill(&from, &to).await.unwrap(), Filled::default());
    assert_eq!(holds(&to).await[name.as_str()], "seven");
}

#[tokio::test]
async fn a_copy_that_is_damaged_is_taken_from_another_source() {
    let scene = Scene::new();
    let (from, to) = ([place("near").await, place("third").await], place("far").await);
    let key = IdentityKey::generate(&holdfast_common::SystemEntropy);
    scene.know(&agent(&key));
    let mut objects = scene.one_of_each();
    objects.retain(|(name, _)| name.as_str().split('/').next() != Some("points"));
    objects.push(scene.point(&key, 3));
    for source in &from {
        put_all(source, &objects).await;
    }
    let mut spoilt = 0;
    for (name, bytes) in &objects {
        let kind = name.as_str().split('/').next().unwrap();
        if !["packs", "points", "reach", "index"].contains(&kind) {
            continue;
        }
        // As long as it was, so that only its content tells.
        let mut damaged = bytes.to_vec();
        let at = match kind {
            // The number of entries: still a record, and not what was signed.
            "points" => bytes.iter().rposition(|byte| *byte == 17).unwrap(),
            _ => damaged.len() - 1,
        };
        damaged[at] ^= 1;
        spoil(&from[0], name, &damaged).await;
        spoilt += 1;
    }
    assert_eq!(spoilt, 4);
    let filled = scene.fill(&from, &to).await.unwrap();
    assert_eq!((filled.objects, filled.first_left()), (objects.len() as u64, None));
    assert_eq!(holds(&to).await, holds(&from[1]).await);
}

#[tokio::test]
async fn what_the_ledger_knows_of_a_point_is_what_counts() {
    let scene = Scene::new();
    let (from, to) = ([place("near").await, place("third").await], place("far").await);
    // Nobody here knows its agent: as far as its form says, both are whole.
    let key = IdentityKey::generate(&holdfast_common::SystemEntropy);
    let other = IdentityKey::generate(&holdfast_common::SystemEntropy);
    let (right, wrong) = (scene.point(&key, 3), scene.point(&other, 3));
    put(&from[0].1, &wrong).await;
    put(&from[1].1, &right).await;
    let mut row = crate::crowd::Crowd::row(3);
    row.object_hash = *blake3::hash(&right.1).as_bytes();
    scene.know(&row);
    assert_eq!(scene.fill(&from, &to).await.unwrap().objects, 1);
    assert_eq!(holds(&to).await[right.0.as_str()], right.1);
}

#[tokio::test]
async fn what_is_whole_nowhere_is_left_and_told_and_the_rest_goes() {
    let scene = Scene::new();
    let (from, to) = ([place("near").await, place("third").await], place("far").await);
    let objects = packs(0..4);
    put_all(&from[0], &objects).await;
    put(&from[1].1, &objects[1]).await;
    let damaged = [&[0xff], &objects[1].1[1..]].concat();
    spoil(&from[0], &objects[1].0, &damaged).await;
    spoil(&from[1], &objects[1].0, b"short").await;
    // The target's own copy is as bad: it is left as it is.
    put(&to.1, &objects[1]).await;
    spoil(&to, &objects[1].0, b"bad").await;
    let filled = scene.fill(&from, &to).await.unwrap();
    let why = "hash in near, hash in third, hash in far".to_owned();
    assert_eq!(filled.left.first, [LeftObject { name: objects[1].0.clone(), why }]);
    assert_eq!(filled.lacks, Left::default(), "the ledger never heard of it");
    assert_eq!(filled.objects, 3);
    assert_eq!(holds(&to).await[objects[1].0.as_str()], "bad");
}

#[tokio::test]
async fn a_source_that_goes_away_ends_it_and_the_next_call_goes_on() {
    for leaves_nothing in [false, true] {
        // It is asked 26 times: shows the vault twice, is listed twice, and read.
        for calls in 1..26 {
            let scene = Scene::new();
            let source = Leaving::after(usize::MAX, leaves_nothing);
            let (from, (to, meter)) = ([of("near", source.clone()).await], metered("far").await);
            let objects = packs(0..20);
            put_all(&from[0], &objects).await;
            source.allow(calls);
            let error = scene.fill(&from, &to).await.unwrap_err();
            assert!(error.is_retryable(), "{calls}: {error}");
            source.allow(usize::MAX);
            let (before, _) = puts(&meter);
            let filled = scene.fill(&from, &to).await.unwrap();
            assert_eq!(filled.objects, objects.len() as u64 - before, "{calls}: it goes on");
            assert_eq!(puts(&meter), (objects.len() as u64, 0), "{calls}: nothing goes twice");
            assert_eq!(holds(&to).await, holds(&from[0]).await);
        }
    }
}

#[tokio::test]
async fn a_target_that_goes_away_ends_it_and_the_next_call_goes_on() {
    for leaves_nothing in [false, true] {
        for calls in 1..25 {
            let scene = Scene::new();
            let target = Leaving::after(usize::MAX, leaves_nothing);
            let (from, to) = ([place("near").await], of("far", target.clone()).await);
            put_all(&from[0], &packs(0..20)).await;
            target.allow(calls);
            let error = scene.fill(&from, &to).await.unwrap_err();
            assert!(error.is_retryable(), "{calls}: {error}");
            target.allow(usize::MAX);
            let before = holds(&to).await.len();
            let filled = scene.fill(&from, &to).await.unwrap();
            assert_eq!(filled.objects as usize, 21 - before, "{calls}: it goes on");
            assert_eq!(holds(&to).await, holds(&from[0]).await);
        }
    }
}

#[tokio::test]
async fn nothing_is_put_where_the_vault_is_not_nor_by_who_was_superseded() {
    let mut scene = Scene::new();
    let from = [place("near").await];
    put_all(&from[0], &packs(0..3)).await;
    let store = memory();
    let to: Place = ("far".parse().unwrap(), store.clone());
    assert_eq!(scene.fill(&from, &to).await.unwrap_err().code, Code::LocationEmpty);
    put(&store, &vault_object(VaultId::from_bytes([7; 16]))).await;
    assert_eq!(scene.fill(&from, &to).await.unwrap_err().code, Code::VaultForeign);
    assert_eq!(holds(&to).await.len(), 1);
    // A source that is not mounted holds nothing; that is not the same as nothing to do.
    let empty: Place = ("empty".parse().unwrap(), memory());
    let (from, to) = ([from[0].clone(), empty], place("far").await);
    assert_eq!(scene.fill(&from, &to).await.unwrap_err().code, Code::LocationEmpty);
    assert_eq!(scene.fill(&[], &to).await.unwrap_err().code, Code::LocationMissing);
    scene.is_superseded = true;
    assert_eq!(scene.fill(&from[..1], &to).await.unwrap_err().code, Code::EpochSuperseded);
    assert_eq!(holds(&to).await.len(), 1);
}

#[tokio::test]
async fn only_what_is_named_is_copied_and_what_is_nowhere_is_told() {
    let scene = Scene::new();
    let (from, to) = ([place("near").await, place("third").await], place("far").await);
    let objects = packs(0..6);
    put_all(&from[0], &objects[..3]).await;
    put_all(&from[1], &objects[2..5]).await;
    put(&to.1, &objects[1]).await;
    let names: Vec<_> = [1, 2, 4, 5].map(|at: usize| objects[at].0.clone()).into();
    let filled = scene.copy(&from, &to, &names).await.unwrap();
    let left = LeftObject { name: names[3].clone(), why: "missing".to_owned() };
    assert_eq!((filled.objects, filled.left.first), (2, vec![left]));
    let held = holds(&to).await;
    let is_there = |at: usize| held.contains_key(objects[at].0.as_str());
    assert_eq!([0, 1, 2, 3, 4, 5].map(is_there), [false, true, true, false, true, false]);
}

#[tokio::test]
async fn more_names_than_a_page_holds_all_go() {
    let scene = Scene::new();
    let (from, to) = ([place("near").await, place("third").await], place("far").await);
    let many = limits::LIST_PAGE_ROWS as u64 + 50;
    for index in 0..many {
        let object = pack(index);
        put(&from[0].1, &object).await;
        if index % 2 == 0 {
            put(&to.1, &object).await;
        }
    }
    assert_eq!(scene.fill(&from, &to).await.unwrap().objects, many / 2);
    assert_eq!(holds(&to).await.len() as u64, many + 1);
}

#[tokio::test(start_paused = true)]
async fn few_are_under_way_at_once_and_their_bytes_have_a_bound() {
    for (budget, most) in [(limits::MIB, limits::COPIES_IN_FLIGHT_MAX), (limits::KIB, 1)] {
        let scene = Scene { budget: crate::budget::Budget::new(budget), ..Scene::new() };
        let source = Leaving::after(usize::MAX, false);
        let (from, to) = ([of("near", source.clone()).await], place("far").await);
        put_all(&from[0], &packs(0..20)).await;
        assert_eq!(scene.fill(&from, &to).await.unwrap().objects, 20);
        assert_eq!(source.busiest.load(SeqCst), most, "{budget}");
    }
}

#[tokio::test]
async fn unreliable_locations_are_filled_in_the_end_and_never_with_damage() {
    for seed in 0..20 {
        let scene = Scene::new();
        let objects = packs(0..15);
        let faults = Faults {
            fail_before_permille: 30,
            fail_after_permille: 30,
            streak_max: 3,
            ..Faults::NONE
        };
        let mut places = Vec::new();
        for (called, holds) in [("near", 0..9), ("third", 6..15), ("far", 2..4)] {
            let (name, inner) = place(called).await;
            put_all(&(name.clone(), inner.clone()), &objects[holds]).await;
            let store: Arc<dyn ObjectStore> =
                Arc::new(Unreliable::new(inner.clone(), faults, seed));
            places.push(((name.clone(), store), (name, inner)));
        }
        let from = [places[0].0.clone(), places[1].0.clone()];
        let is_done = |filled: &Filled| filled.first_left().is_none();
        let mut tries = 0;
        while !scene.fill(&from, &places[2].0).await.as_ref().is_ok_and(is_done) {
            tries += 1;
            assert!(tries < 200, "seed {seed} never ends");
        }
        let held = holds(&places[2].1).await;
        assert_eq!(held.len(), objects.len() + 1, "seed {seed}");
        assert!(objects.iter().all(|(name, bytes)| held[name.as_str()] == bytes), "seed {seed}");
    }
}

#[tokio::test]
async fn what_was_collected_is_brought_back_by_nobody() {
    let scene = Scene::new();
    let (from, to) = ([place("near").await], place("far").await);
    let objects = packs(0..3);
    put_all(&from[0], &objects).await;
    let id = |(name, _): &Object| {
        let layout::Object::Pack(id) = name.object() else { unreachable!() };
        id
    };
    let doomed = crate::crowd::pack(*id(&objects[0]).as_bytes());
    let (vault, when) = (doomed.vault, holdfast_common::Timestamp::ZERO);
    scene.know(&PackRow { state: PackState::Doomed, ..doomed });
    scene.know(&GoneRow { vault, pack: id(&objects[1]), when, into: None });
    let filled = scene.fill(&from, &to).await.unwrap();
    assert_eq!((filled.objects, filled.lacks.count, filled.left.count), (1, 0, 0));
    for (object, is_there) in objects.iter().zip([false, false, true]) {
        assert_eq!(to.1.head(&stored(&object.0)).await.unwrap().is_some(), is_there);
    }
}

#[tokio::test]
async fn only_what_the_ledger_relies_on_keeps_a_location_from_being_whole() {
    let scene = Scene::new();
    let (from, to) = ([place("near").await], place("far").await);
    let objects = packs(0..3);
    let row = |(name, _): &Object, state| {
        let layout::Object::Pack(id) = name.object() else { unreachable!() };
        PackRow { state, ..crate::crowd::pack(*id.as_bytes()) }
    };
    scene.know(&row(&objects[0], PackState::Stored));
    scene.know(&row(&objects[1], PackState::Lost));
    scene.know(&row(&objects[2], PackState::Intended));
    scene.know(&crate::crowd::Crowd::row(3));
    // Of two that were forgotten others need what lies in the object of the first.
    for number in [5, 6] {
        scene.know(&crate::crowd::forgotten(number));
    }
    let home = PackHome::Point(point_id(5), 99);
    scene.know(&PackRow { home, ..crate::crowd::pack([50; 32]) });
    let home = PackHome::Point(point_id(6), 99);
    scene.know(&PackRow { home, state: PackState::Lost, ..crate::crowd::pack([60; 32]) });
    let [known, unknown, needed, gone] =
        [3, 4, 5, 6].map(|number| ObjectName::point(&point_id(number)));
    let points = [&known, &unknown, &needed, &gone];
    for name in objects.iter().map(|(name, _)| name).chain(points) {
        put(&from[0].1, &(name.clone(), Bytes::from_static(b"damaged"))).await;
    }
    let filled = scene.fill(&from, &to).await.unwrap();
    let names = |left: &Left| {
        assert_eq!(left.count, left.first.len() as u64);
        left.first.iter().map(|left| left.name.clone()).collect::<BTreeSet<_>>()
    };
    assert_eq!(names(&filled.lacks), BTreeSet::from([objects[0].0.clone(), known, needed]));
    let others = [objects[1].0.clone(), objects[2].0.clone(), unknown, gone];
    assert_eq!(names(&filled.left), BTreeSet::from(others));
    assert_eq!(holds(&to).await.len(), 1);
}

#[tokio::test]
async fn whatever_is_relied_on_and_damaged_is_named_in_masses_too() {
    let scene = Scene::new();
    let (from, to) = ([place("near").await], place("far").await);
    let objects = packs(0..3 * limits::OBJECTS_LEFT_TOLD_MAX as u64);
    for (name, _) in &objects {
        let layout::Object::Pack(id) = name.object() else { unreachable!() };
        scene.know(&crate::crowd::pack(*id.as_bytes()));
        put(&from[0].1, &(name.clone(), Bytes::from_static(b"damaged"))).await;
    }
    let filled = scene.fill(&from, &to).await.unwrap();
    // All of it is seen to before anybody looks again.
    assert_eq!((filled.lacks.count, filled.lacks.first.len()), (300, 300));
    assert_eq!(filled.left, Left::default());
}

#[tokio::test]
async fn any_number_of_names_that_mean_nothing_is_counted_and_the_rest_goes() {
    let scene = Scene::new();
    let (from, to) = ([place("near").await], place("far").await);
    for number in 0..10_001 {
        let name = ObjectName::point(&point_id(number));
        put(&from[0].1, &(name, Bytes::from_static(b"nothing"))).await;
    }
    put(&from[0].1, &pack(1)).await;
    let filled = scene.fill(&from, &to).await.unwrap();
    assert_eq!((filled.objects, filled.left.count), (1, 10_001));
    assert_eq!(filled.left.first.len(), limits::OBJECTS_LEFT_TOLD_MAX);
    assert_eq!(filled.lacks, Left::default());
}

#[tokio::test]
async fn what_the_target_has_of_a_wanted_object_is_read_before_it_counts() {
    let scene = Scene::new();
    let (from, (to, meter)) = ([place("near").await, place("third").await], metered("far").await);
    let objects = packs(0..3);
    put_all(&to, &objects).await;
    put(&from[1].1, &objects[0]).await;
    // As long as they were: a listing does not tell.
    let spoilt = |at: usize| [&[0xff], &objects[at].1[1..]].concat();
    spoil(&to, &objects[0].0, &spoilt(0)).await;
    spoil(&to, &objects[1].0, &spoilt(1)).await;
    let before = puts(&meter);
    let names: Vec<_> = objects.iter().map(|(name, _)| name.clone()).collect();
    let filled = scene.copy(&from, &to, &names).await.unwrap();
    let left = LeftObject { name: names[1].clone(), why: "hash in far".to_owned() };
    assert_eq!((filled.objects, filled.left.first), (1, vec![left]));
    assert_eq!(puts(&meter), (before.0, before.1 + 1));
    let held = holds(&to).await;
    assert_eq!(held[names[0].as_str()], objects[0].1);
    assert_eq!(held[names[2].as_str()], objects[2].1);
}

#[tokio::test]
async fn what_coordinators_alone_write_is_opened_before_it_goes() {
    let scene = Scene::new();
    let (from, to) = ([place("near").await, place("third").await], place("far").await);
    let objects = [cluster_key(b"wrapped"), extent(7), snapshot_part(7), epoch(2), scene.keys(1)];
    // Whole, and of another name; then not even whole.
    let others = [extent(8), snapshot_part(8), epoch(3), scene.keys(2)];
    for (object, other) in objects[1..].iter().zip(&others) {
        put(&from[0].1, &(object.0.clone(), other.1.clone())).await;
    }
    put(&from[0].1, &(objects[0].0.clone(), Bytes::from_static(b"torn"))).await;
    put_all(&from[1], &objects).await;
    let filled = scene.fill(&from, &to).await.unwrap();
    assert_eq!((filled.objects, filled.first_left()), (objects.len() as u64, None));
    assert_eq!(holds(&to).await, holds(&from[1]).await);
    let (from, to) = ([from[0].clone()], place("away").await);
    let filled = scene.fill(&from, &to).await.unwrap();
    assert_eq!((filled.objects, filled.left.count), (0, objects.len() as u64));
    assert_eq!(filled.lacks, Left::default(), "it keeps nobody");
}

#[tokio::test]
async fn keys_that_open_to_nobody_go_only_where_all_say_the_same() {
    let mut scene = Scene::new();
    let (from, to) = ([place("near").await, place("third").await], place("far").await);
    let (current, old) = ([scene.keys(2), scene.keys(2)], [scene.keys(1), scene.keys(1)]);
    // The ledger has the current ones: they are told apart from others of their name.
    scene.vault.key_object = current[1].1.to_vec().into();
    for (at, place) in from.iter().enumerate() {
        put_all(place, &[current[at].clone(), old[at].clone()]).await;
        put(&place.1, &cluster_key(&[at as u8])).await;
    }
    let filled = scene.fill(&from, &to).await.unwrap();
    let why = "not the same in near and third";
    assert!(filled.left.first.iter().all(|left| left.why == why), "{filled:?}");
    assert_eq!((filled.objects, filled.left.count), (1, 2));
    let held = holds(&to).await;
    assert_eq!((held.len(), &held[current[1].0.as_str()]), (2, &current[1].1));
}

#[tokio::test(start_paused = true)]
async fn a_fill_waits_for_those_who_read_beside_it() {
    let scene = Scene { budget: crate::budget::Budget::new(limits::KIB), ..Scene::new() };
    let (from, to) = ([place("near").await], place("far").await);
    put_all(&from[0], &packs(0..3)).await;
    let share = scene.budget.reserve(1).await.unwrap();
    let long = Duration::from_secs(10 * limits::BUDGET_WAIT_SECS);
    let mut fill = std::pin::pin!(scene.fill(&from, &to));
    let waits = tokio::time::timeout(long, &mut fill).await;
    assert!(waits.is_err(), "it gave up, or took what it was not given: {waits:?}");
    drop(share);
    assert_eq!(fill.await.unwrap().objects, 3);
}

#[derive(Clone, Debug)]
enum Step {
    Fill(usize),
    /// An object into some of the places.
    Put(u64, [bool; 3]),
    /// Half of an object goes, where another place has it whole.
    Tear(usize, u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0usize..3).prop_map(Step::Fill),
        (0u64..12, any::<[bool; 3]>()).prop_map(|(object, places)| Step::Put(object, places)),
        (0usize..3, 0u64..12).prop_map(|(place, object)| Step::Tear(place, object)),
    ]
}

async fn play(steps: &[Step]) -> Vec<std::collections::BTreeMap<String, Bytes>> {
    let scene = Scene::new();
    let places = [place("a").await, place("b").await, place("c").await];
    let fill = async |at: usize| {
        let others = places.iter().enumerate().filter(|(other, _)| *other != at);
        let from: Vec<Place> = others.map(|(_, place)| place.clone()).collect();
        scene.fill(&from, &places[at]).await.unwrap()
    };
    for step in steps {
        match step {
            Step::Fill(at) => drop(fill(*at).await),
            Step::Put(object, into) => {
                for (place, _) in places.iter().zip(into).filter(|(_, wanted)| **wanted) {
                    // Torn there, perhaps; then it stays for a fill to mend.
                    drop(place.1.put_new(&stored(&pack(*object).0), pack(*object).1).await);
                }
            }
            Step::Tear(at, object) => {
                let (name, bytes) = pack(*object);
                let mut whole = [false; 3];
                for (place, whole) in places.iter().zip(&mut whole) {
                    let held = place.1.get(&stored(&name), 1000).await;
                    *whole = held.is_ok_and(|held| held == bytes);
                }
                if whole[*at] && whole.iter().filter(|whole| **whole).count() > 1 {
                    spoil(&places[*at], &name, &bytes[..50]).await;
                }
            }
        }
    }
    for at in 0..3 {
        assert_eq!(fill(at).await.first_left(), None, "one whole copy is enough");
    }
    let mut held = Vec::new();
    for place in &places {
        held.push(holds(place).await);
    }
    held
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever was put where, torn, and filled up in whatever order: in the end all places hold
    /// the same, whole.
    #[test]
    fn all_places_end_with_the_same_objects(steps in prop::collection::vec(any_step(), 0..30)) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let held = builder.enable_all().build().unwrap().block_on(play(&steps));
        prop_assert_eq!(&held[0], &held[1]);
        prop_assert_eq!(&held[1], &held[2]);
        for object in 0..12 {
            let (name, bytes) = pack(object);
            let was_put = |step: &Step| {
                matches!(step, Step::Put(put, places) if *put == object && places.contains(&true))
            };
            let expected = steps.iter().any(was_put).then_some(&bytes);
            prop_assert_eq!(held[0].get(name.as_str()), expected);
        }
    }
}

/// A service moves them from thread to thread; this is looked at when it is compiled.
#[expect(dead_code, reason = "nothing needs to run")]
fn calls_can_be_moved(house: &House, vault: &VaultRow, (from, to): (&[Place], &Place)) {
    fn is_send(_: impl Send) {}
    is_send(super::fill(house, vault, from, to, &|_| ()));
    is_send(super::copy(house, vault, from, to, &[], &|_| ()));
    is_send(super::place_points(house, vault, &to.0));
}
