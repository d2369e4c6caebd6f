//! What was applied anywhere is applied everywhere, at the same place, and never lost: entries,
//! audit heads, and in the end every row.

use super::{Event, Invariant};
use crate::raft::simulation::events::Written;
use holdfast_ledger::audit::AuditHead;
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Agreement {
    entries: BTreeMap<u64, Written>,
    heads: BTreeMap<u64, AuditHead>,
    upto: u64,
    ends: Vec<(u64, u64, u64)>,
}

impl Invariant for Agreement {
    fn look(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Applied { member, entries, upto, head } => {
                for entry in entries {
                    self.take(*member, entry)?;
                }
                if entries.last().map(|entry| entry.0.2) != Some(*upto) {
                    return Err(format!("{member} applied {upto}, which its log does not have"));
                }
                self.compare_head(*member, *upto, head)
            }
            Event::Installed { member, upto, head } => self.compare_head(*member, *upto, head),
            Event::Ended { member, upto, rows, .. } => {
                self.ends.push((*member, *upto, *rows));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn conclude(&mut self) -> Result<(), String> {
        for (member, upto, rows) in &self.ends {
            if *upto < self.upto {
                return Err(format!("{member} ends at {upto}, and {} was applied", self.upto));
            }
            if self.ends[0].2 != *rows {
                return Err(format!("{member} and {} hold different rows", self.ends[0].0));
            }
        }
        if self.ends.is_empty() { Err("nobody is left".to_owned()) } else { Ok(()) }
    }
}

impl Agreement {
    fn take(&mut self, member: u64, entry: &Written) -> Result<(), String> {
        let at = entry.0.2;
        self.upto = self.upto.max(at);
        let first = self.entries.entry(at).or_insert(*entry);
        if first != entry {
            return Err(format!("{member} applied {entry:?} where {first:?} was applied"));
        }
        let before = self.entries.range(..at).next_back();
        match before {
            Some((_, before)) if (before.0.0, before.0.1) > (entry.0.0, entry.0.1) => {
                Err(format!("{entry:?} of an older leader follows {before:?}"))
            }
            _ => Ok(()),
        }
    }

    fn compare_head(&mut self, member: u64, upto: u64, head: &AuditHead) -> Result<(), String> {
        self.upto = self.upto.max(upto);
        let first = self.heads.entry(upto).or_insert(*head);
        if first == head {
            return Ok(());
        }
        Err(format!("at {upto} the audit head of {member} is {head:?} and was {first:?}"))
    }
}
