//! What the ledger promises of an audit log that is not kept for ever: nothing of it goes before
//! its time or out of its order, and what is left can be told for what it is.

mod story;

use holdfast_common::{Code, limits};
use holdfast_ledger::{
    Actor, LEVEL,
    audit::{self, AuditHead, AuditRow},
    command::{CutAudit, KeepAudit, Note, NoteKind, Outcome},
    row::MemberRole,
};
use std::time::Duration;
use story::{
    Story,
    members::{claim_epoch, raise},
    name,
};

const YEARS: u64 = limits::AUDIT_KEPT_SECS_MIN;

fn admin() -> Actor {
    Actor::Operator(name("admin"))
}

fn keep(kept_secs: Option<u64>) -> KeepAudit {
    KeepAudit { kept_secs }
}

fn cut(before: u64) -> CutAudit {
    CutAudit { before }
}

/// Some rows, which are old, and a few that are not.
fn aged() -> (Story, u64) {
    let mut story = Story::with_points(&[1, 2, 3]);
    story.done(Actor::System, raise(LEVEL, &[1]));
    age(story)
}

fn age(mut story: Story) -> (Story, u64) {
    let old = story.query().audit_head().map_or(0, |head| head.rows);
    story.pass(Duration::from_secs(YEARS + 1));
    story.done(admin(), keep(Some(YEARS)));
    (story, old)
}

fn left(story: &Story) -> Vec<AuditRow> {
    story.query().audit(0, 1000).unwrap_or_default()
}

#[test]
fn old_rows_go_from_the_front_and_what_is_left_hangs_on_them() {
    let (mut story, old) = aged();
    let before = left(&story);
    assert_eq!(story.done(Actor::System, cut(3)), Outcome::Number(3));
    assert_eq!(story.done(Actor::System, cut(3)), Outcome::Number(0), "somebody was faster");
    assert_eq!(story.done(Actor::System, cut(old)), Outcome::Number(old - 3));
    let cut = story.query().audit_cut().unwrap();
    let (head, rows) = (story.query().audit_head().unwrap(), left(&story));
    assert_eq!((cut.rows, rows[0].number), (old, old));
    assert_eq!(rows[0].previous, before[old as usize - 1].hash());
    let check = |rows: &[AuditRow], cut: AuditHead| {
        audit::verify(rows.iter().cloned().map(Ok), &cut, &head)
    };
    assert_eq!(check(&rows, cut).unwrap(), head.rows);
    // Nobody takes more away than was said, or something else.
    assert!(check(&rows[1..], cut).is_err());
    assert!(check(&rows, AuditHead { hash: [7; 32], ..cut }).is_err());
    assert!(check(&rows, AuditHead::default()).is_err());
    // Nor by saying that it was cut further on: some row would tell of that.
    let further = AuditHead { rows: old + 1, hash: rows[0].hash() };
    assert!(check(&rows[1..], further).is_err());
}

#[test]
fn what_was_there_when_a_clock_was_confirmed_grows_old_from_then_on() {
    let (mut story, old) = aged();
    let kind = NoteKind::ClockConfirmed;
    story.done(admin(), Note { kind, subject: String::new() });
    story.refused(Actor::System, cut(1), Code::ResourceConflict);
    story.pass(Duration::from_secs(YEARS));
    story.refused(Actor::System, cut(1), Code::ResourceConflict);
    story.pass(Duration::from_secs(1));
    story.done(Actor::System, cut(old));
}

#[test]
fn no_row_goes_before_its_time() {
    let (mut story, old) = aged();
    let system = || Actor::System;
    story.refused(system(), cut(old + 1), Code::ResourceConflict);
    assert_eq!(story.query().audit_cut().unwrap(), AuditHead::default(), "none of them went");
    story.done(admin(), keep(Some(2 * YEARS)));
    story.refused(system(), cut(1), Code::ResourceConflict);
    story.done(admin(), keep(None));
    story.refused(system(), cut(1), Code::ResourceConflict);
    // What was never said, either.
    let mut story = Story::with_points(&[1]);
    story.done(system(), raise(LEVEL, &[1]));
    story.pass(Duration::from_secs(9 * YEARS));
    story.refused(system(), cut(1), Code::ResourceConflict);
}

#[test]
fn rules_are_of_people_and_cuts_of_the_system_within_their_bounds() {
    let (mut story, _) = aged();
    story.refused(admin(), cut(1), Code::AuthDenied);
    story.refused(Actor::Agent(story::agent(1)), keep(None), Code::AuthDenied);
    let days = |days: u64| keep(Some(days * 24 * 3600));
    for few in [keep(Some(YEARS - 1)), keep(Some(0)), days(399)] {
        story.refused(admin(), few, Code::LimitExceeded);
    }
    let most = cut(limits::AUDIT_ROWS_CUT_MAX + 1);
    story.refused(Actor::System, most, Code::LimitExceeded);
    // Said once more, the rule is as old as it was: it need not settle again.
    let since = story.query().audit_rule().unwrap().since;
    story.pass(Duration::from_secs(5));
    story.done(admin(), keep(Some(YEARS)));
    assert_eq!(story.query().audit_rule().unwrap().since, since);
    story.done(admin(), keep(Some(2 * YEARS)));
    assert_eq!(story.query().audit_rule().unwrap().since, story.now());
}

#[test]
fn nothing_goes_while_a_region_is_parted() {
    let mut story = Story::with_points(&[1]);
    let member = story.join(1, MemberRole::Learner);
    let (mut story, _) = age(story);
    story.done(Actor::System, claim_epoch(2, member));
    story.refused(Actor::System, cut(1), Code::RegionParted);
}
