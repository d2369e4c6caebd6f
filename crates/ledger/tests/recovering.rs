//! A ledger that was rebuilt: what stays, what ends, and what is taken in afterwards.

mod story;

use holdfast_common::{Code, Timestamp};
use holdfast_ledger::{Actor, LEVEL, command::*, row::*};
use story::{
    Story, agent, create_token, enrol, ids, intend,
    members::{claim_epoch, raise},
    name,
    recovering::{import, lose, recover},
};

/// Two hosts, one backup, one run under way.
fn before() -> Story {
    let mut story = Story::with_agents(2);
    story.backup(1, 1);
    story.begin(2, 2);
    story.done(Actor::System, RevokeAgent { agent: agent(2) });
    story
}

fn recovered() -> Story {
    let mut story = before();
    let next = story.query().members().map_or(0, |rows| rows.len()) as u64 + 1;
    story.done(Actor::System, recover(next, 5));
    story
}

#[test]
fn what_was_promised_stays_and_what_was_under_way_ends() {
    let story = recovered();
    let query = story.query();
    assert!(query.point(&ids::point(1)).is_ok());
    assert_eq!(query.agent(&agent(2)).unwrap().state, AgentState::Revoked);
    assert!(query.sessions().unwrap().is_empty());
    assert!(query.open_runs().unwrap().is_empty());
    assert_eq!(query.run(&ids::run(2)).unwrap().state, RunState::Interrupted);
    assert_eq!(query.locations().unwrap()[0].url, "local:/mnt/backup");
    let live: Vec<_> =
        query.members().unwrap().into_iter().filter(MemberRow::is_live).map(|m| m.name).collect();
    assert_eq!(live, [name("again")]);
    let told = &query.recoveries().unwrap()[0];
    assert_eq!((told.reached.index, told.missing, told.when), (5, None, story.now()));
}

#[test]
fn a_location_that_is_found_elsewhere_confirms_nothing_before_it_was_looked_through() {
    let mut story = before();
    story.done(Actor::System, raise(LEVEL, &[1]));
    let copies = |story: &Story| story.query().copies_in(&ids::vault(), &name("main")).unwrap();
    assert_eq!(copies(&story), None);
    let unmoved = RecoverCluster { moved: Vec::new(), ..recover(2, 5) };
    story.done(Actor::System, unmoved);
    assert_eq!(copies(&story), None, "it lies where the log says");
    story.done(Actor::System, recover(3, 5));
    let row = copies(&story).unwrap();
    assert_eq!((row.confirms(), row.whole), (false, None));
}

#[test]
fn an_entry_of_before_means_to_every_member_what_it_meant() {
    let mut story = before();
    story.done(Actor::System, raise(LEVEL - 1, &[1]));
    story.done(Actor::System, recover(2, 5));
    assert_eq!(story.query().copies_in(&ids::vault(), &name("main")).unwrap(), None);
}

#[test]
fn numbers_and_names_that_may_have_been_given_are_not_given_again() {
    let mut story = before();
    let before = story.query().vault(&ids::vault()).unwrap().next_number;
    let founder = story.query().members().unwrap()[0].clone();
    story.refused(Actor::System, recover(founder.id, 5), Code::ResourceConflict);
    story.done(Actor::System, recover(founder.id + 1, 5));
    let query = story.query();
    assert!(query.vault(&ids::vault()).unwrap().next_number > before + (1 << 20));
    assert_eq!(query.member(founder.id).unwrap().state, MemberState::Removed);
    story.refused(Actor::System, recover(founder.id + 1, 5), Code::ResourceConflict);
}

#[test]
fn nobody_recovers_from_within_and_a_gap_needs_a_reason() {
    let mut story = before();
    story.refused(Actor::Operator(name("admin")), recover(2, 5), Code::AuthDenied);
    story.refused(Actor::System, recover(2, 5_000), Code::ResourceConflict);
    let missing = RecoverCluster { missing: Some((6, 7)), ..recover(2, 5) };
    story.refused(Actor::System, missing.clone(), Code::ResourceConflict);
    let reason = Some("it is all there is".to_owned());
    story.done(Actor::System, RecoverCluster { reason, ..missing });
    let rows = story.query().audit(0, 1000).unwrap();
    let told = &rows.last().unwrap().subject;
    assert!(told.contains("6 to 7") && told.contains("all there is"), "{told}");
}

#[test]
fn a_key_of_before_is_forgotten() {
    let mut story = before();
    let token = |number| Command::from(create_token([number; 32]));
    use holdfast_ledger::Command;
    story.apply_as([9; 16], Actor::System, token(8)).into_result().unwrap();
    let rows = || before().query().audit_head().unwrap().rows;
    assert!(rows() > 0);
    story.done(Actor::System, recover(2, 5));
    let count = story.query().audit_head().unwrap().rows;
    story.apply_as([9; 16], Actor::System, token(9)).into_result().unwrap();
    assert_eq!(story.query().audit_head().unwrap().rows, count + 1, "it is a new command");
}

#[test]
fn a_point_that_was_never_committed_is_taken_in_once_and_marked() {
    let mut story = recovered();
    story.done(Actor::System, import(1, 7, 40));
    let point = story.query().point(&ids::point(7)).unwrap();
    assert_eq!((point.recovered, point.committed), (Some(true), story.now()));
    let pack = story.query().pack(&ids::vault(), &ids::pack(7)).unwrap().unwrap();
    assert_eq!((pack.state, pack.base), (PackState::Stored, 40));
    let run = story.query().run(&ids::run(7)).unwrap();
    assert_eq!((run.point, run.source_text()), (Some(point.id), point.source));
    assert_eq!(story.done(Actor::System, import(1, 7, 40)), Outcome::Unchanged);
    story.refused(Actor::Agent(agent(1)), import(1, 8, 60), Code::AuthDenied);
    story.refused(Actor::System, import(9, 8, 60), Code::AgentMissing);
    // A pack has its numbers for ever.
    let mut other = import(1, 9, 80);
    other.packs = import(1, 7, 90).packs;
    story.refused(Actor::System, other, Code::ResourceConflict);
}

#[test]
fn numbers_of_what_was_taken_in_are_not_given_again() {
    let mut story = recovered();
    let next = story.query().vault(&ids::vault()).unwrap().next_number;
    story.done(Actor::System, import(1, 7, next + 100));
    let after = story.query().vault(&ids::vault()).unwrap().next_number;
    assert_eq!(after, next + 110);
}

/// The first number of a pack of the third epoch.
const THIRD: u64 = 3 << 40;

/// Recovered, in its third epoch, with a point taken in whose numbers are of an epoch.
fn taken_in(level: u32, base: u64) -> Story {
    let mut story = recovered();
    let members = story.query().members().unwrap_or_default();
    let (claimer, regions) = (members.len() as u64, members.into_iter().map(|row| row.region));
    story.done(Actor::System, raise(level, &[claimer]));
    let claim = ClaimEpoch { regions: regions.collect(), ..claim_epoch(3, claimer) };
    story.done(Actor::System, claim);
    story.done(Actor::System, import(1, 7, base));
    story
}

#[test]
fn what_was_made_in_a_later_epoch_is_counted_by_its_sequence() {
    let next = recovered().query().vault(&ids::vault()).unwrap().next_number;
    for (base, expected) in [((2 << 40) + 5, next), (THIRD + next + 100, next + 110)] {
        let mut story = taken_in(LEVEL, base);
        assert_eq!(story.query().vault(&ids::vault()).unwrap().next_number, expected);
        story.begin(1, 8);
        let given = story.done(Actor::Agent(agent(1)), intend(8, &[8], PackHome::Object));
        assert_eq!(given, Outcome::Bases(vec![THIRD + expected]));
    }
    let mut beyond = taken_in(LEVEL, 40);
    beyond.refused(Actor::System, import(1, 9, (3 << 40) - 1), Code::ResourceConflict);
}

#[test]
fn a_vault_that_counted_epochs_goes_on_behind_all_its_packs() {
    let mut story = taken_in(2, (2 << 40) + 7_000);
    let counted = story.query().vault(&ids::vault()).unwrap().next_number;
    assert_eq!(counted, (2 << 40) + 7_010, "as members of that level do it");
    story.begin(1, 8);
    let packs = || intend(8, &[8], PackHome::Object);
    story.refused(Actor::Agent(agent(1)), packs(), Code::LimitExceeded);
    let member = story.query().members().unwrap().last().unwrap().id;
    story.done(Actor::System, raise(LEVEL, &[member]));
    let given = story.done(Actor::Agent(agent(1)), packs());
    assert_eq!(given, Outcome::Bases(vec![THIRD + 7_010]));
    assert_eq!(story.query().vault(&ids::vault()).unwrap().next_number, 7_020);
}

#[test]
fn the_newest_of_a_source_is_what_goes_on_from_its_newest() {
    let mut story = before();
    let newest = |story: &Story| story.query().newest_points().next().unwrap().unwrap().id;
    story.done(Actor::System, recover(2, 5));
    // Of the same run, and so of the same source, but from before its newest.
    let of_run = |number: u8, previous| {
        let mut import = import(1, number, u64::from(number) * 10);
        import.point.run = ids::run(1);
        import.point.previous = previous;
        import
    };
    story.done(Actor::System, of_run(5, None));
    assert_eq!(newest(&story), ids::point(1));
    story.done(Actor::System, of_run(6, Some(ids::point(1))));
    assert_eq!(newest(&story), ids::point(6));
}

#[test]
fn an_agent_says_for_itself_what_it_was_told() {
    let mut story = recovered();
    story.refused(Actor::Agent(agent(1)), lose(agent(2), 7), Code::AuthDenied);
    story.refused(Actor::Agent(agent(2)), lose(agent(2), 7), Code::AgentRevoked);
    story.done(Actor::Agent(agent(1)), lose(agent(1), 7));
    assert_eq!(story.done(Actor::Agent(agent(1)), lose(agent(1), 7)), Outcome::Unchanged);
    let lost = story.query().lost_histories().unwrap();
    assert_eq!((lost.len(), lost[0].told.index, lost[0].noticed), (1, 7, story.now()));
}

#[test]
fn the_newest_snapshot_that_was_shipped_is_known() {
    let mut story = recovered();
    assert_eq!(story.query().shipped_snapshot().unwrap(), None);
    story.done(Actor::System, NoteSnapshot { index: 70 });
    let shipped = story.query().shipped_snapshot().unwrap().unwrap();
    assert_eq!((shipped.index, shipped.when), (70, story.now()));
    story.refused(Actor::Operator(name("admin")), NoteSnapshot { index: 80 }, Code::AuthDenied);
}

#[test]
fn agents_join_a_recovered_cluster_as_any_other() {
    let mut story = recovered();
    story.done(Actor::System, create_token([77; 32]));
    story.done(Actor::Token, enrol([77; 32], agent(7), "host-7"));
    story.backup(7, 7);
    assert!(story.now() > Timestamp::ZERO);
}
