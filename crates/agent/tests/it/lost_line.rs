//! Lost connections and lost coordinators in the middle of things.

use crate::scene::{Scene, noise};
use crate::trees::tree;
use holdfast_agent::pipeline::RunControl;
use holdfast_agent::restore::{VerifyOrder, verify_ordered};
use holdfast_common::{ChunkKind, Code, RunId, SystemEntropy};
use std::collections::{BTreeMap, HashSet};

fn large(scene: &Scene) {
    (0..20).for_each(|number| scene.write(&format!("f{number:02}"), &noise(number, 5_000_000)));
}

fn comes_back(scene: &Scene) {
    let backup = scene.back_up();
    let (_target, restored, report) = scene.restore_all(backup.point);
    assert_eq!(report.skipped, []);
    assert_eq!(tree(&restored), tree(&scene.source));
}

/// How often each pack arrived whole.
fn times_stored(scene: &Scene) -> Vec<usize> {
    let mut times = BTreeMap::new();
    for (_, id) in &scene.double.inner().packs {
        *times.entry(*id).or_insert(0) += 1;
    }
    times.into_values().collect()
}

#[test]
fn a_run_goes_on_over_a_lost_connection() {
    let scene = Scene::new();
    large(&scene);
    scene.double.inner().faults.cut_at_packs = HashSet::from([2, 4]);
    comes_back(&scene);
    assert_eq!(scene.double.inner().begins, 1, "the session goes on");
    assert!(*scene.double.wire.cuts.lock().unwrap() == 2);
    assert!(times_stored(&scene).len() >= 7);
}

#[test]
fn a_pack_whose_answer_was_lost_is_sent_again_and_counts_once() {
    let scene = Scene::new();
    large(&scene);
    scene.double.inner().faults.cut_after_packs = HashSet::from([3]);
    comes_back(&scene);
    assert_eq!(scene.double.inner().begins, 1);
    // Those on their way at that moment may arrive twice, and no others.
    let again = times_stored(&scene).iter().filter(|times| **times > 1).count();
    assert!((1..=4).contains(&again), "{again} packs came twice");
}

#[test]
fn a_run_begins_again_with_a_coordinator_that_does_not_know_its_session() {
    let scene = Scene::new();
    large(&scene);
    scene.double.inner().faults.forget_at_packs = HashSet::from([3, 5]);
    comes_back(&scene);
    assert!((2..=3).contains(&scene.double.inner().begins));
    let data = scene.double.inner().packs.iter().filter(|p| p.0 == ChunkKind::Data).count();
    assert!(data <= 9, "what was stored is not sent again: {data} packs for 100 MB");
}

#[test]
fn a_restore_goes_on_when_answers_end_early() {
    let scene = Scene::new();
    (0..40).for_each(|number| scene.write(&format!("f{number}"), &noise(number, 30_000)));
    let backup = scene.back_up();
    scene.double.inner().faults.cut_fetches = 5;
    let (_target, restored, report) = scene.restore_all(backup.point);
    assert_eq!(report.skipped, []);
    assert_eq!(tree(&restored), tree(&scene.source));
    assert_eq!(scene.double.inner().faults.cut_fetches, 0);
}

#[test]
fn a_read_session_that_was_forgotten_is_opened_again() {
    let scene = Scene::new();
    scene.write("file", &noise(1, 300_000));
    let backup = scene.back_up();
    let reader = scene.open(backup.point);
    scene.double.inner().reads.clear();
    let target = tempfile::tempdir().unwrap();
    let request = scene.to_dir(target.path());
    let report = holdfast_agent::restore::restore(&reader, &request, &Default::default()).unwrap();
    assert_eq!(report.skipped, []);
    drop(reader);
    assert!(scene.double.inner().reads.is_empty(), "the session is closed with its reader");
    assert_eq!(scene.double.inner().reads_closed, 1);
}

#[test]
fn the_session_of_a_verification_is_left_to_the_end_of_its_run() {
    let scene = Scene::new();
    scene.write("file", &noise(1, 300_000));
    let point = scene.back_up().point;
    let order = VerifyOrder { run: RunId::random(&SystemEntropy), point };
    let ended = verify_ordered(&scene.host, &order, &RunControl::default());
    // The double knows no verifications: so it ends before it is concluded.
    assert_eq!(ended.unwrap_err().code, Code::AuthDenied);
    let inner = scene.double.inner();
    assert_eq!((inner.reads.len(), inner.reads_closed), (1, 0));
}

#[test]
fn chunks_that_the_index_does_not_know_yet_are_asked_for_again() {
    let scene = Scene::new();
    (0..40).for_each(|number| scene.write(&format!("f{number}"), &noise(number, 30_000)));
    let backup = scene.back_up();
    let reader = scene.open(backup.point);
    {
        // More than would be tried if each did not bring something.
        let mut inner = scene.double.inner();
        inner.faults.loading_fetches = 7;
        inner.faults.loading_cause = Some("the location is away");
    }
    let target = tempfile::tempdir().unwrap();
    let request = scene.to_dir(target.path());
    let report = holdfast_agent::restore::restore(&reader, &request, &Default::default()).unwrap();
    assert_eq!(report.skipped, []);
    assert_eq!(report.bytes_written, 40 * 30_000);
    assert_eq!(scene.double.inner().faults.loading_fetches, 0);
}

#[test]
fn an_index_that_something_holds_up_is_not_waited_for_without_end() {
    let scene = Scene::new();
    scene.write("file", &noise(1, 300_000));
    let backup = scene.back_up();
    let reader = scene.open(backup.point);
    {
        let mut inner = scene.double.inner();
        inner.faults.loading_fetches = 100;
        inner.faults.loading_cause = Some("the location is away");
    }
    let target = tempfile::tempdir().unwrap();
    let request = scene.to_dir(target.path());
    let restored = holdfast_agent::restore::restore(&reader, &request, &Default::default());
    let error = restored.unwrap_err();
    assert_eq!(error.code, Code::IndexLoading);
    assert_eq!(error.cause.as_deref(), Some("the location is away"));
    // Few of the fetches bring something, and then four bring nothing.
    let tried = 100 - scene.double.inner().faults.loading_fetches;
    assert!((4..=40).contains(&tried), "{tried} fetches");
}
