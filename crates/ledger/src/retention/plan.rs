//! The plan for the points of one source: every reason to stay, for each of them.
//!
//! A calendar rule keeps the newest point of each of the newest periods that have any; so a source
//! that was silent for a year loses nothing by it. Whatever keeps a point looks at newer ones only:
//! what was found of the newest part of a history holds for all of it. A point that is lost pushes
//! nothing out, and stays where it would if it were whole.

use super::{Reason, Size, calendar};
use crate::row::{PointRow, PointState, Retention, point::time_key};
use holdfast_common::{ChunkId, Name, PointId, Timestamp};

/// What is known of a point where it is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub id: PointId,
    pub committed: Timestamp,
    pub state: PointState,
    /// Counted by the rules.
    pub scheduled: bool,
    /// A checkpoint on the way to what is counted: worth nothing once its source has that.
    pub step: bool,
    /// Its record or its reach lies whole nowhere.
    pub lost: bool,
    /// Nothing, where a person said that little is right.
    pub size: Size,
    pub root: Option<ChunkId>,
    /// What keeps it beside the rules.
    pub ties: Vec<Reason>,
    /// In which of the vault's locations it lies, by their number.
    pub places: u64,
}

impl Candidate {
    /// `held` are the vault's locations; of more than there are bits the first ones count.
    pub fn of(point: &PointRow, ties: Vec<Reason>, held: &[Name]) -> Self {
        let lies_in = |(at, name)| u64::from(point.locations.contains(name)) << at;
        Self {
            id: point.id,
            committed: point.committed,
            state: point.state,
            scheduled: super::is_scheduled(point),
            step: super::is_step(point),
            lost: point.lost.is_some(),
            size: Size::of(point),
            root: point.root,
            ties,
            places: (0..u64::BITS).zip(held).map(lies_in).sum(),
        }
    }

    /// Whether checkpoints before it are outdone.
    pub fn is_complete(&self) -> bool {
        self.scheduled && self.state == PointState::Complete && !self.lost
    }
}

/// What becomes of a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub id: PointId,
    pub committed: Timestamp,
    /// Why it stays: in a fixed order, each once.
    pub reasons: Vec<Reason>,
    /// The point that is left of the source when this one goes.
    pub outlived_by: Option<PointId>,
    /// The newest good one that some location has.
    pub newest_copy: bool,
}

impl Verdict {
    pub fn goes(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// The plan for all points of one source of one policy, newest first. Without rules all stay.
pub fn plan(mut points: Vec<Candidate>, rules: Option<&Retention>, now: Timestamp) -> Vec<Verdict> {
    points.sort_by_key(|point| time_key(point.committed, point.id.as_bytes()));
    let copies = vec![false; points.len()];
    let kept = points.iter().map(|point| point.ties.clone()).collect();
    let mut plan = Plan { points, kept, copies };
    plan.keep_unscheduled();
    plan.keep_copies();
    match rules.filter(|rules| rules.keeps()) {
        Some(rules) => plan.keep_by(rules, now),
        None => plan.kept.iter_mut().for_each(|kept| kept.push(Reason::NoRules)),
    }
    plan.verdicts()
}

/// The number of the period that a time lies in.
type Period = fn(Timestamp) -> i64;

struct Plan {
    points: Vec<Candidate>,
    kept: Vec<Vec<Reason>>,
    /// Which of them are the newest that some location has.
    copies: Vec<bool>,
}

impl Plan {
    /// What the rules say nothing of.
    fn keep_unscheduled(&mut self) {
        let complete = self.points.iter().position(Candidate::is_complete);
        for (at, point) in self.points.iter().enumerate() {
            // A checkpoint stands in for nothing, and is worth nothing once its source has more.
            let is_outdone = point.step && complete.is_some_and(|complete| complete < at);
            if !point.scheduled && !is_outdone {
                self.kept[at].push(Reason::Unscheduled);
            }
        }
    }

    /// What comes newer may lie elsewhere only: whoever loses that has the newest one here still.
    fn keep_copies(&mut self) {
        let is_whole = |point: &Candidate| point.scheduled && !point.lost;
        for is_good in [Candidate::is_complete, is_whole] {
            let newest = self.points.iter().position(is_good);
            for place in (0..u64::BITS).map(|bit| 1 << bit) {
                let lies_there = |point: &Candidate| is_good(point) && point.places & place != 0;
                let Some(at) = self.points.iter().position(lies_there) else { continue };
                self.copies[at] = true;
                if newest != Some(at) {
                    self.kept[at].push(Reason::Copy);
                }
            }
        }
    }

    fn keep_by(&mut self, rules: &Retention, now: Timestamp) {
        for (at, point) in self.points.iter().enumerate() {
            let age = now.since(point.committed);
            if age < rules.protect_for() {
                self.kept[at].push(Reason::Protected);
            }
            if point.scheduled && rules.within().is_some_and(|within| age <= within) {
                self.kept[at].push(Reason::Within);
            }
        }
        let calendar: [(Option<u32>, Reason, Period); 5] = [
            (rules.hourly, Reason::Hourly, calendar::hour),
            (rules.daily, Reason::Daily, calendar::day),
            (rules.weekly, Reason::Weekly, calendar::week),
            (rules.monthly, Reason::Monthly, calendar::month),
            (rules.yearly, Reason::Yearly, calendar::year),
        ];
        for (count, reason, period) in calendar {
            let is_same = |a: &Candidate, b: &Candidate| period(a.committed) == period(b.committed);
            self.keep_turns(count, reason, is_same);
        }
        self.keep_turns(rules.last, Reason::Last, |_, _| false);
        let is_same = |a: &Candidate, b: &Candidate| a.root.is_some() && a.root == b.root;
        self.keep_turns(rules.versions, Reason::Versions, is_same);
    }

    /// Keeps the newest `count` of those scheduled that differ from the next newer one.
    fn keep_turns(
        &mut self,
        count: Option<u32>,
        reason: Reason,
        is_same: impl Fn(&Candidate, &Candidate) -> bool,
    ) {
        let (mut left, mut newer): (_, Option<&Candidate>) = (count.unwrap_or(0), None);
        for (at, point) in self.points.iter().enumerate().filter(|(_, point)| point.scheduled) {
            if left == 0 {
                return;
            }
            let is_turn = !newer.is_some_and(|newer| is_same(newer, point));
            if is_turn {
                self.kept[at].push(reason);
            }
            if !point.lost {
                newer = Some(point);
                left -= u32::from(is_turn);
            }
        }
    }

    fn verdicts(self) -> Vec<Verdict> {
        // The newest that is whole and skipped nothing, and the newest that is whole.
        let (mut complete, mut newest): (Option<Left>, Option<Left>) = (None, None);
        let mut verdicts = Vec::with_capacity(self.points.len());
        let kept = self.kept.into_iter().zip(self.copies);
        for (point, (mut reasons, newest_copy)) in self.points.into_iter().zip(kept) {
            // What skipped something may be outlived by another that did.
            let is_partial = point.state == PointState::Partial;
            let left = [complete, newest.filter(|_| is_partial)];
            let as_good = || left.into_iter().flatten();
            let outlived_by = as_good().find(|left| left.size.stands_in_for(point.size));
            match as_good().next() {
                None if point.scheduled => reasons.push(Reason::Newest),
                Some(_) if outlived_by.is_none() && (point.scheduled || point.step) => {
                    reasons.push(Reason::Anomaly);
                }
                _ => {}
            }
            reasons.sort_unstable();
            reasons.dedup();
            if point.scheduled && !point.lost {
                let left = Left { id: point.id, size: point.size };
                newest.get_or_insert(left);
                if point.is_complete() {
                    complete.get_or_insert(left);
                }
            }
            let outlived_by = outlived_by.filter(|_| reasons.is_empty()).map(|left| left.id);
            let (id, committed) = (point.id, point.committed);
            verdicts.push(Verdict { id, committed, reasons, outlived_by, newest_copy });
        }
        verdicts
    }
}

/// What stays and is whole.
#[derive(Clone, Copy)]
struct Left {
    id: PointId,
    size: Size,
}
