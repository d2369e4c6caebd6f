//! Feature levels: which commands every member must know before anybody may propose them.
//!
//! ```text
//!   members say what they know ─→ leader: all of them ─→ RaiseLevel ─→ the ledger's level
//!   command ─→ its level ─┬─ above the ledger's: refused before it is proposed
//!                         └─ above this binary's: this member stops, and applies nothing of it
//! ```
//!
//! A level only goes up. A command has the level of its number, in one table that covers every
//! number, unless what is in it asks for more: whatever makes members of an older level compute
//! something else belongs to a newer one. New optional fields that old members may ignore do not.

use crate::{
    Command, Envelope,
    command::{ImportPoint, NoteKind},
    row::{Duty, RunKind, TokenKind},
};
use core::ops::RangeInclusive;
use holdfast_common::{Code, Error, Result, record};
use minicbor::Decoder;

/// What a ledger is at that says nothing of levels.
pub const LEVEL_FIRST: u32 = 1;
/// What this binary knows.
pub const LEVEL: u32 = 9;

/// From which level on witnesses may be let in: they change who counts as the last voter.
const WITNESSES: u32 = 2;
/// From which level on it is said under which revision of the vault packs were placed: members that
/// do not know of it would take what others refuse.
pub const PLACED_UNDER: u32 = 2;
/// From which level on packs of other epochs are counted by their sequence alone.
pub(crate) const SEQUENCES: u32 = 3;
/// From which level on a run that nobody does is ended by what was last heard of it.
pub const SILENCE: u32 = 3;
/// From which level on members keep the key with which they joined.
pub(crate) const KEPT_KEYS: u32 = 3;
/// From which level on every member with data vouches for the epoch that it tells of.
pub const VOUCHED: u32 = 3;
/// From which level on vaults have locations that follow, and a location that comes back into use
/// is noted until it lacks nothing.
pub const COPIES: u32 = 5;
/// From which level on points are forgotten: policies say how long they are kept, points say what
/// they hold, and what an agent made is held when it loses its rights.
pub const RETENTION: u32 = 6;
/// From which level on it is remembered what was read back when.
pub const CHECKS: u32 = 6;
/// From which level on vaults lock what they keep.
pub const LOCKS: u32 = 6;
/// From which level on keys have versions and KEKs are known by name.
pub const KEYS: u32 = 6;
/// From which level on packs are collected: a session counts from what its checkpoint was made of.
pub const COLLECTED: u32 = 7;
/// From which level on a vault keeps a required location that was seen whole: one that is still
/// being brought what it lacks does not stand in for the others.
pub(crate) const WHOLE_ONES: u32 = 8;
/// From which level on there are verifiers: an older member would take one for any agent, and its
/// run for a backup.
pub const VERIFIERS: u32 = 8;
/// From which level on people are let in and shut out, and what they do is done only while they
/// are operators.
pub const OPERATORS: u32 = 8;
/// From which level on a round waits for no backup that was cancelled.
pub const CANCELLED_UNWAITED: u32 = 8;
/// From which level on it is known to which versions of the keys packs are sealed, and versions are
/// closed.
pub const SEALED: u32 = 8;
/// From which level on somebody stays for a while who can let others in, and the last one is
/// renewed by the coordinator that he lies beside.
pub const SOMEBODY_STAYS: u32 = 9;
/// From which level on a location that lacks what was put there is filled again unasked.
pub const DOUBTS: u32 = 9;
/// From which level on the newest point that a location has is not forgotten.
pub const COPIES_KEPT: u32 = 9;
/// From which level on a region takes a location that follows in place of those that were lost.
pub const TAKEN: u32 = 9;
/// From which level on it is noted which operator came with a recovery: that is no second person.
pub(crate) const RECOVERED_ALONE: u32 = 9;
/// From which level on a bundle says up to which entry its keys were read.
pub const BUNDLES_READ: u32 = 9;
/// From which level on it is noted who had a location tried.
const TRIALS: u32 = 5;
/// The numbers of the commands that came with each level.
const LEVELS: &[(u32, RangeInclusive<u64>)] = &[
    (1, 1..=33),
    (2, 34..=51),
    (3, 52..=52),
    (4, 53..=55),
    (5, 56..=59),
    (6, 60..=75),
    (7, 76..=83),
    (6, 84..=84),
    (7, 85..=86),
    (6, 87..=99),
    (8, 100..=119),
    (9, 120..=139),
];
/// Where an envelope has its command.
const COMMAND_FIELD: u64 = 6;

// A command without a level does not compile.
const _: () = {
    let mut at = 0;
    while at < Command::NUMBERS.len() {
        assert!(level_of(Command::NUMBERS[at]).is_some(), "a command has no level");
        at += 1;
    }
};

impl Command {
    /// From which level of the ledger on it may be proposed.
    pub fn level(&self) -> u32 {
        match self {
            Self::AdmitMember(admit) if admit.duty == Duty::Witness => WITNESSES,
            Self::ClaimEpoch(claim) if claim.taken.is_some() => TAKEN,
            Self::CommitPoint(commit) if commit.keys_at.is_some() => SEALED,
            Self::ImportPoint(import) if says_sealed(import) => SEALED,
            Self::IntendPacks(intend) if intend.packs.iter().any(|p| p.sealed_to.is_some()) => {
                SEALED
            }
            Self::IntendRepack(intend) if intend.pack.sealed_to.is_some() => SEALED,
            Self::CommitPoint(commit) if commit.based.is_some() || commit.whole_at.is_some() => {
                COLLECTED
            }
            Self::CommitPoint(commit) if commit.point.root.is_some() => RETENTION,
            Self::CommitPoint(commit) if commit.revision.is_some() => COPIES,
            Self::ExportBundle(export) if export.read_at.is_some() => BUNDLES_READ,
            Self::ForgetPoints(forget) if forget.sources.iter().any(|of| of.copies.is_some()) => {
                COPIES_KEPT
            }
            Self::ImportPoint(import) if import.whole_at.is_some() => COLLECTED,
            Self::CreateToken(create) if create.token.kind() == TokenKind::Witness => WITNESSES,
            Self::CreateToken(create) if create.token.duty.is_some() => VERIFIERS,
            Self::DeleteResource(delete) if delete.kind == "class" => RETENTION,
            Self::EndRun(end) if end.silent_since.is_some() => SILENCE,
            Self::PlacePoints(place) if place.opened.is_some() => COPIES,
            Self::PutPolicy(put) if put.policy.speaks_of_retention() => RETENTION,
            Self::PutVault(put) if put.kek.is_some() => KEYS,
            Self::PutVault(put) if put.vault.lock.is_some() => LOCKS,
            Self::PutVault(put) if put.vault.checks.is_some() => CHECKS,
            Self::PutVault(put) if put.vault.beside.is_some() => COPIES,
            Self::Note(note) if note.kind == NoteKind::LocationTested => TRIALS,
            Self::ReplaceLocation(replace) if replace.left_is_gone.is_some() => COPIES,
            Self::RewrapKeys(rewrap) if rewrap.change.is_some() => KEYS,
            Self::SeeAgents(see) if see.verifiers.is_some() => VERIFIERS,
            Self::StartRun(start) if start.run.kind == RunKind::Verify => VERIFIERS,
            Self::StorePacks(store) if store.revision.is_some() => PLACED_UNDER,
            // Whoever can follow to a level may take the step to it.
            Self::RaiseLevel(raise) => raise.level,
            other => level_of(other.number()).unwrap_or(u32::MAX),
        }
    }
}

fn says_sealed(import: &ImportPoint) -> bool {
    import.keys_at.is_some() || import.packs.iter().any(|pack| pack.sealed_to.is_some())
}

impl Envelope {
    /// Reads an entry of the ledger on a member that knows levels up to `known`. What is beyond it
    /// is an error, and never taken for something else.
    pub fn read(bytes: &[u8], known: u32) -> Result<Self> {
        match record::from_bytes::<Self>("command", bytes) {
            Ok(envelope) if envelope.command.level() <= known => Ok(envelope),
            Ok(envelope) => Err(beyond(envelope.command.level(), known)),
            Err(error) => Err(match number_of(bytes) {
                Some(number) if !Command::NUMBERS.contains(&number) => {
                    let message = format!("the ledger has a command that is not known: {number}");
                    Error::new(Code::LevelUnknown, message)
                }
                _ => error,
            }),
        }
    }
}

/// A member that knows less than what it meets must not go on.
pub fn insist_on_known(level: u32, known: u32) -> Result<()> {
    if level <= known { Ok(()) } else { Err(beyond(level, known)) }
}

fn beyond(level: u32, known: u32) -> Error {
    let message = format!("the ledger is at level {level}, and this member knows up to {known}");
    Error::new(Code::LevelUnknown, message)
}

const fn level_of(number: u64) -> Option<u32> {
    let mut at = 0;
    while at < LEVELS.len() {
        let (level, numbers) = &LEVELS[at];
        if *numbers.start() <= number && number <= *numbers.end() {
            return Some(*level);
        }
        at += 1;
    }
    None
}

/// The number of the command in an envelope, whatever else is in it.
fn number_of(envelope: &[u8]) -> Option<u64> {
    let mut decoder = Decoder::new(envelope);
    for _ in 0..decoder.map().ok()?? {
        if decoder.u64().ok()? == COMMAND_FIELD {
            decoder.array().ok()?;
            return decoder.u64().ok();
        }
        decoder.skip().ok()?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn levels_follow_each_other_without_a_gap_and_end_with_what_this_binary_knows() {
        let mut next = 1;
        for (_, numbers) in LEVELS {
            assert_eq!(*numbers.start(), next);
            assert!(numbers.start() <= numbers.end());
            next = numbers.end() + 1;
        }
        let levels: BTreeSet<u32> = LEVELS.iter().map(|(level, _)| *level).collect();
        assert_eq!(levels, (LEVEL_FIRST..=LEVEL).collect());
        assert_eq!((level_of(0), level_of(next)), (None, None));
    }
}
