//! What the ledger promises, command by command: who may do what, once, and all or nothing.

mod story;

use holdfast_common::{Code, Timestamp, VaultId, limits, record};
use holdfast_ledger::{
    Actor, Command, Query, Reply, StateKv,
    audit::{self, AuditHead, AuditRow},
    command::{
        BeginSession, CancelRun, DeleteResource, EndRun, ExportBundle, FindPack, LosePack, Note,
        NoteKind, Outcome, PutLocation, PutVault, RenewSession, RevokeAgent, RewrapKeys, StartRun,
        StorePacks, VerifyBundle,
    },
    row::{ClusterRow, PackHome, PackState, PointState, RunState, VaultRow},
};
use proptest::prelude::*;
use std::time::Duration;
use story::{Story, agent, end_silent, ids, members::see};

#[test]
fn a_token_enrols_one_agent_and_no_second() {
    let mut story = Story::founded();
    story.done(Actor::Operator(story::name("admin")), story::create_token([1; 32]));
    story.done(Actor::Token, story::enrol([1; 32], agent(1), "host-1"));
    story.refused(Actor::Token, story::enrol([1; 32], agent(2), "host-2"), Code::TokenUsed);
    story.refused(Actor::Token, story::enrol([9; 32], agent(2), "host-2"), Code::TokenRefused);
}

#[test]
fn an_expired_token_is_refused_and_stays_unused() {
    let mut story = Story::founded();
    story.done(Actor::System, story::create_token([1; 32]));
    story.pass(Duration::from_secs(7200));
    story.refused(Actor::Token, story::enrol([1; 32], agent(1), "host-1"), Code::TokenExpired);
    assert!(story.query().agents().unwrap().is_empty());
}

#[test]
fn a_run_becomes_a_point_and_ends_its_session() {
    let mut story = Story::with_agents(1);
    story.backup(1, 1);
    let run = story.query().run(&ids::run(1)).unwrap();
    assert_eq!((run.state, run.point), (RunState::Done, Some(ids::point(1))));
    assert!(story.query().session(&ids::session(1)).is_err());
    assert!(story.query().open_runs().unwrap().is_empty());
    let newest = story.query().points(None).next().unwrap().unwrap();
    assert_eq!(newest.id, ids::point(1));
}

#[test]
fn the_next_point_of_a_source_names_the_one_before() {
    let mut story = Story::with_agents(1);
    story.backup(1, 1);
    story.backup(1, 2);
    assert_eq!(story.query().point(&ids::point(2)).unwrap().previous, Some(ids::point(1)));
}

#[test]
fn nobody_writes_in_the_session_of_another() {
    let mut story = Story::with_agents(2);
    story.begin(1, 1);
    let (session, other) = (ids::session(1), Actor::Agent(agent(2)));
    story.refused(other.clone(), RenewSession { session }, Code::AuthDenied);
    story.refused(other.clone(), story::intend(1, &[1], PackHome::Object), Code::AuthDenied);
    story.refused(
        other.clone(),
        StorePacks { session, packs: vec![], revision: None },
        Code::AuthDenied,
    );
    story.refused(other, story::commit(1, 1, agent(2), PointState::Complete), Code::AuthDenied);
    story.refused(
        Actor::Agent(agent(1)),
        story::commit(1, 1, agent(2), PointState::Complete),
        Code::AuthDenied,
    );
}

#[test]
fn a_run_is_begun_by_its_own_agent_only() {
    let mut story = Story::with_agents(2);
    story.done(Actor::System, story::start_run(1, agent(1)));
    let begin = BeginSession { session: ids::session(1), run: ids::run(1), point: ids::point(1) };
    story.refused(Actor::Agent(agent(2)), begin, Code::AuthDenied);
}

#[test]
fn beginning_again_ends_the_session_before() {
    let mut story = Story::with_agents(1);
    story.begin(1, 1);
    let me = Actor::Agent(agent(1));
    let again = BeginSession { session: ids::session(9), run: ids::run(1), point: ids::point(9) };
    story.done(me.clone(), again);
    story.refused(me, story::intend(1, &[1], PackHome::Object), Code::SessionMissing);
    assert_eq!(story.query().sessions().unwrap().len(), 1);
}

#[test]
fn a_lease_that_ran_out_stores_nothing_more() {
    let mut story = Story::with_agents(1);
    story.begin(1, 1);
    story.pass(Duration::from_secs(3600));
    let me = Actor::Agent(agent(1));
    story.refused(me.clone(), story::intend(1, &[1], PackHome::Object), Code::LeaseExpired);
    story.refused(me, story::commit(1, 1, agent(1), PointState::Complete), Code::LeaseExpired);
}

#[test]
fn a_revoked_agent_starts_and_begins_nothing() {
    let mut story = Story::with_agents(1);
    story.done(Actor::System, story::start_run(1, agent(1)));
    story.done(Actor::System, RevokeAgent { agent: agent(1) });
    let begin = BeginSession { session: ids::session(1), run: ids::run(1), point: ids::point(1) };
    story.refused(Actor::Agent(agent(1)), begin, Code::AgentRevoked);
    story.refused(Actor::System, story::start_run(2, agent(1)), Code::AgentRevoked);
}

#[test]
fn a_session_does_not_outlive_the_revocation_of_its_agent() {
    let mut story = Story::with_agents(1);
    story.begin(1, 1);
    story.done(Actor::System, RevokeAgent { agent: agent(1) });
    let me = Actor::Agent(agent(1));
    story.refused(me.clone(), story::intend(1, &[1], PackHome::Object), Code::AgentRevoked);
    story.refused(me, story::commit(1, 1, agent(1), PointState::Complete), Code::AgentRevoked);
}

#[test]
fn one_source_has_one_open_run() {
    let mut story = Story::with_agents(1);
    story.done(Actor::System, story::start_run(1, agent(1)));
    story.refused(Actor::System, story::start_run(2, agent(1)), Code::RunBusy);
    story.done(Actor::System, CancelRun { run: ids::run(1) });
    story.done(Actor::System, story::start_run(2, agent(1)));
}

#[test]
fn a_cancelled_run_commits_no_point() {
    let mut story = Story::with_agents(1);
    story.begin(1, 1);
    story.done(Actor::System, CancelRun { run: ids::run(1) });
    let commit = story::commit(1, 1, agent(1), PointState::Complete);
    story.refused(Actor::Agent(agent(1)), commit, Code::RunCancelled);
    let end = EndRun { run: ids::run(1), state: RunState::Failed, error: None, silent_since: None };
    story.done(Actor::Agent(agent(1)), end);
    assert_eq!(story.query().run(&ids::run(1)).unwrap().state, RunState::Cancelled);
}

#[test]
fn a_point_is_refused_while_a_required_location_lacks_it() {
    let mut story = Story::with_agents(1);
    story.begin(1, 1);
    let mut commit = story::commit(1, 1, agent(1), PointState::Complete);
    commit.point.locations = vec![story::name("elsewhere")];
    story.refused(Actor::Agent(agent(1)), commit, Code::LocationMissing);
    assert!(story.query().points(None).next().is_none());
}

#[test]
fn of_several_required_locations_none_may_lack_the_point() {
    let mut story = Story::with_agents(1);
    let (id, me) = (VaultId::from_bytes([0xbb; 16]), Actor::Agent(agent(1)));
    let both = vec![story::name("main"), story::name("twin")];
    let mut twin = story::location();
    (twin.name, twin.url) = (story::name("twin"), "local:/srv/other".into());
    story.done(Actor::System, PutLocation { location: twin });
    let mut vault = story::vault();
    (vault.id, vault.name, vault.required) = (id, story::name("two"), both.clone());
    story.done(Actor::System, PutVault { vault, kek: None });
    let mut start = story::start_run(1, agent(1));
    start.run.vault = id;
    story.done(Actor::System, start);
    let (session, run, point) = (ids::session(1), ids::run(1), ids::point(1));
    story.done(me.clone(), BeginSession { session, run, point });
    let commit = |locations: &[_]| {
        let mut commit = story::commit(1, 1, agent(1), PointState::Complete);
        (commit.point.vault, commit.point.locations) = (id, locations.to_vec());
        commit
    };
    story.refused(me.clone(), commit(&both[..1]), Code::LocationMissing);
    story.refused(me.clone(), commit(&both[1..]), Code::LocationMissing);
    story.done(me, commit(&both));
}

#[test]
fn a_checkpoint_leaves_the_session_open_and_is_no_newest_point() {
    let mut story = Story::with_agents(1);
    story.begin(1, 1);
    let before = story.query().session(&ids::session(1)).unwrap().begun;
    story.done(Actor::Agent(agent(1)), story::commit(1, 7, agent(1), PointState::Checkpoint));
    let session = story.query().session(&ids::session(1)).unwrap();
    assert!(session.begun > before, "a checkpoint re-bases its session");
    story.done(Actor::Agent(agent(1)), story::commit(1, 1, agent(1), PointState::Complete));
    story.begin(1, 2);
    let second = story.query().session(&ids::session(2)).unwrap();
    assert_eq!(second.previous, Some(ids::point(1)), "not the checkpoint");
}

#[test]
fn chunk_numbers_are_given_once_and_never_overlap() {
    let mut story = Story::with_agents(1);
    story.begin(1, 1);
    let me = Actor::Agent(agent(1));
    let intend = story::intend(1, &[1, 2], PackHome::Object);
    assert_eq!(story.done(me.clone(), intend.clone()), Outcome::Bases(vec![0, 10]));
    // The same packs again, as after a lost answer: the same numbers.
    assert_eq!(story.done(me.clone(), intend), Outcome::Bases(vec![0, 10]));
    let third = story::intend(1, &[3], PackHome::Object);
    assert_eq!(story.done(me, third), Outcome::Bases(vec![20]));
}

#[test]
fn a_pack_counts_as_stored_only_when_it_was_said_to_be() {
    let mut story = Story::with_agents(1);
    story.begin(1, 1);
    let me = Actor::Agent(agent(1));
    let pack = ids::pack(1);
    story.refused(me.clone(), story::store(1, 1, None), Code::PackMissing);
    story.done(me.clone(), story::intend(1, &[1], PackHome::Object));
    let state = |story: &Story| story.query().pack(&ids::vault(), &pack).unwrap().unwrap().state;
    assert_eq!(state(&story), PackState::Intended);
    story.done(me, story::store(1, 1, None));
    assert_eq!(state(&story), PackState::Stored);
}

#[test]
fn a_lost_pack_stays_lost_until_it_is_stored_again_or_found() {
    let mut story = Story::with_agents(1);
    story.begin(1, 1);
    let me = Actor::Agent(agent(1));
    let (pack, vault) = (ids::pack(1), ids::vault());
    story.refused(Actor::System, LosePack { vault, pack }, Code::PackMissing);
    story.done(me.clone(), story::intend(1, &[1], PackHome::Object));
    story.done(me.clone(), story::store(1, 1, None));
    story.done(Actor::System, LosePack { vault, pack });
    assert_eq!(story.query().pack(&vault, &pack).unwrap().unwrap().state, PackState::Lost);
    story.done(me, story::store(1, 1, None));
    assert_eq!(story.query().pack(&vault, &pack).unwrap().unwrap().state, PackState::Stored);
    assert_eq!(story.done(Actor::System, FindPack { vault, pack }), Outcome::Unchanged);
    story.done(Actor::System, LosePack { vault, pack });
    story.done(Actor::System, FindPack { vault, pack });
    assert_eq!(story.query().pack(&vault, &pack).unwrap().unwrap().state, PackState::Stored);
}

#[test]
fn only_a_lost_pack_can_be_found() {
    let mut story = Story::with_agents(1);
    story.begin(1, 1);
    let (pack, vault) = (ids::pack(1), ids::vault());
    story.refused(Actor::System, FindPack { vault, pack }, Code::PackMissing);
    story.done(Actor::Agent(agent(1)), story::intend(1, &[1], PackHome::Object));
    assert_eq!(story.done(Actor::System, FindPack { vault, pack }), Outcome::Unchanged);
    assert_eq!(story.query().pack(&vault, &pack).unwrap().unwrap().state, PackState::Intended);
}

#[test]
fn no_command_within_its_bound_is_a_fault() {
    let mut story = Story::founded();
    let long = "x".repeat(900 * 1024);
    let delete = DeleteResource { kind: long.clone(), name: story::name("a") };
    story.refused(Actor::System, delete, Code::ResourceMalformed);
    story.done(Actor::System, Note { kind: NoteKind::ObjectHealed, subject: long });
}

#[test]
fn one_place_is_one_location_and_a_vault_keeps_its_own() {
    let mut story = Story::founded();
    let mut twin = story::location();
    twin.name = story::name("twin");
    let put = PutLocation { location: twin.clone() };
    story.refused(Actor::System, put, Code::ResourceConflict);
    twin.url = "local:/srv/other".into();
    story.done(Actor::System, PutLocation { location: twin });
    let mut vault = story.query().vault(&ids::vault()).unwrap();
    vault.required.push(story::name("twin"));
    story.refused(Actor::System, PutVault { vault, kek: None }, Code::ResourceConflict);
}

#[test]
fn a_refused_command_leaves_nothing_behind_but_its_audit_row() {
    let mut story = Story::with_agents(1);
    story.begin(1, 1);
    let me = Actor::Agent(agent(1));
    let before = story.query().vault(&ids::vault()).unwrap();
    let mut intend = story::intend(1, &[1, 2], PackHome::Object);
    intend.packs[1].slots = 0;
    story.refused(me, intend, Code::PackRefused);
    assert_eq!(story.query().vault(&ids::vault()).unwrap(), before);
    assert!(story.query().pack(&ids::vault(), &ids::pack(1)).unwrap().is_none());
    let newest = story.query().audit_head().unwrap().rows - 1;
    assert_eq!(story.query().audit(newest, 1).unwrap()[0].result, "pack.content_refused");
}

#[test]
fn a_command_that_is_proposed_twice_is_applied_once() {
    let mut story = Story::with_agents(1);
    let rows = story.query().audit_head().unwrap().rows;
    let command: Command = story::start_run(1, agent(1)).into();
    let first = story.apply_as([5; 16], Actor::System, command.clone());
    let second = story.apply_as([5; 16], Actor::System, command);
    assert_eq!(first, second);
    assert_eq!(story.query().audit_head().unwrap().rows, rows + 1);
}

#[test]
fn what_a_vault_rests_on_never_changes() {
    let mut story = Story::founded();
    let mut vault = story.query().vault(&ids::vault()).unwrap();
    vault.custody = holdfast_ledger::row::Custody::Operator;
    story.refused(Actor::System, PutVault { vault, kek: None }, Code::ResourceConflict);
}

#[test]
fn the_audit_chain_notices_any_change_and_any_gap() {
    let mut story = Story::with_agents(1);
    story.backup(1, 1);
    let head = story.query().audit_head().unwrap();
    let rows = story.query().audit(0, 1000).unwrap();
    let check = |rows: &[AuditRow]| {
        audit::verify(rows.iter().cloned().map(Ok), &AuditHead::default(), &head)
    };
    assert_eq!(check(&rows).unwrap(), rows.len() as u64);
    for at in 0..rows.len() {
        let mut changed = rows.clone();
        changed[at].subject.push('x');
        assert!(check(&changed).is_err(), "a change of row {at}");
        let mut gap = rows.clone();
        gap.remove(at);
        assert!(check(&gap).is_err(), "row {at} taken out");
    }
    assert!(check(&rows[..rows.len() - 1]).is_err(), "the newest row cut off");
}

#[test]
fn replies_survive_their_stored_form() {
    let replies = [
        Reply::Done(Outcome::Bases(vec![1, 2])),
        Reply::refused(&holdfast_common::Error::new(Code::RunBusy, "busy").next("wait")),
    ];
    for reply in replies {
        let bytes = record::to_bytes(&reply);
        assert_eq!(record::from_bytes::<Reply>("reply", &bytes).unwrap(), reply);
    }
    let refused = Reply::refused(&holdfast_common::Error::new(Code::RunBusy, "busy"));
    assert_eq!(refused.into_result().unwrap_err().code, Code::RunBusy);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However commands are grouped, and on whichever member, the tables are the same bytes.
    #[test]
    fn the_same_log_makes_the_same_tables_however_it_is_grouped(
        script in proptest::collection::vec((0u8..33, 1u8..4, 1u8..4, 0u64..2000), 1..100),
        cuts in proptest::collection::vec(any::<bool>(), 60),
    ) {
        let log = story::log_of(&script);
        let whole = story::replay(&log, |_| false);
        let single = story::replay(&log, |_| true);
        let mixed = story::replay(&log, |at| cuts[at % cuts.len()]);
        let dump = |kv: &dyn StateKv| kv.scan(&[], None, usize::MAX).unwrap();
        prop_assert_eq!(dump(&whole), dump(&single));
        prop_assert_eq!(dump(&whole), dump(&mixed));
        story::check_invariants(&Query::over(&whole))?;
    }
}

/// The stored form of every command: replicated bytes that must decode for ever.
#[test]
fn commands_keep_their_bytes() {
    let golden = include_str!("golden/commands.hex");
    let lines: Vec<String> =
        story::samples().iter().map(|(name, command)| story::line(name, command)).collect();
    assert_eq!(golden.lines().collect::<Vec<_>>(), lines, "now:\n{}", lines.join("\n"));
    for (line, (name, command)) in golden.lines().zip(story::samples()) {
        let hex = line.split_once(' ').unwrap().1;
        let bytes = story::unhex(hex);
        assert_eq!(record::from_bytes::<Command>("command", &bytes).unwrap(), command, "{name}");
    }
}

#[test]
fn times_in_the_ledger_are_the_stamped_ones() {
    let mut story = Story::with_agents(1);
    story.pass(Duration::from_secs(10));
    let now = story.now();
    story.done(Actor::System, StartRun { run: story::start_run(1, agent(1)).run });
    assert_eq!(story.query().run(&ids::run(1)).unwrap().created, now);
    assert!(now > Timestamp::ZERO);
}

#[test]
fn only_a_bundle_that_was_handed_out_can_be_verified_and_old_ones_are_forgotten() {
    let mut story = Story::with_agents(1);
    story.refused(Actor::System, VerifyBundle { bundle: [1; 32] }, Code::ResourceMissing);
    for number in 1..=limits::BUNDLES_KEPT as u8 + 1 {
        story.pass(Duration::from_secs(10));
        story.done(Actor::System, story::export_bundle(number));
    }
    story.refused(Actor::System, VerifyBundle { bundle: [1; 32] }, Code::ResourceMissing);
    story.done(Actor::System, VerifyBundle { bundle: [2; 32] });
    let rows = story.query().bundles().unwrap();
    assert_eq!(rows.len(), limits::BUNDLES_KEPT);
    let now = story.now();
    let verified: Vec<_> = rows.iter().filter(|row| row.verified.is_some()).collect();
    assert_eq!(verified.len(), 1);
    assert_eq!((verified[0].hash, verified[0].verified), ([2; 32], Some(now)));
}

#[test]
fn the_proof_that_a_bundle_opens_outlives_any_number_of_later_exports() {
    let mut story = Story::with_agents(1);
    for number in 1..=3 {
        story.pass(Duration::from_secs(10));
        story.done(Actor::System, story::export_bundle(number));
    }
    for number in [1, 2] {
        story.pass(Duration::from_secs(10));
        story.done(Actor::System, VerifyBundle { bundle: [number; 32] });
    }
    for number in 10..10 + 2 * limits::BUNDLES_KEPT as u8 {
        story.pass(Duration::from_secs(10));
        story.done(Actor::System, story::export_bundle(number));
    }
    let rows = story.query().bundles().unwrap();
    assert_eq!(rows.len(), limits::BUNDLES_KEPT);
    let proved: Vec<_> = rows.iter().filter(|row| row.verified.is_some()).collect();
    assert_eq!(proved.len(), 1, "an older proof is worth no place");
    assert_eq!(proved[0].hash, [2; 32]);
    let newest = 9 + 2 * limits::BUNDLES_KEPT as u8;
    assert!(rows.iter().any(|row| row.hash == [newest; 32]), "the newest export can be proved");
}

#[test]
fn a_later_proof_of_fewer_keys_does_not_displace_one_of_all() {
    let mut story = Story::with_agents(1);
    let fewer = ExportBundle { keys: Vec::new(), ..story::export_bundle(1) };
    story.done(Actor::System, fewer);
    story.done(Actor::System, story::export_bundle(2));
    for number in [2, 1] {
        story.pass(Duration::from_secs(10));
        story.done(Actor::System, VerifyBundle { bundle: [number; 32] });
    }
    for number in 10..10 + limits::BUNDLES_KEPT as u8 {
        story.done(Actor::System, story::export_bundle(number));
    }
    let rows = story.query().bundles().unwrap();
    let proved: Vec<_> = rows.iter().filter(|row| row.verified.is_some()).collect();
    assert_eq!((proved.len(), proved[0].hash), (1, [2; 32]));
}

#[test]
fn all_keys_are_rewrapped_at_once_or_none() {
    let mut story = Story::founded();
    let before = (story.query().cluster().unwrap(), story.query().vault(&ids::vault()).unwrap());
    let none = RewrapKeys { vaults: Vec::new(), ..story::rewrap_keys(1) };
    story.refused(Actor::System, none, Code::ResourceConflict);
    story.refused(Actor::System, story::rewrap_keys(2), Code::ResourceConflict);
    let now = (story.query().cluster().unwrap(), story.query().vault(&ids::vault()).unwrap());
    assert_eq!(now, before, "a refusal changes nothing");
    let new = story::rewrap_keys(1);
    story.done(Actor::System, new.clone());
    let (cluster, vault) = before;
    assert_eq!(
        story.query().cluster().unwrap(),
        ClusterRow {
            ca_key_wrapped: new.ca_key_wrapped,
            recovery_key_wrapped: new.recovery_key_wrapped,
            kek_derivation: new.kek_derivation,
            ..cluster
        }
    );
    let key_object = new.vaults[0].key_object.clone();
    let expected = VaultRow { key_object, revision: vault.revision + 1, ..vault };
    assert_eq!(story.query().vault(&ids::vault()).unwrap(), expected);
}

#[test]
fn a_run_whose_doer_was_heard_of_since_does_not_end_of_silence() {
    let mut story = Story::with_agents(1);
    story.begin(1, 1);
    story.refused(Actor::System, end_silent(1), Code::ResourceConflict);
    story.pass(Duration::from_secs(limits::SESSION_LEASE_SECS + 1));
    story.done(Actor::System, see(1, &[agent(1)], &[]));
    story.refused(Actor::System, end_silent(1), Code::ResourceConflict);
    assert_eq!(story.query().run(&ids::run(1)).unwrap().state, RunState::Running);
    let silent_since = Some(story.now());
    story.done(Actor::System, EndRun { silent_since, ..end_silent(1) });
    assert_eq!(story.query().run(&ids::run(1)).unwrap().state, RunState::Interrupted);
}

#[test]
fn a_lease_that_was_renewed_keeps_a_run_alive_that_was_judged_by_an_old_one() {
    let mut story = Story::with_agents(1);
    story.begin(1, 1);
    for _ in 0..3 {
        story.pass(Duration::from_secs(limits::SESSION_LEASE_SECS - 1));
        let renew = RenewSession { session: ids::session(1) };
        story.done(Actor::Agent(agent(1)), renew);
        story.refused(Actor::System, end_silent(1), Code::ResourceConflict);
    }
    story.pass(Duration::from_secs(limits::SESSION_LEASE_SECS + 1));
    story.done(Actor::System, end_silent(1));
}
