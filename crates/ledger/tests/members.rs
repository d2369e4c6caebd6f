//! What the ledger promises about its coordinators: who may join, what they should be, who goes.

mod story;

use holdfast_common::{Code, limits, record};
use holdfast_ledger::{
    Actor, Command, LEVEL, Outcome,
    command::{
        AdmitMember, BeginSession, CreateToken, InitCluster, MoveMember, PlaceMember, RemoveMember,
        RevokeAgent, TakeOffice,
    },
    row::{Duty, MemberRole, MemberRow, MemberState, TokenKind, TokenRow},
};
use proptest::prelude::*;
use std::time::Duration;
use story::{
    Story, agent, ids,
    members::{admit, create_token, founder, founding, raise, see},
    name,
};

const LEARNER: MemberRole = MemberRole::Learner;
const VOTER: MemberRole = MemberRole::Voter;

fn operator() -> Actor {
    Actor::Operator(name("admin"))
}

#[test]
fn the_founder_is_the_first_member_and_joined_when_the_cluster_began() {
    let story = Story::founded();
    let joined = story.now();
    assert_eq!(story.query().members().unwrap(), [MemberRow { joined, ..founder() }]);
}

#[test]
fn a_cluster_is_founded_by_its_first_voter_or_not_at_all() {
    let mut odd: Vec<MemberRow> = vec![founder(); 5];
    odd[0].id = 2;
    odd[1].id = 0;
    odd[2].role = LEARNER;
    odd[3].state = MemberState::Removed;
    odd[4].address = "nowhere".into();
    for member in odd {
        let mut story = Story::of_nothing();
        let init = InitCluster { member: Some(member), ..founding() };
        story.refused(Actor::System, init, Code::ResourceMalformed);
        assert!(story.query().cluster().is_err(), "and nothing of it stays");
        assert!(story.query().members().unwrap().is_empty());
    }
}

#[test]
fn a_ledger_without_a_founder_admits_nobody() {
    let mut story = Story::of_nothing();
    story.done(Actor::System, story::init());
    story.done(operator(), create_token(1));
    let admit = admit(1, "south-1", VOTER);
    story.refused(Actor::Token, admit, Code::ResourceConflict);
    story.refused(Actor::System, TakeOffice { member: 1, term: 1 }, Code::MemberMissing);
}

#[test]
fn a_coordinator_token_admits_one_member_under_the_next_id() {
    let mut story = Story::founded();
    story.pass(Duration::from_secs(5));
    assert_eq!(story.join(1, LEARNER), 2);
    let expected = MemberRow {
        id: 2,
        name: name("south-1"),
        region: name("south"),
        address: "south-1.example:7443".into(),
        duty: Duty::Data,
        role: LEARNER,
        state: MemberState::Joined,
        joined: story.now(),
        identity_public: [9; 32],
        keeps_key: None,
    };
    assert_eq!(story.query().member(2).unwrap(), expected);
    assert_eq!(story.query().member_named(&name("south-1")).unwrap(), expected);
    let token: TokenRow = story.query().row(&story::members::token_hash(1)).unwrap().unwrap();
    assert_eq!((token.used_by, token.used_by_member), (None, Some(2)));
    story.refused(Actor::Token, admit(1, "south-2", LEARNER), Code::TokenUsed);
    assert_eq!(story.query().members().unwrap().len(), 2);
    assert_eq!(story.join(2, VOTER), 3);
}

#[test]
fn an_admission_that_is_proposed_twice_gives_one_id() {
    let mut story = Story::founded();
    story.done(operator(), create_token(1));
    let command: Command = admit(1, "south-1", VOTER).into();
    let first = story.apply_as([5; 16], Actor::Token, command.clone());
    let second = story.apply_as([5; 16], Actor::Token, command);
    assert_eq!(first.clone().into_result().unwrap(), Outcome::Number(2));
    assert_eq!(first, second);
    assert_eq!(story.query().members().unwrap().len(), 2);
}

#[test]
fn a_token_opens_the_door_that_it_was_made_for_and_no_other() {
    let mut story = Story::founded();
    story.done(operator(), story::create_token([1; 32]));
    story.done(operator(), create_token(1));
    let with_agent_token = AdmitMember { token_hash: [1; 32], ..admit(1, "south-1", VOTER) };
    story.refused(Actor::Token, with_agent_token, Code::TokenRefused);
    let hash = story::members::token_hash(1);
    story.refused(Actor::Token, story::enrol(hash, agent(1), "host-1"), Code::TokenRefused);
    // Neither was spent by that.
    story.done(Actor::Token, admit(1, "south-1", VOTER));
    story.done(Actor::Token, story::enrol([1; 32], agent(1), "host-1"));
}

#[test]
fn a_token_of_the_other_kind_is_told_where_it_belongs() {
    let mut story = Story::founded();
    story.done(operator(), story::create_token([1; 32]));
    story.done(operator(), create_token(1));
    let with_agent_token = AdmitMember { token_hash: [1; 32], ..admit(1, "south-1", VOTER) };
    let next = |story: &mut Story, key, command: Command| {
        let reply = story.apply_as([key; 16], Actor::Token, command);
        reply.into_result().unwrap_err().next.unwrap()
    };
    let said = next(&mut story, 1, with_agent_token.into());
    assert!(said.contains("`holdfast cluster token`"), "{said}");
    let hash = story::members::token_hash(1);
    let said = next(&mut story, 2, story::enrol(hash, agent(1), "host-1").into());
    assert!(said.contains("`holdfast agent token`"), "{said}");
}

#[test]
fn a_token_that_is_unknown_expired_or_called_used_admits_nobody() {
    let mut story = Story::founded();
    story.refused(Actor::Token, admit(1, "south-1", VOTER), Code::TokenRefused);
    let mut create = create_token(1);
    create.token.expires = story.now();
    story.done(operator(), create);
    story.pass(Duration::from_secs(1));
    story.refused(Actor::Token, admit(1, "south-1", VOTER), Code::TokenExpired);
    assert_eq!(story.query().members().unwrap().len(), 1);
    // Nobody makes a token that says of itself that it was used.
    let CreateToken { token } = create_token(2);
    story.done(operator(), CreateToken { token: TokenRow { used_by_member: Some(1), ..token } });
    story.done(Actor::Token, admit(2, "south-1", VOTER));
}

#[test]
fn a_token_from_before_there_were_kinds_is_an_agents() {
    let old = story::unhex(
        "a3005820060606060606060606060606060606060606060606060606060606060606060601a0021b18fae5\
         bcc46ca000",
    );
    let token: TokenRow = record::from_bytes("token", &old).unwrap();
    assert_eq!((token.kind(), token.used_by_member), (TokenKind::Agent, None));
    assert_eq!(record::to_bytes(&token), old);
}

#[test]
fn a_live_name_is_taken_and_a_removed_members_name_is_free_under_a_new_id() {
    let mut story = Story::founded();
    assert_eq!(story.join(1, LEARNER), 2);
    story.done(operator(), create_token(2));
    story.refused(Actor::Token, admit(2, "south-1", LEARNER), Code::ResourceConflict);
    story.refused(Actor::Token, admit(2, "north-1", LEARNER), Code::ResourceConflict);
    story.done(operator(), RemoveMember { member: 2 });
    let missing = story.query().member_named(&name("south-1")).unwrap_err();
    assert_eq!(missing.code, Code::MemberMissing);
    let again = story.done(Actor::Token, admit(2, "south-1", LEARNER));
    assert_eq!(again, Outcome::Number(3), "an id is never given again");
    assert_eq!(story.query().member(2).unwrap().state, MemberState::Removed);
    assert_eq!(story.query().member_named(&name("south-1")).unwrap().id, 3);
}

#[test]
fn only_an_address_is_an_address() {
    let mut story = Story::with_voters(1);
    story.done(operator(), create_token(2));
    for bad in ["", "south-2", "south-2:", ":7443", "south-2:99999", "south 2:1"] {
        let address = bad.to_owned();
        let admit = AdmitMember { address: address.clone(), ..admit(2, "south-2", VOTER) };
        story.refused(Actor::Token, admit, Code::ResourceMalformed);
        let moved = MoveMember { member: 2, address };
        story.refused(Actor::System, moved, Code::ResourceMalformed);
    }
    story.done(Actor::Token, admit(2, "south-2", VOTER));
}

#[test]
fn a_cluster_has_so_many_members_and_no_more_until_one_goes() {
    let mut story = Story::founded();
    let last = limits::MEMBERS_MAX as u8;
    for number in 1..last {
        story.join(number, LEARNER);
    }
    story.done(operator(), create_token(last));
    let one_more = admit(last, "one-more", LEARNER);
    story.refused(Actor::Token, one_more.clone(), Code::LimitExceeded);
    story.done(operator(), RemoveMember { member: 2 });
    story.done(Actor::Token, one_more);
}

#[test]
fn members_are_promoted_and_demoted_once() {
    let mut story = Story::founded();
    let member = story.join(1, LEARNER);
    let place = |role| PlaceMember { member, role };
    assert_eq!(story.done(operator(), place(LEARNER)), Outcome::Unchanged);
    assert_eq!(story.done(operator(), place(VOTER)), Outcome::Done);
    assert_eq!(story.done(Actor::System, place(VOTER)), Outcome::Unchanged);
    assert!(story.query().member(member).unwrap().is_voter());
    assert_eq!(story.done(Actor::System, place(LEARNER)), Outcome::Done);
    assert!(!story.query().member(member).unwrap().is_voter());
}

#[test]
fn the_last_voter_is_neither_demoted_nor_removed() {
    let mut story = Story::founded();
    let learner = story.join(1, LEARNER);
    let demote = PlaceMember { member: 1, role: LEARNER };
    story.refused(operator(), demote.clone(), Code::ClusterLastVoter);
    story.refused(operator(), RemoveMember { member: 1 }, Code::ClusterLastVoter);
    // A voter that was removed does not count.
    let gone = story.join(2, VOTER);
    story.done(operator(), RemoveMember { member: gone });
    story.refused(operator(), demote.clone(), Code::ClusterLastVoter);
    let removal: Command = RemoveMember { member: 1 }.into();
    let refusal = story.apply_as([7; 16], operator(), removal).into_result().unwrap_err();
    assert!(refusal.next.unwrap().contains("promote"), "and it says what to do");
    story.done(operator(), PlaceMember { member: learner, role: VOTER });
    story.done(operator(), demote);
    story.refused(operator(), RemoveMember { member: learner }, Code::ClusterLastVoter);
    story.done(operator(), RemoveMember { member: 1 });
}

#[test]
fn a_learner_may_always_go() {
    let mut story = Story::founded();
    let learner = story.join(1, LEARNER);
    assert_eq!(story.done(operator(), RemoveMember { member: learner }), Outcome::Done);
}

#[test]
fn a_member_moves_to_another_address_once() {
    let mut story = Story::with_voters(1);
    let elsewhere = MoveMember { member: 2, address: "[2001:db8::2]:7443".into() };
    assert_eq!(story.done(Actor::System, elsewhere.clone()), Outcome::Done);
    assert_eq!(story.done(Actor::System, elsewhere.clone()), Outcome::Unchanged);
    assert_eq!(story.query().member(2).unwrap().address, elsewhere.address);
}

#[test]
fn a_removed_member_stays_removed() {
    let mut story = Story::with_voters(1);
    let member = 2;
    assert_eq!(story.done(operator(), RemoveMember { member }), Outcome::Done);
    assert_eq!(story.done(operator(), RemoveMember { member }), Outcome::Unchanged);
    let place = PlaceMember { member, role: LEARNER };
    story.refused(operator(), place, Code::MemberRemoved);
    let moved = MoveMember { member, address: "south-1.example:1".into() };
    story.refused(Actor::System, moved, Code::MemberRemoved);
    story.refused(Actor::System, see(member, &[agent(1)], &[]), Code::MemberRemoved);
    // Removed is what is wanted: until it is gone it may be elected once more.
    story.done(Actor::System, TakeOffice { member, term: 3 });
}

#[test]
fn what_was_never_a_member_is_refused_everywhere() {
    let mut story = Story::with_voters(1);
    for member in [0, 3, u64::MAX] {
        let place = PlaceMember { member, role: VOTER };
        story.refused(operator(), place, Code::MemberMissing);
        let moved = MoveMember { member, address: "south-1.example:1".into() };
        story.refused(Actor::System, moved, Code::MemberMissing);
        story.refused(operator(), RemoveMember { member }, Code::MemberMissing);
        story.refused(Actor::System, TakeOffice { member, term: 9 }, Code::MemberMissing);
        story.refused(Actor::System, see(member, &[agent(1)], &[]), Code::MemberMissing);
    }
    assert_eq!(story.query().office().unwrap(), None);
    assert_eq!(story.query().seat(&agent(1)).unwrap(), None);
}

#[test]
fn agents_and_strangers_decide_nothing_about_members() {
    let mut story = Story::with_voters(1);
    story.done(operator(), create_token(2));
    let member = 2;
    for outsider in [Actor::Agent(agent(1)), Actor::Token] {
        let place = PlaceMember { member, role: LEARNER };
        story.refused(outsider.clone(), place, Code::AuthDenied);
        story.refused(outsider, RemoveMember { member }, Code::AuthDenied);
    }
    for outsider in [Actor::Agent(agent(1)), Actor::Token, operator()] {
        let moved = MoveMember { member, address: "south-1.example:1".into() };
        story.refused(outsider.clone(), moved, Code::AuthDenied);
        let office = TakeOffice { member, term: 1 };
        story.refused(outsider.clone(), office, Code::AuthDenied);
        story.refused(outsider, see(member, &[agent(1)], &[]), Code::AuthDenied);
    }
    for other in [Actor::Agent(agent(1)), Actor::System, operator()] {
        story.refused(other, admit(2, "south-2", VOTER), Code::AuthDenied);
    }
}

#[test]
fn what_was_done_to_members_is_in_the_audit_log() {
    let mut story = Story::with_voters(1);
    story.done(operator(), PlaceMember { member: 2, role: LEARNER });
    story.done(Actor::System, TakeOffice { member: 1, term: 6 });
    story.done(operator(), RemoveMember { member: 2 });
    let rows = story.query().audit(0, 1000).unwrap();
    let said: Vec<_> = rows.iter().rev().take(4).map(|r| (&*r.action, &*r.subject)).collect();
    let expected = [
        ("member.remove", "2"),
        ("office.take", "1 in term 6"),
        ("member.place", "2 as learner"),
        ("member.admit", "south-1 as voter"),
    ];
    assert_eq!(said, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The story checks what always holds of members, after each of these commands.
    #[test]
    fn whatever_is_said_about_members_the_cluster_stays_in_order(
        script in proptest::collection::vec((0u8..12, 1u8..7, 1u8..6), 1..80),
    ) {
        let mut story = Story::with_agents(3);
        for number in 1..7 {
            story.done(Actor::System, create_token(number));
        }
        for (at, (what, who, number)) in script.into_iter().enumerate() {
            let (actor, command) = match what {
                10 => (Actor::System, RevokeAgent { agent: agent(who) }.into()),
                11 => {
                    let (session, run) = (ids::session(number), ids::run(number));
                    let begin = BeginSession { session, run, point: ids::point(number) };
                    (Actor::Agent(agent(who)), begin.into())
                }
                _ => story::members::act(what, who, number),
            };
            let key = (1u128 << 64 | at as u128).to_be_bytes();
            story.apply_as(key, actor, command);
        }
    }
}

#[test]
fn a_witness_says_where_it_is_and_nothing_else() {
    for (name, command) in story::samples() {
        for member in 1..=3 {
            let is_own = matches!(&command, Command::MoveMember(moved) if moved.member == member);
            assert_eq!(command.is_for_witness_to_say(member), is_own, "{name} of {member}");
        }
    }
}

#[test]
fn a_number_is_of_the_key_that_joined_under_it_where_keys_are_kept() {
    let mut story = Story::founded();
    story.join(1, VOTER);
    let before = story.query().member(2).unwrap();
    assert!(before.may_have(&[9; 32]) && before.may_have(&[8; 32]), "it makes new ones");
    let witness = MemberRow { duty: Duty::Witness, ..before };
    assert!(witness.may_have(&[9; 32]) && !witness.may_have(&[8; 32]));
    story.done(Actor::System, raise(LEVEL, &[1, 2]));
    story.done(Actor::System, create_token(2));
    let admit = AdmitMember { level_max: Some(LEVEL), ..admit(2, "south-2", VOTER) };
    story.done(Actor::Token, admit);
    let kept = story.query().member(3).unwrap();
    assert!(kept.may_have(&[9; 32]) && !kept.may_have(&[8; 32]));
}
