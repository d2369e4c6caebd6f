//! What the ledger promises about a version of the keys that is closed: nothing that is committed
//! from then on needs it.

#![allow(clippy::unwrap_used, reason = "a story that cannot be told is a failed test")]

mod story;

use holdfast_common::Code;
use holdfast_ledger::{
    Actor, LEVEL, Outcome,
    command::*,
    row::{PackHome, PackRow, PackState},
};
use story::{
    Story, agent,
    collecting::{begin_collection, clear, condemn_live, intend_repack, repack, seal},
    ids,
    keys::{close, commit_compared, intend_sealed, note_sealed, rotate},
    members::raise,
    name,
    recovering::import,
    store,
};

fn of(number: u8) -> Actor {
    Actor::Agent(agent(number))
}

fn operator() -> Actor {
    Actor::Operator(name("admin"))
}

/// Versions 1 and 2, and a session of agent 1.
fn story() -> Story {
    let mut story = Story::with_agents(3);
    story.done(Actor::System, raise(LEVEL, &[1]));
    story.done(operator(), rotate(1, 2));
    story.begin(1, 1);
    story
}

fn closed(story: &mut Story, version: u32) -> u64 {
    let Outcome::At(at) = story.done(operator(), close(version)) else { unreachable!("closed") };
    at
}

fn row(story: &Story, pack: u8) -> PackRow {
    story.query().pack(&ids::vault(), &ids::pack(pack)).unwrap().unwrap()
}

#[test]
fn a_version_is_closed_once_and_the_one_that_seals_never() {
    let mut story = story();
    story.refused(operator(), close(2), Code::ResourceConflict);
    story.refused(operator(), close(3), Code::KeyVersionMissing);
    story.refused(of(1), close(1), Code::AuthDenied);
    assert_eq!(story.query().closed_keys(&ids::vault()).unwrap().versions, []);
    let at = closed(&mut story, 1);
    let keys = story.query().closed_keys(&ids::vault()).unwrap();
    assert_eq!((keys.versions, keys.at), (vec![1], at));
    assert_eq!(story.done(operator(), close(1)), Outcome::Unchanged);
    assert_eq!(story.query().closed_keys(&ids::vault()).unwrap().at, at, "nobody compares anew");
}

#[test]
fn a_commit_that_was_not_compared_with_what_is_closed_is_refused() {
    let mut story = story();
    let at = closed(&mut story, 1);
    for keys_at in [None, Some(0), Some(at - 1)] {
        story.refused(of(1), commit_compared(1, 1, keys_at), Code::VaultKeysClosed);
    }
    assert!(story.query().point(&ids::point(1)).is_err(), "nothing of it stays");
    story.done(of(1), commit_compared(1, 1, Some(at)));
}

#[test]
fn nobody_has_to_compare_while_nothing_is_closed() {
    let mut story = story();
    story.done(of(1), commit_compared(1, 1, None));
}

#[test]
fn what_a_session_seals_to_a_closed_version_is_not_taken() {
    let mut story = story();
    story.done(of(1), intend_sealed(1, &[(1, &[1])]));
    assert_eq!(row(&story, 1).sealed_to, Some(vec![1]));
    closed(&mut story, 1);
    for sealed_to in [&[1][..], &[1, 2]] {
        story.refused(of(1), intend_sealed(1, &[(2, sealed_to)]), Code::SessionMissing);
    }
    let unsaid = story::intend(1, &[2], PackHome::Object);
    story.refused(of(1), unsaid, Code::SessionMissing);
    story.done(of(1), intend_sealed(1, &[(2, &[2])]));
    // Nor is what was announced before taken again.
    story.refused(of(1), intend_sealed(1, &[(1, &[1])]), Code::SessionMissing);
}

#[test]
fn a_point_from_elsewhere_is_compared_too_and_brings_nothing_that_is_closed() {
    let mut story = story();
    let at = closed(&mut story, 1);
    let with = |sealed_to: Option<Vec<u32>>, keys_at| {
        let mut import = ImportPoint { keys_at, ..import(1, 3, 0) };
        import.packs[0].sealed_to = sealed_to;
        import
    };
    let both = Some(vec![1, 2]);
    for refused in [
        with(Some(vec![2]), None),
        with(Some(vec![2]), Some(at - 1)),
        with(None, Some(at)),
        with(Some(vec![1]), Some(at)),
        with(both, Some(at)),
    ] {
        story.refused(operator(), refused, Code::VaultKeysClosed);
    }
    story.done(operator(), with(Some(vec![2]), Some(at)));
}

#[test]
fn what_was_read_in_a_whole_pack_is_right_whatever_was_noted_before_or_after() {
    let mut story = story();
    story.done(of(1), story::intend(1, &[1, 2], PackHome::Object));
    let noted = story.done(Actor::System, note_sealed(&[(1, &[1]), (7, &[1])], false));
    assert_eq!(noted, Outcome::Number(1), "what is not there is passed over");
    story.done(Actor::System, note_sealed(&[(1, &[2])], false));
    assert_eq!(row(&story, 1).sealed_to, Some(vec![1]), "a second look counts no more");
    story.done(of(1), intend_sealed(1, &[(1, &[2])]));
    assert_eq!(row(&story, 1).sealed_to, Some(vec![2]));
    story.done(Actor::System, note_sealed(&[(1, &[1])], false));
    assert_eq!(row(&story, 1).sealed_to, Some(vec![2]));
    story.done(Actor::System, note_sealed(&[(1, &[1, 2])], true));
    assert_eq!(row(&story, 1).sealed_to, Some(vec![1, 2]));
    for wrong in [&[][..], &[2, 1], &[1, 1]] {
        story.refused(Actor::System, note_sealed(&[(2, wrong)], false), Code::LimitExceeded);
    }
    story.refused(of(1), note_sealed(&[(2, &[1])], false), Code::AuthDenied);
}

#[test]
fn what_turns_out_to_be_closed_is_compared_with_anew() {
    let mut story = story();
    story.done(of(1), intend_sealed(1, &[(1, &[2]), (2, &[2])]));
    let at = closed(&mut story, 1);
    story.done(Actor::System, note_sealed(&[(1, &[1])], true));
    let now = story.query().closed_keys(&ids::vault()).unwrap().at;
    assert!(now > at);
    story.refused(of(1), commit_compared(1, 1, Some(at)), Code::VaultKeysClosed);
    story.done(Actor::System, note_sealed(&[(1, &[1, 2])], true));
    assert_eq!(story.query().closed_keys(&ids::vault()).unwrap().at, now, "it was known");
}

/// Packs 1 to 4 are made anew, sealed to 1, 1, 2 and nobody knows what.
fn repacking() -> (Story, (u64, u64)) {
    let mut story = story();
    let sealed: &[(u8, &[u32])] = &[(1, &[1]), (2, &[1]), (3, &[2])];
    story.done(of(1), intend_sealed(1, sealed));
    story.done(of(1), story::intend(1, &[4, 5], PackHome::Object));
    for pack in 1..=5 {
        story.done(of(1), store(1, pack, None));
    }
    story.pass(std::time::Duration::from_secs(3600));
    story.done(Actor::System, EndSession { session: ids::session(1) });
    let round = story.number(begin_collection());
    story.number(condemn_live(round, &[1, 2, 3, 4, 5]));
    story.done(Actor::System, seal(round));
    let Outcome::At(at) = story.done(Actor::System, clear(round)) else { unreachable!("cleared") };
    (story, (round, at))
}

#[test]
fn no_number_comes_to_need_a_further_version_of_the_keys() {
    let refused: &[(&[u8], Option<&[u32]>)] = &[
        (&[1], Some(&[1, 2])),
        (&[1], Some(&[2])),
        (&[1], None),
        // Every source is looked at, not the first alone, nor the last.
        (&[1, 3], Some(&[1, 2])),
        (&[1, 3], Some(&[1])),
        (&[3, 1], Some(&[1])),
        (&[1, 2, 3], Some(&[1])),
        // What nobody has looked into is in no pack with another one.
        (&[1, 4], Some(&[1])),
        (&[4, 1], Some(&[1])),
        (&[4, 5], Some(&[1])),
    ];
    let taken: &[&[u8]] = &[&[1, 2], &[1], &[4]];
    let said = |sources: &[u8], sealed_to: Option<&[u32]>| {
        let (mut story, round) = repacking();
        let mut intend = intend_repack(round.0, 9, 1);
        intend.pack.sealed_to = sealed_to.map(<[u32]>::to_vec);
        story.done(Actor::System, intend);
        let first = u64::from(sources[0] - 1) * 10;
        let said = story.said(Actor::System, repack(round, 9, &[(first, 0, 2)], sources));
        let is_doomed = row(&story, sources[0]).state == PackState::Doomed;
        assert_eq!(is_doomed, said.is_ok());
        said.map_err(|error| error.code)
    };
    for (sources, sealed_to) in refused {
        let said = said(sources, *sealed_to);
        assert_eq!(said, Err(Code::ResourceConflict), "{sources:?} {sealed_to:?}");
    }
    for sources in taken {
        assert!(said(sources, Some(&[1])).is_ok(), "{sources:?}");
    }
    assert!(said(&[4, 5], None).is_ok(), "members of an older level go on as before");
}
