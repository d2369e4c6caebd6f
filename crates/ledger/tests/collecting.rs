//! What the ledger promises about collection: what anybody relies on, or may come to rely on, does
//! not go, and what went stays gone.

#![allow(clippy::unwrap_used, reason = "a story that cannot be told is a failed test")]

mod story;

use holdfast_common::{Code, limits};
use holdfast_ledger::{
    Actor, LEVEL, Table,
    command::*,
    envelope::Refusal,
    level::{CANCELLED_UNWAITED, RETENTION},
    row::{MemberRole, PackHome, PackState, PointState, Stage},
};
use story::{
    Story, agent,
    collecting::{begin_collection, bury, clear, condemn, end_collection, seal, spare},
    ids, intend,
    members::{claim_epoch, forget, raise},
    recovering::import,
    retaining::{forget as forget_points, of_one},
    store,
};

/// Session `number` is of the agent of that number.
fn of(number: u8) -> Actor {
    Actor::Agent(agent(number))
}

/// Packs 1 to `packs` are stored, and nobody writes.
fn stored(packs: u8) -> Story {
    let mut story = Story::with_agents(4);
    story.done(Actor::System, raise(LEVEL, &[1]));
    story.begin(1, 1);
    for pack in 1..=packs {
        put(&mut story, 1, pack);
    }
    end(&mut story, 1);
    story
}

fn put(story: &mut Story, session: u8, pack: u8) {
    story.done(of(session), intend(session, &[pack], PackHome::Object));
    story.done(of(session), store(session, pack, None));
}

fn end(story: &mut Story, session: u8) {
    story.pass(std::time::Duration::from_secs(3600));
    story.done(Actor::System, EndSession { session: ids::session(session) });
}

fn state(story: &Story, pack: u8) -> Option<(PackState, bool)> {
    let row = story.query().pack(&ids::vault(), &ids::pack(pack)).unwrap();
    row.map(|row| (row.state, row.condemned.is_some()))
}

#[test]
fn what_a_round_condemns_and_nobody_wants_goes_and_its_name_stays_taken() {
    let mut story = stored(2);
    let round = story.sealed(&[1]);
    assert_eq!(state(&story, 1), Some((PackState::Stored, true)));
    story.done(Actor::System, clear(round));
    assert_eq!(story.number(story.doom(round, &[1, 2])), 1, "only what it condemned");
    assert_eq!(state(&story, 1), Some((PackState::Doomed, false)));
    assert_eq!(story.number(bury(&[1, 2])), 1);
    assert_eq!(state(&story, 1), None);
    assert!(story.query().is_gone(&ids::vault(), &ids::pack(1)).unwrap());
    story.done(Actor::System, end_collection(round));
    let row = story.query().collection(&ids::vault()).unwrap().unwrap();
    assert_eq!((row.stage, row.condemned, row.doomed, row.doomed_bytes), (Stage::Over, 1, 1, 1000));
    story.begin(2, 2);
    story.refused(of(2), intend(2, &[1], PackHome::Object), Code::PackRefused);
    assert_eq!(state(&story, 2), Some((PackState::Stored, false)));
}

#[test]
fn objects_of_forgotten_points_are_seen_gone_once_and_those_of_others_never() {
    let mut story = Story::with_points(&[1, 2]);
    story.done(Actor::System, forget_points(&[1], 2));
    let points = vec![ids::point(1), ids::point(2)];
    let gone = |story: &Story| story.query().is_point_gone(&ids::point(1)).unwrap();
    assert!(!gone(&story));
    assert_eq!(story.number(BuryPacks { points: points.clone(), ..bury(&[]) }), 1);
    assert!(gone(&story) && !story.query().is_point_gone(&ids::point(2)).unwrap());
    assert_eq!(story.number(BuryPacks { points, ..bury(&[]) }), 0);
    assert!(story.query().point(&ids::point(2)).is_ok());
}

/// Packs 1 and 2 are announced inside of point 2, which is not committed.
fn never_came() -> Story {
    let mut story = stored(0);
    story.begin(2, 2);
    story.done(of(2), intend(2, &[1, 2], PackHome::Point(ids::point(2), 7)));
    end(&mut story, 2);
    story
}

#[test]
fn a_point_that_never_came_to_be_goes_with_what_was_announced_in_it_and_never_comes() {
    let mut story = never_came();
    let round = story.sealed(&[1, 2]);
    story.done(Actor::System, clear(round));
    assert_eq!(leaving(&story), []);
    story.done(Actor::System, story.doom(round, &[1, 2]));
    assert_eq!(leaving(&story), [ids::point(2)]);
    let within = story.query().packs_within(&ids::vault(), &ids::point(2)).unwrap();
    assert_eq!(within.len(), 2);
    // Its objects may go at any moment.
    let late = ImportPoint { packs: Vec::new(), ..import(2, 2, 0) };
    assert_eq!(story.done(Actor::System, late.clone()), Outcome::Unchanged);
    story.begin(3, 3);
    let commit = story::commit(3, 2, agent(3), PointState::Complete);
    story.refused(of(3), commit.clone(), Code::ResourceConflict);
    assert_eq!(story.number(bury(&[1, 2])), 2);
    let points = vec![ids::point(2)];
    assert_eq!(story.number(BuryPacks { points: points.clone(), ..bury(&[]) }), 1);
    assert_eq!(story.number(BuryPacks { points, ..bury(&[]) }), 0);
    assert_eq!(leaving(&story), []);
    assert!(story.query().is_point_gone(&ids::point(2)).unwrap());
    assert_eq!(story.done(Actor::System, late), Outcome::Unchanged);
    story.refused(of(3), commit, Code::ResourceConflict);
    for table in [Table::DoomedPack, Table::InlinePack, Table::Leaving] {
        assert_eq!(story.rows_in(table), 0, "{table:?}");
    }
}

#[test]
fn the_object_of_a_point_that_is_there_does_not_go_with_a_pack_in_it() {
    let mut story = stored(0);
    story.begin(2, 2);
    story.done(of(2), intend(2, &[1], PackHome::Point(ids::point(2), 7)));
    let commit = story::commit(2, 2, agent(2), PointState::Complete);
    story.done(of(2), CommitPoint { inline_packs: vec![ids::pack(1)], ..commit });
    let round = story.sealed(&[1]);
    story.done(Actor::System, clear(round));
    assert_eq!(story.number(story.doom(round, &[1])), 1);
    assert_eq!(leaving(&story), []);
}

#[test]
fn what_is_to_go_is_listed_when_the_level_that_collects_is_reached() {
    let mut story = Story::with_points(&[1, 2, 3]);
    story.begin(2, 4);
    story.done(of(2), intend(4, &[1], PackHome::Point(ids::point(4), 7)));
    story.done(Actor::System, raise(RETENTION, &[1]));
    let forget = |story: &Story, point| of_one(story.planned(&[point], 3));
    story.done(Actor::System, forget(&story, 1));
    assert_eq!((leaving(&story).len(), story.rows_in(Table::InlinePack)), (0, 0));
    story.done(Actor::System, raise(LEVEL, &[1]));
    assert_eq!((leaving(&story), story.rows_in(Table::InlinePack)), (vec![ids::point(1)], 1));
    story.done(Actor::System, forget(&story, 2));
    assert_eq!(leaving(&story), [ids::point(1), ids::point(2)]);
    let points = vec![ids::point(1), ids::point(2)];
    assert_eq!(story.number(BuryPacks { points, ..bury(&[]) }), 2);
    assert_eq!(leaving(&story), []);
}

fn leaving(story: &Story) -> Vec<holdfast_common::PointId> {
    let rows = story.query().leaving_points(&ids::vault(), None);
    rows.map(|row| row.unwrap().point).collect()
}

#[test]
fn an_operator_may_begin_a_round_and_no_agent_may() {
    let mut story = stored(1);
    story.refused(of(2), begin_collection(), Code::AuthDenied);
    let admin = Actor::Operator(story::name("admin"));
    story.done(admin.clone(), begin_collection());
    let round = story.query().collection(&ids::vault()).unwrap().unwrap().round;
    story.refused(admin.clone(), condemn(round, &[1]), Code::AuthDenied);
    let (code, message) = ("object.missing".to_owned(), "a reach is not there".to_owned());
    let problem = Some(Refusal { code, message, next: None });
    story.done(Actor::System, EndCollection { problem: problem.clone(), ..end_collection(round) });
    let row = story.query().collection(&ids::vault()).unwrap().unwrap();
    assert_eq!((row.stage, row.problem, row.ended), (Stage::Over, problem, Some(story.now())));
}

#[test]
fn a_doomed_pack_is_never_stored_found_lost_announced_or_taken_in_again() {
    let mut story = stored(1);
    story.begin(2, 2);
    let round = story.sealed(&[1]);
    end(&mut story, 2);
    story.done(Actor::System, clear(round));
    story.done(Actor::System, story.doom(round, &[1]));
    story.begin(3, 3);
    story.refused(of(3), intend(3, &[1], PackHome::Object), Code::PackRefused);
    story.refused(of(3), store(3, 1, None), Code::PackRefused);
    let inline = vec![ids::pack(1)];
    let commit = story::commit(3, 3, agent(3), PointState::Complete);
    story.refused(of(3), CommitPoint { inline_packs: inline, ..commit }, Code::PackRefused);
    let (vault, pack) = (ids::vault(), ids::pack(1));
    story.done(Actor::System, LosePack { vault, pack });
    story.done(Actor::System, FindPack { vault, pack });
    story.refused(Actor::System, import(1, 1, 0), Code::PackRefused);
    assert_eq!(state(&story, 1), Some((PackState::Doomed, false)));
    story.done(Actor::System, bury(&[1]));
    story.refused(Actor::System, import(1, 1, 0), Code::PackRefused);
}

#[test]
fn sessions_that_began_before_the_seal_are_waited_for_and_no_others() {
    let mut story = stored(1);
    story.begin(2, 2);
    let round = story.sealed(&[1]);
    story.begin(3, 3);
    story.refused_to_collect(clear(round), Code::CollectionEarly);
    // Its lease runs out, and that alone is no end.
    story.pass(std::time::Duration::from_secs(3600));
    story.refused_to_collect(clear(round), Code::CollectionEarly);
    story.done(Actor::System, EndSession { session: ids::session(2) });
    story.done(Actor::System, clear(round));
    assert!(story.query().session(&ids::session(3)).is_ok());
}

#[test]
fn a_backup_that_was_cancelled_is_not_waited_for_and_commits_nothing() {
    let mut story = stored(1);
    story.begin(2, 2);
    story.begin(3, 3);
    let round = story.sealed(&[1]);
    let waited_for = |story: &Story| {
        let round = story.query().collection(&ids::vault()).unwrap().unwrap();
        let waited_for = story.query().waited_for(&ids::vault(), round.sealed).unwrap();
        waited_for.iter().map(|session| session.id).collect::<Vec<_>>()
    };
    assert_eq!(waited_for(&story), [ids::session(2), ids::session(3)]);
    story.done(Actor::System, CancelRun { run: ids::run(2) });
    assert_eq!(waited_for(&story), [ids::session(3)]);
    story.refused_to_collect(clear(round), Code::CollectionEarly);
    story.done(Actor::System, CancelRun { run: ids::run(3) });
    assert_eq!(waited_for(&story), []);
    // Whoever goes on all the same keeps its session, and has nothing of it.
    story.done(of(2), RenewSession { session: ids::session(2) });
    story.done(Actor::System, clear(round));
    for (session, state) in [(2, PointState::Checkpoint), (3, PointState::Complete)] {
        let commit = story::commit(session, session, agent(session), state);
        story.refused(of(session), commit, Code::RunCancelled);
    }
    assert_eq!(story.number(story.doom(round, &[1])), 1);
}

#[test]
fn members_of_before_wait_for_a_backup_that_was_cancelled() {
    let mut story = Story::with_agents(4);
    story.done(Actor::System, raise(CANCELLED_UNWAITED - 1, &[1]));
    story.begin(2, 2);
    let round = story.sealed(&[]);
    story.done(Actor::System, CancelRun { run: ids::run(2) });
    story.refused_to_collect(clear(round), Code::CollectionEarly);
    let sealed = story.query().collection(&ids::vault()).unwrap().unwrap().sealed;
    assert_eq!(story.query().waited_for(&ids::vault(), sealed).unwrap().len(), 1);
    story.done(Actor::System, raise(CANCELLED_UNWAITED, &[1]));
    story.done(Actor::System, clear(round));
}

#[test]
fn readers_are_not_waited_for() {
    let mut story = stored(1);
    story.backup(2, 2);
    let read = BeginRead {
        session: ids::session(9),
        point: ids::point(2),
        purpose: "restore".to_owned(),
        run: None,
    };
    story.done(Actor::System, read);
    let round = story.sealed(&[1]);
    story.done(Actor::System, clear(round));
}

#[test]
fn a_checkpoint_re_bases_its_session_to_what_its_member_had_applied_and_no_further() {
    let mut story = stored(1);
    story.begin(2, 2);
    let begun = |story: &Story| story.query().session(&ids::session(2)).unwrap().begun;
    let first = begun(&story);
    let round = story.sealed(&[1]);
    let sealed = story.query().collection(&ids::vault()).unwrap().unwrap().sealed;
    let checkpoint = |point: u8, based| CommitPoint {
        based,
        ..story::commit(2, point, agent(2), PointState::Checkpoint)
    };
    for (point, based, expected) in
        [(10, None, first), (11, Some(sealed - 1), sealed - 1), (12, Some(3), sealed - 1)]
    {
        story.done(of(2), checkpoint(point, based));
        assert_eq!(begun(&story), expected);
        story.refused_to_collect(clear(round), Code::CollectionEarly);
    }
    story.done(of(2), checkpoint(13, Some(u64::MAX)));
    assert!(begun(&story) > sealed, "and never beyond its own entry");
    assert!(begun(&story) < u64::MAX);
    story.done(Actor::System, clear(round));
}

#[test]
fn points_that_come_during_a_round_are_noted_for_its_second_mark() {
    let mut story = stored(1);
    story.backup(2, 2);
    assert!(!story.query().has_new_points(&ids::vault()).unwrap());
    let round = story.sealed(&[1]);
    story.backup(3, 3);
    story.done(Actor::System, import(1, 4, 500));
    let noted = |story: &Story, round| story.query().new_points(&ids::vault(), round).unwrap();
    assert_eq!(noted(&story, round), [ids::point(3), ids::point(4)]);
    story.done(Actor::System, end_collection(round));
    assert!(!story.query().has_new_points(&ids::vault()).unwrap());
    let next = story.sealed(&[]);
    story.backup(2, 5);
    assert_eq!(noted(&story, next), [ids::point(5)]);
}

#[test]
fn points_that_were_noted_are_forgotten_some_at_a_time_and_count_for_no_later_round() {
    let mut story = stored(1);
    let round = story.sealed(&[1]);
    story.note_points(2 * limits::POINTS_CLEARED_MAX + 1);
    let noted = |story: &Story| story.rows_in(Table::NewPoint);
    let cleared = limits::POINTS_CLEARED_MAX;
    story.done(Actor::System, end_collection(round));
    assert_eq!(noted(&story), cleared + 1);
    let next = story.number(begin_collection());
    assert_eq!(noted(&story), 1);
    assert!(story.query().new_points(&ids::vault(), next).unwrap().is_empty());
    story.done(Actor::System, end_collection(next));
    assert_eq!(noted(&story), 0);
    assert_eq!(story.done(Actor::System, end_collection(next)), Outcome::Unchanged);
}

#[test]
fn a_round_that_can_note_no_more_points_ends_and_gives_nothing_up() {
    let mut story = stored(1);
    let round = story.sealed(&[1]);
    story.change_round(|row| row.noted = limits::COLLECT_POINTS_NOTED_MAX - 1);
    story.backup(2, 2);
    story.done(Actor::System, clear(round));
    story.backup(2, 3);
    let row = story.query().collection(&ids::vault()).unwrap().unwrap();
    assert_eq!((row.stage, row.ended), (Stage::Over, Some(story.now())));
    assert!(row.problem.is_some());
    story.refused_to_collect(story.doom(round, &[1]), Code::CollectionOver);
    assert_eq!(story.done(Actor::System, end_collection(round)), Outcome::Done);
    let row = story.query().collection(&ids::vault()).unwrap().unwrap();
    assert!(row.problem.is_some(), "what was forgotten later does not hide it");
}

#[test]
fn a_point_that_is_taken_in_makes_a_cleared_round_wait_and_mark_again() {
    let mut story = stored(1);
    let round = story.sealed(&[1]);
    story.done(Actor::System, clear(round));
    story.backup(2, 2);
    assert_eq!(story.number(story.doom(round, &[])), 0, "a backup takes nothing back");
    let before = story.doom(round, &[1]);
    story.done(Actor::System, import(1, 4, 500));
    story.refused_to_collect(before.clone(), Code::CollectionOver);
    story.done(Actor::System, clear(round));
    // Whoever marked before may have slept.
    story.refused_to_collect(before, Code::CollectionOver);
    assert_eq!(story.number(spare(&[1])), 1);
    assert_eq!(story.number(story.doom(round, &[1])), 0);
}

#[test]
fn whoever_announces_a_condemned_pack_has_it_back() {
    let mut story = stored(1);
    let round = story.sealed(&[1]);
    story.done(Actor::System, clear(round));
    story.begin(2, 2);
    story.done(of(2), intend(2, &[1], PackHome::Object));
    assert_eq!(state(&story, 1), Some((PackState::Stored, false)));
    assert_eq!(story.number(story.doom(round, &[1])), 0);
}

#[test]
fn whoever_stores_a_pack_has_it_back_and_owns_it_though_it_was_announced_at_an_older_level() {
    let mut story = Story::with_agents(4);
    story.begin(1, 1);
    story.done(of(1), intend(1, &[1], PackHome::Object));
    end(&mut story, 1);
    story.begin(2, 2);
    story.done(of(2), intend(2, &[1], PackHome::Object));
    story.done(Actor::System, raise(LEVEL, &[1]));
    let round = story.sealed(&[1]);
    story.done(of(2), store(2, 1, None));
    assert_eq!(state(&story, 1), Some((PackState::Stored, false)));
    story.done(Actor::System, end_collection(round));
    let round = story.number(begin_collection());
    assert_eq!(story.number(condemn(round, &[1])), 0);
}

#[test]
fn what_an_open_session_announced_is_not_condemned_even_if_it_was_there_before() {
    let mut story = stored(1);
    story.begin(2, 2);
    story.done(of(2), intend(2, &[1, 2], PackHome::Object));
    let round = story.number(begin_collection());
    assert_eq!(story.number(condemn(round, &[1, 2])), 0);
    end(&mut story, 2);
    assert_eq!(story.number(condemn(round, &[1, 2])), 2, "stored or not");
}

#[test]
fn what_came_after_a_round_began_is_not_condemned_by_it() {
    let mut story = stored(1);
    let round = story.number(begin_collection());
    story.begin(2, 2);
    put(&mut story, 2, 2);
    end(&mut story, 2);
    assert_eq!(story.number(condemn(round, &[1, 2, 77])), 1);
    assert_eq!(state(&story, 2), Some((PackState::Stored, false)));
}

#[test]
fn steps_of_a_round_come_in_their_order_and_only_in_the_newest() {
    let mut story = stored(1);
    let old = story.number(begin_collection());
    story.refused_to_collect(clear(old), Code::CollectionOver);
    story.refused_to_collect(story.doom(old, &[1]), Code::CollectionOver);
    story.done(Actor::System, condemn(old, &[1]));
    story.done(Actor::System, seal(old));
    story.refused_to_collect(condemn(old, &[1]), Code::CollectionOver);
    story.done(Actor::System, clear(old));
    let new = story.number(begin_collection());
    assert!(new > old);
    story.refused_to_collect(condemn(old, &[1]), Code::CollectionOver);
    story.refused_to_collect(seal(old), Code::CollectionOver);
    assert_eq!(story.done(Actor::System, end_collection(old)), Outcome::Unchanged);
    story.done(Actor::System, seal(new));
    story.refused_to_collect(clear(old), Code::CollectionOver);
    story.done(Actor::System, clear(new));
    story.refused_to_collect(story.doom(old, &[1]), Code::CollectionOver);
    assert_eq!(story.number(story.doom(new, &[1])), 0, "another round condemned it");
    assert_eq!(state(&story, 1), Some((PackState::Stored, true)), "and it stays absent");
}

#[test]
fn nobody_but_the_cluster_itself_collects() {
    let mut story = stored(1);
    let round = story.number(begin_collection());
    let commands: [holdfast_ledger::Command; 8] = [
        begin_collection().into(),
        condemn(round, &[1]).into(),
        seal(round).into(),
        clear(round).into(),
        spare(&[1]).into(),
        story.doom(round, &[1]).into(),
        bury(&[1]).into(),
        end_collection(round).into(),
    ];
    for command in commands {
        story.refused(of(1), command, Code::AuthDenied);
    }
}

#[test]
fn nothing_is_collected_while_a_region_may_have_done_something_alone() {
    let mut story = Story::with_agents(1);
    story.join(1, MemberRole::Learner);
    let round = story.sealed(&[]);
    story.done(Actor::System, clear(round));
    story.done(Actor::System, claim_epoch(2, 2));
    story.refused_to_collect(begin_collection(), Code::CollectionPaused);
    let row = story.query().collection(&ids::vault()).unwrap().unwrap();
    assert_eq!((row.stage, row.ended), (Stage::Over, Some(story.now())));
    story.refused_to_collect(story.doom(round, &[1]), Code::CollectionOver);
    story.done(Actor::System, forget(2));
    story.number(begin_collection());
}

#[test]
fn a_commit_that_has_not_seen_what_was_doomed_is_refused() {
    let mut story = stored(1);
    story.begin(2, 2);
    let commit = |whole_at| CommitPoint {
        whole_at: Some(whole_at),
        ..story::commit(2, 2, agent(2), PointState::Complete)
    };
    let round = story.number(begin_collection());
    story.done(Actor::System, condemn(round, &[1]));
    end(&mut story, 2);
    story.done(Actor::System, seal(round));
    story.done(Actor::System, clear(round));
    story.done(Actor::System, story.doom(round, &[1]));
    let doomed_at = story.query().collection(&ids::vault()).unwrap().unwrap().doomed_at;
    story.begin(3, 3);
    let of_third = |whole_at| CommitPoint {
        whole_at: Some(whole_at),
        ..story::commit(3, 3, agent(3), PointState::Complete)
    };
    story.refused(of(2), commit(doomed_at), Code::SessionMissing);
    story.refused(of(3), of_third(doomed_at - 1), Code::VaultCollected);
    // Whoever takes a point in has looked before, too.
    let late = |whole_at| ImportPoint { whole_at: Some(whole_at), ..import(1, 4, 500) };
    story.refused(Actor::System, late(doomed_at - 1), Code::VaultCollected);
    story.done(Actor::System, late(doomed_at));
    story.done(of(3), of_third(doomed_at));
}
