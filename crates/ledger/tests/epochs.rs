//! What the ledger promises when a region takes the lead without the others.

mod story;

use holdfast_common::Code;
use holdfast_ledger::{
    Actor, Outcome,
    command::{
        AdmitMember, ClaimEpoch, CommitPoint, CreateToken, ForgetRegion, NoteFindings, PutLocation,
        PutVault, TakeOffice,
    },
    row::{
        FindingRow, LocationRow, MemberRole, MemberState, PackHome, PointState, VaultRow,
        epoch::Suspended,
    },
};
use story::{
    Story, agent, ids, intend,
    members::{admit, back, claim_epoch, create_token, forget, note_findings, see},
    name,
};

/// `north` with its founder and a location, `south` with two learners, a candidate and a location.
fn two_regions() -> Story {
    let mut story = Story::of_nothing();
    story.done(Actor::System, story::members::founding());
    for (place, region) in [("main", "north"), ("far", "south")] {
        let location = LocationRow {
            name: name(place),
            url: format!("local:/srv/{place}"),
            region: name(region),
            revision: 0,
            disabled: None,
        };
        story.done(Actor::System, PutLocation { location });
    }
    let vault = VaultRow { required: vec![name("main"), name("far")], ..story::vault() };
    story.done(Actor::System, PutVault { vault, kek: None });
    for (number, role) in
        [(1, MemberRole::Learner), (2, MemberRole::Learner), (3, MemberRole::Candidate)]
    {
        story.join(number, role);
    }
    story.done(Actor::System, story::create_token([1; 32]));
    story.done(Actor::Token, story::enrol([1; 32], agent(1), "host-1"));
    story
}

#[test]
fn a_claim_supersedes_the_others_and_makes_candidates_of_its_own() {
    let mut story = two_regions();
    story.done(Actor::System, see(1, &[agent(1)], &[]));
    assert_eq!(story.query().epoch().unwrap(), None, "the first epoch has no row");
    story.done(Actor::System, claim_epoch(2, 2));
    let rows = story.query().members().unwrap();
    let told: Vec<_> = rows.iter().map(|row| (row.role, row.state)).collect();
    let (joined, gone) = (MemberState::Joined, MemberState::Superseded);
    assert_eq!(
        told,
        [
            (MemberRole::Voter, gone),
            (MemberRole::Voter, joined),
            (MemberRole::Candidate, joined),
            (MemberRole::Candidate, joined),
        ]
    );
    assert!(story.query().member_named(&name("north-1")).is_err(), "its name is free");
    assert_eq!(story.query().seat(&agent(1)).unwrap().unwrap().member, None);
    let row = story.query().epoch().unwrap().unwrap();
    assert_eq!((row.number, row.base, row.since), (2, 9, story.now()));
    assert_eq!(row.reason.as_deref(), Some("north burnt down"));
    story.done(Actor::System, TakeOffice { member: 2, term: 9 });
}

#[test]
fn nothing_new_goes_to_the_locations_of_a_lost_region() {
    let mut story = two_regions();
    let lonely = VaultRow {
        id: holdfast_common::VaultId::from_bytes([0xbb; 16]),
        name: name("lonely"),
        required: vec![name("main")],
        ..story::vault()
    };
    story.done(Actor::System, PutVault { vault: lonely, kek: None });
    story.done(Actor::System, claim_epoch(2, 2));
    let vault = story.query().vault(&ids::vault()).unwrap();
    assert_eq!((vault.required, vault.revision), (vec![name("far")], 2));
    let lonely = story.query().vault_named(&name("lonely")).unwrap();
    assert_eq!(lonely.required, [name("main")], "it has nowhere else to go");
    let suspended = Suspended { vault: ids::vault(), locations: vec![name("main")], alone: None };
    assert_eq!(story.query().epoch().unwrap().unwrap().suspended, [suspended]);
    story.begin(1, 1);
    let mut commit = story::commit(1, 1, agent(1), PointState::Complete);
    commit.point.locations = vec![name("main")];
    story.refused(Actor::Agent(agent(1)), commit.clone(), Code::LocationMissing);
    commit.point.locations = vec![name("far")];
    story.done(Actor::Agent(agent(1)), CommitPoint { ..commit });
}

#[test]
fn an_epoch_follows_lower_ones_only_and_is_of_its_claimers_region() {
    let mut story = two_regions();
    let operator = Actor::Operator(name("admin"));
    story.refused(operator, claim_epoch(2, 2), Code::AuthDenied);
    story.refused(Actor::System, claim_epoch(1, 2), Code::EpochSuperseded);
    story.refused(Actor::System, claim_epoch(1 << 24, 2), Code::EpochSuperseded);
    story.refused(Actor::System, claim_epoch(2, 1), Code::ResourceConflict);
    story.refused(Actor::System, claim_epoch(2, 77), Code::MemberMissing);
    story.done(Actor::System, claim_epoch(3, 2));
    assert_eq!(story.done(Actor::System, claim_epoch(3, 2)), Outcome::Unchanged);
    story.refused(Actor::System, claim_epoch(3, 3), Code::EpochSuperseded);
    story.refused(Actor::System, claim_epoch(2, 3), Code::EpochSuperseded);
    let north = ClaimEpoch { regions: vec![name("north")], ..claim_epoch(4, 1) };
    story.refused(Actor::System, north, Code::MemberRemoved);
    assert_eq!(story.query().epoch().unwrap().unwrap().number, 3);
}

#[test]
fn chunk_numbers_of_two_epochs_never_meet() {
    let mut story = two_regions();
    story.begin(1, 1);
    let me = Actor::Agent(agent(1));
    let before = story.done(me.clone(), intend(1, &[1], PackHome::Object));
    story.done(Actor::System, claim_epoch(2, 2));
    let again = story.done(me.clone(), intend(1, &[1], PackHome::Object));
    assert_eq!(again, before, "a pack keeps its numbers");
    let Outcome::Bases(after) = story.done(me, intend(1, &[2], PackHome::Object)) else {
        panic!("no numbers")
    };
    let Outcome::Bases(before) = before else { panic!("no numbers") };
    assert_eq!((before[0] >> 40, after[0] >> 40), (0, 2));
}

#[test]
fn who_was_superseded_may_come_back_as_another_member() {
    let mut story = two_regions();
    story.done(Actor::System, claim_epoch(2, 2));
    story.done(Actor::System, CreateToken { ..create_token(9) });
    let admit = AdmitMember { region: name("north"), ..admit(9, "north-1", MemberRole::Learner) };
    assert_eq!(story.done(Actor::Token, admit), Outcome::Number(5));
    let row = story.query().member_named(&name("north-1")).unwrap();
    assert_eq!((row.id, row.region), (5, name("north")));
    assert_eq!(story.query().member(1).unwrap().state, MemberState::Superseded);
}

#[test]
fn a_region_comes_back_with_its_members_and_locations_and_is_whole_when_they_are_filled() {
    let mut story = two_regions();
    story.refused(Actor::System, back(1, false), Code::EpochSuperseded);
    story.done(Actor::System, claim_epoch(2, 2));
    story.refused(Actor::System, back(3, false), Code::EpochSuperseded);
    story.refused(Actor::System, back(2, true), Code::ResourceConflict);
    story.refused(Actor::Agent(agent(1)), back(2, false), Code::AuthDenied);
    let operator = Actor::Operator(name("admin"));
    story.done(operator.clone(), back(2, false));
    let row = story.query().member_named(&name("north-1")).unwrap();
    assert_eq!((row.id, row.role, row.state), (1, MemberRole::Candidate, MemberState::Joined));
    let epoch = story.query().epoch().unwrap().unwrap();
    assert_eq!((epoch.number, epoch.regions), (2, vec![name("south"), name("north")]));
    let suspended = Suspended { vault: ids::vault(), locations: vec![name("main")], alone: None };
    assert_eq!(epoch.suspended, [suspended], "it lacks what was stored meanwhile");
    let vault = story.query().vault(&ids::vault()).unwrap();
    assert_eq!((vault.required, vault.revision), (vec![name("far"), name("main")], 3));
    assert_eq!(story.done(operator.clone(), back(2, false)), Outcome::Unchanged);
    story.begin(1, 1);
    let mut commit = story::commit(1, 1, agent(1), PointState::Complete);
    commit.point.locations = vec![name("far")];
    story.refused(Actor::Agent(agent(1)), commit, Code::LocationMissing);
    story.done(operator.clone(), back(2, true));
    assert_eq!(story.query().epoch().unwrap().unwrap().suspended, []);
    assert_eq!(story.done(operator, back(2, true)), Outcome::Unchanged);
    story.done(Actor::System, TakeOffice { member: 1, term: 9 });
    story.done(Actor::System, claim_epoch(3, 2));
    assert_eq!(story.query().member(1).unwrap().state, MemberState::Superseded, "lost again");
}

#[test]
fn whose_name_was_taken_meanwhile_does_not_come_back() {
    let mut story = two_regions();
    story.done(Actor::System, claim_epoch(2, 2));
    story.done(Actor::System, CreateToken { ..create_token(9) });
    let admit = AdmitMember { region: name("north"), ..admit(9, "north-1", MemberRole::Learner) };
    story.done(Actor::Token, admit);
    story.done(Actor::System, back(2, false));
    assert_eq!(story.query().member(1).unwrap().state, MemberState::Superseded);
    assert_eq!(story.query().member_named(&name("north-1")).unwrap().id, 5);
}

#[test]
fn a_region_that_is_forgotten_is_waited_for_no_more() {
    let mut story = two_regions();
    story.done(Actor::System, claim_epoch(2, 2));
    story.refused(Actor::Agent(agent(1)), forget(2), Code::AuthDenied);
    story.refused(Actor::System, forget(3), Code::EpochSuperseded);
    let south = ForgetRegion { region: name("south"), ..forget(2) };
    story.refused(Actor::System, south, Code::ResourceConflict);
    story.done(Actor::System, forget(2));
    assert_eq!(story.query().member(1).unwrap().state, MemberState::Removed);
    let epoch = story.query().epoch().unwrap().unwrap();
    assert_eq!((epoch.regions, epoch.suspended), (vec![name("south")], vec![]));
    assert_eq!(story.query().vault(&ids::vault()).unwrap().required, [name("far")]);
    story.refused(Actor::System, forget(2), Code::RegionMissing);
    story.refused(Actor::System, back(2, false), Code::RegionMissing);
}

#[test]
fn findings_are_kept_in_order_until_they_are_replaced_or_settled() {
    let mut story = two_regions();
    let note = |findings: &[FindingRow]| NoteFindings {
        region: name("north"),
        findings: findings.to_vec(),
    };
    let all = note_findings().findings;
    let (first, rest) = all.split_at(1);
    story.refused(Actor::Agent(agent(1)), note(first), Code::AuthDenied);
    story.refused(Actor::System, note(rest), Code::LimitExceeded);
    let gap = [first, &all[2..]].concat();
    story.refused(Actor::System, note(&gap), Code::LimitExceeded);
    let other = FindingRow { region: name("south"), ..first[0].clone() };
    story.refused(Actor::System, note(&[other]), Code::LimitExceeded);
    assert_eq!(story.done(Actor::System, note(&[])), Outcome::Unchanged);
    story.done(Actor::System, note(first));
    story.done(Actor::System, note(rest));
    assert_eq!(story.query().findings(Some(&name("north"))).unwrap(), all);
    assert_eq!(story.query().findings(Some(&name("nor"))).unwrap(), []);
    story.done(Actor::System, note(first));
    assert_eq!(story.query().findings(None).unwrap(), first, "what was before is replaced");
    story.done(Actor::System, note(&[]));
    assert_eq!(story.query().findings(None).unwrap(), []);
}
