//! What the ledger promises of packs and points that lie whole in no location, and of points that
//! may be junk: nothing that is good goes because of them.

mod story;

use holdfast_common::{Code, limits};
use holdfast_ledger::{
    Actor, Command, Outcome, Table,
    command::{FindPack, ForgetPoints, JudgePoint, LosePack, RemoveMember},
    level::RETENTION,
    row::{PackHome, PointState},
};
use story::{
    Story, agent, ids,
    members::raise,
    name,
    retaining::{forget, last, of_one, outlived, policy},
};

fn admin() -> Actor {
    Actor::Operator(name("admin"))
}

fn lose(pack: u8) -> Command {
    LosePack { vault: ids::vault(), pack: ids::pack(pack) }.into()
}

fn find(pack: u8) -> Command {
    FindPack { vault: ids::vault(), pack: ids::pack(pack) }.into()
}

fn judge(point: u8, is_whole: bool) -> JudgePoint {
    JudgePoint { point: ids::point(point), is_whole }
}

fn lost(story: &Story) -> Vec<u8> {
    let packs = story.query().lost_packs(&ids::vault()).map(Result::unwrap);
    packs.map(|pack| pack.id.as_bytes()[0]).collect()
}

/// A member of an older level, with packs 1 and 2 stored by a run that goes on.
fn of_level(level: u32) -> Story {
    let mut story = Story::with_voters(1);
    story.done(Actor::System, RemoveMember { member: 2 });
    story.done(Actor::System, raise(level, &[1]));
    with_packs(story)
}

fn with_packs(mut story: Story) -> Story {
    story.begin(1, 9);
    let me = || Actor::Agent(agent(1));
    story.done(me(), story::intend(9, &[1, 2], PackHome::Object));
    story.done(me(), story::store(9, 1, None));
    story.done(me(), story::store(9, 2, None));
    story
}

/// Points 1 to 3 under a policy that keeps the last one, and packs that are stored.
fn with_points() -> Story {
    let mut story = of_level(RETENTION);
    story.done(Actor::System, policy(Some(last(1))));
    (1..=3).for_each(|number| story.backup_docs(number, PointState::Complete));
    story
}

#[test]
fn packs_that_are_lost_are_listed_until_they_are_found_or_stored_again() {
    let mut story = of_level(RETENTION);
    story.done(Actor::System, lose(1));
    story.done(Actor::System, lose(2));
    assert_eq!(story.done(Actor::System, lose(2)), Outcome::Unchanged);
    assert_eq!((lost(&story), story.rows_in(Table::LostPack)), (vec![1, 2], 2));
    assert_eq!(story.query().vault(&ids::vault()).unwrap().losses(), 2);
    story.done(Actor::System, find(1));
    story.done(Actor::Agent(agent(1)), story::store(9, 2, None));
    assert_eq!((lost(&story), story.rows_in(Table::LostPack)), (vec![], 0));
    story.done(Actor::System, lose(1));
    let mut import = story::recovering::import(1, 7, 0);
    import.packs = vec![story.query().pack(&ids::vault(), &ids::pack(1)).unwrap().unwrap()];
    story.done(Actor::System, import);
    assert_eq!((lost(&story), story.rows_in(Table::LostPack)), (vec![], 0));
    // Whatever became of them, somebody who planned before did not know of it.
    assert_eq!(story.query().vault(&ids::vault()).unwrap().losses(), 3);
}

#[test]
fn packs_that_were_lost_before_anybody_forgot_anything_are_listed_from_the_level_on() {
    let mut story = of_level(RETENTION - 1);
    story.done(Actor::System, lose(2));
    // Members that know of no list must compute the same.
    assert_eq!(story.rows_in(Table::LostPack), 0);
    assert_eq!(story.query().vault(&ids::vault()).unwrap().losses, None);
    story.done(Actor::System, raise(RETENTION, &[1]));
    assert_eq!(lost(&story), [2]);
}

#[test]
fn a_plan_that_did_not_know_of_a_lost_pack_is_refused() {
    let mut story = with_points();
    let before = of_one(story.planned(&[1, 2], 3));
    story.done(Actor::System, lose(1));
    story.refused(admin(), before.clone(), Code::ResourceConflict);
    story.done(Actor::System, find(1));
    story.refused(admin(), before, Code::ResourceConflict);
    let now = of_one(story.planned(&[1, 2], 3));
    assert_eq!(story.done(admin(), now), Outcome::Number(2));
}

#[test]
fn a_point_that_is_lost_outlives_nothing_until_it_is_seen_whole() {
    let mut story = with_points();
    story.refused(Actor::Agent(agent(1)), judge(3, false), Code::AuthDenied);
    story.done(Actor::System, judge(3, false));
    assert_eq!(story.done(Actor::System, judge(3, false)), Outcome::Unchanged);
    assert_eq!(story.query().point(&ids::point(3)).unwrap().lost, Some(story.now()));
    story.refused(admin(), forget(&[2], 3), Code::PointKept);
    story.done(admin(), forget(&[1], 2));
    story.refused(Actor::System, judge(1, false), Code::PointMissing);
    assert_eq!(story.done(Actor::System, judge(2, true)), Outcome::Unchanged);
    story.done(Actor::System, judge(3, true));
    assert_eq!(story.query().point(&ids::point(3)).unwrap().lost, None);
    story.done(admin(), forget(&[2], 3));
}

#[test]
fn a_point_that_may_be_junk_outlives_a_good_one_only_when_a_person_says_so() {
    let mut story = Story::with_points(&[1]);
    story.backup_sized(2, limits::ENTRIES_FEWER_TIMES * 3 + 1);
    story.backup_docs(3, PointState::Complete);
    story.refused(admin(), forget(&[2], 3), Code::PointKept);
    story.done(admin(), forget(&[1], 3));
    let despite = ForgetPoints { despite_anomalies: Some(true), ..forget(&[2], 3) };
    story.done(admin(), despite);
    let row = story.query().forgotten(&ids::point(2)).unwrap().unwrap();
    assert!(row.why.contains("anomalies"), "{}", row.why);
}

#[test]
fn one_command_is_about_many_sources_and_goes_as_a_whole_or_not_at_all() {
    let mut story = Story::with_points(&[1, 2, 3, 4]);
    let forget = |one: u8, other: u8| ForgetPoints {
        sources: vec![outlived(&[one], 3), outlived(&[other], 4)],
        despite_anomalies: None,
    };
    story.refused(admin(), forget(1, 4), Code::PointKept);
    assert!(story.query().point(&ids::point(1)).is_ok());
    assert_eq!(story.done(admin(), forget(1, 2)), Outcome::Number(2));
    let mut many = forget(1, 2);
    many.sources = vec![outlived(&[], 4); limits::POINTS_FORGOTTEN_MAX + 1];
    story.refused(admin(), many, Code::LimitExceeded);
}
