//! A region whose vault only follows there, and what becomes of its packs.

use super::{
    Story, agent, create_token, enrol, ids, intend,
    members::{self, raise},
    name,
};
use holdfast_ledger::{Actor, command::*, row::*};

/// Who backs up.
pub(crate) fn me() -> Actor {
    Actor::Agent(agent(1))
}

pub(crate) fn admin() -> Actor {
    Actor::Operator(name("admin"))
}

/// `north` with its founder and what the vault requires, `south` with a learner and what follows.
pub(crate) fn one_that_follows() -> Story {
    let mut story = Story::of_nothing();
    story.done(Actor::System, members::founding());
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
        ..members::admit(1, "south-1", MemberRole::Learner)
    };
    story.done(Actor::System, members::create_token(1));
    story.done(Actor::Token, knowing);
    story.done(Actor::System, create_token([1; 32]));
    story.done(Actor::Token, enrol([1; 32], agent(1), "host-1"));
    story
}

pub(crate) fn declared() -> VaultRow {
    let beside = Beside { following: vec![name("far")], ..Beside::default() };
    VaultRow { required: vec![name("main")], beside: Some(beside), ..super::vault() }
}

/// The run goes on in another session.
pub(crate) fn begin_again(story: &mut Story, number: u8) {
    let (session, run, point) = (ids::session(number), ids::run(1), ids::point(number));
    story.done(me(), BeginSession { session, run, point });
}

/// `near` is required in place of `far`, which stood in and follows from then on.
pub(crate) fn replaced_by_near(story: &mut Story) {
    declare(story, &["far"], following(&["near"]));
    near_is_current(story);
    declare(story, &["near"], following(&["far"]));
}

pub(crate) fn following(locations: &[&str]) -> Beside {
    let following = locations.iter().map(|location| name(location)).collect();
    Beside { following, ..Beside::default() }
}

pub(crate) fn declare(story: &mut Story, required: &[&str], beside: Beside) {
    let required = required.iter().map(|location| name(location)).collect();
    let vault = VaultRow { required, beside: Some(beside), ..super::vault() };
    story.done(Actor::System, PutVault { vault, kek: None });
}

pub(crate) fn near_is_current(story: &mut Story) {
    let near = story.query().copies_in(&ids::vault(), &name("near")).unwrap().unwrap();
    let current = CopyRow { state: CopyState::Current, whole: Some(near.since), ..near };
    story.done(Actor::System, NoteCopies { copies: vec![current] });
}

pub(crate) fn vault(story: &Story) -> VaultRow {
    story.query().vault(&ids::vault()).unwrap()
}

pub(crate) fn opened(story: &Story) -> u64 {
    copies_in(story, "far").unwrap().opened
}

pub(crate) fn copies_in(story: &Story, location: &str) -> Option<CopyRow> {
    story.query().copies_in(&ids::vault(), &name(location)).unwrap()
}

/// The region that was lost takes the lead back.
pub(crate) fn by_north(epoch: u64) -> ClaimEpoch {
    ClaimEpoch { regions: vec![name("north")], ..members::claim_epoch(epoch, 1) }
}

pub(crate) fn state(story: &Story, pack: u8) -> PackState {
    story.query().pack(&ids::vault(), &ids::pack(pack)).unwrap().unwrap().state
}

/// Stores a pack in a session that goes on.
pub(crate) fn store(story: &mut Story, number: u8) {
    story.done(me(), intend(1, &[number], PackHome::Object));
    let revision = vault(story).revision;
    story.done(me(), super::store(1, number, Some(revision)));
}

/// Whether an offer of what is in a pack may be answered "held".
pub(crate) fn is_relied_on(story: &Story, pack: u8) -> bool {
    let (query, vault) = (story.query(), vault(story));
    let unseen = query.unseen_before(&vault).unwrap();
    let row = query.pack(&vault.id, &ids::pack(pack)).unwrap();
    row.is_some_and(|row| row.is_offered() && unseen.is_none_or(|epoch| !row.is_before(epoch)))
}
