//! What the plan promises for every history and every rule.

use super::*;
use crate::row::PointState;
use core::time::Duration;
use holdfast_common::{ChunkId, PointId};
use proptest::{collection::vec, option, prelude::*};

const DAY: u64 = 86_400;

fn moment(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn candidate(number: u32, committed: Timestamp) -> Candidate {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    Candidate {
        id: PointId::from_bytes(id),
        committed,
        state: PointState::Complete,
        scheduled: true,
        step: false,
        lost: false,
        size: Size { entries: 1, bytes: 1 },
        root: None,
        ties: Vec::new(),
        places: 0,
    }
}

fn keeping(change: impl FnOnce(&mut Retention)) -> Retention {
    let mut rules = Retention { protect_secs: Some(0), ..Retention::default() };
    change(&mut rules);
    rules
}

fn stay(points: &[Candidate], rules: &Retention, now: Timestamp) -> Vec<Timestamp> {
    let kept = plan(points.to_vec(), Some(rules), now).into_iter().filter(|one| !one.goes());
    kept.map(|one| one.committed).collect()
}

#[test]
fn a_calendar_rule_keeps_the_newest_of_each_period_up_to_its_border() {
    let now = moment("2026-11-23T12:00:00Z");
    let times = [
        "2026-11-23T00:00:00Z",
        "2026-11-22T23:59:59.999999999Z",
        "2026-11-22T00:00:00Z",
        "2026-11-21T23:00:00Z",
        "2026-10-31T23:59:59Z",
        "2025-12-31T23:59:59Z",
    ];
    let points: Vec<_> = (0u32..).zip(times).map(|(at, t)| candidate(at, moment(t))).collect();
    let kept = |rules: &Retention| -> Vec<usize> {
        let stay = stay(&points, rules, now);
        stay.iter().map(|at| times.iter().position(|t| moment(t) == *at).unwrap()).collect()
    };
    assert_eq!(kept(&keeping(|rules| rules.daily = Some(3))), [0, 1, 3]);
    assert_eq!(kept(&keeping(|rules| rules.hourly = Some(3))), [0, 1, 2]);
    // The 23rd is a Monday.
    assert_eq!(kept(&keeping(|rules| rules.weekly = Some(3))), [0, 1, 4]);
    assert_eq!(kept(&keeping(|rules| rules.monthly = Some(9))), [0, 4, 5]);
    assert_eq!(kept(&keeping(|rules| rules.yearly = Some(2))), [0, 5]);
    assert_eq!(kept(&keeping(|rules| rules.last = Some(2))), [0, 1]);
    assert_eq!(kept(&keeping(|rules| rules.within_secs = Some(12 * 3600))), [0]);
    assert_eq!(kept(&keeping(|rules| rules.within_secs = Some(12 * 3600 + 1))), [0, 1]);
}

#[test]
fn a_source_that_was_silent_for_years_loses_nothing_by_the_calendar() {
    let long_ago = moment("2001-05-05T05:05:05Z");
    let points: Vec<_> = (0..5)
        .map(|at| candidate(at, long_ago.plus(Duration::from_secs(at as u64 * DAY))))
        .collect();
    let rules = keeping(|rules| rules.daily = Some(5));
    assert_eq!(stay(&points, &rules, moment("2026-11-23T12:00:00Z")).len(), 5);
}

#[test]
fn a_version_is_a_state_that_differs_from_the_next_newer_one() {
    let root = |byte: u8| Some(ChunkId::from_bytes([byte; 32]));
    let now = moment("2026-11-23T12:00:00Z");
    let states = [root(1), root(1), root(2), None, None, root(1), root(1)];
    let points: Vec<_> = (0u32..)
        .zip(states)
        .map(|(at, root)| {
            let committed = now.minus(Duration::from_secs(u64::from(at) * DAY));
            Candidate { root, ..candidate(at, committed) }
        })
        .collect();
    let kept = |versions| -> Vec<u64> {
        let stay = stay(&points, &keeping(|rules| rules.versions = Some(versions)), now);
        stay.into_iter().map(|at| now.since(at).as_secs() / DAY).collect()
    };
    assert_eq!(kept(1), [0]);
    assert_eq!(kept(2), [0, 2]);
    // What nobody knows the content of may be anything.
    assert_eq!(kept(9), [0, 2, 3, 4, 5]);
}

#[test]
fn the_newest_that_a_location_has_stays_while_newer_ones_lie_elsewhere() {
    let now = moment("2026-11-23T12:00:00Z");
    let lies_in = |days: u64, places: u64| {
        let committed = now.minus(Duration::from_secs(days * DAY));
        Candidate { places, ..candidate(u32::try_from(days).unwrap(), committed) }
    };
    let (main, far) = (1, 2);
    let rules = keeping(|rules| rules.last = Some(1));
    let days = |points: &[Candidate]| -> Vec<u64> {
        let stay = stay(points, &rules, now);
        stay.into_iter().map(|at| now.since(at).as_secs() / DAY).collect()
    };
    let mut points =
        vec![lies_in(1, main), lies_in(2, main), lies_in(3, main | far), lies_in(4, main | far)];
    assert_eq!(days(&points), [1, 3]);
    let reasons = plan(points.clone(), Some(&rules), now).swap_remove(2).reasons;
    assert_eq!(reasons, [Reason::Copy]);
    // One that is lost is in no location.
    points[2].lost = true;
    assert_eq!(days(&points), [1, 4]);
    points[0].places |= far;
    assert_eq!(days(&points), [1]);
    // What skipped something stays beside what did not.
    let partial = Candidate { state: PointState::Partial, ..lies_in(2, far) };
    let points = vec![lies_in(1, main), partial, lies_in(3, far), lies_in(4, far)];
    assert_eq!(days(&points), [1, 2, 3]);
}

#[test]
fn what_skipped_something_does_not_stand_in_for_what_did_not() {
    let now = moment("2026-11-23T12:00:00Z");
    let at = |days: u64| now.minus(Duration::from_secs(days * DAY));
    let partial = |number, days| {
        let state = PointState::Partial;
        Candidate { state, ..candidate(number, at(days)) }
    };
    let points = vec![partial(1, 1), partial(2, 2), candidate(3, at(3)), candidate(4, at(4))];
    let plan = plan(points, Some(&keeping(|rules| rules.last = Some(1))), now);
    let goes: Vec<bool> = plan.iter().map(Verdict::goes).collect();
    assert_eq!(goes, [false, true, false, true]);
    assert_eq!(plan[1].outlived_by, Some(plan[0].id), "one that skipped something by another");
    assert_eq!(plan[3].outlived_by, Some(plan[2].id), "and the other by its like");
}

#[test]
fn a_checkpoint_goes_once_its_source_has_a_whole_point_after_it_and_never_before() {
    let now = moment("2026-11-23T12:00:00Z");
    let at = |days: u64| now.minus(Duration::from_secs(days * DAY));
    let checkpoint = |number, days| {
        let state = PointState::Checkpoint;
        Candidate { state, scheduled: false, step: true, ..candidate(number, at(days)) }
    };
    let points = vec![checkpoint(1, 1), candidate(2, at(2)), checkpoint(3, 3), candidate(4, at(4))];
    let rules = keeping(|rules| rules.last = Some(2));
    let plan = plan(points, Some(&rules), now);
    let reasons: Vec<&[Reason]> = plan.iter().map(|one| &one.reasons[..]).collect();
    let counted = [Reason::Last, Reason::Newest];
    assert_eq!(reasons, [&[Reason::Unscheduled][..], &counted, &[], &[Reason::Last]]);
}

/// Whole points, newest first, of so many entries each.
fn sized(entries: &[u64]) -> Vec<Candidate> {
    let now = moment("2026-11-23T12:00:00Z");
    let of_size = |(number, entries): (u32, &u64)| {
        let committed = now.minus(Duration::from_secs(u64::from(number) * DAY));
        let size = Size { entries: *entries, bytes: 1 };
        Candidate { size, ..candidate(number, committed) }
    };
    (1..).zip(entries).map(of_size).collect()
}

fn reasons(points: &[Candidate], rules: &Retention) -> Vec<Vec<Reason>> {
    let plan = plan(points.to_vec(), Some(rules), moment("2026-11-23T12:00:00Z"));
    plan.into_iter().map(|one| one.reasons).collect()
}

#[test]
fn what_was_good_stays_while_the_newest_has_far_fewer_entries() {
    use Reason::{Anomaly, Last, Newest};
    let rules = keeping(|rules| rules.last = Some(1));
    let newest = vec![Last, Newest];
    let held = vec![Anomaly];
    // A disk that is not mounted leaves its mount point.
    let told = reasons(&sized(&[0, 0, 1000, 1000, 5]), &rules);
    assert_eq!(told, [newest.clone(), vec![], held.clone(), held.clone(), held.clone()]);
    let told = reasons(&sized(&[100, 1000, 1001]), &rules);
    assert_eq!(told, [newest.clone(), vec![], held], "a tenth is not far fewer");
    let told = reasons(&sized(&[1000, 0, 1000, 1000]), &rules);
    assert_eq!(told, [newest.clone(), vec![], vec![], vec![]], "it is back");
    // However few there were: those above what is backed up are always there.
    let mut small = sized(&[4, 6, 6]);
    small[0].size.bytes = 0;
    assert_eq!(reasons(&small, &rules), [newest.clone(), vec![Anomaly], vec![Anomaly]]);
    small.iter_mut().for_each(|point| point.size.bytes = 0);
    assert_eq!(reasons(&small, &rules), [newest, vec![], vec![]], "it was always empty");
}

#[test]
fn a_point_that_is_lost_counts_for_nothing_and_nothing_goes_because_of_it() {
    use Reason::{Last, Newest};
    let lost = |at: &[usize], mut points: Vec<Candidate>| {
        at.iter().for_each(|at| points[*at].lost = true);
        points
    };
    let rules = keeping(|rules| rules.last = Some(1));
    let both = vec![Last, Newest];
    let told = reasons(&lost(&[0], sized(&[1, 1, 1])), &rules);
    assert_eq!(told, [both.clone(), both.clone(), vec![]], "the one before is the newest good one");
    let told = reasons(&lost(&[0, 1, 2], sized(&[1, 1, 1])), &rules);
    let kept = vec![both.clone(), both.clone(), both.clone()];
    assert_eq!(told, kept, "none is left that another could be outlived by");
    let plan = plan(lost(&[2], sized(&[1, 1, 1])), Some(&rules), moment("2026-11-23T12:00:00Z"));
    assert_eq!(plan[2].outlived_by, Some(plan[0].id), "what is lost may go like any other");
    let mut points = lost(&[1], sized(&[1, 1, 1]));
    points[2].state = PointState::Checkpoint;
    (points[2].scheduled, points[2].step) = (false, true);
    points.remove(0);
    let told = reasons(&points, &rules);
    assert_eq!(told[1], [Reason::Unscheduled], "nor does a checkpoint go for a point that is lost");
}

prop_compose! {
    fn rules()(
        counts in proptest::array::uniform7(option::weighted(0.4, 0..6u32)),
        within in option::weighted(0.3, 0..40 * DAY),
        protect in prop_oneof![Just(0), 0..20 * DAY],
    ) -> Retention {
        let [last, hourly, daily, weekly, monthly, yearly, versions] = counts;
        Retention {
            last, hourly, daily, weekly, monthly, yearly, versions,
            within_secs: within,
            protect_secs: Some(protect),
        }
    }
}

/// Steps of minutes and of months: dense and sparse.
fn history() -> impl Strategy<Value = Vec<Candidate>> {
    let step = prop_oneof![1..3 * 3600u64, 1..3 * DAY, 1..90 * DAY];
    let state = prop_oneof![
        6 => Just((PointState::Complete, true)),
        2 => Just((PointState::Partial, true)),
        1 => Just((PointState::Checkpoint, false)),
        1 => Just((PointState::Safety, false)),
        1 => Just((PointState::Complete, false)),
    ];
    let root = option::weighted(0.8, 0..3u8);
    // Mostly of one size; now and then junk.
    let entries = prop_oneof![4 => 90..110u64, 1 => 0..20u64];
    vec((step, state, root, (0..12u8, entries)), 0..60).prop_map(|points| {
        let mut committed = moment("2024-02-28T22:00:00Z");
        let mut history = Vec::new();
        for (number, (step, (state, scheduled), root, (tie, entries))) in (0u32..).zip(points) {
            committed = committed.plus(Duration::from_secs(step));
            let root = root.map(|byte| ChunkId::from_bytes([byte; 32]));
            let ties = if tie == 0 { vec![Reason::Held] } else { Vec::new() };
            let point = candidate(number, committed);
            let step = state == PointState::Checkpoint;
            let lost = tie == 1;
            let size = Size { entries, bytes: entries };
            let point = Candidate { root, ties, lost, size, ..point };
            history.push(Candidate { state, scheduled, step, ..point });
        }
        history
    })
}

fn end_of(points: &[Candidate]) -> Timestamp {
    let newest = points.last().map_or(Timestamp::ZERO, |point| point.committed);
    newest.plus(Duration::from_secs(7 * DAY))
}

fn ids(verdicts: &[Verdict], goes: bool) -> Vec<PointId> {
    verdicts.iter().filter(|one| one.goes() == goes).map(|one| one.id).collect()
}

proptest! {
    #[test]
    fn more_rules_never_remove_more(points in history(), less in rules(), more in rules()) {
        prop_assume!(less.keeps());
        let most = |a: Option<u32>, b: Option<u32>| a.max(b);
        let both = Retention {
            last: most(less.last, more.last),
            hourly: most(less.hourly, more.hourly),
            daily: most(less.daily, more.daily),
            weekly: most(less.weekly, more.weekly),
            monthly: most(less.monthly, more.monthly),
            yearly: most(less.yearly, more.yearly),
            versions: most(less.versions, more.versions),
            within_secs: less.within_secs.max(more.within_secs),
            protect_secs: less.protect_secs.max(more.protect_secs),
        };
        let now = end_of(&points);
        let kept = ids(&plan(points.clone(), Some(&less), now), false);
        let kept_by_both = ids(&plan(points, Some(&both), now), false);
        prop_assert!(kept.iter().all(|id| kept_by_both.contains(id)));
    }

    #[test]
    fn the_newest_good_one_the_held_and_the_protected_always_stay(
        points in history(), rules in rules(),
    ) {
        let now = end_of(&points);
        let gone = ids(&plan(points.clone(), Some(&rules), now), true);
        let scheduled = || points.iter().rev().filter(|point| point.scheduled);
        let newest = scheduled().next();
        let complete = scheduled().find(|point| point.state == PointState::Complete);
        for point in newest.into_iter().chain(complete) {
            prop_assert!(!gone.contains(&point.id), "the newest good one");
        }
        for point in &points {
            let is_protected = now.since(point.committed) < rules.protect_for();
            if is_protected || !point.ties.is_empty() {
                prop_assert!(!gone.contains(&point.id));
            }
        }
    }

    #[test]
    fn whatever_goes_is_outlived_by_a_newer_one_that_stays_and_is_as_good(
        points in history(), rules in rules(),
    ) {
        let now = end_of(&points);
        let verdicts = plan(points.clone(), Some(&rules), now);
        for gone in verdicts.iter().filter(|one| one.goes()) {
            let by = gone.outlived_by.unwrap();
            prop_assert!(ids(&verdicts, false).contains(&by));
            let find = |id| points.iter().find(|point| point.id == id).unwrap();
            let (newer, older) = (find(by), find(gone.id));
            prop_assert!(newer.scheduled && newer.committed >= older.committed);
            let as_good = newer.state == PointState::Complete || older.state == PointState::Partial;
            prop_assert!(as_good && !newer.lost && newer.size.stands_in_for(older.size));
        }
    }

    #[test]
    fn what_is_outside_of_the_schedule_changes_nothing_about_the_rest(
        points in history(), rules in rules(),
    ) {
        let now = end_of(&points);
        let alone: Vec<_> = points.iter().filter(|point| point.scheduled).cloned().collect();
        let with = plan(points.clone(), Some(&rules), now);
        let without = plan(alone, Some(&rules), now);
        let is_scheduled = |id| points.iter().any(|point| point.id == id && point.scheduled);
        let with: Vec<_> = with.into_iter().filter(|one| is_scheduled(one.id)).collect();
        prop_assert_eq!(with, without);
    }

    #[test]
    fn planning_for_what_is_left_removes_nothing_more(points in history(), rules in rules()) {
        let now = end_of(&points);
        let kept = ids(&plan(points.clone(), Some(&rules), now), false);
        let left = points.into_iter().filter(|point| kept.contains(&point.id)).collect();
        prop_assert_eq!(ids(&plan(left, Some(&rules), now), true), []);
    }

    #[test]
    fn what_was_found_of_the_newest_part_holds_for_all_of_it(
        points in history(), rules in rules(), part in 0..60usize,
    ) {
        let now = end_of(&points);
        let all = plan(points.clone(), Some(&rules), now);
        let from = points.len().saturating_sub(part);
        let newest = plan(points[from..].to_vec(), Some(&rules), now);
        prop_assert_eq!(&all[..newest.len()], &newest[..]);
    }

    #[test]
    fn without_rules_that_keep_anything_everything_stays(points in history()) {
        let now = end_of(&points);
        for rules in [None, Some(&keeping(|rules| rules.last = Some(0)))] {
            prop_assert_eq!(ids(&plan(points.clone(), rules, now), true), []);
        }
    }
}
