//! The register is linearizable: every read and write takes effect at one moment between its
//! question and its answer. No read is older than anything acknowledged before it began.
//!
//! A read of which nothing is known says nothing. The search is todc-utils' (Wing, Gong, Lowe).

use super::{Event, Invariant};
use crate::raft::simulation::events::{Outcome, Wish};
use std::collections::BTreeSet;
use todc_utils::{
    linearizability::{
        WGLChecker,
        history::{Action, History},
    },
    specifications::register::{
        RegisterOperation::{self, Read, Write},
        RegisterSpecification,
    },
};

#[derive(Default)]
pub(super) struct Register {
    steps: Vec<Step>,
}

#[derive(Clone, Copy)]
enum Step {
    Asked(Wish),
    Answered(Wish, Outcome),
}

type Actions = Vec<(usize, Action<RegisterOperation<u64>>)>;

impl Invariant for Register {
    fn look(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Asked { wish: wish @ (Wish::Read(_) | Wish::Write(_)) } => {
                self.steps.push(Step::Asked(*wish));
            }
            Event::Answered { wish: wish @ (Wish::Read(_) | Wish::Write(_)), outcome }
                if *outcome != Outcome::Unknown =>
            {
                self.steps.push(Step::Answered(*wish, *outcome));
            }
            _ => {}
        }
        Ok(())
    }

    fn conclude(&mut self) -> Result<(), String> {
        let actions = self.actions();
        if actions.is_empty() {
            return Ok(());
        }
        let history = History::from_actions(actions);
        if WGLChecker::<RegisterSpecification<u64>>::is_linearizable(history) {
            return Ok(());
        }
        Err(format!("{} questions and answers are not linearizable", self.steps.len()))
    }
}

impl Register {
    /// A write that nobody acknowledged ends with the first read that found it, since it must have
    /// taken effect by then; one that nobody found might as well not have been.
    fn actions(&self) -> Actions {
        let answered: BTreeSet<u64> = self.steps.iter().filter_map(Step::answered).collect();
        let found: BTreeSet<u64> = self.steps.iter().filter_map(Step::found).collect();
        let mut open: BTreeSet<u64> = found.difference(&answered).copied().collect();
        open.remove(&0);
        let mut actions = Actions::new();
        let mut act =
            |number: u64, action| actions.push((usize::try_from(number).unwrap(), action));
        for step in &self.steps {
            match *step {
                Step::Asked(Wish::Read(number)) if answered.contains(&number) => {
                    act(number, Action::Call(Read(None)));
                }
                Step::Asked(Wish::Write(number))
                    if answered.contains(&number) || open.contains(&number) =>
                {
                    act(number, Action::Call(Write(number)));
                }
                Step::Asked(_) => {}
                Step::Answered(wish, Outcome::Found(value)) => {
                    act(wish.number(), Action::Response(Read(Some(value))));
                    if open.remove(&value) {
                        act(value, Action::Response(Write(value)));
                    }
                }
                Step::Answered(wish, _) => {
                    act(wish.number(), Action::Response(Write(wish.number())));
                }
            }
        }
        actions
    }
}

impl Step {
    fn answered(&self) -> Option<u64> {
        match self {
            Self::Asked(_) => None,
            Self::Answered(wish, _) => Some(wish.number()),
        }
    }

    fn found(&self) -> Option<u64> {
        match self {
            Self::Answered(_, Outcome::Found(value)) => Some(*value),
            _ => None,
        }
    }
}
