//! Who leads, what a new leader gives to everybody, and where agents are attached.

#![allow(clippy::unwrap_used, reason = "a crowd that cannot gather is a failed test")]

mod story;

use holdfast_common::{AgentId, Code, SessionId, Timestamp, limits, record};
use holdfast_ledger::{
    Actor, Batch, Command, MemoryKv, Outcome, Query, Row, StateKv, Table, Tables, apply,
    command::{RemoveMember, RenewSession, RevokeAgent, SeeAgents, TakeOffice},
    row::{MemberRole, MemberRow, OfficeRow, SeatRow, SessionKind, SessionRow},
    tables::full_key,
};
use std::time::Duration;
use story::{
    Story, agent, ids,
    members::{founder, founding, see},
    name,
};

const VOTER: MemberRole = MemberRole::Voter;
const BEGIN: Timestamp = Timestamp::from_nanos(1_800_000_000_000_000_000);
/// More than any page.
const CROWD: u128 = 2 * limits::LIST_PAGE_ROWS as u128 + 5;

fn operator() -> Actor {
    Actor::Operator(name("admin"))
}

#[test]
fn the_office_goes_to_a_higher_term_only() {
    let mut story = Story::with_voters(2);
    assert_eq!(story.query().office().unwrap(), None);
    let take = |member, term| TakeOffice { member, term };
    assert_eq!(story.done(Actor::System, take(2, 4)), Outcome::Done);
    let since = story.now();
    story.pass(Duration::from_secs(60));
    for late in [take(1, 4), take(3, 3), take(2, 4)] {
        assert_eq!(story.done(Actor::System, late), Outcome::Unchanged);
    }
    let office = story.query().office().unwrap();
    assert_eq!(office, Some(OfficeRow { member: 2, term: 4, since }));
    assert_eq!(story.done(Actor::System, take(1, 5)), Outcome::Done);
    assert_eq!(story.query().office().unwrap().unwrap().since, story.now());
}

#[test]
fn leases_that_ran_out_while_nobody_led_hold_again_under_a_new_leader() {
    let mut story = Story::with_voters(1);
    let lease = |story: &Story| story.query().session(&ids::session(1)).unwrap().lease_until;
    story.begin(1, 1);
    story.pass(Duration::from_secs(3600));
    let (session, me) = (ids::session(1), Actor::Agent(agent(1)));
    story.refused(me.clone(), RenewSession { session }, Code::LeaseExpired);
    story.done(Actor::System, TakeOffice { member: 2, term: 1 });
    let full = story.now().plus(Duration::from_secs(limits::SESSION_LEASE_SECS));
    assert_eq!(lease(&story), full);
    // A late word of an older term lengthens nothing.
    story.pass(Duration::from_secs(60));
    story.done(Actor::System, TakeOffice { member: 1, term: 1 });
    assert_eq!(lease(&story), full);
    story.done(me, RenewSession { session });
}

/// Rows straight into tables: more than a page of them.
fn crowd<R: Row>(kv: &MemoryKv, row: impl Fn(u128) -> R) {
    let mut batch = Batch::default();
    for number in 0..CROWD {
        let row = row(number);
        batch.changes.insert(full_key(R::TABLE, &row.key()), Some(record::to_bytes(&row)));
    }
    kv.write(batch).unwrap();
}

fn apply_to(kv: &MemoryKv, index: u64, command: impl Into<Command>) {
    let time = BEGIN;
    let key = u128::from(index).to_be_bytes();
    let envelope = story::envelope(key, Actor::System, time, command.into());
    let mut tables = Tables::over(kv);
    apply(&mut tables, index, &envelope).unwrap().into_result().unwrap();
    kv.write(tables.into_batch()).unwrap();
}

#[test]
fn a_new_leader_restarts_every_lease_however_many_there_are() {
    let kv = MemoryKv::default();
    apply_to(&kv, 1, founding());
    crowd(&kv, |number| SessionRow {
        id: SessionId::from_bytes(number.to_be_bytes()),
        kind: if number % 2 == 0 { SessionKind::Read } else { SessionKind::Write },
        vault: ids::vault(),
        run: None,
        agent: None,
        begun: 1,
        // One of them lasts longer than a full lease, and must go on doing so.
        lease_until: match number {
            7 => Timestamp::from_nanos(i64::MAX),
            _ => Timestamp::ZERO,
        },
        point: ids::point(1),
        previous: None,
    });
    apply_to(&kv, 2, TakeOffice { member: 1, term: 1 });
    let full = BEGIN.plus(Duration::from_secs(limits::SESSION_LEASE_SECS));
    let sessions = Query::over(&kv).sessions().unwrap();
    assert_eq!(sessions.len() as u128, CROWD);
    let restarted = sessions.iter().filter(|session| session.lease_until == full).count();
    assert_eq!(restarted as u128, CROWD - 1);
    assert_eq!(sessions[7].lease_until.as_nanos(), i64::MAX);
}

#[test]
fn no_agent_stays_with_a_removed_member_however_many_there_are() {
    let kv = MemoryKv::default();
    apply_to(&kv, 1, founding());
    crowd(&kv, |number| {
        let seen = Timestamp::from_nanos(5);
        let agent = AgentId::from_bytes(number.to_be_bytes());
        SeatRow::new(agent, Some(1 + u64::from(number % 2 == 0)), seen)
    });
    let second = MemberRow { id: 2, name: name("south-1"), ..founder() };
    let (key, id) = (full_key(Table::MemberName, b"south-1"), 2u64.to_be_bytes().to_vec());
    let row = (full_key(Table::Member, &second.key()), Some(record::to_bytes(&second)));
    kv.write(Batch { changes: [row, (key, Some(id))].into() }).unwrap();
    let query = Query::over(&kv);
    let before = query.seats_of(1).count();
    apply_to(&kv, 2, RemoveMember { member: 2 });
    assert_eq!(query.seats_of(2).count(), 0);
    assert_eq!(query.seats_of(1).count(), before, "the others stay where they are");
}

#[test]
fn an_agent_sits_where_it_came_last_and_leaves_only_from_there() {
    let mut story = Story::with_voters(1);
    let seat = |story: &Story| story.query().seat(&agent(1)).unwrap();
    let at = |story: &Story, member| SeatRow::new(agent(1), member, story.now());
    assert_eq!(seat(&story), None);
    assert_eq!(story.done(Actor::System, see(1, &[agent(1)], &[])), Outcome::Done);
    assert_eq!(seat(&story), Some(at(&story, Some(1))));
    story.pass(Duration::from_secs(10));
    story.done(Actor::System, see(2, &[agent(1)], &[]));
    let second = at(&story, Some(2));
    // The first notices late that it went.
    story.pass(Duration::from_secs(10));
    assert_eq!(story.done(Actor::System, see(1, &[], &[agent(1)])), Outcome::Unchanged);
    assert_eq!(seat(&story), Some(second));
    let listed: Vec<_> = story.query().seats_of(2).map(|seat| seat.unwrap()).collect();
    assert_eq!(listed, [second]);
    assert_eq!(story.done(Actor::System, see(2, &[], &[agent(1)])), Outcome::Done);
    assert_eq!(seat(&story), Some(at(&story, None)));
    assert_eq!(story.query().seats_of(2).count(), 0);
}

#[test]
fn an_agent_that_is_still_there_was_seen_now() {
    let mut story = Story::with_voters(0);
    story.done(Actor::System, see(1, &[agent(1)], &[]));
    story.pass(Duration::from_secs(60));
    story.done(Actor::System, see(1, &[agent(1)], &[]));
    let seat = story.query().seat(&agent(1)).unwrap().unwrap();
    assert_eq!((seat.member, seat.seen), (Some(1), story.now()));
    story.done(Actor::System, see(1, &[agent(1)], &[agent(1)]));
    let seat = story.query().seat(&agent(1)).unwrap().unwrap();
    assert_eq!(seat.member, Some(1), "it went and came back");
}

#[test]
fn unknown_and_revoked_agents_are_passed_over_and_the_others_are_seen() {
    let mut story = Story::with_agents(3);
    story.done(Actor::System, see(1, &[agent(2)], &[]));
    story.done(operator(), RevokeAgent { agent: agent(2) });
    assert_eq!(story.query().seat(&agent(2)).unwrap(), None, "it has no seat any more");
    let all = [agent(9), agent(2), agent(1)];
    assert_eq!(story.done(Actor::System, see(1, &all, &[agent(8)])), Outcome::Done);
    for nobody in [agent(9), agent(2), agent(8)] {
        assert_eq!(story.query().seat(&nobody).unwrap(), None);
    }
    assert_eq!(story.query().seat(&agent(1)).unwrap().unwrap().member, Some(1));
    assert_eq!(story.done(Actor::System, see(1, &all[..2], &all[..2])), Outcome::Unchanged);
}

#[test]
fn so_many_agents_are_told_of_at_once_and_no_more() {
    let mut story = Story::with_voters(0);
    let half = vec![agent(1); limits::AGENTS_SEEN_MAX / 2];
    let mut many = SeeAgents { member: 1, attached: half.clone(), left: half, verifiers: None };
    story.done(Actor::System, many.clone());
    many.left.push(agent(1));
    story.refused(Actor::System, many, Code::LimitExceeded);
}

#[test]
fn the_agents_of_a_removed_member_are_away_and_were_seen_when_they_were() {
    let mut story = Story::with_agents(2);
    story.join(1, VOTER);
    story.done(Actor::System, see(2, &[agent(1)], &[]));
    story.done(Actor::System, see(1, &[agent(2)], &[]));
    let seen = story.now();
    story.pass(Duration::from_secs(60));
    story.done(operator(), RemoveMember { member: 2 });
    let away = SeatRow::new(agent(1), None, seen);
    assert_eq!(story.query().seat(&agent(1)).unwrap(), Some(away));
    assert_eq!(story.query().seat(&agent(2)).unwrap().unwrap().member, Some(1));
}
