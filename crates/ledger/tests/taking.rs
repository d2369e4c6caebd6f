//! What the ledger promises when a region takes the lead, and has nothing but a location that
//! followed: it is required at once, nothing new relies on what it may lack, and it follows again
//! when what it stands in for is back.

#![allow(clippy::unwrap_used, reason = "a story that cannot be told is a failed test")]

mod story;

use holdfast_common::Code;
use holdfast_ledger::{
    Actor, Outcome,
    command::{ClaimEpoch, FindPack, NoteAbsent, PassOver, PutVault, RebuildLocation},
    row::{Beside, CopyState, PackHome, PackState, PointState, Taken, VaultRow, epoch::Suspended},
};
use story::{
    Story, agent, ids, intend,
    members::{back, claim_epoch, claim_taking, forget, note_absent},
    name, note_copies,
    retaining::{last, of_one, policy},
    taking::{
        admin, begin_again, by_north, copies_in, declare, declared, following, is_relied_on, me,
        near_is_current, one_that_follows, opened, replaced_by_near, state, store, vault,
    },
};

#[test]
fn one_that_follows_is_required_in_place_of_what_was_lost() {
    let mut story = one_that_follows();
    story.begin(1, 1);
    store(&mut story, 1);
    let claimed = story.done(Actor::System, claim_taking(2, 2));
    assert_eq!(claimed, Outcome::Done);
    let row = vault(&story);
    assert_eq!((row.required.clone(), row.following()), (vec![name("far")], &[][..]));
    let epoch = story.query().epoch().unwrap().unwrap();
    let taken = Taken { vault: ids::vault(), location: name("far") };
    assert_eq!(epoch.taken(), std::slice::from_ref(&taken));
    let (vault, locations) = (ids::vault(), vec![name("main")]);
    let suspended = Suspended { vault, locations, alone: Some(true) };
    assert_eq!(epoch.suspended, [suspended]);
    let copies = story.query().copies_in(&ids::vault(), &name("far")).unwrap().unwrap();
    assert_eq!((copies.opened, copies.taken, copies.seen), (story.index(), Some(2), None));
    assert!(copies.unseen_before().is_some());
    assert_eq!(copies.state, CopyState::Looking);
    assert_eq!(story.done(Actor::System, claim_taking(2, 2)), Outcome::Unchanged);
}

#[test]
fn whoever_wrote_by_what_the_lost_location_has_begins_anew() {
    let mut story = one_that_follows();
    story.begin(1, 1);
    store(&mut story, 1);
    story.done(Actor::System, claim_taking(2, 2));
    let mut commit = story::commit(1, 1, agent(1), PointState::Complete);
    commit.point.locations = vec![name("far")];
    story.refused(me(), commit, Code::SessionMissing);
    story.refused(me(), intend(1, &[2], PackHome::Object), Code::SessionMissing);
    begin_again(&mut story, 2);
    // In a region of its own it goes on: nothing was lost.
    let mut story = one_that_follows();
    story.begin(1, 1);
    store(&mut story, 1);
    story.done(Actor::System, claim_epoch(2, 2));
    assert_eq!(story.query().sessions().unwrap().len(), 1);
}

#[test]
fn nothing_from_before_is_relied_on_until_it_is_known_what_the_location_has() {
    let mut story = one_that_follows();
    story.begin(1, 1);
    for pack in [1, 2, 3] {
        store(&mut story, pack);
    }
    assert!(is_relied_on(&story, 1));
    story.done(Actor::System, claim_taking(2, 2));
    assert!([1, 2, 3].iter().all(|pack| !is_relied_on(&story, *pack)));
    let since = opened(&story);
    story.done(Actor::System, note_copies(since, CopyState::Away));
    assert!(!is_relied_on(&story, 1), "however far it says it is");
    story.refused(Actor::System, note_absent(since - 1, &[2], true), Code::ResourceConflict);
    story.refused(me(), note_absent(since, &[2], true), Code::AuthDenied);
    story.refused(Actor::System, note_absent(since, &[77], true), Code::PackMissing);
    let many = vec![ids::pack(2); holdfast_common::limits::PACKS_ABSENT_MAX + 1];
    let many = NoteAbsent { packs: many, ..note_absent(since, &[], true) };
    story.refused(Actor::System, many, Code::LimitExceeded);
    story.done(Actor::System, note_absent(since, &[2], false));
    assert_eq!(state(&story, 2), PackState::Lost);
    assert!(!is_relied_on(&story, 1), "there may be more of them");
    let losses = vault(&story).losses();
    story.done(Actor::System, note_absent(since, &[2], true));
    assert_eq!(vault(&story).losses(), losses, "it was known");
    assert_eq!([1, 2, 3].map(|pack| is_relied_on(&story, pack)), [true, false, true]);
    let again = story.done(Actor::System, note_absent(since, &[], true));
    assert_eq!(again, Outcome::Unchanged);
    story.done(Actor::System, note_copies(since, CopyState::Looking));
    assert!(is_relied_on(&story, 1), "what was seen stays so");
    story.done(Actor::System, FindPack { vault: ids::vault(), pack: ids::pack(2) });
    assert!(is_relied_on(&story, 2));
    // What is stored now lies there.
    begin_again(&mut story, 2);
    story.done(me(), intend(2, &[9], PackHome::Object));
    story.done(me(), story::store(2, 9, Some(vault(&story).revision)));
    assert!(is_relied_on(&story, 9));
}

#[test]
fn one_that_comes_back_into_use_is_looked_through_again() {
    let mut story = one_that_follows();
    story.begin(1, 1);
    store(&mut story, 1);
    story.done(Actor::System, claim_taking(2, 2));
    let since = opened(&story);
    story.done(Actor::System, note_absent(since, &[], true));
    assert!(is_relied_on(&story, 1));
    let rebuild = RebuildLocation { location: name("far") };
    story.done(Actor::Operator(name("admin")), rebuild);
    assert!(!is_relied_on(&story, 1), "it lost what it had");
    story.refused(Actor::System, note_absent(since, &[], true), Code::ResourceConflict);
    story.done(Actor::System, note_absent(opened(&story), &[1], true));
    assert_eq!(state(&story, 1), PackState::Lost);
}

#[test]
fn of_a_place_that_lost_what_it_had_nothing_is_relied_on_whenever_it_was_stored() {
    let mut story = one_that_follows();
    story.begin(1, 1);
    store(&mut story, 1);
    story.done(Actor::System, claim_taking(2, 2));
    story.done(Actor::System, note_absent(opened(&story), &[], true));
    begin_again(&mut story, 2);
    story.done(me(), intend(2, &[9], PackHome::Object));
    story.done(me(), story::store(2, 9, Some(vault(&story).revision)));
    assert!(is_relied_on(&story, 9));
    let rebuild = RebuildLocation { location: name("far") };
    story.done(Actor::Operator(name("admin")), rebuild);
    assert!(![1, 9].iter().any(|pack| is_relied_on(&story, *pack)));
    story.done(Actor::System, note_absent(opened(&story), &[9], true));
    assert_eq!([1, 9].map(|pack| is_relied_on(&story, pack)), [true, false]);
}

#[test]
fn one_that_lacked_nothing_for_a_while_stands_in_all_the_same() {
    let mut story = one_that_follows();
    story.begin(1, 1);
    store(&mut story, 1);
    story.done(Actor::System, claim_taking(2, 2));
    let copies = |story: &Story| story.query().copies_in(&ids::vault(), &name("far")).unwrap();
    story.done(Actor::System, note_absent(opened(&story), &[], true));
    assert!(!copies(&story).unwrap().is_doubted(), "it was looked through");
    story.done(Actor::System, note_copies(opened(&story), CopyState::Current));
    assert_eq!(copies(&story), None);
    let rebuild = RebuildLocation { location: name("far") };
    story.done(Actor::Operator(name("admin")), rebuild);
    let row = copies(&story).unwrap();
    assert_eq!((row.taken, row.is_doubted()), (Some(2), true));
    assert!(!is_relied_on(&story, 1));
    // When what it stands in for is forgotten, it is a location like any other.
    story.done(Actor::System, forget(2));
    story.done(Actor::System, note_absent(opened(&story), &[], true));
    story.done(Actor::System, note_copies(opened(&story), CopyState::Current));
    let rebuild = RebuildLocation { location: name("far") };
    story.done(Actor::Operator(name("admin")), rebuild);
    assert_eq!(copies(&story).unwrap().taken, None);
}

#[test]
fn what_was_lost_is_required_again_and_what_stood_in_for_it_follows() {
    let mut story = one_that_follows();
    story.done(Actor::System, claim_taking(2, 2));
    story.done(Actor::System, note_absent(opened(&story), &[], true));
    story.done(admin(), back(2, false));
    assert_eq!(vault(&story).required, [name("far"), name("main")], "until it is filled");
    let since = opened(&story);
    story.done(admin(), back(2, true));
    let row = vault(&story);
    assert_eq!((row.required.clone(), row.following()), (vec![name("main")], &[name("far")][..]));
    let epoch = story.query().epoch().unwrap().unwrap();
    assert_eq!((epoch.taken(), epoch.suspended.len()), (&[][..], 0));
    let copies = story.query().copies_in(&ids::vault(), &name("far")).unwrap().unwrap();
    assert!(copies.opened > since && copies.taken.is_none(), "it is brought what it lacks");
    // As it was declared.
    let same = story.done(Actor::System, PutVault { vault: declared(), kek: None });
    assert_eq!(same, Outcome::Unchanged);
    story.done(Actor::System, claim_taking(3, 2));
    assert_eq!(vault(&story).required, [name("far")], "lost again");
}

#[test]
fn a_region_that_is_forgotten_leaves_required_what_stood_in_for_it() {
    let mut story = one_that_follows();
    story.done(Actor::System, claim_taking(2, 2));
    story.done(Actor::System, forget(2));
    let epoch = story.query().epoch().unwrap().unwrap();
    assert_eq!((epoch.taken(), epoch.suspended.len()), (&[][..], 0));
    assert_eq!(vault(&story).required, [name("far")]);
}

#[test]
fn where_somebody_declares_it_to_lie_meanwhile_it_stays() {
    let mut story = one_that_follows();
    story.done(Actor::System, claim_taking(2, 2));
    let beside = Beside { following: vec![name("near")], ..Beside::default() };
    let required = vec![name("far")];
    let wish = VaultRow { required, beside: Some(beside), ..story::vault() };
    story.done(Actor::System, PutVault { vault: wish, kek: None });
    assert_eq!(story.query().epoch().unwrap().unwrap().taken(), []);
    story.done(Actor::System, note_absent(opened(&story), &[], true));
    story.done(admin(), back(2, false));
    story.done(admin(), back(2, true));
    assert_eq!(vault(&story).required, [name("far"), name("main")]);
}

#[test]
fn one_that_stood_in_and_is_declared_to_follow_stands_in_for_nothing() {
    let mut story = one_that_follows();
    story.begin(1, 1);
    story.done(Actor::System, claim_taking(2, 2));
    story.done(Actor::System, note_absent(opened(&story), &[], true));
    replaced_by_near(&mut story);
    begin_again(&mut story, 2);
    story.done(me(), intend(2, &[9], PackHome::Object));
    story.done(me(), story::store(2, 9, Some(vault(&story).revision)));
    let copies = story.query().copies_in(&ids::vault(), &name("far")).unwrap().unwrap();
    assert_eq!((copies.taken, copies.seen), (None, None));
    story.refused(Actor::System, note_absent(copies.opened, &[9], true), Code::ResourceConflict);
    assert_eq!(state(&story, 9), PackState::Stored, "it lies where it must");
}

#[test]
fn what_one_lacks_that_is_passed_over_says_nothing_of_the_others() {
    let mut story = one_that_follows();
    story.done(Actor::System, claim_taking(2, 2));
    story.done(Actor::System, forget(2));
    declare(&mut story, &["far"], following(&["near"]));
    near_is_current(&mut story);
    let beside = Beside { enough: Some(1), wait_secs: Some(1), ..Beside::default() };
    declare(&mut story, &["far", "near"], beside);
    near_is_current(&mut story);
    let pass_over = PassOver { vault: ids::vault(), location: name("far") };
    story.done(Actor::System, pass_over);
    let told = note_absent(opened(&story), &[], true);
    story.refused(Actor::System, told, Code::ResourceConflict);
}

#[test]
fn what_else_somebody_declares_meanwhile_is_no_matter_of_where_it_lies() {
    let mut story = one_that_follows();
    story.done(Actor::System, claim_taking(2, 2));
    let beside = Beside { wait_secs: Some(9), ..Beside::default() };
    let required = vec![name("far")];
    let wish = VaultRow { required, beside: Some(beside), ..story::vault() };
    story.done(Actor::System, PutVault { vault: wish, kek: None });
    assert!(story.query().epoch().unwrap().unwrap().has_taken_for(&ids::vault()));
    story.done(Actor::System, note_absent(opened(&story), &[], true));
    story.done(admin(), back(2, false));
    story.done(admin(), back(2, true));
    let row = vault(&story);
    assert_eq!((row.required.clone(), row.following()), (vec![name("main")], &[name("far")][..]));
    assert_eq!(row.beside.unwrap().wait_secs, Some(9));
}

#[test]
fn the_log_has_its_gap_whatever_becomes_of_what_was_taken() {
    let gap = |story: &Story| story.query().epoch().unwrap().unwrap().gap;
    let mut story = one_that_follows();
    story.done(Actor::System, claim_taking(2, 2));
    assert_eq!(gap(&story), Some(10));
    let wish = VaultRow { required: vec![name("far")], beside: None, ..story::vault() };
    let beside = Some(Beside { following: vec![name("near")], ..Beside::default() });
    story.done(Actor::System, PutVault { vault: VaultRow { beside, ..wish }, kek: None });
    assert_eq!(gap(&story), Some(10));
    story.done(Actor::System, claim_epoch(3, 2));
    assert_eq!(gap(&story), Some(10), "nothing more is missing");
    story.done(Actor::System, forget(3));
    assert_eq!(gap(&story), Some(10));
    let mut story = one_that_follows();
    story.done(Actor::System, claim_epoch(2, 2));
    assert_eq!(gap(&story), None, "nothing was taken");
}

#[test]
fn nothing_is_forgotten_before_it_is_known_what_went_with_a_region() {
    let mut story = one_that_follows();
    story.done(Actor::System, policy(Some(last(1))));
    for number in [1, 2] {
        story.backup_docs(number, PointState::Complete);
    }
    story.done(Actor::System, claim_taking(2, 2));
    story.done(Actor::System, forget(2));
    let outlived = of_one(story.planned(&[1], 2));
    story.refused(admin(), outlived.clone(), Code::RegionParted);
    assert!(story.query().insist_on_undivided().is_err());
    story.done(Actor::System, note_absent(opened(&story), &[], true));
    let error = story.query().insist_on_undivided().expect_err("judged by nobody");
    assert!(error.next.unwrap().contains("--old-is-gone"), "one that follows may be gone too");
    story.done(Actor::System, note_copies(opened(&story), CopyState::Current));
    story.query().insist_on_undivided().unwrap();
    story.done(admin(), outlived);
}

#[test]
fn nor_where_somebody_declared_it_to_lie_elsewhere_before_the_region_was_forgotten() {
    let mut story = one_that_follows();
    story.done(Actor::System, policy(Some(last(1))));
    for number in [1, 2] {
        story.backup_docs(number, PointState::Complete);
    }
    story.done(Actor::System, claim_taking(2, 2));
    story.done(Actor::System, note_absent(opened(&story), &[], true));
    replaced_by_near(&mut story);
    near_is_current(&mut story);
    assert!(copies_in(&story, "near").is_none(), "it has all that is within reach");
    story.done(Actor::System, forget(2));
    let outlived = of_one(story.planned(&[1], 2));
    story.refused(admin(), outlived.clone(), Code::RegionParted);
    let near = copies_in(&story, "near").unwrap();
    assert_eq!((near.opened, near.taken, near.seen), (story.index() - 1, Some(2), Some(true)));
    assert!(near.unseen_before().is_none(), "what is stored there is relied on");
    near_is_current(&mut story);
    story.done(admin(), outlived);
}

#[test]
fn nothing_is_looked_through_where_the_vault_required_something_here_all_the_time() {
    let mut story = one_that_follows();
    story.require(&["main", "far"]);
    story.done(Actor::System, note_copies(opened(&story), CopyState::Current));
    story.done(Actor::System, claim_taking(2, 2));
    story.done(Actor::System, forget(2));
    assert!(copies_in(&story, "far").is_none());
    story.query().insist_on_undivided().unwrap();
}

#[test]
fn what_was_about_to_come_back_and_was_not_filled_lacks_what_was_stored_meanwhile() {
    let mut story = one_that_follows();
    story.begin(1, 1);
    store(&mut story, 1);
    story.done(Actor::System, claim_taking(2, 2));
    story.done(Actor::System, note_absent(opened(&story), &[], true));
    begin_again(&mut story, 2);
    story.done(me(), intend(2, &[9], PackHome::Object));
    story.done(me(), story::store(2, 9, Some(vault(&story).revision)));
    story.done(admin(), back(2, false));
    story.done(Actor::System, by_north(3));
    assert_eq!(vault(&story).required, [name("main")]);
    let main = copies_in(&story, "main").unwrap();
    assert_eq!((main.opened, main.taken, main.seen), (story.index(), Some(3), None));
    assert!(![1, 9].iter().any(|pack| is_relied_on(&story, *pack)), "nobody knows what it has");
    assert!(story.query().sessions().unwrap().is_empty());
    let (vault_id, locations) = (ids::vault(), vec![name("far")]);
    let lost = Suspended { vault: vault_id, locations, alone: Some(true) };
    let epoch = story.query().epoch().unwrap().unwrap();
    assert_eq!((epoch.suspended, epoch.taken), (vec![lost], None));
    let lacks = NoteAbsent { location: name("main"), ..note_absent(main.opened, &[9], true) };
    story.done(Actor::System, lacks);
    assert_eq!([1, 9].map(|pack| is_relied_on(&story, pack)), [true, false]);
}

#[test]
fn what_was_about_to_come_back_beside_one_that_has_everything_is_brought_it() {
    let mut story = one_that_follows();
    story.done(Actor::System, claim_taking(2, 2));
    story.done(Actor::System, note_absent(opened(&story), &[], true));
    declare(&mut story, &["far"], following(&["near"]));
    near_is_current(&mut story);
    declare(&mut story, &["far", "near"], Beside::default());
    near_is_current(&mut story);
    story.done(admin(), back(2, false));
    story.done(Actor::System, by_north(3));
    let main = copies_in(&story, "main").unwrap();
    assert_eq!((main.opened, main.taken), (story.index(), None));
    assert!(copies_in(&story, "near").is_none(), "it was there all the time");
}

#[test]
fn a_region_is_not_whole_while_it_is_not_known_what_stood_in_for_it_has() {
    let mut story = one_that_follows();
    story.begin(1, 1);
    store(&mut story, 1);
    story.done(Actor::System, claim_taking(2, 2));
    story.done(Actor::System, note_absent(opened(&story), &[], true));
    begin_again(&mut story, 2);
    story.done(me(), intend(2, &[9], PackHome::Object));
    story.done(me(), story::store(2, 9, Some(vault(&story).revision)));
    let rebuild = RebuildLocation { location: name("far") };
    story.done(admin(), rebuild);
    story.done(admin(), back(2, false));
    story.refused(admin(), back(2, true), Code::LocationBehind);
    assert!(!is_relied_on(&story, 9), "it may lie nowhere");
    story.done(Actor::System, note_absent(opened(&story), &[9], true));
    story.done(admin(), back(2, true));
    assert!(!is_relied_on(&story, 9));
}

#[test]
fn only_what_follows_in_the_region_is_taken_and_only_where_nothing_is_required() {
    let take = |location: &str| {
        let taken = Taken { vault: ids::vault(), location: name(location) };
        ClaimEpoch { taken: Some(vec![taken]), ..claim_epoch(2, 2) }
    };
    for wrong in ["near", "main", "nowhere"] {
        let mut story = one_that_follows();
        story.done(Actor::System, take(wrong));
        assert_eq!(vault(&story).required, [name("main")], "{wrong}");
        let epoch = story.query().epoch().unwrap().unwrap();
        assert_eq!((epoch.taken(), epoch.suspended.len()), (&[][..], 0));
    }
    let mut story = one_that_follows();
    story.require(&["main", "far"]);
    story.done(Actor::System, claim_taking(2, 2));
    assert_eq!(story.query().epoch().unwrap().unwrap().taken(), [], "it is required there");
}

#[test]
fn who_loses_one_region_after_the_other_goes_on_waiting_for_both() {
    let mut story = one_that_follows();
    story.done(Actor::System, claim_taking(2, 2));
    let before = story.query().epoch().unwrap().unwrap();
    story.done(Actor::System, claim_epoch(3, 2));
    let epoch = story.query().epoch().unwrap().unwrap();
    assert_eq!((epoch.number, &epoch.suspended), (3, &before.suspended));
    assert_eq!(epoch.taken(), before.taken());
    story.done(admin(), back(3, false));
    // Lost once more, before it was filled.
    story.done(Actor::System, claim_epoch(4, 2));
    let epoch = story.query().epoch().unwrap().unwrap();
    assert_eq!((&epoch.suspended, epoch.taken()), (&before.suspended, before.taken()));
    assert_eq!(vault(&story).required, [name("far")]);
}
