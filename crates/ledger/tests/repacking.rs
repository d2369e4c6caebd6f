//! What the ledger promises about packs that are packed anew: no number is without a pack at any
//! moment, and nobody takes over what is not his to take.

#![allow(clippy::unwrap_used, reason = "a story that cannot be told is a failed test")]

mod story;

use holdfast_common::Code;
use holdfast_ledger::{
    Actor, LEVEL, Outcome,
    command::*,
    row::{LocationRow, MemberRole, PackHome, PackRow, PackState},
};
use story::{
    Story, agent,
    collecting::{
        begin_collection, bury, clear, condemn, condemn_live, end_collection, intend_repack,
        repack, seal, spare,
    },
    ids, intend,
    members::{claim_epoch, raise},
    recovering::import,
    store,
};

const MADE: u8 = 9;

fn of(number: u8) -> Actor {
    Actor::Agent(agent(number))
}

/// Packs 1 to 3 of agent 1, with ten numbers each from 0 on, and pack 4 of agent 2.
fn stored() -> Story {
    let mut story = Story::with_agents(4);
    story.done(Actor::System, raise(LEVEL, &[1]));
    for (session, packs) in [(1, 1..=3), (2, 4..=4)] {
        story.begin(session, session);
        for pack in packs {
            story.done(of(session), intend(session, &[pack], PackHome::Object));
            story.done(of(session), store(session, pack, None));
        }
        story.pass(std::time::Duration::from_secs(3600));
        story.done(Actor::System, EndSession { session: ids::session(session) });
    }
    story
}

/// A cleared round that is to pack these anew, with where it was cleared.
fn cleared(story: &mut Story, packs: &[u8]) -> (u64, u64) {
    let round = story.number(begin_collection());
    assert_eq!(story.number(condemn_live(round, packs)), packs.len() as u64);
    story.done(Actor::System, seal(round));
    let Outcome::At(at) = story.done(Actor::System, clear(round)) else { unreachable!("cleared") };
    (round, at)
}

fn row(story: &Story, pack: u8) -> PackRow {
    story.query().pack(&ids::vault(), &ids::pack(pack)).unwrap().unwrap()
}

fn is_as_it_was(story: &Story, pack: u8) {
    let row = row(story, pack);
    assert_eq!((row.state, row.into, row.doomed), (PackState::Stored, None, None));
}

#[test]
fn a_new_pack_takes_the_place_of_others_all_at_once() {
    let mut story = stored();
    let round = cleared(&mut story, &[1, 2]);
    let Outcome::Bases(bases) = story.done(Actor::System, intend_repack(round.0, MADE, 1)) else {
        unreachable!("it has numbers")
    };
    assert_eq!(bases, [40], "numbers of its own");
    assert_eq!(row(&story, MADE).state, PackState::Intended);
    let taken = [(3, 0, 2), (10, 2, 3)];
    assert_eq!(story.number(repack(round, MADE, &taken, &[1, 2])), 2);
    for source in [1, 2] {
        let row = row(&story, source);
        assert_eq!((row.state, row.into), (PackState::Doomed, Some(ids::pack(MADE))));
        assert_eq!((row.condemned, row.live, row.doomed), (None, None, Some(story.now())));
    }
    let made = row(&story, MADE);
    assert!(made.is_offered() && made.writer == agent(1));
    assert_eq!(made.numbers().collect::<Vec<_>>(), [(40, 10), (3, 2), (10, 3)]);
    let row = story.query().collection(&ids::vault()).unwrap().unwrap();
    let repacked = row.repacked.unwrap();
    assert_eq!((repacked.packs, repacked.bytes), (2, 2000));
    assert_eq!((repacked.made, repacked.made_bytes, row.doomed), (1, 1000, 0));
    assert_eq!(row.doomed_at, story.index());
    // What it took over may be taken over again.
    story.done(Actor::System, end_collection(round.0));
    let round = cleared(&mut story, &[MADE]);
    story.done(Actor::System, intend_repack(round.0, 10, 1));
    let none = story.done(Actor::System, bury(&[1, 2]));
    assert_eq!(none, Outcome::Number(2));
    assert_eq!(story.number(repack(round, 10, &[(4, 0, 1), (41, 1, 1)], &[MADE])), 1);
}

#[test]
fn what_a_point_needs_some_of_is_never_doomed_as_it_is() {
    let mut story = stored();
    let round = story.number(begin_collection());
    assert_eq!(story.number(condemn_live(round, &[1])), 1);
    assert_eq!(story.number(condemn(round, &[2])), 1);
    story.done(Actor::System, seal(round));
    story.done(Actor::System, clear(round));
    assert_eq!(story.number(story.doom(round, &[1, 2])), 1);
    is_as_it_was(&story, 1);
    assert!(!row(&story, 1).is_offered());
    // And what no point needs is not packed anew.
    let at = story.query().collection(&ids::vault()).unwrap().unwrap().cleared;
    story.done(Actor::System, intend_repack(round, MADE, 1));
    let both = repack((round, at), MADE, &[(20, 0, 1)], &[1, 3]);
    story.refused_to_collect(both, Code::CollectionOver);
    assert_eq!(story.number(spare(&[1])), 1);
    assert_eq!(row(&story, 1).live, None);
    assert!(row(&story, 1).is_offered());
}

#[test]
fn numbers_that_the_packs_never_had_are_not_taken_over() {
    let mut story = stored();
    let round = cleared(&mut story, &[1, 3]);
    story.done(Actor::System, intend_repack(round.0, MADE, 1));
    for wrong in [(10, 0, 1), (9, 0, 2), (30, 0, 1), (19, 0, 2), (u64::MAX, 0, 2), (5, 0, 0)] {
        let wrong = repack(round, MADE, &[(0, 0, 1), wrong], &[1, 3]);
        story.refused_to_collect(wrong, Code::ResourceConflict);
    }
    for slots in [(0, 9, 2), (0, 10, 1), (0, u32::MAX, 1)] {
        let beyond = repack(round, MADE, &[slots], &[1, 3]);
        story.refused_to_collect(beyond, Code::ResourceConflict);
    }
    story.refused_to_collect(repack(round, MADE, &[], &[1]), Code::LimitExceeded);
    let many = vec![(0, 0, 1); holdfast_common::limits::TAKEN_RUNS_MAX + 1];
    story.refused_to_collect(repack(round, MADE, &many, &[1]), Code::LimitExceeded);
    story.refused_to_collect(repack(round, MADE, &[(0, 0, 1)], &[]), Code::ResourceConflict);
    story.refused_to_collect(repack(round, MADE, &[(0, 0, 1)], &[1, 1]), Code::ResourceConflict);
    is_as_it_was(&story, 1);
    assert_eq!(story.number(repack(round, MADE, &[(0, 0, 1), (29, 1, 1)], &[1, 3])), 2);
}

#[test]
fn what_one_agent_wrote_is_not_mixed_with_what_another_one_did() {
    let mut story = stored();
    let round = cleared(&mut story, &[1, 4]);
    story.done(Actor::System, intend_repack(round.0, MADE, 1));
    let mixed = repack(round, MADE, &[(0, 0, 1), (30, 1, 1)], &[1, 4]);
    story.refused_to_collect(mixed, Code::ResourceConflict);
    let of_another = repack(round, MADE, &[(30, 0, 1)], &[4]);
    story.refused_to_collect(of_another, Code::ResourceConflict);
    is_as_it_was(&story, 4);
}

#[test]
fn only_what_was_announced_in_the_round_and_is_no_sessions_takes_over() {
    let mut story = stored();
    let round = cleared(&mut story, &[1]);
    let take = |made| repack(round, made, &[(0, 0, 1)], &[1]);
    story.refused_to_collect(take(MADE), Code::PackMissing);
    // What is stored already, and what a session announced.
    story.refused_to_collect(take(2), Code::CollectionOver);
    story.begin(3, 3);
    story.done(of(3), intend(3, &[8], PackHome::Object));
    story.refused_to_collect(take(8), Code::CollectionOver);
    story.refused_to_collect(intend_repack(round.0, 8, 1), Code::CollectionOver);
    let early = intend_repack(round.0 + 1, MADE, 1);
    story.refused_to_collect(early, Code::CollectionOver);
    story.done(Actor::System, intend_repack(round.0, MADE, 1));
    assert_eq!(story.number(take(MADE)), 1);
    // A name that is dead stays dead.
    story.refused_to_collect(intend_repack(round.0, 1, 1), Code::CollectionOver);
    story.done(Actor::System, bury(&[1]));
    story.refused_to_collect(intend_repack(round.0, 1, 1), Code::PackRefused);
}

#[test]
fn whoever_announces_a_pack_that_is_to_be_packed_anew_has_it_back_as_it_is() {
    let mut story = stored();
    let round = cleared(&mut story, &[1, 2]);
    story.done(Actor::System, intend_repack(round.0, MADE, 1));
    story.begin(3, 3);
    story.done(of(3), intend(3, &[1], PackHome::Object));
    assert_eq!((row(&story, 1).condemned, row(&story, 1).live), (None, None));
    let both = repack(round, MADE, &[(0, 0, 1), (10, 1, 1)], &[1, 2]);
    story.refused_to_collect(both, Code::CollectionOver);
    is_as_it_was(&story, 1);
    is_as_it_was(&story, 2);
    assert_eq!(story.number(repack(round, MADE, &[(10, 0, 1)], &[2])), 1);
}

#[test]
fn a_mark_that_was_made_before_a_point_was_taken_in_packs_nothing_anew() {
    let mut story = stored();
    let round = cleared(&mut story, &[1]);
    story.done(Actor::System, intend_repack(round.0, MADE, 1));
    story.done(Actor::System, import(1, 7, 500));
    let take = |at| repack((round.0, at), MADE, &[(0, 0, 1)], &[1]);
    story.refused_to_collect(take(round.1), Code::CollectionOver);
    let Outcome::At(at) = story.done(Actor::System, clear(round.0)) else { unreachable!() };
    story.refused_to_collect(take(round.1), Code::CollectionOver);
    assert_eq!(story.number(take(at)), 1);
}

#[test]
fn nothing_is_packed_anew_in_an_old_round_or_by_anybody_but_the_cluster_itself() {
    let mut story = stored();
    let round = cleared(&mut story, &[1]);
    story.done(Actor::System, intend_repack(round.0, MADE, 1));
    let take = |round| repack(round, MADE, &[(0, 0, 1)], &[1]);
    let (one, two) = (of(1), Actor::Operator(story::name("admin")));
    for nobody in [one, two] {
        story.refused(nobody.clone(), take(round), Code::AuthDenied);
        story.refused(nobody, intend_repack(round.0, 20, 1), Code::AuthDenied);
    }
    let newer = cleared(&mut story, &[2]);
    story.refused_to_collect(take(round), Code::CollectionOver);
    story.refused_to_collect(take(newer), Code::CollectionOver);
    // What came of nothing is garbage for the next round.
    story.done(Actor::System, end_collection(newer.0));
    let next = story.number(begin_collection());
    assert_eq!(story.number(condemn(next, &[MADE])), 1);
    is_as_it_was(&story, 1);
}

#[test]
fn nothing_is_packed_anew_in_a_new_epoch() {
    let mut story = Story::with_agents(1);
    story.join(1, MemberRole::Learner);
    let round = cleared(&mut story, &[]);
    story.done(Actor::System, intend_repack(round.0, MADE, 1));
    story.done(Actor::System, claim_epoch(2, 2));
    story.refused_to_collect(intend_repack(round.0, 20, 1), Code::CollectionOver);
    let take = repack(round, MADE, &[(0, 0, 1)], &[1]);
    story.refused_to_collect(take, Code::CollectionOver);
}

#[test]
fn a_pack_that_lies_in_fewer_locations_than_are_required_takes_nothing_over() {
    let mut story = stored();
    let round = cleared(&mut story, &[1]);
    story.done(Actor::System, intend_repack(round.0, MADE, 1));
    let url = "local:/mnt/far".to_owned();
    let location = LocationRow { name: story::name("far"), url, ..story::location() };
    story.done(Actor::System, PutLocation { location });
    story.require(&["main", "far"]);
    let take = |revision| RepackPacks { revision, ..repack(round, MADE, &[(0, 0, 1)], &[1]) };
    let grown = story.query().vault(&ids::vault()).unwrap().revision;
    story.refused_to_collect(take(grown - 1), Code::VaultGrown);
    assert_eq!(story.number(take(grown)), 1);
}
