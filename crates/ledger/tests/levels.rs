//! What the ledger promises about feature levels: nobody meets a command that he does not know and
//! takes it for another, and nobody comes in who does not know what the ledger may hold.

mod story;

use holdfast_common::{Code, Error, record};
use holdfast_ledger::{
    Actor, Command, Envelope, LEVEL,
    command::{AdmitMember, CertifyMember, Note, NoteKind, PlaceMember, RemoveMember},
    level::{COLLECTED, COPIES, KEYS, LEVEL_FIRST, OPERATORS, RETENTION, SEALED, TAKEN, VERIFIERS},
    row::{Duty, MemberRole, MemberRow},
};
use story::{
    Story,
    members::{admit, admit_witness, create_token, create_witness_token, raise},
    name,
};

const VOTER: MemberRole = MemberRole::Voter;

fn read(command: impl Into<Command>, known: u32) -> Result<Envelope, Error> {
    let time = holdfast_common::Timestamp::from_nanos(1);
    let envelope = story::envelope([1; 16], Actor::System, time, command.into());
    Envelope::read(&record::to_bytes(&envelope), known)
}

#[test]
fn the_level_of_every_command_is_known_and_what_was_there_first_is_of_the_first() {
    // Old numbers, and in them what old members would not understand.
    let newer = [
        "create_witness_token",
        "admit_witness",
        "store_placed_packs",
        "commit_based_point",
        "import_compared_point",
        "intend_sealed_packs",
        "commit_with_open_keys",
        "import_with_open_keys",
        "export_bundle_read",
    ];
    let of_retention: Vec<_> = story::retaining::samples().iter().map(|(name, _)| *name).collect();
    for (name, command) in story::samples() {
        let is_first = command.number() <= 33 && !newer.contains(&name);
        let expected = match name {
            "create_verifier_token" | "see_verifiers" | "start_verify" => VERIFIERS,
            "forget_beside_copies" | "export_bundle_read" => LEVEL,
            "end_verify" | "end_verify_of_damage" => VERIFIERS,
            "disable_location" | "enable_location" | "replace_location" => 4,
            "put_vault_locking" | "note_locks" | "put_vault_checked" | "note_check" => RETENTION,
            "change_kek" | "put_vault_under_a_kek" | "rotate_keys" => KEYS,
            "commit_based_point" | "import_compared_point" => COLLECTED,
            "intend_sealed_packs" | "commit_with_open_keys" | "import_with_open_keys" => SEALED,
            "note_sealed" | "close_keys" => SEALED,
            _ if [76..=83, 85..=86].iter().any(|of| of.contains(&command.number())) => COLLECTED,
            "claim_epoch_taking" => TAKEN,
            _ if (100..=119).contains(&command.number()) => OPERATORS,
            _ if command.number() >= 120 => LEVEL,
            name if of_retention.contains(&name) => RETENTION,
            "put_vault_beside" | "commit_placed" | "place_opened" | "replace_gone" => COPIES,
            "note_copies" | "note_of_a_trial" | "pass_over" | "rebuild_location" => COPIES,
            "take_back" => COPIES,
            "end_run_in_silence" | "note_findings" => 3,
            _ if is_first => LEVEL_FIRST,
            _ => 2,
        };
        assert_eq!(command.level(), expected, "{name}");
    }
    for number in Command::NUMBERS {
        let has_sample = story::samples().iter().any(|(_, sample)| sample.number() == *number);
        assert!(has_sample, "the bytes of command {number} are frozen");
    }
}

#[test]
fn what_a_member_does_not_know_is_an_error_and_nothing_else() {
    for (name, command) in story::samples() {
        let level = command.level();
        for known in LEVEL_FIRST..=LEVEL {
            match read(command.clone(), known) {
                Ok(envelope) => assert!(level <= known && envelope.command == command, "{name}"),
                Err(error) => {
                    assert!(level > known, "{name}");
                    assert_eq!(error.code, Code::LevelUnknown, "{name}");
                }
            }
        }
    }
    assert_eq!(read(raise(LEVEL + 1, &[1]), LEVEL).unwrap_err().code, Code::LevelUnknown);
}

#[test]
fn a_member_that_knows_of_copies_and_of_no_retention_takes_nothing_of_it() {
    for (name, command) in story::retaining::samples() {
        let error = read(command, COPIES).unwrap_err();
        assert_eq!(error.code, Code::LevelUnknown, "{name}");
    }
}

#[test]
fn a_command_of_a_number_to_come_is_told_from_a_damaged_one() {
    let note = Note { kind: NoteKind::BundleExported, subject: "all".into() };
    let time = holdfast_common::Timestamp::from_nanos(1);
    let envelope = story::envelope([1; 16], Actor::System, time, note.into());
    let bytes = record::to_bytes(&envelope);
    // Array of two, number 21, its fields.
    let at = bytes.windows(2).rposition(|pair| pair == [0x82, 21]).unwrap();
    let mut newer = bytes.clone();
    newer.splice(at + 1..=at + 1, [0x19, 0x03, 0xe7]);
    let error = Envelope::read(&newer, LEVEL).unwrap_err();
    assert_eq!(error.code, Code::LevelUnknown);
    assert!(error.message.contains("999"), "{error}");
    let damaged = Envelope::read(&bytes[..bytes.len() - 1], LEVEL).unwrap_err();
    assert_eq!(damaged.code, Code::RecordMalformed);
}

#[test]
fn the_level_goes_up_when_every_member_was_asked_and_never_down() {
    let mut story = Story::with_voters(2);
    assert_eq!(story.query().level().unwrap(), LEVEL_FIRST);
    story.refused(Actor::System, raise(2, &[1, 2]), Code::ResourceConflict);
    story.refused(Actor::Operator(name("admin")), raise(2, &[1, 2, 3]), Code::AuthDenied);
    assert_eq!(story.query().level().unwrap(), LEVEL_FIRST);
    story.done(Actor::System, RemoveMember { member: 3 });
    story.done(Actor::System, raise(2, &[1, 2]));
    assert_eq!(story.query().level().unwrap(), 2);
    story.done(Actor::System, raise(1, &[1, 2]));
    assert_eq!(story.query().level().unwrap(), 2);
}

#[test]
fn who_knows_less_than_the_ledger_may_hold_is_not_admitted() {
    let mut story = Story::founded();
    story.join(1, VOTER);
    story.done(Actor::System, raise(2, &[1, 2]));
    story.done(Actor::System, create_token(2));
    for level_max in [None, Some(1)] {
        let admit = AdmitMember { level_max, ..admit(2, "south-2", VOTER) };
        story.refused(Actor::Token, admit, Code::LevelUnknown);
    }
    let admit = AdmitMember { level_max: Some(2), ..admit(2, "south-2", VOTER) };
    story.done(Actor::Token, admit);
}

#[test]
fn a_token_for_a_witness_admits_nobody_with_data() {
    let mut story = Story::founded();
    story.done(Actor::System, create_witness_token(1));
    story.refused(Actor::Token, admit(1, "west-1", VOTER), Code::TokenRefused);
    story.refused(
        Actor::Token,
        story::enrol(story::members::token_hash(1), story::agent(1), "host"),
        Code::TokenRefused,
    );
    story.done(Actor::Token, admit_witness(1, "west-1"));
    assert_eq!(story.query().member(2).unwrap().duty, Duty::Witness);
    // Nor is a witness admitted by a token that old members know: they would take it for more.
    story.done(Actor::System, create_token(2));
    story.refused(Actor::Token, admit_witness(2, "west-2"), Code::TokenRefused);
    story.done(Actor::System, story::create_token([1; 32]));
    let with_agent_token = AdmitMember { token_hash: [1; 32], ..admit_witness(3, "west-3") };
    story.refused(Actor::Token, with_agent_token, Code::TokenRefused);
}

#[test]
fn witnesses_alone_do_not_vote() {
    let mut story = Story::founded();
    for number in 1..=2 {
        story.done(Actor::System, create_witness_token(number));
        story.done(Actor::Token, admit_witness(number, &format!("west-{number}")));
    }
    let demote = |member| PlaceMember { member, role: MemberRole::Learner };
    story.refused(Actor::System, demote(1), Code::ClusterLastVoter);
    story.refused(Actor::System, RemoveMember { member: 1 }, Code::ClusterLastVoter);
    // A witness goes as others do.
    story.done(Actor::System, demote(2));
    story.done(Actor::System, RemoveMember { member: 3 });
    story.join(4, VOTER);
    story.done(Actor::System, demote(1));
    let wanted: Vec<_> = story.query().members().unwrap();
    assert!(wanted.iter().any(MemberRow::is_data_voter));
}

#[test]
fn only_a_witness_that_is_a_member_is_certified_by_others() {
    let mut story = Story::founded();
    story.done(Actor::System, create_witness_token(1));
    story.done(Actor::Token, admit_witness(1, "west-1"));
    let not_after = story.now();
    let certify = |member| CertifyMember { member, serial: 7, not_after };
    story.done(Actor::System, certify(2));
    story.refused(Actor::System, certify(1), Code::AuthDenied);
    story.refused(Actor::Operator(name("admin")), certify(2), Code::AuthDenied);
    story.done(Actor::System, RemoveMember { member: 2 });
    story.refused(Actor::System, certify(2), Code::MemberRemoved);
}
