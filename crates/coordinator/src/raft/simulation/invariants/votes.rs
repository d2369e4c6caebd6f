//! A vote that was saved and acknowledged is not taken back, by nobody, not even by a crash.

use super::{Event, Invariant};
use crate::raft::simulation::events::Ballot;
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Votes(BTreeMap<u64, Ballot>);

impl Invariant for Votes {
    fn look(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Voted { member, ballot } => {
                let before = self.0.insert(*member, *ballot).unwrap_or_default();
                if *ballot < before {
                    return Err(format!("{member} votes {ballot:?} after {before:?}"));
                }
            }
            Event::Started { member, vote, .. } => {
                let saved = self.0.get(member).copied().unwrap_or_default();
                if vote.unwrap_or_default() < saved {
                    return Err(format!("{member} starts with {vote:?} and had saved {saved:?}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
