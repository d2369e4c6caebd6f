//! What was applied and a copier has not brought yet, in the order in which it has to go: a point
//! is brought after everything that was stored before it was committed.
//!
//! Bounded: whoever is too far behind looks through the listings instead. So does whoever hears
//! that something was found again: points that rest on it lie nowhere but where they did before.

use crate::{fill::Lacking, raft::Heard};
use holdfast_common::{PointId, Result, Timestamp, VaultId};
use holdfast_ledger::{
    Query,
    row::{PackHome, PackState, PointRow},
};
use holdfast_repository::layout::{Object, ObjectName};
use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Notify, watch};

/// So many objects at most are told apart.
const OBJECTS_MAX: usize = 16_384;

/// A part of what there is to bring.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Packs and segments.
    pub(crate) objects: Vec<ObjectName>,
    pub(crate) points: Vec<PointId>,
    /// How many they were before they were too many.
    points_count: u64,
    /// Of the packs.
    pub(super) bytes: u64,
    /// When the oldest of the points was committed.
    pub(super) oldest: Option<Timestamp>,
    /// Too much to be told one by one.
    pub(crate) everything: bool,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.points.is_empty() && !self.everything
    }

    fn note_point(&mut self, point: &PointRow) {
        self.points.push(point.id);
        let mut backlog = Backlog::of(self);
        backlog.note(point);
        (self.points_count, self.oldest) = (backlog.points, backlog.oldest);
    }

    fn take_in(&mut self, news: Self) {
        let backlog = Backlog::of(self).and(Backlog::of(&news));
        (self.points_count, self.bytes, self.oldest) =
            (backlog.points, backlog.bytes, backlog.oldest);
        self.objects.extend(news.objects);
        self.points.extend(news.points);
        self.everything |= news.everything || self.objects.len() + self.points.len() > OBJECTS_MAX;
        if self.everything {
            self.objects.clear();
            self.points.clear();
        }
    }
}

/// How much there is to bring, as people are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Backlog {
    pub(super) points: u64,
    pub(super) bytes: u64,
    pub(super) oldest: Option<Timestamp>,
}

impl Backlog {
    pub(super) fn note(&mut self, point: &PointRow) {
        let (points, oldest) = (1, Some(point.committed));
        *self = self.and(Self { points, bytes: 0, oldest });
    }

    pub(super) fn of(batch: &Batch) -> Self {
        Self { points: batch.points_count, bytes: batch.bytes, oldest: batch.oldest }
    }

    pub(super) fn and(self, later: Self) -> Self {
        let (points, bytes) = (self.points + later.points, self.bytes + later.bytes);
        let oldest = match (self.oldest, later.oldest) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self { points, bytes, oldest }
    }
}

#[derive(Default)]
pub(crate) struct Queue {
    batch: Mutex<Batch>,
    came: Notify,
    /// How far the log was heard.
    upto: watch::Sender<u64>,
}

impl Queue {
    /// Takes in what is about a vault.
    pub(crate) fn hear(&self, query: Query<'_>, vault: &VaultId, heard: &Heard) -> Result<()> {
        let mut news = Batch { everything: heard.everything, ..Batch::default() };
        for id in &heard.packs {
            let row = query.pack(vault, id)?.filter(|row| row.state == PackState::Stored);
            if let Some(row) = row.filter(|row| row.home == PackHome::Object) {
                news.objects.push(ObjectName::pack(id));
                news.bytes += u64::from(row.length);
            }
        }
        for segment in heard.segments.iter().filter(|segment| segment.vault == *vault) {
            news.objects.push(ObjectName::segment(&segment.id));
            news.bytes += segment.length;
        }
        for (_, id) in heard.points.iter().filter(|(of, _)| of == vault) {
            // Of one that was forgotten since, too: others may need what lies in its object.
            if let Some(point) = query.point_even_forgotten(id)? {
                news.note_point(&point);
            }
        }
        news.everything |= is_found(query, vault, heard)?;
        let is_empty = news.is_empty();
        self.lock().take_in(news);
        self.upto.send_replace(heard.upto);
        if !is_empty {
            self.came.notify_one();
        }
        Ok(())
    }

    /// Returns when everything up to an entry was heard.
    pub(crate) async fn heard(&self, index: u64) {
        let mut upto = self.upto.subscribe();
        // Whoever tells is there as long as whoever waits.
        drop(upto.wait_for(|upto| *upto >= index).await);
    }

    /// Whether all of these are still to be brought.
    pub(super) fn awaits(&self, lacking: &Lacking) -> bool {
        let batch = self.lock();
        let (objects, points): (HashSet<_>, HashSet<_>) =
            (batch.objects.iter().collect(), batch.points.iter().collect());
        batch.everything
            || lacking.packs.iter().all(|id| objects.contains(&ObjectName::pack(id)))
                && lacking.points.iter().chain(&lacking.homes).all(|id| points.contains(id))
                && lacking.all_are_named()
    }

    /// Whether an object is still to be brought.
    pub(super) fn has(&self, name: &ObjectName) -> bool {
        let batch = self.lock();
        batch.everything
            || match name.object() {
                Object::Point(id) | Object::Reach(id) => batch.points.contains(&id),
                _ => batch.objects.contains(name),
            }
    }

    /// All that came since the last call.
    pub(crate) fn take(&self) -> Batch {
        std::mem::take(&mut *self.lock())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// How much waits: points, bytes, and when the oldest of the points was committed.
    pub(super) fn waiting(&self) -> Backlog {
        Backlog::of(&self.lock())
    }

    /// Returns when something is there.
    pub(crate) async fn came(&self) {
        self.came.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether anything that was lost of a vault is whole again.
fn is_found(query: Query<'_>, vault: &VaultId, heard: &Heard) -> Result<bool> {
    for (_, id) in heard.fates.iter().filter(|(of, _)| of == vault) {
        if query.pack(vault, id)?.is_some_and(|pack| pack.state == PackState::Stored) {
            return Ok(true);
        }
    }
    for id in &heard.judged {
        let point = query.row::<PointRow>(id.as_bytes())?;
        if point.is_some_and(|point| point.vault == *vault && point.lost.is_none()) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{self, Crowd, VAULT, id};
    use holdfast_common::PackId;
    use holdfast_ledger::row::PackRow;

    fn stored(number: u8) -> PackRow {
        PackRow { state: PackState::Stored, vault: VAULT, ..crowd::pack([number; 32]) }
    }

    fn heard(packs: &[u8], points: &[u64]) -> Heard {
        Heard {
            packs: packs.iter().map(|number| PackId::from_bytes([*number; 32])).collect(),
            points: points.iter().map(|n| (VAULT, PointId::from_bytes(id(*n)))).collect(),
            ..Heard::default()
        }
    }

    #[test]
    fn only_what_is_stored_by_itself_is_an_object_to_bring() {
        let mut crowd = Crowd::default();
        let home = PackHome::Point(PointId::from_bytes([9; 16]), 0);
        crowd.put(&stored(1));
        crowd.put(&PackRow { home, ..stored(2) });
        crowd.put(&PackRow { state: PackState::Intended, ..stored(3) });
        crowd.put(&PackRow { state: PackState::Lost, ..stored(4) });
        crowd.ask(|query| {
            let queue = Queue::default();
            queue.hear(query, &VAULT, &heard(&[1, 2, 3, 4, 5], &[])).unwrap();
            let batch = queue.take();
            assert_eq!(batch.objects, [ObjectName::pack(&PackId::from_bytes([1; 32]))]);
            assert_eq!(batch.bytes, u64::from(stored(1).length));
            assert!(queue.take().is_empty());
            let other = VaultId::from_bytes([0xbb; 16]);
            queue.hear(query, &other, &heard(&[1], &[])).unwrap();
            assert!(queue.take().is_empty(), "it is another vault's");
        });
    }

    #[test]
    fn what_was_found_again_is_looked_for_with_all_that_rests_on_it() {
        let mut crowd = Crowd::default();
        let home = PackHome::Point(PointId::from_bytes(id(7)), 0);
        crowd.put(&PackRow { home, ..stored(1) });
        crowd.put(&PackRow { state: PackState::Lost, ..stored(2) });
        crowd.point(7, |_| ());
        crowd.point(8, |point| point.lost = Some(crowd::moment(9)));
        crowd.ask(|query| {
            let looks_again = |heard: Heard| {
                let queue = Queue::default();
                queue.hear(query, &VAULT, &heard).unwrap();
                queue.take().everything
            };
            let fate = |number: u8| Heard {
                fates: vec![(VAULT, PackId::from_bytes([number; 32]))],
                ..Heard::default()
            };
            let judged = |number| Heard {
                judged: vec![PointId::from_bytes(id(number))],
                ..Heard::default()
            };
            assert!(looks_again(fate(1)), "it lies inside a point, and is no object to bring");
            assert!(!looks_again(fate(2)), "it was lost");
            assert!(looks_again(judged(7)));
            assert!(!looks_again(judged(8)) && !looks_again(judged(9)));
        });
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut crowd = Crowd::default();
        crowd.put(&stored(1));
        crowd.point(7, |_| ());
        crowd.point(8, |_| ());
        crowd.ask(|query| {
            let queue = Queue::default();
            let many = Heard { packs: vec![stored(1).id; OBJECTS_MAX], ..Heard::default() };
            queue.hear(query, &VAULT, &many).unwrap();
            assert_eq!(queue.waiting().bytes, OBJECTS_MAX as u64);
            queue.hear(query, &VAULT, &heard(&[1], &[7, 8])).unwrap();
            let waiting = queue.waiting();
            assert_eq!((waiting.points, waiting.bytes), (2, OBJECTS_MAX as u64 + 1));
            assert_eq!(waiting.oldest, Some(crowd::moment(7)), "it is told all the same");
            let batch = queue.take();
            assert_eq!((batch.everything, batch.objects.len()), (true, 0));
        });
    }

    #[test]
    fn too_much_to_be_told_is_looked_for() {
        Crowd::default().ask(|query| {
            let queue = Queue::default();
            queue.hear(query, &VAULT, &Heard { everything: true, ..heard(&[], &[]) }).unwrap();
            queue.hear(query, &VAULT, &heard(&[], &[])).unwrap();
            assert!(queue.take().everything);
            assert!(queue.take().is_empty());
        });
    }
}
