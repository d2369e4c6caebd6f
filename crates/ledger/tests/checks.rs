//! What the ledger promises of its memory of what was read back: it is about the place as it is
//! now, it goes with the place, and what is damaged stays told until it was seen whole.

#![allow(clippy::unwrap_used, reason = "a story that cannot be told is a failed test")]

mod story;

use holdfast_common::{Code, limits};
use holdfast_ledger::{
    Actor, LEVEL, Outcome,
    command::{NoteCheck, PutLocation, PutVault, RaiseLevel, RebuildLocation},
    row::{Beside, CheckRow, Checks, LocationRow, VaultRow},
};
use std::time::Duration;
use story::{
    Story,
    checking::{damage, note, vault_checked},
    ids, name,
};

const OPERATOR: fn() -> Actor = || Actor::Operator(name("admin"));

/// The vault requires `main`, and `far` follows.
fn two_places() -> Story {
    let mut story = Story::with_agents(1);
    story.done(Actor::System, RaiseLevel { level: LEVEL, members: vec![1] });
    let url = "local:/mnt/far".to_owned();
    let location = LocationRow { name: name("far"), url, ..story::location() };
    story.done(OPERATOR(), PutLocation { location });
    let beside = Beside { following: vec![name("far")], ..Beside::default() };
    story.done(
        OPERATOR(),
        PutVault { vault: VaultRow { beside: Some(beside), ..story::vault() }, kek: None },
    );
    story
}

fn memory(story: &Story, location: &str) -> Option<CheckRow> {
    story.query().check_of(&ids::vault(), &name(location)).unwrap()
}

fn damaged(story: &Story, location: &str) -> Vec<String> {
    let rows = story.query().damage(Some((&ids::vault(), &name(location)))).unwrap();
    rows.into_iter().map(|row| row.object).collect()
}

/// Says it of the memory that is there, or opens one.
fn say(story: &mut Story, location: &str, damaged: &[&str], whole: &[&str]) -> Outcome {
    let opened = memory(story, location).map_or(0, |row| row.opened);
    story.done(Actor::System, note(opened, location, damaged, whole))
}

#[test]
fn what_is_damaged_stays_told_until_it_was_seen_whole() {
    let mut story = two_places();
    let Outcome::At(opened) = say(&mut story, "main", &["packs/1", "packs/2"], &[]) else {
        panic!("a memory is opened")
    };
    assert_eq!(memory(&story, "main").unwrap().opened, opened);
    let since = story.query().damage(None).unwrap()[0].since;
    story.pass(Duration::from_secs(9));
    assert_eq!(say(&mut story, "main", &["packs/1"], &["packs/9"]), Outcome::At(opened));
    assert_eq!(damaged(&story, "main"), ["packs/1", "packs/2"]);
    assert_eq!(story.query().damage(None).unwrap()[0].since, since, "it began then");
    say(&mut story, "far", &["packs/1"], &[]);
    say(&mut story, "main", &[], &["packs/1"]);
    assert_eq!(damaged(&story, "main"), ["packs/2"]);
    assert_eq!(damaged(&story, "far"), ["packs/1"], "that is another place");
    let row = memory(&story, "main").unwrap();
    assert_eq!(row.oldest(), Some(row.last.unwrap().began));
}

#[test]
fn what_is_said_of_a_place_that_was_left_is_not_said_of_the_new_one() {
    let mut story = two_places();
    for location in ["main", "far"] {
        say(&mut story, location, &["packs/1"], &[]);
    }
    let before = memory(&story, "far").unwrap().opened;
    story.done(OPERATOR(), story::replace_location("far", "local:/mnt/elsewhere"));
    assert_eq!((memory(&story, "far"), damaged(&story, "far")), (None, vec![]));
    assert_eq!(damaged(&story, "main"), ["packs/1"]);
    let stale = note(before, "far", &["packs/1"], &[]);
    assert_eq!(story.done(Actor::System, stale.clone()), Outcome::Unchanged);
    assert_eq!(memory(&story, "far"), None);
    say(&mut story, "far", &[], &[]);
    assert_eq!(story.done(Actor::System, stale), Outcome::Unchanged, "nor of a memory behind it");
    assert_eq!(damaged(&story, "far"), [""; 0]);
    story.done(OPERATOR(), PutVault { vault: story::vault(), kek: None });
    assert_eq!(memory(&story, "far"), None, "it is dropped");
    assert_eq!(say(&mut story, "far", &[], &[]), Outcome::Unchanged);
    story.done(OPERATOR(), RebuildLocation { location: name("main") });
    assert_eq!((memory(&story, "main"), damaged(&story, "main")), (None, vec![]));
}

#[test]
fn nobody_but_the_cluster_says_it_and_all_of_it_has_a_bound() {
    let mut story = two_places();
    story.refused(OPERATOR(), note(0, "main", &[], &[]), Code::AuthDenied);
    let many: Vec<String> =
        (0..=limits::DAMAGE_NOTED_MAX).map(|at| format!("packs/{at}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    story.refused(Actor::System, note(0, "main", &many, &[]), Code::LimitExceeded);
    story.refused(Actor::System, note(0, "main", &[], &many), Code::LimitExceeded);
    let long = "x".repeat(limits::OBJECT_NAME_BYTES_MAX + 1);
    story.refused(Actor::System, note(0, "main", &[&long], &[]), Code::LimitExceeded);
    let points = vec![ids::point(1); limits::DAMAGE_POINTS_MAX + 1];
    let wide = NoteCheck {
        damaged: vec![damage("main", "packs/1", &points)],
        ..note(0, "main", &[], &[])
    };
    story.refused(Actor::System, wide, Code::LimitExceeded);
    // What is kept of one place.
    for round in 0..=limits::DAMAGE_KEPT_MAX / 100 {
        let names: Vec<String> = (0..100).map(|at| format!("packs/{round}-{at}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        say(&mut story, "main", &names, &[]);
    }
    assert_eq!(damaged(&story, "main").len(), limits::DAMAGE_KEPT_MAX);
    // What is kept is told of as before, and makes room.
    say(&mut story, "main", &["packs/0-0"], &["packs/0-1"]);
    assert_eq!(damaged(&story, "main").len(), limits::DAMAGE_KEPT_MAX - 1);
}

#[test]
fn how_a_vault_is_read_back_is_declared_and_may_change() {
    let mut story = two_places();
    let vault = |story: &Story| story.query().vault(&ids::vault()).unwrap();
    assert_eq!(vault(&story).check_bytes_per_day(), limits::CHECK_BYTES_PER_DAY);
    let beside = vault(&story).beside;
    let declared = VaultRow { beside, ..vault_checked() };
    let put = |checks| PutVault { vault: VaultRow { checks, ..declared.clone() }, kek: None };
    assert_eq!(story.done(OPERATOR(), put(declared.checks)), Outcome::Done);
    assert_eq!(story.done(OPERATOR(), put(declared.checks)), Outcome::Unchanged);
    assert_eq!(vault(&story).check_bytes_per_day(), 1 << 30);
    assert_eq!(vault(&story).check_every(), Duration::from_secs(48 * 3600));
    for (bytes, hours) in [
        (Some(limits::CHECK_BYTES_PER_DAY_MIN - 1), None),
        (None, Some(limits::CHECK_EVERY_HOURS_MAX + 1)),
    ] {
        let checks = Checks { storage_bytes_per_day: bytes, storage_every_hours: hours };
        story.refused(OPERATOR(), put(Some(checks)), Code::ResourceMalformed);
    }
    let off = Checks { storage_bytes_per_day: Some(0), storage_every_hours: None };
    story.done(OPERATOR(), put(Some(off)));
    assert_eq!(vault(&story).check_bytes_per_day(), 0);
    story.done(OPERATOR(), put(None));
    assert_eq!(vault(&story).checks, None);
}
