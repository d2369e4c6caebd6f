//! What a restore grants, to whom, and for how long; and what its safety point is.

mod story;

use holdfast_common::{Code, PointId};
use holdfast_ledger::{
    Actor,
    command::{
        BeginRead, BeginSession, CancelRun, EndRestore, EndRun, EndSession, RenewSession,
        RevokeAgent, StartRun,
    },
    row::{
        PointState, RestoreCounts, RestoreOptions, RestoreRow, RunKind, RunRow, RunState,
        SourceSpec,
    },
};
use std::time::Duration;
use story::{Story, agent, ids};

fn operator() -> Actor {
    Actor::Operator(story::name("admin"))
}

/// A restore of point 1 as run `number`.
fn start(number: u8, who: Option<u8>, safety: bool) -> StartRun {
    let options = RestoreOptions { in_place: true, safety, ..RestoreOptions::default() };
    let restore = RestoreRow { options, ..story::restore_row(ids::point(1)) };
    let who = who.map(agent);
    StartRun { run: RunRow::restore(ids::run(number), who, ids::vault(), story::source(), restore) }
}

fn read(session: u8, run: u8, point: PointId) -> BeginRead {
    let (session, run) = (ids::session(session), Some(ids::run(run)));
    BeginRead { session, point, purpose: "restore".to_owned(), run }
}

fn end(run: u8, state: RunState) -> EndRestore {
    let counts = RestoreCounts { entries: 3, ..RestoreCounts::default() };
    EndRestore { run: ids::run(run), state, counts, report: None, error: None }
}

/// Two points of agent 1, and a restore of the first as run 7, given to agent 2.
fn granted(safety: bool) -> Story {
    let mut story = Story::with_agents(2);
    story.backup(1, 1);
    story.backup(1, 2);
    story.done(operator(), start(7, Some(2), safety));
    story
}

#[test]
fn an_agent_reads_the_point_of_its_restore_and_nothing_else() {
    let mut story = granted(false);
    let (own, other) = (Actor::Agent(agent(2)), Actor::Agent(agent(1)));
    let without = BeginRead { run: None, ..read(9, 7, ids::point(1)) };
    story.refused(own.clone(), without, Code::AuthDenied);
    story.refused(own.clone(), read(9, 7, ids::point(2)), Code::AuthDenied);
    story.refused(own.clone(), read(9, 8, ids::point(1)), Code::RunMissing);
    story.refused(other.clone(), read(9, 7, ids::point(1)), Code::AuthDenied);
    // A backup grants no reading, not even of what it made itself.
    story.refused(other, read(9, 1, ids::point(1)), Code::AuthDenied);
    story.refused(operator(), read(9, 7, ids::point(1)), Code::AuthDenied);
    assert_eq!(story.query().run(&ids::run(7)).unwrap().state, RunState::Queued);
    story.done(own, read(9, 7, ids::point(1)));
    assert_eq!(story.query().run(&ids::run(7)).unwrap().state, RunState::Running);
}

#[test]
fn a_restore_that_ended_or_was_cancelled_grants_nothing_more() {
    let own = Actor::Agent(agent(2));
    let mut story = granted(false);
    story.done(own.clone(), read(9, 7, ids::point(1)));
    story.done(own.clone(), end(7, RunState::Done));
    assert!(story.query().sessions().unwrap().is_empty(), "the session ends with its run");
    story.refused(own.clone(), read(10, 7, ids::point(1)), Code::RunCancelled);
    story.refused(own.clone(), RenewSession { session: ids::session(9) }, Code::SessionMissing);

    let mut story = granted(false);
    story.done(own.clone(), read(9, 7, ids::point(1)));
    story.done(operator(), CancelRun { run: ids::run(7) });
    story.refused(own.clone(), read(10, 7, ids::point(1)), Code::RunCancelled);

    let mut story = granted(false);
    story.done(operator(), RevokeAgent { agent: agent(2) });
    story.refused(own, read(9, 7, ids::point(1)), Code::AgentRevoked);
}

#[test]
fn a_read_session_is_kept_and_ended_by_whoever_has_it() {
    let mut story = granted(false);
    let (own, other) = (Actor::Agent(agent(2)), Actor::Agent(agent(1)));
    story.done(own.clone(), read(9, 7, ids::point(1)));
    let session = ids::session(9);
    for stranger in [other, operator()] {
        story.refused(stranger.clone(), RenewSession { session }, Code::AuthDenied);
        story.refused(stranger, EndSession { session }, Code::AuthDenied);
    }
    story.done(own.clone(), RenewSession { session });
    story.done(own.clone(), EndSession { session });
    // It began again, with another coordinator; then it is its second session that counts.
    story.done(own.clone(), read(10, 7, ids::point(1)));
    story.done(own.clone(), read(11, 7, ids::point(1)));
    assert_eq!(story.query().sessions().unwrap().len(), 1);
    story.pass(Duration::from_secs(3600));
    story.refused(own, RenewSession { session: ids::session(11) }, Code::LeaseExpired);
    story.done(Actor::System, EndSession { session: ids::session(11) });
}

#[test]
fn an_agent_neither_keeps_nor_ends_what_an_operator_reads() {
    let mut story = granted(false);
    let begin = BeginRead { run: None, ..read(9, 7, ids::point(1)) };
    story.done(operator(), begin);
    let (rogue, session) = (Actor::Agent(agent(2)), ids::session(9));
    story.refused(rogue.clone(), RenewSession { session }, Code::AuthDenied);
    story.refused(rogue, EndSession { session }, Code::AuthDenied);
}

#[test]
fn a_safety_point_is_written_once_and_its_run_goes_on() {
    let own = Actor::Agent(agent(2));
    let mut story = granted(true);
    story.done(own.clone(), read(9, 7, ids::point(1)));
    let begin = |session, point| BeginSession {
        session: ids::session(session),
        run: ids::run(7),
        point: ids::point(point),
    };
    story.done(own.clone(), begin(7, 30));
    assert_eq!(story.query().sessions().unwrap().len(), 2, "it reads and writes");
    // Only as what it is.
    for state in [PointState::Complete, PointState::Partial, PointState::Checkpoint] {
        story.refused(own.clone(), story::commit(7, 30, agent(2), state), Code::AuthDenied);
    }
    story.done(own.clone(), story::commit(7, 30, agent(2), PointState::Safety));
    let run = story.query().run(&ids::run(7)).unwrap();
    assert_eq!((run.state, run.point), (RunState::Running, None));
    assert_eq!(run.restore.unwrap().safety_point, Some(ids::point(30)));
    story.refused(own.clone(), begin(8, 31), Code::AuthDenied);
    story.done(own, end(7, RunState::Done));
    // It goes on from nothing, though its agent has points of this source.
    let own = Actor::Agent(agent(1));
    story.done(operator(), start(8, Some(1), true));
    story.done(own, BeginSession { run: ids::run(8), ..begin(8, 32) });
    assert_eq!(story.query().session(&ids::session(8)).unwrap().previous, None);
    // And what a backup goes on from is not what a restore saved.
    story.begin(2, 12);
    assert_eq!(story.query().session(&ids::session(12)).unwrap().previous, None);
}

#[test]
fn a_restore_without_a_safety_point_writes_nothing_and_a_backup_saves_none() {
    let mut story = granted(false);
    let begin = BeginSession { session: ids::session(7), run: ids::run(7), point: ids::point(30) };
    story.refused(Actor::Agent(agent(2)), begin, Code::AuthDenied);
    story.begin(1, 12);
    let commit = story::commit(12, 12, agent(1), PointState::Safety);
    story.refused(Actor::Agent(agent(1)), commit, Code::AuthDenied);
}

#[test]
fn a_restore_by_its_asker_is_his_and_makes_no_safety_point() {
    let mut story = Story::with_agents(1);
    story.backup(1, 1);
    story.refused(operator(), start(7, None, true), Code::UsageMalformed);
    story.done(operator(), start(7, None, false));
    story.refused(Actor::Agent(agent(1)), read(9, 7, ids::point(1)), Code::AuthDenied);
    story.refused(Actor::Agent(agent(1)), end(7, RunState::Done), Code::AuthDenied);
    story.done(operator(), read(9, 7, ids::point(1)));
    story.done(operator(), end(7, RunState::Partial));
    let run = story.query().run(&ids::run(7)).unwrap();
    assert_eq!((run.state, run.kind, run.agent), (RunState::Partial, RunKind::Restore, None));
    assert_eq!(run.restore.unwrap().counts.entries, 3);
}

#[test]
fn a_restore_that_was_done_when_its_end_was_asked_for_was_done() {
    let own = Actor::Agent(agent(2));
    for (told, becomes) in
        [(RunState::Done, RunState::Done), (RunState::Failed, RunState::Cancelled)]
    {
        let mut story = granted(false);
        story.done(own.clone(), read(9, 7, ids::point(1)));
        story.done(operator(), CancelRun { run: ids::run(7) });
        story.done(own.clone(), end(7, told));
        assert_eq!(story.query().run(&ids::run(7)).unwrap().state, becomes);
    }
    // Without a restore's own end it is not done.
    let mut story = granted(false);
    let done = EndRun { run: ids::run(7), state: RunState::Done, error: None, silent_since: None };
    story.refused(own, done, Code::UsageMalformed);
}

#[test]
fn one_agent_restores_into_one_directory_once_at_a_time() {
    let mut story = granted(false);
    story.refused(operator(), start(8, Some(2), false), Code::RunBusy);
    story.done(operator(), start(8, Some(1), false));
    let mut elsewhere = start(9, Some(2), false);
    elsewhere.run.restore.as_mut().unwrap().target = b"/elsewhere".to_vec().into();
    story.done(operator(), elsewhere);
}

#[test]
fn a_restore_is_of_a_point_that_is_there() {
    let mut story = Story::with_agents(1);
    story.refused(operator(), start(7, Some(1), false), Code::PointMissing);
    story.backup(1, 1);
    let mut large = start(7, Some(1), false);
    large.run.restore.as_mut().unwrap().paths = Some(vec![0; 20_000].into());
    story.refused(operator(), large, Code::LimitExceeded);
    let mut confused = start(7, Some(1), false);
    confused.run.kind = RunKind::Backup;
    story.refused(operator(), confused, Code::UsageMalformed);
}

#[test]
fn a_source_of_more_than_a_row_can_hold_is_refused_before_anything_is_done() {
    let mut story = Story::with_agents(1);
    let paths = |count: usize| SourceSpec::Files {
        paths: vec![[&b"/"[..], &[b'a'; 994]].concat().into(); count],
        exclude: vec![],
        one_file_system: false,
        include: None,
    };
    let mut run = RunRow::backup(ids::run(1), agent(1), ids::vault(), paths(24));
    story.done(operator(), StartRun { run: run.clone() });
    (run.id, run.source) = (ids::run(2), paths(25));
    story.refused(operator(), StartRun { run }, Code::LimitExceeded);
}
