//! What the ledger promises when a vault comes to require a location that it did not before: what
//! was put without it does not count, and points are said to lie there once they do.

#![allow(clippy::unwrap_used, reason = "a story that cannot be told is a failed test")]

mod story;

use holdfast_common::{Code, PointId, VaultId, limits};
use holdfast_ledger::{
    Actor, Outcome,
    command::{PlacePoints, PutLocation, PutVault},
    row::{LocationRow, PackHome, PackState, PointState, VaultRow},
};
use proptest::prelude::*;
use story::{Story, agent, ids, name, place_points, store};

const OPERATOR: fn() -> Actor = || Actor::Operator(name("admin"));

/// One host; the vault requires `main`, and there is another location, `far`.
fn one_location() -> Story {
    let mut story = Story::with_agents(1);
    let url = "local:/mnt/far".to_owned();
    let location = LocationRow { name: name("far"), url, ..story::location() };
    story.done(Actor::System, PutLocation { location });
    story
}

/// Two points in `main`; then `far` is required too.
fn grown() -> Story {
    let mut story = one_location();
    story.backup(1, 1);
    story.backup(1, 2);
    story.require(&["main", "far"]);
    story
}

fn revision(story: &Story) -> u64 {
    story.query().vault(&ids::vault()).unwrap().revision
}

fn state(story: &Story, pack: u8) -> PackState {
    story.query().pack(&ids::vault(), &ids::pack(pack)).unwrap().unwrap().state
}

fn places(story: &Story, point: u8) -> Vec<String> {
    let point = story.query().point(&ids::point(point)).unwrap();
    point.locations.iter().map(ToString::to_string).collect()
}

fn in_far(points: &[u8]) -> PlacePoints {
    PlacePoints { location: name("far"), ..place_points(points) }
}

#[test]
fn a_pack_that_was_put_before_a_location_was_required_does_not_count() {
    let mut story = one_location();
    story.begin(1, 1);
    let me = Actor::Agent(agent(1));
    story.done(me.clone(), story::intend(1, &[1, 2], PackHome::Object));
    let before = revision(&story);
    story.done(me.clone(), store(1, 1, Some(before)));
    story.require(&["main", "far"]);
    story.refused(me.clone(), store(1, 2, Some(before)), Code::VaultGrown);
    assert!(Code::VaultGrown.retry(), "whoever put it puts it again");
    assert_eq!(state(&story, 2), PackState::Intended);
    assert_eq!(state(&story, 1), PackState::Stored, "what was stored before stays");
    story.done(me, store(1, 2, Some(revision(&story))));
    assert_eq!(state(&story, 2), PackState::Stored);
}

#[test]
fn who_does_not_say_when_a_pack_was_placed_placed_it_before() {
    let mut story = one_location();
    story.begin(1, 1);
    let me = Actor::Agent(agent(1));
    story.done(me.clone(), story::intend(1, &[1, 2], PackHome::Object));
    story.done(me.clone(), store(1, 1, None));
    story.require(&["main", "far"]);
    story.refused(me, store(1, 2, None), Code::VaultGrown);
}

#[test]
fn only_a_further_location_makes_what_was_placed_old() {
    let mut story = one_location();
    story.require(&["main", "far"]);
    story.begin(1, 1);
    let me = Actor::Agent(agent(1));
    story.done(me.clone(), story::intend(1, &[1, 2, 3], PackHome::Object));
    let before = revision(&story);
    story.require(&["far", "main"]);
    story.done(me.clone(), store(1, 1, Some(before)));
    story.require(&["main"]);
    story.done(me.clone(), store(1, 2, Some(before)));
    assert_eq!(revision(&story), before + 2);
    // Out and in again: between the two it got nothing.
    story.require(&["main", "far"]);
    story.refused(me.clone(), store(1, 3, Some(before)), Code::VaultGrown);
    story.refused(me, store(1, 3, Some(before + 2)), Code::VaultGrown);
}

#[test]
fn a_point_is_not_committed_where_a_further_location_lacks_it() {
    let mut story = one_location();
    story.begin(1, 1);
    story.require(&["main", "far"]);
    let me = Actor::Agent(agent(1));
    let mut commit = story::commit(1, 1, agent(1), PointState::Complete);
    story.refused(me.clone(), commit.clone(), Code::LocationMissing);
    commit.point.locations.push(name("far"));
    story.done(me, commit);
}

#[test]
fn points_are_said_to_lie_in_a_location_that_was_filled_up() {
    let mut story = grown();
    assert_eq!(places(&story, 1), ["main"]);
    assert_eq!(story.done(Actor::System, in_far(&[1])), Outcome::Done);
    assert_eq!(places(&story, 1), ["main", "far"]);
    assert_eq!(places(&story, 2), ["main"], "and no other point");
    assert_eq!(story.done(OPERATOR(), in_far(&[1, 2])), Outcome::Done);
    assert_eq!(places(&story, 1), ["main", "far"], "once");
    assert_eq!(places(&story, 2), ["main", "far"]);
    assert_eq!(story.done(OPERATOR(), in_far(&[1, 2])), Outcome::Unchanged);
}

#[test]
fn a_point_changes_in_nothing_but_where_it_lies() {
    let mut story = grown();
    let mut before = story.query().point(&ids::point(2)).unwrap();
    story.done(Actor::System, in_far(&[2]));
    before.locations.push(name("far"));
    assert_eq!(story.query().point(&ids::point(2)).unwrap(), before);
    let mut listed = story.query().points(None).map(Result::unwrap);
    assert!(listed.any(|row| row == before), "and is found as it was");
}

#[test]
fn points_that_are_not_known_are_passed_over() {
    let mut story = grown();
    assert_eq!(story.done(Actor::System, in_far(&[9, 1])), Outcome::Done);
    assert_eq!(places(&story, 1), ["main", "far"]);
    assert!(story.query().point(&ids::point(9)).is_err());
    let other = VaultId::from_bytes([0xbb; 16]);
    let required = vec![name("far")];
    let vault = VaultRow { id: other, name: name("other"), required, ..story::vault() };
    story.done(Actor::System, PutVault { vault, kek: None });
    let foreign = PlacePoints { vault: other, ..in_far(&[2]) };
    assert_eq!(story.done(Actor::System, foreign), Outcome::Unchanged);
    assert_eq!(places(&story, 2), ["main"], "it is of another vault");
}

#[test]
fn nothing_is_said_to_lie_where_the_vault_does_not_require_it() {
    let mut story = one_location();
    story.backup(1, 1);
    story.refused(Actor::System, in_far(&[1]), Code::ResourceConflict);
    story.refused(Actor::Agent(agent(1)), place_points(&[1]), Code::AuthDenied);
    let nowhere = PlacePoints { vault: VaultId::from_bytes([1; 16]), ..place_points(&[1]) };
    story.refused(Actor::System, nowhere, Code::VaultMissing);
    let points = vec![PointId::from_bytes([7; 16]); limits::POINTS_PLACED_MAX];
    let most = PlacePoints { points: points.clone(), ..place_points(&[]) };
    assert_eq!(story.done(Actor::System, most), Outcome::Unchanged);
    let points = [points, vec![PointId::from_bytes([7; 16])]].concat();
    let beyond = PlacePoints { points, ..place_points(&[]) };
    story.refused(Actor::System, beyond, Code::LimitExceeded);
    assert_eq!(places(&story, 1), ["main"]);
}

proptest! {
    /// Whatever is required when: a pack that counts as stored was placed where everything that is
    /// required now was required already, or it was stored before that.
    #[test]
    fn a_pack_is_stored_in_all_that_is_required_when_it_is_said(
        steps in prop::collection::vec((0u8..4, 0u8..3), 1..20),
    ) {
        let mut story = one_location();
        story.begin(1, 1);
        let me = Actor::Agent(agent(1));
        let mut placed = Vec::new();
        let lists: [&[&str]; 3] = [&["main"], &["far"], &["main", "far"]];
        for (number, (what, which)) in (1u8..).zip(steps) {
            let vault = story.query().vault(&ids::vault()).unwrap();
            if what == 0 {
                story.require(lists[usize::from(which)]);
                continue;
            }
            if what == 1 {
                story.done(me.clone(), story::intend(1, &[number], PackHome::Object));
                placed.push((number, vault.revision, vault.required));
                continue;
            }
            let Some((pack, revision, places)) = placed.pop() else { continue };
            let said = store(1, pack, Some(revision)).into();
            let reply = story.apply_as([number; 16], me.clone(), said).into_result();
            let has_all = vault.required.iter().all(|name| places.contains(name));
            if reply.is_ok() {
                prop_assert!(has_all, "{:?} holds {:?}", places, vault.required);
            } else {
                prop_assert_eq!(state(&story, pack), PackState::Intended);
            }
        }
    }
}
