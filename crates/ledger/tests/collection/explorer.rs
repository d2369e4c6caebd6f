//! Every state that a small world can come to, breadth first.
//!
//! States are hashed whole, so a world must be finite: its counters are flags. The first state that
//! breaks a promise ends the search, with the shortest way to it. Where none does, the search goes
//! backwards from the states that were hoped for, and names one from which none can be reached.

use std::{
    collections::{HashMap, VecDeque},
    fmt::Debug,
    hash::Hash,
};

pub(crate) trait World: Clone + Debug + Eq + Hash {
    type Step: Copy + Debug;

    /// Whatever may happen next.
    fn steps(&self) -> Vec<Self::Step>;
    fn after(&self, step: Self::Step) -> Self;
    /// The promise that is broken here.
    fn broken(&self) -> Option<&'static str>;
    /// What must stay within reach from everywhere.
    fn is_hoped_for(&self) -> bool;
}

pub(crate) enum Verdict<S> {
    /// In so many states, which are all.
    Holds(usize),
    Broken(&'static str, Vec<S>),
    /// From here what is hoped for is out of reach.
    Stuck(Vec<S>),
}

pub(crate) fn explore<W: World>(first: W, states_max: usize) -> Verdict<W::Step> {
    let mut numbers = HashMap::from([(first.clone(), 0usize)]);
    // How each state was come to first; and from where it can be come to.
    let mut ways: Vec<Option<(usize, W::Step)>> = vec![None];
    let mut before: Vec<Vec<usize>> = vec![Vec::new()];
    let mut hoped: VecDeque<usize> = VecDeque::new();
    let mut queue = VecDeque::from([(first, 0usize)]);
    while let Some((state, number)) = queue.pop_front() {
        if let Some(promise) = state.broken() {
            return Verdict::Broken(promise, way_to(&ways, number));
        }
        if state.is_hoped_for() {
            hoped.push_back(number);
        }
        for step in state.steps() {
            let next = state.after(step);
            let known = ways.len();
            let to = *numbers.entry(next.clone()).or_insert(known);
            if to == known {
                assert!(known < states_max, "the world has more than {states_max} states");
                ways.push(Some((number, step)));
                before.push(Vec::new());
                queue.push_back((next, to));
            }
            before[to].push(number);
        }
    }
    match first_stuck(&before, hoped) {
        Some(number) => Verdict::Stuck(way_to(&ways, number)),
        None => Verdict::Holds(ways.len()),
    }
}

fn first_stuck(before: &[Vec<usize>], mut hoped: VecDeque<usize>) -> Option<usize> {
    let mut can = vec![false; before.len()];
    hoped.iter().for_each(|number| can[*number] = true);
    while let Some(number) = hoped.pop_front() {
        for &from in &before[number] {
            if !can[from] {
                can[from] = true;
                hoped.push_back(from);
            }
        }
    }
    can.iter().position(|can| !can)
}

fn way_to<S: Copy>(ways: &[Option<(usize, S)>], mut number: usize) -> Vec<S> {
    let mut steps = Vec::new();
    while let Some((from, step)) = ways[number] {
        steps.push(step);
        number = from;
    }
    steps.reverse();
    steps
}
