//! A region that has nothing but a location that followed, told at random: whatever comes in
//! whichever order, nothing is relied on that may not lie where the vault requires it.

#![allow(clippy::unwrap_used, reason = "a story that cannot be told is a failed test")]

mod story;

use holdfast_common::PackId;
use holdfast_ledger::{
    Actor,
    command::{FindPack, NoteAbsent, RebuildLocation},
    row::{PackHome, PackState},
};
use proptest::prelude::*;
use std::collections::BTreeSet;
use story::{
    Story, ids, intend,
    members::{back, claim_taking, note_absent},
    name,
    taking::{begin_again, is_relied_on, me, one_that_follows, vault},
};

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
                    story.said(me(), intend(self.sessions, &[pack], PackHome::Object)).and_then(
                        |_| story.said(me(), story::store(self.sessions, pack, Some(row.revision))),
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
                // As a failback does: each is brought what the other has, then it is said.
                self.far.extend(self.main.iter().copied());
                self.found(story);
                self.main.extend(self.far.iter().copied());
                story.done(Actor::System, back(epoch.number, false));
                // Refused while it is not known what `far` has lost.
                drop(story.said(Actor::System, back(epoch.number, true)));
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
