//! What the ledger promises of points that are kept and points that go.

mod story;

use holdfast_common::{Code, Timestamp, limits, record};
use holdfast_ledger::{
    Actor, Command, LEVEL, Outcome, Table,
    command::{
        BeginRead, CancelRun, DeleteResource, EndSession, ForgetRuns, JudgePoint, Note, NoteKind,
        OutlivedPoints, PlacePoints, PutLocation, PutPolicy, PutVault, RemoveMember, RevokeAgent,
        StartRun,
    },
    level::RETENTION,
    retention::Reason,
    row::{
        CopyState, ForgottenRow, Held, LocationRow, MemberRole, PointState, PolicyRow, Retention,
        RunRow,
    },
};
use proptest::test_runner::{Config, TestRunner};
use std::{cell::Cell, time::Duration};
use story::{
    Story, agent, ids,
    members::{back, claim_epoch, forget as forget_region, raise},
    name, note_copies, place_points,
    retaining::{class, forget, hold, last, of_class, of_one, policy, release},
    vault_beside,
};

const DAY: Duration = Duration::from_secs(86_400);

fn admin() -> Actor {
    Actor::Operator(name("admin"))
}

fn listed(story: &Story) -> Vec<u8> {
    story.query().points(None).filter_map(Result::ok).map(|row| row.id.as_bytes()[0]).collect()
}

#[test]
fn a_forgotten_point_leaves_every_list_and_a_row_that_says_so() {
    let mut story = Story::with_points(&[1, 2, 3]);
    let row = story.query().point(&ids::point(1)).unwrap();
    assert_eq!(story.done(Actor::System, forget(&[1, 2], 3)), Outcome::Number(2));
    assert_eq!((listed(&story), story.rows_in(Table::PointTime)), (vec![3], 1));
    let error = story.query().point(&ids::point(1)).unwrap_err();
    assert_eq!(error.code, Code::PointMissing);
    assert!(error.message.contains("was forgotten"), "{error}");
    let left = story.query().forgotten(&ids::point(1)).unwrap().unwrap();
    assert_eq!((left.point, left.when, left.by), (row, story.now(), Actor::System));
    assert!(left.why.contains("docs"), "{}", left.why);
    assert_eq!(story.query().forgotten_after(None).count(), 2);
    // Once more: somebody else was faster.
    assert_eq!(story.done(admin(), forget(&[1, 2], 3)), Outcome::Number(0));
    let read = BeginRead {
        session: ids::session(9),
        point: ids::point(1),
        purpose: "restore".to_owned(),
        run: None,
    };
    story.refused(admin(), read, Code::PointMissing);
}

/// Points 1 to 4, of a vault that `far` follows, where nothing lies yet.
fn followed() -> Story {
    let mut story = Story::with_points(&[1, 2, 3, 4]);
    story.done(Actor::System, raise(LEVEL, &[1]));
    let location =
        LocationRow { name: name("far"), url: "local:/mnt/far".to_owned(), ..story::location() };
    story.done(admin(), PutLocation { location });
    story.done(admin(), PutVault { vault: vault_beside(), kek: None });
    story
}

#[test]
fn a_lost_point_is_not_kept_because_a_location_that_lags_has_no_newer_one() {
    let mut story = followed();
    let far = PlacePoints { location: name("far"), ..place_points(&[1, 2]) };
    story.done(Actor::System, far);
    let row = story.query().copies_in(&ids::vault(), &name("far")).unwrap().unwrap();
    story.done(Actor::System, note_copies(row.opened, CopyState::Current));
    let forget = |story: &Story| {
        let copies = Some(vec![ids::point(1)]);
        of_one(OutlivedPoints { copies, ..story.planned(&[2], 4) })
    };
    let while_whole = forget(&story);
    story.refused(Actor::System, while_whole, Code::PointKept);
    story.done(Actor::System, JudgePoint { point: ids::point(2), is_whole: false });
    let lost = forget(&story);
    assert_eq!(story.done(Actor::System, lost), Outcome::Number(1));
    assert_eq!(listed(&story), [4, 3, 1]);
}

#[test]
fn the_newest_point_that_a_location_has_is_not_forgotten() {
    let mut story = followed();
    let copies = |story: &Story| {
        story.query().copies_in(&ids::vault(), &name("far")).unwrap().unwrap().opened
    };
    let place = |story: &mut Story, points: &[u8]| {
        let far = PlacePoints { location: name("far"), ..place_points(points) };
        story.done(Actor::System, far);
    };
    place(&mut story, &[1, 2]);
    let despite = |story: &Story, points: &[u8], kept: &[u8]| {
        let copies = Some(kept.iter().map(|number| ids::point(*number)).collect());
        of_one(OutlivedPoints { copies, ..story.planned(points, 4) })
    };
    // Not one byte of what is said to lie there was seen there yet.
    let opened = copies(&story);
    story.done(Actor::System, note_copies(opened, CopyState::Current));
    let unnamed = of_one(story.planned(&[1], 4));
    story.refused(Actor::System, unnamed, Code::PointKept);
    for (points, kept) in [(&[1, 2][..], &[][..]), (&[1, 2], &[2]), (&[2], &[1]), (&[2], &[3])] {
        let forget = despite(&story, points, kept);
        story.refused(Actor::System, forget, Code::PointKept);
    }
    let forget = despite(&story, &[1, 3], &[2]);
    assert_eq!(story.done(Actor::System, forget), Outcome::Number(2));
    place(&mut story, &[4]);
    let forget = of_one(story.planned(&[2], 4));
    assert_eq!(story.done(Actor::System, forget), Outcome::Number(1));
    assert_eq!(listed(&story), [4]);
}

#[test]
fn a_forgotten_point_is_never_taken_in_again() {
    let mut story = Story::with_points(&[1, 2]);
    story.done(Actor::System, forget(&[1], 2));
    let import = story::recovering::import(1, 1, 50);
    assert_eq!(story.done(Actor::System, import), Outcome::Unchanged);
    assert_eq!(listed(&story), [2]);
    // Nor made again by an agent that was told its id.
    story.begin(2, 9);
    let session = ids::session(9);
    let mut again = story::commit(9, 1, agent(2), PointState::Complete);
    again.session = session;
    story.refused(Actor::Agent(agent(2)), again, Code::ResourceConflict);
}

#[test]
fn agents_forget_and_hold_nothing() {
    let mut story = Story::with_points(&[1, 2]);
    let me = Actor::Agent(agent(1));
    story.refused(me.clone(), forget(&[1], 2), Code::AuthDenied);
    story.refused(me.clone(), hold(1, Held::Point(ids::point(1))), Code::AuthDenied);
    story.done(admin(), hold(1, Held::Point(ids::point(1))));
    story.refused(me.clone(), release(1, Held::Point(ids::point(1))), Code::AuthDenied);
    story.refused(me.clone(), class(None), Code::AuthDenied);
    story.refused(me, ForgetRuns { runs: vec![] }, Code::AuthDenied);
}

#[test]
fn only_what_a_newer_and_equally_good_point_of_its_source_outlives_goes() {
    let mut story = Story::with_points(&[1, 2]);
    story.backup_docs(3, PointState::Partial);
    story.backup_docs(4, PointState::Partial);
    story.refused(admin(), forget(&[2], 1), Code::PointKept);
    story.refused(admin(), forget(&[2], 2), Code::PointKept);
    story.refused(admin(), forget(&[2], 4), Code::PointKept);
    story.refused(admin(), forget(&[4], 3), Code::PointKept);
    story.refused(admin(), forget(&[1, 2], 4), Code::PointKept);
    // Of another source, and of no policy at all.
    story.backup(2, 7);
    story.refused(admin(), forget(&[7], 4), Code::PointKept);
    story.refused(admin(), forget(&[1], 7), Code::PointKept);
    story.refused(admin(), forget(&[1], 9), Code::PointMissing);
    story.done(admin(), forget(&[1], 2));
    story.done(admin(), forget(&[3], 4));
    assert_eq!(listed(&story), [4, 7, 2]);
}

#[test]
fn nothing_goes_before_it_is_as_old_as_it_must_be_by_ledger_time() {
    let mut story = Story::with_points(&[1, 2]);
    story.done(admin(), policy(Some(Retention { protect_secs: None, ..last(1) })));
    let forget = of_one(story.planned(&[1], 2));
    story.refused(admin(), forget.clone(), Code::PointKept);
    story.pass(14 * DAY - Duration::from_secs(2));
    story.refused(admin(), forget.clone(), Code::PointKept);
    story.pass(Duration::from_secs(1));
    story.done(admin(), forget);
}

#[test]
fn a_plan_by_other_rules_than_those_in_force_is_refused() {
    let mut story = Story::with_points(&[1, 2]);
    story.done(admin(), policy(Some(last(2))));
    let planned = story.planned(&[1], 2);
    let other = OutlivedPoints { revision: 1, ..planned.clone() };
    story.refused(admin(), of_one(other), Code::ResourceConflict);
    let other = OutlivedPoints { since: planned.since.minus(DAY), ..planned };
    story.refused(admin(), of_one(other), Code::ResourceConflict);
    story.done(admin(), class(Some(last(1))));
    story.done(admin(), of_class("gold"));
    let planned = story.planned(&[1], 2);
    let other = OutlivedPoints { class_revision: Some(2), ..planned.clone() };
    story.refused(admin(), of_one(other), Code::ResourceConflict);
    story.done(admin(), class(Some(last(3))));
    story.refused(admin(), of_one(planned), Code::ResourceConflict);
    let planned = of_one(story.planned(&[1], 2));
    story.done(admin(), planned);
    // A policy that says nothing keeps everything.
    let planned = story.planned(&[2], 3);
    story.done(admin(), policy(None));
    story.backup_docs(3, PointState::Complete);
    let silent = OutlivedPoints { revision: 4, class_revision: None, ..planned };
    story.refused(admin(), of_one(silent), Code::ResourceConflict);
    story.done(admin(), DeleteResource { kind: "policy".into(), name: name("docs") });
    story.refused(admin(), forget(&[2], 3), Code::PolicyMissing);
}

#[test]
fn a_plan_by_a_policy_that_was_deleted_and_made_anew_is_refused() {
    let mut story = Story::with_points(&[1, 2]);
    let planned = story.planned(&[1], 2);
    story.done(admin(), DeleteResource { kind: "policy".into(), name: name("docs") });
    story.done(admin(), policy(Some(last(9))));
    assert_eq!(story.planned(&[1], 2).revision, planned.revision);
    story.refused(admin(), of_one(planned), Code::ResourceConflict);
}

#[test]
fn what_is_held_stays_until_the_hold_ends_or_is_released() {
    let mut story = Story::with_points(&[1, 2]);
    let (point, docs) = (Held::Point(ids::point(1)), Held::Policy(name("docs")));
    story.done(admin(), hold(1, point.clone()));
    story.refused(admin(), forget(&[1], 2), Code::PointKept);
    story.refused(admin(), release(1, docs.clone()), Code::ResourceConflict);
    story.done(admin(), release(1, point.clone()));
    story.done(admin(), hold(2, docs.clone()));
    story.refused(admin(), forget(&[1], 2), Code::PointKept);
    story.done(admin(), release(2, docs.clone()));
    story.refused(admin(), release(2, docs), Code::HoldMissing);
    let mut short = hold(3, point);
    short.hold.until = Some(story.now().plus(DAY));
    story.done(admin(), short.clone());
    let row = story.query().holds().unwrap().pop().unwrap();
    assert_eq!((row.by, row.since), (admin(), story.now()));
    story.pass(DAY - Duration::from_nanos(1));
    story.refused(admin(), forget(&[1], 2), Code::PointKept);
    story.pass(Duration::from_nanos(1));
    story.refused(admin(), short, Code::UsageMalformed);
    story.done(admin(), forget(&[1], 2));
    story.refused(admin(), hold(5, Held::Point(ids::point(1))), Code::PointMissing);
    story.refused(admin(), hold(5, Held::Policy(name("none"))), Code::PolicyMissing);
}

#[test]
fn a_hold_that_ended_is_known_for_some_time_and_keeps_from_whoever_waits_after_it() {
    let mut story = Story::with_points(&[1, 2]);
    let point = || Held::Point(ids::point(1));
    story.done(admin(), hold(1, point()));
    story.pass(DAY);
    story.done(admin(), release(1, point()));
    let released = story.now();
    let row = story.query().holds().unwrap().remove(0);
    assert_eq!((row.released, row.ends()), (Some(released), Some(released)));
    let row = story.query().point(&ids::point(1)).unwrap();
    let is_held = |story: &Story, grace| {
        let ties = story.query().ties(story.now(), grace).unwrap();
        ties.of(&row).iter().any(|tie| tie.reason == Reason::Held)
    };
    assert!(is_held(&story, DAY) && !is_held(&story, Duration::ZERO));
    story.pass(DAY - Duration::from_nanos(1));
    assert!(is_held(&story, DAY));
    story.pass(Duration::from_nanos(1));
    assert!(!is_held(&story, DAY));
    // By hand it goes at once, and by then nobody knows of the hold any more.
    story.done(admin(), forget(&[1], 2));
    story.pass(Duration::from_secs(limits::HOLD_ENDED_KEPT_SECS));
    story.done(admin(), hold(2, Held::Point(ids::point(2))));
    assert_eq!(story.query().holds().unwrap().len(), 1);
}

#[test]
fn the_audit_log_says_what_was_held_and_released_and_why_and_which_points_went() {
    let mut story = Story::with_points(&[1, 2, 3]);
    let what = Held::Policy(name(&"d".repeat(limits::NAME_BYTES_MAX)));
    let reason = "x".repeat(limits::HOLD_REASON_BYTES_MAX);
    let mut add = hold(1, what.clone());
    add.hold.reason.clone_from(&reason);
    let mut release = release(1, what.clone());
    release.reason = Some(reason.clone());
    let said = format!("{} on {what}: {reason}", add.hold.id);
    for command in [Command::from(add.clone()), release.clone().into()] {
        assert_eq!(command.label().1, said);
    }
    story.refused(admin(), release.clone(), Code::HoldMissing);
    let row = story.query().audit_chain().last().unwrap().unwrap();
    assert_eq!(row.subject, said, "all of it");
    add.hold.reason.push('x');
    release.reason = Some(add.hold.reason.clone());
    story.refused(admin(), add, Code::UsageMalformed);
    story.refused(admin(), release, Code::UsageMalformed);
    story.done(admin(), forget(&[2, 1], 3));
    let row = story.query().audit_chain().last().unwrap().unwrap();
    let ids = blake3::hash(&[[1; 16], [2; 16]].concat());
    assert_eq!(row.subject, format!("2 of docs by revision 1: {ids}"));
    let runs = Command::from(ForgetRuns { runs: vec![ids::run(2), ids::run(1)] });
    assert_eq!(runs.label().1, format!("2: {ids}"));
}

#[test]
fn holds_of_revoked_agents_leave_room_for_those_that_people_add() {
    let mut story = Story::with_points(&[1, 2]);
    story.hold_agents(limits::HOLDS_MAX);
    story.done(admin(), hold(1, Held::Point(ids::point(1))));
    story.hold_points(limits::HOLDS_MAX);
    story.refused(admin(), hold(2, Held::Point(ids::point(1))), Code::LimitExceeded);
}

/// Members of a cluster that was never at a level at which points are forgotten.
fn of_level(level: u32) -> Story {
    let mut story = Story::with_voters(1);
    story.done(Actor::System, RemoveMember { member: 2 });
    story.done(Actor::System, raise(level, &[1]));
    story.done(Actor::System, policy(Some(last(1))));
    story.backup_docs(1, PointState::Complete);
    story.backup_docs(2, PointState::Complete);
    story
}

#[test]
fn everything_that_a_revoked_agent_made_is_held() {
    for level in [RETENTION - 1, RETENTION] {
        let mut story = of_level(level);
        story.done(admin(), RevokeAgent { agent: agent(1) });
        let holds = story.query().holds().unwrap();
        // Members that know of no holds must compute the same.
        assert_eq!(holds.len(), usize::from(level == RETENTION));
        if level == RETENTION {
            story.refused(admin(), forget(&[1], 2), Code::PointKept);
        } else {
            story.done(admin(), forget(&[1], 2));
        }
    }
}

#[test]
fn agents_that_were_revoked_before_anybody_held_anything_are_held_from_the_level_on() {
    let mut story = of_level(RETENTION - 1);
    story.done(admin(), RevokeAgent { agent: agent(1) });
    story.pass(DAY);
    assert_eq!(story.query().rules_upset().unwrap(), Timestamp::ZERO);
    story.done(Actor::System, raise(RETENTION, &[1]));
    let holds = story.query().holds().unwrap();
    assert_eq!(holds.iter().map(|hold| &hold.what).collect::<Vec<_>>(), [&Held::Agent(agent(1))]);
    assert_eq!(story.query().rules_upset().unwrap(), story.now());
    story.refused(admin(), forget(&[1], 2), Code::PointKept);
}

#[test]
fn whatever_turns_over_what_rules_stand_on_is_noted_with_its_time() {
    let (mut story, member) = (Story::with_voters(1), 2);
    story.done(Actor::System, raise(RETENTION, &[1, member]));
    let began = story.query().rules_upset().unwrap();
    let mut turn = |command: Command, upsets: bool| {
        story.pass(DAY);
        let before = story.query().rules_upset().unwrap();
        story.done(Actor::System, command);
        let wanted = if upsets { story.now() } else { before };
        assert_eq!(story.query().rules_upset().unwrap(), wanted);
    };
    let note = |kind| Note { kind, subject: "all".to_owned() }.into();
    turn(note(NoteKind::ObjectHealed), false);
    turn(note(NoteKind::ClockConfirmed), true);
    turn(claim_epoch(2, member).into(), false);
    turn(back(2, false).into(), true);
    turn(claim_epoch(3, member).into(), false);
    turn(forget_region(3).into(), true);
    turn(story::recovering::recover(member + 1, 5).into(), true);
    assert!(story.query().rules_upset().unwrap() > began);
}

#[test]
fn what_somebody_reads_or_goes_on_from_is_not_forgotten() {
    let mut story = Story::with_points(&[1, 2]);
    story.done(Actor::System, raise(LEVEL, &[1]));
    let read = BeginRead {
        session: ids::session(9),
        point: ids::point(1),
        purpose: "restore".to_owned(),
        run: None,
    };
    story.done(admin(), read);
    story.refused(admin(), forget(&[1], 2), Code::PointKept);
    story.pass(Duration::from_secs(limits::SESSION_LEASE_SECS + 1));
    story.refused(admin(), forget(&[1], 2), Code::PointKept);
    story.done(Actor::System, EndSession { session: ids::session(9) });
    story.done(admin(), forget(&[1], 2));
    // A restore that waits for its agent has no session yet.
    let restore = story::restore_row(ids::point(2));
    let run = RunRow::restore(ids::run(8), Some(agent(2)), ids::vault(), story::source(), restore);
    story.done(admin(), StartRun { run });
    story.backup_docs(3, PointState::Complete);
    story.refused(admin(), forget(&[2], 3), Code::PointKept);
    // However many others there are.
    story.open_runs(limits::LIST_PAGE_ROWS as u32);
    story.refused(admin(), forget(&[2], 3), Code::PointKept);
    story.done(admin(), CancelRun { run: ids::run(8) });
    story.done(admin(), forget(&[2], 3));
}

#[test]
fn what_was_taken_in_from_a_location_outlives_nothing() {
    let mut story = Story::with_points(&[1]);
    let mut import = story::recovering::import(1, 7, 50);
    import.point.policy = Some(name("docs"));
    import.packs.clear();
    story.pass(Duration::from_secs(1));
    story.done(Actor::System, import);
    story.backup_docs(2, PointState::Complete);
    story.refused(admin(), forget(&[1], 7), Code::PointKept);
    story.refused(admin(), forget(&[7], 2), Code::PointKept);
    story.done(admin(), forget(&[1], 2));
    assert_eq!(listed(&story), [2, 7]);
}

#[test]
fn nothing_is_forgotten_while_a_region_is_parted() {
    let mut story = Story::with_points(&[1, 2]);
    let member = story.join(1, MemberRole::Learner);
    story.done(Actor::System, claim_epoch(2, member));
    story.refused(admin(), forget(&[1], 2), Code::RegionParted);
    story.done(admin(), back(2, false));
    story.done(admin(), back(2, true));
    story.done(admin(), forget(&[1], 2));
}

#[test]
fn a_class_gives_its_rules_to_policies_that_have_none() {
    let mut story = Story::with_points(&[]);
    story.refused(admin(), of_class("gold"), Code::ResourceMissing);
    story.refused(admin(), class(Some(last(0))), Code::ResourceMalformed);
    story.refused(admin(), policy(Some(last(0))), Code::ResourceMalformed);
    story.done(admin(), class(Some(last(5))));
    let declared = story.now();
    story.pass(DAY);
    story.done(admin(), of_class("gold"));
    let rules = |story: &Story| {
        let policy = story.query().policy(&name("docs")).unwrap();
        story.query().rules(&policy).unwrap().unwrap()
    };
    let row = story.query().classes().unwrap().remove(0);
    assert_eq!((row.retained_since, row.revision), (declared, 1));
    assert_eq!((rules(&story).retention.last, rules(&story).since), (Some(5), story.now()));
    story.pass(DAY);
    assert_eq!(story.done(admin(), class(Some(last(5)))), Outcome::Unchanged);
    story.done(admin(), class(Some(last(6))));
    assert_eq!((rules(&story).retention.last, rules(&story).since), (Some(6), story.now()));
    let delete = DeleteResource { kind: "class".into(), name: name("gold") };
    story.refused(admin(), delete.clone(), Code::ResourceConflict);
    story.done(admin(), policy(Some(last(2))));
    story.done(admin(), delete);
    assert_eq!(rules(&story).retention.last, Some(2));
}

#[test]
fn of_what_a_policy_and_its_class_protect_the_longer_time_counts() {
    let mut story = Story::with_points(&[]);
    let protects = |days: Option<u64>| Retention {
        protect_secs: days.map(|days| days * DAY.as_secs()),
        ..last(1)
    };
    let only = |days: u64| Retention { last: None, ..protects(Some(days)) };
    let rules = |story: &Story| {
        let policy = story.query().policy(&name("docs")).unwrap();
        story.query().rules(&policy).unwrap().unwrap().retention
    };
    let put = |own: Option<Retention>| {
        let PutPolicy { policy } = of_class("gold");
        PutPolicy { policy: PolicyRow { retention: own, ..policy } }
    };
    story.done(admin(), class(Some(Retention { last: Some(5), ..protects(Some(90)) })));
    for (own, days) in [(None, 90), (Some(0), 90), (Some(14), 90), (Some(100), 100)] {
        story.done(admin(), put(Some(protects(own))));
        assert_eq!((rules(&story).last, rules(&story).protect_for()), (Some(1), days * DAY));
    }
    // What says no more than that has the rules of its class.
    story.done(admin(), put(Some(only(100))));
    assert_eq!((rules(&story).last, rules(&story).protect_for()), (Some(5), 100 * DAY));
    story.done(admin(), class(Some(only(120))));
    assert!(!rules(&story).keeps(), "nothing goes by rules that keep nothing");
    story.done(admin(), put(Some(protects(None))));
    assert_eq!((rules(&story).last, rules(&story).protect_for()), (Some(1), 120 * DAY));
    story.refused(admin(), policy(Some(only(9))), Code::ResourceMalformed);
    let nothing = Retention { last: Some(0), ..only(9) };
    story.refused(admin(), put(Some(nothing)), Code::ResourceMalformed);
}

#[test]
fn the_same_rules_once_more_are_as_old_as_they_were() {
    let mut story = Story::with_points(&[]);
    let since = |story: &Story| story.query().policy(&name("docs")).unwrap().retained_since;
    let first = since(&story);
    assert_eq!(first, Some(story.now()));
    story.pass(DAY);
    assert_eq!(story.done(admin(), policy(Some(last(1)))), Outcome::Unchanged);
    let mut other = policy(Some(last(1)));
    other.policy.level = 9;
    story.done(admin(), other);
    assert_eq!(since(&story), first, "something else was changed");
    story.done(admin(), policy(Some(last(2))));
    assert_eq!(since(&story), Some(story.now()));
    story.done(admin(), policy(None));
    assert_eq!(since(&story), None);
}

#[test]
fn runs_go_long_after_their_end_and_after_their_points() {
    let mut story = Story::with_points(&[1, 2]);
    let forget_run = |number| ForgetRuns { runs: vec![ids::run(number)] };
    story.done(Actor::System, forget(&[1], 2));
    story.refused(Actor::System, forget_run(1), Code::ResourceConflict);
    story.pass(Duration::from_secs(limits::RUNS_KEPT_SECS));
    story.pass(DAY);
    story.refused(Actor::System, forget_run(2), Code::ResourceConflict);
    assert_eq!(story.done(Actor::System, forget_run(1)), Outcome::Number(1));
    assert_eq!(story.done(Actor::System, forget_run(1)), Outcome::Number(0));
    assert_eq!((story.query().runs().count(), story.rows_in(Table::RunTime)), (1, 1));
    story.begin(2, 3);
    story.pass(Duration::from_secs(limits::RUNS_KEPT_SECS));
    story.pass(DAY);
    story.refused(Actor::System, forget_run(3), Code::ResourceConflict);
}

/// Of points that are there, whatever is said of them in whatever order; and much of it goes.
#[test]
fn whatever_is_said_of_points_a_newer_one_as_good_outlives_each_that_goes() {
    let mut runner =
        TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
    let script = proptest::collection::vec((0..16u8, 0..6u8, 0..6u8), 20..60);
    let gone = Cell::new(0);
    let told = runner.run(&script, |script| {
        let mut story = Story::with_points(&[1, 2, 3]);
        script.iter().for_each(|step| story::retaining::step(&mut story, *step));
        gone.set(gone.get() + story.query().forgotten_after(None).count());
        Ok(())
    });
    told.unwrap();
    assert!(gone.get() > 64, "only {} went", gone.get());
}

/// The stored form of what is left of a point: it must decode for ever.
#[test]
fn what_is_left_of_a_point_keeps_its_bytes() {
    let point = story::commit(1, 3, agent(1), PointState::Complete).point;
    let when = holdfast_common::Timestamp::from_nanos(9);
    let why = "docs".to_owned();
    let row = ForgottenRow { point, when, by: admin(), why, gone: None, key_version: None };
    let stored = story::unhex(FORGOTTEN);
    assert_eq!(record::to_bytes(&row), stored, "{:02x?}", record::to_bytes(&row));
    assert_eq!(record::from_bytes::<ForgottenRow>("forgotten point", &stored).unwrap(), row);
}

const FORGOTTEN: &str = "\
    a400af0050030303030303030303030303030303030150aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa0250010101\
    01010101010101010101010101035001010101010101010101010101010101056a66696c65733a2f73727606\
    050700080109030a18640b000d58200101010101010101010101010101010101010101010101010101010101\
    0101010e582002020202020202020202020202020202020202020202020202020202020202020f81646d6169\
    6e10010109028201816561646d696e0364646f6373";
