//! Which packs a location is said to lack that stands in for lost ones: those that are not there,
//! and of a place that is gone nothing.

use super::{
    super::points::absent,
    lying::{lay_pack, pack},
    scene::{Leaving, Scene, of, place, put},
};
use crate::places::Place;
use bytes::Bytes;
use holdfast_common::{Code, PackId, PointId, Result};
use holdfast_ledger::row::{PackHome, PackRow, PackState};
use holdfast_repository::layout::ObjectName;
use std::sync::Mutex;

/// What is told, and how it ends.
async fn told(scene: &Scene, place: &Place) -> (Vec<PackId>, Result<u64>) {
    let told = Mutex::new(Vec::new());
    let tell = |packs: Vec<PackId>| {
        told.lock().unwrap().extend(packs);
        async { Ok(()) }
    };
    let ended = absent(scene.query(), &scene.vault, place, tell).await;
    (told.into_inner().unwrap(), ended)
}

#[tokio::test]
async fn what_is_not_there_is_told_of_whenever_it_was_stored() {
    let (scene, place) = (Scene::new(), place("far").await);
    lay_pack(&scene, &place, &pack(1)).await;
    // Of an epoch far ahead.
    let late = PackRow { base: u64::MAX / 2, ..pack(2) };
    scene.know(&late);
    scene.know(&PackRow { state: PackState::Lost, ..pack(3) });
    let (first, second) = (PointId::from_bytes([7; 16]), PointId::from_bytes([8; 16]));
    scene.know(&PackRow { home: PackHome::Point(first, 0), ..pack(4) });
    scene.know(&PackRow { home: PackHome::Point(second, 0), ..pack(5) });
    put(&place.1, &(ObjectName::point(&first), Bytes::from_static(b"record"))).await;
    let (packs, ended) = told(&scene, &place).await;
    assert_eq!((packs, ended.unwrap()), (vec![late.id, pack(5).id], 2));
}

#[tokio::test]
async fn what_came_behind_the_listing_is_there() {
    let (scene, store) = (Scene::new(), Leaving::after(usize::MAX, true));
    let place = of("far", store.clone()).await;
    lay_pack(&scene, &place, &pack(1)).await;
    scene.know(&pack(2));
    let home = PointId::from_bytes([7; 16]);
    scene.know(&PackRow { home: PackHome::Point(home, 0), ..pack(3) });
    put(&place.1, &(ObjectName::point(&home), Bytes::from_static(b"record"))).await;
    store.hide();
    assert_eq!(told(&scene, &place).await.0, [pack(2).id]);
}

#[tokio::test]
async fn of_a_disk_that_is_not_mounted_nothing_is_said() {
    let (scene, store) = (Scene::new(), Leaving::after(usize::MAX, true));
    let place = of("far", store.clone()).await;
    lay_pack(&scene, &place, &pack(1)).await;
    store.allow(0);
    let (packs, ended) = told(&scene, &place).await;
    assert_eq!((packs, ended.unwrap_err().code), (Vec::new(), Code::LocationEmpty));
}
