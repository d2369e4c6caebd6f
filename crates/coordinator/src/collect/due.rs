//! What may be deleted now: packs that were doomed and points that were forgotten, long enough ago.
//!
//! ```text
//!   doomed packs, from where the last part ended ─→ old enough ─→ a part of packs
//!   points that were forgotten, old enough, and those that never came to be
//!      − those of which a pack is kept ─→ a part of points
//! ```
//!
//! Parts have a bound, and each goes on behind the one before, whatever became of that: a location
//! that is away keeps nothing from going elsewhere.

use super::is_old;
use holdfast_common::{PackId, PointId, Result, Timestamp, VaultId, limits};
use holdfast_ledger::{
    Query,
    row::{LeavingRow, PackHome, PackRow, PackState},
};
use holdfast_repository::layout::ObjectName;

/// Doomed packs that are objects of their own.
#[derive(Debug, Default)]
pub(super) struct DuePacks {
    pub(super) packs: Vec<DuePack>,
    /// Where the next part begins; none: this was the last.
    pub(super) after: Option<PackId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DuePack {
    pub(super) id: PackId,
    pub(super) doomed: Timestamp,
}

pub(super) fn due_packs(
    query: Query<'_>,
    vault: &VaultId,
    wait: &mut Wait,
    after: Option<PackId>,
) -> Result<DuePacks> {
    let mut packs = Vec::new();
    for pack in query.doomed_packs(vault, after.as_ref()) {
        let pack = pack?;
        if let Some(doomed) = wait.over(&pack)
            && pack.home == PackHome::Object
        {
            packs.push(DuePack { id: pack.id, doomed });
        }
        if packs.len() == limits::PACKS_COLLECTED_MAX {
            return Ok(DuePacks { packs, after: Some(pack.id) });
        }
    }
    Ok(DuePacks { packs, after: None })
}

/// A point of which nothing is needed any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DuePoint {
    pub(super) id: PointId,
    /// When it was given up.
    pub(super) since: Timestamp,
    /// Doomed packs inside its object.
    pub(super) packs: Vec<PackId>,
}

impl DuePoint {
    /// The record first: without it nobody takes the rest for a point.
    pub(super) fn names(&self) -> [ObjectName; 2] {
        [ObjectName::point(&self.id), ObjectName::reach(&self.id)]
    }
}

#[derive(Debug, Default)]
pub(super) struct DuePoints {
    pub(super) points: Vec<DuePoint>,
    /// Where the next part begins; none: this was the last.
    pub(super) after: Option<PointId>,
}

/// `before` is when the newest round began: what was forgotten later waits for the next one, with
/// whose beginning all of it was shipped.
pub(super) fn due_points(
    query: Query<'_>,
    vault: &VaultId,
    wait: &mut Wait,
    before: Timestamp,
    after: Option<PointId>,
) -> Result<DuePoints> {
    let mut points = Vec::new();
    for row in query.leaving_points(vault, after.as_ref()) {
        let row = row?;
        points.extend(due_point(query, wait, before, &row)?);
        if points.len() == limits::PACKS_COLLECTED_MAX {
            return Ok(DuePoints { points, after: Some(row.point) });
        }
    }
    Ok(DuePoints { points, after: None })
}

/// It goes when all that lies in its object may go.
fn due_point(
    query: Query<'_>,
    wait: &mut Wait,
    before: Timestamp,
    row: &LeavingRow,
) -> Result<Option<DuePoint>> {
    let forgotten = query.forgotten(&row.point)?;
    let is_over = match &forgotten {
        Some(row) => row.when < before && wait.is_old(row.when),
        // It never came to be, and is as old as what lies in it.
        None => true,
    };
    if !is_over {
        return Ok(None);
    }
    let (id, since) = (row.point, forgotten.map_or(row.since, |row| row.when));
    let mut point = DuePoint { id, since, packs: Vec::new() };
    let mut is_kept = false;
    for pack in query.packs_within(&row.vault, &row.point)? {
        match wait.is_over(&pack) {
            true => point.packs.push(pack.id),
            false => is_kept = true,
        }
    }
    Ok((!is_kept).then_some(point))
}

/// What is old enough now, and when the next will be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    now: Timestamp,
    /// None: nothing waits.
    pub(super) next: Option<Timestamp>,
}

impl Wait {
    pub(super) fn at(now: Timestamp) -> Self {
        Self { now, next: None }
    }

    fn is_over(&mut self, pack: &PackRow) -> bool {
        self.over(pack).is_some()
    }

    /// When it was doomed, if that is long enough ago.
    fn over(&mut self, pack: &PackRow) -> Option<Timestamp> {
        let doomed = pack.doomed.filter(|_| pack.state == PackState::Doomed);
        doomed.filter(|when| self.is_old(*when))
    }

    /// What was doomed by then is all due now.
    pub(super) fn covers(&self) -> Timestamp {
        self.now.minus(super::DELAY)
    }

    fn is_old(&mut self, when: Timestamp) -> bool {
        if is_old(when, self.now) {
            return true;
        }
        let then = when.plus(super::DELAY);
        self.next = Some(self.next.map_or(then, |next| next.min(then)));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{Crowd, VAULT, forgotten, id, moment, pack};
    use holdfast_ledger::row::ForgottenRow;
    use std::time::Duration;

    const DAY: Duration = crate::collect::DELAY;

    fn named(number: u8) -> PackId {
        PackId::from_bytes([number; 32])
    }

    fn point(number: u64) -> PointId {
        PointId::from_bytes(id(number))
    }

    fn doomed(number: u8, when: u64) -> PackRow {
        let (state, doomed) = (PackState::Doomed, Some(moment(when)));
        PackRow { state, doomed, vault: VAULT, ..pack([number; 32]) }
    }

    fn within(row: PackRow, home: u64) -> PackRow {
        PackRow { home: PackHome::Point(point(home), 0), ..row }
    }

    fn stored(number: u8) -> PackRow {
        PackRow { state: PackState::Stored, doomed: None, ..doomed(number, 0) }
    }

    /// A day after a moment.
    fn later(than: u64) -> Wait {
        Wait::at(moment(than).plus(DAY))
    }

    #[test]
    fn doomed_packs_go_a_day_after_their_entry_and_no_others() {
        let mut crowd = Crowd::default();
        crowd.pack(&doomed(1, 5));
        crowd.pack(&doomed(2, 6));
        crowd.pack(&doomed(3, 9));
        crowd.pack(&stored(4));
        crowd.pack(&PackRow { condemned: Some(7), ..stored(5) });
        crowd.pack(&PackRow { state: PackState::Lost, ..stored(6) });
        crowd.pack(&within(doomed(7, 5), 1));
        crowd.ask(|query| {
            let mut wait = later(6);
            let due = due_packs(query, &VAULT, &mut wait, None).unwrap();
            let both = [(1, 5), (2, 6)];
            let both = both.map(|(pack, when)| DuePack { id: named(pack), doomed: moment(when) });
            assert_eq!((due.packs, due.after), (both.to_vec(), None));
            assert_eq!(wait.covers(), moment(6));
            assert_eq!(wait.next, Some(moment(9).plus(DAY)));
            let mut early = Wait::at(moment(5).plus(DAY - Duration::from_nanos(1)));
            assert!(due_packs(query, &VAULT, &mut early, None).unwrap().packs.is_empty());
            assert_eq!(early.next, Some(moment(5).plus(DAY)));
            let rest = due_packs(query, &VAULT, &mut wait, Some(named(1))).unwrap();
            assert_eq!(rest.packs, both[1..]);
        });
    }

    #[test]
    fn parts_are_bounded_and_go_on_where_the_last_one_ended() {
        let mut crowd = Crowd::default();
        let all = limits::PACKS_COLLECTED_MAX + 3;
        for number in 0..all {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
            crowd.pack(&PackRow { id: PackId::from_bytes(bytes), ..doomed(0, 1) });
        }
        crowd.ask(|query| {
            let mut wait = later(1);
            let first = due_packs(query, &VAULT, &mut wait, None).unwrap();
            assert_eq!(first.packs.len(), limits::PACKS_COLLECTED_MAX);
            let second = due_packs(query, &VAULT, &mut wait, first.after).unwrap();
            assert_eq!((second.packs.len(), second.after), (3, None));
        });
    }

    #[test]
    fn a_forgotten_point_stays_for_whatever_lives_in_its_object() {
        let mut crowd = Crowd::default();
        // It was forgotten at the moment of its number.
        for number in 1..=4 {
            crowd.put(&ForgottenRow { when: moment(number), ..forgotten(number) });
            crowd.leaves(number, number);
        }
        crowd.put(&ForgottenRow { gone: Some(moment(9)), when: moment(1), ..forgotten(5) });
        crowd.pack(&within(doomed(1, 5), 1));
        crowd.pack(&within(doomed(2, 5), 2));
        crowd.pack(&within(stored(3), 2));
        crowd.pack(&within(doomed(4, 8), 3));
        crowd.ask(|query| {
            let due = |wait: &mut Wait, before| {
                due_points(query, &VAULT, wait, moment(before), None).unwrap().points
            };
            let first = DuePoint { id: point(1), since: moment(1), packs: vec![named(1)] };
            let bare = DuePoint { id: point(4), since: moment(4), packs: Vec::new() };
            let mut wait = later(6);
            assert_eq!(due(&mut wait, 7), [first, bare]);
            assert_eq!(wait.next, Some(moment(8).plus(DAY)), "the pack of the third");
            assert_eq!(due(&mut later(6), 2).len(), 1, "the others were forgotten after the round");
            assert_eq!(due(&mut later(3), 7), [], "its pack was doomed later");
        });
    }

    #[test]
    fn a_point_that_never_came_to_be_is_known_by_the_packs_that_were_announced_in_it() {
        let mut crowd = Crowd::default();
        crowd.point(1, |_| ());
        crowd.pack(&within(doomed(1, 5), 1));
        crowd.pack(&within(doomed(2, 5), 2));
        crowd.pack(&within(stored(0), 3));
        crowd.pack(&within(doomed(3, 5), 3));
        crowd.leaves(2, 5);
        crowd.leaves(3, 5);
        crowd.ask(|query| {
            let due = due_points(query, &VAULT, &mut later(5), moment(9), None).unwrap();
            let two = DuePoint { id: point(2), since: moment(5), packs: vec![named(2)] };
            assert_eq!(due.points, [two]);
        });
    }
}
