//! What was applied is not taken back: never while a member runs, and after a crash not behind what
//! it had flushed.

use super::{Event, Invariant};
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Applied {
    now: BTreeMap<u64, u64>,
    flushed: BTreeMap<u64, u64>,
}

impl Invariant for Applied {
    fn look(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Applied { member, upto, .. } | Event::Installed { member, upto, .. } => {
                let before = self.now.insert(*member, *upto).unwrap_or(0);
                if *upto < before {
                    return Err(format!("{member} goes back from {before} to {upto}"));
                }
            }
            Event::Flushed { member, upto } => {
                let flushed = self.flushed.entry(*member).or_default();
                *flushed = (*flushed).max(*upto);
            }
            Event::Started { member, upto, .. } => {
                let flushed = self.flushed.get(member).copied().unwrap_or(0);
                self.now.insert(*member, *upto);
                if *upto < flushed {
                    return Err(format!("{member} starts at {upto} and had flushed {flushed}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
