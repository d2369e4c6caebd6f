//! What was applied that an index has to know: packs that were stored, lost or found, segments that
//! were added.
//!
//! The machine writes it down as it applies, whoever proposed it, and the index takes it from here
//! now and then. Bounded: whoever does not come in time looks through all rows instead, as after a
//! snapshot, which says nothing of single commands.

use holdfast_common::{PackId, VaultId};
use holdfast_ledger::{Command, row::SegmentRow};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// More than come in a minute of the fastest backup.
const NEWS_MAX: usize = 4096;

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Everything up to this index is in here.
    pub(crate) upto: u64,
    pub(crate) packs: Vec<PackId>,
    pub(crate) segments: Vec<SegmentRow>,
    /// Packs that were lost or found.
    pub(crate) fates: Vec<(VaultId, PackId)>,
    /// Too much to be told one by one.
    pub(crate) everything: bool,
}

#[derive(Debug, Default)]
pub(super) struct Ear(Mutex<Heard>);

impl Ear {
    pub(super) fn hear(&self, index: u64, command: Option<&Command>) {
        let mut heard = self.lock();
        heard.upto = index;
        if heard.everything {
            return;
        }
        match command {
            Some(Command::StorePacks(command)) => heard.packs.extend(&command.packs),
            Some(Command::CommitPoint(command)) => heard.packs.extend(&command.inline_packs),
            Some(Command::FindPack(command)) => {
                heard.packs.push(command.pack);
                heard.fates.push((command.vault, command.pack));
            }
            Some(Command::LosePack(command)) => heard.fates.push((command.vault, command.pack)),
            Some(Command::AddSegment(command)) => heard.segments.push(command.segment.clone()),
            _ => {}
        }
        if heard.packs.len() + heard.segments.len() + heard.fates.len() > NEWS_MAX {
            *heard = Heard { upto: index, everything: true, ..Heard::default() };
        }
    }

    /// What the tables hold at a start is not news: whoever opens them reads it there.
    pub(super) fn begin(&self, upto: u64) {
        self.lock().upto = upto;
    }

    /// A snapshot took the place of the commands up to an index.
    pub(super) fn miss(&self, upto: u64) {
        *self.lock() = Heard { upto, everything: true, ..Heard::default() };
    }

    pub(super) fn take(&self) -> Heard {
        let mut heard = self.lock();
        let upto = heard.upto;
        std::mem::replace(&mut *heard, Heard { upto, ..Heard::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::SessionId;
    use holdfast_ledger::command::{FindPack, StorePacks};

    fn store(packs: usize) -> Command {
        let packs = vec![PackId::from_bytes([1; 32]); packs];
        StorePacks { session: SessionId::from_bytes([2; 16]), packs, revision: None }.into()
    }

    #[test]
    fn what_is_taken_is_told_once() {
        let (ear, pack) = (Ear::default(), PackId::from_bytes([3; 32]));
        ear.hear(7, Some(&store(2)));
        ear.hear(9, Some(&FindPack { vault: VaultId::from_bytes([4; 16]), pack }.into()));
        let heard = ear.take();
        assert_eq!((heard.upto, heard.packs.len(), heard.everything), (9, 3, false));
        assert_eq!(ear.take(), Heard { upto: 9, ..Heard::default() });
    }

    #[test]
    fn too_much_to_tell_is_told_as_everything() {
        let ear = Ear::default();
        ear.hear(1, Some(&store(NEWS_MAX + 1)));
        ear.hear(2, Some(&store(1)));
        let everything = Heard { upto: 2, everything: true, ..Heard::default() };
        assert_eq!(ear.take(), everything);
        ear.miss(40);
        assert_eq!((ear.take().upto, ear.take().everything), (40, false));
    }
}
