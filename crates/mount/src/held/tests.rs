//! How long points are held, and how many.

use super::*;
use crate::double::{Books, Hand, Made};
use holdfast_common::{Code, Error};

fn id(number: u8) -> PointId {
    PointId::from_bytes([number; 16])
}

fn scene() -> (Arc<Books>, Arc<Hand>, Held) {
    let point = Made::default().point();
    let points: Vec<_> = (0..20).map(|number| (number, &point)).collect();
    let (books, clock) = (Books::of(&points), Arc::new(Hand::default()));
    let held = Held::new(books.clone(), clock.clone(), Duration::from_secs(100));
    (books, clock, held)
}

#[test]
fn a_point_is_opened_once_and_again_after_nobody_read_it_for_long() {
    let (books, clock, held) = scene();
    held.get(&id(1)).unwrap();
    clock.go_on(60);
    held.get(&id(1)).unwrap();
    clock.go_on(60);
    held.keep();
    held.get(&id(1)).unwrap();
    assert_eq!(*lock(&books.opened), [id(1)], "it was used in between");
    clock.go_on(100);
    held.keep();
    assert!(lock(&held.open).is_empty());
    held.get(&id(1)).unwrap();
    assert_eq!(*lock(&books.opened), [id(1), id(1)]);
}

#[test]
fn the_one_used_longest_ago_makes_room() {
    let (books, clock, held) = scene();
    for number in 0..limits::MOUNT_POINTS_OPEN_MAX as u8 {
        held.get(&id(number)).unwrap();
        clock.go_on(1);
    }
    held.get(&id(0)).unwrap();
    held.get(&id(19)).unwrap();
    let open = lock(&held.open);
    assert_eq!(open.len(), limits::MOUNT_POINTS_OPEN_MAX);
    assert!(open.contains_key(&id(0)) && !open.contains_key(&id(1)));
    assert_eq!(lock(&books.opened).len(), limits::MOUNT_POINTS_OPEN_MAX + 1);
}

#[test]
fn what_cannot_be_kept_is_let_go_of_and_what_may_mend_is_not() {
    let (books, _, held) = scene();
    held.get(&id(1)).unwrap();
    let point = Arc::clone(&lock(&books.points)[&id(1)]);
    *lock(&point.lost) = Some(Error::new(Code::ClusterUnreachable, "nobody answers"));
    held.keep();
    assert_eq!(lock(&held.open).len(), 1);
    *lock(&point.lost) = Some(Error::new(Code::PointMissing, "it was forgotten"));
    held.keep();
    assert!(lock(&held.open).is_empty());
}

#[test]
fn a_point_that_is_not_there_is_an_error_each_time() {
    let (books, _, held) = scene();
    assert!(held.get(&id(99)).is_err());
    assert!(held.get(&id(99)).is_err());
    assert_eq!(lock(&books.opened).len(), 2);
}

#[test]
fn while_nobody_answers_one_asks_and_all_who_wait_hear_of_it() {
    let (books, _, held) = scene();
    *lock(&books.away) = Some(Error::new(Code::ClusterUnreachable, "nobody answers"));
    let all = 8;
    std::thread::scope(|scope| {
        let closed = lock(&books.gate);
        let get = |number: u8| held.get(&id(number % 2)).err().map(|error| error.code);
        let readers: Vec<_> = (0..all).map(|number| scope.spawn(move || get(number))).collect();
        let come = || lock(&held.opening).as_ref().map_or(0, Arc::strong_count);
        while come() <= usize::from(all) {
            std::thread::yield_now();
        }
        drop(closed);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), Some(Code::ClusterUnreachable));
        }
    });
    assert_eq!(lock(&books.opened).len(), 1);
    *lock(&books.away) = None;
    held.get(&id(1)).unwrap();
}
