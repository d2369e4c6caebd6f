//! Everything that can go wrong with one member, one after another and drawn by lot, while clients
//! work: what they are told is linearizable, and nothing that was acknowledged is lost.
//!
//! How often: `HOLDFAST_TORTURE_KILLS`; with which dice: `HOLDFAST_SEED`.

use super::{
    crew::Crew,
    scene::{Members, PATIENCE, number},
};
use crate::harness::{Chance, Flow, kills, wait_until};
use rustix::process::Signal;
use std::time::Duration;

const ROUNDS: u64 = 6;
const ROUNDS_OF_A_CREW: u64 = 8;
const SEED_USUAL: u64 = 0x57_04_12;
/// Of the clients, in each trouble.
const QUESTIONS: u64 = 30;
const ANSWERS: u64 = 20;

#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// Cut off from the others; clients still reach it.
    Alone(Flow),
    Deaf,
    Forgotten,
    Frozen,
    Killed,
    Leaky,
    Mute,
    Restarted,
    Slow,
    Transferred,
}

impl Trouble {
    const ALL: [Self; 11] = [
        Self::Alone(Flow::Still),
        Self::Alone(Flow::Torn),
        Self::Deaf,
        Self::Forgotten,
        Self::Frozen,
        Self::Killed,
        Self::Leaky,
        Self::Mute,
        Self::Restarted,
        Self::Slow,
        Self::Transferred,
    ];

    fn begin(self, members: &mut Members, victim: &str) {
        let own = number(victim);
        let others = [1, 2, 3].into_iter().filter(|other| *other != own);
        match self {
            Self::Alone(flow) => members.lines().part(own, flow),
            Self::Deaf => others.for_each(|from| {
                members.lines().set_one_way(from, own, Flow::Still);
            }),
            Self::Forgotten => members.lines().forget(own),
            Self::Frozen => members.running[victim].signal(Signal::STOP),
            Self::Killed => members.kill(victim),
            Self::Leaky => members.lines().part(own, Flow::Leaky(5)),
            Self::Mute => others.for_each(|to| {
                members.lines().set_one_way(own, to, Flow::Still);
            }),
            Self::Restarted => assert_eq!(members.stop(victim), Some(0)),
            Self::Slow => members.lines().part(own, Flow::Slow(Duration::from_millis(40))),
            // Nobody promises that it works in the middle of everything.
            Self::Transferred => drop(members.run(&["cluster", "transfer"])),
        }
    }

    fn end(self, members: &mut Members, victim: &str) {
        match self {
            Self::Frozen => members.running[victim].signal(Signal::CONT),
            Self::Killed | Self::Restarted => members.start(victim),
            _ => members.lines().clear(),
        }
    }
}

#[test]
fn a_storm_over_the_members_makes_no_client_hear_anything_untrue() {
    let test = "a_storm_over_the_members_makes_no_client_hear_anything_untrue";
    let rounds = kills(ROUNDS);
    let mut chance = Chance::of(test, SEED_USUAL, rounds);
    let mut members = Members::three_on_lines(chance.below(u64::MAX));
    members.join_agent("host");
    let mut left = rounds;
    while left > 0 {
        // The judge's search is over what one crew was told.
        let watch = left.min(ROUNDS_OF_A_CREW);
        left -= watch;
        let crew = Crew::at_work(&members, "host", chance.below(u64::MAX));
        for _ in 0..watch {
            weather(&mut members, &crew, &mut chance);
        }
        members.wait_for_voters(3);
        crew.judge(test);
        members.wait_for_one_chain();
    }
}

/// One trouble, from its beginning to its end.
fn weather(members: &mut Members, crew: &Crew, chance: &mut Chance) {
    let answers = |more: u64, what: &str| {
        let upto = crew.answered() + more;
        wait_until(what, PATIENCE, || (crew.answered() >= upto).then_some(()));
    };
    let trouble = *chance.one_of(&Trouble::ALL);
    // Half of the time whoever leads.
    let victim = match chance.below(2) {
        0 => members.leader(),
        _ => (*chance.one_of(&["one", "two", "three"])).to_owned(),
    };
    eprintln!("{trouble:?} {victim}");
    let upto = crew.attempted() + QUESTIONS;
    trouble.begin(members, &victim);
    crew.follow(members);
    answers(ANSWERS, "the others go on");
    wait_until("questions", PATIENCE, || (crew.attempted() >= upto).then_some(()));
    trouble.end(members, &victim);
    crew.follow(members);
    answers(ANSWERS, "all go on");
}
