//! What the ledger promises of locations that follow, that come back and that are passed over: none
//! is relied on before it lacks nothing, and what is said of one is about the place as it is now.

#![allow(clippy::unwrap_used, reason = "a story that cannot be told is a failed test")]

mod story;

use holdfast_common::{Code, Timestamp};
use holdfast_ledger::{
    Actor, LEVEL, Outcome,
    command::{
        DeleteResource, DisableLocation, EnableLocation, NoteCopies, PassOver, PlacePoints,
        PutLocation, PutVault, RaiseLevel, RebuildLocation, ReplaceLocation, TakeBack,
    },
    row::{Beside, CopyRow, CopyState, LocationRow, PackHome, PackState, PointState, VaultRow},
};
use std::time::Duration;
use story::{Story, agent, doubt, ids, name, note_copies, replace_location, store};

const OPERATOR: fn() -> Actor = || Actor::Operator(name("admin"));

/// One host; the vault requires `main`, and `far` and `third` are declared.
fn three_locations() -> Story {
    let mut story = Story::with_agents(1);
    story.done(Actor::System, RaiseLevel { level: LEVEL, members: vec![1] });
    for other in ["far", "third"] {
        let url = format!("local:/mnt/{other}");
        let location = LocationRow { name: name(other), url, ..story::location() };
        story.done(OPERATOR(), PutLocation { location });
    }
    story
}

fn declared(required: &[&str], following: &[&str], enough: Option<u32>) -> PutVault {
    let names = |names: &[&str]| names.iter().map(|text| name(text)).collect();
    let beside = Beside { following: names(following), enough, ..Beside::default() };
    let beside = (beside != Beside::default()).then_some(beside);
    PutVault { vault: VaultRow { required: names(required), beside, ..story::vault() }, kek: None }
}

fn vault(story: &Story) -> VaultRow {
    story.query().vault(&ids::vault()).unwrap()
}

fn copies(story: &Story, location: &str) -> Option<CopyRow> {
    story.query().copies_in(&ids::vault(), &name(location)).unwrap()
}

fn opened(story: &Story) -> u64 {
    copies(story, "far").unwrap().opened
}

fn say(story: &mut Story, state: CopyState) -> Outcome {
    let note = note_copies(opened(story), state);
    story.done(Actor::System, note)
}

fn strings<'n>(names: impl IntoIterator<Item = &'n holdfast_common::Name>) -> Vec<&'n str> {
    names.into_iter().map(|name| name.as_str()).collect()
}

/// `main` and `far` are required, and one of them is enough.
fn two_required() -> Story {
    let mut story = three_locations();
    story.done(OPERATOR(), declared(&["main"], &["far"], None));
    say(&mut story, CopyState::Current);
    story.done(OPERATOR(), declared(&["main", "far"], &[], Some(1)));
    say(&mut story, CopyState::Current);
    story
}

fn pass_over(location: &str) -> PassOver {
    PassOver { vault: ids::vault(), location: name(location) }
}

fn take_back(location: &str) -> TakeBack {
    TakeBack { vault: ids::vault(), location: name(location) }
}

#[test]
fn a_location_that_follows_is_looked_at_from_the_entry_on_that_made_it_follow() {
    let mut story = three_locations();
    assert_eq!(copies(&story, "far"), None);
    assert_eq!(story.done(OPERATOR(), declared(&["main"], &["far"], None)), Outcome::Done);
    let row = copies(&story, "far").unwrap();
    assert_eq!((row.state, row.whole, row.opened > 0), (CopyState::Looking, None, true));
    let again = story.done(OPERATOR(), declared(&["main"], &["far"], None));
    assert_eq!(again, Outcome::Unchanged);
    story.done(OPERATOR(), declared(&["main"], &["third"], None));
    assert_eq!(copies(&story, "far"), None, "nobody brings it anything any more");
    assert!(copies(&story, "third").is_some());
}

#[test]
fn what_is_said_of_a_place_that_was_left_is_not_said_of_the_new_one() {
    let mut story = three_locations();
    story.done(OPERATOR(), declared(&["main"], &["far"], None));
    let before = opened(&story);
    story.done(OPERATOR(), replace_location("far", "local:/mnt/elsewhere"));
    assert!(opened(&story) > before);
    let stale = story.done(Actor::System, note_copies(before, CopyState::Current));
    assert_eq!(stale, Outcome::Unchanged);
    assert_eq!(copies(&story, "far").unwrap().state, CopyState::Looking);
    story.backup(1, 1);
    let place = |opened| PlacePoints {
        location: name("far"),
        opened: Some(opened),
        ..story::place_points(&[1])
    };
    story.refused(Actor::System, place(before), Code::ResourceConflict);
    let now = opened(&story);
    assert_eq!(story.done(Actor::System, place(now)), Outcome::Done);
    let point = story.query().point(&ids::point(1)).unwrap();
    assert_eq!(strings(&point.locations), ["main", "far"]);
    // An operator, an agent: nobody but the cluster itself says how far copies are.
    let note = note_copies(now, CopyState::Current);
    story.refused(OPERATOR(), note, Code::AuthDenied);
}

#[test]
fn a_state_keeps_its_beginning_and_a_lag_is_told_until_nothing_is_missing() {
    let mut story = three_locations();
    story.done(OPERATOR(), declared(&["main"], &["far"], None));
    say(&mut story, CopyState::Away);
    let since = copies(&story, "far").unwrap().since;
    story.pass(Duration::from_secs(9));
    say(&mut story, CopyState::Away);
    let row = copies(&story, "far").unwrap();
    assert_eq!(row.since, since);
    let oldest = Timestamp::from_nanos(5);
    assert_eq!(row.lag(oldest.plus(Duration::from_secs(7))), Some(Duration::from_secs(7)));
    say(&mut story, CopyState::Current);
    let row = copies(&story, "far").unwrap();
    assert!(row.since > since);
    assert_eq!(row.lag(story.now()), None);
}

#[test]
fn only_a_location_that_lacks_nothing_becomes_required_and_what_is_being_put_is_put_there_too() {
    let mut story = three_locations();
    let both = || declared(&["main", "far"], &[], None);
    story.refused(OPERATOR(), both(), Code::ResourceConflict);
    story.done(OPERATOR(), declared(&["main"], &["far"], None));
    story.refused(OPERATOR(), both(), Code::ResourceConflict);
    say(&mut story, CopyState::Copying);
    story.refused(OPERATOR(), both(), Code::ResourceConflict);
    say(&mut story, CopyState::Current);
    story.begin(1, 1);
    let me = Actor::Agent(agent(1));
    story.done(me.clone(), story::intend(1, &[1], PackHome::Object));
    let before = vault(&story).revision;
    story.done(OPERATOR(), both());
    assert_eq!(strings(&vault(&story).required), ["main", "far"]);
    assert_eq!(vault(&story).beside, None);
    story.refused(me.clone(), store(1, 1, Some(before)), Code::VaultGrown);
    let now = vault(&story).revision;
    story.done(me.clone(), store(1, 1, Some(now)));
    // What was stored before it was required is looked for there once more.
    assert_eq!(copies(&story, "far").unwrap().state, CopyState::Looking);
    say(&mut story, CopyState::Current);
    assert_eq!(copies(&story, "far"), None, "a required location that lacks nothing has no row");
    // A point that was put under an older revision may lie where the location was before.
    let locations = vec![name("main"), name("far")];
    let mut commit = story::commit(1, 1, agent(1), PointState::Complete);
    commit.point.locations = locations;
    commit.revision = Some(before);
    story.refused(me.clone(), commit.clone(), Code::VaultGrown);
    commit.revision = Some(now);
    story.done(me, commit);
    let pack = story.query().pack(&ids::vault(), &ids::pack(1)).unwrap().unwrap();
    assert_eq!(pack.state, PackState::Stored);
}

#[test]
fn a_required_location_that_comes_back_or_moved_lacks_something_until_it_is_said_not_to() {
    let mut story = two_required();
    assert_eq!(copies(&story, "far"), None);
    let location = name("far");
    story.done(OPERATOR(), DisableLocation { location: location.clone() });
    assert_eq!(copies(&story, "far"), None, "nothing is stored meanwhile");
    let before = vault(&story).revision;
    story.done(OPERATOR(), EnableLocation { location });
    assert_eq!(copies(&story, "far").unwrap().state, CopyState::Looking);
    assert!(vault(&story).grown.unwrap() > before, "what is being put is put again");
    say(&mut story, CopyState::Current);
    story.done(OPERATOR(), replace_location("far", "local:/mnt/elsewhere"));
    assert!(copies(&story, "far").is_some());
}

#[test]
fn what_was_said_to_lie_in_a_place_is_not_known_of_another_one_or_of_an_empty_one() {
    let mut story = two_required();
    let location = name("far");
    story.done(OPERATOR(), replace_location("far", "local:/mnt/elsewhere"));
    let row = copies(&story, "far").unwrap();
    assert_eq!((row.confirms(), row.whole), (false, None));
    assert_eq!(row.left.as_deref(), Some("local:/mnt/far"), "what nobody else has may be there");
    say(&mut story, CopyState::Current);
    assert_eq!(copies(&story, "far"), None);
    story.done(OPERATOR(), RebuildLocation { location });
    let row = copies(&story, "far").unwrap();
    assert_eq!((row.confirms(), row.left), (false, None));
    // Of one that follows, from the first time on that it lacked nothing.
    let mut story = three_locations();
    story.done(OPERATOR(), declared(&["main"], &["far"], None));
    say(&mut story, CopyState::Current);
    assert!(copies(&story, "far").unwrap().confirms());
    // Dropped, and declared again: nobody knows what became of it.
    story.done(OPERATOR(), declared(&["main"], &[], None));
    story.done(OPERATOR(), declared(&["main"], &["far"], None));
    assert!(!copies(&story, "far").unwrap().confirms());
    say(&mut story, CopyState::Current);
    story.done(OPERATOR(), RebuildLocation { location: name("far") });
    assert!(!copies(&story, "far").unwrap().confirms());
    say(&mut story, CopyState::Current);
    assert!(copies(&story, "far").unwrap().confirms());
}

#[test]
fn a_vault_goes_on_without_one_that_is_away_only_where_it_was_declared_to() {
    let mut story = two_required();
    story.refused(OPERATOR(), pass_over("far"), Code::AuthDenied);
    assert_eq!(story.done(Actor::System, pass_over("third")), Outcome::Unchanged);
    assert_eq!(story.done(Actor::System, pass_over("far")), Outcome::Done);
    let row = vault(&story);
    assert_eq!((strings(&row.required), strings(row.following())), (vec!["main"], vec!["far"]));
    assert_eq!(strings(row.required_as_declared()), ["main", "far"]);
    assert_eq!(row.following_as_declared().count(), 0);
    story.refused(Actor::System, pass_over("main"), Code::ResourceConflict);
    // To declare it as it was declared changes nothing.
    let same = declared(&["main", "far"], &[], Some(1));
    assert_eq!(story.done(OPERATOR(), same), Outcome::Unchanged);
    story.refused(Actor::System, take_back("far"), Code::ResourceConflict);
    say(&mut story, CopyState::Current);
    assert_eq!(story.done(Actor::System, take_back("far")), Outcome::Done);
    let row = vault(&story);
    assert_eq!((strings(&row.required), row.following().len()), (vec!["main", "far"], 0));
    assert_eq!(row.beside.unwrap().enough, Some(1));
    assert_eq!(copies(&story, "far").unwrap().state, CopyState::Looking, "once more");
    // All of them are wanted: none is passed over.
    story.done(OPERATOR(), declared(&["main", "far"], &[], None));
    story.refused(Actor::System, pass_over("far"), Code::ResourceConflict);
}

#[test]
fn one_that_is_passed_over_may_be_given_up_or_left_to_follow() {
    let mut story = two_required();
    story.done(Actor::System, pass_over("far"));
    story.done(OPERATOR(), declared(&["main"], &["far"], None));
    let row = vault(&story);
    assert_eq!((row.returning().len(), strings(row.following())), (0, vec!["far"]));
    assert_eq!(story.done(Actor::System, take_back("far")), Outcome::Unchanged);
    let mut story = two_required();
    story.done(Actor::System, pass_over("far"));
    story.done(OPERATOR(), declared(&["main"], &[], None));
    assert_eq!((vault(&story).beside, copies(&story, "far")), (None, None));
    let mut story = two_required();
    story.done(Actor::System, pass_over("far"));
    story.refused(OPERATOR(), declared(&["far"], &[], None), Code::ResourceConflict);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut story = three_locations();
    let malformed = Code::ResourceMalformed;
    story.refused(OPERATOR(), declared(&["main"], &["main"], None), malformed);
    story.refused(OPERATOR(), declared(&["main"], &["far", "far"], None), malformed);
    story.refused(OPERATOR(), declared(&["main"], &["nowhere"], None), Code::LocationMissing);
    story.refused(OPERATOR(), declared(&["main"], &[], Some(0)), malformed);
    story.refused(OPERATOR(), declared(&["main"], &["far"], Some(2)), malformed);
    let mut forged = declared(&["main"], &["far"], None);
    forged.vault.beside.as_mut().unwrap().returning.push(name("far"));
    story.refused(OPERATOR(), forged, Code::ResourceConflict);
    story.done(OPERATOR(), declared(&["main"], &["far"], None));
    let delete = DeleteResource { kind: "location".to_owned(), name: name("far") };
    story.refused(OPERATOR(), delete, Code::ResourceConflict);
}

#[test]
fn one_that_is_still_brought_what_it_lacks_is_not_enough_for_the_others_to_be_passed_over() {
    let mut story = two_required();
    story.done(Actor::System, pass_over("far"));
    say(&mut story, CopyState::Current);
    story.done(Actor::System, take_back("far"));
    // It is required again, and looked through once more: what it lacks is in `main` alone.
    story.refused(Actor::System, pass_over("main"), Code::ResourceConflict);
    say(&mut story, CopyState::Current);
    assert_eq!(story.done(Actor::System, pass_over("main")), Outcome::Done);
    let mut story = two_required();
    story.done(OPERATOR(), RebuildLocation { location: name("far") });
    story.refused(Actor::System, pass_over("main"), Code::ResourceConflict);
    assert_eq!(strings(&vault(&story).required), ["main", "far"]);
    assert_eq!(
        story.done(Actor::System, pass_over("far")),
        Outcome::Done,
        "it lacks things itself"
    );
}

#[test]
fn the_last_one_that_is_known_to_have_everything_is_not_dropped() {
    let conflict = Code::ResourceConflict;
    let mut story = three_locations();
    story.done(OPERATOR(), declared(&["main"], &["far"], None));
    say(&mut story, CopyState::Current);
    story.refused(OPERATOR(), declared(&["far"], &[], None), conflict);
    story.refused(OPERATOR(), declared(&["far"], &["main"], None), conflict);
    story.done(OPERATOR(), declared(&["main", "far"], &[], None));
    story.refused(OPERATOR(), declared(&["far"], &[], None), conflict);
    say(&mut story, CopyState::Current);
    story.done(OPERATOR(), declared(&["far"], &[], None));
    assert_eq!(strings(&vault(&story).required), ["far"]);
    // While the only required one is filled again nothing is dropped that it is filled from.
    let mut story = three_locations();
    story.done(OPERATOR(), declared(&["main"], &["far"], None));
    say(&mut story, CopyState::Current);
    story.done(OPERATOR(), RebuildLocation { location: name("main") });
    story.refused(OPERATOR(), declared(&["main"], &[], None), conflict);
    story.done(OPERATOR(), declared(&["main"], &["far", "third"], None));
    let main = copies(&story, "main").unwrap().opened;
    let whole = note_copies(main, CopyState::Current);
    let whole = whole.copies.into_iter().map(|row| CopyRow { location: name("main"), ..row });
    story.done(Actor::System, NoteCopies { copies: whole.collect() });
    story.done(OPERATOR(), declared(&["main"], &[], None));
}

#[test]
fn one_that_lacks_what_it_had_is_known_to_hold_nothing_until_it_was_looked_through() {
    let mut story = two_required();
    let revision = |story: &Story| {
        let row: LocationRow = story.query().row(b"far").unwrap().unwrap();
        row.revision
    };
    let before = revision(&story);
    story.refused(OPERATOR(), doubt("far", before), Code::AuthDenied);
    assert_eq!(story.done(Actor::System, doubt("far", before + 1)), Outcome::Unchanged);
    story.refused(Actor::System, doubt("nowhere", before), Code::LocationMissing);
    assert_eq!(copies(&story, "far"), None);
    let vault_before = vault(&story).revision;
    assert_eq!(story.done(Actor::System, doubt("far", before)), Outcome::Done);
    let row = copies(&story, "far").unwrap();
    assert_eq!((row.confirms(), row.whole), (false, None));
    assert!(vault(&story).grown.unwrap() > vault_before, "what is being put is put again");
    // It was seen as it was before it was doubted.
    assert_eq!(story.done(Actor::System, doubt("far", before)), Outcome::Unchanged);
    assert_eq!(opened(&story), row.opened);
    story.refused(Actor::System, pass_over("main"), Code::ResourceConflict);
    say(&mut story, CopyState::Current);
    assert_eq!(copies(&story, "far"), None);
    // Where it lay before may have what it lacks.
    story.done(OPERATOR(), replace_location("far", "local:/mnt/second"));
    let now = revision(&story);
    story.done(Actor::System, doubt("far", now));
    assert_eq!(copies(&story, "far").unwrap().left.as_deref(), Some("local:/mnt/far"));
    // What is out of use is looked at by nobody.
    let location = name("far");
    story.done(OPERATOR(), DisableLocation { location });
    let now = revision(&story);
    assert_eq!(story.done(Actor::System, doubt("far", now)), Outcome::Unchanged);
}

#[test]
fn where_a_location_lay_before_is_remembered_until_all_of_it_was_brought() {
    let mut story = two_required();
    let left = |story: &Story| copies(story, "far").and_then(|row| row.left);
    story.done(OPERATOR(), replace_location("far", "local:/mnt/second"));
    assert_eq!(left(&story).as_deref(), Some("local:/mnt/far"));
    let third = || replace_location("far", "local:/mnt/fourth");
    story.refused(OPERATOR(), third(), Code::ResourceConflict);
    // The second one cannot be read: what the first has is still wanted.
    let gone = ReplaceLocation { left_is_gone: Some(true), ..third() };
    story.done(OPERATOR(), gone);
    assert_eq!(left(&story).as_deref(), Some("local:/mnt/far"));
    say(&mut story, CopyState::Current);
    story.done(OPERATOR(), replace_location("far", "local:/mnt/fifth"));
    assert_eq!(left(&story).as_deref(), Some("local:/mnt/fourth"));
    // Whoever says that it is filled again says that nothing is to be had there.
    story.done(OPERATOR(), RebuildLocation { location: name("far") });
    assert_eq!(left(&story), None);
}
