//! What the ledger promises of locations: one place is one location, a vault keeps its own, and
//! whether one is in use is said by nobody but an operator who says just that.

#![allow(clippy::unwrap_used, reason = "a story that cannot be told is a failed test")]

mod story;

use holdfast_common::{Code, record};
use holdfast_ledger::{
    Actor, Outcome,
    command::{DeleteResource, DisableLocation, EnableLocation, PutLocation},
    row::{LocationRow, MemberRole},
};
use std::time::Duration;
use story::{Story, name, replace_location};

const OPERATOR: fn() -> Actor = || Actor::Operator(name("admin"));

fn disable(location: &str) -> DisableLocation {
    DisableLocation { location: name(location) }
}

fn enable(location: &str) -> EnableLocation {
    EnableLocation { location: name(location) }
}

fn row(story: &Story, location: &str) -> LocationRow {
    let rows = story.query().locations().unwrap();
    rows.into_iter().find(|row| row.name == name(location)).unwrap()
}

/// `main`, which the vault requires, and `far`, which nobody does.
fn two_locations() -> Story {
    let mut story = Story::founded();
    let url = "local:/mnt/far".to_owned();
    let location = LocationRow { name: name("far"), url, ..story::location() };
    story.done(OPERATOR(), PutLocation { location });
    story
}

#[test]
fn a_location_is_disabled_and_enabled_by_whoever_says_so_and_by_nothing_else() {
    let mut story = two_locations();
    let before = row(&story, "main");
    assert_eq!(before.disabled, None);
    assert_eq!(story.done(OPERATOR(), enable("main")), Outcome::Unchanged);
    assert_eq!(story.done(OPERATOR(), disable("main")), Outcome::Done);
    let since = row(&story, "main").disabled.unwrap();
    story.pass(Duration::from_secs(9));
    assert_eq!(story.done(OPERATOR(), disable("main")), Outcome::Unchanged);
    assert_eq!(row(&story, "main").disabled, Some(since), "since the first time");
    // Declaring it again, as it is or otherwise, does not put it to use.
    let declared = |region: &str| PutLocation {
        location: LocationRow { region: name(region), ..story::location() },
    };
    assert_eq!(story.done(OPERATOR(), declared("eu")), Outcome::Unchanged);
    assert_eq!(story.done(OPERATOR(), declared("us")), Outcome::Done);
    assert_eq!(row(&story, "main").disabled, Some(since));
    assert_eq!(story.done(OPERATOR(), declared("eu")), Outcome::Done);
    assert_eq!(story.done(OPERATOR(), enable("main")), Outcome::Done);
    let after = row(&story, "main");
    assert_eq!(after.disabled, None);
    assert!(after.revision > before.revision);
    assert_eq!(row(&story, "far").revision, 1, "the other one was not touched");
    story.refused(OPERATOR(), disable("nowhere"), Code::LocationMissing);
    story.refused(OPERATOR(), enable("nowhere"), Code::LocationMissing);
}

#[test]
fn a_used_location_moves_by_being_replaced_and_by_nothing_else() {
    let mut story = two_locations();
    let moved = LocationRow { url: "local:/mnt/new".to_owned(), ..story::location() };
    story.refused(OPERATOR(), PutLocation { location: moved }, Code::ResourceConflict);
    story.done(OPERATOR(), disable("main"));
    let before = row(&story, "main");
    let replace = replace_location("main", "local:/mnt/new");
    assert_eq!(story.done(OPERATOR(), replace.clone()), Outcome::Done);
    let after = row(&story, "main");
    let revision = before.revision + 1;
    let expected = LocationRow { url: "local:/mnt/new".to_owned(), revision, ..before };
    assert_eq!(after, expected, "nothing but its place changed");
    assert_eq!(story.done(OPERATOR(), replace), Outcome::Unchanged);
    let onto_far = replace_location("main", "local:/mnt/far");
    story.refused(OPERATOR(), onto_far, Code::ResourceConflict);
    let nowhere = replace_location("nowhere", "local:/mnt/other");
    story.refused(OPERATOR(), nowhere, Code::LocationMissing);
}

#[test]
fn a_disabled_location_stays_required_and_is_not_taken_away() {
    let mut story = two_locations();
    story.done(OPERATOR(), disable("main"));
    let remove =
        |location: &str| DeleteResource { kind: "location".to_owned(), name: name(location) };
    story.refused(OPERATOR(), remove("main"), Code::ResourceConflict);
    story.done(OPERATOR(), disable("far"));
    story.done(OPERATOR(), remove("far"));
    assert_eq!(story.query().locations().unwrap().len(), 1);
}

#[test]
fn every_change_of_a_location_is_in_the_audit_log() {
    let mut story = two_locations();
    story.done(OPERATOR(), disable("main"));
    story.done(OPERATOR(), replace_location("main", "local:/mnt/new"));
    story.done(OPERATOR(), enable("main"));
    let rows = story.query().audit(0, 100).unwrap();
    let told: Vec<_> = rows.iter().map(|row| (row.action.as_str(), row.subject.as_str())).collect();
    let last = told.last_chunk::<3>().unwrap();
    let expected = [
        ("location.disable", "main"),
        ("location.replace", "main by local:/mnt/new"),
        ("location.enable", "main"),
    ];
    assert_eq!(*last, expected);
    assert!(rows.iter().rev().take(3).all(|row| row.actor == OPERATOR()));
}

#[test]
fn a_location_in_use_is_stored_as_it_always_was() {
    let row = LocationRow { revision: 3, ..story::location() };
    let stored = b"\xa4\x00\x64main\x01\x71local:/srv/backup\x02\x62eu\x03\x03";
    assert_eq!(record::to_bytes(&row), stored);
    assert_eq!(record::from_bytes::<LocationRow>("location", stored).unwrap(), row);
    let disabled = Some(holdfast_common::Timestamp::from_nanos(7));
    let stored = b"\xa5\x00\x64main\x01\x71local:/srv/backup\x02\x62eu\x03\x03\x04\x07";
    assert_eq!(record::to_bytes(&LocationRow { disabled, ..row }), stored);
}

#[test]
fn among_regions_a_location_that_a_vault_requires_stays_in_use() {
    let mut story = two_locations();
    story.done(OPERATOR(), story::members::create_token(1));
    let admit = story::members::admit(1, "south-1", MemberRole::Learner);
    story.done(Actor::Token, admit);
    story.refused(OPERATOR(), disable("main"), Code::ResourceConflict);
    assert_eq!(row(&story, "main").disabled, None);
    assert_eq!(story.done(OPERATOR(), disable("far")), Outcome::Done, "nobody requires it");
}
