//! Which points are said to lie in a location: those of which nothing is missing there.

use super::{
    super::points::Survey,
    scene::{Scene, place, put, spoil},
};
use crate::{
    crowd::{Crowd, MANY, forgotten, id, pack as pack_row},
    places::Place,
};
use bytes::Bytes;
use holdfast_common::{PackId, PointId, limits};
use holdfast_ledger::row::{PackHome, PackRow, PackState};
use holdfast_repository::layout::ObjectName;

/// Every batch that is said of a location.
async fn batches(scene: &Scene, place: &Place) -> Vec<Vec<PointId>> {
    let (budget, tasks) = (&scene.budget, &scene.tasks);
    let mut survey =
        Survey::begin(scene.query(), &scene.vault, place, budget, tasks).await.unwrap();
    let mut batches = Vec::new();
    loop {
        let batch = survey.batch().await.unwrap();
        if batch.is_empty() {
            return batches;
        }
        batches.push(batch);
    }
}

async fn said(scene: &Scene, place: &Place) -> Vec<u64> {
    let number = |id: &PointId| (0..100).find(|number| *id == point(*number)).unwrap();
    batches(scene, place).await.concat().iter().map(number).collect()
}

fn point(number: u64) -> PointId {
    PointId::from_bytes(id(number))
}

pub(super) fn pack(number: u8) -> PackRow {
    // Its chunk has the pack's number.
    PackRow { base: u64::from(number), ..pack_row([number; 32]) }
}

/// A point of the ledger that reaches one number, and its objects in the location.
async fn lay(scene: &Scene, place: &Place, number: u64, reaches: u64) {
    let (name, bytes) = scene.reach(number, reaches);
    let mut row = Crowd::row(number);
    row.reach_hash = *blake3::hash(&bytes).as_bytes();
    scene.know(&row);
    put(&place.1, &(name, bytes)).await;
    put(&place.1, &(ObjectName::point(&point(number)), Bytes::from_static(b"record"))).await;
}

pub(super) async fn lay_pack(scene: &Scene, place: &Place, row: &PackRow) {
    scene.know(row);
    let bytes = Bytes::from(vec![1; row.length as usize]);
    put(&place.1, &(ObjectName::pack(&row.id), bytes)).await;
}

async fn remove(place: &Place, name: ObjectName) {
    assert!(place.1.delete(&name.as_str().parse().unwrap()).await.unwrap());
}

#[tokio::test]
async fn points_of_which_nothing_is_missing_are_said_to_lie_there() {
    let (scene, place) = (Scene::new(), place("far").await);
    for number in 1..=3 {
        lay(&scene, &place, u64::from(number), u64::from(number)).await;
        lay_pack(&scene, &place, &pack(number)).await;
    }
    assert_eq!(said(&scene, &place).await, [1, 2, 3]);
    let mut known = Crowd::row(2);
    known.locations.push("far".parse().unwrap());
    scene.know(&known);
    assert_eq!(said(&scene, &place).await, [1, 3], "of the second it was said");
    let other = PackId::from_bytes([9; 32]);
    scene.know(&PackRow { id: other, base: 9, state: PackState::Intended, ..pack(9) });
    assert_eq!(said(&scene, &place).await, [1, 3], "what was only announced is nobody's");
}

#[tokio::test]
async fn a_point_that_lacks_its_record_or_its_reach_does_not_lie_there() {
    let (scene, place) = (Scene::new(), place("far").await);
    for number in 1..=3 {
        lay(&scene, &place, number, number).await;
    }
    remove(&place, ObjectName::point(&point(1))).await;
    remove(&place, ObjectName::reach(&point(3))).await;
    assert_eq!(said(&scene, &place).await, [2]);
}

#[tokio::test]
async fn a_point_that_reaches_a_missing_pack_does_not_lie_there() {
    let (scene, place) = (Scene::new(), place("far").await);
    for number in 1..=5 {
        lay(&scene, &place, u64::from(number), u64::from(number)).await;
        lay_pack(&scene, &place, &pack(number)).await;
    }
    remove(&place, ObjectName::pack(&pack(2).id)).await;
    spoil(&place, &ObjectName::pack(&pack(3).id), b"").await;
    scene.know(&PackRow { state: PackState::Lost, ..pack(4) });
    assert_eq!(said(&scene, &place).await, [1, 5]);
    // A reach that is damaged says nothing.
    spoil(&place, &ObjectName::reach(&point(5)), b"damaged").await;
    assert_eq!(said(&scene, &place).await, [1]);
}

#[tokio::test]
async fn a_reach_that_cannot_be_read_keeps_no_other_point_from_being_said() {
    let (scene, place) = (Scene::new(), place("far").await);
    for number in 1..=3 {
        lay(&scene, &place, number, number).await;
    }
    scene.know(&pack(1));
    // Longer than any reach.
    let bytes = vec![0; limits::REACH_BYTES_MAX + 1];
    spoil(&place, &ObjectName::reach(&point(2)), &bytes).await;
    assert_eq!(said(&scene, &place).await, [3]);
}

#[tokio::test]
async fn a_point_needs_the_points_that_its_small_packs_lie_in() {
    let (scene, place) = (Scene::new(), place("far").await);
    for number in 1..=3 {
        lay(&scene, &place, number, 7).await;
    }
    lay(&scene, &place, 4, 8).await;
    scene.know(&PackRow { home: PackHome::Point(point(1), 99), ..pack(7) });
    assert_eq!(said(&scene, &place).await, [1, 2, 3, 4]);
    // Its packs lie in its record, whatever became of its reach.
    remove(&place, ObjectName::reach(&point(1))).await;
    assert_eq!(said(&scene, &place).await, [2, 3, 4]);
    remove(&place, ObjectName::point(&point(1))).await;
    assert_eq!(said(&scene, &place).await, [4]);
}

#[tokio::test]
async fn of_points_that_were_forgotten_only_what_others_need_is_missed() {
    let (scene, place) = (Scene::new(), place("far").await);
    lay(&scene, &place, 3, 7).await;
    lay(&scene, &place, 4, 8).await;
    scene.know(&forgotten(1));
    scene.know(&forgotten(2));
    let home = PackHome::Point(point(1), 99);
    scene.know(&PackRow { home, ..pack(7) });
    scene.know(&PackRow { home, ..pack(9) });
    let (budget, tasks) = (&scene.budget, &scene.tasks);
    let survey = Survey::begin(scene.query(), &scene.vault, &place, budget, tasks).await.unwrap();
    let lacking = survey.lacking();
    assert_eq!((lacking.homes, lacking.count), (vec![point(1)], 1));
    assert_eq!((lacking.points, lacking.packs), (vec![], vec![]));
    assert_eq!(said(&scene, &place).await, [4]);
    put(&place.1, &(ObjectName::point(&point(1)), Bytes::from_static(b"record"))).await;
    assert_eq!(said(&scene, &place).await, [3, 4]);
}

#[tokio::test]
async fn points_beyond_the_first_page_are_said_too_and_few_at_a_time() {
    let (scene, place) = (Scene::new(), place("far").await);
    for number in 0..MANY {
        scene.know(&Crowd::row(number));
        for name in [ObjectName::point(&point(number)), ObjectName::reach(&point(number))] {
            put(&place.1, &(name, Bytes::from_static(b"x"))).await;
        }
    }
    let mut foreign = Crowd::row(MANY + 1);
    foreign.vault = holdfast_common::VaultId::from_bytes([1; 16]);
    scene.know(&foreign);
    let batches = batches(&scene, &place).await;
    assert!(batches.iter().all(|batch| batch.len() <= limits::POINTS_PLACED_MAX));
    let expected: Vec<PointId> = (0..MANY).map(point).collect();
    assert_eq!(batches.concat(), expected);
}
