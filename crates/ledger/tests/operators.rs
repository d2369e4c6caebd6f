//! What the ledger promises about people: whoever is let in may act, whoever is shut out or has
//! run out may not, wherever it comes from, and somebody is always left who can let others in.

#![expect(clippy::unwrap_used, reason = "a story that cannot be told is a failed test")]

mod story;

use holdfast_common::{Code, limits};
use holdfast_ledger::{
    Actor, Outcome, Role, Table,
    command::{
        CancelRun, ClaimEpoch, CreateToken, IssueOperator, Note, NoteKind, RenewOperator,
        RevokeOperator,
    },
    level::OPERATORS,
    row::{OperatorRow, TokenRow},
};
use proptest::prelude::*;
use story::{
    Story, ids, name,
    operating::{DAY, by, issue, renew, revoke},
};

fn two() -> Story {
    let mut story = Story::run_by_people();
    story.done(by("admin"), issue("ben", 2, 90));
    story
}

fn token(number: u8) -> CreateToken {
    story::create_token([number; 32])
}

fn is_there(story: &Story, number: u8) -> bool {
    story.query().row::<TokenRow>(&[number; 32]).unwrap().is_some()
}

#[test]
fn an_operator_is_noted_with_who_let_him_in_and_when() {
    let story = two();
    let ben = story.person("ben");
    assert_eq!((ben.since, ben.issued_by), (Some(story.now()), Some(name("admin"))));
    assert_eq!((ben.serial, ben.public_key, ben.revoked), (2, Some([2; 32]), false));
    assert_eq!(story.person("admin").since, None, "nobody let the founder in");
}

#[test]
fn who_issues_is_an_operator_and_what_is_issued_is_sound() {
    let mut story = two();
    story.refused(Actor::Token, issue("eve", 3, 90), Code::AuthDenied);
    story.refused(Actor::Agent(story::agent(1)), issue("eve", 3, 90), Code::AuthDenied);
    story.refused(by("eve"), issue("eve", 3, 90), Code::AuthDenied);
    let wrong = [
        IssueOperator { role: Role::Agent, ..issue("eve", 3, 90) },
        IssueOperator { not_after: story.now(), ..issue("eve", 3, 90) },
        IssueOperator { not_after: story.now().minus(DAY), ..issue("eve", 3, 90) },
        IssueOperator { not_after: story.now().plus(92 * DAY), ..issue("eve", 3, 90) },
        IssueOperator { ttl_secs: 0, ..issue("eve", 3, 90) },
        issue("eve", 3, 366),
    ];
    for wrong in wrong {
        story.refused(by("admin"), wrong, Code::ResourceMalformed);
    }
}

#[test]
fn a_name_stands_for_one_person_and_a_key_too() {
    let mut story = two();
    story.refused(by("admin"), issue("ben", 3, 90), Code::ResourceConflict);
    story.refused(by("admin"), issue("admin", 3, 90), Code::ResourceConflict);
    story.refused(by("admin"), issue("eve", 2, 90), Code::ResourceConflict);
    let again = IssueOperator { serial: 99, ..issue("ben", 2, 90) };
    assert_eq!(story.done(by("admin"), again), Outcome::Unchanged);
    assert_eq!(story.person("ben").serial, 2, "said twice it was done once");
}

#[test]
fn who_was_shut_out_does_nothing_more_whatever_it_is() {
    let mut story = two();
    story.done(by("ben"), token(1));
    assert_eq!(story.done(by("admin"), revoke("ben")), Outcome::Done);
    assert_eq!(story.done(by("admin"), revoke("ben")), Outcome::Unchanged);
    let ben = story.person("ben");
    assert_eq!((ben.revoked_at, ben.revoked_by), (Some(story.now()), Some(name("admin"))));
    story.refused(by("ben"), token(2), Code::OperatorRevoked);
    story.refused(by("ben"), issue("eve", 3, 90), Code::OperatorRevoked);
    story.refused(by("ben"), revoke("admin"), Code::OperatorRevoked);
    story.refused(by("ben"), CancelRun { run: ids::run(1) }, Code::OperatorRevoked);
    let note = Note { kind: NoteKind::ClockConfirmed, subject: "now".into() };
    story.refused(by("ben"), note, Code::OperatorRevoked);
    let renewal = renew(&story, "ben", 2, (2, 9));
    story.refused(by("ben"), renewal.clone(), Code::OperatorRevoked);
    story.refused(Actor::System, renewal, Code::OperatorRevoked);
    let claim = ClaimEpoch {
        epoch: 2,
        regions: vec![name("north")],
        member: 1,
        base: 0,
        operator: "ben".into(),
        reason: None,
        taken: None,
    };
    story.refused(by("ben"), claim, Code::OperatorRevoked);
    story.refused(by("admin"), revoke("nobody"), Code::OperatorMissing);
}

#[test]
fn what_he_made_to_let_others_in_ends_with_him_unless_it_was_used() {
    let mut story = two();
    for number in [1, 2] {
        story.done(by("ben"), token(number));
    }
    story.done(by("admin"), token(3));
    story.done(Actor::Token, story::enrol([1; 32], story::agent(1), "host-1"));
    story.done(by("admin"), revoke("ben"));
    assert!(is_there(&story, 1), "a host that is enrolled stays");
    assert!(!is_there(&story, 2));
    assert!(is_there(&story, 3), "the tokens of others stay");
    let late = story::enrol([2; 32], story::agent(2), "host-2");
    story.refused(Actor::Token, late, Code::TokenRefused);
}

#[test]
fn the_last_one_who_can_let_others_in_is_not_shut_out() {
    let mut story = Story::run_by_people();
    story.refused(by("admin"), revoke("admin"), Code::OperatorLast);
    assert!(!story.person("admin").revoked);
    story.done(by("admin"), issue("ben", 2, 7));
    // He is about to run out; then he has, and helps nobody.
    story.refused(by("admin"), revoke("admin"), Code::OperatorLast);
    story.pass(8 * DAY);
    story.refused(by("admin"), revoke("admin"), Code::OperatorLast);
    let eve = IssueOperator { not_after: story.now().plus(14 * DAY), ..issue("eve", 3, 14) };
    story.done(by("admin"), eve);
    // Whoever came with the cluster is renewed by it.
    story.done(by("admin"), revoke("eve"));
    let mal = IssueOperator { not_after: story.now().plus(14 * DAY), ..issue("mal", 4, 14) };
    story.done(by("admin"), mal);
    story.done(by("admin"), revoke("admin"));
    story.refused(by("mal"), revoke("mal"), Code::OperatorLast);
    story.refused(by("admin"), revoke("mal"), Code::OperatorRevoked);
}

#[test]
fn a_founder_whom_no_coordinator_renews_is_not_the_one_who_stays() {
    let mut story = Story::run_by_people();
    let end = story.person("admin").not_after;
    story.pass(end.since(story.now()) - 13 * DAY);
    let ben = IssueOperator { not_after: story.now().plus(100 * DAY), ..issue("ben", 2, 100) };
    story.done(by("admin"), ben);
    story.refused(by("admin"), revoke("ben"), Code::OperatorLast);
    let not_after = story.now().plus(365 * DAY);
    let renewal = RenewOperator { not_after, ..renew(&story, "admin", 1, (1, 10)) };
    story.done(Actor::System, renewal);
    story.done(by("admin"), revoke("ben"));
}

#[test]
fn members_of_before_go_by_who_is_able_now() {
    let mut story = Story::run_by_people_at(OPERATORS);
    story.done(by("admin"), issue("ben", 2, 7));
    story.done(by("admin"), revoke("admin"));
    story.pass(8 * DAY);
    let renewal = renew(&story, "ben", 2, (2, 9));
    story.refused(Actor::System, renewal, Code::OperatorEnded);
}

#[test]
fn when_nobody_is_able_any_more_a_coordinator_renews_whoever_lies_beside_it() {
    let mut story = two();
    story.done(by("ben"), revoke("admin"));
    story.done(by("ben"), issue("eve", 3, 100));
    story.pass(91 * DAY);
    let renewal = |story: &Story| renew(story, "ben", 2, (2, 9));
    story.refused(Actor::System, renewal(&story), Code::OperatorEnded);
    story.pass(10 * DAY);
    story.refused(by("ben"), renewal(&story), Code::OperatorEnded);
    let other = RenewOperator { public_key: [9; 32], ..renewal(&story) };
    story.refused(Actor::System, other, Code::AuthDenied);
    let shut_out = renew(&story, "admin", 1, (1, 9));
    story.refused(Actor::System, shut_out, Code::OperatorRevoked);
    story.done(Actor::System, renewal(&story));
    story.done(by("ben"), token(1));
    // From here on he lets others in.
    let of_eve = renew(&story, "eve", 3, (3, 10));
    story.refused(Actor::System, of_eve, Code::OperatorEnded);
}

#[test]
fn who_has_run_out_acts_no_more_and_can_be_let_in_anew() {
    let mut story = Story::run_by_people();
    story.done(by("admin"), issue("ben", 2, 7));
    story.done(by("ben"), token(1));
    story.pass(8 * DAY);
    story.refused(by("ben"), token(2), Code::OperatorEnded);
    let renewal = renew(&story, "ben", 2, (2, 9));
    story.refused(by("ben"), renewal.clone(), Code::OperatorEnded);
    story.refused(Actor::System, renewal, Code::OperatorEnded);
    let anew = |key| IssueOperator { not_after: story.now().plus(7 * DAY), ..issue("ben", key, 7) };
    let (same, other) = (anew(2), anew(3));
    story.refused(by("admin"), same, Code::ResourceConflict);
    story.done(by("admin"), other);
    story.done(by("ben"), token(2));
}

#[test]
fn a_renewal_is_for_the_key_and_the_certificate_that_ask_and_is_made_once() {
    let mut story = two();
    story.done(by("admin"), issue("eve", 3, 90));
    let ours = renew(&story, "ben", 2, (2, 20));
    story.refused(
        by("ben"),
        RenewOperator { public_key: [3; 32], ..ours.clone() },
        Code::AuthDenied,
    );
    story.refused(by("ben"), RenewOperator { serial_before: 5, ..ours.clone() }, Code::AuthDenied);
    story.refused(by("eve"), ours.clone(), Code::AuthDenied);
    story.refused(by("admin"), ours.clone(), Code::AuthDenied);
    let long = RenewOperator { not_after: story.now().plus(92 * DAY), ..ours.clone() };
    story.refused(by("ben"), long, Code::ResourceMalformed);
    let past = RenewOperator { not_after: story.now(), ..ours.clone() };
    story.refused(by("ben"), past, Code::ResourceMalformed);
    assert_eq!(story.done(by("ben"), ours), Outcome::Done);
    let ben = story.person("ben");
    assert_eq!((ben.serial, ben.serial_before), (20, Some(2)));
    assert_eq!(ben.renewed, Some(story.now()));
    // The answer did not reach him: he asks with what he has, and gets the same one.
    let repeated = renew(&story, "ben", 2, (2, 21));
    assert_eq!(story.done(by("ben"), repeated), Outcome::Unchanged);
    assert_eq!(story.person("ben"), ben);
    assert!(ben.admits(2, &[2; 32]) && ben.admits(20, &[2; 32]));
    let next = renew(&story, "ben", 2, (20, 22));
    story.done(by("ben"), next);
    assert!(!story.person("ben").admits(2, &[2; 32]), "replaced for good");
}

#[test]
fn a_founder_is_renewed_by_his_coordinator_also_when_he_has_run_out() {
    let mut story = two();
    story.pass(400 * DAY);
    let renewal = renew(&story, "admin", 1, (1, 10));
    let other = RenewOperator { public_key: [9; 32], ..renewal.clone() };
    story.refused(Actor::System, other, Code::AuthDenied);
    story.refused(by("admin"), renewal.clone(), Code::OperatorEnded);
    story.done(Actor::System, renewal);
    story.done(by("admin"), token(1));
    assert!(story.person("admin").admits(77, &[1; 32]), "one that was made while nobody led");
    assert!(!story.person("admin").admits(10, &[9; 32]));
}

#[test]
fn a_name_that_was_revoked_is_issued_again_and_the_old_certificates_count_for_nothing() {
    let mut story = two();
    story.done(by("admin"), revoke("ben"));
    story.refused(by("admin"), issue("ben", 2, 90), Code::ResourceConflict);
    story.done(by("admin"), issue("ben", 3, 90));
    let ben = story.person("ben");
    assert!(ben.admits(3, &[3; 32]));
    assert!(!ben.admits(2, &[2; 32]) && !ben.admits(2, &[3; 32]) && !ben.admits(3, &[2; 32]));
    story.done(by("ben"), token(1));
    // So it is with the name of the founder, whose coordinator may renew him unheard.
    story.done(by("ben"), revoke("admin"));
    story.done(by("ben"), issue("admin", 4, 90));
    let admin = story.person("admin");
    assert!(!admin.admits(1, &[1; 32]) && !admin.admits(1, &[4; 32]) && admin.admits(4, &[4; 32]));
}

#[test]
fn as_many_may_stand_as_the_bound_says_however_many_there_were() {
    let mut story = Story::run_by_people();
    let standing = (2..=limits::OPERATORS_MAX).map(|number| {
        let name = name(&format!("p-{number}"));
        OperatorRow::founding(name, 1, story.now().plus(90 * DAY))
    });
    let standing: Vec<OperatorRow> = standing.collect();
    story.know_people(&standing);
    story.refused(by("admin"), issue("ben", 2, 90), Code::LimitExceeded);
    story.done(by("admin"), revoke("p-2"));
    story.done(by("admin"), issue("ben", 2, 90));
    // Of those that are gone a bounded number is remembered, the oldest not.
    let gone = (1..limits::OPERATORS_GONE_MAX).map(|number| OperatorRow {
        revoked: true,
        revoked_at: Some(story.now().plus(std::time::Duration::from_secs(number as u64))),
        ..OperatorRow::founding(name(&format!("q-{number}")), 1, story.now())
    });
    let gone: Vec<OperatorRow> = gone.collect();
    story.know_people(&gone);
    assert!(story.person("p-2").revoked);
    story.pass(DAY);
    story.done(by("admin"), revoke("ben"));
    assert!(story.person("ben").revoked, "the newest is remembered");
    let both = limits::OPERATORS_MAX - 1 + limits::OPERATORS_GONE_MAX;
    assert_eq!(story.rows_in(Table::Operator), both);
    assert_eq!(story.query().operator(&name("p-2")).unwrap(), None);
    story.refused(by("p-2"), token(1), Code::AuthDenied);
}

#[test]
fn a_ledger_of_before_takes_what_its_operators_did_then() {
    let mut story = Story::founded();
    story.done(by("nobody-yet"), token(1));
    assert_eq!(story.query().row::<TokenRow>(&[1; 32]).unwrap().unwrap().made_by, None);
    assert!(!story.person("admin").is_over(story.now()), "when he ends was not noted then");
}

/// Something that somebody does to somebody, and how many days later.
type Deed = (u8, u8, u8, u8);

fn who(number: u8) -> String {
    ["admin".to_owned(), "ada".to_owned(), "ben".to_owned(), "eve".to_owned()]
        [usize::from(number % 4)]
    .clone()
}

fn act(story: &mut Story, at: usize, (what, actor, to, days): Deed) {
    story.pass(DAY * u32::from(days % 40));
    let (actor, to) = (by(&who(actor)), who(to));
    let row = story.person(&to);
    let key = u8::try_from(at % 200).unwrap() + 10;
    let command = match what % 4 {
        0 => IssueOperator { not_after: story.now().plus(7 * DAY), ..issue(&to, key, 7) }.into(),
        1 => revoke(&to).into(),
        2 => {
            let (serial, key) = (row.serial, row.public_key.unwrap_or_default());
            RenewOperator { public_key: key, ..renew(story, &to, 0, (serial, 1000 + at as u64)) }
                .into()
        }
        _ => holdfast_ledger::Command::from(token(key)),
    };
    let was_able = stands(story, &actor);
    let is_himself = matches!(&actor, Actor::Operator(name) if name.as_str() == to);
    let said = story.said(actor.clone(), command);
    assert!(was_able || said.is_err(), "{actor} may do nothing: step {at}");
    if what % 4 == 2 && !is_himself {
        assert!(said.is_err(), "{actor} renews nobody else: step {at}");
    }
}

fn stands(story: &Story, actor: &Actor) -> bool {
    let Actor::Operator(name) = actor else { return true };
    let row = story.query().operator(name).unwrap();
    row.is_some_and(|row: OperatorRow| row.may_act(story.now()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whoever could do it before the last deed: there is one, unless time alone took them all.
    #[test]
    fn nobody_shuts_the_last_one_out(
        deeds in proptest::collection::vec(any::<Deed>(), 1..40),
    ) {
        let mut story = Story::run_by_people();
        for (at, deed) in deeds.into_iter().enumerate() {
            let later = story.now().plus(DAY * u32::from(deed.3 % 40));
            let able = |story: &Story, now| {
                let rows = story.query().operators().unwrap();
                rows.iter().filter(|row| row.is_able(now)).count()
            };
            let before = able(&story, later);
            act(&mut story, at, deed);
            prop_assert!(before == 0 || able(&story, story.now()) > 0, "step {at}");
        }
    }
}

#[test]
fn revoking_says_who_and_whom_in_the_audit_log() {
    let mut story = two();
    story.done(by("admin"), RevokeOperator { name: name("ben") });
    story.refused(by("ben"), token(1), Code::OperatorRevoked);
    let rows = story.query().audit(0, 100).unwrap();
    let told: Vec<_> = rows
        .iter()
        .filter(|row| row.action.starts_with("operator."))
        .map(|row| (row.actor.clone(), row.action.as_str()))
        .collect();
    assert_eq!(told, [(by("admin"), "operator.issue"), (by("admin"), "operator.revoke")]);
    let last = rows.last().unwrap();
    assert_eq!((&last.actor, last.result.as_str()), (&by("ben"), Code::OperatorRevoked.name()));
}
