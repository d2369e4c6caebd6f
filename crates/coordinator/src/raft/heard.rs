//! What was applied that an index has to know, or whoever copies into locations that follow: packs
//! that were stored, lost or found, segments that were added, points that were committed.
//!
//! The machine writes it down as it applies, whoever proposed it, and each listener takes it from
//! here now and then. Bounded: whoever does not come in time looks through all rows instead, as
//! after a snapshot, which says nothing of single commands.

use holdfast_common::{PackId, PointId, VaultId};
use holdfast_ledger::{Command, row::SegmentRow};
use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering::SeqCst},
};

/// More than come in a minute of the fastest backup.
const NEWS_MAX: usize = 4096;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Everything up to this index is in here.
    pub(crate) upto: u64,
    pub(crate) packs: Vec<PackId>,
    pub(crate) segments: Vec<SegmentRow>,
    pub(crate) points: Vec<(VaultId, PointId)>,
    /// Packs that were lost or found.
    pub(crate) fates: Vec<(VaultId, PackId)>,
    /// Points that were lost or are whole again.
    pub(crate) judged: Vec<PointId>,
    /// Too much to be told one by one.
    pub(crate) everything: bool,
}

/// Who is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Listener {
    Copies,
    Index,
    Locks,
}

#[derive(Debug, Default)]
pub(super) struct Ear {
    listeners: [Mutex<Heard>; 3],
    /// Goes up when a snapshot begins to take the place of the tables, and when it has.
    replacing: AtomicU64,
}

impl Ear {
    pub(super) fn hear(&self, index: u64, command: Option<&Command>) {
        self.each(|heard| heard.note(index, command));
    }

    /// What the tables hold at a start is not news: whoever opens them reads it there.
    pub(super) fn begin(&self, upto: u64) {
        self.each(|heard| heard.upto = upto);
    }

    /// A snapshot took the place of the commands up to an index.
    pub(super) fn miss(&self, upto: u64) {
        self.each(|heard| *heard = Heard { upto, everything: true, ..Heard::default() });
    }

    /// A snapshot begins to take the place of what the tables have, or has.
    pub(super) fn replace(&self) {
        self.replacing.fetch_add(1, SeqCst);
    }

    /// How often the tables were replaced; none while they are.
    pub(super) fn replaced(&self) -> Option<u64> {
        let count = self.replacing.load(SeqCst);
        count.is_multiple_of(2).then_some(count / 2)
    }

    pub(super) fn take(&self, listener: Listener) -> Heard {
        let mut heard = lock(&self.listeners[listener as usize]);
        let upto = heard.upto;
        std::mem::replace(&mut *heard, Heard { upto, ..Heard::default() })
    }

    fn each(&self, change: impl Fn(&mut Heard)) {
        self.listeners.iter().for_each(|heard| change(&mut lock(heard)));
    }
}

impl Heard {
    fn note(&mut self, index: u64, command: Option<&Command>) {
        self.upto = index;
        if self.everything {
            return;
        }
        match command {
            Some(Command::StorePacks(command)) => self.packs.extend(&command.packs),
            Some(Command::CommitPoint(command)) => {
                self.packs.extend(&command.inline_packs);
                self.points.push((command.point.vault, command.point.id));
            }
            Some(Command::FindPack(command)) => {
                self.packs.push(command.pack);
                self.fates.push((command.vault, command.pack));
            }
            Some(Command::ImportPoint(command)) => {
                self.packs.extend(command.packs.iter().map(|pack| pack.id));
                self.points.push((command.point.vault, command.point.id));
            }
            Some(Command::RepackPacks(command)) => self.packs.push(command.pack),
            Some(Command::JudgePoint(command)) => self.judged.push(command.point),
            Some(Command::NoteAbsent(command)) => {
                self.fates.extend(command.packs.iter().map(|pack| (command.vault, *pack)));
            }
            Some(Command::LosePack(command)) => self.fates.push((command.vault, command.pack)),
            Some(Command::AddSegment(command)) => self.segments.push(command.segment.clone()),
            _ => {}
        }
        let of_packs = self.packs.len() + self.segments.len() + self.fates.len();
        let told = of_packs + self.points.len() + self.judged.len();
        if told > NEWS_MAX {
            *self = Heard { upto: index, everything: true, ..Heard::default() };
        }
    }
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::Name;
    use holdfast_common::SessionId;
    use holdfast_ledger::command::{FindPack, NoteAbsent, StorePacks};

    #[test]
    fn who_reads_while_the_tables_are_replaced_can_tell() {
        let ear = Ear::default();
        assert_eq!(ear.replaced(), Some(0));
        ear.replace();
        assert_eq!(ear.replaced(), None);
        ear.replace();
        assert_eq!(ear.replaced(), Some(1));
    }

    fn store(packs: usize) -> Command {
        let packs = vec![PackId::from_bytes([1; 32]); packs];
        StorePacks { session: SessionId::from_bytes([2; 16]), packs, revision: None }.into()
    }

    #[test]
    fn what_is_taken_is_told_once() {
        let (ear, pack) = (Ear::default(), PackId::from_bytes([3; 32]));
        ear.hear(7, Some(&store(2)));
        ear.hear(9, Some(&FindPack { vault: VaultId::from_bytes([4; 16]), pack }.into()));
        let heard = ear.take(Listener::Index);
        assert_eq!((heard.upto, heard.packs.len(), heard.everything), (9, 3, false));
        assert_eq!(ear.take(Listener::Index), Heard { upto: 9, ..Heard::default() });
    }

    #[test]
    fn what_a_location_lacks_is_told_of_each_pack() {
        let (ear, vault) = (Ear::default(), VaultId::from_bytes([4; 16]));
        let packs: Vec<PackId> = [5, 6].map(|number| PackId::from_bytes([number; 32])).into();
        let location: Name = "far".parse().unwrap();
        let note = NoteAbsent { vault, location, opened: 3, packs: packs.clone(), is_all: true };
        ear.hear(8, Some(&note.into()));
        let fates: Vec<PackId> =
            ear.take(Listener::Index).fates.iter().map(|(_, pack)| *pack).collect();
        assert_eq!(fates, packs);
    }

    #[test]
    fn too_much_to_tell_is_told_as_everything() {
        let ear = Ear::default();
        ear.hear(1, Some(&store(NEWS_MAX + 1)));
        ear.hear(2, Some(&store(1)));
        let everything = Heard { upto: 2, everything: true, ..Heard::default() };
        assert_eq!(ear.take(Listener::Index), everything);
        ear.miss(40);
        assert_eq!(
            (ear.take(Listener::Index).upto, ear.take(Listener::Index).everything),
            (40, false)
        );
    }
}
