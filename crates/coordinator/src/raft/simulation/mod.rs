//! A cluster in one thread and one seed: openraft, the machine, the tables and `propose` are the
//! product's; disks, network, clocks and dice are simulated, and time passes only when nobody has
//! anything to do.
//!
//! ```text
//!   seed ─→ dice ─→ weather: crashes, torn writes, cut and slow lines, changes of the membership
//!                └→ clients ─→ Ledger ─→ openraft ─→ disk (written ≠ synced)   ─→ events
//!   events ─→ trace (one hash)      events ─→ invariants, one promise per file ─→ verdict
//! ```
//!
//! The same seed gives the same trace. `HOLDFAST_SEED` plays one; `HOLDFAST_TORTURE_SEEDS` asks for
//! more than a quick run plays. The controls lie about one thing each and must be found out.

mod clients;
mod deaf;
mod dice;
mod disk;
mod events;
mod invariants;
mod member;
mod network;
mod play;
mod runtime;
mod watch;
mod weather;
mod world;

use super::types::{Entry, entry_to_bytes};
use events::Event;
use holdfast_common::{Entropy, SystemEntropy};
use holdfast_ledger::{Query, StateKv};
use network::Line;
use play::Plan;
pub(crate) use runtime::Runtime;
use std::time::Duration;
use world::{Lie, World};

/// The way from a member to another, if this thread is in a simulation.
pub(super) fn line(from: u64, to: u64) -> Option<Line> {
    World::here().map(|world| Line { world, from, to })
}

/// Tells that a member has applied these, if this thread is in a simulation.
pub(super) fn tell_applied(member: u64, group: &[Entry], tables: &dyn StateKv) {
    let (Some(world), Some(last)) = (World::here(), group.last()) else { return };
    let entries = group.iter().map(|entry| disk::written(&entry_to_bytes(entry))).collect();
    let head = Query::over(tables).audit_head().unwrap();
    world.tell(Event::Applied { member, entries, upto: last.log_id.index, head });
}

/// How long blocking work takes, if this thread is in a simulation: it is done here then.
pub(super) fn span_of_work() -> Option<Duration> {
    World::here().map(|world| {
        let mut dice = world.dice();
        if dice.is(3) { dice.millis(50, 400) } else { dice.millis(0, 4) }
    })
}

const FIXED: std::ops::Range<u64> = 1..21;
/// Each found something once: a leader that was to hand over to itself and was the only voter; a
/// founder that did not lead any more when all of them voted.
const FOUND: [u64; 2] = [20_261_683, 20_261_734];
const RANDOM: usize = 3;
/// Seeds a control may take to be found out.
const CONTROL_SEEDS: std::ops::Range<u64> = 12..72;

fn asked(name: &str) -> Option<u64> {
    let text = std::env::var_os(name)?.into_string().unwrap();
    (!text.is_empty()).then(|| text.parse().unwrap())
}

fn random() -> u64 {
    let entropy: &dyn Entropy = &SystemEntropy;
    entropy.below(1 << 53)
}

fn insist_on(seed: u64) {
    let plan = Plan::of(seed);
    let verdict = plan.play();
    let Some(wrong) = verdict.wrong else { return };
    panic!(
        "HOLDFAST_SEED={seed} cargo test -p holdfast-coordinator --lib simulation::a_seed\n\
         {}: {}\n{plan:?}, trace {}\n{}",
        wrong.promise, wrong.story, verdict.trace, verdict.last_words
    );
}

/// The first seed that finds a lie out, and the promise that was seen broken.
fn found_out(lie: Lie) -> (u64, &'static str) {
    let found = CONTROL_SEEDS.into_iter().find_map(|seed| {
        let verdict = Plan { lie: Some(lie), ..Plan::of(seed) }.play();
        verdict.wrong.map(|wrong| (seed, wrong.promise))
    });
    println!("{lie:?}: {found:?}");
    found.unwrap()
}

#[test]
fn every_promise_holds_whatever_the_weather() {
    let seeds: Vec<u64> = match (asked("HOLDFAST_SEED"), asked("HOLDFAST_TORTURE_SEEDS")) {
        (first, Some(count)) => {
            let first = first.unwrap_or_else(random);
            (0..count).map(|more| first.wrapping_add(more)).collect()
        }
        // Played by the test below.
        (Some(_), None) => return,
        (None, None) => FIXED.chain(FOUND).chain((0..RANDOM).map(|_| random())).collect(),
    };
    println!(
        "{} seeds: {:?}",
        seeds.len(),
        &seeds[..seeds.len().min(FIXED.count() + FOUND.len() + RANDOM)]
    );
    let threads = std::thread::available_parallelism().unwrap().get();
    std::thread::scope(|scope| {
        for part in seeds.chunks(seeds.len().div_ceil(threads)) {
            scope.spawn(|| part.iter().copied().for_each(insist_on));
        }
    });
}

#[test]
fn a_seed_that_is_asked_for_is_played() {
    if let Some(seed) = asked("HOLDFAST_SEED") {
        insist_on(seed);
    }
}

#[test]
fn one_seed_gives_one_trace() {
    for seed in [4, 7] {
        let traces = [(); 2].map(|()| Plan::of(seed).play().trace);
        assert_eq!(traces[0], traces[1], "HOLDFAST_SEED={seed}");
    }
    assert_ne!(Plan::of(4).play().trace, Plan::of(6).play().trace);
}

#[test]
fn a_log_that_acknowledges_too_early_is_found_out() {
    found_out(Lie::EarlyAck);
}

#[test]
fn a_vote_that_is_not_kept_is_found_out() {
    found_out(Lie::ForgottenVote);
}

#[test]
fn keys_that_are_not_remembered_are_found_out() {
    found_out(Lie::ForgottenKeys);
}

#[test]
fn reads_without_a_read_index_are_found_out() {
    assert_eq!(found_out(Lie::LocalRead).1, "register");
}
