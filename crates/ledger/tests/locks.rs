//! What the ledger says of locks: a row for each place of a vault that wants them, and nothing said
//! of one place that was seen in another.

#![expect(clippy::unwrap_used, reason = "a story that cannot be told is a failed test")]

mod story;

use holdfast_common::{Code, LockClass, Timestamp};
use holdfast_ledger::{
    Actor, LEVEL,
    command::{Outcome, PutLocation, PutVault, RaiseLevel, RebuildLocation},
    row::{LocationRow, LockRow, LockTerms, VaultRow},
};
use story::{
    Story, agent, ids,
    locking::{DAY, locking, note_locks},
    name, replace_location, vault, vault_beside,
};

/// One host; the vault requires `main`, and `far` is declared.
fn founded() -> Story {
    let mut story = Story::with_agents(1);
    story.done(Actor::System, RaiseLevel { level: LEVEL, members: vec![1] });
    let url = "local:/mnt/far".to_owned();
    let location = LocationRow { name: name("far"), url, ..story::location() };
    story.done(Actor::System, PutLocation { location });
    story
}

fn row(story: &Story, location: &str) -> Option<LockRow> {
    story.query().locks_in(&ids::vault(), &name(location)).unwrap()
}

/// A vault whose `main` is locked as a leader said.
fn locked() -> Story {
    let mut story = founded();
    assert_eq!(story.done(Actor::System, locking(DAY)), Outcome::Done);
    let opened = row(&story, "main").unwrap().opened;
    assert_eq!(story.done(Actor::System, note_locks(opened)), Outcome::Done);
    assert!(row(&story, "main").unwrap().until.is_some());
    story
}

#[test]
fn a_vault_that_wants_locks_has_a_row_for_each_place_and_none_without() {
    let mut story = founded();
    assert_eq!(row(&story, "main"), None);
    let both = VaultRow { lock: Some(DAY), ..vault_beside() };
    story.done(Actor::System, PutVault { vault: both, kek: None });
    for place in ["main", "far"] {
        assert_eq!(row(&story, place).unwrap().until, None, "nothing is known of {place}");
    }
    assert_eq!(story.done(Actor::System, locking(DAY)), Outcome::Done);
    assert!(row(&story, "main").is_some() && row(&story, "far").is_none(), "it follows no more");
    assert_eq!(story.done(Actor::System, locking(DAY)), Outcome::Unchanged);
    story.done(Actor::System, PutVault { vault: vault(), kek: None });
    assert_eq!(row(&story, "main"), None);
}

#[test]
fn what_is_said_of_a_place_that_was_left_counts_for_nothing() {
    let mut story = locked();
    let before = row(&story, "main").unwrap().opened;
    story.done(Actor::System, replace_location("main", "local:/srv/other"));
    let moved = row(&story, "main").unwrap();
    assert!(moved.until.is_none() && moved.covers.is_none() && moved.opened > before);
    assert_eq!(story.done(Actor::System, note_locks(before)), Outcome::Unchanged);
    assert_eq!(row(&story, "main").unwrap(), moved);

    story.done(Actor::System, note_locks(moved.opened));
    story.done(Actor::System, RebuildLocation { location: name("main") });
    assert_eq!(row(&story, "main").unwrap().until, None, "it lost what it held");
}

#[test]
fn another_class_begins_anew_and_another_span_goes_on() {
    let mut story = locked();
    let longer = LockTerms { secs: 2 * DAY.secs, ..DAY };
    assert_eq!(story.done(Actor::System, locking(longer)), Outcome::Done);
    assert!(row(&story, "main").unwrap().until.is_some(), "what is locked stays so");
    let weaker = LockTerms { class: LockClass::Governance, ..longer };
    story.done(Actor::System, locking(weaker));
    assert_eq!(row(&story, "main").unwrap().until, None);
}

#[test]
fn spans_that_are_a_slip_are_refused_and_agents_say_nothing() {
    let mut story = founded();
    for secs in [0, 59, 100 * 366 * 86_400] {
        let slip = LockTerms { secs, ..DAY };
        story.refused(Actor::System, locking(slip), Code::ResourceMalformed);
    }
    story.done(Actor::System, locking(DAY));
    let opened = row(&story, "main").unwrap().opened;
    story.refused(Actor::Agent(agent(1)), note_locks(opened), Code::AuthDenied);
}

#[test]
fn a_point_is_locked_as_far_as_was_gone_through() {
    let mut story = founded();
    story.done(Actor::System, locking(DAY));
    story.backup(1, 1);
    let point = story.query().points(None).next().unwrap().unwrap();
    let said = |covers| LockRow {
        covers,
        until: Some(Timestamp::from_nanos(i64::MAX)),
        ..row(&story, "main").unwrap()
    };
    let before = Timestamp::from_nanos(point.committed.as_nanos() - 1);
    assert_eq!(said(None).holds(&point), None);
    assert_eq!(said(Some(before)).holds(&point), None);
    assert_eq!(said(Some(point.committed)).holds(&point), said(None).until);
}
