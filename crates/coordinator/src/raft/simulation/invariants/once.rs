//! A command that was acknowledged is applied once by every member, however often it was sent; one
//! of which nothing is known, at most once; and none that nobody asked for.

use super::{Event, Invariant};
use crate::raft::simulation::events::{Outcome, Wish};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(super) struct Once {
    asked: BTreeSet<u64>,
    acknowledged: BTreeSet<u64>,
    ends: Vec<(u64, BTreeMap<u64, usize>)>,
}

impl Invariant for Once {
    fn look(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Asked { wish: Wish::Note(number) | Wish::Write(number) } => {
                self.asked.insert(*number);
            }
            Event::Answered {
                wish: Wish::Note(number) | Wish::Write(number),
                outcome: Outcome::Done,
            } => {
                self.acknowledged.insert(*number);
            }
            Event::Ended { member, proposers, .. } => {
                let mut times = BTreeMap::new();
                proposers.iter().for_each(|number| *times.entry(*number).or_default() += 1);
                self.ends.push((*member, times));
            }
            _ => {}
        }
        Ok(())
    }

    fn conclude(&mut self) -> Result<(), String> {
        for (member, times) in &self.ends {
            if let Some((number, times)) = times.iter().find(|(_, times)| **times > 1) {
                return Err(format!("{member} applied command {number} {times} times"));
            }
            if let Some(lost) = self.acknowledged.iter().find(|number| !times.contains_key(number))
            {
                return Err(format!("{member} lost command {lost}, which was acknowledged"));
            }
            if let Some(stray) = times.keys().find(|number| !self.asked.contains(number)) {
                return Err(format!("{member} applied command {stray}, which nobody asked for"));
            }
        }
        Ok(())
    }
}
