//! What the ledger promises when a region takes the lead, and has nothing but a location that
//! followed: it is required at once, nothing new relies on what it may lack, and it follows again
//! when what it stands in for is back.

#![allow(clippy::unwrap_used, reason = "a story that cannot be told is a failed test")]

mod story;

use holdfast_common::{Code, PackId};
use holdfast_ledger::{
    Actor, Outcome,
    command::{
        AdmitMember, BeginSession, ClaimEpoch, FindPack, NoteAbsent, PutLocation, PutVault,
        RebuildLocation,
    },
    row::{
        Beside, CopyState, LocationRow, MemberRole, PackHome, PackState, PointState, Taken,
        VaultRow, epoch::Suspended,
    },
};
use proptest::prelude::*;
use std::collections::BTreeSet;
use story::{
    Story, agent, ids, intend,
    members::{back, claim_epoch, claim_taking, forget, note_absent, raise},
    name, note_copies,
};

const ME: fn() -> Actor = || Actor::Agent(agent(1));

/// `north` with its founder and what the vault requires, `south` with a learner and what follows.
fn one_that_follows() -> Story {
    let mut story = Story::of_nothing();
    story.done(Actor::System, story::members::founding());
    story.done(Actor::System, raise(holdfast_ledger::LEVEL, &[1]));
    for (place, region) in [("main", "north"), ("near", "north"), ("far", "south")] {
        let location = LocationRow {
            name: name(place),
            url: format!("local:/srv/{place}"),
            region: name(region),
            revision: 0,
            disabled: None,
        };
        story.done(Actor::System, PutLocation { location });
    }
    story.done(Actor::System, PutVault { vault: declared(), kek: None });
    let knowing = AdmitMember {
        level_max: Some(holdfast_ledger::LEVEL),
        ..story::members::admit(1, "south-1", MemberRole::Learner)
    };
    story.done(Actor::System, story::members::create_token(1));
    story.done(Actor::Token, knowing);
    story.done(Actor::System, story::create_token([1; 32]));
    story.done(Actor::Token, story::enrol([1; 32], agent(1), "host-1"));
    story
}

fn declared() -> VaultRow {
    let beside = Beside { following: vec![name("far")], ..Beside::default() };
    VaultRow { required: vec![name("main")], beside: Some(beside), ..story::vault() }
}

/// The run goes on in another session.
fn begin_again(story: &mut Story, number: u8) {
    let (session, run, point) = (ids::session(number), ids::run(1), ids::point(number));
    story.done(ME(), BeginSession { session, run, point });
}

fn vault(story: &Story) -> VaultRow {
    story.query().vault(&ids::vault()).unwrap()
}

fn opened(story: &Story) -> u64 {
    story.query().copies_in(&ids::vault(), &name("far")).unwrap().unwrap().opened
}

fn state(story: &Story, pack: u8) -> PackState {
    story.query().pack(&ids::vault(), &ids::pack(pack)).unwrap().unwrap().state
}

/// Stores a pack in a session that goes on.
fn store(story: &mut Story, number: u8) {
    story.done(ME(), intend(1, &[number], PackHome::Object));
    let revision = vault(story).revision;
    story.done(ME(), story::store(1, number, Some(revision)));
}

/// Whether an offer of what is in a pack may be answered "held".
fn is_relied_on(story: &Story, pack: u8) -> bool {
    let (query, vault) = (story.query(), vault(story));
    let unseen = query.unseen_before(&vault).unwrap();
    let row = query.pack(&vault.id, &ids::pack(pack)).unwrap();
    row.is_some_and(|row| row.is_offered() && unseen.is_none_or(|epoch| !row.is_before(epoch)))
}

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
    let suspended = Suspended { vault: ids::vault(), locations: vec![name("main")] };
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
    story.refused(ME(), commit, Code::SessionMissing);
    story.refused(ME(), intend(1, &[2], PackHome::Object), Code::SessionMissing);
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
    story.refused(ME(), note_absent(since, &[2], true), Code::AuthDenied);
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
    story.done(ME(), intend(2, &[9], PackHome::Object));
    story.done(ME(), story::store(2, 9, Some(vault(&story).revision)));
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
    story.done(ME(), intend(2, &[9], PackHome::Object));
    story.done(ME(), story::store(2, 9, Some(vault(&story).revision)));
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
    let admin = || Actor::Operator(name("admin"));
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
fn what_somebody_declares_meanwhile_stays_as_he_declared_it() {
    let mut story = one_that_follows();
    story.done(Actor::System, claim_taking(2, 2));
    let beside = Beside { wait_secs: Some(9), ..Beside::default() };
    let required = vec![name("far")];
    let wish = VaultRow { required, beside: Some(beside), ..story::vault() };
    story.done(Actor::System, PutVault { vault: wish, kek: None });
    assert_eq!(story.query().epoch().unwrap().unwrap().taken(), []);
    let admin = || Actor::Operator(name("admin"));
    story.done(admin(), back(2, false));
    story.done(admin(), back(2, true));
    assert_eq!(vault(&story).required, [name("far"), name("main")]);
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
    let admin = || Actor::Operator(name("admin"));
    story.done(admin(), back(3, false));
    // Lost once more, before it was filled.
    story.done(Actor::System, claim_epoch(4, 2));
    let epoch = story.query().epoch().unwrap().unwrap();
    assert_eq!((&epoch.suspended, epoch.taken()), (&before.suspended, before.taken()));
    assert_eq!(vault(&story).required, [name("far")]);
}

/// A step of a random story.
#[derive(Clone, Copy, Debug)]
enum Step {
    Begin,
    /// A pack that is copied to `far`, or is not.
    Store(u8, bool),
    Claim,
    /// The leader looks through `far` and tells of so many packs that it lacks, and whether it is
    /// through.
    Look(u8, bool),
    Lose,
    Return,
    Found,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Begin),
        6 => (1u8..20, any::<bool>()).prop_map(|(pack, copied)| Step::Store(pack, copied)),
        2 => Just(Step::Claim),
        4 => (0u8..4, any::<bool>()).prop_map(|(count, all)| Step::Look(count, all)),
        1 => Just(Step::Lose),
        1 => Just(Step::Return),
        1 => Just(Step::Found),
    ]
}

/// Which packs lie where.
#[derive(Default)]
struct World {
    main: BTreeSet<u8>,
    far: BTreeSet<u8>,
    sessions: u8,
    claims: u64,
}

impl World {
    fn act(&mut self, story: &mut Story, step: Step) {
        match step {
            Step::Begin => {
                self.sessions += 1;
                match self.sessions {
                    1 => story.begin(1, 1),
                    number => begin_again(story, number),
                }
            }
            Step::Store(pack, copied) => {
                let row = vault(story);
                let stored =
                    story.said(ME(), intend(self.sessions, &[pack], PackHome::Object)).and_then(
                        |_| story.said(ME(), story::store(self.sessions, pack, Some(row.revision))),
                    );
                if stored.is_ok() {
                    for place in &row.required {
                        self.place(place.as_str()).insert(pack);
                    }
                    if copied {
                        self.far.insert(pack);
                    }
                }
            }
            Step::Claim => {
                self.claims += 1;
                // Whoever leads already does not lose itself.
                drop(story.said(Actor::System, claim_taking(1 + self.claims, 2)));
            }
            Step::Look(count, is_all) => {
                let Ok(Some(copies)) = story.query().copies_in(&ids::vault(), &name("far")) else {
                    return;
                };
                if copies.taken.is_none() {
                    return;
                }
                let lacks: Vec<PackId> = story
                    .query()
                    .packs(&ids::vault(), None)
                    .unwrap()
                    .into_iter()
                    .filter(|row| row.state == PackState::Stored)
                    .filter(|row| !self.far.contains(&row.id.as_bytes()[0]))
                    .map(|row| row.id)
                    .collect();
                let is_all = is_all && lacks.len() <= usize::from(count);
                let packs = lacks.into_iter().take(usize::from(count)).collect();
                let note = note_absent(copies.opened, &[], is_all);
                story.done(Actor::System, NoteAbsent { packs, ..note });
            }
            Step::Lose => {
                let rebuild = RebuildLocation { location: name("far") };
                // One that is required as any other is filled from others, which is no matter here.
                let epoch = story.query().epoch().unwrap();
                let stands_in = epoch.is_some_and(|epoch| epoch.has_taken_for(&ids::vault()));
                if stands_in || vault(story).following().contains(&name("far")) {
                    self.far.clear();
                    story.done(Actor::Operator(name("admin")), rebuild);
                }
            }
            Step::Return => {
                let Some(epoch) = story.query().epoch().unwrap() else { return };
                if !epoch.has_taken_for(&ids::vault()) {
                    return;
                }
                // What it lost since is told of before.
                if story.query().unseen_before(&vault(story)).unwrap().is_some() {
                    return;
                }
                // As a failback does: each is brought what the other has, then it is said.
                self.far.extend(self.main.iter().copied());
                self.found(story);
                self.main.extend(self.far.iter().copied());
                story.done(Actor::System, back(epoch.number, false));
                story.done(Actor::System, back(epoch.number, true));
            }
            Step::Found => self.found(story),
        }
    }

    /// What is whole in all that is required is found again.
    fn found(&mut self, story: &mut Story) {
        let (row, lost) = (vault(story), story.query().lost_packs(&ids::vault()));
        let lost: Vec<PackId> = lost.map(|row| row.unwrap().id).collect();
        for pack in lost {
            let is_there = |place: &holdfast_common::Name| {
                self.place_of(place.as_str()).contains(&pack.as_bytes()[0])
            };
            if row.required.iter().all(is_there) {
                story.done(Actor::System, FindPack { vault: ids::vault(), pack });
            }
        }
    }

    fn place(&mut self, name: &str) -> &mut BTreeSet<u8> {
        if name == "far" { &mut self.far } else { &mut self.main }
    }

    fn place_of(&self, name: &str) -> &BTreeSet<u8> {
        if name == "far" { &self.far } else { &self.main }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever comes in whichever order, an answer "held" is about what lies in all that the vault
    /// requires then.
    #[test]
    fn what_is_relied_on_lies_in_all_that_is_required(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let (mut story, mut world) = (one_that_follows(), World::default());
        for step in steps {
            world.act(&mut story, step);
            for pack in 1..20 {
                for place in &vault(&story).required {
                    let is_there = world.place_of(place.as_str()).contains(&pack);
                    prop_assert!(
                        is_there || !is_relied_on(&story, pack),
                        "{pack} is not in {place} after {step:?}"
                    );
                }
            }
        }
    }
}
