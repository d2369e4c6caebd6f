//! Who verifies what, what is proven by it, and what takes a proof away.

#![allow(clippy::unwrap_used, reason = "a story that cannot be told is a failed test")]

mod story;

use holdfast_common::{Code, PointId};
use holdfast_ledger::{
    Actor, LEVEL, Outcome,
    command::{
        BeginRead, BeginSession, CancelRun, CommitPoint, CreateToken, EndRestore, EndRun,
        EndSession, EndVerify, JudgePoint, PutPolicy, RevokeAgent, SeeAgents, StartRun,
        VERIFY_SESSIONS_MAX,
    },
    level::VERIFIERS,
    row::{
        AgentDuty, PointRow, PointState, PolicyRow, RestoreCounts, RunRow, RunState, TokenKind,
        TokenRow, Verified, VerifyRow,
    },
};
use std::time::Duration;
use story::{
    Story, agent, ids,
    members::see,
    name,
    verifying::{end_verify, start_verify, verifier_token},
};

const VERIFIER: u8 = 3;

fn operator() -> Actor {
    Actor::Operator(name("admin"))
}

fn verifier() -> Actor {
    Actor::Agent(agent(VERIFIER))
}

fn read(session: u8, point: PointId) -> BeginRead {
    let (session, run) = (ids::session(session), Some(ids::run(7)));
    BeginRead { session, point, purpose: "verify".to_owned(), run }
}

/// Two agents, each with a point of its number, and a verifier.
fn with_verifier() -> Story {
    let mut story = Story::with_agents(2);
    story.done(operator(), verifier_token([VERIFIER; 32]));
    story.done(Actor::Token, story::enrol([VERIFIER; 32], agent(VERIFIER), "verifier-1"));
    story.backup(1, 1);
    story.backup(2, 2);
    story
}

/// A verification of point 1 as run 7, which is read in session 9.
fn reading() -> Story {
    let mut story = with_verifier();
    story.done(operator(), start_verify(7, agent(VERIFIER), 1));
    story.done(verifier(), read(9, ids::point(1)));
    story
}

fn proof(story: &Story) -> Option<Verified> {
    story.query().point(&ids::point(1)).unwrap().verified
}

#[test]
fn what_an_agent_is_for_its_token_says_and_nobody_else() {
    let story = with_verifier();
    let duty = |number| story.query().agent(&agent(number)).unwrap().duty;
    assert_eq!((duty(1), duty(VERIFIER)), (None, Some(AgentDuty::Verifier)));
    let mut story = with_verifier();
    let CreateToken { token } = verifier_token([5; 32]);
    for kind in [TokenKind::Coordinator, TokenKind::Witness] {
        let token = TokenRow { kind: Some(kind), ..token.clone() };
        story.refused(operator(), CreateToken { token }, Code::UsageMalformed);
    }
}

#[test]
fn only_a_verifier_verifies_and_never_what_it_made_itself() {
    let mut story = with_verifier();
    story.refused(operator(), start_verify(7, agent(2), 1), Code::AgentDutyOther);
    story.refused(operator(), start_verify(7, agent(1), 1), Code::AgentIsSource);
    story.refused(operator(), start_verify(7, agent(8), 1), Code::AgentMissing);
    story.refused(operator(), start_verify(7, agent(VERIFIER), 8), Code::PointMissing);
    let StartRun { run } = start_verify(7, agent(VERIFIER), 1);
    let told = VerifyRow { sessions: 1, ..run.verify.clone().unwrap() };
    for bad in [
        RunRow { agent: None, ..run.clone() },
        RunRow { verify: None, ..run.clone() },
        RunRow { verify: Some(told), ..run.clone() },
        RunRow { restore: Some(story::restore_row(ids::point(1))), ..run.clone() },
    ] {
        story.refused(operator(), StartRun { run: bad }, Code::UsageMalformed);
    }
    story.done(operator(), StartRun { run });
    story.refused(operator(), start_verify(8, agent(VERIFIER), 1), Code::RunBusy);
    story.done(operator(), start_verify(8, agent(VERIFIER), 2));
}

#[test]
fn a_verifier_is_given_nothing_else_to_do() {
    let mut story = with_verifier();
    story.refused(operator(), story::start_run(7, agent(VERIFIER)), Code::AgentDutyOther);
    let restore = story::restore_row(ids::point(1));
    let who = Some(agent(VERIFIER));
    let run = RunRow::restore(ids::run(7), who, ids::vault(), story::source(), restore);
    story.refused(operator(), StartRun { run }, Code::AgentDutyOther);
    let PutPolicy { policy } = story::retaining::policy(None);
    let policy = PolicyRow { agent: name("verifier-1"), ..policy };
    story.refused(operator(), PutPolicy { policy }, Code::AgentDutyOther);
    // Nor does anybody get in by a backup that says that it verifies.
    let StartRun { run } = story::start_run(7, agent(1));
    let run = RunRow { verify: Some(VerifyRow::of(ids::point(2))), ..run };
    story.refused(operator(), StartRun { run }, Code::UsageMalformed);
}

#[test]
fn a_verification_grants_its_point_to_its_verifier_and_no_writing() {
    let mut story = with_verifier();
    story.done(operator(), start_verify(7, agent(VERIFIER), 1));
    story.refused(verifier(), read(9, ids::point(2)), Code::AuthDenied);
    for stranger in [Actor::Agent(agent(1)), operator()] {
        story.refused(stranger, read(9, ids::point(1)), Code::AuthDenied);
    }
    let (session, run, point) = (ids::session(9), ids::run(7), ids::point(6));
    story.refused(verifier(), BeginSession { session, run, point }, Code::AuthDenied);
    let (state, counts) = (RunState::Done, RestoreCounts::default());
    let restored = EndRestore { run, state, counts, report: None, error: None };
    story.refused(verifier(), restored, Code::AuthDenied);
    story.done(verifier(), read(9, ids::point(1)));
    assert_eq!(story.query().run(&run).unwrap().state, RunState::Running);
}

#[test]
fn a_point_of_which_everything_was_opened_is_proven() {
    let mut story = reading();
    assert_eq!(proof(&story), None);
    story.done(verifier(), end_verify(7, 9, 0));
    let (when, agent, run) = (story.now(), agent(VERIFIER), ids::run(7));
    assert_eq!(proof(&story), Some(Verified { when, agent, run }));
    let row = story.query().run(&run).unwrap();
    assert_eq!((row.state, row.verify.unwrap().counts.bytes), (RunState::Done, 100));
    assert!(story.query().sessions().unwrap().is_empty());
    story.refused(verifier(), end_verify(7, 9, 3), Code::RunCancelled);
    assert!(proof(&story).is_some(), "an end is an end");
}

#[test]
fn damage_takes_a_proof_away_and_nothing_else_does() {
    let mut story = reading();
    story.done(verifier(), end_verify(7, 9, 0));
    let again = |story: &mut Story, run: u8| {
        story.done(operator(), start_verify(run, agent(VERIFIER), 1));
        let run = Some(ids::run(run));
        story.done(verifier(), BeginRead { run, ..read(9, ids::point(1)) });
    };
    again(&mut story, 8);
    let (state, error) = (RunState::Failed, None);
    let failed = EndRun { run: ids::run(8), state, error, silent_since: None };
    story.done(verifier(), failed);
    assert!(proof(&story).is_some(), "a location that is away is no damage");
    again(&mut story, 10);
    story.done(verifier(), end_verify(10, 9, 2));
    assert_eq!(proof(&story), None);
    let row = story.query().run(&ids::run(10)).unwrap();
    assert_eq!((row.state, row.verify.unwrap().counts.damaged), (RunState::Failed, 2));
}

#[test]
fn a_point_that_is_whole_nowhere_is_proven_no_more() {
    let mut story = reading();
    story.done(verifier(), end_verify(7, 9, 0));
    let point = ids::point(1);
    story.done(Actor::System, JudgePoint { point, is_whole: false });
    assert_eq!(proof(&story), None);
}

#[test]
fn whoever_was_revoked_or_stopped_proves_nothing() {
    let mut story = reading();
    story.done(operator(), CancelRun { run: ids::run(7) });
    story.refused(verifier(), end_verify(7, 9, 0), Code::RunCancelled);

    let mut story = reading();
    story.done(operator(), RevokeAgent { agent: agent(VERIFIER) });
    story.refused(verifier(), end_verify(7, 9, 0), Code::AgentRevoked);

    let mut story = reading();
    let (state, error) = (RunState::Interrupted, None);
    let ended = EndRun { run: ids::run(7), state, error, silent_since: None };
    story.done(Actor::System, ended);
    story.refused(verifier(), end_verify(7, 9, 0), Code::RunCancelled);
    assert_eq!(proof(&story), None);
}

#[test]
fn only_what_was_read_in_a_session_that_stands_is_proven() {
    let mut story = reading();
    story.refused(verifier(), end_verify(7, 10, 0), Code::SessionMissing);
    for stranger in [Actor::Agent(agent(1)), operator(), Actor::System] {
        story.refused(stranger, end_verify(7, 9, 0), Code::AuthDenied);
    }
    // A session of another of its runs says nothing of this one.
    story.done(operator(), start_verify(8, agent(VERIFIER), 2));
    let other = BeginRead { run: Some(ids::run(8)), ..read(10, ids::point(2)) };
    story.done(verifier(), other);
    story.refused(verifier(), end_verify(7, 10, 0), Code::AuthDenied);
    story.refused(verifier(), end_verify(1, 9, 0), Code::AuthDenied);
    story.done(verifier(), EndSession { session: ids::session(9) });
    story.refused(verifier(), end_verify(7, 9, 0), Code::SessionMissing);

    let mut story = reading();
    story.pass(Duration::from_secs(3600));
    story.refused(verifier(), end_verify(7, 9, 0), Code::LeaseExpired);
    assert_eq!(proof(&story), None);
}

#[test]
fn an_end_that_makes_no_sense_is_refused() {
    let mut story = reading();
    let silent = EndVerify { damage: None, ..end_verify(7, 9, 2) };
    let loud = EndVerify { damage: end_verify(7, 9, 1).damage, ..end_verify(7, 9, 0) };
    for bad in [silent, loud] {
        story.refused(verifier(), bad, Code::UsageMalformed);
    }
    let report = Some(vec![0; 1 << 16].into());
    let long = EndVerify { report, ..end_verify(7, 9, 0) };
    story.refused(verifier(), long, Code::LimitExceeded);
}

#[test]
fn a_verification_is_begun_again_after_a_lost_coordinator_and_not_for_ever() {
    let mut story = reading();
    for _ in 1..VERIFY_SESSIONS_MAX {
        story.done(verifier(), read(9, ids::point(1)));
    }
    story.refused(verifier(), read(9, ids::point(1)), Code::RunInterrupted);
    story.done(verifier(), end_verify(7, 9, 0));
}

#[test]
fn what_a_verifier_can_do_is_known_by_where_it_sits() {
    let mut story = with_verifier();
    let one = agent(VERIFIER);
    let able = |story: &Story| story.query().seat(&one).unwrap().unwrap().verifies;
    let told = see(1, &[one], &[]);
    let verifiers = Some(vec![one]);
    story.done(Actor::System, SeeAgents { verifiers, ..told.clone() });
    assert_eq!(able(&story), Some(true));
    assert_eq!(story.done(Actor::System, told), Outcome::Done);
    assert_eq!(able(&story), None, "it came back older");
    let many = SeeAgents { verifiers: Some(vec![one; 2]), ..see(1, &[one], &[]) };
    story.refused(Actor::System, many, Code::LimitExceeded);
}

#[test]
fn a_commit_brings_no_proof_with_it() {
    let mut story = with_verifier();
    story.begin(1, 5);
    let commit = story::commit(5, 5, agent(1), PointState::Complete);
    let (when, run) = (story.now(), ids::run(5));
    let verified = Some(Verified { when, agent: agent(1), run });
    let previous = story.query().session(&ids::session(5)).unwrap().previous;
    let point = PointRow { verified, previous, ..commit.point };
    story.done(Actor::Agent(agent(1)), CommitPoint { point, ..commit });
    assert_eq!(story.query().point(&ids::point(5)).unwrap().verified, None);
}

const _: () = assert!(VERIFIERS <= LEVEL);
