//! The coordinators of a story: how they come, change and go, and what always holds of them.

use super::{Story, agent, end_silent, ensure, init, name};
use holdfast_common::{AgentId, PointId, Timestamp};
use holdfast_ledger::{Actor, Command, Query, command::*, row::*};
use proptest::test_runner::TestCaseError;
use std::{collections::BTreeSet, time::Duration};

/// Tokens of coordinators lie beside those of agents.
pub(crate) fn token_hash(number: u8) -> [u8; 32] {
    [100 + number; 32]
}

pub(crate) fn create_token(number: u8) -> CreateToken {
    let mut create = super::create_token(token_hash(number));
    create.token.kind = Some(TokenKind::Coordinator);
    create.token.expires = create.token.expires.plus(Duration::from_secs(30 * 24 * 3600));
    create
}

pub(crate) fn founder() -> MemberRow {
    MemberRow {
        id: 1,
        name: name("north-1"),
        region: name("north"),
        address: "north-1.example:7443".into(),
        duty: Duty::Data,
        role: MemberRole::Voter,
        state: MemberState::Joined,
        joined: Timestamp::from_nanos(4),
        identity_public: [7; 32],
        keeps_key: None,
    }
}

pub(crate) fn founding() -> InitCluster {
    InitCluster { member: Some(founder()), ..init() }
}

pub(crate) fn admit(token: u8, called: &str, role: MemberRole) -> AdmitMember {
    AdmitMember {
        token_hash: token_hash(token),
        name: name(called),
        region: name("south"),
        address: format!("{called}.example:7443"),
        duty: Duty::Data,
        role,
        identity_public: [9; 32],
        level_max: None,
    }
}

/// Admits a witness by a token that was made for one.
pub(crate) fn admit_witness(token: u8, called: &str) -> AdmitMember {
    AdmitMember { duty: Duty::Witness, ..admit(token, called, MemberRole::Voter) }
}

pub(crate) fn create_witness_token(number: u8) -> CreateToken {
    let mut create = create_token(number);
    create.token.kind = Some(TokenKind::Witness);
    create
}

pub(crate) fn raise(level: u32, members: &[u64]) -> RaiseLevel {
    RaiseLevel { level, members: members.to_vec() }
}

/// The region `south`, by its member `member`.
pub(crate) fn claim_epoch(epoch: u64, member: u64) -> ClaimEpoch {
    ClaimEpoch {
        epoch,
        regions: vec![name("south")],
        member,
        base: 9,
        operator: "admin".to_owned(),
        reason: Some("north burnt down".to_owned()),
        taken: None,
    }
}

/// The same, with `far` in place of what the vault requires.
pub(crate) fn claim_taking(epoch: u64, member: u64) -> ClaimEpoch {
    let taken = Taken { vault: super::ids::vault(), location: name("far") };
    ClaimEpoch { taken: Some(vec![taken]), ..claim_epoch(epoch, member) }
}

/// What `far` lacks since the entry that opened its row.
pub(crate) fn note_absent(opened: u64, packs: &[u8], is_all: bool) -> NoteAbsent {
    let packs = packs.iter().map(|number| super::ids::pack(*number)).collect();
    NoteAbsent { vault: super::ids::vault(), location: name("far"), opened, packs, is_all }
}

/// What came with taking locations that follow.
pub(super) fn samples_of_taking() -> Vec<(&'static str, Command)> {
    vec![
        ("claim_epoch_taking", claim_taking(2, 2).into()),
        ("note_absent", note_absent(7, &[1, 2], true).into()),
    ]
}

/// The region `north` comes back into an epoch, or is whole again.
pub(crate) fn back(epoch: u64, filled: bool) -> ReturnRegion {
    ReturnRegion { epoch, region: name("north"), filled }
}

/// One of each kind.
pub(crate) fn note_findings() -> NoteFindings {
    let asked = finding::Asked {
        epoch: 2,
        asked: vec![name("north-1")],
        silent: vec![name("north-2")],
        entries: 7,
        unread_from: Some(3),
        unread_to: Some(4),
        unasked: Some("it burnt down".to_owned()),
        untold: 5,
    };
    let point = PointId::from_bytes([6; 16]);
    let left = finding::LeftFinding { point, why: "a pack of it is missing".to_owned() };
    let location = LocationRow {
        name: name("main"),
        url: "local:/srv/main".to_owned(),
        region: name("north"),
        revision: 3,
        disabled: None,
    };
    let decision = finding::Decision {
        index: 17,
        time: Timestamp::from_nanos(5),
        actor: Actor::Operator(name("admin")),
        action: "location.put".to_owned(),
        subject: "main".to_owned(),
        theirs: Some(finding::Theirs::Location(location)),
    };
    let found = [
        Finding::Asked(asked),
        Finding::Imported(point),
        Finding::Left(left),
        Finding::Decision(Box::new(decision)),
    ];
    let row = |(number, finding)| FindingRow { region: name("north"), number, finding };
    NoteFindings { region: name("north"), findings: (0..).zip(found).map(row).collect() }
}

pub(crate) fn forget(epoch: u64) -> ForgetRegion {
    ForgetRegion { epoch, region: name("north"), reason: Some("it was sold".to_owned()) }
}

pub(crate) fn see(member: u64, attached: &[AgentId], left: &[AgentId]) -> SeeAgents {
    SeeAgents { member, attached: attached.to_vec(), left: left.to_vec(), verifiers: None }
}

impl Story {
    /// A cluster of the founder and as many voters more, with one agent.
    pub(crate) fn with_voters(count: u8) -> Self {
        let mut story = Self::with_agents(1);
        for number in 1..=count {
            story.join(number, MemberRole::Voter);
        }
        story
    }

    /// Lets `south-number` join, and says its id.
    #[track_caller]
    pub(crate) fn join(&mut self, number: u8, role: MemberRole) -> u64 {
        self.done(Actor::System, create_token(number));
        let called = format!("south-{number}");
        let outcome = self.done(Actor::Token, admit(number, &called, role));
        let id = self.query().member_named(&name(&called)).unwrap().id;
        assert_eq!(outcome, Outcome::Number(id));
        id
    }
}

/// A step of a random story: `what` from 0 to 9. Names and members are few, so that they meet.
pub(crate) fn act(what: u8, who: u8, number: u8) -> (Actor, Command) {
    let member = u64::from(number);
    let role = if who.is_multiple_of(2) { MemberRole::Voter } else { MemberRole::Learner };
    let duty = if number.is_multiple_of(3) { Duty::Witness } else { Duty::Data };
    let command: Command = match what {
        0 => create_token(who).into(),
        1 | 2 => {
            let admit = admit(who, &format!("south-{number}"), role);
            return (Actor::Token, AdmitMember { duty, ..admit }.into());
        }
        3 | 4 => PlaceMember { member, role }.into(),
        5 => MoveMember { member, address: format!("moved-{who}:1") }.into(),
        6 => RemoveMember { member }.into(),
        7 if who == 1 => claim_epoch(1 + u64::from(number), member).into(),
        7 if who == 2 => back(1 + u64::from(number), number.is_multiple_of(2)).into(),
        7 if who == 3 => forget(1 + u64::from(number)).into(),
        7 => TakeOffice { member, term: u64::from(who) }.into(),
        8 => see(member, &[agent(who), agent(number)], &[]).into(),
        _ => see(member, &[], &[agent(who)]).into(),
    };
    (Actor::System, command)
}

/// What holds after every command, whatever was said.
pub(crate) fn check_invariants(query: &Query<'_>) -> Result<(), TestCaseError> {
    let members = query.members().unwrap();
    for (row, id) in members.iter().zip(1u64..) {
        ensure(row.id == id, "ids are given once, one after the other, and their rows stay")?;
    }
    let live: Vec<_> = members.iter().filter(|row| row.is_live()).collect();
    let names: BTreeSet<_> = live.iter().map(|row| &row.name).collect();
    ensure(names.len() == live.len(), "no two live members have one name")?;
    for row in &live {
        let named = query.member_named(&row.name).unwrap();
        ensure(named == **row, "a live member is found by its name")?;
    }
    for row in members.iter().filter(|row| !row.is_live()) {
        let is_free = query.member_named(&row.name).is_err();
        ensure(is_free || names.contains(&row.name), "a removed one is not")?;
    }
    let voters = live.iter().filter(|row| row.is_voter()).count();
    ensure(members.is_empty() || voters > 0, "somebody is wanted as a voter")?;
    let with_data = live.iter().filter(|row| row.is_data_voter()).count();
    ensure(members.is_empty() || with_data > 0, "and one of them holds data")?;
    let epochs = query.rows::<EpochRow>(&[], None, 1000).unwrap();
    let newest = query.epoch().unwrap();
    ensure(epochs.first() == newest.as_ref(), "the newest epoch comes first")?;
    ensure(epochs.is_sorted_by(|a, b| a.number > b.number), "epochs only grow")?;
    if let Some(epoch) = newest {
        let claimer = query.member(epoch.member).unwrap();
        ensure(epoch.regions.contains(&claimer.region), "an epoch is of its claimer's region")?;
    }
    if let Some(office) = query.office().unwrap() {
        ensure(query.member(office.member).is_ok(), "a member has the office")?;
    }
    check_seats(query)
}

fn check_seats(query: &Query<'_>) -> Result<(), TestCaseError> {
    for agent in query.agents().unwrap() {
        let Some(seat) = query.seat(&agent.id).unwrap() else { continue };
        ensure(agent.state == AgentState::Enrolled, "who was revoked has no seat")?;
        let Some(member) = seat.member else { continue };
        ensure(query.member(member).unwrap().is_live(), "a seat is with a live member")?;
        let is_listed = query.seats_of(member).any(|row| row.unwrap() == seat);
        ensure(is_listed, "which lists it")?;
    }
    Ok(())
}

/// One of each command that is about members; some more than once.
pub(crate) fn samples() -> Vec<(&'static str, Command)> {
    let witness = admit_witness(2, "west-1");
    let level_max = Some(2);
    let knowing = AdmitMember { level_max, ..admit(1, "south-1", MemberRole::Candidate) };
    let certify = CertifyMember { member: 3, serial: 9, not_after: Timestamp::from_nanos(3) };
    let (member, role, address) = (2, MemberRole::Voter, "south-1.example:7444".to_owned());
    vec![
        ("init_cluster_with_member", founding().into()),
        ("create_coordinator_token", create_token(1).into()),
        ("admit_member", admit(1, "south-1", MemberRole::Learner).into()),
        ("admit_witness", witness.into()),
        ("place_member", PlaceMember { member, role }.into()),
        ("move_member", MoveMember { member, address }.into()),
        ("remove_member", RemoveMember { member }.into()),
        ("take_office", TakeOffice { member, term: 7 }.into()),
        ("see_agents", see(2, &[agent(1), agent(2)], &[agent(3)]).into()),
        ("create_witness_token", create_witness_token(2).into()),
        ("admit_member_that_knows_levels", knowing.into()),
        ("raise_level", raise(2, &[1, 2]).into()),
        ("certify_member", certify.into()),
        ("claim_epoch", claim_epoch(2, 2).into()),
        ("return_region", back(2, false).into()),
        ("forget_region", forget(2).into()),
        ("end_run_in_silence", end_silent(1).into()),
        ("note_findings", note_findings().into()),
    ]
}
