//! Term, number and index name one entry, in every log, applied or not, for ever.

use super::{Event, Invariant};
use crate::raft::simulation::events::Id;
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Logs(BTreeMap<Id, u64>);

impl Invariant for Logs {
    fn look(&mut self, event: &Event) -> Result<(), String> {
        let Event::Appended { member, entries } = event else { return Ok(()) };
        for (id, hash) in entries {
            let first = self.0.entry(*id).or_insert(*hash);
            if first != hash {
                return Err(format!("{member} has another entry {id:?} than there was"));
            }
        }
        Ok(())
    }
}
