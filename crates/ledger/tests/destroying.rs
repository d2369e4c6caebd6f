//! What the ledger promises about destroying keys: two people, nothing lost that they did not name,
//! nothing that anybody keeps, and nothing left that opens.

mod story;

use holdfast_common::{Code, Timestamp, limits};
use holdfast_ledger::{
    Actor, LEVEL, Table,
    command::{AskDestroy, CloseKeys, DestroyKeys, Outcome, RecoverCluster, RotateKeys},
    row::{CopyProblem, Held, OperatorRow, PointRow, PointState, ShreddedRow, VaultRow},
};
use std::time::Duration;
use story::{
    Story, agent, ids,
    keys::{change_kek, intend_sealed, note_sealed, rotate},
    members::raise,
    name,
    recovering::recover,
    retaining::{hold, last, policy},
    shredding::{ask, destroy, note_shredded, person, request, withdraw},
};

/// Three people whom nobody here made, and two versions of the keys.
fn rotated(mut story: Story) -> Story {
    for called in ["admin", "alice", "bob"] {
        story.issue(called, None);
    }
    story.done(person("admin"), rotate(1, 2));
    story.done(person("admin"), CloseKeys { vault: ids::vault(), version: 1 });
    story
}

fn asked(mut story: Story, lost: &[u8]) -> Story {
    story.done(person("alice"), ask(1, 1, lost));
    story
}

/// Points 1 and 2 of a policy, of which the second is the newest.
fn with_points() -> Story {
    rotated(Story::with_points(&[1, 2]))
}

#[test]
fn one_asks_another_agrees_and_nothing_is_left_that_opens() {
    let mut story = asked(rotated(Story::founded()), &[]);
    let before = story.query().vault(&ids::vault()).unwrap();
    let [row] = &story.query().destroy_requests().unwrap()[..] else { panic!("one request") };
    assert_eq!((row.by.as_str(), row.asked, row.version), ("alice", story.now(), 1));
    story.pass(Duration::from_secs(3600));
    story.done(person("bob"), destroy(1, 1, &[]));
    assert_eq!(story.query().key_versions(&ids::vault()).unwrap(), []);
    assert_eq!(story.query().destroy_requests().unwrap(), []);
    let [left] = &story.query().destroyed_keys(&ids::vault()).unwrap()[..] else { panic!("one") };
    assert_eq!((left.version, &left.remains[..]), (1, &[30, 1][..]));
    assert_eq!((left.asked_by.as_str(), left.agreed_by.as_str()), ("alice", "bob"));
    assert_eq!((left.made, left.destroyed), (before.created, story.now()));
    let after = story.query().vault(&ids::vault()).unwrap();
    assert_eq!((after.key_version, after.revision), (2, before.revision + 1));
    // The wrapped keys of version 1 stand in no row any more.
    assert_eq!(story.rows_in(Table::KeyVersion), 0);
    for again in [person("alice"), person("bob")] {
        story.refused(again.clone(), ask(2, 1, &[]), Code::KeyDestroyed);
        story.refused(again, destroy(1, 1, &[]), Code::KeyRequestMissing);
    }
    let close = CloseKeys { vault: ids::vault(), version: 1 };
    story.refused(person("admin"), close, Code::KeyDestroyed);
    // What comes after counts it, and knows when the newest was made.
    story.done(person("admin"), rotate(2, 3));
    let second = story.query().key_versions(&ids::vault()).unwrap().remove(0);
    assert_eq!(second.made, left.retired);
}

#[test]
fn nobody_agrees_with_himself_and_nobody_but_an_administrator_asks_or_agrees() {
    let mut story = asked(rotated(Story::with_agents(1)), &[]);
    story.refused(person("alice"), destroy(1, 1, &[]), Code::KeySecondMissing);
    for actor in [Actor::System, Actor::Agent(agent(1)), Actor::Token, person("nobody")] {
        story.refused(actor.clone(), destroy(1, 1, &[]), Code::AuthDenied);
        story.refused(actor.clone(), ask(2, 1, &[]), Code::AuthDenied);
        story.refused(actor, withdraw(1), Code::AuthDenied);
    }
    story.revoke("bob");
    story.refused(person("bob"), destroy(1, 1, &[]), Code::AuthDenied);
    // What somebody asked for who is none any more, nobody agrees to.
    story.revoke("alice");
    story.refused(person("admin"), destroy(1, 1, &[]), Code::AuthDenied);
    assert_eq!(story.query().key_versions(&ids::vault()).unwrap().len(), 1);
}

#[test]
fn whoever_makes_a_second_person_is_still_alone() {
    let mut story = rotated(Story::founded());
    story.issue("carol", Some("alice"));
    story.issue("dave", Some("carol"));
    story.issue("erin", Some("admin"));
    let mut story = asked(story, &[]);
    for own in ["carol", "dave"] {
        story.refused(person(own), destroy(1, 1, &[]), Code::KeySecondMissing);
    }
    // Issued in time by somebody else, or too late.
    story.pass(Duration::from_secs(1));
    story.issue("frank", Some("admin"));
    story.refused(person("frank"), destroy(1, 1, &[]), Code::KeySecondMissing);
    story.done(person("admin"), withdraw(1));
    // Nor does one who asks under a name that he made agree under his own.
    story.done(person("dave"), ask(2, 1, &[]));
    for own in ["alice", "carol"] {
        story.refused(person(own), destroy(2, 1, &[]), Code::KeySecondMissing);
    }
    story.done(person("erin"), destroy(2, 1, &[]));
}

#[test]
fn whoever_hides_who_issued_whom_is_still_alone() {
    let mut story = rotated(Story::founded());
    // Alice revoked the helper whom she had issued, and the one whom that one issued did so again.
    story.issue("fake", Some("helper"));
    story.issue("helper", Some("fake"));
    // Between these two some row was forgotten.
    story.issue("carol", Some("gone"));
    let mut story = asked(story, &[]);
    for own in ["helper", "fake", "carol"] {
        story.refused(person(own), destroy(1, 1, &[]), Code::KeySecondMissing);
    }
    story.done(person("bob"), destroy(1, 1, &[]));
}

#[test]
fn whoever_recovers_the_cluster_is_one_person_and_ends_what_was_asked() {
    let mut story = asked(rotated(Story::founded()), &[]);
    story.done(Actor::System, raise(LEVEL, &[1]));
    let came = OperatorRow { name: name("recovered-2"), ..recover(2, 1).operator };
    story.done(Actor::System, RecoverCluster { operator: came, ..recover(2, 1) });
    assert_eq!(story.query().destroy_requests().unwrap(), []);
    let (bob, came) = (person("bob"), person("recovered-2"));
    story.refused(came.clone(), ask(2, 1, &[]), Code::KeySecondMissing);
    story.done(person("alice"), ask(2, 1, &[]));
    story.refused(came.clone(), destroy(2, 1, &[]), Code::KeySecondMissing);
    story.done(came.clone(), withdraw(2));
    // Issued again by somebody, it is a person.
    story.issue("recovered-2", Some("admin"));
    story.done(came, ask(3, 1, &[]));
    story.done(bob, destroy(3, 1, &[]));
}

#[test]
fn a_request_ends_by_itself_and_can_be_withdrawn_and_there_is_one_at_a_time() {
    let mut story = asked(rotated(Story::founded()), &[]);
    story.refused(person("bob"), ask(2, 1, &[]), Code::ResourceConflict);
    story.pass(Duration::from_secs(limits::KEY_REQUEST_SECS));
    story.refused(person("bob"), destroy(1, 1, &[]), Code::KeyRequestMissing);
    story.refused(person("bob"), withdraw(1), Code::KeyRequestMissing);
    story.done(person("bob"), ask(2, 1, &[]));
    assert_eq!(story.query().destroy_requests().unwrap().len(), 1, "the old one was cleared");
    story.done(person("admin"), withdraw(2));
    story.refused(person("alice"), destroy(2, 1, &[]), Code::KeyRequestMissing);
    assert_eq!(story.query().key_versions(&ids::vault()).unwrap().len(), 1);
    story.done(person("alice"), ask(3, 1, &[]));
    story.done(person("admin"), rotate(2, 3));
    let other = DestroyKeys { version: 2, ..destroy(3, 1, &[]) };
    story.refused(person("bob"), other, Code::ResourceConflict);
}

#[test]
fn only_an_older_version_that_there_is_can_be_destroyed() {
    let mut story = rotated(Story::founded());
    story.refused(person("alice"), ask(1, 2, &[]), Code::ResourceConflict);
    story.refused(person("alice"), ask(1, 7, &[]), Code::KeyVersionMissing);
    let mut bad = ask(1, 1, &[]);
    bad.vault = holdfast_common::VaultId::from_bytes([9; 16]);
    story.refused(person("alice"), bad, Code::VaultMissing);
    story.refused(person("alice"), ask(1, 1, &[4, 3]), Code::ResourceMalformed);
    story.refused(person("alice"), ask(1, 1, &[3, 3]), Code::ResourceMalformed);
    let points = (0..=limits::KEY_POINTS_LOST_MAX as u128)
        .map(|number| holdfast_common::PointId::from_bytes(number.to_be_bytes()));
    let mut many = ask(1, 1, &[]);
    many.points = points.collect();
    story.refused(person("alice"), many, Code::LimitExceeded);
    // One that what comes may rely on.
    story.done(person("admin"), rotate(2, 3));
    story.refused(person("alice"), ask(1, 2, &[]), Code::ResourceConflict);
    let mut story = asked(story, &[]);
    for remains in [Vec::new(), vec![0; limits::KEY_REMAINS_BYTES_MAX + 1]] {
        let command = DestroyKeys { remains: remains.into(), ..destroy(1, 1, &[]) };
        story.refused(person("bob"), command, Code::ResourceMalformed);
    }
}

#[test]
fn what_is_lost_leaves_every_list_and_says_why() {
    let mut story = asked(with_points(), &[1]);
    story.done(person("bob"), destroy(1, 1, &[1]));
    let error = story.query().point(&ids::point(1)).unwrap_err();
    assert_eq!(error.code, Code::PointKeyDestroyed);
    for told in ["version 1", "operator:bob", "alice"] {
        assert!(error.message.contains(told), "{error}");
    }
    let listed: Vec<_> = story.query().points(None).map(|point| point.unwrap().id).collect();
    assert_eq!(listed, [ids::point(2)]);
    let left = story.query().destroyed_keys(&ids::vault()).unwrap().remove(0);
    assert_eq!(left.points, 1);
    // Nobody reads it, and no second backup takes its id.
    let read = holdfast_ledger::command::BeginRead {
        session: ids::session(90),
        point: ids::point(1),
        purpose: "restore".to_owned(),
        run: None,
    };
    story.refused(person("admin"), read, Code::PointKeyDestroyed);
    story.backup_docs(3, PointState::Complete);
}

#[test]
fn nothing_is_lost_that_nobody_asked_for() {
    let mut story = rotated(Story::with_points(&[1, 2, 3]));
    story = asked(story, &[1]);
    story.refused(person("bob"), destroy(1, 1, &[1, 2]), Code::ResourceConflict);
    // Less is lost where retention was faster.
    let outlived = story.planned(&[1], 3);
    story.done(person("admin"), story::retaining::of_one(outlived));
    assert_eq!(story.done(person("bob"), destroy(1, 1, &[1])), Outcome::Number(0));
    story.query().point(&ids::point(2)).unwrap();
    let error = story.query().point(&ids::point(1)).unwrap_err();
    assert_eq!(error.code, Code::PointMissing, "retention let it go, and no key");
}

#[test]
fn what_turns_out_to_need_the_version_ends_the_request() {
    let mut story = rotated(Story::with_agents(1));
    story.begin(1, 1);
    story.done(Actor::Agent(agent(1)), intend_sealed(1, &[(1, &[2]), (2, &[2])]));
    let mut story = asked(story, &[]);
    for others in [&[2][..], &[2, 3]] {
        story.done(Actor::System, note_sealed(&[(1, others)], true));
        assert_eq!(story.query().destroy_requests().unwrap().len(), 1, "{others:?}");
    }
    story.done(Actor::System, note_sealed(&[(1, &[2, 3]), (2, &[1, 2])], true));
    assert_eq!(story.query().destroy_requests().unwrap(), []);
    story.refused(person("bob"), destroy(1, 1, &[]), Code::KeyRequestMissing);
}

#[test]
fn what_is_held_read_protected_or_the_newest_good_one_is_lost_by_nobody() {
    // The newest, and an older one beside it.
    let mut story = with_points();
    for lost in [&[2][..], &[1, 2]] {
        story.refused(person("alice"), ask(1, 1, lost), Code::PointKept);
    }
    // The newest that skipped nothing.
    story.backup_docs(3, PointState::Partial);
    for lost in [2, 3] {
        story.refused(person("alice"), ask(1, 1, &[lost]), Code::PointKept);
    }
    let mut story = asked(story, &[1]);
    // Held since it was asked for.
    story.done(person("admin"), hold(9, Held::Point(ids::point(1))));
    story.refused(person("bob"), destroy(1, 1, &[1]), Code::PointKept);
    story.refused(person("bob"), ask(7, 1, &[1]), Code::PointKept);
    story.done(person("admin"), story::retaining::release(9, Held::Point(ids::point(1))));
    let read = holdfast_ledger::command::BeginRead {
        session: ids::session(90),
        point: ids::point(1),
        purpose: "restore".to_owned(),
        run: None,
    };
    story.done(person("admin"), read);
    story.refused(person("bob"), destroy(1, 1, &[1]), Code::PointKept);
    let end = holdfast_ledger::command::EndSession { session: ids::session(90) };
    story.done(person("admin"), end);
    // Protected since it was asked for.
    let rules = holdfast_ledger::row::Retention { protect_secs: Some(3600), ..last(1) };
    story.done(person("admin"), policy(Some(rules)));
    story.refused(person("bob"), destroy(1, 1, &[1]), Code::PointKept);
    story.query().point(&ids::point(1)).unwrap();
    story.pass(Duration::from_secs(3600));
    story.done(person("bob"), destroy(1, 1, &[1]));
}

/// The row of a point that is there, and otherwise than it was.
fn change(story: &mut Story, number: u8, change: impl FnOnce(&mut PointRow)) {
    let row = story.query().point(&ids::point(number));
    let mut row = row.unwrap_or_else(|error| unreachable!("{error}"));
    change(&mut row);
    story.know(&row);
}

#[test]
fn what_no_newer_point_makes_up_for_is_lost_by_nobody() {
    // The newest holds next to nothing: a disk that was not there.
    let mut story = with_points();
    change(&mut story, 1, |row| row.entries = 1_000_000);
    story.refused(person("alice"), ask(1, 1, &[1]), Code::PointKept);
    // The newest is damaged.
    let mut story = with_points();
    change(&mut story, 2, |row| row.lost = Some(Timestamp::ZERO));
    story.refused(person("alice"), ask(1, 1, &[1]), Code::PointKept);
    // The newest that lies in a location; elsewhere there is a newer one.
    let mut story = with_points();
    change(&mut story, 2, |row| row.locations = vec![name("elsewhere")]);
    story.refused(person("alice"), ask(1, 1, &[1]), Code::PointKept);
    change(&mut story, 1, |row| row.locations = vec![name("nowhere")]);
    story.done(person("alice"), ask(1, 1, &[1]));
}

#[test]
fn what_makes_up_for_a_lost_point_is_named_as_of_the_last_loss() {
    let story = &mut rotated(Story::with_points(&[1, 2, 3]));
    let named = |number, named: &[u8], losses| {
        let successors = named.iter().map(|number| ids::point(*number)).collect();
        AskDestroy { successors, losses, ..ask(number, 1, &[1]) }
    };
    // Nobody names any, or such as are none: one that goes too, that is not there, that is older.
    for none in [&[][..], &[1], &[8]] {
        story.refused(person("alice"), named(1, none, 0), Code::PointKept);
    }
    story.refused(
        person("alice"),
        AskDestroy { successors: vec![ids::point(1)], ..ask(1, 1, &[2]) },
        Code::PointKept,
    );
    story.refused(person("alice"), named(1, &[3, 2], 0), Code::ResourceMalformed);
    let mut many = named(1, &[], 0);
    many.successors = (0..=limits::KEY_SUCCESSORS_MAX as u128)
        .map(|number| holdfast_common::PointId::from_bytes(number.to_be_bytes()))
        .collect();
    story.refused(person("alice"), many, Code::LimitExceeded);
    // A pack was lost since somebody looked at what these need.
    let vault = story.query().vault(&ids::vault()).unwrap();
    story.know(&VaultRow { losses: Some(1), ..vault });
    story.refused(person("alice"), named(1, &[2], 0), Code::ResourceConflict);
    story.done(person("alice"), named(1, &[2], 1));
    story.refused(person("bob"), destroy(1, 1, &[1]), Code::ResourceConflict);
    // Where nothing is lost nothing has to stay.
    story.done(person("bob"), destroy(1, 1, &[]));
}

#[test]
fn what_was_taken_in_by_a_recovery_stays_until_its_source_has_a_newer_point() {
    let mut story = rotated(Story::with_points(&[1, 2, 3]));
    for number in [1, 2, 3] {
        change(&mut story, number, |row| row.recovered = Some(true));
    }
    for lost in [&[3][..], &[1, 2, 3]] {
        story.refused(person("alice"), ask(1, 1, lost), Code::PointKept);
    }
    story.done(person("alice"), ask(1, 1, &[1, 2]));
    // A backup of its own counts more.
    change(&mut story, 2, |row| row.recovered = None);
    story.refused(person("bob"), destroy(1, 1, &[1, 2]), Code::PointKept);
    change(&mut story, 3, |row| row.recovered = None);
    story.done(person("bob"), destroy(1, 1, &[1, 2]));
}

#[test]
fn a_policy_of_which_nobody_said_how_long_protects_as_long_as_any() {
    let mut story = with_points();
    story.done(person("admin"), policy(None));
    story.refused(person("alice"), ask(1, 1, &[1]), Code::PointKept);
    story.pass(Duration::from_secs(limits::PROTECT_SECS));
    story.done(person("alice"), ask(1, 1, &[1]));
}

#[test]
fn a_policy_that_is_gone_protects_nothing() {
    let mut story = with_points();
    let delete =
        holdfast_ledger::command::DeleteResource { kind: "policy".to_owned(), name: name("docs") };
    story.done(person("admin"), delete);
    let mut story = asked(story, &[1, 2]);
    story.done(person("bob"), destroy(1, 1, &[1, 2]));
    assert_eq!(story.query().points(None).count(), 0);
    // What comes under that name again begins anew.
    story.done(person("admin"), policy(Some(last(1))));
    story.backup_docs(3, PointState::Complete);
    let newest = story.query().point(&ids::point(3)).unwrap();
    assert_eq!(newest.previous, None);
}

#[test]
fn a_bundle_whose_keys_were_read_before_a_version_was_destroyed_is_not_taken_after_it() {
    let mut story = asked(rotated(Story::founded()), &[]);
    story.done(person("alice"), story::shredding::export_read(1, 1));
    // Somebody reads the keys here, and seals them for a while.
    story.done(person("bob"), destroy(1, 1, &[]));
    let at = story.query().destroyed_keys(&ids::vault()).unwrap().remove(0).at;
    let late = story::shredding::export_read(2, at - 1);
    story.refused(person("alice"), late.clone(), Code::ResourceConflict);
    // Of this one nobody says when its keys were read.
    let untold = holdfast_ledger::command::ExportBundle { read_at: None, ..late };
    story.refused(person("alice"), untold, Code::ResourceConflict);
    story.done(person("alice"), story::shredding::export_read(3, at));
    let mut known: Vec<_> = story.query().bundles().unwrap().iter().map(|it| it.hash[0]).collect();
    known.sort_unstable();
    assert_eq!(known, [1, 3]);
}

#[test]
fn what_was_destroyed_does_not_come_under_another_kek() {
    let mut story = asked(rotated(Story::founded()), &[]);
    story.done(person("bob"), destroy(1, 1, &[]));
    story.refused(person("admin"), change_kek(&[1, 2]), Code::KeyDestroyed);
    story.done(person("admin"), change_kek(&[2]));
    assert_eq!(story.query().key_versions(&ids::vault()).unwrap(), []);
    story.done(person("admin"), RotateKeys { kek: [12; 16], ..rotate(2, 3) });
    let versions: Vec<_> =
        story.query().key_versions(&ids::vault()).unwrap().iter().map(|row| row.version).collect();
    assert_eq!(versions, [2]);
}

#[test]
fn what_was_seen_of_a_location_counts_for_the_place_that_it_is() {
    let mut story = asked(rotated(Story::founded()), &[]);
    story.refused(Actor::System, note_shredded(1), Code::ResourceConflict);
    story.done(person("bob"), destroy(1, 1, &[]));
    story.refused(person("bob"), note_shredded(1), Code::AuthDenied);
    let at = story.query().locations().unwrap().remove(0).revision;
    let seen = |revision, gone| ShreddedRow { revision, gone, ..note_shredded(1).seen };
    let note = |seen| holdfast_ledger::command::NoteShredded { seen };
    let problem = CopyProblem { code: "a.b".to_owned(), message: "away".to_owned() };
    let away = ShreddedRow { problem: Some(problem), ..seen(at, None) };
    story.done(Actor::System, note(away));
    story.done(Actor::System, note(seen(at, Some(story.now()))));
    let [row] = &story.query().shredded(&ids::vault(), 1).unwrap()[..] else { panic!("one") };
    assert_eq!((row.gone, row.noted, &row.problem), (Some(story.now()), story.now(), &None));
    story.refused(Actor::System, note(seen(at + 1, None)), Code::ResourceConflict);
    let elsewhere = ShreddedRow { location: name("nowhere"), ..seen(at, None) };
    story.refused(Actor::System, note(elsewhere), Code::LocationMissing);
    assert_eq!(request(1), ask(1, 1, &[]).id);
}
